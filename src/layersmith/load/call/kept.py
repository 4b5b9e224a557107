"""What a call leaves in a module: taken back before the next attempt, which it is no part of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.jit import ScriptModule
from torch.nn.parameter import is_lazy

from layersmith.probe.registration import OWN


@dataclass(frozen=True, slots=True)
class Kept:
    """The plain attributes and the buffers of a module's parts, as they were."""

    held: tuple[tuple[dict[str, Any], dict[str, Any]], ...]  # what holds them, and a copy of it

    @classmethod
    def of(cls, module: nn.Module) -> Kept:
        """Those of now; of lazy modules, which become others when they are called, and of compiled ones none."""
        tensors = (*module.parameters(), *module.buffers())
        found = () if any(map(is_lazy, tensors)) else nn.Module.modules(module)
        parts = [part for part in found if not isinstance(part, ScriptModule)]
        held = [one for part in parts for one in (vars(part), vars(part).get("_buffers", {}))]
        return cls(tuple((one, dict(one)) for one in held))

    def restore(self) -> None:
        """Put back what was bound to another value, or was not there."""
        for now, then in self.held:
            for name in [name for name in now if name not in OWN and now[name] is not then.get(name, now)]:
                if name in then:
                    now[name] = then[name]
                else:
                    del now[name]
            now.update({name: value for name, value in then.items() if name not in now})
