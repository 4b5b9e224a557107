"""Random expression trees: silent when they are right, caught with one error planted in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import apply  # type: ignore[import-not-found]
from torch import Tensor, nn

from layersmith.probe.gradients import gradients

WIDTH = 4
ONE: dict[str, Callable[[Tensor], Tensor]] = {
    "sin": torch.sin,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": nn.functional.softplus,
    "gelu": nn.functional.gelu,
    "softmax": lambda x: x.softmax(-1),
    "square": lambda x: x.tanh() ** 2,
    "norm": lambda x: x / (1 + x.norm(dim=-1, keepdim=True)),
    "relu": torch.relu,
    "abs": torch.abs,
    "clamp": lambda x: x.clamp(-0.7, 0.7),
    "sorted": lambda x: x.sort(-1)[0],
    "cumsum": lambda x: x.cumsum(-1) / WIDTH,
    "centred": lambda x: x - 0.5 * x.mean(0),
}
TWO: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "mul": lambda x, y: x * y.tanh(),
    "div": lambda x, y: x / (2 + y.sin()),
    "max": torch.maximum,
    "where": lambda x, y: torch.where(x > 0, x, y),
    "outer": lambda x, y: x @ (y.mT @ y).tanh(),
}
LEAF = st.sampled_from(["x", "w", "b"])
TREE = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(sorted(ONE)), inner),
        st.tuples(st.sampled_from(sorted(TWO)), inner, inner),
    ),
    max_leaves=6,
)


class Off(torch.autograd.Function):
    """The identity, with a gradient that is off by a factor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad * ctx.factor, None


class Expression(nn.Module):
    """One tree over an input and two parameters; its root is off by `factor`."""

    def __init__(self, tree: Any, factor: float) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.w = nn.Parameter(torch.randn(5, WIDTH, generator=generator))
        self.b = nn.Parameter(torch.zeros(1, WIDTH))
        self.tree, self.factor = tree, factor

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = apply(Off, self.evaluate(self.tree, x), self.factor)
        return out

    def evaluate(self, tree: Any, x: Tensor) -> Tensor:
        if isinstance(tree, str):
            return {"x": x, "w": self.w, "b": self.b.expand(5, WIDTH)}[tree]
        inner = [self.evaluate(one, x) for one in tree[1:]]
        return ONE[tree[0]](*inner) if len(inner) == 1 else TWO[tree[0]](*inner)


def inputs(seed: int) -> Tensor:
    return torch.randn(5, WIDTH, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=40, deadline=None)
@given(TREE, st.integers(0, 99))
def test_a_right_expression_is_silent_in_both_modes(tree: Any, seed: int) -> None:
    assert gradients(Expression(tree, 1.0), inputs(seed), seed=seed).ok
    assert gradients(Expression(tree, 1.0), inputs(seed), seed=seed, mode="full").ok


@settings(max_examples=40, deadline=None)
@given(TREE, st.integers(0, 99), st.sampled_from([-1.0, 0.0, 1.01, 1.0001]))
def test_one_planted_error_is_caught(tree: Any, seed: int, factor: float) -> None:
    report = gradients(Expression(tree, factor), inputs(seed), seed=seed)
    assert not report.ok or is_constant(tree, seed)


def is_constant(tree: Any, seed: int) -> bool:
    """Whether near by there is a place without any gradient that could be wrong: x - x, a ReLU of -0.01."""
    return any(is_flat(tree, seed, draw) for draw in range(20))


def is_flat(tree: Any, seed: int, draw: int) -> bool:
    right, x = Expression(tree, 1.0), inputs(seed).requires_grad_()
    generator = torch.Generator().manual_seed(draw)
    with torch.no_grad():
        right.b.add_(0.01 * torch.randn(right.b.shape, generator=generator))
    out = right(x)
    found = torch.autograd.grad(out, [x, right.w, right.b], torch.randn_like(out), allow_unused=True)
    return all(one is None or float(one.norm()) < 1e-4 for one in found)


def test_what_is_zero_but_for_rounding_is_silent() -> None:
    class Zero(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.expand(5, WIDTH) - x.expand(5, WIDTH).mean(0)

    for seed in range(5):
        assert gradients(Zero(), inputs(seed)[:1], seed=seed).ok
