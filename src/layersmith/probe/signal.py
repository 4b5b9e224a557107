"""The signal: how large values are after each submodule, and how large the gradients that arrive there."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor

from layersmith.errors import UsageError
from layersmith.finding import Measurement
from layersmith.probe import tree
from layersmith.probe.calls import Call, traced
from layersmith.probe.inputs import Inputs
from layersmith.probe.rehearsal import backward, differentiable, rehearsal

More = Callable[[str, Tensor], Mapping[str, float]]


def signal(module: nn.Module, inputs: Inputs, *, seed: int = 0) -> list[Measurement]:
    """Mean, std, rms, share of zeros and gradient std of the inputs and after each submodule, in call order.

    A submodule is measured when it returns, hence before those that contain it, and before a later one can
    modify its output in place. A second call of it is `path#2`. Of a nested output the first floating tensor
    counts; submodules without one are passed over. Standard deviations are over all elements together, as of
    a whole population; complex numbers count as two real ones; one infinity makes std NaN.

    `gradient_std` is that of the gradient of the objective sum(y * u) / sqrt(n) with u ~ N(0, 1), for the n
    elements of all outputs y: about 1 / sqrt(n) at the end of the module, and the same all along where the
    gradient is preserved. It is absent where no gradient arrives. The module is called in the mode it is in.

    Returns:
        Measurements without unit; `where` is "input[0]", "input['mask']" ... or the submodule's path.

    Raises:
        UsageError: if the module cannot be copied, or has no values (meta device).

    Example:
        >>> import torch
        >>> from layersmith.probe.inputs import Inputs
        >>> found = signal(torch.nn.ReLU(), Inputs.of(torch.tensor([-1.0, 0.0, 4.0])))
        >>> [(m.name, round(m.value, 2)) for m in found if m.where == ""][:4]
        [('mean', 1.33), ('std', 1.89), ('rms', 2.31), ('share_of_zeros', 0.67)]
    """
    require_values(module, inputs)
    with rehearsal(module, inputs, seed=seed) as twin:
        found = observe(twin, inputs, seed=seed)
    return [Measurement(name, value, where=where) for where in found for name, value in found[where].items()]


def observe(
    twin: nn.Module, inputs: Inputs, *, seed: int, more: More = lambda _where, _values: {}
) -> dict[str, dict[str, float]]:
    """The numbers of one forward and backward of a module that may be used up: by where, in call order.

    Gradients of parameters are left in them. `more` is told each place's values and returns further numbers.
    """
    found: dict[str, dict[str, float]] = {}
    with ExitStack() as hooks:

        def after(call: Call, output: object) -> None:
            _measure(call.name, output, found, hooks, more)

        arguments = differentiable(inputs)
        for name, tensor in _named_arguments(arguments):
            _measure(name, tensor, found, hooks, more)
        with traced(twin, after=after):
            output = twin(*arguments.args, **arguments.kwargs)
        backward(output, seed=seed)
    return found


def _measure(
    where: str, output: object, found: dict[str, dict[str, float]], hooks: ExitStack, more: More
) -> None:
    """Measure the values now, and their gradient when it arrives."""
    tensor = next((t for t in tree.tensors(output) if _is_measurable(t)), None)
    if tensor is None:
        return
    values = _real(tensor)
    mean, std = _moments(values)
    zeros = 1 - float(values.count_nonzero()) / values.numel()
    found[where] = {"mean": mean, "std": std, "rms": math.hypot(mean, std), "share_of_zeros": zeros}
    found[where] |= more(where, values)
    if tensor.requires_grad:
        _await_gradient(tensor, found[where], hooks)


def _is_measurable(tensor: Tensor) -> bool:
    """Whether it is a plain tensor of floating values: not sparse, nested, empty or vmap's stand-in."""
    plain = (
        tensor.layout is torch.strided and not tensor.is_nested and not is_functorch_wrapped_tensor(tensor)
    )
    return plain and tree.is_differentiable(tensor) and tensor.numel() > 0


def _await_gradient(tensor: Tensor, numbers: dict[str, float], hooks: ExitStack) -> None:
    """Hook the tensor as it is now: the gradient of these values, even if they are overwritten later.

    Overwriting a view takes the view's own hook away, not its base's, and nn.Linear may return a view.
    """
    version, base = tensor._version, tensor._base  # noqa: SLF001 - torch documents them and has no other name

    def arrived(gradient: Tensor) -> None:
        numbers["gradient_std"] = _moments(_real(gradient))[1]

    def arrived_at_base(gradient: Tensor) -> None:
        if tensor._version != version and "gradient_std" not in numbers:  # noqa: SLF001
            arrived(gradient)

    hooks.enter_context(tensor.register_hook(arrived))
    if base is not None and base.requires_grad and base.numel() == tensor.numel():
        hooks.enter_context(base.register_hook(arrived_at_base))


def _moments(values: Tensor) -> tuple[float, float]:
    """Mean and standard deviation, in double precision: squares of an exploding float32 signal overflow.

    In one copy and a quarter of the time of `torch.std_mean`, which takes as long as a small layer.
    """
    wide = values.to(torch.float64, copy=True)
    mean = wide.mean()
    return float(mean), float(torch.linalg.vector_norm(wide.sub_(mean))) / math.sqrt(wide.numel())


def _real(tensor: Tensor) -> Tensor:
    values = tensor.detach()
    return torch.view_as_real(values) if values.is_complex() else values


def _named_arguments(inputs: Inputs) -> Iterator[tuple[str, Tensor]]:
    yield from tree.named_tensors(inputs.args, name="input")
    # Not `mask` alone, as elsewhere: that could be a submodule's path.
    yield from tree.named_tensors(dict(inputs.kwargs), name="input")


def require_values(module: nn.Module, inputs: Inputs) -> None:
    """Raise UsageError for tensors on the meta device."""
    held = (*module.named_parameters(), *module.named_buffers(), *inputs.named_tensors())
    if any(tensor.is_meta for _, tensor in held):
        names = ", ".join(name for name, tensor in held if tensor.is_meta)
        raise UsageError(
            f"the signal of {type(module).__name__} needs values, and these tensors are on the meta device: "
            f"{names:.200}; use module.to_empty(device='cpu'), then initialise it"
        )
