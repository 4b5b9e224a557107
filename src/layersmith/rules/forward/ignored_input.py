"""Every input, and every feature of it, must have an effect on some output.

## Why it matters
`self.attention(x, x, x)` where `context` was meant, `a * sigmoid(a)` where `b` was: one wrong letter, and half of
what the model is given never arrives. Shapes fit, the loss falls, only the result is worse than it should be.

## How it is tested
Each tensor is replaced by others of its kind, in eval and in train mode, after every parameter was moved a little (a
gate may start at zero). If no output moves, but by rounding that float64 does without, and no gradient arrives, it is
ignored. Features are found by gradients that are exactly zero, and confirmed by changing them. Masks and lengths,
arguments of which only the shape, device or dtype is read, those that the code calls unused or reads in a branch that
is not taken, and features that a fixed mask or window, or a slice by an option, leaves out pass.
An argument with a default, which the call leaves out, is followed in the source: it is reported where it is documented
or reassigned and then changes nothing, unless another `forward` of the file, or of a base, takes it too. What is never
read, though another class takes the very same arguments, is a note: an interface demands it.

## How to fix it
Use it; if the interface demands it, name it `_context`, or say in a comment that it is unused.

## How to reproduce it
    module.eval()
    for index, x in enumerate(args):
        others = [*args]
        others[index] = torch.randn_like(x) * 3 if x.is_floating_point() else x.flip(-1)
        assert not where or not torch.equal(run(), run(*others)), f"input {index} has no effect"
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import arguments, executed, influence, scored, source, usage, wording
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case

SEEDS = (0, 1)


@rule(
    severity=Severity.WARNING,
    since="0.1",
    promise=Promise.EVERY_INPUT_MATTERS,
    after=("forward-raises", "nondeterministic-eval", "input-modified", "unseeded-init"),
)
def ignored_input(case: Case) -> Iterator[Finding]:
    """Ask of each input, then of its features."""
    cls: type = type(case.module)
    every = [*arguments.named(case.module, case.inputs)]
    named = [
        one for one in every if not (usage.need_not_count(cls, one[1]) or usage.is_unnamed_entry(cls, one[0]))
    ]
    for path, name, tensor in named:
        if tensor.dtype is torch.bool or not tensor.numel():
            continue
        if not _matters(case, tensor):
            if len(named) > 1 and not _may_be_ignored(case, path, name, tensor):
                severity = Severity.NOTE if usage.is_demanded(cls, name) else None
                said = f"{arguments.spelled(path, name)} has no effect on any output"
                yield _finding(case.module, path, said, severity=severity)
            continue
        dead = _dead(case, tensor)
        if len(dead) > 1 and not _may_be_dead(case, name, tensor, dead):  # one may be where a window is zero
            size = tensor.shape[influence.feature_axis(case.module, tensor) or 0]
            said = f"{len(dead)} of {size} features of {name or path} ({wording.span(dead)}) have no effect on any output"
            yield _finding(case.module, path, said)
    given = {name for _, name, _ in every}
    for one in usage.idle(cls):
        if one.name not in given and not usage.need_not_count(cls, one.name):
            yield _finding(case.module, one.name, f"{one.name} has no effect: it is {one.how}", line=one.line)


def _may_be_ignored(case: Case, path: str, name: str, tensor: Tensor) -> bool:
    """Whether it is not meant to count, chooses among others, or waits for more steps than inference gave."""
    cls: type = type(case.module)
    if usage.is_excused(cls, name) or usage.is_picked(cls, path, name):
        return True
    fresh, inputs = case.fresh().module, case.inputs
    is_guess = bool(case.subject.inferred_from)
    if executed.is_read_elsewhere(fresh, inputs, tensor) or influence.is_chosen(fresh, inputs, tensor):
        return True
    return is_guess and influence.has_effect_when_larger(case.fresh().module, inputs, tensor, seeds=SEEDS)


def _may_be_dead(case: Case, name: str, tensor: Tensor, dead: list[int]) -> bool:
    """Whether a slice, mask or token leaves these features out, or inference gave too many features or too few steps."""
    module, inputs = case.fresh().module, case.inputs
    cls: type = type(module)
    if usage.is_cut_by_an_option(cls, name):
        return True
    if case.subject.inferred_from and (
        influence.is_too_wide(module, inputs, tensor, dead)
        or influence.is_too_short(module, inputs, tensor, seeds=SEEDS)
    ):
        return True
    if (found := scored.given(inputs)) is not None and found.scores is tensor:
        return True  # of classes that are no row's target
    axis = influence.feature_axis(module, tensor) or 0
    part = torch.zeros_like(tensor, dtype=torch.bool).index_fill_(axis, torch.tensor(dead), value=True)
    return (
        influence.is_masked_out(module, tensor.shape[axis], dead)
        or executed.is_part_read_elsewhere(module, inputs, tensor, part)
        or influence.is_per_token(module, inputs, tensor)
        or influence.is_under_zeros(case.fresh().module, inputs, tensor, dead, seeds=SEEDS)
    )


def _matters(case: Case, tensor: Tensor) -> bool:
    for training in (False, True):
        asked = case.fresh(training=training).module
        influence.open_gates(asked)
        try:
            if influence.has_effect(asked, case.inputs, tensor, seeds=SEEDS):
                return True
        except Exception:  # noqa: BLE001 - other values need not be accepted: they are looked at
            return True
    return False


def _dead(case: Case, tensor: Tensor) -> list[int]:
    found: set[int] | None = None
    for training in (False, True):
        asked = case.fresh(training=training).module
        influence.open_gates(asked)
        try:
            dead = set(influence.dead_features(asked, case.inputs, tensor, seeds=SEEDS))
        except Exception:  # noqa: BLE001 - as above
            return []
        found = dead if found is None else found & dead
        if not found:
            return []
    return sorted(found or ())


def _finding(
    module: nn.Module, path: str, message: str, *, line: int = 0, severity: Severity | None = None
) -> Finding:
    cls: type = type(module)
    line = line or getattr(source.function_node(getattr(cls, "forward", None)), "lineno", 0)
    fix = "use it, or name it _unused where an interface demands it"
    return Finding(message, path, source.file_of(cls), line, fix, severity=severity)


@ignored_input.bad("context has no effect", inputs=lambda: (torch.randn(2, 3, 6), torch.randn(2, 4, 6)))
class AttendsToItself(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        x = x + self.attention(x, x, x)[0]
        return x if context is None else x + self.attention(x, x, x)[0]


@ignored_input.bad("3 of 6 features of x (3 to 5) have no effect")
class GatesByItself(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        value, _gate = x.chunk(2, dim=-1)
        return value * value.sigmoid()


@ignored_input.bad(
    "memory has no effect: it is given a value, which is never read", inputs=lambda: torch.randn(2, 3, 6)
)
class ForgetsTheMemory(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, x: Tensor, memory: Tensor | None = None) -> Tensor:
        memory = x if memory is None else memory
        return self.attention(x, x, x)[0]


@ignored_input.good(inputs=lambda: torch.randn(2, 3, 6))
class TakesWhatOthersTake(nn.Module):
    """An argument that an interface demands, and of which nothing is said."""

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return x.softmax(-1)


@ignored_input.good(inputs=lambda: (torch.randn(2, 3, 6), torch.randn(2, 4, 6)))
class OpensSlowly(nn.Module):
    """The gate starts at zero, so the context has no effect yet."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        return x + self.gate.tanh() * self.attention(x, context, context)[0]


