"""The lock file: the same entries are the same file, and every mistake in it is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from layersmith.errors import UsageError
from layersmith.load import fingerprint, lock
from layersmith.load.lock import Entry, Lock

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ENTRIES = st.dictionaries(
    TEXTS.filter(lambda key: key != "version"),
    st.builds(Entry, st.lists(TEXTS, max_size=3).map(tuple), TEXTS, TEXTS, TEXTS, TEXTS, TEXTS, TEXTS),
    max_size=4,
)


@given(ENTRIES)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, entries: dict[str, Entry]) -> None:
    path = tmp_path_factory.getbasetemp() / "some.lock"
    lock.write(Lock(path, entries))
    assert dict(lock.read(path).entries) == entries
    text = path.read_text()
    lock.write(Lock(path, dict(reversed(entries.items()))))
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("version = 1\n[x", "not valid TOML"),
        ("version = 2", "has version 2"),
        ("", "has version None"),
        ('version = 1\nBlock = "Block()()"', "must be a table"),
        ("version = 1\n[Block]\ncalls = 3", "calls must be a list"),
    ],
)
def test_a_mistake_names_the_file(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "layersmith.lock"
    path.write_text(text)
    with pytest.raises(UsageError, match=said) as caught:
        lock.read(path)
    assert "layersmith.lock" in str(caught.value)


def test_a_class_is_known_by_its_file_beside_the_lock_and_by_its_module_elsewhere(tmp_path: Path) -> None:
    here = Lock(tmp_path / "layersmith.lock")
    assert here.key(str(tmp_path / "a" / "b.py"), "b", "Block") == "a/b.py::Block"
    assert here.key("/somewhere/b.py", "pkg.b", "Block") == "pkg.b:Block"


def test_the_lock_lies_at_the_root_of_the_project(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "src" / "pkg").mkdir(parents=True)
    assert lock.place(tmp_path / "src" / "pkg") == tmp_path / "layersmith.lock"
    (tmp_path / "src" / "layersmith.lock").write_text("version = 1\n")
    assert lock.place(tmp_path / "src" / "pkg") == tmp_path / "src" / "layersmith.lock"


class Block(nn.Module):
    def __init__(self, dim: int, *, act: object = nn.ReLU, names: tuple[str, ...] = ("a",)) -> None:
        super().__init__()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return x


def test_a_signature_is_the_same_in_every_process() -> None:
    assert fingerprint.signature(Block) == "(dim, *, act=Ellipsis, names=('a',))(x, mask=None)"
    assert len(fingerprint.digest(Block)) == 12
