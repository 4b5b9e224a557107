"""Pretrained weights that are out of reach: a class that cannot be built but with them is built without.

Without network, as classes of files are examined, `torchvision.models.resnet50(weights="DEFAULT")` inside a constructor
cannot have what it asks for, unless it was downloaded before; nor `torch.load("vgg.pth")` where no such file lies.
Its layers are the same with the weights that they were made with.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import _IncompatibleKeys
from torch.utils import model_zoo

_lacked: dict[str, None] = {}  # what this process was asked for, and did not have
_are_left_out = False  # rather than refused


class AbsentWeights(dict[str, Any]):
    """Stands for a checkpoint: it holds no key, each part that is taken out is another, and any module loads it."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def __missing__(self, _: object) -> AbsentWeights:
        return self

    def __delitem__(self, _: object) -> None:
        """Nothing: it holds no key."""

    def pop(self, *_: object) -> AbsentWeights:
        """A part of it, which is as absent."""
        return self

    get = pop

    def copy(self) -> AbsentWeights:
        """Itself: there is nothing to change."""
        return self

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{self.name} is not at hand, and no .{name} of it")


def left_out() -> list[str]:
    """The names of the weights that this process does without."""
    return [*_lacked] if _are_left_out else []


def leave_out() -> bool:
    """Have what was refused until now stand aside from now on; whether that makes a difference."""
    global _are_left_out  # in this process, which examines one class
    is_new, _are_left_out = bool(_lacked) and not _are_left_out, bool(_lacked)
    return is_new


def watch() -> None:
    """See, for the rest of this process, which weights cannot be had; call it before user code is imported."""
    download = _watched(torch.hub.load_state_dict_from_url, OSError)
    torch.hub.load_state_dict_from_url = download
    model_zoo.load_url = download  # type: ignore[attr-defined]
    torch.load = _watched(torch.load, FileNotFoundError)
    nn.Module.load_state_dict = _lenient(nn.Module.load_state_dict)  # type: ignore[method-assign]


def _watched(load: Callable[..., Any], refusal: type[OSError]) -> Callable[..., Any]:
    """The function; it may return the stand-in where it raises that."""

    @functools.wraps(load)
    def loaded(source: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return load(source, *args, **kwargs)
        except refusal:
            name = os.path.basename(str(source))  # noqa: PTH119 - also of an address
            _lacked[name] = None
            if not _are_left_out:
                raise
            return AbsentWeights(name)

    return loaded


def _lenient(load: Callable[..., Any]) -> Callable[..., Any]:
    """The method, which loads nothing from the stand-in, or from the empty dict that was picked from it."""

    @functools.wraps(load)
    def load_state_dict(self: nn.Module, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
        is_absent = isinstance(state_dict, AbsentWeights) or (_are_left_out and not state_dict)
        if not is_absent:
            return load(self, state_dict, *args, **kwargs)
        load(self, {}, strict=False)
        return _IncompatibleKeys([], [])  # some look whether a key was missing

    return load_state_dict
