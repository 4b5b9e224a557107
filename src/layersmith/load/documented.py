"""Examples that the authors wrote, executed and watched: docstrings, README, `__main__`, `test()` and `demo()`.

They run whatever they run, so this is done only where the process is confined (see `Request.may_run_examples`).
"""

from __future__ import annotations

import ast
import doctest
import inspect
import os
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from layersmith.load.attempt import Deadline, contained
from layersmith.load.recorded import found_of
from layersmith.load.recording import Enough, recording
from layersmith.load.strategy import Found, Request
from layersmith.probe import source

_DEMO = re.compile(r"^_*(test|demo|example|main|run|unit_?test|check)s?(_|$)")
_FENCED = re.compile(r"```(?:python|py|pycon)?[ ]*\n(.*?)```", re.DOTALL)
_INDENTED = re.compile(
    r"(?:::|code-block:: *python|[Ee]xamples?:|[Uu]sage:)[ ]*\n((?:[ \t]+\S.*\n|[ \t]*\n)+)"
)
_PROJECT = ("pyproject.toml", "setup.py", "setup.cfg", ".git", "requirements.txt")
_LEVELS = 4  # how far up the README may stand
_SHARE = 0.3  # of the time left, for one example
_LARGEST_TEXT = 400_000
_LARGEST = 3_000_000  # numbers in parameters and inputs: what is larger makes every rule slow


@dataclass(frozen=True, slots=True)
class Example:
    """A piece of code and where it stands."""

    code: str
    place: str  # "its docstring", "README.md"
    scope: dict[str, Any]


def by_documentation(request: Request) -> Found | None:
    """A call that an author's example makes, of this class or of one that uses it."""
    if not request.may_run_examples or request.inputs is not None:
        return None
    for example in examples_of(request.cls):
        found = _watched(request, example)
        if found is not None:
            return found
        if request.deadline.is_over:
            return None
    return None


def by_small_documentation(request: Request) -> Found | None:
    """The same from the class's own docstring and its file's tests alone, if the module is small."""
    if not request.may_run_examples or request.inputs is not None:
        return None
    for example in _own(request.cls):
        found = _watched(request, example)
        if found is not None and found.size <= _LARGEST:
            return found
    return None


def examples_of(cls: type) -> Iterator[Example]:
    """Examples that may call the class: those that name it first, then others of its file, then the README."""
    yield from _own(cls)
    yield from _main(cls)
    yield from _readme(cls)


def _own(cls: type) -> Iterator[Example]:
    """Docstrings of the class, and functions `test()`, `demo()` of its file that name it."""
    module = sys.modules.get(cls.__module__)
    scope = {**vars(module)} if module is not None else {}
    texts = [
        vars(cls).get("__doc__"),
        getattr(cls.forward, "__doc__", None) if hasattr(cls, "forward") else None,
    ]
    for text in texts:
        for code in _pieces(text or ""):
            if cls.__name__ in code:
                yield Example(code, "its docstring", {"torch": torch, "nn": nn, **scope})
    for name, thing in list(scope.items()):
        is_demo = inspect.isfunction(thing) and thing.__module__ == cls.__module__ and _DEMO.match(name)
        if is_demo and not _required(thing) and cls.__name__ in thing.__code__.co_names:
            yield Example(f"{name}()", f"{name}()", scope)


def _main(cls: type) -> Iterator[Example]:
    """What the file runs as a script, and its docstring; then the rest of its tests."""
    module = sys.modules.get(cls.__module__)
    if module is None:
        return
    scope = {**vars(module), "__name__": "__main__"}
    for node in source.tree_of(source.file_of(cls)).body:
        if isinstance(node, ast.If) and "__main__" in ast.unparse(node.test):
            yield Example("\n".join(map(ast.unparse, node.body)), "its file's __main__", scope)
    for code in _pieces(module.__doc__ or ""):
        yield Example(code, "its file's docstring", {"torch": torch, "nn": nn, **scope})
    for name, thing in list(scope.items()):
        is_demo = inspect.isfunction(thing) and thing.__module__ == cls.__module__ and _DEMO.match(name)
        if is_demo and not _required(thing) and cls.__name__ not in thing.__code__.co_names:
            yield Example(f"{name}()", f"{name}()", scope)


def _readme(cls: type) -> Iterator[Example]:
    """Pieces of the project's README that name the class, or another of its file."""
    file = source.file_of(cls)
    if not file or not Path(file).is_file():
        return
    siblings = {
        name
        for name, thing in vars(sys.modules.get(cls.__module__, object)).items()
        if inspect.isclass(thing) and thing.__module__ == cls.__module__
    }
    for path in _readmes(Path(file)):
        text = path.read_text(encoding="utf-8", errors="replace")[:_LARGEST_TEXT]
        pieces = [code for code in _pieces(text) if siblings & set(re.findall(r"\w+", code))]
        for code in sorted(pieces, key=lambda code: not re.search(rf"\b{cls.__name__}\b", code)):
            yield Example(code, path.name, {"torch": torch, "nn": nn, "__name__": "readme"})


def _readmes(file: Path) -> Iterator[Path]:
    for folder in list(file.parents)[:_LEVELS]:
        yield from sorted(folder.glob("README*.md"))[:1]
        metadata = [
            found / "METADATA" for found in folder.glob("*.dist-info") if _is_of(found.name, file, folder)
        ]
        yield from [path for path in metadata if path.is_file()]
        if metadata or any((folder / name).exists() for name in _PROJECT):
            return


def _is_of(distribution: str, file: Path, folder: Path) -> bool:
    package = file.relative_to(folder).parts[0].removesuffix(".py")
    return re.sub(r"[-_.]+", "_", distribution.rsplit("-", 1)[0]).lower() == package.lower()


def _pieces(text: str) -> Iterator[str]:
    """The pieces of code in a text: prompts, fences, indented blocks."""
    try:
        prompted = doctest.DocTestParser().get_examples(text)
    except ValueError:
        prompted = []
    if prompted:
        yield "".join(example.source for example in prompted)
        return
    for match in [*_FENCED.finditer(text), *_INDENTED.finditer(text)]:
        code = textwrap.dedent(match.group(1))
        try:
            ast.parse(code)
        except (SyntaxError, ValueError):
            yield from _pieces(code)  # `Example:`, and only then `.. code-block:: python`
        else:
            yield code


def _required(function: Any) -> bool:
    parameters = inspect.signature(function).parameters.values()
    return any(p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)


def _watched(request: Request, example: Example) -> Found | None:
    deadline = request.deadline.part(_SHARE)
    with recording(frozenset({request.cls}), each=1, is_brief=True) as seen:
        _executed(example, deadline)
    how = f"as {example.place} does it"
    ways = (found_of(one, seen, how, request.deadline) for one in seen.of(request.cls))
    return next((way for way in ways if way is not None), None)


def _executed(example: Example, deadline: Deadline) -> None:
    """Run the code statement by statement, until one fails."""
    argv, sys.argv = sys.argv, sys.argv[:1]
    os.environ.setdefault("MPLBACKEND", "Agg")  # no window
    scope = dict(example.scope)
    try:
        with contained(deadline):
            exec(compile(example.code, f"<{example.place}>", "exec"), scope)  # noqa: S102 - what the strategy is for
    except (MemoryError, KeyboardInterrupt):
        raise
    except (Enough, Exception, SystemExit, GeneratorExit):  # noqa: BLE001, S110 - what was called before it was called
        pass
    finally:
        sys.argv = argv
