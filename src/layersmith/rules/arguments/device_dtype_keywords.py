"""A constructor that takes `device` and `dtype` must put everything there.

## Why it matters
`Block(4096, device="meta", dtype=torch.bfloat16)` is how large models are made without filling memory twice. One
tensor that is left on the CPU, or in float32, fails at the first call, or silently costs the memory that was to be saved.

## How it is tested
The class is built with `dtype=torch.float64` and with `device="meta"`: every parameter must be of that type and on that
device, and every buffer on that device. Nothing is asked where modules or tensors are passed in as arguments. A
constructor that keeps its device for use in forward, and makes every parameter elsewhere, is a note.

## How to fix it
Pass both on: `factory = {"device": device, "dtype": dtype}`, then `nn.Linear(a, b, **factory)` and
`torch.empty(n, **factory)`.

## How to reproduce it
    tensors = type(module)(dtype=torch.float64).state_dict()
    behind = [name for name, tensor in tensors.items() if tensor.is_floating_point() and tensor.dtype != torch.float64]
    assert not behind, f"dtype=torch.float64 leaves {behind} behind"
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import parameters, refusal, source, wording
from layersmith.probe.surroundings import preserved
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case, Construction

PLAIN = (bool, int, float, str, tuple, list, type(None), torch.dtype, torch.device)
ELSEWHERE = {"dtype": torch.float64, "device": torch.device("meta")}


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.EVERY_ARGUMENT_MATTERS)
def device_dtype_keywords(case: Case) -> Iterator[Finding]:
    """Build it elsewhere, and look for what stayed."""
    construction = case.subject.construction
    taken = _taken(construction.cls) if construction is not None else []
    if construction is None or not taken:
        raise NotApplicable("its constructor takes neither device nor dtype")
    for name in taken:
        yield from _asked(construction, name)


def _taken(cls: type[nn.Module]) -> list[str]:
    """Which of the two keywords the constructor has, of the usual meaning: left out by default."""
    parameters = inspect.signature(cls.__init__).parameters
    return [
        name
        for name in ELSEWHERE
        if name in parameters and parameters[name].default is not inspect.Parameter.empty
    ]


def _asked(construction: Construction, name: str) -> Iterator[Finding]:
    cls = construction.cls
    try:
        with preserved(seed=0):
            module = construction.build(**{name: ELSEWHERE[name]})
    except Exception as error:  # noqa: BLE001 - whatever the constructor raises
        if not refusal.is_refusal(error) and not (name == "device" and _wants_values(error)):
            yield _crash(cls, name, error)
        return
    tensors = [*_tensors(module, construction)]
    stayed = [path for path, tensor in tensors if not _is_there(tensor, name)]
    if stayed:
        yield _finding(cls, module, name, stayed, len(tensors))


def _wants_values(error: Exception) -> bool:
    """Whether the constructor computes with values, which tensors on `meta` do not have."""
    return "meta" in str(error).lower() or "item()" in str(error)


def _tensors(module: nn.Module, construction: Construction) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers; none where the caller gave modules or tensors."""
    if all(isinstance(value, PLAIN) for value in construction.arguments.values()):
        yield from (*module.named_parameters(), *module.named_buffers())


def _is_there(tensor: Tensor, name: str) -> bool:
    if name == "device":
        return tensor.device.type == "meta"
    is_asked = isinstance(tensor, nn.Parameter) and tensor.is_floating_point()
    return tensor.dtype == torch.float64 or not is_asked


def _finding(cls: type[nn.Module], module: nn.Module, name: str, stayed: list[str], count: int) -> Finding:
    file, line = source.parameter_line(module, stayed[0])
    named = wording.listed(stayed)
    is_other = len(stayed) == count and parameters.is_kept(cls, name)
    return Finding(
        f"{cls.__name__}({name}={_said(name)}) leaves {named} behind: {len(stayed)} of {count} tensors",
        where=stayed[0],
        file=file,
        line=line,
        fix=f"make it with {name}={name}",
        numbers={"stayed": len(stayed), "tensors": count},
        severity=Severity.NOTE if is_other else None,
    )


def _crash(cls: type[nn.Module], name: str, error: Exception) -> Finding:
    file = parameters.file(cls)
    return Finding(
        f"{cls.__name__}({name}={_said(name)}) raised {wording.short(error)}",
        where=name,
        file=file,
        line=refusal.line_of(error, file) or source.class_line(cls)[1],
        fix=f"pass {name} only to what takes it",
    )


def _said(name: str) -> Any:
    return "torch.float64" if name == "dtype" else "'meta'"


@device_dtype_keywords.bad("HalfPassedOn(dtype=torch.float64) leaves bias behind: 1 of 2")
class HalfPassedOn(nn.Module):
    def __init__(self, width: int = 6, *, device: object = None, dtype: object = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, width, device=device, dtype=dtype))  # type: ignore[call-overload]
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight, self.bias)


@device_dtype_keywords.bad("BufferStays(device='meta') leaves table behind: 1 of 3")
class BufferStays(nn.Module):
    table: Tensor

    def __init__(self, width: int = 6, *, device: str | None = None) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width, device=device)
        self.register_buffer("table", torch.arange(float(width)))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + self.table


@device_dtype_keywords.good
class PassesBothOn(nn.Module):
    """A buffer of indices keeps its dtype."""

    order: Tensor

    def __init__(
        self, width: int = 6, *, device: str | None = None, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width, device=device, dtype=dtype)
        self.register_buffer("order", torch.arange(width, device=device))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)[:, self.order]
