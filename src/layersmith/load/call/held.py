"""Which expressions of a function are the parameter that is followed, in shape at least."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from layersmith.load.call.clue import Clue

_KEEPS_SHAPE = {
    *("contiguous", "float", "clone", "to", "detach", "type", "double", "long"),
    *("cpu", "cuda", "half", "type_as", "requires_grad_", "masked_fill"),
}
_ELEMENTWISE = {
    *("relu", "relu_", "gelu", "silu", "elu", "leaky_relu", "tanh", "sigmoid", "softplus", "dropout"),
    *("normalize", "softmax", "log_softmax", "exp", "log", "abs", "clamp", "layer_norm"),
}
_RESIZES = {"interpolate", "upsample", "pad", "max_pool1d", "max_pool2d", "avg_pool1d", "avg_pool2d"}
_KEEPING_LAYERS = (nn.Dropout, nn.Identity, nn.LayerNorm, nn.GroupNorm, _NormBase, nn.ReLU, nn.GELU, nn.SiLU)


@dataclass(slots=True)
class Held:
    """The names that hold the parameter at this point of the function, or a part of it."""

    alias: set[str]
    look_up: Callable[[ast.AST], object]  # the object behind `self.norm`
    key: object = None  # of the part that is followed: `x["c3"]`, `x[0]`
    whole: set[str] = field(default_factory=set)  # names of what that part is of
    is_resized: bool = False  # whether it still has its rank and channels, but no longer its other sizes
    added: int = 0  # dimensions that it has got: `x = x.unsqueeze(0)`

    def holds(self, node: ast.AST | None) -> bool:
        """Whether the expression is the parameter (or the wanted part of it), in shape at least."""
        if isinstance(node, ast.BinOp):
            sides = (node.left, node.right)
            is_scaled = any(isinstance(side, ast.Constant) for side in sides)
            return is_scaled and any(self.holds(side) for side in sides)
        if isinstance(node, ast.Call):
            return _called(node) != "unsqueeze" and self.keeps(node)
        if self.key is not None and isinstance(node, ast.Subscript):
            is_part = isinstance(node.slice, ast.Constant) and node.slice.value == self.key
            return is_part and isinstance(node.value, ast.Name) and node.value.id in self.whole
        return isinstance(node, ast.Name) and node.id in self.alias

    def before(self, clue: Clue) -> Clue:
        """What a clue about its present shape says about the shape in which it came."""
        if self.is_resized or self.added:
            clue = replace(clue, last=None, sizes=(), trailing=(), names=())
        if self.added:
            rank = clue.rank - self.added if clue.rank else None
            return replace(clue, rank=rank, min_rank=max(0, clue.min_rank - self.added), channels=None)
        return clue

    def rebound(self, node: ast.Assign) -> None:
        """`x = self.embed(x)`: from here on the name is another thing; `y = x.float()`: one more name."""
        names = {t.id for target in node.targets for t in ast.walk(target) if isinstance(t, ast.Name)}
        is_same = self.keeps(node.value) or self.holds(node.value)
        if is_same and isinstance(node.targets[0], ast.Name):
            self.alias |= names
            self.is_resized |= _called(node.value) in _RESIZES
            self.added += _called(node.value) == "unsqueeze"
        else:
            self.alias -= names

    def keeps(self, node: ast.expr) -> bool:
        """Whether this is a call that returns what it is given in the same shape: `x.float()`, `F.relu(x)`."""
        function = node.func if isinstance(node, ast.Call) else None
        if (
            isinstance(function, ast.Attribute)
            and function.attr in (*_KEEPS_SHAPE, "unsqueeze")
            and self.holds(function.value)
        ):
            return True
        first = node.args[0] if isinstance(node, ast.Call) and node.args else None
        if function is None or not self.holds(first):
            return False
        return _called(node) in _ELEMENTWISE | _RESIZES or isinstance(self.look_up(function), _KEEPING_LAYERS)


def _called(node: ast.expr) -> str:
    function = node.func if isinstance(node, ast.Call) else None
    return getattr(function, "attr", getattr(function, "id", ""))
