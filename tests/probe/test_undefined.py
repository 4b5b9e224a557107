"""Names that nothing defines are found in the code; what may be defined otherwise is left alone."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from layersmith.probe import undefined, unset

Load = Callable[..., ModuleType]
HEAD = "import torch\nfrom torch import nn\n"


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    names: list[str] = []

    def loaded(text: str, *, beside: str = "") -> ModuleType:
        (tmp_path / "beside.py").write_text(beside)
        (tmp_path / "layer.py").write_text(HEAD + text)
        spec = importlib.util.spec_from_file_location("layer_under_test", tmp_path / "layer.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        names.append(spec.name)
        spec.loader.exec_module(module)
        return module

    yield loaded
    for name in names:
        sys.modules.pop(name, None)


def names(module: ModuleType) -> list[str]:
    return [one.name for one in undefined.names(module.Layer)]


def of_source(module: ModuleType) -> list[str]:
    return [one.name for one in undefined.attributes(module.Layer, None)]


def attributes(module: ModuleType) -> list[str]:
    return [one.name for one in undefined.attributes(module.Layer, module.Layer())]


PLAIN = """
class Layer(nn.Module):
    def forward(self, x):
        return x if x.ndim else rearrange(x)
"""
IN_A_FUNCTION = """
def up(x):
    return ceil(x)

class Layer(nn.Module):
    def forward(self, x):
        return up(x)
"""
DECORATED = """
class Layer(nn.Module):
    @torch.no_grad()
    def forward(self, x):
        return x + seq_len
"""
MAY_BE_IMPORTED = """
try:
    from nowhere import fast
except ImportError:
    pass

class Layer(nn.Module):
    def forward(self, x):
        return fast(x)
"""
CAUGHT = """
class Layer(nn.Module):
    def forward(self, x):
        try:
            return fast(x)
        except NameError:
            return x
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PLAIN, ["rearrange"]),
        (IN_A_FUNCTION, ["ceil"]),
        (DECORATED, ["seq_len"]),
        (MAY_BE_IMPORTED, []),
        (CAUGHT, []),
    ],
)
def test_a_global_name_is_unknown_when_nothing_in_the_file_binds_it(
    load: Load, text: str, expected: list[str]
) -> None:
    assert names(load(text)) == expected


READS = "class Layer(nn.Module):\n  def forward(self, x):\n    return x if x.ndim else x[: self.halfway]\n"


@pytest.mark.parametrize(
    ("text", "beside", "expected"),
    [
        (READS, "", ["halfway"]),
        (
            READS
            + "class Other(nn.Module):\n  def __init__(self):\n    super().__init__()\n    self.halfway = 2\n",
            "",
            ["halfway"],
        ),
        (
            READS
            + "class Sub(Layer):\n  def __init__(self):\n    super().__init__()\n    self.halfway = 2\n",
            "",
            [],
        ),
        (READS, "def prepare(layer):\n    layer.halfway = 3\n", []),
        (READS, "def prepare(layer):\n    setattr(layer, 'halfway', 3)\n", []),
        (READS.replace("  def forward", "  halfway: int\n  def forward"), "", []),
        (
            READS.replace("  def forward", "  def __getattr__(self, name):\n    return 1\n  def forward"),
            "",
            [],
        ),
    ],
)
def test_an_attribute_is_unknown_when_nothing_sets_it_on_the_class(
    load: Load, text: str, beside: str, expected: list[str]
) -> None:
    assert attributes(load(text, beside=beside)) == expected


READS_WHAT_NONE_SETS = """
class Layer(nn.Module):
    def __init__(self, unknown):
        super().__init__()
        self.known = unknown.width

    def noise(self, model):
        model.eval()
        return torch.randn(self.known, device=self.place) if self.training else missing
"""
HEIR_DEFINES = """
class Layer(nn.Module):
    def forward(self, x):
        return self.inner(x) * self.gain

class Heir(Layer):
    gain = 2.0

    def inner(self, x):
        return x
"""
NAMES_BY_NUMBER = """
class Layer(nn.Module):
    def __init__(self, unknown):
        super().__init__()
        for i in range(unknown.count):
            setattr(self, f"token_{i}", nn.Parameter(torch.zeros(1)))

    def forward(self, x):
        return x + self.token_0
"""


@pytest.mark.parametrize(
    ("text", "unset"), [(READS_WHAT_NONE_SETS, ["place"]), (HEIR_DEFINES, []), (NAMES_BY_NUMBER, [])]
)
def test_a_class_that_was_never_built_is_read(load: Load, text: str, unset: list[str]) -> None:
    assert of_source(load(text)) == unset


def test_that_a_model_is_put_into_eval_mode_says_nothing_of_names(load: Load) -> None:
    assert names(load(READS_WHAT_NONE_SETS)) == ["missing"]


ASKS_FOR_WHAT_MAY_NOT_BE = """
class Layer(nn.Module):
    def __init__(self, positions=None):
        super().__init__()
        if positions is not None:
            self.positions = nn.Embedding(positions, 6)

    def forward(self, x):
        if self.positions is not None:
            x = x + self.positions.weight[: len(x)]
        return x
"""
ASKS_ANOTHER_FIRST = """
class Layer(nn.Module):
    def __init__(self, positions=None):
        super().__init__()
        self.has_positions = positions is not None
        if positions is not None:
            self.positions = nn.Embedding(positions, 6)

    def forward(self, x):
        if self.has_positions and self.positions is not None:
            x = x + self.positions.weight[: len(x)]
        return x
"""


@pytest.mark.parametrize(
    ("text", "names"), [(ASKS_FOR_WHAT_MAY_NOT_BE, ["positions"]), (ASKS_ANOTHER_FIRST, [])]
)
def test_a_condition_reads_what_it_asks_for(load: Load, text: str, names: list[str]) -> None:
    assert [one.name for one in unset.unset(load(text).Layer)] == names
