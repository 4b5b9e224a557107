"""The arithmetic: floating-point operations of each submodule, forward and backward."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.finding import Measurement
from layersmith.probe.calls import Trace, traced
from layersmith.probe.inputs import Inputs
from layersmith.probe.operations import Operations
from layersmith.probe.rehearsal import as_in_training, backward, rehearsal

Formula = Callable[..., int]


def flops(module: nn.Module, inputs: Inputs, *, seed: int = 0) -> list[Measurement]:
    """`flops_forward` and `flops_backward` of the module and of every submodule that is called.

    A multiply-add is two operations. Counted are matrix products, convolutions, attention and LSTMs, by the
    formulas of `torch.utils.flop_counter` and a few more; whatever is elementwise counts 0, and so does an
    operation without a formula. Causal attention counts in full. All calls of a submodule are added up, and
    what it contains is included.

    Backward is that of a training step: inputs get a gradient only where they require one. An operation of
    backward belongs to the submodule whose forward made the autograd node that runs it (FlopCounterMode asks
    which module is running then, and charges some to a neighbour). Works on the meta device too.

    Returns:
        Measurements in FLOP, each submodule before those that it contains.

    Raises:
        UsageError: if the module cannot be copied.

    Example:
        >>> import torch
        >>> from layersmith.probe.inputs import Inputs
        >>> found = flops(torch.nn.Linear(10, 5), Inputs.of(torch.ones(32, 10)))
        >>> [(m.name, m.value) for m in found]  # 2 * 32 * 10 * 5, and as many for the weight's gradient
        [('flops_forward', 3200.0), ('flops_backward', 3200.0)]
    """
    with rehearsal(module, inputs, seed=seed) as twin:
        arguments = as_in_training(inputs, twin)
        with traced(twin) as trace, _Counter(trace) as counter:
            output = twin(*arguments.args, **arguments.kwargs)
        with counter:
            backward(output, seed=seed)
    names = ("flops_forward", "flops_backward")
    rows = [(name, path) for path in trace.times_called for name in names]
    return [Measurement(name, float(counter.counts[name, path]), "FLOP", where=path) for name, path in rows]


class _Counter(Operations):
    """Sees every operation that reaches a kernel, and charges it to the call that caused it."""

    supports_higher_order_operators = True

    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self.trace = trace
        self.formulas = _formulas()
        self.counts: Counter[tuple[str, str]] = Counter()

    def __torch_dispatch__(
        self, func: Any, _types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if not isinstance(func, torch._ops.OpOverload):  # noqa: SLF001 - a higher-order operator: see what it calls
            return NotImplemented
        formula = self.formulas.get(func.overloadpacket)
        if formula is None:
            with self:
                parts = func.decompose(*args, **(kwargs or {}))
            return func(*args, **(kwargs or {})) if parts is NotImplemented else parts
        output = func(*args, **(kwargs or {}))
        self._charge(formula(*args, **(kwargs or {}), out_val=output))
        return output

    def _charge(self, operations: int) -> None:
        node = torch._C._current_autograd_node()  # noqa: SLF001 - the engine names the node it runs nowhere else
        name, call = "flops_forward", self.trace.current
        if node is not None:
            name, call = "flops_backward", self.trace.owner(node)
        for path in call.running:
            self.counts[name, path] += operations


def _formulas() -> Mapping[object, Formula]:
    """Torch's formulas, with those that it lacks or has wrong."""
    from torch.utils import flop_counter  # noqa: PLC0415 - only this probe needs it

    aten, known = torch.ops.aten, flop_counter.flop_registry
    attention = aten._scaled_dot_product_flash_attention  # noqa: SLF001 - so the operator is named
    attention_backward = aten._scaled_dot_product_flash_attention_backward  # noqa: SLF001
    return {
        **known,
        aten._scaled_dot_product_flash_attention_for_cpu: known[attention],  # noqa: SLF001
        aten._scaled_dot_product_flash_attention_for_cpu_backward: known[attention_backward],  # noqa: SLF001
        aten.convolution_backward: _convolution_backward,
        aten.mkldnn_rnn_layer: _rnn_layer,
        aten.mkldnn_rnn_layer_backward: lambda *args, **_: 2 * _rnn_layer(*args),
        aten.mv: lambda matrix, _vector, **_: 2 * matrix.numel(),
        aten.addmv: lambda _bias, matrix, _vector, **_: 2 * matrix.numel(),
        aten.dot: lambda vector, _other, **_: 2 * vector.numel(),
    }


def _convolution_backward(gradient: Tensor, inputs: Tensor, weight: Tensor, *args: Any, **_: object) -> int:
    """Each of the two gradients takes what forward takes; torch's formula forgets the groups."""
    transposed: bool = args[4]
    gradients_wanted: list[bool] = args[7]  # of the inputs, the weight, the bias
    positions = (inputs if transposed else gradient).shape[2:].numel()
    return 2 * inputs.shape[0] * positions * weight.numel() * sum(gradients_wanted[:2])


def _rnn_layer(
    sequence: Tensor, weight_input: Tensor, weight_hidden: Tensor, *_args: object, **_: object
) -> int:
    return 2 * sequence.shape[:2].numel() * (weight_input.numel() + weight_hidden.numel())
