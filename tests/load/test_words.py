"""Promises that docstrings make in plain words."""

import pytest
import torch
from torch import Tensor, nn

import layersmith
from layersmith.finding import Severity
from layersmith.load import words


def stated(text: str, forward: str = "") -> dict[str, object]:
    class Says(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean(dim=1)

    Says.__doc__, Says.forward.__doc__ = text, forward
    return {name: one.value for name, one in words.stated(Says).items()}


@pytest.mark.parametrize(
    ("text", "promised"),
    [
        ("An odd function of the displacement.", {"odd": True}),
        ("Restoring force: forward(-x) == -forward(x).", {"odd": True}),
        ("Euclidean projection onto the simplex. Idempotent.", {"idempotent": True}),
        ("Denoiser, positively homogeneous.", {"homogeneous": 1.0}),
        ("Price, monotone non-decreasing in every input feature.", {"monotone": "increasing"}),
        ("Demand, monotonically decreasing in its input.", {"monotone": "decreasing"}),
        ("Monotone: the output never decreases when a dose goes up.", {"monotone": "increasing"}),
        ("A product of reflections; preserves the Euclidean norm.", {"norm_preserving": True}),
        ("Critic, 1-Lipschitz in the Euclidean norm.", {"lipschitz": 1.0}),
        ("Lipschitz constant at most 0.5.", {"lipschitz": 0.5}),
        ("Permutation-invariant set encoder.", {"permutation_invariant": 1}),
        (
            "Set.\n\nx: (batch, width, points). The order of the points does not matter.",
            {"permutation_invariant": 2},
        ),
        (
            "A code of clouds.\n\nx: (B, 3, N). It is invariant to the order of the points.",
            {"permutation_invariant": 2},
        ),
        ("Permutation equivariant.", {"permutation_equivariant": 1}),
        ("A matcher; the score (N,) lies in [0, 1].", {"range": (0.0, 1.0)}),
        ("Every action lies within [low, high] = [-0.5, 2.0].", {"range": (-0.5, 2.0)}),
    ],
)
def test_what_a_docstring_promises(text: str, promised: dict[str, object]) -> None:
    assert stated(text) == promised
    assert stated("", text) == promised


@pytest.mark.parametrize(
    "text",
    [
        "Not permutation invariant.",
        "Approximately 1-Lipschitz.",
        "The critic should be 1-Lipschitz.",
        "A block with permutation-invariant pooling.",
        "Set Transformer: Attention-based Permutation-Invariant Neural Networks.",
        "Monotonic attention.",
        "Permutation invariant training of separation.",
        "Tone curve. Input: non-negative images. Output: the same shape, in [0, 1).",
        "Resizes.\n\nArgs:\n    x: the output of a decoder, in [0, 1].",
        "",
    ],
)
def test_what_is_hedged_or_of_something_else_promises_nothing(text: str) -> None:
    assert stated(text) == {}


class Moves(nn.Module):
    def forward(self, h: Tensor, pos: Tensor) -> Tensor:
        moved = (pos.unsqueeze(2) - pos.unsqueeze(1)).sum(2) * h.mean(-1, keepdim=True)
        return pos + 0.05 * moved.sign()


def moves(text: str) -> type[nn.Module]:
    return type("Moves", (Moves,), {"__doc__": text, "forward": Moves.forward, "__module__": __name__})


@pytest.mark.parametrize(
    "text",
    [
        "E(n)-equivariant layer (Satorras et al., 2021) of atoms.",
        "h: (B, N, C) is invariant and pos: (B, N, 3) equivariant to rotations and translations.",
        "A rotation-invariant energy.",
    ],
)
def test_rotations_that_a_docstring_promises(text: str) -> None:
    assert {name: one.value for name, one in words.stated(moves(text)).items()} == {
        "rotation_equivariant": "pos"
    }


@pytest.mark.parametrize(
    "text",
    [
        "Invariant to rotations about the vertical axis.",
        "Equivariant under 90 degree rotations.",
        "A layer with E(3)-equivariant messages.",
        "E(n) Equivariant Graph Neural Networks",
        "Approximately rotation invariant.",
        "Unlike EGNN (Satorras et al., 2021), rotation invariant on average.",
    ],
)
def test_some_rotations_or_those_of_a_part_promise_nothing(text: str) -> None:
    assert words.stated(moves(text)) == {}


def test_coordinates_that_do_not_turn_are_told_where_the_rest_is_said_to_be_invariant() -> None:
    inputs = torch.randn(2, 5, 6), torch.randn(2, 5, 3)
    told = moves("E(3)-equivariant; h is invariant.")
    ((_, _, finding),) = layersmith.check(told, inputs, select=["rotation-equivariant"]).findings()
    assert finding.severity is Severity.WARNING
    assert "when pos is turned, output neither stays nor turns" in finding.message
    silent = moves("E(3)-equivariant.")
    assert layersmith.check(silent, inputs, select=["rotation-equivariant"]).ok


class Force(nn.Module):
    """Restoring force, an odd function of the displacement."""

    def __init__(self, bias: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.linear(x))


class Pair(nn.Module):
    """Force between two bodies, an odd function of the displacement."""

    def forward(self, x: Tensor, mass: Tensor) -> Tensor:
        return x.tanh() + mass


def test_a_broken_word_is_a_warning_that_quotes_it_and_its_script_fails() -> None:
    ((_, result, finding),) = layersmith.check(Force, select=["odd"]).findings()
    assert finding.severity is Severity.WARNING
    assert "an odd function of the displacement" in finding.message
    with pytest.raises(AssertionError, match="not odd"):
        exec(compile(result.script, "script", "exec"), {})


def test_a_word_that_is_kept_passes() -> None:
    class Even(nn.Module):
        """An even function."""

        def forward(self, x: Tensor) -> Tensor:
            return x.square()

    assert layersmith.check(Even, select=["even"]).ok


def test_words_are_asked_of_one_input_only() -> None:
    assert layersmith.check(Pair, select=["odd"]).ok


class Matcher(nn.Module):
    """Compares two rows; the score lies in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = nn.Linear(6, 6)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return nn.functional.cosine_similarity(self.tower(a), self.tower(b), dim=-1)


def test_a_range_is_asked_of_two_inputs_that_are_alike() -> None:
    a, b = torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(0)).unbind()
    assert [*layersmith.check(Matcher(), (a, b), select=["range"]).findings()]
    assert not [*layersmith.check(Matcher(), (a, b[:1]), select=["range"]).findings()]
