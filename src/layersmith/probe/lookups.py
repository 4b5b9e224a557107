"""Which inputs a call looks up in which tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from layersmith.probe import arguments
from layersmith.probe.inputs import Inputs
from layersmith.probe.steps import caller
from layersmith.probe.surroundings import preserved


@dataclass(frozen=True, slots=True)
class Lookup:
    """An input that is looked up, as it is, in a parameter."""

    index: str  # the argument of forward
    table: str  # the parameter, less `.weight`
    rows: int
    file: str
    line: int


def lookups(module: nn.Module, inputs: Inputs) -> list[Lookup]:
    """Those of one call, in order, each once."""
    given = inputs.clone()
    named = {tensor.data_ptr(): name or path for path, name, tensor in arguments.named(module, given)}
    watch = _Watch(named, {id(p): name.removesuffix(".weight") for name, p in module.named_parameters()})
    with preserved(seed=0), watch:
        module(*given.args, **given.kwargs)
    return [*dict.fromkeys(watch.seen)]


class _Watch(TorchFunctionMode):
    def __init__(self, indices: Mapping[int, str], tables: Mapping[int, str]) -> None:
        super().__init__()
        self.indices, self.tables = indices, tables
        self.seen: list[Lookup] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Note a lookup, and do the operation."""
        if getattr(func, "__name__", "") == "embedding" and len(args) > 1 and isinstance(args[0], Tensor):
            index, table = self.indices.get(args[0].data_ptr(), ""), self.tables.get(id(args[1]), "")
            if index and table:
                self.seen.append(Lookup(index, table, len(args[1]), *caller()))
        return func(*args, **(kwargs or {}))
