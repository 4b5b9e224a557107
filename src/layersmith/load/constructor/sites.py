"""Where a project builds a class: the calls of it in its own file, else in the files that import it."""

from __future__ import annotations

import ast
import functools
import inspect
import re
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from layersmith.load import project
from layersmith.probe import source

_USERS = 8  # how many files that name a class are read


@dataclass(frozen=True, slots=True)
class Site:
    """One call of a class."""

    call: ast.Call
    around: tuple[source.Function, ...]  # the functions in which it stands, the innermost first
    tree: ast.Module
    file: str

    def arguments(self, cls: type, *, is_part: bool = False) -> dict[str, ast.expr]:
        """The arguments by the class's parameters; nothing for a call with stars, or one that does not fit.

        Args:
            cls: the class.
            is_part: whether those of a call with `**more` are told, which are not all.
        """
        call = self.call
        by_name = {word.arg: word.value for word in call.keywords if word.arg is not None}
        has_more = len(by_name) < len(call.keywords)
        if any(isinstance(argument, ast.Starred) for argument in call.args) or (has_more and not is_part):
            return {}
        signature = inspect.signature(cls)
        fit = signature.bind_partial if has_more else signature.bind
        try:
            bound = fit(*call.args, **by_name)
        except (TypeError, ValueError):
            return {}
        return {name: node for name, node in bound.arguments.items() if isinstance(node, ast.expr)}


def near(cls: type) -> tuple[Site, ...]:
    """The calls of the class in its own file; where there are none, in files of its project that import it."""
    return _own(cls) or elsewhere(cls)


def of_function(function: source.Function, site: Site) -> tuple[Site, ...]:
    """The calls, in the project of a site, of a function that surrounds it, or of the class whose constructor it is."""
    classes = (node for node in ast.walk(site.tree) if isinstance(node, ast.ClassDef))
    owner = next((node.name for node in classes if function in node.body), "")
    is_method = bool(owner) and function.name != "__init__"
    return () if is_method else _named(owner or function.name, Path(site.file))


@functools.lru_cache(maxsize=256)
def _named(name: str, file: Path) -> tuple[Site, ...]:
    folder = project.folder_of(file)
    files = project.files_of(folder, (".py",)) if folder is not None else (file,)
    likely = [path for path in files if re.search(rf"\b{name}\(", project.text_of(path))][:_USERS]
    return tuple(one for path in likely for one in calls_in(source.tree_of(str(path)), (name,), str(path)))


@functools.lru_cache(maxsize=256)
def elsewhere(cls: type) -> tuple[Site, ...]:
    """The calls of the class in other files of its project that import it."""
    file = source.file_of(cls)
    folder = project.folder_of(Path(file).resolve()) if file else None
    if folder is None:
        return ()
    named = re.compile(rf"\b{cls.__name__}\(")
    files = (path for path in project.files_of(folder, (".py",)) if path != Path(file).resolve())
    likely = [path for path in files if named.search(project.text_of(path))]
    trees = ((source.tree_of(str(path)), path) for path in likely[:_USERS])
    return tuple(
        site
        for tree, path in trees
        if _imports(tree, cls)
        for site in calls_in(tree, (cls.__name__,), str(path))
    )


@functools.lru_cache(maxsize=256)
def _own(cls: type) -> tuple[Site, ...]:
    file = source.file_of(cls)
    return tuple(calls_in(source.tree_of(file), (cls.__name__,), file))


def calls_in(tree: ast.Module, names: Collection[str], file: str) -> Iterator[Site]:
    """The calls of functions, methods or classes of these names, whatever they belong to."""
    left: deque[tuple[ast.AST, tuple[source.Function, ...]]] = deque([(tree, ())])
    while left:
        node, around = left.popleft()
        if isinstance(node, ast.Call) and name_of(node) in names:
            yield Site(node, around, tree, file)
        inside = (node, *around) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else around
        left += [(child, inside) for child in ast.iter_child_nodes(node)]


def name_of(call: ast.Call) -> str:
    """The last name of what is called; "" of what has none."""
    name: str = getattr(call.func, "id", getattr(call.func, "attr", ""))
    return name


def _imports(tree: ast.Module, cls: type) -> bool:
    """Whether a file may mean this class by its name: it imports it, or its module, and has none of its own."""
    parts = set(cls.__module__.split(".")) | {Path(source.file_of(cls)).stem}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == cls.__name__:
            return False
        if isinstance(node, ast.ImportFrom) and parts & set((node.module or "").split(".")):
            return True
        if isinstance(node, ast.ImportFrom | ast.Import) and any(
            parts & set(alias.name.split(".")) for alias in node.names
        ):
            return True
    return False
