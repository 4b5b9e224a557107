"""Nested values (tuples, lists, dicts, dataclasses, distributions) and the tensors in them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution


def named_tensors(tree: object, *, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor of a nested value with its path: `output[0]`, `output['mask']`, `output.hidden`."""
    if isinstance(tree, Tensor):
        yield name, tree
        return
    for path, child in _children(tree):
        yield from named_tensors(child, name=f"{name}{path}")


def tensors(tree: object) -> Iterator[Tensor]:
    """Every tensor of a nested value, in a fixed order."""
    for _, tensor in named_tensors(tree):
        yield tensor


def _same(value: Any) -> Any:
    return value


def map_tensors(
    function: Callable[[Tensor], object], tree: Any, *, otherwise: Callable[[Any], Any] = _same
) -> Any:
    """The same nested value with every tensor replaced; anything else is kept, or replaced as `otherwise` says."""

    def mapped(item: Any) -> Any:
        return map_tensors(function, item, otherwise=otherwise)

    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, tuple):
        items = [mapped(item) for item in tree]
        return type(tree)(*items) if hasattr(tree, "_fields") else tuple(items)
    if isinstance(tree, list):
        return [mapped(item) for item in tree]
    if isinstance(tree, dict):
        return _same_kind_of_dict(tree, {key: mapped(item) for key, item in tree.items()})
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        changes = {f.name: mapped(getattr(tree, f.name)) for f in dataclasses.fields(tree) if f.init}
        return dataclasses.replace(tree, **changes)
    return otherwise(tree)


def clone(tree: Any) -> Any:
    """A copy in which every tensor is a new leaf: same values, strides and `requires_grad`, no shared storage."""
    return map_tensors(_clone_tensor, tree)


def total(found: Iterable[Tensor]) -> Tensor:
    """One number that depends on every element: where a gradient flows it reaches from here.

    A single number, because gradients given to autograd beside larger outputs make it import sympy.
    """
    parts = [torch.view_as_real(tensor).sum() if tensor.is_complex() else tensor.sum() for tensor in found]
    return torch.stack([part.double() for part in parts]).sum()


def place(tensor: Tensor) -> int:
    """Where its numbers lie: one place for all views of them; one of its own for what has no storage, as a sparse one."""
    return tensor.untyped_storage().data_ptr() if tensor.layout is torch.strided else -id(tensor)


def as_precise(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A floating tensor in a dtype, a complex one in that of its parts; others, and what has no such, as they are."""
    if tensor.is_complex():
        return tensor.to(dtype.to_complex()) if dtype in (torch.float32, torch.float64) else tensor
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def is_differentiable(tensor: Tensor) -> bool:
    """Whether a gradient with respect to this tensor means anything: floating or complex."""
    return tensor.is_floating_point() or tensor.is_complex()


def is_finite(output: Any) -> bool:
    """Whether no floating tensor of the output holds a NaN or an infinity."""
    return all(bool(tensor.isfinite().all()) for tensor in tensors(output) if is_differentiable(tensor))


def _clone_tensor(tensor: Tensor) -> Tensor:
    copy = tensor.detach().clone(memory_format=torch.preserve_format)
    return copy.requires_grad_(tensor.requires_grad)


def _children(tree: object) -> Iterator[tuple[str, object]]:
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        yield from ((f".{field}", getattr(tree, field)) for field in tree._fields)
    elif isinstance(tree, list | tuple):
        yield from ((f"[{index}]", item) for index, item in enumerate(tree))
    elif isinstance(tree, Mapping):
        yield from ((f"[{key!r}]", item) for key, item in tree.items())
    elif dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        yield from ((f".{field.name}", getattr(tree, field.name)) for field in dataclasses.fields(tree))
    elif isinstance(tree, Distribution):  # of what a policy returns: what its numbers are drawn by
        told = (name for name in ("base_dist", *tree.arg_constraints) if name in vars(tree))
        yield from ((f".{name}", getattr(tree, name)) for name in told)


def _same_kind_of_dict(old: dict[Any, Any], new: dict[Any, Any]) -> Any:
    if type(old) is dict:
        return new
    try:  # OrderedDict, ModelOutput and their like take a mapping; what does not becomes a plain dict
        return type(old)(new)
    except TypeError:
        return new
