"""The project to which a file belongs: the folder that looks like the root of one, and its text files."""

from __future__ import annotations

import ast
import functools
import os
import re
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from layersmith.probe import source

_MARKS = (
    *("pyproject.toml", "setup.py", "setup.cfg", ".git", "requirements.txt", "environment.yml"),
    *("LICENSE", "README.md", "README.rst", "readme.md", "train.py", "main.py", "run.py"),
)
_LEVELS = 4  # how far above a file the root may be
_FILES = 400  # how many files of one project are looked at
_NAMES = 20_000  # how many names, before the search ends: a folder of data may lie there
_LARGEST = 200_000  # bytes of a file that is read
_SKIPPED = {"build", "dist", "node_modules", "site-packages", "venv", "env", "__pycache__", "wandb"}
_TRAINS = re.compile(r"\.backward\(|\boptim\b|zero_grad|\.fit\(|Trainer\b")
_INSTALLED = {"site-packages", "dist-packages"}


@functools.lru_cache(maxsize=256)
def folder_of(file: Path) -> Path | None:
    """The nearest folder above a file that bears a mark of a project; None for what is installed, or has none."""
    if _INSTALLED & set(file.parts):
        return None
    for folder in [*file.parents][:_LEVELS]:
        is_whole_disk = len(folder.parts) <= 2 or folder == Path.home()  # noqa: PLR2004 - / and what stands in it
        if not is_whole_disk and any((folder / mark).exists() for mark in _MARKS):
            return folder
    return None


@functools.lru_cache(maxsize=64)
def files_of(folder: Path, suffixes: tuple[str, ...]) -> tuple[Path, ...]:
    """Its files with these endings, those near its root first; the first few hundred of a large one."""
    found = []
    for path in islice(_walked(folder), _NAMES):
        if path.suffix in suffixes:
            found.append(path)
        if len(found) == _FILES:
            break
    return tuple(sorted(found, key=lambda path: (len(path.parts), path)))


@functools.lru_cache(maxsize=1024)
def text_of(path: Path) -> str:
    """What stands in a file; "" where it cannot be read or is too large to be written by hand."""
    try:
        if path.stat().st_size > _LARGEST:
            return ""
        return path.read_text(encoding="utf8", errors="replace")
    except OSError:
        return ""


def _beside(file: Path, suffixes: tuple[str, ...]) -> tuple[Path, ...]:
    """The files of the project to which a file belongs; none where there is no project."""
    folder = folder_of(file)
    return files_of(folder, suffixes) if folder is not None else ()


def only_loads_weights(file: Path) -> bool:
    """Whether its project takes weights from checkpoints, and nowhere trains any."""
    texts = [text_of(path) for path in _beside(file, (".py",))]
    return any("load_state_dict(" in text for text in texts) and not any(map(_TRAINS.search, texts))


def leads_nowhere(cls: type, attribute: str) -> bool:
    """Whether only methods name an attribute that start weights, or that nothing calls; and no other object's is read."""
    methods = source.methods_using(cls, attribute)
    file = Path(source.file_of(cls))
    texts = [text_of(path) for path in {file, *_beside(file, (".py", ".ipynb"))}]
    called = "|".join(rf"(?:\.|['\"]){method}" for method in methods)
    is_called = re.compile(rf"(?<!\bself)\.{attribute}\b|(?:{called or '(?!)'})\b")
    return all(_is_of_self_alone(cls, method) for method in methods) and not any(map(is_called.search, texts))


def is_set_elsewhere(cls: type, attribute: str) -> bool:
    """Whether a class of the project that inherits from this one has an attribute, or a function gives it to a module."""
    file = Path(source.file_of(cls))
    heirs = re.compile(rf"^class \w+\([^)]*\b{cls.__name__}\b", re.MULTILINE)
    sets = re.compile(
        rf"\bself\.{attribute}\s*(?::[^=\n]+)?=[^=]|^\s+(?:def {attribute}\b|{attribute}\s*[:=])",
        re.MULTILINE,
    )
    texts = (text_of(path) for path in {file, *_beside(file, (".py",))})
    given = re.compile(rf"^\s+(?!self\b)\w+\.{attribute}\s*=[^=]", re.MULTILINE)
    return any(given.search(text) or (heirs.search(text) and sets.search(text)) for text in texts)


def is_read_from_outside(cls: type, attribute: str) -> bool:
    """Whether other code of the project reads an attribute of this name: a loop has `model.head(features)`.

    Another class of the same file has to call it by a name of several words, `self.attention.memory_layer(x)`; its
    functions may call it by any, `model.generator(features)`.
    """
    file = Path(source.file_of(cls))
    if attribute in {"weight", "bias"}:  # which every layer has
        return False
    read = re.compile(rf"(?<!\bself)\.{attribute}\b(?!\s*=[^=])")
    called = re.compile(rf"(?<!\bself)\.{attribute}\(")
    is_special = "_" in attribute and called.search(_without(cls, text_of(file))) is not None
    is_special = is_special or _is_called_by_functions(file, attribute)
    return is_special or any(
        read.search(text_of(path)) for path in _beside(file, (".py", ".ipynb")) if path != file
    )


def _is_called_by_functions(file: Path, attribute: str) -> bool:
    """Whether code of the file outside of its classes calls an attribute of something that a name holds."""
    calls = (
        part.func
        for one in source.tree_of(str(file)).body
        if not isinstance(one, ast.ClassDef)
        for part in ast.walk(one)
        if isinstance(part, ast.Call)
    )
    tree = ast.walk(source.tree_of(str(file)))
    imports = (one for node in tree if isinstance(node, ast.Import | ast.ImportFrom) for one in node.names)
    packages = {one.asname or one.name.partition(".")[0] for one in imports}  # `torch.norm(x)`
    owners = (
        called.value for called in calls if isinstance(called, ast.Attribute) and called.attr == attribute
    )
    return any(isinstance(owner, ast.Name) and owner.id not in packages for owner in owners)


def _without(cls: type, text: str) -> str:
    """The text of a file but for the class."""
    node, lines = source.class_node(cls), text.splitlines()
    return "\n".join([*lines[: node.lineno - 1], *lines[node.end_lineno :]]) if node is not None else ""


def _is_of_self_alone(cls: type, method: str) -> bool:
    function = source.function_node(getattr(cls, method, None))
    is_plain = function is not None and len(function.args.args) == 1 and not function.decorator_list
    return is_plain and not method.startswith("__")


def _walked(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED and not name.startswith("."))
        yield from (Path(parent) / name for name in sorted(names))


def is_foreign(file: str) -> bool:
    """Whether a file is Python's own or an installed library's, or no file (`<string>`)."""
    return not file or file.startswith(("<", sys.base_prefix)) or "site-packages" in file
