"""An activation as a function of float64 vectors: from a module, a function or a name."""

from __future__ import annotations

import copy
import difflib
import inspect
from collections.abc import Callable

import torch
from torch import Tensor, nn

from layersmith.errors import UsageError
from layersmith.probe.closeness import gap
from layersmith.probe.quadrature import Function, laboratory

ALIASES = {"swish": "silu", "linear": "identity", "sin": "sin"}


class NotElementwiseError(UsageError):
    """The value of an activation at one point depends on other points, or it is not one number a point."""


def named(activation: Callable[[Tensor], Tensor] | str) -> Callable[[Tensor], Tensor]:
    """The activation of this name, in any spelling ("GELU", "leaky_relu"); anything but a string as it is.

    Modules of torch.nn come first, with their default arguments, then functions of torch.

    Raises:
        UsageError: for an unknown name, with the nearest known ones.
    """
    if not isinstance(activation, str):
        return activation
    known = _modules()
    wanted = activation.lower().replace("_", "").replace("-", "")
    wanted = ALIASES.get(wanted, wanted)
    if wanted in known:
        module: nn.Module = known[wanted]()
        return module
    function = getattr(torch, wanted, None)
    if callable(function) and not inspect.isclass(function):
        return function  # type: ignore[no-any-return]
    near = difflib.get_close_matches(wanted, known, n=3) or ["relu", "gelu", "tanh"]
    names = ", ".join(known[name].__name__ for name in near)
    raise UsageError(f"there is no activation named {activation!r} in torch.nn or torch; near it: {names}")


def elementwise(activation: Function | str) -> Function:
    """The activation as a function of float64 vectors that changes neither its argument nor itself.

    A module is copied, in float64 and eval mode; its parameters count as they are. Call the function where
    gradients are on (`quadrature.laboratory`).

    Raises:
        NotElementwiseError: if the value at a point depends on others (softmax), on chance, or is no number.
    """
    activation = named(activation)
    function = frozen(activation)
    with laboratory():
        _require_elementwise(function, f"{activation!r}")
    return function


def frozen(activation: Function) -> Function:
    """The activation on float64, in eval mode; a copy, for it must not change under our hands."""
    if isinstance(activation, nn.Module):
        _require_values(activation)
        activation = copy.deepcopy(activation).double().cpu().eval()

    def function(z: Tensor) -> Tensor:
        return activation(z.clone()).to(torch.float64)  # it may work in place

    return function


def derivative(function: Function) -> Function:
    """The derivative of an elementwise function, by autograd; zero where autograd knows no way back."""

    def slope(z: Tensor) -> Tensor:
        z = z.detach().clone().requires_grad_()
        with torch.enable_grad():
            return slope_of(function(z), z)

    return slope


def slope_of(value: Tensor, z: Tensor) -> Tensor:
    """The derivative of an elementwise value by what it was made from."""
    if not value.requires_grad:
        return torch.zeros_like(z)
    # Elementwise, so the sum keeps the slopes apart; gradients given beside it would import sympy.
    (found,) = torch.autograd.grad(value.sum(), z, allow_unused=True)
    return torch.zeros_like(z) if found is None else found.detach()


def _modules() -> dict[str, type[nn.Module]]:
    names = [name for name in nn.modules.activation.__all__ if name != "MultiheadAttention"]
    return {name.lower(): getattr(nn, name) for name in (*names, "Identity")}


def _require_values(module: nn.Module) -> None:
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.is_meta or nn.parameter.is_lazy(tensor):
            kind = "on the meta device" if tensor.is_meta else "lazy"
            raise UsageError(
                f"{type(module).__name__} has no gain yet: {name} is {kind}, without a value; "
                "initialise the module first"
            )


def _require_elementwise(function: Function, name: str) -> None:
    z = torch.linspace(-3.1, 3.3, 64, dtype=torch.float64)
    some = slice(5, 60, 3)
    try:
        value, value_of_some = function(z), function(z[some])
    except Exception as error:
        raise NotElementwiseError(
            f"{name} is not an elementwise activation: called on 64 numbers it raised {error!r}"
        ) from error
    if value.shape != z.shape:
        raise NotElementwiseError(
            f"{name} is not an elementwise activation: of 64 numbers it makes {list(value.shape)}"
        )
    # float32, because an activation may compute in it, and then rounds one number and many differently
    if gap(value.float()[some], value_of_some.float()).is_open:
        raise NotElementwiseError(
            f"{name} is not an elementwise activation: a value depends on the others, or on chance"
        )
