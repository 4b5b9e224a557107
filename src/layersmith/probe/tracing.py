"""Follows parameters through a forward: the operation behind which nothing of them carries a gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from layersmith.probe import leaves, source, tree
from layersmith.probe.gradients.watch import CUTS, caller, is_in_function, name_of
from layersmith.probe.inputs import Inputs
from layersmith.probe.surroundings import preserved

FLAT = frozenset({"round", "floor", "ceil", "trunc", "fix", "sign", "sgn", "heaviside", "floor_divide"})
_ONLY_FIRST = frozenset({"to", "type_as", "expand_as", "view_as", "reshape_as", "type"})
_SHAPE_ONLY = ("_like", "new_")  # of these the values do not count


@dataclass(frozen=True, slots=True)
class Lost:
    """Where a parameter's gradient ends."""

    operation: str  # ".detach()", "no_grad", "argmax"
    file: str
    line: int


class Tracing(TorchFunctionMode):
    """A context that follows tensors through every operation inside."""

    def __init__(self, followed: dict[str, Tensor]) -> None:
        super().__init__()
        self.names = {id(tensor): frozenset({name}) for name, tensor in followed.items()}
        self.cut: dict[str, Lost] = {}  # the first operation whose result carries no gradient
        self.flat: dict[str, Lost] = {}  # the first operation whose derivative is zero everywhere
        self._alive: list[Tensor] = []  # an id is only good as long as its tensor lives

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Make the call; hand on the names, or note where they end."""
        result = func(*args, **(kwargs or {}))
        full = name_of(func)
        name = full.rpartition(".")[2].strip("_")
        given = args[:1] if name in _ONLY_FIRST else (args, kwargs or {})
        names = frozenset().union(
            *(self.names.get(id(one), ()) for one in tree.tensors(given) if one.requires_grad)
        )
        if not names or name.endswith(_SHAPE_ONLY[0]) or name.startswith(_SHAPE_ONLY[1]) or is_in_function():
            return result
        if name in FLAT:
            self._note(self.flat, names, name)
        made = [*tree.tensors(result)]
        carrying = [one for one in made if one.requires_grad]
        for one in carrying:
            self.names[id(one)] = self.names.get(id(one), frozenset()) | names
        self._alive += carrying
        if not carrying and (made or full in CUTS):
            self._note(self.cut, names, CUTS.get(full) or (name if torch.is_grad_enabled() else "no_grad"))
        return result

    @staticmethod
    def _note(found: dict[str, Lost], names: Iterable[str], operation: str) -> None:
        frame = caller()
        place = (frame.f_code.co_filename, frame.f_lineno) if frame is not None else ("", 0)
        for name in sorted(names):  # a set has another order each time
            found.setdefault(name, Lost(operation, *place))


def traced(module: nn.Module, inputs: Inputs, names: Iterable[str], *, seed: int) -> Tracing:
    """Follow some parameters through one call."""
    seen = Tracing({name: module.get_parameter(name) for name in names})
    with preserved(seed=seed), torch.enable_grad(), seen:
        inputs.call(module)
    return seen


def refused(module: nn.Module, inputs: Inputs, names: Iterable[str], *, seed: int) -> dict[str, Lost]:
    """The parameters among these that an `autograd.Function` is given and whose backward returns None for them."""
    found: dict[str, Lost] = {}
    if not (names := sorted(names)):
        return found
    with preserved(seed=seed), torch.enable_grad():
        outputs = [one for one in leaves.tensors_within(inputs.call(module)) if one.requires_grad]
        if not outputs:
            return found
        tree.total(outputs).backward()
    for name in names:
        if module.get_parameter(name).grad is not None:  # which that backward has written itself
            continue
        for function in leaves.functions_of(module.get_parameter(name), outputs)[:1]:
            said = f"{function.__name__}.backward(), which returns None for it"
            found[name] = Lost(said, *source.member_line(function, "backward"))
    return found
