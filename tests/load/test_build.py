from __future__ import annotations

import random
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import ordinary  # type: ignore[import-not-found]
import pytest
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from layersmith import runner
from layersmith.errors import UsageError
from layersmith.load.build import subject_of_class, subject_of_factory, subject_of_object
from layersmith.load.unbuildable import Unbuildable
from layersmith.registry import load
from layersmith.subject import Subject


def ordinary_classes() -> list[type[nn.Module]]:
    found = [cls for cls in vars(ordinary).values() if isinstance(cls, type) and issubclass(cls, nn.Module)]
    return [cls for cls in found if cls.__module__ == ordinary.__name__]


# What a person would pass: rank and kind of each argument.
EXPECTED = {
    "Mlp": "f2",
    "MnistNet": "f4",
    "CifarNet": "f4",
    "DoubleConv": "f4",
    "UNet": "f4",
    "SelfAttention": "f3",
    "TransformerBlock": "f3",
    "PlainAttention": "f3",
    "CrossAttention": "f3 f3",
    "MultiHeadAttention": "f3 f3 f3",
    "LstmClassifier": "i2",
    "GruForecaster": "f3",
    "RnnStep": "f2 f2",
    "BagOfWords": "i2",
    "Vae": "f2",
    "Generator": "f4",
    "ResidualBlock": "f4",
    "SqueezeExcitation": "f4",
    "PositionalEncoding": "f3",
    "LearnedSwish": "f2",
    "RmsNorm": "f3",
    "Gpt": "i2",
    "DiceLoss": "f2 f2",
    "GraphConvolution": "f2 f2",
    "TwoTowers": "i1 i1",
    "ImageAndTable": "f4 f2",
    "PatchEmbedding": "f4",
    "TextCnn": "i2",
    "TimeEmbedding": "f1",
    "DenoisingBlock": "f4 f2",
    "PreNorm": "f3",
    "Actor": "f2",
    "DenseStep": "f4",
    "AddsPositions": "f3",
    "DividesThenMultiplies": "f4 f4 f4",
    "CountsAxes": "f4",
    "AsksForItsWidth": "f4",
    "JoinsTheSkip": "f4 f4",
    "ScaledDotProduct": "f4 f4 f4",
    "LayerList": "f2",
    "Lora": "f2",
    "Conv1dBlock": "f3",
    "Autoencoder": "f2",
}


@pytest.mark.parametrize("cls", ordinary_classes(), ids=lambda cls: cls.__name__)
def test_an_ordinary_module_is_built_and_called_as_a_person_would(cls: type[nn.Module]) -> None:
    subject = subject_of_class(cls)
    tensors = list(subject.case(seed=1).inputs.tensors())
    kinds = " ".join(f"{'f' if t.is_floating_point() else 'i'}{t.dim()}" for t in tensors)
    assert kinds == EXPECTED[cls.__name__], subject.inferred_from
    subject.case(seed=1).run()
    assert subject.line == ordinary_line(cls)


def ordinary_line(cls: type) -> int:
    lines = open(ordinary.__file__).read().splitlines()  # noqa: PTH123, SIM115
    return next(n for n, line in enumerate(lines, 1) if line.startswith(f"class {cls.__name__}("))


def test_in_and_out_are_of_distinct_size_unless_the_class_needs_them_equal() -> None:
    weight = subject_of_class(ordinary.Mlp).case().module.net[0].weight  # type: ignore[index, union-attr]
    assert weight.shape[0] != weight.shape[1]
    subject_of_class(ordinary.ResidualBlock).case().run()


def test_the_notation_says_how_it_was_built_and_called() -> None:
    assert (
        subject_of_class(ordinary.SelfAttention).inferred_from
        == "SelfAttention(32, 4)(f32[5,7,32]) from names"
    )


