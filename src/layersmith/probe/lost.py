"""Parameters that matter to the output and that a line of forward cuts off from its gradient."""

from __future__ import annotations

import re
from dataclasses import dataclass

from torch import nn

from layersmith.probe import escapes, wording

MEANT = re.compile(r"target|teacher|ema|momentum|frozen|codebook|queue|centers?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Cut:
    """One line, and the parameters that it cuts off."""

    file: str
    line: int
    paths: tuple[str, ...]
    count: int  # of numbers in them

    @property
    def named(self) -> str:
        """The parameters, for a message."""
        return wording.listed(self.paths)


def cut_off(module: nn.Module, run: escapes.Run, way: str) -> list[Cut]:
    """The lines that leave autograd in this way with a parameter behind them which no gradient reaches otherwise.

    Args:
        module: was called in that run.
        run: what the call showed.
        way: one of those of `escapes`.
    """
    parameters = {id(p): (name, p) for name, p in module.named_parameters() if p.requires_grad}
    lines: dict[tuple[str, int], set[int]] = {}
    for one in run.escapes:
        if one.way == way:
            lines.setdefault((one.file, one.line), set()).update(one.leaves - run.reached)
    cuts = []
    for (file, line), behind in lines.items():
        lost = [parameters[id_] for id_ in parameters if id_ in behind]
        if lost and not any(MEANT.search(name) for name, _ in lost):
            names = tuple(name for name, _ in lost)
            cuts.append(Cut(file, line, names, sum(parameter.numel() for _, parameter in lost)))
    return cuts
