"""Where forward writes to what it was given, by its source: `x[mask] = 0`, `x += 1`."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from layersmith.probe import source


def to_arguments(cls: type) -> Iterator[tuple[str, int]]:
    """File and line of each statement that does."""
    forward = source.function_node(source.forward(cls))
    if forward is None:
        return
    arguments = {one.arg for one in forward.args.args[1:]}
    for node in ast.walk(forward):
        if not isinstance(node, ast.Assign | ast.AugAssign):
            continue
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            is_part = isinstance(target, ast.Subscript) or isinstance(node, ast.AugAssign)
            base = target.value if isinstance(target, ast.Subscript) else target
            if is_part and isinstance(base, ast.Name) and base.id in arguments:
                yield source.file_of(cls), node.lineno
