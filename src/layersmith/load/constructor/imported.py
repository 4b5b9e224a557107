"""Constants that a file imports from another of its project: `from config import HIDDEN_SIZE`, `C.HIDDEN_SIZE`."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

from layersmith.load import project
from layersmith.probe import source


def origin(name: str, file: str) -> tuple[str, str] | None:
    """The file of the project from which a name comes, and what it is called there.

    Args:
        name: as the file has it: `HIDDEN_SIZE`; `C.HIDDEN_SIZE` where it imports the other as C.
        file: that imports it, anywhere.
    """
    owner, _, member = name.rpartition(".")
    for node in ast.walk(source.tree_of(file)):
        for module, theirs in _sources(node, owner, member):
            if (path := _file_of(module, file)) and _binds(source.tree_of(path), theirs):
                return path, theirs
    return None


def _sources(node: ast.AST, owner: str, member: str) -> Iterator[tuple[str, str]]:
    """The modules that may have it by this import, each with the name there."""
    for alias in node.names if isinstance(node, ast.Import | ast.ImportFrom) else ():
        known = alias.asname or alias.name
        inside = f"{node.module or ''}." if isinstance(node, ast.ImportFrom) else ""
        if owner and known == owner:
            yield f"{inside}{alias.name}", member
        elif not owner and isinstance(node, ast.ImportFrom) and known in (member, "*"):
            yield node.module or "", alias.name if known == member else member


@functools.lru_cache(maxsize=512)
def _file_of(module: str, file: str) -> str:
    """The project's file of a module, the nearest of several; "" for what is installed."""
    parts = [part for part in module.split(".") if part]
    folder = project.folder_of(Path(file).resolve())
    paths = project.files_of(folder, (".py",)) if folder is not None and parts else ()
    fitting = [path for path in paths if [*path.with_suffix("").parts[-len(parts) :]] == parts]
    here = Path(file).resolve().parent
    return str(min(fitting, key=lambda path: path.parent != here)) if fitting else ""


def _binds(tree: ast.Module, name: str) -> bool:
    names = (
        getattr(target, "id", "")
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    )
    return name in names
