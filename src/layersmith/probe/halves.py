"""Half precision at float32's speed: a CPU has few kernels for it, and multiplies matrices tens of times slower."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.probe import tree
from layersmith.probe.closeness import NEARLY_ONE_HOT, rms
from layersmith.probe.inputs import Inputs
from layersmith.probe.operations import Operations
from layersmith.probe.surroundings import preserved

aten = torch.ops.aten
HALF = (torch.bfloat16, torch.float16)
PRODUCTS = {aten.mm, aten.bmm, aten.addmm, aten.baddbmm, aten.mv, aten.addmv, aten.convolution, aten.linear}


class QuickHalves(Operations):
    """A context in which sums of products are taken in float32 and rounded once, as half-precision kernels do.

    Operands of several dtypes are left to torch, which refuses them.
    """

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Do the operation, a product of halves in float32."""
        dtype = _half_of([*args, *(kwargs or {}).values()]) if func.overloadpacket in PRODUCTS else None
        if dtype is None:
            return func(*args, **(kwargs or {}))
        wide = func(*tree.map_tensors(Tensor.float, args), **tree.map_tensors(Tensor.float, kwargs or {}))
        return tree.map_tensors(lambda result: result.to(dtype), wide)


def _half_of(operands: list[Any]) -> torch.dtype | None:
    """The dtype of all operands, if it is a half and they lie on the CPU."""
    kinds = {(tensor.dtype, tensor.device.type) for tensor in tree.tensors(operands)}
    dtype, device = next(iter(kinds), (None, ""))
    return dtype if len(kinds) == 1 and dtype in HALF and device == "cpu" else None


def is_of_a_norm(usual: object, full: object) -> bool:
    """Whether an output is the same for inputs so many times as large, as a norm's is.

    Args:
        usual: the output.
        full: that for the larger inputs.
    """
    before, after = _flat(usual), _flat(full)
    is_comparable = len(after) > 0 and len(after) == len(before)
    return is_comparable and rms(after - before) < NEARLY_ONE_HOT * rms(before)


def louder(inputs: Inputs, times: float) -> Iterator[Inputs]:
    """The call with all signals so many times as large; and with the first alone, which may be scaled beside a gate."""
    signals = [id(one) for one in inputs.tensors() if one.is_floating_point()]
    for some in dict.fromkeys((tuple(signals), tuple(signals[:1]))):
        yield inputs.map(lambda x, some=some: x * times if id(x) in some else x)


def lost(full: object, half: object) -> str:
    """What float16 made of an output that float32 gives: "0", "inf or NaN"; "" where it is about as large."""
    got = _flat(half)
    if not bool(got.isfinite().all()):
        return "inf or NaN"
    return "" if rms(got) > rms(_flat(full)) / 2 else "0"


def _flat(output: object) -> Tensor:
    found = [x.detach().flatten().double() for x in tree.tensors(output) if x.is_floating_point()]
    return torch.cat(found) if found else torch.empty(0)


def are_sound_once_used(module: nn.Module, inputs: Inputs) -> bool:
    """Whether float16 gives numbers after a call in train mode: the module waits for statistics, as an observer does."""
    with contextlib.suppress(Exception), preserved(seed=0), QuickHalves():  # it need not run in train mode
        inputs.call(module.train())
        module.eval().to(torch.float16)
        return tree.is_finite(inputs.to(torch.float16).call(module))
    return False
