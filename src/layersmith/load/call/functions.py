"""What functions of torch and einops accept: `F.conv2d(x, ...)`, `rearrange(x, "b c h w -> ...")`."""

from __future__ import annotations

import ast
from collections.abc import Callable

import torch
from torch import Tensor

from layersmith.load.call.clue import Clue
from layersmith.load.call.syntax import integer
from layersmith.load.call.torch_modules import pattern_clue

Holds = Callable[[ast.AST], bool]  # whether an expression is the parameter that is followed
LookUp = Callable[[ast.AST], object]  # the object behind `self.weight`

_PICKING = {
    *("gather", "scatter", "scatter_", "scatter_add", "scatter_add_", "scatter_reduce", "index_select"),
    *("index_add", "index_add_", "index_copy_", "bincount"),
}
_POOLS = {"avg_pool2d", "max_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d"}
_IMAGES = {"conv2d", "grid_sample", "pixel_shuffle", "unfold", *_POOLS}
_WITH_INDEX = {"size", "transpose", "mean", "sum", "flatten", "unsqueeze", "squeeze"}
_OF_SHAPE = ("shape", "size", "device")  # what is asked of a tensor without its values
_PATTERNS = {"rearrange", "reduce", "repeat"}
_INTEGERS = {
    *(("embedding", 0), ("one_hot", 0), ("cross_entropy", 1), ("nll_loss", 1), ("repeat_interleave", 1)),
}


def function_clue(node: ast.Call, name: str, position: int, look_up: LookUp) -> Clue:
    """What the argument at a position of this call must be."""
    texts = [
        part.value for part in node.args if isinstance(part, ast.Constant) and isinstance(part.value, str)
    ]
    if (name, position) in _INTEGERS:
        return Clue(dtype=torch.int64)
    if (name, position) == ("pack_padded_sequence", 1):
        return Clue(rank=1, dtype=torch.int64, is_length=True)
    if name == "einsum" and texts:
        operand = texts[0].split("->")[0].split(",")[max(0, position - 1)].replace(" ", "")
        letters = operand.replace("...", "")  # which stand behind a batch
        return Clue(rank=len(operand)) if letters == operand else Clue(min_rank=len(letters) + 1)
    if position > 0:
        return Clue()
    if name in _PATTERNS and texts:
        return pattern_clue(texts[0])
    return _first_argument(node, name, look_up)


def _first_argument(node: ast.Call, name: str, look_up: LookUp) -> Clue:
    if name in _IMAGES:
        return Clue(rank=4, channels=_weight_size(node, 1, look_up) if name == "conv2d" else None)
    if getattr(getattr(node.func, "value", None), "id", "") == "torch" and name in {*_WITH_INDEX, "permute"}:
        return _dimensions_clue(name, node.args[1:], node.keywords)
    if name == "conv1d":
        return Clue(rank=3, channels=_weight_size(node, 1, look_up))
    if name == "linear":
        return Clue(last=_weight_size(node, 1, look_up), min_rank=1)
    if name in ("matmul", "mm"):
        return Clue(last=_weight_size(node, 0, look_up), min_rank=1, rank=2 if name == "mm" else None)
    return Clue(min_rank=int(name in ("sort", "argsort")))


def _weight_size(node: ast.Call, dimension: int, look_up: LookUp) -> int | None:
    weight = look_up(node.args[1]) if len(node.args) > 1 else None
    has_it = isinstance(weight, Tensor) and weight.dim() > dimension
    return int(weight.shape[dimension]) if has_it and isinstance(weight, Tensor) else None


def method_clue(node: ast.Call, name: str, repeated: int | None) -> Clue:
    """What a method of the parameter says of its rank: `x.transpose(1, 2)`.

    Args:
        node: the call.
        name: of the method.
        repeated: the rank of its result, where that is repeated: `x.unsqueeze(1).repeat(1, n, 1)`.
    """
    if name == "unsqueeze" and repeated:
        return Clue(rank=repeated - 1)
    if name in ("view", "reshape") and len(node.args) == 2:  # noqa: PLR2004 - rows, and what is in one
        return Clue(is_flat=[integer(argument) for argument in node.args] == [None, -1])
    if name == "flatten" and [integer(argument) for argument in node.args] == [1]:
        return Clue(is_flat=True, min_rank=2)
    if name == "t" and not node.args:
        return Clue(rank=2)
    if name == "long" and "mask" not in ast.unparse(node.func):
        return Clue(dtype=torch.int64)  # whole numbers are meant, whatever they come as
    return _dimensions_clue(name, node.args, node.keywords)


def _dimensions_clue(name: str, args: list[ast.expr], keywords: list[ast.keyword]) -> Clue:
    """What dimensions that are named by number say of the rank: `x.mean((2, 3))`, `torch.transpose(x, 1, 2)`."""
    if name == "permute" and args:
        listed = args[0].elts if isinstance(args[0], ast.Tuple | ast.List) else args
        order = tuple(map(integer, listed))
        return Clue(rank=len(listed), names=("b", "c", "h", "w") if order == (0, 2, 3, 1) else ())
    given = [*args[:2], *(word.value for word in keywords if word.arg == "dim")]
    listed = [part for one in given for part in getattr(one, "elts", [one])]
    numbers = [value for part in listed for value in [integer(part)] if value is not None]
    if name not in _WITH_INDEX or not numbers:
        return Clue()
    needed = max(number + 1 if number >= 0 else -number for number in numbers)
    if name == "transpose" and len(numbers) > 1 and min(numbers) < 0 <= max(numbers):
        needed += needed == max(numbers) - min(numbers)  # (1, -1) would leave a matrix as it is
    is_new = name == "unsqueeze"
    return Clue(min_rank=needed - is_new, is_step=is_new and 0 <= numbers[0] < 2)  # noqa: PLR2004


