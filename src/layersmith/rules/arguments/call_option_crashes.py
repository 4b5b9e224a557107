"""A flag of forward must work in both ways, and a mask that is none by default may be left out.

## Why it matters
`forward(x, return_weights=True)` was tested as it stands. With False the inner call returns something else, a name is not
bound, and whoever wants the plain output gets an AttributeError.

## How it is tested
Each argument of forward that is True or False by default is given the other value. What is told is a slip, a name or an
attribute that is not there; what needs another argument that is None, and what the module refuses, passes. A mask
(`mask`, `attn_mask`) that is None by default is left out; it is told where the call then stumbles over that None.

## How to fix it
Run it once with the other value, and mend the line.

## How to reproduce it
    import inspect
    usual = inspect.signature(module.forward).parameters[where].default if where else None
    changed = None if usual is None else not usual
    module(*args, **({**kwargs, where: changed} if where else kwargs))
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import masking, refusal, source, wording
from layersmith.probe.inputs import Inputs
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

MASK = re.compile(r"^(?:\w+_)?mask$")
SLIPS = (NameError, AttributeError)


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.CALLABLE)
def call_option_crashes(case: Case) -> Iterator[Finding]:
    """Turn one flag at a time; one finding a line."""
    parameters = inspect.signature(case.module.forward).parameters
    given = [*parameters][: len(case.inputs.args)]
    flags = {name: one.default for name, one in parameters.items() if type(one.default) is bool}
    open_ = {name: value for name, value in flags.items() if name not in given}
    optional = [name for name, one in parameters.items() if MASK.search(name) and one.default is None]
    if not open_ and not optional:
        raise NotApplicable("no argument of forward is a flag, or a mask that may be left out")
    lines = set()
    forward = source.function_node(source.forward(type(case.module)))
    text = ast.unparse(forward) if forward is not None else ""
    for name in optional:
        if f"if {name} is None" in text:  # then something else is asked for
            continue
        error = case.fresh().error(masking.with_argument(tuple(parameters), case.inputs, name, None))
        if error is not None and "NoneType" in str(error) and not source.is_refusal(error, case.module):
            place = source.error_line(error, case.module)
            yield _finding(case.module, f"{name}=None", name, error, place)
    for name, usual in open_.items():
        now = case.inputs.kwargs.get(name, usual)
        try:
            case.fresh().run(Inputs(case.inputs.args, {**case.inputs.kwargs, name: not now}))
        except SLIPS as error:
            place = source.error_line(error, case.module)
            if "NoneType" in str(error) or refusal.is_refusal(error) or place in lines:
                continue
            lines.add(place)
            yield _finding(case.module, f"{name}={not now}", name, error, place)
        except Exception:  # noqa: BLE001, S112 - it may want other inputs
            continue


def _finding(module: nn.Module, said: str, name: str, error: Exception, place: tuple[str, int]) -> Finding:
    return Finding(
        f"{type(module).__name__}.forward(..., {said}) raises {wording.short(error)}",
        name,
        *place,
        fix=f"mend what {said} runs into",
    )


@call_option_crashes.bad(
    "forward(..., with_weights=False) raises AttributeError", inputs=lambda: torch.randn(2, 5, 6)
)
class UnpacksOneWayOnly(nn.Module):
    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def mixed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        weights = (self.linear(x) @ x.mT).softmax(-1)
        return weights @ x, weights

    def forward(self, x: Tensor, *, with_weights: bool = True) -> Tensor | tuple[Tensor, Tensor]:
        output = self.mixed(x)
        if with_weights:
            return output[0].relu(), output[1]
        return output.relu()  # type: ignore[attr-defined]


@call_option_crashes.bad("forward(..., scaled=True) raises UnboundLocalError")
class BindsOneWayOnly(nn.Module):
    def forward(self, x: Tensor, *, scaled: bool = False) -> Tensor:
        if not scaled:
            y = x.relu()
        return y * 2 if scaled else y


@call_option_crashes.bad(
    "forward(..., mask=None) raises",
    inputs=lambda: Inputs((torch.randn(2, 5, 6),), {"mask": torch.tensor([[True] * 4 + [False]] * 2)}),
)
class NeedsItsMask(nn.Module):
    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return x.relu() * mask[..., None]  # type: ignore[index]


@call_option_crashes.good(
    inputs=lambda: Inputs((torch.randn(2, 5, 6),), {"mask": torch.tensor([[True] * 4 + [False]] * 2)})
)
class MayLackItsMask(nn.Module):
    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return x.relu() if mask is None else x.relu() * mask[..., None]


@call_option_crashes.good(inputs=lambda: torch.randn(2, 5, 6))
class UnpacksBothWays(UnpacksOneWayOnly):
    def forward(self, x: Tensor, *, with_weights: bool = True) -> Tensor | tuple[Tensor, Tensor]:
        output, weights = self.mixed(x)
        return (output.relu(), weights) if with_weights else output.relu()


@call_option_crashes.good
class NeedsAnotherInput(nn.Module):
    """With the flag it wants a state, which is none by default."""

    def forward(self, x: Tensor, state: Tensor | None = None, *, goes_on: bool = False) -> Tensor:
        return x + state.mean() if goes_on else x.relu()  # type: ignore[union-attr]
