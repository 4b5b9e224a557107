"""A module that promises to be rotation-equivariant must turn its outputs with its coordinates, or keep them.

## Why it matters
The energy of a molecule, or the forces in it, must not depend on how it is laid into the frame. A square of each
coordinate instead of that of the distance, or a limit put on each coordinate, learns the frame of the training set.

## How it is tested
The coordinates, an argument of forward whose last axis is 2 or 3, are turned by a random rotation, as they are and
larger. Every output must stay, or turn along its axis of as many numbers. Where a docstring says so in words, other
inputs must be said to be invariant; of the outputs, those of the coordinates' shape are asked, and those without such an
axis, if anything is said to be invariant.

## How to fix it
Let coordinates enter by distances and products alone, and leave as sums of differences, each times one number.

## How to reproduce it
    from inspect import signature; from torch.utils._pytree import tree_leaves
    names = [*signature(module.forward).parameters]
    place = names.index(type(module).layersmith_contract.declared["rotation_equivariant"])
    module, turn = module.eval(), torch.linalg.qr(torch.randn(2 * args[place].shape[-1:]))[0]
    turn[:, 0] *= turn.det()
    calls = [[4 * x @ by if i == place else x for i, x in enumerate(args)] for by in (torch.eye(len(turn)), turn)]
    for one, other in zip(*(tree_leaves(module(*call)) for call in calls)):
        aims = [one, one @ turn] if one.shape[-1] == len(turn) else [one]
        assert any(torch.allclose(aim, other, rtol=1e-3, atol=1e-3) for aim in aims), "an output neither stays nor turns"
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import closeness, declared, masks, source, tree
from layersmith.probe.masking import with_argument
from layersmith.promises import Promise, contract
from layersmith.rule import NotApplicable, promised, rule
from layersmith.subject import Case

SPACES = (2, 3)
SIZES = (1.0, 4.0, 10.0)
INVARIANT = re.compile(r"\binvariant|\bscalar", re.IGNORECASE)


def read(value: object) -> str:
    """What the contract may say: the argument of forward, `rotation_equivariant="pos"`."""
    return declared.argument("rotation_equivariant", value)


@rule(
    severity=Severity.ERROR,
    since="0.1",
    promise=Promise.DECLARED,
    after=("forward-raises", "nondeterministic-eval"),
)
def rotation_equivariant(case: Case) -> Iterator[Finding]:
    """Turn the coordinates, and compare every output."""
    name = read(promised(case, "rotation_equivariant", is_of_one=False))
    given = [*inspect.signature(case.module.forward).parameters]
    x = masks.given(case.module, case.inputs, name) if name in given else None
    if not isinstance(x, Tensor) or not x.is_floating_point() or x.shape[-1] not in SPACES:
        raise NotApplicable(f"{name} is no tensor of coordinates")
    if (is_stated := "rotation_equivariant" in case.subject.contract.stated) and not _may_stay(case, x):
        raise NotApplicable("nothing says whether its other inputs turn")
    turn = _rotation(x.shape[-1])
    for size in SIZES:
        calls = (
            with_argument((*given,), case.inputs, name, one) for one in (size * x, size * x @ turn.to(x))
        )
        plain, turned = (dict(tree.named_tensors(case.run(call), name="output")) for call in calls)
        for path in plain if plain.keys() == turned.keys() else ():
            gap = _gap(plain[path], turned[path], turn)
            is_asked = not is_stated or plain[path].shape == x.shape or _is_invariant(case, plain[path], x)
            if is_asked and gap.is_open and bool(plain[path].isfinite().all()):
                yield _finding(case, name, path, gap)
                return


def _may_stay(case: Case, x: Tensor) -> bool:
    """Whether nothing else turns with the coordinates: all other numbers are said to be invariant."""
    floats = [one for one in case.inputs.tensors() if one.is_floating_point() and one is not x]
    return all(_is_invariant(case, one, x) for one in floats)


def _is_invariant(case: Case, one: Tensor, x: Tensor) -> bool:
    """Whether a tensor has no axis of as many numbers, where a docstring says that something is invariant."""
    said = (type(case.module).__doc__, case.module.forward.__doc__)
    return x.shape[-1] not in one.shape[1:] and any(INVARIANT.search(text or "") for text in said)


def _rotation(size: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    found: Tensor = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))[0]
    found[:, 0] *= found.det().sign()
    return found


def _gap(plain: Tensor, turned: Tensor, turn: Tensor) -> closeness.Gap:
    """How far an output is from staying and from turning, whichever is nearer; several such axes may all turn."""
    axes = [axis for axis, size in enumerate(plain.shape) if size == len(turn)]
    if not plain.is_floating_point() or len(axes) > 1:
        return closeness.gap(plain, plain)
    aimed = [plain, *((plain.movedim(axis, -1) @ turn.to(plain)).movedim(-1, axis) for axis in axes)]
    return min((closeness.gap(one, turned) for one in aimed), key=lambda gap: gap.max_abs)


def _finding(case: Case, name: str, path: str, gap: closeness.Gap) -> Finding:
    cls: type = type(case.module)
    return Finding(
        f"{cls.__name__} is not rotation-equivariant: when {name} is turned, {path} neither stays nor turns with it, by "
        f"{gap.max_abs:.2g}, limit {gap.limit:.2g}",
        path,
        *source.class_line(cls),
        fix="let coordinates enter by distances and products alone, and leave as differences times one number each",
        numbers={"max_abs": gap.max_abs, "limit": gap.limit},
    )


def _atoms() -> tuple[Tensor, Tensor]:
    return torch.randn(2, 5, 6), torch.randn(2, 5, 3)


class Messages(nn.Module):
    """Moves atoms by what they say to each other."""

    def __init__(self) -> None:
        super().__init__()
        self.edge = nn.Linear(13, 6)
        self.move = nn.Linear(6, 1, bias=False)

    def squares(self, between: Tensor) -> Tensor:
        return between.square().sum(-1, keepdim=True)

    def step(self, moves: Tensor) -> Tensor:
        return moves

    def forward(self, h: Tensor, pos: Tensor) -> tuple[Tensor, Tensor]:
        between = pos.unsqueeze(2) - pos.unsqueeze(1)
        pairs = torch.broadcast_tensors(h.unsqueeze(2), h.unsqueeze(1))
        said = self.edge(torch.cat([*pairs, self.squares(between)], -1)).tanh()
        return h + said.mean(2), pos + self.step((between * self.move(said)).mean(2))


@rotation_equivariant.bad("output[0] neither stays nor turns", inputs=_atoms)
@contract(rotation_equivariant="pos")
class KnowsTheHeight(Messages):
    def squares(self, between: Tensor) -> Tensor:
        return between[..., 2:].square()


@rotation_equivariant.bad("output[1] neither stays nor turns", inputs=_atoms)
@contract(rotation_equivariant="pos")
class LimitsEachCoordinate(Messages):
    def step(self, moves: Tensor) -> Tensor:
        return moves.clamp(-0.05, 0.05)


@rotation_equivariant.good(inputs=_atoms)
@contract(rotation_equivariant="pos")
class LimitsTheStep(Messages):
    def step(self, moves: Tensor) -> Tensor:
        size = moves.square().sum(-1, keepdim=True).add(1e-12).sqrt()
        return moves * (0.05 / size.clamp_min(0.05))


@rotation_equivariant.good(inputs=_atoms)
@contract(rotation_equivariant="pos")
class AsksDistances(nn.Module):
    """The energy stays."""

    def __init__(self) -> None:
        super().__init__()
        self.charge = nn.Linear(6, 1)

    def forward(self, h: Tensor, pos: Tensor) -> Tensor:
        between = (pos.unsqueeze(2) - pos.unsqueeze(1)).square().sum(-1)
        charge = self.charge(h)
        return (charge * charge.mT / (1 + between)).sum((1, 2))
