"""The layers of a module as its operations show them: each weight's use, and which function follows it.

Names tell little: the tutorial's `x @ weights + bias` is a linear layer, and what follows it may be a module,
a function or an expression. So one call is watched, operation by operation.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.probe import closeness, tree
from layersmith.probe.calls import Trace, traced
from layersmith.probe.contractions import CONVOLUTIONS, NORMALISING, PRODUCTS, aten
from layersmith.probe.followed import Layer, Signal, extended, viewed
from layersmith.probe.inputs import Inputs
from layersmith.probe.operations import Operations
from layersmith.probe.rehearsal import rehearsal

SUMS = {aten.add, aten.add_}
SCALINGS = {aten.mul, aten.mul_}
COPIES = {aten._to_copy, aten.clone, aten.contiguous}  # noqa: SLF001 - ATen's name


def layers(module: nn.Module, inputs: Inputs) -> list[Layer]:
    """Every trainable weight that is contracted with a signal, in order of first use; in eval mode, on a copy.

    Raises:
        UsageError: if the module cannot be copied.

    Example:
        >>> import torch
        >>> from layersmith.probe.inputs import Inputs
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.GELU(), torch.nn.Linear(8, 2))
        >>> [(one.weight, one.bias, str(one.expression)) for one in layers(model, Inputs.of(torch.randn(2, 4)))]
        [('0.weight', '0.bias', 'gelu'), ('2.weight', '2.bias', '')]
    """
    # With gradients and without mkldnn, torch takes no fused path that hides a transformer's or LSTM's products.
    with rehearsal(module, inputs, seed=0) as twin, unfused(module):
        twin.eval()
        with traced(twin) as trace, _Watch(twin, trace) as watch:
            inputs.call(twin)
    return [*watch.found.values()]


@contextmanager
def unfused(module: nn.Module) -> Iterator[None]:
    """Products, instead of mkldnn's recurrent kernels that hide them; convolutions without those are slow."""
    if not any(isinstance(part, nn.RNNBase) for part in nn.Module.modules(module)):
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of TF32 on devices that are not there
        with torch.backends.mkldnn.flags(enabled=False):
            yield


