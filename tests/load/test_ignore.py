"""What a search leaves out: .gitignore as git reads it, and patterns of the user's."""

from __future__ import annotations

from pathlib import Path

import pytest

from layersmith.load import ignore, target


@pytest.mark.parametrize(
    ("lines", "path", "is_out"),
    [
        ("build", "a/build", True),
        ("build/", "a/build.py", False),
        ("/build", "a/build", False),
        ("a/b.py", "a/b.py", True),
        ("a/b.py", "c/a/b.py", False),
        ("*.py", "a/b/c.py", True),
        ("*.py\n!keep.py", "a/keep.py", False),
        ("# *.py", "a.py", False),
        ("**/old/*", "a/b/old/c.py", True),
        ("old/**", "old/a/b.py", True),
        ("a/**/c.py", "a/c.py", True),
        ("x?.py", "x1.py", True),
        ("x[!1].py", "x1.py", False),
        ("\\#a.py", "#a.py", True),
        ("a.b", "axb", False),
    ],
)
def test_patterns_mean_what_they_mean_to_git(lines: str, path: str, is_out: bool) -> None:
    root = Path("/root")
    found = ignore.patterns(lines.splitlines(), root)
    assert ignore.decides(found, root / path, is_folder=not path.endswith(".py")) is is_out


def test_a_folder_is_searched_as_git_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".git").mkdir()
    (tmp_path / ".gitignore").write_text("generated/\n")
    names = "a.py generated/b.py deep/c.py deep/d.py deep/sub/e.py"
    for name in names.split():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("class A(B): pass\n")
    (tmp_path / "deep" / ".gitignore").write_text("/d.py\n")
    found = [Path(one.path).as_posix() for one in target.parse(".", exclude=["sub"])]
    assert found == ["a.py", "deep/c.py"]
    assert [one.path for one in target.parse("deep/*.py", exclude=["c.py"])] == ["deep/d.py"]