@ignored_input.good(inputs=lambda: (torch.randn(4, 6), torch.randn(4, 6)))
class AsLongAsTheOther(nn.Module):
    """Only the shape of `like` is asked for."""

    def forward(self, x: Tensor, like: Tensor) -> Tensor:
        return x[:, : like.shape[-1]].relu()


@ignored_input.good(inputs=lambda: (torch.randint(0, 9, (4, 7)), torch.randn(4, 7)))
class NumbersBesideTokens(nn.Module):
    """A number counts where its token says that one stands there."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 6)

    def forward(self, tokens: Tensor, numbers: Tensor) -> Tensor:
        is_number = tokens == self.embedding.num_embeddings - 1
        return self.embedding(tokens) * torch.where(is_number, numbers, 1.0).unsqueeze(-1)


@ignored_input.good(inputs=lambda: (torch.randn(2, 3, 6), torch.arange(3.0)))
class PlacesStepsInItsCache(nn.Module):
    """Where the steps are counts only once a cache was set up."""

    def __init__(self) -> None:
        super().__init__()
        self.cache: Callable[[Tensor, Tensor], Tensor] | None = None

    def forward(self, x: Tensor, places: Tensor) -> Tensor:
        if self.cache is not None:
            x = self.cache(x, places)
        return x.relu()


@ignored_input.good
class LeavesOutSomeFeatures(nn.Module):
    """A fixed mask says which features count, as in autoregressive networks."""

    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0, 0.0]))
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x * self.mask)


@ignored_input.good(inputs=lambda: (torch.zeros(4, 6).long(), torch.randn(4, 6)))
class NumbersOfSomeTokens(nn.Module):
    """A number counts only where the token stands for one: with these tokens, at the first place."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 6)

    def forward(self, tokens: Tensor, numbers: Tensor) -> Tensor:
        first = torch.arange(6, device=tokens.device) == 0
        return self.embedding(tokens) * numbers.where((tokens == 1) | first, 1).unsqueeze(-1)


@ignored_input.good(inputs=lambda: torch.randn(4, 6))
class LooksFromSomewhere(nn.Module):
    """Half of the features count only where an option asks for them."""

    def __init__(self, sees_direction: bool = False) -> None:
        super().__init__()
        self.sees_direction = sees_direction
        self.colour = nn.Linear(8 + 3 * sees_direction, 3)
        self.density = nn.Linear(3, 8)

    def forward(self, x: Tensor) -> Tensor:
        place, direction = x.split(3, dim=-1)
        h = self.density(place).relu()
        if self.sees_direction:
            h = torch.cat([h, direction], -1)
        return self.colour(h)


@ignored_input.good(inputs=lambda: torch.randn(2, 32, 3))
class SeesSomeStepsBack(nn.Module):
    """The steps are behind the batch, and the first are too far from the last."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv1d(3, 8, 5), nn.ReLU(), nn.Conv1d(8, 8, 5, dilation=2))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.transpose(1, 2))[..., -1]