class _Watch(Operations):
    """Sees every operation of one call."""

    def __init__(self, module: nn.Module, trace: Trace) -> None:
        super().__init__()
        self.parameters = {
            tree.place(p): (name, p) for name, p in module.named_parameters() if p.is_floating_point()
        }
        self.trace = trace
        self.found: dict[str, Layer] = {}
        self.signals: dict[int, Signal] = {}  # by storage
        self.origin: dict[int, int] = {}  # by storage: a bit for each storage that it was computed from
        self.alive: list[Tensor] = []  # keeps storages from being reused while they are followed

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Do the operation, then see whether it starts, continues or ends a signal."""
        kwargs = kwargs or {}
        places = [tree.place(arg) for arg in args if isinstance(arg, Tensor)]
        origins = [self.origin.get(place, 0) for place in places]
        output = func(*args, **kwargs)
        result = output[0] if isinstance(output, tuple | list) and output else output
        if isinstance(result, Tensor) and result.is_floating_point():
            self._follow(func, args, kwargs, result, origins)
        return output

    def _follow(
        self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Tensor, origins: list[int]
    ) -> None:
        packet, place = func.overloadpacket, tree.place(result)
        before = [self.signals.get(tree.place(arg)) if isinstance(arg, Tensor) else None for arg in args]
        if packet in SUMS:
            self._mark_branch(args, origins)
        is_view = any(isinstance(arg, Tensor) and tree.place(arg) == place for arg in args) and not _mutates(
            func
        )
        if not is_view:
            self.origin[place] = 1 << len(self.alive)
            for origin in origins:
                self.origin[place] |= origin
            self.alive.append(result)
        signal = self._started(packet, args, result) or self._continued(func, args, kwargs, result, before)
        if signal is not None:
            self.signals[place] = signal
        elif not is_view:
            self.signals.pop(place, None)

    def _started(self, packet: Any, args: tuple[Any, ...], result: Tensor) -> Signal | None:
        if packet in PRODUCTS:
            left, right = (args[index] for index in PRODUCTS[packet])
            layer = self._linear(right, left, is_right=True) or self._linear(left, right, is_right=False)
            bias = args[0] if packet in {aten.addmm, aten.baddbmm} else None
            axis, features = -1, result.shape[-1]
        elif packet in CONVOLUTIONS:
            layer = self._convolution(args)
            bias = args[2]
            axis, features = 1 - result.ndim, result.shape[1]
        else:
            return None
        if layer is None:
            return None
        if isinstance(bias, Tensor) and tree.place(bias) in self.parameters:
            layer.bias = self.parameters[tree.place(bias)][0]
        return Signal(layer, layer.expression, axis, features)

    def _linear(self, weight: Tensor, taken: Tensor, *, is_right: bool) -> Layer | None:
        name, parameter = self.parameters.get(tree.place(weight), ("", weight))
        if not name:
            return None
        if weight.ndim < 2:  # noqa: PLR2004 - a vector, which makes one number of a row
            return self._read(Layer(name, weight.shape[0], is_plain=False), taken, -1)
        fan_in = weight.shape[-2] if is_right else weight.shape[-1]
        is_same = weight.shape == parameter.shape and weight.stride() == parameter.stride()
        is_turned = weight.ndim == parameter.ndim and weight.mT.shape == parameter.shape
        is_turned = is_turned and weight.mT.stride() == parameter.stride()
        layer = Layer(name, fan_in, is_plain=is_same or is_turned, is_input_first=is_right == is_same)
        return self._read(layer, taken, -1 if is_right else -2)

    def _convolution(self, args: tuple[Any, ...]) -> Layer | None:
        taken, weight, _, stride, padding, dilation, transposed, _, groups = args
        name, parameter = self.parameters.get(tree.place(weight), ("", weight))
        if not name:
            return None
        kernel = weight.shape[2:]
        centred = [
            k % 2 == 1 and p == d * (k // 2) for k, p, d in zip(kernel, padding, dilation, strict=True)
        ]
        layer = Layer(
            name,
            weight[0].numel() if not transposed else weight.shape[0] // groups * kernel.numel(),
            is_plain=weight.shape == parameter.shape,
            is_input_first=bool(transposed),
            is_convolution=True,
            groups=groups,
            keeps_size=all(centred) and set(stride) == {1},
        )
        return self._read(layer, taken, 1 - taken.ndim)

    def _read(self, layer: Layer, taken: Tensor, axis: int) -> Layer:
        """Note what the layer takes; a weight that is used again remains the layer that it was."""
        if layer.weight in self.found:
            self.found[layer.weight].is_reused = True
            return self.found[layer.weight]
        layer.input_rms = closeness.rms(taken)
        layer.path = self.trace.current.path
        signal = self.signals.get(tree.place(taken))
        if signal is not None and signal.feature_axis == axis and signal.features == taken.shape[axis]:
            layer.reads = signal.layer
        self.found[layer.weight] = layer
        return layer

    def _continued(
        self,
        func: Any,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        result: Tensor,
        before: list[Signal | None],
    ) -> Signal | None:
        first = next((signal for signal in before if signal is not None), None)
        if first is None:
            return None
        packet = func.overloadpacket
        if packet in NORMALISING:
            first.layer.is_normalised |= not first.expression.steps
            return None
        taken = next(arg for arg, signal in zip(args, before, strict=True) if signal is first)
        if (
            result.shape != taken.shape
            or packet in COPIES
            or (tree.place(result) == tree.place(taken) and not _mutates(func))
        ):
            return viewed(first, taken, result)
        others = [
            arg
            for arg, signal in zip(args, before, strict=True)
            if isinstance(arg, Tensor) and signal is None
        ]
        if len(others) == 1 and self._is_own(packet, others[0], first):
            return first
        if any(other.numel() != 1 for other in others):
            return None
        return extended(func, args, kwargs, before, first)

    def _is_own(self, packet: Any, other: Tensor, signal: Signal) -> bool:
        """Whether a parameter is added or multiplied that belongs to the layer: its bias, or a scale."""
        if packet in SUMS and not signal.expression.steps and self._is_bias(other, signal):
            signal.layer.bias = self.parameters[tree.place(other)][0]
            return True
        if packet in SCALINGS and other.numel() > 1 and tree.place(other) in self.parameters:
            signal.layer.is_scaled = True
            return True
        return False

    def _is_bias(self, other: Tensor, signal: Signal) -> bool:
        place = tree.place(other)
        return not signal.layer.bias and place in self.parameters and other.numel() == signal.features

    def _mark_branch(self, args: tuple[Any, ...], origins: list[int]) -> None:
        """Where a + b depends on a through b, the layer whose result is b ends a residual branch."""
        pair = [arg for arg in args[:2] if isinstance(arg, Tensor)]
        if len(pair) != 2 or pair[0].shape != pair[1].shape:  # noqa: PLR2004 - of a sum
            return
        for skip, branch in ((0, 1), (1, 0)):
            signal = self.signals.get(tree.place(pair[branch]))
            other = self.signals.get(tree.place(pair[skip]))
            if signal is not None and other is not None and other.layer is signal.layer:
                continue  # x + sin(x)^2 is an activation
            own = origins[skip].bit_length() - 1 if origins[skip] else None
            if (
                signal is not None
                and own is not None
                and origins[branch] >> own & 1
                and pair[0] is not pair[1]
            ):
                signal.layer.ends_branch = True


def _mutates(func: Any) -> bool:
    return bool(func._schema.is_mutable)  # noqa: SLF001 - no public name
