"""What one lane found of a class, left in the scratch folder so that the other need not search again."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from layersmith.load.lock import Entry

_FOLDER = "ways"


def leave(scratch: str, place: str, entry: Entry) -> None:
    """Keep how a class is called, or that there is no way, for the other lane."""
    file = _file(scratch, place)
    with contextlib.suppress(OSError):  # a full disk costs the other lane a search, no more
        file.parent.mkdir(exist_ok=True)
        written = file.with_suffix(f".{os.getpid()}")
        written.write_text(json.dumps(dataclasses.asdict(entry)), encoding="utf-8")
        written.replace(file)


def left(scratch: str, place: str) -> Entry | None:
    """What the other lane has left of a class, if it was faster."""
    try:
        known: dict[str, Any] = json.loads(_file(scratch, place).read_text(encoding="utf-8"))
        return dataclasses.replace(Entry(**known), calls=tuple(known["calls"]))
    except (OSError, ValueError, TypeError, KeyError):  # not there yet, or the code under check wrote over it
        return None


def _file(scratch: str, place: str) -> Path:
    return Path(scratch, _FOLDER, f"{hashlib.sha256(place.encode()).hexdigest()[:32]}.json")
