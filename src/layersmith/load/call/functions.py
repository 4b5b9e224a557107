"""What functions of torch and einops accept: `F.conv2d(x, ...)`, `rearrange(x, "b c h w -> ...")`."""

from __future__ import annotations

import ast
from collections.abc import Callable

import torch
from torch import Tensor

from layersmith.load.call.clue import Clue
from layersmith.load.call.torch_modules import pattern_clue

LookUp = Callable[[ast.AST], object]  # the object behind `self.weight`

_POOLS = {"avg_pool2d", "max_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d"}
_IMAGES = {"conv2d", "grid_sample", "pixel_shuffle", "unfold", *_POOLS}
_PATTERNS = {"rearrange", "reduce", "repeat"}
_INTEGERS = {("embedding", 0), ("one_hot", 0), ("cross_entropy", 1), ("nll_loss", 1)}


def function_clue(node: ast.Call, name: str, position: int, look_up: LookUp) -> Clue:
    """What the argument at a position of this call must be."""
    texts = [
        part.value for part in node.args if isinstance(part, ast.Constant) and isinstance(part.value, str)
    ]
    if (name, position) in _INTEGERS:
        return Clue(dtype=torch.int64)
    if name == "einsum" and texts:
        operand = texts[0].split("->")[0].split(",")[max(0, position - 1)].replace(" ", "")
        return Clue(rank=len(operand)) if "." not in operand else Clue()
    if position > 0:
        return Clue()
    if name in _PATTERNS and texts:
        return pattern_clue(texts[0])
    return _first_argument(node, name, look_up)


def _first_argument(node: ast.Call, name: str, look_up: LookUp) -> Clue:
    if name in _IMAGES:
        return Clue(rank=4, channels=_weight_size(node, 1, look_up) if name == "conv2d" else None)
    if name == "conv1d":
        return Clue(rank=3, channels=_weight_size(node, 1, look_up))
    if name == "linear":
        return Clue(last=_weight_size(node, 1, look_up), min_rank=1)
    if name in ("matmul", "mm"):
        return Clue(last=_weight_size(node, 0, look_up), min_rank=1, rank=2 if name == "mm" else None)
    return Clue()


def _weight_size(node: ast.Call, dimension: int, look_up: LookUp) -> int | None:
    weight = look_up(node.args[1]) if len(node.args) > 1 else None
    has_it = isinstance(weight, Tensor) and weight.dim() > dimension
    return int(weight.shape[dimension]) if has_it and isinstance(weight, Tensor) else None