def test_seeds_give_other_weights_and_inputs_of_the_same_shapes() -> None:
    subject = subject_of_class(ordinary.Mlp)
    one, other = subject.case(seed=0), subject.case(seed=1)
    for a, b in zip(one.module.parameters(), other.module.parameters(), strict=True):
        assert a.shape == b.shape
        assert not torch.equal(a, b)
    assert not torch.equal(one.inputs.args[0], other.inputs.args[0])


class Annotated(nn.Module):
    def __init__(self, dim: int, out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, out)

    def forward(self, x: Float[Tensor, "batch 3 time dim"], index: Int[Tensor, " batch"]) -> Any:
        return self.linear(x) * index[:, None, None, None]


class Elementwise(nn.Module):
    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return x.relu()


def test_jaxtyping_annotations_are_believed() -> None:
    inputs = subject_of_class(Annotated).case().inputs
    assert inputs.args[0].shape[1] == 3
    assert inputs.args[0].dim() == 4
    assert inputs.args[1].dtype is torch.int64
    assert subject_of_class(Elementwise).case().inputs.args[0].dim() == 2


class WithExample(nn.Module):
    def __init__(self, secret: object) -> None:
        super().__init__()
        if secret != "open sesame":
            raise ValueError("wrong secret")
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor, *, gain: Tensor) -> Any:
        return self.linear(x) * gain

    @classmethod
    def example(cls) -> Any:
        yield cls("open sesame"), {"x": torch.randn(4, 6), "gain": torch.rand(6)}
        raise AssertionError("only the first is used")


def test_an_example_is_used_and_depends_on_the_seed() -> None:
    subject = subject_of_class(WithExample)
    assert subject.inferred_from == "WithExample('open sesame')(x=f32[4,6], gain=f32[6]) from example()"
    one, other = subject.case(seed=0), subject.case(seed=1)
    assert not torch.equal(one.inputs.kwargs["x"], other.inputs.kwargs["x"])
    assert not torch.equal(one.module.linear.weight, other.module.linear.weight)  # type: ignore[union-attr, arg-type]
    one.run()


