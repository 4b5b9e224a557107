"""The autograd graph behind an output."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from layersmith.probe import tree


def node_names(output: object) -> Iterator[str]:
    """The name of every node that backward would visit, such as "MulBackward0", each node once."""
    waiting: list[Any] = [tensor.grad_fn for tensor in tree.tensors(output) if tensor.grad_fn is not None]
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        yield node.name()
        new = {parent for parent, _ in node.next_functions if parent is not None} - seen
        seen |= new
        waiting += new
