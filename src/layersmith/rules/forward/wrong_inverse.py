"""`inverse()` must undo `forward()`.

## Why it matters
A flow is trained through forward alone. A slip in the inverse (scale before shift, a forgotten permutation) shows
only when samples are drawn, and then looks like a model that has not learnt.

## How it is tested
In eval mode and float64: the first output of forward goes through the method `inverse`, or through forward with
`inverse=True` (`reverse=True` where the class speaks of flows or log-determinants). Where output and input have the same
shape, the input must come back. What loses something on purpose, as a projection, passes: there forward gives the same
output for what came back. Then parameters that are one number throughout, as gains of one and last layers of zeros, are
moved a little, as training does: what came back must still do. So it is asked of methods of which one is the other's
inverse by its name, `norm` and `denorm`, and that a call goes through.

## How to fix it
Undo the steps in reverse order: `y = x * scale + shift` is undone by `(y - shift) / scale`.

## How to reproduce it
    module.double().eval()
    args = tuple(x.double() if x.is_floating_point() else x for x in args)
    back = module.inverse(run(*args))
    back = back[0] if isinstance(back, tuple) else back
    assert torch.allclose(back, args[0], rtol=1e-3, atol=1e-4), "inverse() does not undo forward()"
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import closeness, source, tree, undoing
from layersmith.probe.inputs import Inputs
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

OF_FLOWS = re.compile(r"log_?(?:abs_?)?det|jacobian|\bflow|invertib|coupling|bijec", re.IGNORECASE)


@rule(
    severity=Severity.WARNING,
    since="0.1",
    promise=Promise.CALLABLE,
    after=("forward-raises", "nondeterministic-eval", "hard-coded-dtype"),
)
def wrong_inverse(case: Case) -> Iterator[Finding]:
    """Go there and back, and there again; then with gains that are no more one, as trained ones are not."""
    fresh = case.fresh(dtype=torch.float64)
    parted = [*undoing.undone(fresh.module, fresh.inputs)]
    yield from map(_of_methods, parted)
    flag = _flag(case.module)
    if parted:
        return
    if not flag and not hasattr(type(case.module), "inverse"):
        raise NotApplicable("it has no inverse")
    asked = case.fresh(dtype=torch.float64)
    asked.run()  # the first call may initialise
    gap, is_kept = _asked(asked, flag)
    if gap.is_open and is_kept:
        return
    if not gap.is_open:
        undoing.stir(asked.module)
        gap, _ = _asked(asked, flag)
    if gap.is_open:
        yield _finding(case.module, flag, gap)


def _asked(asked: Case, flag: str) -> tuple[closeness.Gap, bool]:
    """How far off is what comes back, and whether forward makes the same of it nevertheless."""
    x, there = next(asked.inputs.tensors()), _first(asked.run())
    back = _back(asked, there, flag)
    if back is None or back.shape != x.shape or there.shape != x.shape:
        raise NotApplicable("its inverse does not take the output of forward and give its input")
    again = _first(asked.run(_given(asked.inputs, back)))
    return closeness.gap(x.float(), back.float()), not closeness.gap(there.float(), again.float()).is_open


def _flag(module: nn.Module) -> str:
    """The argument of forward that turns it round; "" if there is none."""
    cls: type = type(module)
    for name, parameter in inspect.signature(module.forward).parameters.items():
        is_plain = name in {"inverse", "invert"} or (
            name in {"reverse", "rev"} and OF_FLOWS.search(source.text_of(cls))
        )
        if is_plain and parameter.default is False:
            return name
    return ""


def _back(case: Case, there: Tensor, flag: str) -> Tensor | None:
    """What the inverse makes of an output; None where it is to be called in another way."""
    given = _given(case.inputs, there)
    try:
        if flag:
            return _first(case.run(Inputs(given.args, {**given.kwargs, flag: True})))
        undo: Any = case.module.inverse
        return _first(undo(*given.args, **given.kwargs))
    except Exception:  # noqa: BLE001 - how it is called is not known
        return None


def _given(inputs: Inputs, first: Tensor) -> Inputs:
    """The same call with another tensor in the first one's place."""
    old = next(inputs.tensors())
    return inputs.map(lambda tensor: first.detach().clone() if tensor is old else tensor)


def _first(output: Any) -> Tensor:
    return next((one for one in tree.tensors(output) if one.is_floating_point()), torch.empty(0))