@pytest.mark.parametrize("given", [None, 3, "raise"])
def test_an_example_that_does_not_fit_says_what_it_should_return(given: Any) -> None:
    class Misled(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return x

        @classmethod
        def example(cls) -> Any:
            if given == "raise":
                raise RuntimeError("no longer so")
            return given

    with pytest.raises(Unbuildable) as caught:
        subject_of_class(Misled)
    assert "Misled.example()" in caught.value.why
    assert "def example(cls)" in caught.value.hint


class WithArray(nn.Module):
    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.example_input_array = torch.randn(2, 3, width)
        self.net = nn.Linear(width, 4)

    def forward(self, strange: Tensor) -> Any:
        return self.net(strange)


def test_inputs_that_the_class_offers_are_used() -> None:
    subject = subject_of_class(WithArray)
    assert subject.case().inputs.args[0].shape == (2, 3, 12)
    assert not torch.equal(subject.case(seed=0).inputs.args[0], subject.case(seed=1).inputs.args[0])


@pytest.mark.parametrize(
    "inputs", ["f32[3,20]", torch.randn(3, 20), (torch.randn(3, 20),), lambda: torch.randn(3, 20)]
)
def test_given_inputs_are_used_and_the_constructor_adapts(inputs: object) -> None:
    class Flexible(nn.Module):
        def __init__(self, in_features: int = 20) -> None:
            super().__init__()
            self.linear = nn.Linear(in_features, 7)

        def forward(self, x: Tensor) -> Any:
            return self.linear(x)

    assert subject_of_class(Flexible, inputs=inputs).case().inputs.args[0].shape == (3, 20)


def test_widths_follow_the_inputs_that_are_given() -> None:
    subject = subject_of_class(ordinary.Mlp, inputs="f32[3,20]")
    assert subject.case().run().shape[0] == 3


def test_inputs_that_cannot_be_read_are_a_usage_error() -> None:
    with pytest.raises(UsageError, match="cannot read the inputs"):
        subject_of_class(ordinary.Mlp, inputs="f32[")


class Picky(nn.Module):
    def __init__(self, in_features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, 4)

    def forward(self, x: Tensor) -> Any:
        if x.sum() != 42:
            raise ValueError("the sum must be forty-two")
        return self.linear(x)


def test_what_cannot_be_called_is_told_with_the_closest_attempt_as_a_hint() -> None:
    with pytest.raises(Unbuildable) as caught:
        subject_of_class(Picky)
    assert "\n" not in caught.value.why
    assert "Picky(96)(f32[5,96]) raised ValueError: the sum must be forty-two" in caught.value.why
    assert "return cls(96), torch.randn(5, 96)" in caught.value.hint


class Unconstructible(nn.Module):
    def __init__(self, key: str) -> None:
        super().__init__()
        raise RuntimeError("no licence")

    def forward(self, x: Tensor) -> Any:
        return x


def test_what_cannot_be_built_is_told_with_the_constructor_error() -> None:
    with pytest.raises(Unbuildable, match=r"no way to build Unconstructible.*no licence"):
        subject_of_class(Unconstructible)


class Misspelt(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.layer = nn.Linear(dim, 4)

    def forward(self, x: Tensor) -> Any:
        return self.lyer(x)  # type: ignore[operator]


def test_a_forward_that_fails_whatever_its_input_is_a_subject_so_that_the_rule_can_say_it() -> None:
    with pytest.raises(AttributeError, match="lyer"):
        subject_of_class(Misspelt).case().run()


class LayersThatDontFit(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(10, 5), nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Any:
        return self.second(self.first(x))


class BadView(nn.Module):
    def forward(self, x: Tensor) -> Any:
        return x.transpose(1, 2).view(len(x), -1)


class ViewOfOneRow(nn.Module):
    """Which allows no second one."""

    def forward(self, x: Tensor) -> Any:
        return x.transpose(0, 1).view(-1)


class BadCall(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8)

    def forward(self, x: Tensor) -> Any:
        return self.norm(x, x)


class WritesToAnExpandedView(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 2, 8))

    def forward(self, x: Tensor) -> Any:
        token = self.token.expand(x.shape[0], -1, -1)
        token += 1
        return torch.cat([token, x], dim=1)


class HoldsADouble(nn.Module):
    filters: Tensor
    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("filters", torch.rand(7, 5, dtype=torch.float64))
        self.register_buffer("window", torch.rand(7))

    def forward(self, x: Tensor) -> Any:
        return (x * self.window) @ self.filters


@pytest.mark.parametrize("cls", [LayersThatDontFit, BadView, BadCall, WritesToAnExpandedView, HoldsADouble])
def test_a_fault_of_the_code_is_not_taken_for_a_want_of_inputs(cls: type[nn.Module]) -> None:
    subject = subject_of_class(cls)
    assert "it fails whatever it is given" in subject.inferred_from
    with pytest.raises((RuntimeError, TypeError)):
        subject.case().run()


def test_a_view_that_only_one_row_allows_is_told_as_that() -> None:
    subject = subject_of_class(ViewOfOneRow)
    assert len(subject.inputs(0).args[0]) == 1
    assert "only a batch of 1 works" in runner.ask(subject, load("batch-size-fails")).findings[0].message


class Wrapper(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Any:
        return self.net.transformer(x)  # type: ignore[operator]


def test_what_a_stand_in_lacks_is_not_the_fault_of_the_module() -> None:
    with pytest.raises(Unbuildable):
        subject_of_class(Wrapper)


KINDS = {"plain": nn.Identity, "smooth": nn.GELU}


class OfKind(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.layer = KINDS[kind]()

    def forward(self, x: Tensor) -> Any:
        return self.layer(x)


def test_an_option_is_taken_from_the_table_in_which_it_is_looked_up() -> None:
    assert "OfKind('plain')" in subject_of_class(OfKind).inferred_from


class Noisy(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        print("constructing")
        warnings.warn("old", stacklevel=1)
        torch.manual_seed(7)
        random.seed(7)
        torch.set_num_threads(1 + torch.get_num_threads())
        self.linear = nn.Linear(dim, 4)

    def forward(self, x: Tensor) -> Any:
        print("forward")
        return self.linear(x)


def test_the_search_leaves_no_trace(capsys: pytest.CaptureFixture[str]) -> None:
    state, python, threads = torch.get_rng_state(), random.getstate(), torch.get_num_threads()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        subject_of_class(Noisy)
    assert torch.equal(torch.get_rng_state(), state)
    assert random.getstate() == python
    assert torch.get_num_threads() == threads
    assert capsys.readouterr() == ("", "")
    assert not warned


class Huge(nn.Module):
    def __init__(self, dim: int = 16384, depth: int = 80) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(dim, 4 * dim) for _ in range(depth)])

    def forward(self, x: Tensor) -> Any:
        for layer in self.layers:
            x = layer(x)[..., : x.shape[-1]]
        return x


def test_a_class_whose_defaults_are_too_large_is_built_small() -> None:
    assert "Huge(dim=32, depth=2)" in subject_of_class(Huge).inferred_from


class Endless(nn.Module):
    def forward(self, x: Tensor) -> Any:
        while True:
            x = x + 1


def test_a_search_ends_when_its_time_is_over() -> None:
    with pytest.raises(Unbuildable, match="time"):
        subject_of_class(Endless, seconds=2.0)  # to read the files of this project takes a part of it


class OutOfMemory(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        raise MemoryError

    def forward(self, x: Tensor) -> Any:
        return x


def test_running_out_of_memory_ends_the_search() -> None:
    with pytest.raises(Unbuildable, match="memory"):
        subject_of_class(OutOfMemory)


def test_an_object_is_never_handed_out_itself() -> None:
    module = nn.Linear(10, 5)
    subject = subject_of_object(module, torch.randn(3, 10))
    case = subject.case()
    case.module.weight.data.zero_()  # type: ignore[operator]
    assert module.weight.any()
    assert not subject.is_seeded
    assert subject.inferred_from == ""


def test_inputs_of_an_object_are_found() -> None:
    module = nn.Sequential(nn.Conv1d(6, 3, 3), nn.ReLU())
    module.eval()
    subject = subject_of_object(module)
    assert subject.case().inputs.args[0].shape[1] == 6
    assert not module.training


def test_an_object_that_cannot_be_copied_asks_for_its_class() -> None:
    module = nn.Linear(3, 3)
    module.lock = threading.Lock()  # type: ignore[assignment]
    with pytest.raises(Unbuildable) as caught:
        subject_of_object(module)
    assert caught.value.hint == "pass the class or a function that builds it"


def test_a_module_on_the_meta_device_is_told_what_it_lacks() -> None:
    with pytest.raises(Unbuildable, match=r"weight is on the meta device, without values") as caught:
        subject_of_object(nn.Linear(4, 2, device="meta"), torch.randn(3, 4))
    assert "to_empty" in caught.value.hint


def test_a_function_that_builds_gives_another_module_for_each_seed() -> None:
    def small() -> nn.Module:
        return nn.Linear(8, 4)

    subject = subject_of_factory(small)
    weights = [subject.case(seed=seed).module.weight for seed in (0, 1)]
    assert not torch.equal(*weights)  # type: ignore[arg-type]
    assert subject.inferred_from == "small()(f32[5,8]) from its source"


def test_a_function_that_builds_no_module_is_told() -> None:
    with pytest.raises(Unbuildable, match="returned int"):
        subject_of_factory(lambda: 3)  # type: ignore[arg-type, return-value]


@pytest.fixture
def benchmark_module() -> Iterator[Any]:
    module = type(sys)("a_benchmark_file")
    code = (
        "import torch\nfrom torch import nn\n"
        "class Model(nn.Module):\n"
        "    def __init__(self, a, b):\n        super().__init__(); self.l = nn.Linear(a, b)\n"
        "    def forward(self, x):\n        return self.l(x)\n"
        "def get_inputs(): return [torch.randn(3, 17)]\n"
        "def get_init_inputs(): return [17, 5]\n"
    )
    exec(code, vars(module))
    sys.modules[module.__name__] = module
    yield module
    del sys.modules[module.__name__]


def test_a_file_with_get_inputs_is_believed(benchmark_module: Any) -> None:
    subject: Subject = subject_of_class(benchmark_module.Model)
    assert subject.case().run().shape == (3, 5)


CALLABLE = [
    nn.Linear,
    nn.Bilinear,
    nn.Conv1d,
    nn.Conv2d,
    nn.ConvTranspose3d,
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.RMSNorm,
    nn.Embedding,
    nn.EmbeddingBag,
    nn.LSTM,
    nn.GRUCell,
    nn.MultiheadAttention,
    nn.PReLU,
    nn.GELU,
    nn.GLU,
    nn.MaxPool2d,
    nn.AdaptiveAvgPool3d,
    nn.MaxUnpool2d,
    nn.Upsample,
    nn.PixelShuffle,
    nn.Flatten,
    nn.CrossEntropyLoss,
    nn.MSELoss,
    nn.BCELoss,
    nn.TripletMarginLoss,
    nn.CosineSimilarity,
    nn.Transformer,
    nn.TransformerEncoderLayer,
    nn.Softmax2d,
    nn.Fold,
    nn.Identity,
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("cls", CALLABLE, ids=lambda cls: cls.__name__)
def test_the_classes_of_torch_are_called(cls: type[nn.Module]) -> None:
    subject_of_class(cls).case().run()


class Scaled(nn.Module):
    def __init__(self, width: int, *, factor: float = 2.0) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * self.linear(x)


class ScaledByExample(Scaled):
    @classmethod
    def example(cls) -> tuple[nn.Module, Tensor]:
        return cls(8, factor=3.0), torch.randn(4, 8)


def test_a_subject_knows_how_its_module_was_built() -> None:
    construction = subject_of_class(Scaled).construction
    assert construction is not None
    assert [*construction.arguments] == ["width"]
    changed = construction.build(factor=5.0)
    assert isinstance(changed, Scaled)
    assert changed.factor == 5.0


def test_an_example_tells_what_its_module_was_built_with() -> None:
    before = ScaledByExample.__init__
    subject = subject_of_class(ScaledByExample)
    assert subject.construction is not None
    assert (subject.construction.text, dict(subject.construction.arguments)) == (
        "ScaledByExample(8, factor=3.0)",
        {"width": 8, "factor": 3.0},
    )
    assert ScaledByExample.__init__ is before
    assert "__init__" not in vars(ScaledByExample)


def test_a_width_is_no_flag_because_it_is_the_last_one() -> None:
    construction = subject_of_class(ordinary.DenseStep).construction
    assert construction is not None
    assert type(construction.arguments["last_planes"]) is int


class WantsMoreThanItsGraph(nn.Module):
    def __init__(self, adjmat: Any, vertices: Any) -> None:
        super().__init__()
        self.register_buffer("adjmat", adjmat)
        self.vertices = vertices

    def forward(self, x: Tensor) -> Tensor:
        return torch.mm(self.get_buffer("adjmat"), x) + self.vertices[None, :]


def test_the_hint_is_code_also_where_the_constructor_gets_a_tensor() -> None:
    with pytest.raises(Unbuildable) as caught:
        subject_of_class(WantsMoreThanItsGraph)
    assert "return cls(torch.rand(7, 7), 32), torch.randn(" in caught.value.hint