def picked_clue(node: ast.Call, holds: Holds) -> Clue:
    """`p.gather(1, target.view(-1, 1))`: what picks are whole numbers."""
    name = getattr(node.func, "attr", "")
    if name not in _PICKING:
        return Clue()
    is_of_torch = getattr(getattr(node.func, "value", None), "id", "") == "torch"
    place = 0 if name == "bincount" else 1 + is_of_torch
    picks = [*node.args[place : place + 1], *(word.value for word in node.keywords if word.arg == "index")]
    inner = [part for pick in picks for part in ast.walk(pick)]
    sizes = {part.value for part in inner if isinstance(part, ast.Attribute) and part.attr in _OF_SHAPE}
    parts = (part for part in inner if part not in sizes)
    if not any(map(holds, parts)):
        return Clue()
    is_vector = name in ("bincount", "index_select") or name.startswith("index_")
    return Clue(dtype=torch.int64, rank=1 if is_vector and holds(picks[0]) else None)


def operator_clue(node: ast.BinOp, holds: Holds, look_up: LookUp) -> Clue:
    """`x @ self.weight`, `x * self.scale`, `x + self.position`: a raw parameter fixes the last size."""
    if holds(node.left) and isinstance(node.op, ast.MatMult):
        return _product_clue(node.right, look_up)
    if not isinstance(node.op, ast.Add | ast.Sub | ast.Mult | ast.Div):
        return Clue()
    other = node.right if holds(node.left) else node.left if holds(node.right) else None
    if _is_outer(node, holds):
        return Clue(rank=1)
    if other is not None and (rank := _stretched_to(other)):
        return Clue(rank=rank)
    tensor = look_up(other) if other is not None else None
    return _beside(tensor) if isinstance(tensor, Tensor) and tensor.dim() else Clue()


def _beside(tensor: Tensor) -> Clue:
    """What is added to or multiplied with a raw parameter: [features], [1, steps, features], [channels, 1, 1]."""
    if tensor.shape[-1] > 1:
        return Clue(last=int(tensor.shape[-1]), min_rank=_used_rank(tensor))
    wide = [index for index, size in enumerate(tensor.shape) if size > 1]
    if len(wide) != 1:
        return Clue()
    return Clue(rank=1 + tensor.dim() - wide[0], channels=int(tensor.shape[wide[0]]))


def _is_outer(node: ast.BinOp, holds: Holds) -> bool:
    """Whether this is `x[:, None].float() * other[None, :]`, of two vectors."""
    left, right = _uncast(node.left), _uncast(node.right)
    if not (isinstance(left, ast.Subscript) and isinstance(right, ast.Subscript) and holds(left.value)):
        return False
    is_new = ast.unparse(right.slice).strip("(").startswith("None")
    return ast.unparse(left.slice) in (":, None", "(:, None)") and is_new


def _uncast(node: ast.expr) -> ast.expr:
    """`x` for `x.float()`."""
    is_cast = (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "float"
    )
    return node.func.value if is_cast else node  # type: ignore[attr-defined]


def _stretched_to(node: ast.expr) -> int:
    """The rank that one number for each row is given to fit: `a[t].view(-1, 1, 1, 1)`, `g[:, None, None]`; or 0."""
    if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("view", "reshape"):
        return len(node.args) if len(node.args) > 2 and set(map(integer, node.args[1:])) == {1} else 0  # noqa: PLR2004
    parts = node.slice.elts if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple) else []
    is_new = [isinstance(part, ast.Constant) and part.value is None for part in parts]
    is_rows = len(parts) > 2 and isinstance(parts[0], ast.Slice) and all(is_new[1:])  # noqa: PLR2004
    return len(parts) if is_rows else 0


def _product_clue(right: ast.expr, look_up: LookUp) -> Clue:
    is_transposed = isinstance(right, ast.Attribute) and right.attr in ("T", "mT")
    is_transposed |= isinstance(right, ast.Call) and getattr(right.func, "attr", "") in ("t", "transpose")
    inner = getattr(right, "value", None) or getattr(getattr(right, "func", None), "value", None)
    weight = look_up(inner if is_transposed and inner is not None else right)
    if not isinstance(weight, Tensor) or not weight.dim():
        return Clue()
    is_last = is_transposed or weight.dim() == 1
    return Clue(last=int(weight.shape[-1] if is_last else weight.shape[-2]), min_rank=1)


def _used_rank(tensor: Tensor) -> int:
    """The rank without leading dimensions of size 1, and one for the batch where there are any."""
    leading = next((i for i, size in enumerate(tensor.shape) if size != 1), tensor.dim())
    return tensor.dim() if leading else tensor.dim() + 1 if tensor.dim() > 1 else 1
