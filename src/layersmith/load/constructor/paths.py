"""Files of the project for an argument that a constructor opens: `Darknet("cfg/yolov3.cfg")`.

No number is tried for it: `open(4)` takes the file that has this number in the process, and closes it in the end.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from layersmith.load import project
from layersmith.load.constructor.trace import Usage
from layersmith.probe import source

_SUFFIXES = (".cfg", ".json", ".yaml", ".yml", ".txt", ".csv", ".npy")
_MOST = 3


def opened(usage: Usage, name: str, cls: type | None, found: list[Any]) -> list[Any]:
    """Paths from the current folder, of the files whose ending the name says; the name itself where there are none.

    Args:
        usage: of the parameter.
        name: of the parameter, `cfgfile` say.
        cls: the class that opens it.
        found: what else it may be; settings come first where it is read as such, too, or opened only if it is a text.
    """
    settings = [one for one in found if type(one) is not int] if usage.keys or usage.attributes else []
    folder = project.folder_of(Path(source.file_of(cls))) if cls is not None else None
    named = tuple(suffix for suffix in _SUFFIXES if suffix[1:] in name.lower())
    files = project.files_of(folder, named or _SUFFIXES) if folder is not None else ()
    return [*settings, *([os.path.relpath(path) for path in files[:_MOST]] or [name])]
