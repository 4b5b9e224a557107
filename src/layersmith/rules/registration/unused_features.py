"""Every block of a layer's features must reach some output.

## Why it matters
`i, f, g, o = gates.chunk(4)` and then `sigmoid(f)` where `sigmoid(o)` was meant: a quarter of the layer is computed and
thrown away, no parameter lacks a gradient as a whole, and the model learns, only worse.

## How it is tested
In train and eval mode, under several seeds and after all parameters were moved, the gradients with respect to the
outputs of linear layers, convolutions, norms and embeddings are looked at. Reported is a layer of whose features one of
2 to 6 equal parts gets exactly none while all others do, if no output moves when that part is replaced either. A state
is handed on from a call before. Left out are classes whose forward asks for another argument.

## How to fix it
Use that part, most often by its own name; or make the layer smaller.

## How to reproduce it
    seen = []
    module.get_submodule(where).register_forward_hook(lambda _part, _args, y: seen.append(y))
    out = run()
    axis = 1 if "Conv" in type(module.get_submodule(where)).__name__ else -1
    (slope,) = torch.autograd.grad((out * torch.randn_like(out)).sum(), seen[-1])
    used = (slope.movedim(axis, 0).flatten(1) != 0).any(1)
    assert used.all(), f"{int((~used).sum())} of {len(used)} features of {where} reach nothing"
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import blocks, continued, influence, source
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

RUNS = 4


@rule(
    severity=Severity.WARNING,
    since="0.1",
    promise=Promise.EVERY_PARAMETER_LEARNS,
    after=("forward-raises", "unused-parameter", "state-changes-in-eval"),
)
def unused_features(case: Case) -> Iterator[Finding]:
    """Look for dead blocks, then replace them by something loud; one finding a line of the source."""
    alive: dict[str, Tensor] = {}
    for run in range(RUNS):
        found = _live(case, run)
        alive = {path: alive.get(path, False) | one for path, one in (found or {}).items()} | {
            path: one for path, one in alive.items() if path not in (found or {})
        }
        if run and not blocks.dead(alive):
            return
    if blocks.attends_to_one(case.module, case.inputs):
        raise NotApplicable("something attends to a single key, whose score is no matter")
    if not alive:
        raise NotApplicable("no layer's output carries a gradient")
    seen, name = set(), continued.argument(case.module, case.inputs)
    given = name if name in _moved(case, 0).inputs.kwargs else ""
    for path, block in blocks.dead(alive).items():
        holder, attribute = blocks.holder(case.module, path)
        place = source.attribute_line(type(holder), attribute)
        is_asked = blocks.is_asked_for(type(holder), given if holder is case.module else "")
        if place in seen or is_asked or _matters(case, path, block):
            continue
        seen.add(place)
        yield _finding(path, block, len(alive[path]), *place)


def _live(case: Case, run: int) -> dict[str, Tensor] | None:
    fresh = _moved(case, run)
    return blocks.live(fresh.module, fresh.inputs, seed=fresh.seed)


def _matters(case: Case, path: str, block: slice) -> bool:
    """Whether an output moves with the block, in either mode, under some of the seeds, or in a longer loop."""
    cases = [_moved(case, run) for run in range(RUNS)]
    longer = (replace(case.fresh(training=True), inputs=inputs) for inputs in blocks.longer(case.inputs))
    cases += [one for one in longer if one.error(one.inputs) is None]
    return any(blocks.matters(one.run, one.module, path, block, seed=one.seed) for one in cases)


def _moved(case: Case, run: int) -> Case:
    """A case in either mode whose parameters were moved, called with the state that a call before gave back."""
    fresh = case.fresh(seed=case.seed + run // 2, training=run % 2 == 0)
    influence.open_gates(fresh.module)
    name = continued.argument(fresh.module, fresh.inputs)
    with torch.no_grad():
        output = fresh.run() if name else None
        output = (
            (output, output) if isinstance(output, Tensor) else output
        )  # a cell gives its state and nothing else
        calls = continued.continued(name, output, fresh.inputs, fresh.run) if name else iter(())
        inputs = next((inputs for inputs, _ in calls), fresh.inputs)
    return replace(fresh, inputs=inputs)


def _finding(path: str, block: slice, size: int, file: str, line: int) -> Finding:
    width = block.stop - block.start
    return Finding(
        f"features {block.start} to {block.stop - 1} of the {size} of {path} never reach the output: "
        f"part {block.start // width + 1} of {size // width}",
        where=path,
        file=file,
        line=line,
        fix="use that part of what the layer gives, or make the layer smaller",
        numbers={"features": width, "of": size},
    )


@unused_features.bad("features 12 to 17 of the 24 of gates never reach the output: part 3 of 4")
class UsesAGateTwice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gates = nn.Linear(6, 24)

    def forward(self, x: Tensor) -> Tensor:
        i, f, g, o = self.gates(x).chunk(4, dim=-1)
        i, f, g, o = i.sigmoid(), f.sigmoid(), f.tanh(), o.sigmoid()
        return o * (f * x + i * g).tanh()


@unused_features.bad("of the 12 of modulation never reach the output: part 2 of 2")
class ForgetsToShift(nn.Module):
    """Scale and shift by a condition, in which the scale is used for both."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.modulation = nn.LayerNorm(6), nn.Linear(6, 12)

    def forward(self, x: Tensor) -> Tensor:
        scale, _shift = self.modulation(x.relu()).chunk(2, dim=-1)
        return self.norm(x) * (1 + scale) + scale


