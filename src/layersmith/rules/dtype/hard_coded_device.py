"""Tensors made in forward must lie where the input lies.

## Why it matters
`torch.zeros(n)` and `torch.arange(n)` make CPU tensors. On your machine's CPU everything passes; the first run
on a GPU ends with "expected all tensors to be on the same device".

## How it is tested
Module and inputs are moved to the `meta` device, which needs no GPU, and forward is called. A tensor that it made on
the CPU, and that meets a moved one in an operation, is reported with the line that made it. Numbers, indices, and
lengths that have to be on the CPU pass, and so does whatever needs values that `meta` has not. A class that works
with a card only is called with the processor in place of the card that is not there, and what goes to it is told; of
one that cannot be called at all, `.cuda()` in a method is told, unless it asks for a card first. Where the device is
one that the constructor was told or the file sets once for all, or the function asks whether its input lies on a card,
it is a note.

## How to fix it
`torch.zeros(n, device=x.device)`, `x.new_zeros(n)`, `torch.zeros_like(x)`; a buffer for what never changes.

## How to reproduce it
    from torch.overrides import TorchFunctionMode
    class Watch(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            is_here = isinstance(result, torch.Tensor) and result.device.type == "cpu"
            assert not is_here, f"{function.__name__}() makes a tensor on the CPU"
            return result
    module, moved = module.to("meta"), [x.to("meta") for x in args]
    with Watch(): run(*moved)
"""

from __future__ import annotations

import ast
import inspect
import linecache
import re
from collections.abc import Iterator
from typing import TypeGuard

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.load import cards
from layersmith.probe import devices, source, undefined
from layersmith.probe.registration import hidden
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case

KEPT = re.compile(r"self\.(?:\w+\.)*_?device\b")
LIES = re.compile(r"\.is_cuda\b|\.get_device\(|^(?:is_|use_)?cuda$")  # also where that was handed on
NUMBERED = (
    "this takes the number of a graphics card, and an input on the processor has none: get_device() is -1"
)
DEVICES = re.compile(r"(?:same|expected|correct) device|on the same device", re.IGNORECASE)


@rule(
    severity=Severity.ERROR,
    since="0.1",
    promise=Promise.FOLLOWS_DEVICE,
    after=("forward-raises", "parameter-made-in-forward", "unregistered-parameter", "unregistered-buffer"),
)
def hard_coded_device(case: Case) -> Iterator[Finding]:
    """Move it, call it, and see which tensors of its own making meet a moved one."""
    if cards.stands_in():
        yield from _to_cards(case)
        return
    plain = [one.value for one in hidden(case.module) if isinstance(one.value, Tensor)]
    parts = [one.value for one in hidden(case.module) if isinstance(one.value, nn.Module)]
    inside = [x for part in (*parts, *case.inputs.modules()) for x in _all(part)]
    held = [*case.module.parameters()]  # a real device moves their numbers, wherever else they are kept
    seen: set[tuple[str, int]] = set()
    found, error = devices.strangers(case.module, case.inputs, [*plain, *inside, *held])
    for one in found:
        if one.line and (one.file, one.line) not in seen and not source.is_machinery(one.file):
            seen.add((one.file, one.line))
            yield Finding(
                f"{one.operation}() makes a tensor on the CPU that meets the input's device",
                file=one.file,
                line=one.line,
                fix="pass device=x.device",
                severity=Severity.NOTE if _is_as_told(case.module, one.file, one.line) else None,
            )

    if not seen and error is not None and not plain and DEVICES.search(str(error)):
        file, line = source.error_line(error, case.module)
        text = " ".join(str(error).split())
        yield Finding(f"forward fails after .to(device): {text:.200}", "", file, line, "pass device=x.device")


