"""Which of a file's classes is trained."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest
import torch
from torch import nn

from layersmith.errors import TargetError, UsageError
from layersmith.training.choosing import chosen

LAYERS = """
    import torch
    from torch import nn

    torch.rand(1)

    class Scale(nn.Module):
        def __init__(self, in_features, out_features):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(out_features, in_features))
        def forward(self, x): return x @ self.weight.T

    class Clip(nn.Module):
        def forward(self, x): return x.clamp(min=0)
"""
MODEL = """
    class Model(nn.Module):
        def __init__(self, input_size, output_size):
            super().__init__()
            self.layers = nn.Sequential(*[part() for part in (lambda: Scale(input_size, output_size), Clip)])
        def forward(self, x): return self.layers(x)
"""


def written(folder: Path, *parts: str) -> str:
    file = folder / "my_layers.py"
    file.write_text("".join(map(dedent, parts)), encoding="utf-8")
    return str(file)


def name_of(thing: object) -> str:
    assert isinstance(thing, type)
    return thing.__name__


def test_the_class_built_from_the_others_is_the_model(tmp_path: Path) -> None:
    assert name_of(chosen(written(tmp_path, LAYERS, MODEL))) == "Model"


def test_the_outermost_class_is_the_model(tmp_path: Path) -> None:
    outer = """
        class Outer(nn.Module):
            def __init__(self):
                super(Outer, self).__init__()
                self.inner = Model(64, 10)
            def forward(self, x): return self.inner(x)
    """
    assert name_of(chosen(written(tmp_path, LAYERS, MODEL, outer))) == "Outer"


def test_a_model_built_from_others_goes_before_a_layer_that_none_uses(tmp_path: Path) -> None:
    unused = """
        class Unused(nn.Linear):
            def __init__(self, in_features, out_features): super().__init__(in_features, out_features)
            def forward(self, x): return 2 * super().forward(x)
    """
    assert name_of(chosen(written(tmp_path, LAYERS, MODEL, unused))) == "Model"


def test_the_tutorials_file_needs_no_name() -> None:
    assert name_of(chosen(str(Path(__file__).parents[2] / "examples" / "tutorial.py"))) == "CustomModel"


def test_a_base_class_is_not_the_model(tmp_path: Path) -> None:
    derived = """
        class Derived(Scale):
            def forward(self, x): return 2 * super().forward(x)
    """
    text = written(tmp_path, LAYERS, derived, "class Other(nn.Module):\n    def forward(self, x): return x\n")
    assert name_of(chosen(text)) == "Derived"


def test_a_class_sized_by_the_data_goes_before_others(tmp_path: Path) -> None:
    assert name_of(chosen(written(tmp_path, LAYERS))) == "Scale"


def test_a_name_decides(tmp_path: Path) -> None:
    assert name_of(chosen(written(tmp_path, LAYERS, MODEL) + "::Clip")) == "Clip"
    assert chosen("torch.nn:Linear") is nn.Linear


def test_a_function_or_a_module_can_be_named(tmp_path: Path) -> None:
    text = written(tmp_path, LAYERS, MODEL, "def make(): return Model(3, 2)\nready = Model(3, 2)\n")
    make = chosen(f"{text}::make")
    assert not isinstance(make, nn.Module)
    assert make()(torch.ones(1, 3)).shape == (1, 2)
    assert isinstance(chosen(f"{text}::ready"), nn.Module)


def test_several_models_are_listed(tmp_path: Path) -> None:
    second = MODEL.replace("Model", "Second")
    with pytest.raises(
        UsageError, match=r"several models \(Model, Second\); name .* my_layers.py::Second|my_layers"
    ):
        chosen(written(tmp_path, LAYERS, MODEL, second))


def test_a_folder_of_files_is_refused(tmp_path: Path) -> None:
    written(tmp_path, LAYERS)
    (tmp_path / "more.py").write_text("class A(object): pass", encoding="utf-8")
    with pytest.raises(UsageError, match="2 files"):
        chosen(str(tmp_path))


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="no class Modell"):
        chosen(written(tmp_path, LAYERS, MODEL) + "::Modell")
