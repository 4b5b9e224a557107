"""Settings in pyproject.toml: found upwards, validated, never guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from layersmith import config
from layersmith.errors import UsageError


def test_the_nearest_table_upwards_counts(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.layersmith]\nignore = ["graph-break"]\ntimeout = 5\n')
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    found = config.find(tmp_path / "a" / "b")
    assert (found.ignore, found.timeout) == (("graph-break",), 5.0)


def test_without_a_table_the_defaults_hold(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.other]\n")
    assert config.find(tmp_path).select == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tool.layersmith]\nselct = []", "no key 'selct'"),
        ("[tool.layersmith]\nselect = 'all'", "select must be a list"),
        ("[tool.layersmith]\ntimeout = -1", "positive number of seconds, not -1"),
        ("[tool.layersmith]\nwaive = ['x']", "maps a class to its rules"),
        ("[tool.layersmith]\ngradients = 'slow'", "gradients must be one of quick, full"),
        ("[tool.layersmith", "not valid TOML"),
    ],
)
def test_a_mistake_names_the_file_and_the_key(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(UsageError, match=said) as caught:
        config.find(tmp_path)
    assert "pyproject.toml" in str(caught.value)
