"""The house keeps its shape: imports go one way, files stay small, public names are exact."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import layersmith

ROOT = Path(layersmith.__file__).parent
# From the bottom up: a room may import only from itself and from rooms before it.
ROOMS = (
    "errors promises finding causes probe subject load rule observations rules reproduction nn repair registry config "
    "report verbs runner isolation server client api testing training render cli __main__ pytest_plugin"
).split()
# A report shows itself, in the terminal and in Jupyter: the one look up.
EXCEPTIONS = {("report", "render")}
FILES = sorted(ROOT.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "layersmith":
            yield from (f"layersmith.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_every_file_is_in_a_room() -> None:
    assert {room(path) for path in FILES} - {"__init__"} == set(ROOMS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    if (here := room(path)) == "__init__":
        return
    for name in imports(path):
        if name.startswith("layersmith."):
            there = name.split(".")[1]
            assert ROOMS.index(there) <= ROOMS.index(here) or (here, there) in EXCEPTIONS, name


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_small_and_says_what_it_is(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text))
    assert len(text.splitlines()) <= 300
    if path.parent.parent.name == "rules":  # what a rule does, without its page and the modules that show it
        body = text.partition('\n"""\n')[2].partition(f"\n@{path.stem}.")[0]
        assert len(body.splitlines()) <= 120


def test_the_public_names_are_exact() -> None:
    assert list(layersmith.__all__) == sorted(layersmith.__all__)
    for name in layersmith.__all__:
        assert getattr(layersmith, name) is not None
    assert dir(layersmith) == layersmith.__all__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        layersmith.nothing  # noqa: B018


def runs_without_torch(code: str) -> None:
    program = f"import sys\n{code}\nassert 'torch' not in sys.modules, 'torch was imported'"
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)


def test_importing_layersmith_imports_no_torch() -> None:
    runs_without_torch("import layersmith; layersmith.check; layersmith.Report; layersmith.contract")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["explain", "batch-leak"], ["explain"], ["check", "--help"]]
)
def test_help_and_explain_import_no_torch(arguments: list[str]) -> None:
    runs_without_torch(
        f"from layersmith.cli.main import main\ntry: main({arguments!r})\nexcept SystemExit: pass"
    )
