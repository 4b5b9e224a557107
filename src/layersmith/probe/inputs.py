"""How a module is called: positional and keyword arguments, copied before every call."""

from __future__ import annotations

import copy
import functools
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.errors import UsageError
from layersmith.probe import tree


@dataclass(frozen=True, slots=True)
class Inputs:
    """The arguments of one call of `forward`."""

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, value: object) -> Inputs:
        """A tensor is one positional argument, a tuple or list several, a dict keyword arguments.

        Raises:
            UsageError: for anything else.
        """
        if isinstance(value, Inputs):
            return value
        if isinstance(value, Tensor):
            return cls((value,))
        if isinstance(value, tuple | list):
            return cls(tuple(value))
        if isinstance(value, Mapping):
            return cls((), dict(value))
        raise UsageError(
            f"inputs must be a tensor, a tuple of positional arguments or a dict of keyword arguments, "
            f"not {type(value).__name__}: {value!r:.80}"
        )

    def call(self, module: nn.Module) -> Any:
        """The module's output on a copy of these inputs, which stay as they are."""
        given, process = self.clone(), os.getpid()
        try:
            return module(*given.args, **given.kwargs)
        finally:
            if os.getpid() != process:  # forward forks: its double would do all that follows once more
                os._exit(0)

    def clone(self) -> Inputs:
        """A copy that shares no tensor with this one."""
        return Inputs(tree.clone(self.args), tree.clone(dict(self.kwargs)))

    def map(self, function: Any) -> Inputs:
        """The same call with every tensor replaced by `function(tensor)`."""
        return Inputs(tree.map_tensors(function, self.args), tree.map_tensors(function, dict(self.kwargs)))

    def to(self, dtype: torch.dtype) -> Inputs:
        """The same call with every floating or complex tensor, and a copy of every module, as precise as `dtype`."""
        cast = functools.partial(tree.as_precise, dtype=dtype)

        def recast(value: Any) -> Any:
            return copy.deepcopy(value).to(dtype) if isinstance(value, nn.Module) else value

        args, kwargs = (
            tree.map_tensors(cast, part, otherwise=recast) for part in (self.args, dict(self.kwargs))
        )
        return Inputs(args, kwargs)

    def modules(self) -> list[nn.Module]:
        """The modules that are handed to forward, such as the critic that a penalty is of."""
        found: list[nn.Module] = []
        for part in (self.args, dict(self.kwargs)):
            tree.map_tensors(
                lambda x: x, part, otherwise=lambda x: found.append(x) if isinstance(x, nn.Module) else None
            )
        return found

    def named_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor of the call, as `input[0]`, `input[1]['mask']`, `x` for a keyword argument."""
        yield from tree.named_tensors(self.args, name="input")
        for key, value in self.kwargs.items():
            yield from tree.named_tensors(value, name=key)

    def has_places(self, count: int) -> bool:
        """Whether a float tensor has so many rows or steps: an axis before its last of that length."""
        return any(count in one.shape[:-1] for one in self.tensors() if one.is_floating_point())

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor of the call, in a fixed order."""
        for _, tensor in self.named_tensors():
            yield tensor
