"""Trainable tensors that an output depends on and nn.Module does not know of."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from layersmith.finding import Finding
from layersmith.probe import leaves, source
from layersmith.probe.modes import in_mode
from layersmith.probe.registration import Hidden, hidden

INSTEAD = {"list": "nn.{}List([...])", "tuple": "nn.{}List([...])", "dict": "nn.{}Dict({{...}})"}
Wanted = Callable[[Hidden], bool]


def untracked(module: nn.Module, run: Callable[[], Any], wanted: Wanted) -> list[list[Hidden]]:
    """What is hidden, wanted and reached by a gradient from the output, grouped by attribute.

    Args:
        module: is put into train mode.
        run: calls it.
        wanted: says which kind of hidden tensor or module is looked for.
    """
    known = {id(parameter) for parameter in nn.Module.parameters(module)}
    found = [one for one in hidden(module) if wanted(one) and {*map(id, trainable(one.value))} - known]
    if not found:
        return []
    results = [t for one in found for t in trainable(one.value) if t.grad_fn is not None]
    in_mode(module, training=True)
    outputs = leaves.tensors_within(run())
    nodes = leaves.nodes_behind(outputs) if results else set()
    reached = leaves.leaves_behind(outputs).keys() | {id(t) for t in results if t.grad_fn in nodes}
    attributes: dict[tuple[int, str], list[Hidden]] = {}
    for one in found:
        if any(id(tensor) in reached for tensor in trainable(one.value)):
            attributes.setdefault((id(one.owner), one.attribute), []).append(one)
    return [*attributes.values()]


def trainable(value: Tensor | nn.Module) -> list[Tensor]:
    """The tensors of it that ask for a gradient."""
    tensors = [value] if isinstance(value, Tensor) else [*value.parameters()]
    return [tensor for tensor in tensors if tensor.requires_grad]


def described(group: list[Hidden]) -> Finding:
    """The finding for one attribute, for all that it hides."""
    first = group[0]
    kinds = sorted({type(one.value).__name__ for one in group})
    count = sum(tensor.numel() for one in group for tensor in trainable(one.value))
    file, line = source.attribute_line(first.owner_class, first.attribute)
    where = re.split(r"[\[(<]", first.path)[0].removesuffix(".__self__")
    holder = f"a plain {first.container}" if first.container else "a plain attribute"
    kind = "Module" if isinstance(first.value, nn.Module) else "Parameter"
    instead = INSTEAD.get(first.container)
    return Finding(
        f"{where} is {holder} holding {', '.join(kinds)}: {count} trainable numbers that parameters() does not list",
        where=where,
        file=file,
        line=line,
        fix=f"self.{first.attribute} = {instead.format(kind)}" if instead else _assigned(first, kind),
        numbers={"trainable_numbers": count},
    )


def _assigned(one: Hidden, kind: str) -> str:
    """What to write where no container is to blame."""
    if one.container:
        return (
            f"assign the {type(one.value).__name__} to an attribute of its own, besides self.{one.attribute}"
        )
    return f"self.{one.attribute} = nn.{kind}(...) in __init__, after super().__init__()"
