"""Examples that authors wrote: executed only where that is allowed, and watched."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from layersmith.load.attempt import Deadline
from layersmith.load.build import subject_of_class
from layersmith.load.documented import by_documentation, examples_of
from layersmith.load.strategy import Request

SOURCE = '''
import torch
from torch import nn


class Gate(nn.Module):
    """Scales.

    Example:
        >>> gate = Gate(6, strict=True)
        >>> gate(torch.rand(3, 6)).shape
        torch.Size([3, 6])
    """

    def __init__(self, width, strict=False):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * self.weight


class Odd(nn.Module):
    def __init__(self, table):
        super().__init__()
        self.fc = nn.Linear(table["in"], 2)

    def forward(self, x):
        return self.fc(x)


class Broken(nn.Module):
    """
    >>> Broken()(1 / 0)
    """

    def forward(self, x):
        return x


class Blended(nn.Module):
    """Blends.

    Example:
        .. code-block:: python

            x = torch.rand(4, 3)
            # the following line should print 1.0
            print(Blended(0.25)(x))
    """

    def __init__(self, share):
        super().__init__()
        self.share = share

    def forward(self, x):
        return x * self.share


def test_odd():
    Odd({"in": 7})(torch.rand(4, 7))


if __name__ == "__main__":
    Gate(9)(torch.rand(2, 9))
'''


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    (tmp_path / "written_by_someone.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("written_by_someone")
    sys.modules.pop("written_by_someone", None)


def test_a_docstring_shows_how_a_class_is_called(written: ModuleType) -> None:
    said = subject_of_class(written.Gate, may_run_examples=True).inferred_from
    assert said == "Gate(6, strict=True)(f32[3,6]<1) as its docstring does it"


def test_a_block_of_several_lines_shows_it(written: ModuleType) -> None:
    said = subject_of_class(written.Blended, may_run_examples=True).inferred_from
    assert said == "Blended(0.25)(f32[4,3]<1) as its docstring does it"


def test_a_test_of_the_file_shows_it_too(written: ModuleType) -> None:
    found = by_documentation(Request(written.Odd, Deadline.after(5), may_run_examples=True))
    assert found is not None
    assert found.notation == "Odd({'in': 7})(f32[4,7]<1)"


def test_nothing_is_executed_unless_that_is_allowed(written: ModuleType) -> None:
    assert by_documentation(Request(written.Gate, Deadline.after(5))) is None
    assert "docstring" not in subject_of_class(written.Gate).inferred_from


def test_an_example_that_fails_is_passed_over(written: ModuleType) -> None:
    assert by_documentation(Request(written.Broken, Deadline.after(5), may_run_examples=True)) is None


def test_the_docstring_comes_before_the_rest_of_the_file(written: ModuleType) -> None:
    places = [example.place for example in examples_of(written.Gate)]
    assert places[0] == "its docstring"
    assert len(places) > 1
