"""What a real run shows: how every class of modules in it is built and called, in notation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from layersmith.load.constructor.search import call_text
from layersmith.load.recorded import arguments_of, stated
from layersmith.load.recording import Recording, recording
from layersmith.load.values import Made

_EACH = 2  # calls of different shapes that are kept of a class


@contextmanager
def record() -> Iterator[Recording]:
    """Keep how the modules that run inside are built and called: see `entries`."""
    with recording(each=_EACH) as found:
        yield found


def entries(recording: Recording) -> dict[str, list[str]]:
    """The notation of every recorded call by class: {"pkg.attn.Block": ["Block(64, heads=4)(f32[2,16,64])"]}.

    A class is left out where its constructor's arguments were not seen or cannot be written down.
    """
    found: dict[str, list[str]] = {}
    for seen in (seen for calls in recording.calls.values() for seen in calls):
        cls = type(seen.module)
        given = arguments_of(seen, recording)
        if cls.__module__.startswith("torch.") or given is None or not _has_no_gap(given):
            continue
        text = f"{call_text(cls, given)}({stated(seen.inputs)})"
        known = found.setdefault(f"{cls.__module__}.{cls.__qualname__}", [])
        if text not in known:
            known.append(text)
    return dict(sorted(found.items()))


def classes(recording: Recording) -> dict[str, type]:
    """Every recorded class by its module and qualified name, as in `entries`."""
    met = (type(seen.module) for calls in recording.calls.values() for seen in calls)
    return {f"{cls.__module__}.{cls.__qualname__}": cls for cls in met}


def _has_no_gap(value: Any) -> bool:
    if isinstance(value, Made):
        return "(...)" not in str(value)
    if isinstance(value, Mapping):
        return all(map(_has_no_gap, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_has_no_gap, value))
    return True
