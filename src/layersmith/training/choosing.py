"""The text of a target names one thing to train: of several classes, the one built from the others."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType

from torch import nn

from layersmith.errors import UsageError
from layersmith.load import discovery, importing, target
from layersmith.training.building import decides_sizes


def chosen(text: str) -> nn.Module | Callable[..., nn.Module]:
    """The class, function or module that `file.py::name`, `package.module:name` or `file.py` stands for.

    Raises:
        TargetError: if it cannot be imported or holds no module class.
        UsageError: if it holds several and none of them is the obvious one.
    """
    targets = target.parse(text)
    if len(targets) > 1:
        raise UsageError(f"{text} is {len(targets)} files, and one model is trained at a time: name its file")
    module = importing.import_target(targets[0])
    thing = getattr(module, targets[0].name or " ", None)
    if isinstance(thing, nn.Module | FunctionType):
        return thing
    return _model_of(discovery.classes(module, targets[0].name), targets[0])


def _model_of(classes: list[type[nn.Module]], asked: target.Target) -> type[nn.Module]:
    """The class that no other is built from; of several, the one built from others, or sized by the data."""
    uses = {cls: _used_names(cls) - {cls.__name__} for cls in classes}
    names = {cls.__name__ for cls in classes}
    tops = [cls for cls in classes if not any(cls.__name__ in used for used in uses.values())]
    composed = [cls for cls in tops if uses[cls] & names]
    sized = [cls for cls in tops if decides_sizes(cls)]
    for candidates in (tops, composed, sized):
        if len(candidates) == 1:
            return candidates[0]
    example = dataclasses.replace(asked, name=classes[-1].__name__)
    raise UsageError(
        f"{asked} holds several models ({', '.join(cls.__name__ for cls in tops or classes)}); "
        f"name the one to train, as in {example}"
    )


def _used_names(cls: type) -> set[str]:
    """The names that the bodies of a class's methods mention, and those of its bases."""
    codes = [member.__code__ for member in vars(cls).values() if isinstance(member, FunctionType)]
    return {base.__name__ for base in cls.__mro__[1:]} | {name for code in codes for name in _names(code)}


def _names(code: CodeType) -> Iterator[str]:
    """The global names of a function and of the functions inside it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
