"""Descriptions of arguments: tensors by shape and dtype, objects to be made afresh, and nests of both."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.probe.inputs import Inputs

DTYPES = {
    "f16": torch.float16,
    "bf16": torch.bfloat16,
    "f32": torch.float32,
    "f64": torch.float64,
    "c64": torch.complex64,
    "c128": torch.complex128,
    "bool": torch.bool,
    "u8": torch.uint8,
    "i8": torch.int8,
    "i16": torch.int16,
    "i32": torch.int32,
    "i64": torch.int64,
}
_SHORT = {dtype: name for name, dtype in DTYPES.items()}
_DEFAULT_HIGH = 10  # what `i64[2,16]` means without a bound
_INPUT_STREAM = 0x1A7E5  # keeps the numbers of the inputs apart from those of the weights of the same seed


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor to be drawn: standard normal, or uniform in [0, high) where that is given; integers always."""

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    high: int = 0
    low: int = 0  # the smallest whole number drawn
    free: frozenset[int] = field(default=frozenset(), compare=False)  # dimensions that nothing has fixed yet

    def make(self, generator: torch.Generator) -> Tensor:
        """A tensor of this description."""
        if self.dtype is torch.bool:
            return _both_in_each_row(self.shape, generator)
        if not (self.dtype.is_floating_point or self.dtype.is_complex):
            high = self.high or _DEFAULT_HIGH
            drawn = torch.randint(self.low, high, self.shape, generator=generator).to(self.dtype)
            return _longest_first(drawn, high - 1) if self.low and self.rank == 1 else drawn
        if self.high:
            return self.high * torch.rand(self.shape, generator=generator).to(self.dtype)
        wide = self.dtype if self.dtype.is_complex else torch.float32
        return torch.randn(self.shape, generator=generator, dtype=wide).to(self.dtype)

    @property
    def rank(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    def resized(self, index: int, size: int, *, fix: bool = True) -> TensorSpec:
        """The same with another size at one dimension, no longer free unless `fix` is false."""
        shape = (*self.shape[:index], size, *self.shape[index + 1 :])
        return replace(self, shape=shape, free=self.free - {index} if fix else self.free)

    @classmethod
    def of(cls, tensor: Tensor) -> TensorSpec:
        """One as large and of the same dtype, of whatever values."""
        return cls(tuple(tensor.shape), tensor.dtype)

    def __str__(self) -> str:
        """The notation: `f32[2,16,64]`, `i64[2,16]<100`."""
        bound = f"<{self.high}" if self.high else ""
        floor = f"{self.low}<=" if self.low else ""
        return f"{floor}{_SHORT[self.dtype]}[{','.join(map(str, self.shape))}]{bound}"


@dataclass(frozen=True, slots=True)
class Made:
    """An object that each use needs afresh (a module, a config), with the text that stands for it."""

    text: str
    make: Callable[[], object] = field(compare=False)
    is_stand_in: bool = False  # for a module that nobody knows
    parts: Mapping[str, Any] = field(default_factory=dict, compare=False)  # of settings, by name
    remade: Callable[[str, Any], Made] | None = field(default=None, compare=False)  # with another part

    def __str__(self) -> str:
        """The text that stands for it."""
        return self.text


class Bundle(dict[str, Any]):
    """An argument whose parts forward reads as attributes: a batch of graphs, the output of a tokenizer."""

    def __getattr__(self, name: str) -> Any:
        """A part by its name."""
        if name not in self:
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
        return self[name]

    def to(self, *_args: Any, **_kwargs: Any) -> Bundle:
        """Itself: it is where its tensors are."""
        return self


@dataclass(frozen=True, slots=True)
class Call:
    """The description of one call's arguments."""

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def make(self, seed: int) -> Inputs:
        """The arguments: functions of the seed in value, the same for all seeds in shape."""
        generator = torch.Generator().manual_seed(seed + _INPUT_STREAM)
        args = tuple(realise(value, generator) for value in self.args)
        return Inputs(args, {name: realise(value, generator) for name, value in self.kwargs.items()})

    def __str__(self) -> str:
        """The notation: `f32[2,16,64], mask=bool[2,16]`."""
        named = [f"{name}={written(value)}" for name, value in self.kwargs.items()]
        return ", ".join([*map(written, self.args), *named])


def realise(value: Any, generator: torch.Generator | None = None) -> Any:
    """The value with every description in it made."""
    if isinstance(value, TensorSpec):
        return value.make(generator or torch.Generator().manual_seed(_INPUT_STREAM))
    if isinstance(value, Made):
        return value.make()
    if type(value) is str:
        return sys.intern(value)  # as in source: `if kind is "conv"` holds there
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        return type(value)(realise(item, generator) for item in value)
    if type(value) in (dict, Bundle):
        return type(value)({key: realise(item, generator) for key, item in value.items()})
    return value


def written(value: Any) -> str:
    """The value as a person would write it in a call."""
    if isinstance(value, TensorSpec | Made):
        return str(value)
    if isinstance(value, dict):
        return _written_dict(value)
    if isinstance(value, tuple) and type(value) is tuple:
        return f"({', '.join(map(written, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    if inspect.isclass(value) or inspect.isroutine(value):
        return _name_of(value)
    return _shown(value)


def _shown(value: Any) -> str:
    """Its own text on one line; its class where it has none, as what a later call sets is missing."""
    try:
        return " ".join(repr(value).split())
    except Exception:  # noqa: BLE001 - whatever the user's own __repr__ raises
        return f"<{type(value).__name__}>"


def _written_dict(value: dict[Any, Any]) -> str:
    if type(value) is Bundle:
        return f"SimpleNamespace({', '.join(f'{key}={written(item)}' for key, item in value.items())})"
    if type(value) is dict:
        return "{" + ", ".join(f"{key!r}: {written(item)}" for key, item in value.items()) + "}"
    return _shown(value)


def specs(value: Any) -> Iterator[TensorSpec]:
    """Every tensor described in a nested value."""
    if isinstance(value, TensorSpec):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from specs(item)
    elif isinstance(value, dict):
        yield from specs(list(value.values()))


def map_specs(function: Callable[[TensorSpec], Any], value: Any) -> Any:
    """The nested value with every described tensor replaced."""
    if isinstance(value, TensorSpec):
        return function(value)
    if type(value) in (list, tuple):
        return type(value)(map_specs(function, item) for item in value)
    if type(value) in (dict, Bundle):
        return type(value)({key: map_specs(function, item) for key, item in value.items()})
    return value


def _longest_first(lengths: Tensor, longest: int) -> Tensor:
    """Lengths of the rows of a padded batch: sorted, and the longest row is as long as the batch."""
    found = lengths.sort(descending=True).values
    found[:1] = longest
    return found


def _both_in_each_row(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Random booleans; each row has both, so that a mask of either convention leaves something."""
    drawn = torch.rand(shape, generator=generator) < 0.5  # noqa: PLR2004 - a fair coin
    if shape and shape[-1] > 1:
        drawn[..., 0], drawn[..., -1] = True, False
    return drawn


def _name_of(thing: Any) -> str:
    module, name = getattr(thing, "__module__", "") or "", getattr(thing, "__name__", repr(thing))
    if module.startswith("torch.nn.functional"):
        return f"F.{name}"
    if module.startswith("torch.nn") and isinstance(thing, type) and issubclass(thing, nn.Module):
        return f"nn.{name}"
    return f"{module}.{name}" if module.startswith("torch") else name
