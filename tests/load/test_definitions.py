"""Scripts that work when they are imported: their classes are had without that."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from layersmith.errors import TargetError
from layersmith.load import definitions, discovery, loader
from layersmith.load.build import subject_of_class
from layersmith.load.importing import import_target
from layersmith.load.target import Target
from layersmith.load.unbuildable import Unbuildable

NET = """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.map = nn.Linear(width, 3)

    def forward(self, x):
        total = self.map(x)
        return total
"""
HEAD = "import torch\nfrom torch import nn\n"


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    modules = dict(sys.modules)
    finders = [*sys.meta_path]
    yield
    for name in set(sys.modules) - set(modules):
        del sys.modules[name]
    assert sys.meta_path == finders


def imported(folder: Path, text: str, name: str = "script_to_define.py") -> ModuleType:
    (folder / name).write_text(text)
    return import_target(Target(str(folder / name)))


@pytest.mark.parametrize(
    ("work", "why"),
    [
        ("data = open('no such file').read()", "script_to_define.py:4 raised FileNotFoundError"),
        ("import sys\nsys.exit(2)", "script_to_define.py:5 raised SystemExit: 2"),
        ("net = undefined.cuda()", "raised NameError"),
        ("for _ in range(2):\n    open('no such file')", "script_to_define.py:5 raised FileNotFoundError"),
    ],
)
def test_a_file_that_fails_gives_its_classes(tmp_path: Path, work: str, why: str) -> None:
    module = imported(tmp_path, f"{HEAD}width = 4\n{work}\n{NET}")
    assert why in definitions.why_only(module.__name__)
    found = subject_of_class(module.Net)
    assert found.build(0).map.in_features == 4  # type: ignore[union-attr]
    assert why in found.inferred_from


def test_a_file_that_trains_is_not_run(tmp_path: Path) -> None:
    loop = "seen = []\nnet = Net()\nfor _ in range(2):\n    seen.append(1)\n    net(torch.rand(2, 4)).sum().backward()\n"
    module = imported(tmp_path, f"{HEAD}width = 4\n{NET}{loop}")
    assert "trains" in definitions.why_only(module.__name__)
    assert (module.seen, "net" in vars(module)) == ([], False)


def test_nor_one_whose_function_trains_when_it_is_called_at_the_end(tmp_path: Path) -> None:
    train = "def step(): net.loss.backward()\ndef main():\n    step()\n    raise SystemExit\n"
    assert "trains" in definitions.why_only(
        imported(tmp_path, f"{HEAD}width = 4\n{NET}{train}main()\n").__name__
    )
    guarded = imported(
        tmp_path, f"{HEAD}width = 4\n{NET}{train}if __name__ == '__main__': main()\n", "guarded.py"
    )
    assert not definitions.why_only(guarded.__name__)


def test_names_that_classes_read_are_set_whatever_sets_them(tmp_path: Path) -> None:
    text = """\
words = {}
for index, word in enumerate(["a", "b", "c"]):
    words[word] = index
sizes = []
sizes.append(len(words))
if len(words) > 2:
    width, total = sizes[0] + 1, 5
try:
    import no_such_package_of_all
except ImportError:
    no_such_package_of_all = None
