from __future__ import annotations

import linecache
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from layersmith.load.importing import import_target
from layersmith.load.target import Target
from layersmith.probe import source

TEXT = """\
import torch
from torch import nn

class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.inherited = nn.Parameter(torch.ones(2))

class Net(Base):
    scale = 3

    def __init__(self, dim=2):
        super().__init__()
        self.layer, self.other = nn.Linear(dim, dim), None
        self.register_buffer("steps", torch.zeros(1))
        self.register_parameter(name="gain", param=None)
        setattr(self, "late", 1)

    def forward(self, x):
        return self.helper(x) + getattr(self, "other", 0)

    def helper(self, x):
        if x.dim() == 5:
            raise ValueError("five")
        return self.layer(x)

def make():
    class Local(nn.Module):
        def forward(self, x):
            return x
    return Local

class Net2(Net):
    pass

@torch.no_grad()
def free(x):
    return x

class Wrapped(nn.Module):
    @torch.no_grad()
    def forward(self, x):
        return x @ torch.ones(7, 7)
"""


@pytest.fixture
def module(tmp_path: Path) -> Iterator[ModuleType]:
    file = tmp_path / "the_source_at_hand.py"
    file.write_text(TEXT)
    before = set(sys.modules)
    yield import_target(Target(str(file)))
    for name in set(sys.modules) - before:
        del sys.modules[name]


def line_of(text: str) -> int:
    return next(n for n, line in enumerate(TEXT.splitlines(), 1) if text in line)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("layer", "self.layer, self.other"),
        ("other", "self.layer, self.other"),
        ("steps", "register_buffer"),
        ("gain", "register_parameter"),
        ("late", "setattr"),
        ("scale", "scale = 3"),
        ("inherited", "self.inherited"),
    ],
)
def test_the_line_that_sets_an_attribute(module: Any, name: str, text: str) -> None:
    for cls in (module.Net, module.Net2):
        file, line = source.attribute_line(cls, name)
        assert line == line_of(text)
        assert Path(file).name == "the_source_at_hand.py"


def test_an_attribute_that_nothing_sets_has_no_line(module: Any) -> None:
    assert source.attribute_line(module.Net, "nowhere") == ("", 0)


def test_the_line_of_a_class(module: Any) -> None:
    assert source.class_line(module.Net)[1] == line_of("class Net(")
    assert source.class_line(module.Wrapped)[1] == line_of("class Wrapped(")
    assert source.class_line(module.make())[1] == line_of("class Local(")


def test_the_line_of_an_error_is_in_the_user_s_code(module: Any) -> None:
    net = module.Net()
    with pytest.raises(RuntimeError) as caught:
        net(torch.ones(3, 7))
    assert source.error_line(caught.value, net)[1] == line_of("return self.layer(x)")
    with pytest.raises(ValueError, match="five") as raised:
        net(torch.ones(1, 1, 1, 1, 1))
    assert source.error_line(raised.value, net)[1] == line_of('raise ValueError("five")')


def test_a_decorated_forward_is_found_too(module: Any) -> None:
    wrapped = module.Wrapped()
    with pytest.raises(RuntimeError) as caught:
        wrapped(torch.ones(3, 2))
    assert source.error_line(caught.value, wrapped)[1] == line_of("torch.ones(7, 7)")
    node = source.function_node(module.Wrapped.forward)
    assert node is not None
    assert node.name == "forward"


def test_the_owner_of_a_parameter() -> None:
    root = nn.Sequential(nn.Sequential(nn.Linear(2, 2)))
    assert source.owner(root, "0.0.weight") == (root.get_submodule("0.0"), "weight")
    assert source.owner(root, "weight") == (root, "weight")


def test_the_methods_that_name_an_attribute(module: Any) -> None:
    assert source.methods_naming(module.Net, "layer") == {"__init__", "helper"}
    assert source.methods_naming(module.Net, "other") == {"__init__", "forward"}
    assert source.methods_naming(module.Net2, "inherited") == {"__init__"}
    assert source.methods_naming(module.Net, "nowhere") == set()


def test_a_class_without_source_has_neither_line_nor_methods() -> None:
    scope: dict[str, Any] = {"nn": nn, "__name__": "no_such_module"}
    exec("class Made(nn.Module):\n    def forward(self, x): return self.y", scope)
    made = scope["Made"]
    assert source.class_line(made)[1] == 0
    assert source.attribute_line(made, "y") == ("", 0)
    assert source.methods_naming(made, "y") == set()


def test_a_notebook_cell_is_read_from_what_the_notebook_keeps() -> None:
    text = "class Cell(nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.a = 1\n"
    linecache.cache["<cell 7>"] = (len(text), None, text.splitlines(keepends=True), "<cell 7>")
    scope: dict[str, Any] = {"nn": nn, "__name__": "__main__"}
    exec(compile(text, "<cell 7>", "exec"), scope)
    assert source.attribute_line(scope["Cell"], "a") == ("<cell 7>", 4)


def test_a_class_that_is_defined_twice_is_the_one_with_its_methods(tmp_path: Path) -> None:
    text = "from torch import nn\n" + 2 * "class Twice(nn.Module):\n    def forward(self, x): return x\n"
    file = tmp_path / "defines_one_class_twice.py"
    file.write_text(text)
    cls = import_target(Target(str(file))).Twice
    assert source.class_line(cls)[1] == 4
    del sys.modules["defines_one_class_twice"]
