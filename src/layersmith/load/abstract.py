"""What an abstract class leaves to those that inherit from it: methods that do nothing but raise."""

from __future__ import annotations

import ast
import inspect

from torch import nn

from layersmith.load import failure
from layersmith.probe import source

SCRIPT = "TorchScript, which cannot be looked into"  # said of a class that torch has compiled


def unwritten(error: Exception | None, cls: type[nn.Module]) -> str:
    """The method that the class leaves to others and calls itself; "" if that is not what failed."""
    for frame, _ in failure.frames(error)[:1] if isinstance(error, NotImplementedError) else ():
        name = frame.f_code.co_name
        if isinstance(frame.f_locals.get("self"), cls) and _is_left(cls, name):
            return name
    return ""


def descendants(cls: type[nn.Module]) -> list[type[nn.Module]]:
    """Those that write what an abstract class leaves to others, where such are loaded; [] of one that does not."""
    left = [name for name in dir(cls) if _is_left(cls, name)]
    if not left:
        return []
    below = list(cls.__subclasses__())
    for one in below:
        below += [other for other in one.__subclasses__() if other not in below]
    return [one for one in below if not any(_is_left(one, name) for name in left)]


def _is_left(cls: type[nn.Module], name: str) -> bool:
    """Whether the class has a method of this name, not torch's, that does nothing but raise."""
    method = getattr(cls, name, None)
    is_own = inspect.isfunction(method) and method is not getattr(nn.Module, name, None)
    node = source.function_node(method) if is_own else None
    return node is not None and isinstance(node.body[-1], ast.Raise) and only_raises(node.body)


def only_raises(body: list[ast.stmt]) -> bool:
    """Whether a body is a docstring and `raise NotImplementedError`, or what was meant as that, `pass` or `...`."""
    rest = [
        node for node in body if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    ]
    if not rest:
        return True
    raised = rest[0].exc if isinstance(rest[0], ast.Raise) else None
    name = raised.func if isinstance(raised, ast.Call) else raised
    is_text = isinstance(raised, ast.Constant) and isinstance(raised.value, str)  # `raise "not implemented"`
    is_said = getattr(name, "id", "") in ("NotImplementedError", "NotImplemented")
    return isinstance(rest[0], ast.Pass) or is_said or is_text
