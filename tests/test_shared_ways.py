"""What one lane leaves for the other."""

from __future__ import annotations

from pathlib import Path

from layersmith.load.lock import Entry
from layersmith.server.shared import leave, left

ENTRY = Entry(("Block(64)(f32[2,64])",), "names", "(width)", doubt="a stand-in")


def test_what_is_left_is_found(tmp_path: Path) -> None:
    assert left(str(tmp_path), "a.py:1:Block") is None
    leave(str(tmp_path), "a.py:1:Block", ENTRY)
    assert left(str(tmp_path), "a.py:1:Block") == ENTRY
    assert left(str(tmp_path), "a.py:9:Block") is None


def test_what_the_code_under_check_wrote_over_is_not_believed(tmp_path: Path) -> None:
    leave(str(tmp_path), "a.py:1:Block", ENTRY)
    for text in ("", "[]", '{"calls": 3}', '{"calls": [], "more": 1}'):
        for file in (tmp_path / "ways").iterdir():
            file.write_text(text)
        assert left(str(tmp_path), "a.py:1:Block") is None


def test_a_folder_that_cannot_be_written_costs_nothing_but_time(tmp_path: Path) -> None:
    leave(str(tmp_path / "gone"), "a.py:1:Block", ENTRY)
    assert left(str(tmp_path / "gone"), "a.py:1:Block") is None
