"""Lines of a module's methods that call something by name."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from torch import nn

from layersmith.probe import source


def calls_of(root: nn.Module, name: str) -> Iterator[tuple[str, int]]:
    """File and line of every call of a plain name in the methods, constructors excepted, of the tree's own classes."""
    classes: dict[type, None] = dict.fromkeys(type(part) for part in nn.Module.modules(root))
    for cls in classes:
        node = source.class_node(cls) if not source.is_torchs(cls.__module__) else None
        for method in node.body if node is not None else ():
            if isinstance(method, source.Function) and method.name != "__init__":
                for part in ast.walk(method):
                    if isinstance(part, ast.Call) and getattr(part.func, "id", "") == name:
                        yield source.file_of(cls), part.lineno
