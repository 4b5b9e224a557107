"""One pass forward and back: what comes out, and the gradient of a random sum of it; two such passes compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.probe import closeness, leaves, tree
from layersmith.probe.closeness import GRADIENT_TWICE, Gap
from layersmith.probe.gradients.cotangent import pull_back
from layersmith.probe.inputs import Inputs
from layersmith.probe.surroundings import preserved

Call = Callable[..., Any]
NOT_ASKED = (
    "is not differentiable with respect to argument"  # torch of a loss whose target asks for a gradient
)


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass gave."""

    output: Any
    gradients: Mapping[str, Tensor | None]  # by the names of parameters and inputs


def there_and_back(module: nn.Module, inputs: Inputs, *, seed: int, call: Call | None = None) -> Pass:
    """Call a module, and take the gradient of a random sum of its outputs.

    Args:
        module: whose parameters the gradient is taken of.
        inputs: of the call; the floating ones of a copy ask for a gradient, the first alone where others may not.
        seed: of what the call draws, and of the sum.
        call: what is called in the module's place, such as its compiled form.
    """
    called = module if call is None else call
    with preserved(seed=seed), torch.enable_grad():
        try:
            return _pass(module, called, asking(inputs), seed)
        except RuntimeError as error:  # of the call, or of its backward, as the version of torch has it
            if NOT_ASKED not in str(error):
                raise
        return _pass(module, called, asking(inputs, only_first=True), seed)


def _pass(module: nn.Module, called: Call, given: tuple[Inputs, Inputs], seed: int) -> Pass:
    copy, taken = given
    output = called(*taken.args, **taken.kwargs)
    outputs = [tensor for tensor in leaves.tensors_within(output) if tensor.requires_grad]
    generator = torch.Generator().manual_seed(seed)
    along = [torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x.dtype) for x in outputs]
    wanted = {name: x for name, x in copy.named_tensors() if x.requires_grad}
    wanted |= {name: x for name, x in module.named_parameters() if x.requires_grad}
    found = pull_back(outputs, along, [*wanted.values()]) if outputs and wanted else [None] * len(wanted)
    values = tree.map_tensors(lambda tensor: tensor.detach(), output)
    return Pass(values, dict(zip(wanted, found, strict=True)))


def asking(inputs: Inputs, *, only_first: bool = False) -> tuple[Inputs, Inputs]:
    """A copy whose floating tensors ask for a gradient, and what a module may be given of it and may write to."""
    copy = inputs.clone()
    for tensor in [x for x in copy.tensors() if tree.is_differentiable(x)][: 1 if only_first else None]:
        tensor.requires_grad_()
    return copy, copy.map(lambda x: x * 1 if x.requires_grad else x)


def apart(one: Pass, other: Pass) -> Gap | None:
    """The first output, else the widest gradient, in which two passes differ by more than rounding.

    The gradients of a pass are judged by the largest of them: one that cancels out is rounding and nothing else.
    """
    if gaps := closeness.gaps(one.output, other.output):
        return gaps[0]
    sizes = [float(g.detach().abs().max()) for g in one.gradients.values() if g is not None and g.numel()]
    scale = max(sizes, default=0.0)
    found = [_gap(name, one.gradients[name], other.gradients.get(name), scale) for name in one.gradients]
    return max((gap for gap in found if gap.is_open), key=lambda gap: gap.max_abs, default=None)


def _gap(name: str, left: Tensor | None, right: Tensor | None, scale: float) -> Gap:
    known = left if left is not None else right
    if known is None:
        return Gap(name, 0.0, 0.0)
    none = torch.zeros_like(known)
    gap = closeness.gap(left if left is not None else none, right if right is not None else none)
    return Gap(f"the gradient of {name}", gap.max_abs, GRADIENT_TWICE.get(known.dtype, 0.0) * scale)
