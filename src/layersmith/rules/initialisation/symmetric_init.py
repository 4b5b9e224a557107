"""Units that should learn different things must start different.

## Why it matters
Units with equal weights get equal gradients and stay copies of each other for ever: a layer of 256 units that starts at
0.1 everywhere is a layer of one.

## How it is tested
Where nearly all rows, or all columns, of a trainable parameter are equal, a copy is trained for some steps under random
objectives. Equal still, though drawn weights would not be: an error. A weight that is one constant, neither zero nor an
average, and makes several units of several inputs: a warning, for all units of that layer see the same number; and so
are queries of one constant, zero as well, by which all parts of the output start as copies.

## How to fix it
Draw it: `nn.init.kaiming_uniform_(self.weight, a=5**0.5)` as torch does, or `nn.init.normal_(self.weight, std=0.02)`.

## How to reproduce it
    weight = dict(module.named_parameters()).get(where, torch.eye(2)).detach().flatten(1)
    assert (weight - weight[:1]).abs().max() > 0 or (weight - weight[:, :1]).abs().max() > 0, "units are copies"
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import reading, tree
from layersmith.probe.closeness import ALIKE
from layersmith.probe.first_steps import NEARLY_ALL, Twins, lasting, share_of_twins, slots, twins
from layersmith.probe.followed import Layer
from layersmith.probe.layers import layers
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

# Of these zero is no offset.
QUERIES = re.compile(r"quer|seed|slot|latent|inducing|prototype|centroid", re.IGNORECASE)


@rule(
    severity=Severity.ERROR,
    since="0.1",
    promise=Promise.READY_TO_LEARN,
    after=("forward-raises", "reseeds-global-rng", "blocked-at-init"),
)
def symmetric_init(case: Case) -> Iterator[Finding]:
    """Twins that training does not part; then constants."""
    alike = twins(case.module)
    if not alike:
        return
    copies = _copies(case, alike)
    if copies:
        yield _of_copies(case.module, copies)
    constants = {
        name for name, _ in alike if name not in copies and _is_constant(case.module.get_parameter(name))
    }
    found = {one.weight: one for one in layers(case.module, case.inputs)} if constants else {}
    blind = [layer for name, layer in found.items() if name in constants and _is_blind(case.module, layer)]
    for layer in blind:
        what = f"all its units start as the same sum of {layer.fan_in} inputs"
        yield _of_constant(case.module, layer.weight, what)
    if blind or copies:
        return
    if constants - set(found) and _is_one_number(case):
        what = "all features of the output start as the same number"
        yield _of_constant(case.module, min(constants - set(found)), what)
        return
    empty = {n for n, _ in alike if QUERIES.search(n) and not case.module.get_parameter(n).count_nonzero()}
    rest = {place: share for place, share in alike.items() if place[0] in (constants | empty) - {*copies}}
    for name, axis in [*slots(case.module, case.inputs, rest)][:1]:
        count = case.module.get_parameter(name).shape[axis]
        yield _of_constant(case.module, name, f"all {count} parts of the output start as copies")


def _copies(case: Case, alike: Twins) -> dict[str, int]:
    trained, drawn = (case.fresh(training=True) for _ in range(2))
    try:
        found = lasting(trained.module, drawn.module, [trained.inputs], alike)
    except RuntimeError as error:
        raise NotApplicable(f"it cannot be trained on these inputs: {error!s:.100}") from error
    is_told_by_labels = _is_loss_of_labels(case)
    return {
        name: axis
        for name, axis in found.items()
        if not is_told_by_labels or bool(case.module.get_parameter(name).count_nonzero())
    }


def _is_loss_of_labels(case: Case) -> bool:
    """Whether it answers with one number for whole numbers: labels part rows of zeros, of which a few name but some."""
    has_labels = any(not tensor.is_floating_point() for tensor in case.inputs.tensors())
    return has_labels and all(tensor.numel() == 1 for tensor in tree.tensors(case.run()))


def _is_constant(parameter: Tensor) -> bool:
    value = parameter.detach().flatten()[:1]  # of an empty one, none
    return bool((value != 0).any()) and bool((parameter.flatten() == value).all())


def _is_blind(module: nn.Module, layer: Layer) -> bool:
    """Whether several units see the same sum of several inputs; an average is meant."""
    parameter = module.get_parameter(layer.weight).detach()
    is_average = abs(abs(float(parameter.flatten()[0])) * layer.fan_in - 1) < ALIKE
    return layer.fan_in > 1 and layer.groups == 1 and parameter.numel() > layer.fan_in and not is_average


def _is_one_number(case: Case) -> bool:
    """Whether all features of the output are the same, though rows differ: the constant is used in some other way."""
    output = next(tree.tensors(case.run()), torch.empty(0)).detach()
    axis = 1 if output.ndim > 3 else -1  # noqa: PLR2004 - images have channels first
    if output.ndim < 2 or output.shape[axis] < 2 or share_of_twins(output, 0) >= NEARLY_ALL:  # noqa: PLR2004
        return False
    return bool((output.amax(axis) - output.amin(axis)).abs().max() <= ALIKE * output.abs().max())


def _of_copies(module: nn.Module, copies: dict[str, int]) -> Finding:
    name, axis = next(iter(copies.items()))
    more = f" (and of {len(copies) - 1} parameters more)" if len(copies) > 1 else ""
    return _finding(
        module,
        name,
        f"the {module.get_parameter(name).shape[axis]} {('rows', 'columns')[axis]} of {name}{more} start equal and get "
        "equal gradients: they stay copies of each other",
    )


def _of_constant(module: nn.Module, name: str, what: str) -> Finding:
    value = float(module.get_parameter(name).detach().flatten()[0])
    return _finding(module, name, f"{name} is {value:.3g} everywhere: {what}", Severity.WARNING)


def _finding(module: nn.Module, name: str, message: str, severity: Severity | None = None) -> Finding:
    file, line = reading.drawn_line(module, name)
    fix = f"draw it: nn.init.kaiming_uniform_({reading.spelled(name)}, a=5**0.5), or nn.init.normal_(..., std=0.02)"
    return Finding(message, where=name, file=file, line=line, fix=fix, severity=severity)


@symmetric_init.bad("start equal and get equal gradients")
class ConstantEverywhere(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.last = nn.Linear(8, 3)
        for layer in (self.first, self.last):
            nn.init.constant_(layer.weight, 0.1)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.first(x)))


@symmetric_init.bad("weight is 1 everywhere")
class OnesForWeights(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(6, 4))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


@symmetric_init.bad("seeds is 1 everywhere: all 3 parts of the output", inputs=lambda: torch.randn(4, 5, 6))
class OneQuestionThreeTimes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.seeds = nn.Parameter(torch.ones(1, 3, 6))
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(self.seeds.expand(len(x), -1, -1), x, x, need_weights=False)[0]


@symmetric_init.good(inputs=lambda: torch.randn(4, 3, 5))
class GainsOfThreeParts(nn.Module):
    """Ones that scale what differs."""

    def __init__(self) -> None:
        super().__init__()
        self.gains = nn.Parameter(torch.ones(3, 5))

    def forward(self, x: Tensor) -> Tensor:
        return self.gains * x


@symmetric_init.good
class ZeroHead(nn.Module):
    """All rows are zero, and each gets a gradient of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.head = nn.Linear(8, 3)
        nn.init.zeros_(self.head.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.first(x)))


@symmetric_init.good(inputs=lambda: (torch.randn(5, 6), torch.tensor([0, 1, 0, 1, 1])))
class ZeroClassesOfALoss(nn.Module):
    """The labels at hand name two of the classes; those of the data part the others."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.tail = nn.Parameter(torch.zeros(4, 8))

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(torch.tanh(self.first(x)) @ self.tail.T, labels)


@symmetric_init.good(inputs=lambda: torch.randn(4, 6, 5))
class StartsAsAnAverage(nn.Module):
    """A learnable moving average, one filter a channel, and positions that start at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.filter = nn.Conv1d(6, 6, 3, padding=1, groups=6, bias=False)
        nn.init.constant_(self.filter.weight, 1 / 3)
        self.position = nn.Parameter(torch.zeros(6, 5))
        self.mix = nn.Linear(5, 4)
        nn.init.constant_(self.mix.weight, 1 / 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(self.filter(x + self.position))
