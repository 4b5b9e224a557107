"""What an abstract class leaves to those that inherit from it: methods that do nothing but raise."""

from __future__ import annotations

import ast

from torch import nn

from layersmith.load import failure
from layersmith.probe import source


def unwritten(error: Exception | None, module: nn.Module) -> str:
    """The method that an abstract class leaves to others and forward calls; "" if that is not what failed."""
    for frame, _ in failure.frames(error)[:1] if isinstance(error, NotImplementedError) else ():
        name = frame.f_code.co_name
        node = source.function_node(getattr(type(module), name, None))
        if frame.f_locals.get("self") is module and node is not None and only_raises(node.body):
            return name
    return ""


def only_raises(body: list[ast.stmt]) -> bool:
    """Whether a body is a docstring and `raise NotImplementedError`, `pass` or `...`."""
    rest = [
        node for node in body if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    ]
    if not rest:
        return True
    raised = rest[0].exc if isinstance(rest[0], ast.Raise) else None
    name = raised.func if isinstance(raised, ast.Call) else raised
    return isinstance(rest[0], ast.Pass) or getattr(name, "id", "") == "NotImplementedError"
