"""Gradients that an output passes on without depending on the values, or with the wrong sign."""

from __future__ import annotations

import ast

import torch
from torch import nn

from layersmith.probe import closeness, influence, source, tree
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


def is_turned(file: str, line: int) -> bool:
    """Whether `z.detach() + (q - z)` stands there: the value is that of q, and the gradient that of -z."""
    for node in ast.walk(source.tree_of(file)):
        if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add)):
            continue
        if node.lineno <= line <= (node.end_lineno or 0) and (
            _is_turned(node.left, node.right) or _is_turned(node.right, node.left)
        ):
            return True
    return False


def _is_turned(stopped: ast.expr, rest: ast.expr) -> bool:
    is_difference = isinstance(rest, ast.BinOp) and isinstance(rest.op, ast.Sub)
    subtracted = ast.unparse(rest.right) if is_difference and isinstance(rest, ast.BinOp) else ""
    return bool(subtracted) and ast.unparse(stopped) == f"{subtracted}.detach()"