raise ValueError("no data")
"""
    module = imported(tmp_path, f"{HEAD}{text}{NET}")
    assert (module.width, module.no_such_package_of_all) == (4, None)


def test_what_cannot_be_set_keeps_back_only_the_classes_that_read_it(tmp_path: Path) -> None:
    data = "data = open('no such file').read()\nwidth = len(data) + 1\n"
    other = "class Other(nn.Module):\n    def forward(self, x):\n        return x\n"
    derived = "class Derived(data.Base):\n    def forward(self, x):\n        return x\n"
    module = imported(tmp_path, f"{HEAD}{data}{NET}{other}{derived}")
    assert torch.equal(module.Other()(torch.ones(2)), torch.ones(2))
    with pytest.raises(Unbuildable, match=r"needs data, and script_to_define.py:3 raised FileNotFoundError"):
        subject_of_class(module.Net)
    net, _, unreachable = discovery.things(module)
    assert net is module.Net
    assert isinstance(unreachable, discovery.Unreachable)
    assert (unreachable.name, unreachable.line) == ("Derived", 16)
    assert "needs data" in unreachable.why


@pytest.mark.parametrize("future", ["", "from __future__ import annotations\n"])
def test_annotations_are_what_they_are_in_the_file(tmp_path: Path, future: str) -> None:
    text = f"{future}{HEAD}width = 4\nraise ValueError\n" + NET.replace(
        "forward(self, x)", "forward(self, x: torch.Tensor)"
    )
    module = imported(tmp_path, text)
    assert module.Net.forward.__annotations__["x"] == ("torch.Tensor" if future else torch.Tensor)


def test_a_function_that_is_wrapped_below_is_wrapped(tmp_path: Path) -> None:
    text = f"{HEAD}def twice(x): return 2 * x\ntwice = torch.no_grad()(twice)\nloss.backward()\n"
    module = imported(tmp_path, text + NET.replace("nn.Linear(width, 3)", "nn.Linear(int(twice(2)), 3)"))
    assert hasattr(module.twice, "__wrapped__")


def test_a_neighbour_that_fails_or_trains_is_defined_as_well(tmp_path: Path) -> None:
    (tmp_path / "reads_data_here.py").write_text(
        "DATA = open('no such file')\nWIDTH = 4\ndef half(x): return x / 2\n"
    )
    (tmp_path / "trains_here.py").write_text("def go(): loss.backward()\ngo()\nDEPTH = 2\n")
    text = "from reads_data_here import half\nimport reads_data_here as there\nimport trains_here\nwidth = there.WIDTH\n"
    module = imported(tmp_path, f"{HEAD}{text}{NET}")
    assert (module.half(4.0), module.width) == (2.0, 4)
    assert "trains" in definitions.why_only("trains_here")


def test_names_that_a_star_would_have_brought_are_not_made_up(tmp_path: Path) -> None:
    (tmp_path / "no_neighbour.py").write_text("from math import no_such_thing\nfrom json import *\nimport (")
    with pytest.raises(TargetError, match="syntax error"):
        imported(tmp_path, f"{HEAD}from no_neighbour import *\n{NET}")


def test_an_import_that_does_not_end_is_ended(tmp_path: Path) -> None:
    with loader.within(0.5):
        module = imported(tmp_path, f"{HEAD}width = 4\n{NET}while True: pass\n")
    assert "does not end" in definitions.why_only(module.__name__)
    assert module.Net()(torch.ones(1, 4)).shape == (1, 3)


def test_a_file_without_a_class_fails_as_it_does(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"raised ValueError at .*: no data"):
        imported(tmp_path, "x = 1\nraise ValueError('no data')\n")


SETTERS = """\
def setup():
    global width
    width = 4
def combine(self, x): return x
class Patched(nn.Module):
    def forward(self, x): return self.combine(x)
setup()
setattr(Patched, "combine", combine)
globals()["factor"] = 2
"""


def test_functions_that_set_globals_and_attributes_are_called(tmp_path: Path) -> None:
    module = imported(tmp_path, f"{HEAD}{SETTERS}{NET}raise ValueError('no data')\n")
    assert (module.width, module.factor, module.Patched()(3)) == (4, 2, 3)


def test_what_is_said_of_training_trains_nothing_however_long_it_is(tmp_path: Path) -> None:
    long = " + ".join(["'a'"] * 400)
    module = imported(tmp_path, f'"""loss.backward()"""\n{HEAD}width = 4\ntext = ({long})\n{NET}')
    assert (definitions.why_only(module.__name__), len(module.text)) == ("", 400)


def test_a_name_that_what_was_not_run_may_set_is_no_fault_of_the_class(tmp_path: Path) -> None:
    lost = "for _ in range(1):\n    exec('width = open(\"no such file\")')\nif width_is_known: width = 4\n"
    module = imported(tmp_path, f"{HEAD}{lost}{NET}")
    with pytest.raises(Unbuildable):
        subject_of_class(module.Net)


def test_training_is_not_run_for_what_is_saved_of_it(tmp_path: Path) -> None:
    loop = "for _ in range(3):\n    loss = net(torch.ones(2, 4)).sum()\n    loss.backward()\n"
    saves = "torch.save({'loss': loss}, 'net.pt')\n"
    net = NET.replace("return total", "return torch.relu(total)")
    module = imported(tmp_path, f"{HEAD}width = 4\n{net}net = Net()\n{loop}{saves}")
    assert "loss" not in vars(module)
