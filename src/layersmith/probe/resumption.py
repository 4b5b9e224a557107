"""What a call in train mode goes by that a saved state lacks: flags and counts that calls before it have set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from layersmith.probe import closeness, contents, source
from layersmith.probe.modes import in_mode


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Attributes whose loss changes the next call, and how much it does."""

    numbers: tuple[contents.Held, ...]
    what: str  # the output, or the parameter or buffer after the call
    gap: closeness.Gap


def forgotten(
    trained: nn.Module,
    fresh: nn.Module,
    loaded: Callable[[], nn.Module],
    run: Callable[[nn.Module], object],
) -> Forgotten | None:
    """The numbers that a loaded module must be told to do as the one that was saved; None where it does so anyway.

    Args:
        trained: was called before, and is called once more.
        fresh: one like it that was not.
        loaded: makes another that has loaded the first one's state of now.
        run: calls one, always under the same seed.
    """
    numbers = [one for one in contents.differing(trained, fresh) if isinstance(one.value, bool | int | float)]
    if not numbers:
        return None
    try:
        goes_on = _next(trained, run)
        gaps = closeness.gaps(goes_on, _next(loaded(), run), name="")
        for told in _by_attribute(numbers) if gaps else ():
            if not closeness.gaps(goes_on, _next(_told(loaded(), told), run), name=""):
                widest = max(gaps, key=lambda gap: gap.max_abs)
                return Forgotten(told, widest.where.removeprefix("['").replace("']", "", 1), widest)
    except Exception:  # noqa: BLE001 - train mode may ask for more than the example has
        return None
    return None


def _by_attribute(numbers: list[contents.Held]) -> list[tuple[contents.Held, ...]]:
    """Those of one name, and all."""
    names = dict.fromkeys(one.attribute for one in numbers)
    return [*(tuple(one for one in numbers if one.attribute == name) for name in names), tuple(numbers)]


def _told(module: nn.Module, numbers: tuple[contents.Held, ...]) -> nn.Module:
    for one in numbers:
        setattr(*source.owner(module, one.path), one.value)
    return module


def _next(module: nn.Module, run: Callable[[nn.Module], object]) -> dict[str, Any]:
    """What one call in train mode gives, and the state after it."""
    output = run(in_mode(module, training=True))
    return {"output": output, **module.state_dict()}
