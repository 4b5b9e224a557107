"""A notebook as a module: what its classes need is run, what trains, plots and downloads is not.

Of the code cells, imports and definitions are run, and the assignments of names that classes and functions use.
Each cell is compiled under a name of its own (`model.ipynb, cell 3`), so that lines are those of the cell.
"""

from __future__ import annotations

import ast
import json
import linecache
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

_MAGIC = ("%", "!", "?")
_KEPT_CELL_MAGICS = ("%%time", "%%timeit", "%%capture")  # what follows is Python
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_IMPORTS = (ast.Import, ast.ImportFrom)
_ASSIGNMENTS = (ast.Assign, ast.AnnAssign, ast.AugAssign)


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


def executed(path: Path, module: ModuleType) -> ModuleType:
    """Run what the classes of a notebook need in a module.

    Raises:
        Exception: the first error of an import or a definition, if no class came of it.
    """
    parsed = [(f"{path}, cell {number}", text) for number, text in enumerate(cells(path), start=1)]
    statements = [(name, node) for name, text in parsed for node in _statements(name, text)]
    wanted = _wanted([node for _, node in statements])
    error: Exception | None = None
    for name, node in statements:
        if not (isinstance(node, _DEFINITIONS + _IMPORTS) or _targets(node) & wanted):
            continue
        try:
            exec(compile(ast.Module([node], []), name, "exec"), vars(module))  # noqa: S102 - it is what importing means
        except Exception as raised:  # noqa: BLE001 - a later cell may not need it
            error = error or raised
    if error is not None and not any(
        isinstance(value, type) and value.__module__ == module.__name__ for value in vars(module).values()
    ):
        raise error
    return module


def _statements(name: str, text: str) -> Iterator[ast.stmt]:
    """The statements of a cell, whose lines can be looked up; none if it cannot be read."""
    lines = [f"{line}\n" for line in text.splitlines()]
    linecache.cache[name] = (len(text), None, lines, name)
    try:
        yield from ast.parse(text).body
    except SyntaxError:
        return


def _wanted(statements: list[ast.stmt]) -> set[str]:
    """The names that classes and functions use, and those from which these are computed."""
    uses: dict[str, set[str]] = {}
    for node in statements:
        for name in _targets(node):
            uses.setdefault(name, set()).update(_names(node))
    wanted: set[str] = set()
    new = {name for node in statements if isinstance(node, ast.ClassDef) for name in _names(node)}
    while new:
        wanted |= new
        new = {used for name in new for used in uses.get(name, ())} - wanted
    return wanted


def _targets(node: ast.stmt) -> set[str]:
    """The names that a statement sets, where it is an assignment or a definition."""
    if isinstance(node, _DEFINITIONS):
        return {node.name}
    if not isinstance(node, _ASSIGNMENTS):
        return set()
    targets: list[Any] = node.targets if isinstance(node, ast.Assign) else [node.target]
    return {part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)}


def _names(node: ast.AST) -> set[str]:
    return {
        part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load)
    }


def _python(text: str) -> str:
    lines = text.splitlines()
    first = next((line.strip() for line in lines if line.strip()), "")
    if first.startswith("%%") and not first.startswith(_KEPT_CELL_MAGICS):
        return ""
    return "\n".join(
        "" if line.lstrip().startswith(_MAGIC) or line.rstrip().endswith("?") else line for line in lines
    )
