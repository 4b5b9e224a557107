"""Two methods of a part of which the one undoes the other, `norm` and `denorm`: asked with other parameters, too."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.probe import closeness, tree
from layersmith.probe.inputs import Inputs
from layersmith.probe.surroundings import preserved

_THERE = re.compile(r"^(_*)((?:re)?norm(?:ali[sz]e)?|standardi[sz]e|scale|transform)$")
_BACK = ("de", "un", "de_", "un_", "inverse_")
STIR = 0.1  # as much as a few steps of training change a gain that starts as one


@dataclass(frozen=True, slots=True)
class Undone:
    """A pair of methods that undo each other at the start only."""

    path: str  # of the part
    there: str
    back: str
    method: Callable[..., Any]  # the one that goes back
    gap: closeness.Gap


def stir(module: nn.Module) -> None:
    """Move the parameters that start as one number, as gains and shifts do and last layers of zeros: training will."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.is_floating_point() and bool((parameter == parameter.flatten()[:1]).all()):
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.add_(STIR * noise.to(parameter.device, parameter.dtype))


def undone(module: nn.Module, inputs: Inputs) -> Iterator[Undone]:
    """The pairs of methods of which a call of the module calls the first, and that part when gains are no more ones.

    The parameters are changed for good.
    """
    pairs = [
        (path, part, *names)
        for path, part in module.named_modules()
        for names in _pairs(type(part))
        if any(True for _ in part.parameters(recurse=False))
    ]
    if not pairs:
        return
    given: dict[tuple[str, str], tuple[Any, ...]] = {}
    with preserved(seed=0), torch.no_grad():
        for path, part, there, _ in pairs:
            vars(part)[there] = _heard(getattr(part, there), given, (path, there))
        inputs.call(module)
        for _, part, there, _ in pairs:
            vars(part).pop(there, None)
        before = [_gap(part, there, back, given.get((path, there))) for path, part, there, back in pairs]
        stir(module)
        for (path, part, there, back), old in zip(pairs, before, strict=True):
            new = _gap(part, there, back, given.get((path, there))) if old and not old.is_open else None
            if new is not None and new.is_open:
                yield Undone(path, there, back, getattr(type(part), back), new)


def _pairs(cls: type) -> Iterator[tuple[str, str]]:
    for name in dir(cls):
        if (said := _THERE.match(name)) and inspect.isfunction(getattr(cls, name)):
            backs = (f"{said[1]}{word}{said[2]}" for word in _BACK)
            yield from ((name, back) for back in backs if inspect.isfunction(getattr(cls, back, None)))


def _heard(method: Callable[..., Any], given: dict[Any, Any], key: tuple[str, str]) -> Callable[..., Any]:
    def hear(*args: Any, **kwargs: Any) -> Any:
        if not kwargs:
            given.setdefault(key, tree.clone(args))
        return method(*args, **kwargs)

    return hear


def _gap(part: nn.Module, there: str, back: str, given: tuple[Any, ...] | None) -> closeness.Gap | None:
    """How far off is what comes back; None where the second is called in another way than with what the first gave."""
    if not given or not isinstance(given[0], Tensor):
        return None
    try:
        made = getattr(part, there)(*tree.clone(given))
        came = getattr(part, back)(*(made if isinstance(made, tuple) else (made,)))
    except Exception:  # noqa: BLE001 - it asks for something else
        return None
    first = next(tree.tensors(came), None)
    if first is None or first.shape != given[0].shape or not first.is_floating_point():
        return None
    return closeness.gap(given[0].float(), first.float())