def _of_methods(one: undoing.Undone) -> Finding:
    function = inspect.unwrap(one.method)
    return Finding(
        f"{one.back}() undoes {one.there}() only while gains are one and shifts zero, as they start: with others what "
        f"comes back is off by {one.gap.max_abs:.2g}, limit {one.gap.limit:.2g}",
        one.path,
        function.__code__.co_filename,
        function.__code__.co_firstlineno,
        fix=f"undo the steps of {one.there} in reverse order",
        numbers={"max_abs": one.gap.max_abs, "limit": one.gap.limit},
    )


def _finding(module: nn.Module, flag: str, gap: closeness.Gap) -> Finding:
    cls: type = type(module)
    node = source.function_node(getattr(cls, "forward" if flag else "inverse", None))
    file, line = source.class_line(cls)
    said = f"forward({flag}=True)" if flag else "inverse()"
    return Finding(
        f"{said} does not undo forward(): what comes back is off by {gap.max_abs:.2g}, limit {gap.limit:.2g}",
        file=file,
        line=node.lineno if node is not None else line,
        fix="undo the steps of forward in reverse order",
        numbers={"max_abs": gap.max_abs, "limit": gap.limit},
    )


@wrong_inverse.bad("inverse() does not undo forward()")
class ShiftsAfterScaling(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(3, 6)

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        a, b = x.chunk(2, dim=-1)
        scale, shift = self.net(a).chunk(2, dim=-1)
        return a, b, scale.tanh(), shift

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        a, b, scale, shift = self.parts(x)
        return torch.cat([a, b * scale.exp() + shift], dim=-1), scale.sum(-1)

    def inverse(self, y: Tensor) -> Tensor:
        a, b, scale, shift = self.parts(y)
        return torch.cat([a, b / scale.exp() - shift], dim=-1)


@wrong_inverse.bad("forward(reverse=True) does not undo forward()")
class FlipsTwoWays(nn.Module):
    """One step of a flow."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.linspace(0.5, 1.5, 6))

    def forward(self, x: Tensor, *, reverse: bool = False) -> Tensor:
        return x.flip(-1) / self.scale if reverse else x.flip(-1) * self.scale


@wrong_inverse.bad("inverse() does not undo forward()")
class WrongOnceTrained(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gain, self.shift = nn.Parameter(torch.ones(6)), nn.Parameter(torch.zeros(6))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain + self.shift

    def inverse(self, y: Tensor) -> Tensor:
        return y / self.gain - self.shift


class _Standardised(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gain, self.shift = nn.Parameter(torch.ones(6)), nn.Parameter(torch.zeros(6))

    def norm(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean = x.mean(1, keepdim=True)
        return (x - mean) * self.gain + self.shift, mean

    def denorm(self, y: Tensor, mean: Tensor) -> Tensor:
        return (y - self.shift) / self.gain + mean


class _StandardisedBadly(_Standardised):
    def denorm(self, y: Tensor, mean: Tensor) -> Tensor:
        return y / self.gain - self.shift + mean


class _Forecast(nn.Module):
    def __init__(self, norm: _Standardised) -> None:
        super().__init__()
        self.revin, self.linear = norm, nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        x, mean = self.revin.norm(x)
        return self.revin.denorm(self.linear(x), mean)


@wrong_inverse.bad("denorm() undoes norm() only while", inputs=lambda: torch.randn(3, 7, 6))
class ForecastsBadly(_Forecast):
    def __init__(self) -> None:
        super().__init__(_StandardisedBadly())


@wrong_inverse.good(inputs=lambda: torch.randn(3, 7, 6))
class Forecasts(_Forecast):
    def __init__(self) -> None:
        super().__init__(_Standardised())


@wrong_inverse.good
class UndoesItsSteps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.linspace(0.5, 1.5, 6))

    def forward(self, x: Tensor) -> Tensor:
        return x.flip(-1) * self.scale

    def inverse(self, y: Tensor) -> Tensor:
        return (y / self.scale).flip(-1)


@wrong_inverse.good
class ProjectsOnTheMean(nn.Module):
    """Its inverse cannot bring back what is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(6))

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(-1, keepdim=True) * self.weight

    def inverse(self, y: Tensor) -> Tensor:
        return y / self.weight
