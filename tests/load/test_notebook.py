"""A notebook: its classes, with the lines of their cells, without running what trains."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from layersmith.errors import TargetError
from layersmith.load import discovery, importing, target
from layersmith.probe import source

BLOCK = """\
class Block(nn.Module):
    def __init__(self, dim=width):
        super().__init__()

    def forward(self, x):
        return x * scale
"""
CELLS = [
    "import torch\nfrom torch import nn\n%matplotlib inline\n!pip install nothing\nwidth = 16",
    "text = open('no such file').read()\nmodel = undefined()\nscale = width * 2\nhelp(nn)?",
    BLOCK,
    "raise SystemExit\nwhile True:\n    pass",
    "%%bash\nrm -rf /",
]


def notebook(path: Path, cells: list[str]) -> Path:
    text = [{"cell_type": "markdown", "source": "# Title"}]
    code = [{"cell_type": "code", "source": cell.splitlines(keepends=True)} for cell in cells]
    path.write_text(json.dumps({"cells": [*text, *code]}))
    return path


def test_classes_come_with_the_lines_of_their_cells(tmp_path: Path) -> None:
    path = notebook(tmp_path / "model.ipynb", CELLS)
    [asked] = target.parse(str(path))
    module = importing.import_target(asked)
    [block] = discovery.classes(module)
    assert source.class_line(block) == (f"{path}, cell 3", 1)
    assert (vars(module)["scale"], "model" in vars(module)) == (32, False)


def test_a_notebook_without_a_class_says_what_failed(tmp_path: Path) -> None:
    path = notebook(tmp_path / "broken.ipynb", ["import no_such_package as a", "class A(a.B): pass"])
    with pytest.raises(TargetError, match="needs no_such_package"):
        importing.import_target(target.parse(str(path))[0])


def test_what_is_no_notebook_is_a_wrong_request(tmp_path: Path) -> None:
    (tmp_path / "x.ipynb").write_text("{}")
    with pytest.raises(TargetError, match="has no cells"):
        target.parse(str(tmp_path / "x.ipynb"))
