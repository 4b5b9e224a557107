"""Modules with one planted gradient error each, and how to build and call them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Pair = tuple[nn.Module, tuple[Tensor, ...]]
ROW, COLUMN = 1 / 3, 1 / 5  # where in a matrix the single wrong element sits
FACTORS = {"x1.01": 1.01, "x1.001": 1.001, "x1.0001": 1.0001, "sign": -1.0}
ELEMENTS = {"element zero": 0.0, "element sign": -1.0, "element x1.01": 1.01}


def apply(function: Any, *args: Any) -> Any:
    return function.apply(*args)


class _Matmul(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, error: str) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.error = error
        return x @ weight + bias

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        if ctx.error == "crash":
            raise ValueError("no backward today")
        right = {"x": grad @ weight.t(), "weight": x.t() @ grad, "bias": grad.sum(0)}
        wrong = _wrong(ctx, grad, x, weight, right)
        return wrong["x"], wrong["weight"], wrong["bias"], None


def _wrong(ctx: Any, grad: Tensor, x: Tensor, weight: Tensor, right: dict[str, Tensor]) -> dict[str, Any]:
    error, gw = ctx.error, right["weight"]
    if error == "frozen weight" and not ctx.needs_input_grad[1]:
        return {**right, "x": right["x"] * 1.01}
    if error == "saved in place":
        weight.data.mul_(2)
    if error == "grad_output in place":
        grad.mul_(2)
    changed: dict[str, Callable[[], dict[str, Any]]] = {
        "row": lambda: {"weight": _scaled(gw, 1.01, (int(len(gw) * ROW),))},
        "input x1.01": lambda: {"x": right["x"] * 1.01},
        "mean": lambda: {"bias": grad.mean(0)},
        "noise": lambda: {"weight": gw + 1e-3 * torch.randn_like(gw)},
        "bias none": lambda: {"bias": None},
    }
    if error in changed:
        return {**right, **changed[error]()}
    if error in ELEMENTS:
        at = (int(gw.shape[0] * ROW), int(gw.shape[1] * COLUMN))
        return {**right, "weight": _scaled(gw, ELEMENTS[error], at)}
    return {**right, "weight": gw * _factor(error, grad)}


def _factor(error: str, grad: Tensor) -> float:
    expanded = 0 in grad.stride()
    when = {
        "float32": grad.dtype == torch.float32,
        "non-contiguous": not grad.is_contiguous() and not expanded,
        "expanded": expanded,
    }
    return 1.01 if when.get(error) else FACTORS.get(error, 1.0)


def _scaled(gradient: Tensor, factor: float, at: tuple[int, ...]) -> Tensor:
    changed = gradient.clone()
    changed[at] *= factor
    return changed


class Matmul(nn.Module):
    def __init__(self, n: int, error: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n, n) / n**0.5)
        self.bias = nn.Parameter(0.1 * torch.randn(n))
        self.error = error

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = apply(_Matmul, x, self.weight, self.bias, self.error)
        return out


class _Leak(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: Tensor, error: str) -> Tensor:
        ctx.save_for_backward(x, slope)
        ctx.error = error
        return torch.where(x > 0, x, slope * x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, slope = ctx.saved_tensors
        gx = torch.where(x > 0, grad, grad * slope)
        if ctx.error == "x<0":
            gx = torch.where(x < 0, gx * 1.1, gx)
        elif ctx.error == "|x|>3":
            gx = torch.where(x.abs() > 3, gx * 1.1, gx)
        terms = torch.where(x > 0, torch.zeros_like(grad), grad * x)
        return gx, terms[0, 0] if ctx.error == "no broadcast sum" else terms.sum(), None


class Leak(nn.Module):
    def __init__(self, error: str) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(0.1))
        self.error = error

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = apply(_Leak, x, self.slope, self.error)
        return out


class _Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        out: Tensor = grad * 3 * x.detach() ** 2
        return out


class _SineAndCosine(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, error: str) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x)
        ctx.error = error
        return x.sin(), x.cos()

    @staticmethod
    def backward(ctx: Any, a: Tensor | None, b: Tensor | None) -> Any:
        (x,) = ctx.saved_tensors
        if ctx.error == "undefined wrong" and (a is None or b is None):
            return torch.ones_like(x), None
        return a * x.cos() - b * x.sin(), None


class _Sine(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.sin()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:  # noqa: ARG004
        ctx.save_for_backward(inputs[0])
        ctx.save_for_forward(inputs[0])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        out: Tensor = grad * ctx.saved_tensors[0].cos()
        return out

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        out: Tensor = 2 * tangent * ctx.saved_tensors[0].cos()
        return out


class Scaled(nn.Module):
    """`function(x * weight)`, so that there is a parameter."""

    def __init__(self, function: Callable[[Tensor], Any], n: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n))
        self.function = function

    def forward(self, x: Tensor) -> Any:
        out: Any = self.function(x * self.weight)
        return out


class Cut(nn.Module):
    """A graph cut in the middle of an ordinary module."""

    def __init__(self, error: str, n: int) -> None:
        super().__init__()
        self.first, self.last, self.error = nn.Linear(n, n), nn.Linear(n, n), error

    def forward(self, x: Tensor) -> Tensor:
        z = torch.tanh(self.first(x))
        sizes: dict[str, Callable[[], Any]] = {
            "detach": lambda: z.detach().norm(dim=1, keepdim=True),
            ".data": lambda: z.data.norm(dim=1, keepdim=True),
            ".item": lambda: 1 + z.detach().abs().max().item(),
            "numpy": lambda: torch.from_numpy(abs(z.detach().numpy()).sum(1, keepdims=True)),
            "right": lambda: z.norm(dim=1, keepdim=True),
        }
        out: Tensor = self.last(z / sizes[self.error]())
        return out


class HiddenByZero(nn.Module):
    def __init__(self, n: int) -> None:
        super().__init__()
        self.inner, self.scale = Matmul(n, "sign"), nn.Parameter(torch.zeros(n))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x) * self.scale
        return out


FIRST_ORDER = (
    "sign",
    "x1.01",
    "x1.001",
    "x1.0001",
    "input x1.01",
    "element zero",
    "element sign",
    "element x1.01",
    "row",
    "no broadcast sum",
    "mean",
    "x<0",
    "detach",
    ".data",
    ".item",
    "numpy",
    "hidden by zero",
    "grad_output in place",
    "saved in place",
    "crash",
    "noise",
    "bias none",
)
FULL_ONLY = (
    "|x|>3",
    "float32",
    "non-contiguous",
    "expanded",
    "undefined wrong",
    "undefined raises",
    "double backward",
    "jvp",
    "frozen weight",
)


def plant(error: str, *, n: int = 64, rows: int = 8, seed: int = 0) -> Pair:
    """The module with this error, n wide, and its inputs."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        x = (torch.randn(rows, n),)
        special: dict[str, Callable[[], nn.Module]] = {
            "double backward": lambda: Scaled(lambda z: apply(_Cube, z), n),
            "undefined wrong": lambda: Scaled(lambda z: apply(_SineAndCosine, z, error), n),
            "undefined raises": lambda: Scaled(lambda z: apply(_SineAndCosine, z, error), n),
            "jvp": lambda: Scaled(lambda z: apply(_Sine, z), n),
            "hidden by zero": lambda: HiddenByZero(n),
        }
        if error in special:
            return special[error](), x
        if error in {"x<0", "|x|>3", "no broadcast sum"}:
            return Leak(error), x
        if error in {"detach", ".data", ".item", "numpy"}:
            return Cut(error, n), x
        return Matmul(n, error), x
