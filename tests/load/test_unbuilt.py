"""A constructor that names what is nowhere is told of, not skipped."""

from __future__ import annotations

import importlib
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from layersmith.load.build import subject_of_class
from layersmith.load.unbuildable import Unbuildable
from layersmith.probe.slips import is_slip
from layersmith.registry import with_prerequisites
from layersmith.runner import run


class Misspelled(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = torch.nn.Layernorm(dim)  # type: ignore[attr-defined]

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x)


class LooksUp(nn.Module):
    """What it was given may be at fault."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.layer = getattr(nn, f"{kind}Nowhere")()

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


def test_a_constructor_that_names_what_is_nowhere_is_a_failure_of_forward_raises() -> None:
    (result, *_) = run(subject_of_class(Misspelled), with_prerequisites(["forward-raises"]))
    assert "the constructor raised AttributeError whatever was tried" in result.findings[0].message
    assert result.findings[0].line == Misspelled.__init__.__code__.co_firstlineno + 2


def test_a_constructor_that_looks_up_what_it_is_given_is_only_skipped() -> None:
    with pytest.raises(Unbuildable):
        subject_of_class(LooksUp)


def test_what_a_module_lacks_is_a_slip_but_not_what_a_mere_folder_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_a_folder").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(AttributeError) as whole:
        time.clock()  # type: ignore[attr-defined]
    with pytest.raises(AttributeError) as folder:
        importlib.import_module("only_a_folder").clock()
    assert is_slip(whole.value)
    assert not is_slip(folder.value)
