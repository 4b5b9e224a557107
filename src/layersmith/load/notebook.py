"""A notebook as a module: of its code cells, what their classes need is run.

Each cell is compiled under a name of its own (`model.ipynb, cell 3`), so that lines are those of the cell.
"""

from __future__ import annotations

import ast
import contextlib
import json
import linecache
from collections.abc import Iterator
from pathlib import Path

_MAGIC = ("%", "!", "?")
_KEPT_CELL_MAGICS = ("%%time", "%%timeit", "%%capture")  # what follows is Python


def is_notebook(path: Path | str) -> bool:
    """Whether a file is one by its name."""
    return str(path).endswith(".ipynb")


def cells(path: Path) -> list[str]:
    """The code of a notebook, cell by cell, magics turned into empty lines; a cell of another language is empty.

    Raises:
        ValueError: if the file is no notebook.
    """
    notebook = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise ValueError("it has no cells")  # noqa: TRY004 - of the file, not of an argument
    return [
        _python("".join(cell.get("source", "")))
        for cell in notebook["cells"]
        if cell.get("cell_type") == "code"
    ]


def statements(path: Path) -> Iterator[tuple[str, ast.stmt]]:
    """The statements of all cells that can be read, each with the name of its cell, by which its line is looked up."""
    for number, text in enumerate(cells(path), start=1):
        name = f"{path}, cell {number}"
        lines = [f"{line}\n" for line in text.splitlines()]
        linecache.cache[name] = (len(text), None, lines, name)
        with contextlib.suppress(SyntaxError):
            yield from ((name, node) for node in ast.parse(text).body)


def _python(text: str) -> str:
    lines = text.splitlines()
    first = next((line.strip() for line in lines if line.strip()), "")
    if first.startswith("%%") and not first.startswith(_KEPT_CELL_MAGICS):
        return ""
    return "\n".join(
        "" if line.lstrip().startswith(_MAGIC) or line.rstrip().endswith("?") else line for line in lines
    )
