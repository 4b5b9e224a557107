"""A package that is not installed costs the classes that would use it, and no others."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from torch import nn

from layersmith.errors import TargetError
from layersmith.load.build import subject_of_class
from layersmith.load.importing import import_target
from layersmith.load.target import Target
from layersmith.load.unbuildable import Unbuildable
from layersmith.probe import undefined

FILE = """
from __future__ import annotations
import torch
from torch import nn
import no_such_loops.progress as progress
from no_such_arrays import rearrange, Float
from no_such_logs.board import Writer

class Plain(nn.Module):
    def __init__(self, width: int = 8):
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x: Float[torch.Tensor, "b d"], writer: Writer | None = None):
        return self.linear(x)

class Arranged(nn.Module):
    def forward(self, x):
        return rearrange(x, "b t -> t b")

def turned(x):
    return rearrange(x, "b t -> t b")

class Around(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Arranged()

    def forward(self, x):
        return self.inner(x)

class Calling(nn.Module):
    def forward(self, x):
        return [turned(y) for y in (x, x)]

class Derived(Calling):
    pass

class Defaulting(nn.Module):
    def __init__(self, act=rearrange):
        super().__init__()
        self.act = act

    def forward(self, x):
        return self.act(x)

def train(model):
    writer = Writer("runs")
    for x in progress.bar(range(3)):
        writer.add(model(x))
"""


def test_only_classes_that_would_use_it_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "half_there.py").write_text(FILE)
    module = import_target(Target(str(tmp_path / "half_there.py")))
    plain = subject_of_class(module.Plain)
    assert plain.inputs(0).call(plain.build(0)).isfinite().all()
    for name in ("Arranged", "Around", "Calling", "Derived", "Defaulting"):
        with pytest.raises(Unbuildable, match="needs no_such_arrays, which is not installed"):
            subject_of_class(getattr(module, name))
    assert not [name for name in sys.modules if name.startswith("no_such")]
    with pytest.raises(ModuleNotFoundError, match="no_such_logs"):
        module.train(nn.Linear(2, 2))


def test_what_a_file_can_do_without_is_not_made_up_for_it(tmp_path: Path) -> None:
    (tmp_path / "two_ways.py").write_text(
        "import no_such_loops\nfrom torch import nn\n"
        "try:\n    from no_such_loops import fast\n    IS_FAST = True\nexcept ImportError:\n    IS_FAST = False\n"
    )
    assert import_target(Target(str(tmp_path / "two_ways.py"))).IS_FAST is False


@pytest.mark.parametrize(
    "use",
    [
        "class Net(no_such_loops.Module): pass",
        "@no_such_loops.jit\ndef f(x): return x",
        "X = no_such_loops.zeros(3)",
        "IS = isinstance(3, no_such_loops.Number)",
        "for x in no_such_loops.things: pass",
        "if no_such_loops.on: pass",
    ],
)
def test_a_file_that_uses_it_while_it_is_imported_is_refused(tmp_path: Path, use: str) -> None:
    (tmp_path / "user_of_loops.py").write_text(f"import no_such_loops\n{use}\n")
    with pytest.raises(TargetError, match=r"skipped: needs no_such_loops.*user_of_loops.py:1"):
        import_target(Target(str(tmp_path / "user_of_loops.py")))


def test_a_part_of_a_library_that_needs_more_is_absent_too(tmp_path: Path) -> None:
    package = tmp_path / "site-packages" / "half_library"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "board.py").write_text("import no_such_board\n")
    (tmp_path / "logs_to_it.py").write_text("from half_library.board import Writer\nWIDTH = 3\n")
    sys.path.append(str(package.parent))
    try:
        assert import_target(Target(str(tmp_path / "logs_to_it.py"))).WIDTH == 3
    finally:
        sys.path.remove(str(package.parent))


def test_what_a_star_would_have_brought_is_needed_and_not_undefined(tmp_path: Path) -> None:
    (tmp_path / "of_a_star.py").write_text(
        "from torch import nn\nfrom no_such_helpers import *\n"
        "class Parsed(nn.Module):\n    def forward(self, x):\n        return parse(x)\n"
        "class Plain(nn.Module):\n    def forward(self, x):\n        return abs(x)\n"
    )
    module = import_target(Target(str(tmp_path / "of_a_star.py")))
    assert subject_of_class(module.Plain).inferred_from
    with pytest.raises(Unbuildable, match="needs no_such_helpers, which is not installed"):
        subject_of_class(module.Parsed)
    assert [*undefined.names(module.Parsed)] == []
