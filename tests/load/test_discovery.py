from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from layersmith.errors import TargetError
from layersmith.load.discovery import classes
from layersmith.load.importing import import_target
from layersmith.load.target import Target

TEXT = """
import abc
from torch import nn
from torch.nn import Linear

class Second(nn.Module):
    def forward(self, x): return x

class Base(nn.Module):
    def __init__(self): super().__init__()

class Unfinished(nn.Module):
    def forward(self, x):
        '''To be written.'''
        raise NotImplementedError

class Abstract(nn.Module, abc.ABC):
    @abc.abstractmethod
    def forward(self, x): ...

class HandsUp(nn.Module):
    def forward(self, *args, **kwargs):
        return super().forward(*args, **kwargs)

class OnlyTrains(HandsUp):
    def training_step(self, batch): return batch

class Last(Base):
    def forward(self, x): return x

class Plain: pass
Alias = Last
"""


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    modules = set(sys.modules)
    yield
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def load(tmp_path: Path, text: str, name: str = "found_here.py") -> types.ModuleType:
    (tmp_path / name).write_text(text)
    return import_target(Target(str(tmp_path / name)))


def test_concrete_classes_defined_in_the_file_in_order_of_line(tmp_path: Path) -> None:
    assert [cls.__name__ for cls in classes(load(tmp_path, TEXT))] == ["Second", "Last"]


def test_a_named_class_is_taken_even_if_it_was_imported(tmp_path: Path) -> None:
    assert [cls.__name__ for cls in classes(load(tmp_path, TEXT), "Linear")] == ["Linear"]


@pytest.mark.parametrize(
    ("name", "words"),
    [("Lsat", "did you mean Last"), ("Plain", "no nn.Module"), ("abc", "no class: module")],
)
def test_a_wrong_name_is_answered_with_what_is_there(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(TargetError, match=words):
        classes(load(tmp_path, TEXT), name)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1", "no nn.Module class is defined"),
        ("from torch.nn import Linear", "only imports Linear"),
        ("from torch import nn\nclass Base(nn.Module): pass", "abstract.*Base"),
        (
            "from torch import nn\ndef make():\n class Inner(nn.Module):\n  def forward(self, x): return x\n",
            "inside functions.*Inner",
        ),
    ],
)
def test_a_file_without_any_says_why(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(TargetError, match=words):
        classes(load(tmp_path, text))


def test_a_package_gives_its_public_classes() -> None:
    import layersmith.nn

    found = {cls.__name__ for cls in classes(layersmith.nn)}
    assert {"Linear", "ScaledReLU", "FeedForward"} <= found


def test_a_package_without_all_gives_those_of_its_submodules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "pack_of_nets"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "one.py").write_text(TEXT)
    (package / "two.py").write_text("import no_such_library\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    module = import_target(Target("", "pack_of_nets"))
    assert [cls.__name__ for cls in classes(module)] == ["Second", "Last"]


def test_what_a_package_fails_to_load_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "lazy_pack"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from .one import Last\n"
        "__all__ = ['Last', 'Lazy']\n"
        "def __getattr__(name):\n"
        "    raise ModuleNotFoundError(f'{name} needs what is not here')\n"
    )
    (package / "one.py").write_text(TEXT)
    monkeypatch.syspath_prepend(str(tmp_path))
    module = import_target(Target("", "lazy_pack"))
    assert [cls.__name__ for cls in classes(module)] == ["Last"]
