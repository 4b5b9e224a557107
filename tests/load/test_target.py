from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from layersmith.errors import TargetError
from layersmith.load.target import Target, parse

MODULE = "from torch import nn\nclass Net(nn.Module):\n    def forward(self, x): return x\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, text: str = MODULE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_file_is_one_target(project: Path) -> None:
    write(project / "net.py")
    assert parse("net.py") == [Target("net.py", "", "")]


def test_a_class_of_a_file_is_named_after_two_colons(project: Path) -> None:
    write(project / "net.py")
    assert parse("net.py::Net") == [Target("net.py", "", "Net")]
    assert str(parse("net.py::Net")[0]) == "net.py::Net"


def test_an_import_path_is_found_without_importing_it(project: Path) -> None:
    write(project / "pack" / "__init__.py", "raise RuntimeError('imported')")
    write(project / "pack" / "net.py")
    assert parse("pack.net:Net") == [Target("", "pack.net", "Net")]


def test_a_folder_gives_what_may_define_a_module_and_no_tests_or_built_files(project: Path) -> None:
    for name in (
        "a.py",
        "sub/b.py",
        "test_a.py",
        "conftest.py",
        "setup.py",
        ".venv/c.py",
        "build/d.py",
        ".x/e.py",
    ):
        write(project / "src" / name)
    write(project / "src" / "script.py", "print('no class here')")
    assert [target.path for target in parse("src")] == ["src/a.py", "src/sub/b.py"]


def test_a_folder_keeps_a_file_that_cannot_be_read_so_that_importing_it_says_why(project: Path) -> None:
    write(project / "src" / "broken.py", "class Net(nn.Module:\n")
    assert [target.path for target in parse("src")] == ["src/broken.py"]


def test_a_glob_gives_the_files_that_match(project: Path) -> None:
    for name in ("net_a.py", "net_b.py", "other.py"):
        write(project / name)
    assert [target.path for target in parse("net_*.py")] == ["net_a.py", "net_b.py"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nett.py", "did you mean net.py"),
        ("nowhere/net.py", "no folder nowhere"),
        ("notes.txt", "not a Python file"),
        ("broken.py", "broken.py:2: syntax error"),
        ("no_such_package", "no module named no_such_package"),
        ("pack.missing", "no module named pack.missing"),
        ("a b", "not an import path"),
        ("empty", "no Python file in empty"),
        ("nothing_*.py", "no Python file matches"),
        ("", "no target"),
    ],
)
def test_an_error_says_what_is_wrong_with_the_target(project: Path, text: str, words: str) -> None:
    write(project / "net.py")
    write(project / "notes.txt")
    write(project / "broken.py", "x = 1\nclass Net(:\n")
    write(project / "pack" / "__init__.py", "")
    (project / "empty").mkdir()
    with pytest.raises(TargetError, match=words):
        parse(text)


def test_a_syntax_error_shows_the_line(project: Path) -> None:
    write(project / "broken.py", "x = 1\nclass Net(:\n")
    with pytest.raises(TargetError, match=r"class Net\(:"):
        parse("broken.py")


def test_parsing_a_target_does_not_import_torch() -> None:
    code = "import sys; import layersmith.load.target; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
