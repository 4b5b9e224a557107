"""At initialisation, what tells two inputs apart must survive to the last layer.

## Why it matters
Weights that multiply their signal by a tenth leave a thousandth after three layers: all inputs look the same to the
last one, the output hardly depends on the input, and the gradient vanishes by the same factor on its way back.

## How it is tested
One forward in train mode. The spread over the batch of what each layer gets is compared from the first layer to the
last. Reported: less than a thousandth remains after a weight of std * sqrt(fan_in) < 0.25 (torch's default is 0.58),
less than a hundredth after two, or less than 1e-5 whatever the weights are, and it never recovers. A normalisation or a
residual sum that follows makes it harmless; a small last layer, weights of zero and std 0.02 are meant.

## How to fix it
`std = gain / sqrt(fan_in)`, with the gain of the activation that follows (`layersmith.gain`); deep stacks:
`layersmith.initialize_(model, x)`, a normalisation, or residual sums. `layersmith init` shows where the signal is lost.
Source: Glorot and Bengio 2010, Understanding the difficulty of training deep feedforward neural networks.

## How to reproduce it
    leaf = args[0].clone().requires_grad_()
    run(leaf, *args[1:]).square().sum().sqrt().backward()
    assert leaf.grad.norm() > 1e-3, f"of a gradient of norm 1, {leaf.grad.norm():.1g} arrives at the input"
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.load import pretrained
from layersmith.probe import reading, source
from layersmith.probe.closeness import REMAINS, REMAINS_AT_ALL, REMAINS_OF_TWO, SIGNAL_LOSS
from layersmith.probe.contractions import Contraction, contractions
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

ROUNDING = 1e-6
USUAL = (0.018, 0.022)  # std of transformers' weights, right at their width


@rule(
    severity=Severity.WARNING,
    since="0.1",
    promise=Promise.SIGNAL_PRESERVED,
    after=(
        "forward-raises",
        "nondeterministic-eval",
        "exploding-signal",
        "symmetric-init",
        "dead-at-init",
        "saturated-at-init",
    ),
)
def vanishing_signal(case: Case) -> Iterator[Finding]:
    """Where the signal begins to be lost, and how much of it arrives."""
    if pretrained.left_out():
        raise NotApplicable("the weights that it starts from are not at hand")
    case.module.train()
    # What is alike in all rows, as a first state of zeros or a learned query, is no signal of theirs.
    all_ = contractions(case.module, case.inputs)
    found = [one for one in itertools.dropwhile(_is_alike, all_) if one.input_spread != 0.0]
    if len(found) < 2 or any(math.isnan(one.input_spread) for one in found):  # noqa: PLR2004 - first and last
        raise NotApplicable("it has no two layers with weights, or its batch has one row")
    lossy = [one for index, one in enumerate(found[:-1]) if _is_lossy(case.module, one, found[index + 1 :])]
    first = lossy[0] if lossy else found[0]
    remains = found[-1].input_spread / first.input_spread if first.input_spread else 1.0
    is_lost = remains < (REMAINS_OF_TWO if len(lossy) > 1 else REMAINS if lossy else REMAINS_AT_ALL)
    if is_lost and not any(one.rms == 0.0 for one in found) and _never_recovers(found, first):
        yield _finding(case.module, lossy, first, remains, len(found))


def _is_alike(one: Contraction) -> bool:
    """Whether all rows get the same, but for rounding: as members of an ensemble do, before their weights part them."""
    return one.input_spread <= ROUNDING * one.input_rms


def _is_lossy(module: nn.Module, one: Contraction, later: list[Contraction]) -> bool:
    if one.is_normalised or not 0 < one.factor < SIGNAL_LOSS:
        return False
    std = float(module.get_parameter(one.parameter).detach().double().std())
    return not USUAL[0] < std < USUAL[1] and all(other.parameter != one.parameter for other in later)


def _never_recovers(found: list[Contraction], first: Contraction) -> bool:
    """Whether after the first loss it only becomes less, but for a little."""
    spreads = [one.input_spread for one in found[found.index(first) + 1 :]]
    return all(later < 3 * earlier for earlier, later in itertools.pairwise(spreads))


def _finding(
    module: nn.Module, lossy: list[Contraction], first: Contraction, remains: float, count: int
) -> Finding:
    parameter = module.get_parameter(first.parameter).detach()
    file, line = reading.drawn_line(module, first.parameter) if lossy else source.class_line(type(module))
    wanted = 1 / math.sqrt(first.fan_in)
    if lossy:
        more = f", and {len(lossy) - 1} more like it" if len(lossy) > 1 else ""
        what = (
            f"{first.parameter} has std {float(parameter.double().std()):#.3g} at fan_in {first.fan_in} and "
            f"multiplies its signal by {first.factor:#.3g}{more}"
        )
    else:
        what = f"{count} layers in a row each lose a part of the signal"
    return Finding(
        f"{what}: of what tells two inputs apart {remains:.1e} arrives at the last layer",
        where=first.parameter if lossy else "",
        file=file,
        line=line,
        fix=f"initialise with std gain / sqrt(fan_in), here {wanted:#.3g} times the gain of the activation"
        if lossy
        else "layersmith.initialize_(model, x), or normalise, or add residual sums",
        numbers={"factor": first.factor, "remains": remains, "limit": REMAINS, "layers": count},
    )


@vanishing_signal.bad("multiplies its signal by", inputs=lambda: torch.randn(8, 32))
class WeightsOfAThousandth(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(32, 32) for _ in range(4)])
        for name, parameter in self.named_parameters():
            if name.endswith("weight"):
                nn.init.normal_(parameter, std=0.001)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return x


@vanishing_signal.bad("20 layers in a row each lose a part", inputs=lambda: torch.randn(8, 32))
class DeepAndPlain(nn.Module):
    """torch's default and a sigmoid, which takes three quarters and more at each layer."""

    def __init__(self) -> None:
        super().__init__()
        layers = [part for _ in range(19) for part in (nn.Linear(32, 32), nn.Sigmoid())]
        self.body = nn.Sequential(*layers, nn.Linear(32, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


@vanishing_signal.good(inputs=lambda: torch.randn(8, 32))
class SmallBranchesAndHead(nn.Module):
    """Small weights are right in a residual branch and in the last layer of a policy."""

    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Sequential(nn.Linear(32, 32), nn.GELU())
        self.last = nn.Linear(32, 32)
        nn.init.normal_(self.last.weight, std=1e-4)
        self.norm = nn.LayerNorm(32)
        self.head = nn.Linear(32, 3)
        nn.init.orthogonal_(self.head.weight, gain=0.01)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(x + self.last(self.branch(x))))
