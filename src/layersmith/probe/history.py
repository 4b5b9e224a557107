"""What a call leaves in a module, how much of it, and other calls to make before or after it."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.probe import batch, contents, sequence
from layersmith.probe.inputs import Inputs
from layersmith.probe.registration import OWN
from layersmith.probe.sequence import Run

DEPTH = 4  # of containers below an attribute
NODES = 5_000  # of an autograd graph; more are not counted


@dataclass(frozen=True, slots=True)
class Variant:
    """Another call of the same module, in words."""

    how: str
    inputs: Inputs
    is_setting: bool = False  # it has another setting, of which a module may well keep something on purpose


@dataclass(frozen=True, slots=True)
class Held:
    """How much one attribute holds: numbers and objects, and autograd nodes behind its tensors."""

    owner: type
    attribute: str
    path: str
    items: int
    bytes: int
    nodes: int


def leaves_something(used: nn.Module, fresh: nn.Module) -> bool:
    """Whether a call changed any attribute or buffer: where it did not, the next call cannot know of it."""
    return next(contents.differing(used, fresh), None) is not None or _names(used) != _names(fresh)


def variants(module: nn.Module, inputs: Inputs, run: Run) -> Iterator[Variant]:
    """Calls with other values, fewer and more rows, fewer steps, other settings, other sides of as large an image."""
    generator = torch.Generator().manual_seed(0)
    yield Variant("with other values", inputs.map(lambda tensor: _reordered(tensor, generator)))
    for axis in batch.axes(module, inputs)[:1]:
        size = batch.batch_size(inputs, axis)
        if size > 1:
            yield Variant("with a row less", batch.take(inputs, size - 1, axis=axis))
            yield Variant("with one row", batch.take(inputs, 1, axis=axis))
    laid = sequence.layout(module, inputs, run, assumed=1)
    if laid is not None:
        yield Variant("with fewer steps", laid.prefix(inputs, laid.steps - 1))
        yield Variant("with few steps", laid.prefix(inputs, 2))
    yield from _otherwise_set(module, inputs)
    if (sides := _sides(inputs)) is not None:
        if min(sides) > 1:
            yield Variant("with smaller sides", inputs.map(lambda x: _smaller(x, sides)))
        yield Variant("with the last two axes' sizes exchanged", inputs.map(lambda x: _turned(x, sides)))


def held(module: nn.Module) -> dict[str, Held]:
    """Of every attribute and buffer that is no parameter: how much it holds, by its path."""
    found = {}
    for prefix, part in module.named_modules():
        plain = {name: value for name, value in vars(part).items() if name not in OWN}
        for name, value in {**dict(part.named_buffers(recurse=False)), **plain}.items():
            path = f"{prefix}.{name}" if prefix else name
            found[path] = Held(type(part), name, path, *_size(value, DEPTH, set()))
    return found


def _otherwise_set(module: nn.Module, inputs: Inputs) -> Iterator[Variant]:
    """Calls with another number for an optional argument: near its default, or near the attribute it stands in for."""
    given = {*[*inspect.signature(module.forward).parameters][: len(inputs.args)], *inputs.kwargs}
    for name, one in inspect.signature(module.forward).parameters.items():
        usual: Any = vars(module).get(name) if one.default is None else one.default
        if name in given or type(usual) not in (int, float, bool):
            continue
        others = [not usual] if type(usual) is bool else [usual - 1, usual + 1, usual * 2, 1, 0]
        for other in dict.fromkeys(value for value in others if value != usual):
            kwargs = {**inputs.kwargs, name: other}
            yield Variant(f"with {name} = {other}", Inputs(inputs.args, kwargs), is_setting=True)


def _size(value: object, depth: int, seen: set[int]) -> tuple[int, int, int]:
    """Items, bytes and autograd nodes of a nested value; what is bounded by itself counts as nothing."""
    if isinstance(value, nn.Module | type) or id(value) in seen or depth < 0:
        return 0, 0, 0
    seen.add(id(value))
    if isinstance(value, Tensor):
        return 1, value.numel() * value.element_size(), _nodes(value)
    if isinstance(value, deque) and value.maxlen is not None:
        return 0, 0, 0
    if isinstance(value, Mapping):
        parts: list[Any] = [*value.values()]
    elif isinstance(value, list | tuple | set | deque):
        parts = [*value]
    elif hasattr(value, "__dict__") and not callable(value):
        parts = [*vars(value).values()]
    else:
        return 1, 0, 0
    sizes = [_size(part, depth - 1, seen) for part in parts]
    return len(parts), sum(size[1] for size in sizes), sum(size[2] for size in sizes)


def _nodes(tensor: Tensor) -> int:
    """How many autograd nodes are behind a tensor."""
    seen: set[object] = set()
    waiting = [tensor.grad_fn]
    while waiting and len(seen) < NODES:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting.extend(following for following, _ in node.next_functions)
    return len(seen)


def _names(module: nn.Module) -> set[str]:
    return {f"{prefix}.{name}" for prefix, part in module.named_modules() for name in vars(part)}


def _sides(inputs: Inputs) -> tuple[int, int] | None:
    """Of the first image, or what else has four axes: of three the last is a width, which a module may rely on."""
    shapes = [tensor.shape for tensor in inputs.tensors() if tensor.ndim >= sequence.STACK]
    return (shapes[0][-2], shapes[0][-1]) if shapes else None


def _smaller(tensor: Tensor, sides: tuple[int, int]) -> Tensor:
    """One row and one column less, where these are its sides."""
    has_sides = tensor.ndim >= len(sides) and tuple(tensor.shape[-2:]) == sides
    return tensor[..., :-1, :-1] if has_sides else tensor


def _turned(tensor: Tensor, sides: tuple[int, int]) -> Tensor:
    """As many numbers, where these sides are exchanged; equal ones are halved and doubled."""
    if tensor.ndim < len(sides) or tuple(tensor.shape[-2:]) != sides:
        return tensor
    tall, wide = sides if sides[0] != sides[1] else (2 * sides[0], sides[1] // 2)
    return tensor.reshape(*tensor.shape[:-2], wide, tall) if wide * tall == sides[0] * sides[1] else tensor


def _reordered(tensor: Tensor, generator: torch.Generator) -> Tensor:
    """The same values in another order."""
    if not tensor.is_floating_point():
        return tensor
    order = torch.randperm(tensor.numel(), generator=generator)
    return tensor.detach().reshape(-1)[order].reshape(tensor.shape)