def _to_cards(case: Case) -> Iterator[Finding]:
    """Where a call goes to the card for which the processor stands in."""
    for file, line in cards.places(case.run):
        if not source.is_machinery(file):
            yield Finding(
                NUMBERED
                if _is_numbered(file, line)
                else "this goes to the graphics card, wherever the input lies",
                file=file,
                line=line,
                fix="pass device=x.device",
                severity=Severity.NOTE if _is_as_told(case.module, file, line) else Severity.WARNING,
            )


def _is_numbered(file: str, line: int) -> bool:
    """Whether the device there is no card by name, in a file that asks an input for its number."""
    asks = any(".get_device(" in other for other in linecache.getlines(file))
    return asks and "cuda" not in linecache.getline(file, line)


def _is_as_told(module: nn.Module, file: str, line: int) -> bool:
    """Whether the line names a device that the module keeps, of a class that is told one: its builder sees to that."""
    at = [
        node
        for node in ast.walk(source.tree_of(file))
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or 0)
    ]
    text = ast.unparse(at[-1]) if at else ""
    kinds: set[type] = {type(part) for part in nn.Module.modules(module)}
    owners = [kind for kind in kinds if source.file_of(kind) == file]
    asks = any("device" in name for owner in owners for name in inspect.signature(owner).parameters)
    is_kept = asks and KEPT.search(text) is not None
    return is_kept or devices.is_of_the_script(at[-1:], file) or _follows_a_card(file, line)


def _follows_a_card(file: str, line: int) -> bool:
    """Whether the function of this line asks where a tensor lies, or is told: `if x.is_cuda: eye = eye.cuda()`."""
    around = [
        node
        for node in ast.walk(source.tree_of(file))
        if isinstance(node, source.Function) and node.lineno <= line <= (node.end_lineno or 0)
    ]
    tests = (
        [one.test for one in ast.walk(around[-1]) if isinstance(one, ast.If | ast.IfExp)] if around else []
    )
    asks = any(".is_cuda" in line for line in linecache.getlines(file))
    return any(
        found for test in tests if (found := LIES.search(ast.unparse(test))) and (asks or "." in found[0])
    )


@hard_coded_device.by_source
def to_a_card(cls: type) -> Iterator[Finding]:
    """Of a class that was never called: `.cuda()` in forward and what it calls, other than where a card is asked for."""
    for owner in undefined.owners(cls):
        node, file = source.class_node(owner), source.file_of(owner)
        for method in [] if node is None else [one for one in node.body if isinstance(one, source.Function)]:
            lines = [call.lineno for call in ast.walk(method) if _is_to_a_card(call)]
            asks = any(
                "cuda" in ast.unparse(one.test)
                for one in ast.walk(method)
                if isinstance(one, ast.If | ast.IfExp)
            )
            if lines and not asks and method.name not in ("__init__", "cuda"):
                yield Finding(
                    f"{owner.__name__}.{method.name} moves a tensor to the graphics card, wherever its input lies",
                    file=file,
                    line=lines[0],
                    fix="pass device=x.device",
                    severity=Severity.WARNING,
                )


def _is_to_a_card(node: ast.AST) -> TypeGuard[ast.Call]:
    is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    return is_call and node.func.attr == "cuda" and not node.args and not node.keywords  # type: ignore[attr-defined]


def _all(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters()
    yield from module.buffers()


@hard_coded_device.bad("arange() makes a tensor on the CPU")
class CountsOnTheCpu(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(8, 6)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.embedding(torch.arange(x.shape[1])).sum(-1)


@hard_coded_device.bad("zeros() makes a tensor on the CPU")
class StartsOnTheCpu(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.cell(x, torch.zeros(x.shape[0], 6, dtype=x.dtype))


@hard_coded_device.good
class CountsWhereTheInputLies(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(8, 6)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.embedding(torch.arange(x.shape[1], device=x.device)).sum(-1)


@hard_coded_device.good
class PicksByCpuIndex(nn.Module):
    """Indices may stay on the CPU, and a number goes anywhere."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, torch.arange(x.shape[1])] * torch.tensor(2.0)
