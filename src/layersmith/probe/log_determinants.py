"""The log-determinant that forward returns, by its name, and that of the Jacobian, by autograd."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import torch
from torch import Tensor

from layersmith.probe import reading, source

NAMES = re.compile(r"(?i)log[-_ ]?(?:abs[-_ ]?)?det|(?:\b|_)s?ldj|log[-_ ]?jac")
SCALES = re.compile(r"(?i)^log_?(?:s|scale|sigma|alpha)s?$")
PAIR = 2


def place(cls: type) -> int | None:
    """Which of what forward returns is called a log-determinant, and nothing beside; None where none is."""
    node = source.function_node(getattr(cls, "forward", None))
    is_said = reading.file_mentions(source.file_of(cls), NAMES.pattern)
    returns = [one.value for one in ast.walk(node) if isinstance(one, ast.Return)] if node is not None else []
    for value in (one for one in returns if isinstance(one, ast.Tuple)):
        made_of = [[*_made_of(part)] for part in value.elts]
        found = [
            index
            for index, names in enumerate(made_of)
            if names and all(NAMES.search(name) or SCALES.search(name) for name in names)
        ]
        is_named = len(found) == 1 and any(map(NAMES.search, made_of[found[0]]))
        if len(found) == 1 and found[0] and (is_named or (is_said and len(made_of) == PAIR)):
            return found[0]
    return None


def _made_of(node: ast.expr) -> Iterator[str]:
    """The names that are added up in it; "?" for whatever is more than a sum, or a view of one."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        yield from (*_made_of(node.left), *_made_of(node.right))
    elif isinstance(node, ast.UnaryOp | ast.Subscript):
        yield from _made_of(node.operand if isinstance(node, ast.UnaryOp) else node.value)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        is_function = ast.unparse(node.func.value) == "torch" and node.args
        yield from _made_of(node.args[0] if is_function else node.func.value)
    else:
        yield node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else "?"


def of_rows(y: Tensor, x: Tensor) -> Tensor | None:
    """Log |det dy/dx| of each row; None where rows are mixed, sizes differ, or the map loses something."""
    rows, width = len(x), x[0].numel()
    if y.shape[:1] != x.shape[:1] or y.numel() != x.numel() or not y.requires_grad:
        return None
    columns = torch.stack(
        [
            torch.autograd.grad(one.sum(), x, retain_graph=True)[0].reshape(rows, width)
            for one in y.reshape(rows, width).unbind(1)
        ],
        dim=1,
    )
    found = torch.linalg.slogdet(columns.detach().double()).logabsdet
    return found if bool(found.isfinite().all()) else None
