"""Where a forward contracts a parameter with a signal (matrix product, convolution), and what becomes of it.

The shape of a parameter does not say which dimension is its fan-in: the tutorial's `x @ weights` has it
first, `F.linear` last. The operation that uses it does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.probe import closeness, tree
from layersmith.probe.closeness import NEARLY_ONE_HOT
from layersmith.probe.inputs import Inputs
from layersmith.probe.operations import Operations
from layersmith.probe.surroundings import preserved

aten = torch.ops.aten
PRODUCTS = {aten.mm: (0, 1), aten.addmm: (1, 2), aten.bmm: (0, 1), aten.baddbmm: (1, 2), aten.mv: (0, 1)}
CONVOLUTIONS = {aten.convolution, aten.mkldnn_convolution}
SCALING = {aten.mul, aten.div}
SATURATING = {aten.tanh, aten.sigmoid, aten._softmax, aten._log_softmax, aten.hardtanh}  # noqa: SLF001 - ATen's names
NORMALISING = {
    aten.native_layer_norm,
    aten.native_group_norm,
    aten.native_batch_norm,
    aten._native_batch_norm_legit,  # noqa: SLF001 - ATen's name
    aten._batch_norm_with_update,  # noqa: SLF001 - ATen's name
    aten.cudnn_batch_norm,
    aten._fused_rms_norm,  # noqa: SLF001 - ATen's name
}

SHRUNK = 2.0**-10  # so much smaller no tanh is saturated, and the result no less exact
UNCHANGED = 1e-6  # relative: the same numbers, wherever they lie
SMALL_FAN_OUT = 4  # below it N(0, 1) may look as if it were made for it


@dataclass(slots=True)
class Contraction:
    """One use of a parameter in a product, followed through elementwise operations to the next layer."""

    parameter: str
    fan_in: int  # how many products are summed for one number of the output
    rms: float  # of the parameter, as it is scaled by a number in forward
    input_rms: float
    input_spread: float  # of the signal over a batch: what tells one row from another; NaN of a single row
    output_rms: float  # directly after the product
    arriving_rms: float  # after the elementwise operations that follow: what the next layer gets
    saturates_at: float = 0.0  # the rms that reached a tanh, sigmoid or softmax; 0 if none did
    is_normalised: bool = False
    is_constant: bool = False  # the parameter is one number everywhere
    scale: float = 1.0  # by which forward shrinks the bare product, as attention does: 1 / sqrt(width)
    is_bare: bool = True  # nothing has been done to the product yet

    @property
    def factor(self) -> float:
        """By what the product multiplies an independent signal of mean zero."""
        return self.rms * math.sqrt(self.fan_in) * self.scale

    @property
    def explodes(self) -> bool:
        """Whether the product makes its signal far larger, and what follows does not undo that."""
        if self.is_normalised or self.factor <= closeness.SIGNAL_GROWTH or self.is_constant:
            return False  # a constant is for `symmetric-init` to tell
        grows = self.arriving_rms > closeness.SIGNAL_GROWTH * max(self.input_rms, 1.0)
        return grows or self.saturates_at > closeness.SIGNAL_SATURATION


def contractions(module: nn.Module, inputs: Inputs) -> list[Contraction]:
    """Every contraction of a trainable floating parameter in one call of the module, in order.

    Runs the module as it is, in its mode, without recording gradients.
    """
    watch = _Watch(module)
    with torch.no_grad(), watch:
        inputs.call(module)
    return watch.found


class _Watch(Operations):
    """Sees every operation; follows each product's result until a layer takes it up."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.names = {
            tree.place(parameter): name
            for name, parameter in module.named_parameters()
            if parameter.requires_grad and parameter.is_floating_point()
        }
        self.found: list[Contraction] = []
        self.followed: dict[int, Contraction] = {}  # storage -> the contraction whose signal lies there
        self.alive: list[Tensor] = []  # keeps storages from being reused while they are followed

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Do the operation, then see whether it starts, continues or ends a signal."""
        packet = func.overloadpacket
        before = [(one, arg) for arg in args if isinstance(arg, Tensor) and (one := self._followed(arg))]
        output = func(*args, **(kwargs or {}))
        result = output[0] if isinstance(output, tuple | list) and output else output
        if not isinstance(result, Tensor) or not result.is_floating_point() or not _are_dense(result):
            return output
        if packet in SCALING and (name := self._scaled(*args[:2])):
            self.names[tree.place(result)] = name
            self.alive.append(result)
        for one, arg in before:
            if one.is_bare:
                _touch(
                    one, packet in SCALING and _is_number(args[1]), closeness.rms(arg), closeness.rms(result)
                )
            self._continue(one, packet, arg, result)
        for left, right, fan_in in _operands(packet, args):
            if not _averages(packet, left, -1):
                self._start(right, left, fan_in, result)
            if not _averages(packet, right, -2):
                self._start(left, right, fan_in, result)
        return output

    def _scaled(self, *factors: Any) -> str | None:
        """The parameter that one number is multiplied with, as the equalised learning rate does."""
        for one, other in (factors, factors[::-1]):
            if (
                isinstance(one, Tensor)
                and one.ndim > 1
                and _is_number(other)
                and (name := self.names.get(tree.place(one)))
            ):
                return name
        return None

    def _followed(self, tensor: Tensor) -> Contraction | None:
        return self.followed.get(tree.place(tensor))

    def _start(self, parameter: Tensor, signal: Tensor, fan_in: int, result: Tensor) -> None:
        name, other = (self.names.get(tree.place(one)) for one in (parameter, signal))
        if name is None or (other is not None and name.rpartition(".")[0] == other.rpartition(".")[0]):
            return  # of two parameters of one module, as the vectors of a graph's nodes, neither is a signal
        rms = closeness.rms(result)
        one = Contraction(
            name, fan_in, closeness.rms(parameter), closeness.rms(signal), _spread(signal), rms, rms
        )
        before = self._followed(signal)
        if before is not None and one.rms == 0.0:
            before.is_normalised = True  # a zero-initialised factor, as LoRA's second, makes nothing of it
        one.is_constant = bool((parameter.flatten() == parameter.flatten()[:1]).all())
        self.found.append(one)
        self._follow(one, result)

    def _continue(self, one: Contraction, packet: Any, arg: Tensor, result: Tensor) -> None:
        if packet in NORMALISING:
            one.is_normalised = True
        elif packet in SATURATING:
            one.saturates_at = max(one.saturates_at, closeness.rms(arg))
            self._follow(one, result)
        elif tree.place(result) == tree.place(arg) and result.shape != arg.shape:
            self._follow(one, result)  # a view
        elif result.shape == arg.shape and packet not in PRODUCTS and packet not in CONVOLUTIONS:
            one.arriving_rms = closeness.rms(result)
            self._follow(one, result)

    def _follow(self, one: Contraction, result: Tensor) -> None:
        self.followed[tree.place(result)] = one
        self.alive.append(result)


def _touch(one: Contraction, is_scaled: bool, before: float, after: float) -> None:  # noqa: FBT001 - of one caller
    """Note what is done to a product: it is moved, or a bias of zeros is added; it is scaled; or it is no longer bare."""
    if is_scaled and before:
        one.scale *= min(1.0, after / before)
    one.is_bare = not is_scaled and math.isclose(before, after, rel_tol=UNCHANGED)


def _operands(packet: Any, args: tuple[Any, ...]) -> Iterator[tuple[Tensor, Tensor, int]]:
    """The two factors of a product and how many terms each sum has."""
    if packet in PRODUCTS:
        left, right = (args[index] for index in PRODUCTS[packet])
        if _are_dense(left, right):
            yield left, right, left.shape[-1]
    elif packet in CONVOLUTIONS:
        yield args[0], args[1], args[1][0].numel()


def _is_number(factor: object) -> bool:
    return not isinstance(factor, Tensor) or factor.ndim == 0


def _are_dense(*tensors: Tensor) -> bool:
    return all(tensor.layout is torch.strided for tensor in tensors)


def _averages(packet: Any, signal: Tensor, axis: int) -> bool:
    """Whether a signal holds probabilities along the axis that is summed over: a soft lookup multiplies nothing."""
    if packet not in PRODUCTS or signal.ndim < -axis:
        return False
    totals = signal.sum(axis)
    return bool((signal >= 0).all()) and bool(((totals - 1).abs() < NEARLY_ONE_HOT).all())


def _spread(signal: Tensor) -> float:
    return closeness.rms(signal - signal.mean(0, keepdim=True)) if len(signal) > 1 else math.nan


def keeps_gradients(module: nn.Module, one: Contraction) -> bool:
    """Whether a spread was chosen by the fan-out (1 or 2 over it), as people do who mind what comes back."""
    shape = module.get_parameter(one.parameter).shape
    fan_out = shape[0] * math.prod(shape[2:])
    variance = one.rms**2 * fan_out
    return fan_out >= SMALL_FAN_OUT and any(
        abs(variance / by - 1) < closeness.DEFAULT_SPREAD for by in (1, 2)
    )


def is_tied_embedding(module: nn.Module, one: Contraction) -> bool:
    """Whether the weights are an `nn.Embedding`'s as it draws them, used as those of the head as well."""
    parameter = module.get_parameter(one.parameter)
    tables = [part.weight for part in nn.Module.modules(module) if isinstance(part, nn.Embedding)]
    is_default = abs(one.rms - 1) < closeness.DEFAULT_SPREAD
    return is_default and any(parameter.data_ptr() == table.data_ptr() for table in tables)


def is_scale_free(module: nn.Module, inputs: Inputs, one: Contraction) -> bool:
    """Whether the module, here changed, answers the same with a thousandth of these weights: their direction counts."""
    answers = []
    for scale in (1.0, SHRUNK):
        with torch.no_grad(), preserved(seed=0):
            module.get_parameter(one.parameter).mul_(scale)
            answers.append(inputs.call(module))
    return not closeness.gaps(*answers)
