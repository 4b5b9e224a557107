"""What is declared for training must happen in training: a dropout is applied, a batch norm learns.

## Why it matters
A dropout that is made and never called regularises nothing, and the number in the configuration is reported as if it
did. `F.dropout(x, p, training=False)` and a batch norm that is fixed in eval mode look right as well.

## How it is tested
In train mode the calls of dropouts and batch norms are watched. Reported are: an `nn.Dropout` with 0 < p < 1
whose name no method but `__init__` mentions, `F.dropout` with `training=False`, a dropout whose result is
thrown away, a rate that the module keeps (`self.dropout = 0.1`) where no random number is drawn at all, and
`F.batch_norm` with `training=False` over statistics that nobody has set.

## How to fix it
Call it: `x = self.dropout(x)`, `F.dropout(x, p, training=self.training)`. What is not used is to be deleted.

## How to reproduce it
    module.train()
    one, other = run(), run()
    drops = [name for name, part in module.named_modules() if isinstance(part, nn.Dropout) and part.p > 0]
    assert not drops or not torch.equal(one, other), f"{drops} never drop anything in train mode"
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import closeness, randomness, source, switches
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case

RATE = re.compile(r"^_?(?:p_?)?(?:\w+_)?(?:dropout|drop|drop_?rate|drop_?prob|dropout_?p|dropout_?rate)$")
RANDOM = (nn.RNNBase, nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.RReLU)


@rule(
    severity=Severity.WARNING,
    since="0.1",
    promise=Promise.OBEYS_MODES,
    after=("forward-raises", "nondeterministic-eval", "mode-not-propagated"),
)
def mode_ignored(case: Case) -> Iterator[Finding]:
    """Watch one call in train mode."""
    asked = case.fresh(training=True)
    if any(not part.training for part in nn.Module.modules(asked.module)):
        return  # an override keeps parts of it in eval mode
    with switches.Switches() as seen, randomness.Draws() as draws:
        first = asked.run()
    yield from _uncalled(asked.module)
    for one in seen.off:
        yield Finding(f"{one.operation}() has training=False in train mode", "", one.file, one.line, one.fix)
    thrown = [
        draw for draw in draws.seen if draw.is_dropout and switches.is_thrown_away(draw.file, draw.line)
    ]
    for draw in thrown[:1]:
        message = f"the result of {draw.operation}() is thrown away"
        yield Finding(message, "", draw.file, draw.line, "x = dropout(x)")
    is_fixed = not draws.seen and not closeness.gaps(first, case.fresh(training=True).run(seed=case.seed + 1))
    if is_fixed and not seen.off:
        yield from _kept_rates(asked.module)


def _uncalled(module: nn.Module) -> Iterator[Finding]:
    """The dropouts that no method but the constructor of the class that made them mentions, and no other module has."""
    held = Counter(id(child) for part in nn.Module.modules(module) for child in part.children())
    unused: dict[tuple[type, str], list[str]] = {}
    for path, part in module.named_modules():
        rate = getattr(part, "p", 0.0)
        is_dropout = isinstance(part, nn.modules.dropout._DropoutNd)  # noqa: SLF001 - their common base
        if not is_dropout or not 0 < rate < 1 or held[id(part)] > 1:
            continue
        holder, attribute = source.owner(module, path)
        cls: type = type(holder)
        if path and not cls.__module__.startswith("torch.") and _is_unused(cls, attribute):
            unused.setdefault((cls, attribute), []).append(f"{path} (p={rate:g})")
    for (cls, attribute), (first, *others) in unused.items():
        more = f", nor are {len(others)} more, in modules of its class" if others else ""
        place = source.attribute_line(cls, attribute)
        path = first.partition(" ")[0]
        yield Finding(f"{first} is never applied{more}", path, *place, fix=f"x = self.{attribute}(x)")


def _is_unused(cls: type, attribute: str) -> bool:
    """Whether the class makes it and its methods never say its name, nor go through their children by a loop."""
    named = source.methods_naming(cls, attribute)
    loops = ("children", "named_children", "modules", "_modules", "__dict__")
    return named == {"__init__"} and not any(source.methods_naming(cls, loop) for loop in loops)


def _kept_rates(module: nn.Module) -> Iterator[Finding]:
    """The rates that a module keeps, while nothing random happens in it."""
    if any(isinstance(part, (*RANDOM, nn.modules.dropout._DropoutNd)) for part in nn.Module.modules(module)):  # noqa: SLF001 - as above
        return
    for path, part in module.named_modules():
        for name, value in vars(part).items():
            is_rate = RATE.match(name) and isinstance(value, float) and 0 < value < 1
            if is_rate and not source.methods_using(
                type(part), name
            ):  # else it may drop with other arguments
                place = source.attribute_line(type(part), name)
                where = f"{path}.{name}" if path else name
                message = f"{where} = {value:g}, but nothing is dropped in train mode"
                yield Finding(message, where, *place, fix=f"F.dropout(x, self.{name}, self.training)")


@mode_ignored.bad("dropout (p=0.1) is never applied")
class NeverDrops(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).relu()


@mode_ignored.bad("dropout() has training=False")
class DropsNowhere(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, 0.3, training=False)


@mode_ignored.bad("the result of dropout() is thrown away")
class ThrowsAway(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear(x)
        nn.functional.dropout(x, 0.2, training=self.training)
        return x


@mode_ignored.bad("drop_rate = 0.2, but nothing is dropped")
class KeepsTheRateOnly(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.drop_rate = 0.2
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).relu()


@mode_ignored.good
class UsesItsRate(nn.Module):
    """Attention takes the rate of the submodule, and does the dropping itself."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, None, None]
        p = self.drop.p if self.training else 0.0
        return nn.functional.scaled_dot_product_attention(x, x, x, dropout_p=p)[:, 0, 0]


@mode_ignored.good
class DropsBesideAShortcut(nn.Module):
    """There is something to drop only where a shortcut is left: with equal widths."""

    def __init__(self, width: int = 12, drop_rate: float = 0.2) -> None:
        super().__init__()
        self.drop_rate = drop_rate
        self.linear = nn.Linear(6, width)
        self.is_residual = width == self.linear.in_features

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        if self.is_residual:
            y = x + nn.functional.dropout(y, self.drop_rate, self.training)
        return y


@mode_ignored.good
class AppliesItInASequence(nn.Module):
    """The sequence that forward calls holds it too."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.dropout = nn.Dropout(0.1)
        self.net = nn.Sequential(self.linear, nn.ReLU(), self.dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


@mode_ignored.good
class HasFixedStatistics(nn.Module):
    """Statistics of another model, which are meant to stay."""

    mean: Tensor
    var: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((6,), 0.5))
        self.register_buffer("var", torch.full((6,), 0.3))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.batch_norm(x, self.mean, self.var)
