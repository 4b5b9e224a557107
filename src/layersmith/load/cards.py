"""A graphics card that is not there: code that goes to one whatever its input's device is run on the processor.

`.cuda()` inside forward ends every call on a machine without a card, and with it every question about the class but
one. Where classes of files are examined, in processes of their own, the processor then stands in for the card: what is
moved to it, or made on it, lies on the processor.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.probe import refusal

_NAMES = "Float Double Half BFloat16 Long Int Short Char Byte Bool".split()
_MAKERS = (
    "tensor as_tensor zeros ones empty full eye arange linspace logspace rand randn randint randperm "
    "zeros_like ones_like empty_like full_like rand_like randn_like randint_like"
).split()
_METHODS = "new_tensor new_zeros new_ones new_empty new_full".split()

Place = tuple[str, int]  # a file and a line


@dataclass(slots=True)
class _Process:
    """What holds for the rest of this process's life."""

    is_confined: bool = False  # it examines one class, and nobody else uses its torch
    stands_in: bool = False
    places: dict[Place, None] = field(default_factory=dict)  # that went to a card


_this = _Process()


def watch() -> None:
    """Say that in this process the processor may stand in."""
    _this.is_confined = True


def stands_in() -> bool:
    """Whether the processor does so."""
    return _this.stands_in


def places(act: Callable[[], object]) -> list[Place]:
    """Where in the user's code something goes to a card while this is done."""
    _this.places.clear()
    act()
    return [*_this.places]


def stand_in(errors: Iterable[str]) -> bool:
    """Have it do so from now on, if one of these errors asks for a card; whether that makes a difference."""
    if _this.stands_in or not _this.is_confined or not any(refusal.NO_CARD.search(error) for error in errors):
        return False
    _this.stands_in = True
    Tensor.cuda = _stays  # type: ignore[method-assign]
    nn.Module.cuda = _stays  # type: ignore[method-assign]
    for name in _MAKERS:
        setattr(torch, name, _here(getattr(torch, name)))
    for name in _METHODS:
        setattr(Tensor, name, _here(getattr(Tensor, name)))
    for owner in (Tensor, nn.Module):
        owner.to = _here(owner.to, is_card=_is_card_or_its_number)  # type: ignore[method-assign]
    Tensor.type = _of_the_processor(Tensor.type)  # type: ignore[method-assign]
    for name in _NAMES:
        setattr(torch.cuda, f"{name}Tensor", getattr(torch, f"{name}Tensor"))
    return True


def _stays(self: Any, *_args: Any, **_kwargs: Any) -> Any:
    if not torch.compiler.is_compiling():
        _note(sys._getframe(1))  # noqa: SLF001 - who calls it
    return self


def _note(caller: FrameType) -> None:
    _this.places[caller.f_code.co_filename, caller.f_lineno] = None


def _is_card(value: Any) -> bool:
    named = value.type if isinstance(value, torch.device) else value
    return isinstance(named, str) and named.startswith("cuda")


def _is_card_or_its_number(value: Any) -> bool:
    return _is_card(value) or type(value) is int  # `model.to(gpu_ids[0])`


def _here(make: Callable[..., Any], *, is_card: Callable[[Any], bool] = _is_card) -> Callable[..., Any]:
    """The function, to which the processor is named instead of a card."""

    @functools.wraps(make)
    def made(*args: Any, **kwargs: Any) -> Any:
        is_numbered = type(kwargs.get("device")) is int  # `device=x.get_device()`, -1 of the processor
        if is_numbered or any([is_card(one) for one in (*args, *kwargs.values())]):  # noqa: C419 - dynamo follows a list
            if not torch.compiler.is_compiling():
                _note(sys._getframe(1))  # noqa: SLF001 - who calls it
            args = tuple(["cpu" if is_card(one) else one for one in args])
            kwargs = {
                n: "cpu" if is_card(v) or (is_numbered and n == "device") else v for n, v in kwargs.items()
            }
        return make(*args, **kwargs)

    return made


def _of_the_processor(convert: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(convert)
    def converted(self: Tensor, dtype: Any = None, *args: Any, **kwargs: Any) -> Any:
        known = dtype.replace("torch.cuda.", "torch.") if isinstance(dtype, str) else dtype
        return convert(self, known, *args, **kwargs)

    return converted