@unused_features.bad("features 6 to 11 of the 12 of gates never reach the output")
class ForgetsToReset(nn.Module):
    """A recurrent cell whose reset gate is drawn and not applied."""

    def __init__(self) -> None:
        super().__init__()
        self.gates, self.candidate = nn.Linear(12, 12), nn.Linear(12, 6)

    def forward(self, x: Tensor, h: Tensor | None = None) -> Tensor:
        before = torch.zeros_like(x) if h is None else h
        z, _reset = self.gates(torch.cat([x, before], -1)).sigmoid().chunk(2, dim=-1)
        new: Tensor = self.candidate(torch.cat([x, before], -1)).tanh()
        return (1 - z) * before + z * new


@unused_features.good
class ResetsWhatItRemembers(nn.Module):
    """Without a state its reset gate meets zeros; what it gives is its state, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.gates, self.candidate = nn.Linear(12, 12), nn.Linear(12, 6)

    def forward(self, x: Tensor, h: Tensor | None = None) -> Tensor:
        before = torch.zeros_like(x) if h is None else h
        z, r = self.gates(torch.cat([x, before], -1)).sigmoid().chunk(2, dim=-1)
        new: Tensor = self.candidate(torch.cat([x, r * before], -1)).tanh()
        return (1 - z) * before + z * new


@unused_features.good(inputs=lambda: torch.randn(4, 1, 6))
class RemembersOverSteps(nn.Module):
    """In a loop of one step its forget gate meets a memory of zeros."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.width, self.gates = width, nn.Linear(2 * width, 4 * width)

    def forward(self, x: Tensor) -> Tensor:
        h = c = x.new_zeros(x.shape[0], self.width)
        for step in x.unbind(1):
            i, f, o, g = self.gates(torch.cat([step, h], -1)).chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        return h


@unused_features.good
class UsesEveryPart(nn.Module):
    """One part goes through a gate that is closed at first, and one counts in training only."""

    def __init__(self) -> None:
        super().__init__()
        self.parts, self.gate = nn.Linear(6, 18), nn.Parameter(torch.zeros(6))

    def forward(self, x: Tensor) -> Tensor:
        mean, spread, more = self.parts(x).chunk(3, dim=-1)
        if self.training:
            mean = mean + spread.sigmoid() * torch.randn_like(mean)
        return mean + self.gate * more


@unused_features.good
class ForgetsNothingAtFirst(nn.Module):
    """Without a state before there is nothing to forget: that gate counts in the next call."""

    def __init__(self) -> None:
        super().__init__()
        self.gates, self.again = nn.Linear(6, 18), nn.Linear(6, 6)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        before = x.new_zeros(x.shape[0], 6) if state is None else state
        i, f, o = self.gates(x + self.again(before)).chunk(3, dim=-1)
        after = f.sigmoid() * before + i.tanh()
        return o.sigmoid() * after, after


@unused_features.good
class AttendsToOneKey(nn.Module):
    """Of a single key the score is no matter: longer inputs would show that it counts."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.both = nn.Linear(6, 6), nn.Linear(6, 12)

    def forward(self, x: Tensor) -> Tensor:
        key, value = self.both(x).unsqueeze(1).chunk(2, dim=-1)
        return (self.query(x).unsqueeze(1) @ key.mT).softmax(-1).matmul(value).squeeze(1)


@unused_features.good
class ChoosesByScore(nn.Module):
    """Scores that only choose get no gradient, and matter all the same."""

    def __init__(self) -> None:
        super().__init__()
        self.both = nn.Linear(6, 12)

    def forward(self, x: Tensor) -> Tensor:
        values, scores = self.both(x).chunk(2, dim=-1)
        return values.gather(-1, scores.topk(3, dim=-1).indices)
