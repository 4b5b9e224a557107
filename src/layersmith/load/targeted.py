"""The call with the target that forward takes and can do without: the branch that computes a loss."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import torch
from torch import Tensor

from layersmith.load.call import stated
from layersmith.probe import tree
from layersmith.probe.inputs import Inputs
from layersmith.probe.surroundings import preserved
from layersmith.subject import Case

TARGET = re.compile(r"^(?:targets?|labels?|y|y_true|gt|ground_truth)$")


def with_target(case: Case) -> Inputs | None:
    """The call of the example with a target more; None if forward takes none, has one, or takes none that is tried.

    What is tried: the shape that a docstring gives, that of the output, classes of its first or last axis.
    """
    parameters = [*inspect.signature(case.module.forward).parameters.values()]
    open_ = {
        one.name: one for one in parameters[len(case.inputs.args) :] if one.name not in case.inputs.kwargs
    }
    name = next((n for n, one in open_.items() if TARGET.search(n) and one.default is None), "")
    output = next(tree.tensors(case.run()), None) if name else None
    if output is None or not output.ndim or not output.is_floating_point():
        return None
    with preserved(seed=case.seed):
        targets = [*_targets(type(case.module), name, output.detach())]
    for target in targets:
        inputs = Inputs(case.inputs.args, {**case.inputs.kwargs, name: target})
        try:
            case.fresh(training=True).run(inputs)
        except Exception:  # noqa: BLE001, S112 - it may be of another kind
            continue
        return inputs
    return None


def _targets(cls: type, name: str, output: Tensor) -> Iterator[Tensor]:
    """Likeliest first."""
    clue = stated.documented_clue(cls, name)
    if clue.rank == 1 and clue.dtype is None:
        yield torch.rand(len(output))
    elif clue.rank == 1 and output.ndim > 1:
        yield torch.randint(output.shape[1], (len(output),))
    yield (output > output.mean()).to(output)
    if output.ndim > 1:
        for axis in (1, -1):
            yield torch.randint(output.shape[axis], output.select(axis, 0).shape)
