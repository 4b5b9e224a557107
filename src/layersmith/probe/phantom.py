"""Gradients of an output with respect to parameters that it does not depend on, in value."""

from __future__ import annotations

import torch
from torch import nn

from layersmith.probe import closeness, influence, tree
from layersmith.probe.inputs import Inputs
from layersmith.probe.surroundings import preserved

DRAWS = 2


def without_effect(module: nn.Module, inputs: Inputs, name: str, *, seed: int) -> str:
    """The path of an output that passes a gradient to a parameter and stays as it is whatever its values; or "".

    The module is changed for good.
    """
    parameter = dict(module.named_parameters()).get(name)
    if parameter is None:
        return ""
    with preserved(seed=seed), torch.enable_grad():
        before = {
            path: tensor
            for path, tensor in tree.named_tensors(inputs.call(module), name="output")
            if tensor.requires_grad
        }
        slopes = {
            path: torch.autograd.grad(
                (tensor * torch.randn_like(tensor)).sum(), parameter, retain_graph=True, allow_unused=True
            )[0]
            for path, tensor in before.items()
        }
    paths = [path for path, slope in slopes.items() if slope is not None and bool(slope.any())]
    for draw in range(DRAWS if paths else 0):
        with preserved(seed=draw), torch.no_grad():
            parameter.copy_(influence.loud_like(parameter))
        with preserved(seed=seed), torch.no_grad():
            after = dict(tree.named_tensors(inputs.call(module), name="output"))
        paths = [
            path for path in paths if path in after and not closeness.gap(before[path], after[path]).is_open
        ]
    return next(iter(paths), "")
