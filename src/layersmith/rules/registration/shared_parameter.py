"""Layers that are listed apart must not be one and the same object by accident.

## Why it matters
`nn.ModuleList([Block()] * 6)` is one block six times: a model with a sixth of the parameters, that trains and looks
right. `nn.ModuleList([layer for _ in range(6)])` is the same mistake.

## How it is tested
Members of one container that hold exactly the same parameters are reported, and so are two attributes of one class that
were given one object in one statement, whose names differ by a number alone (`norm1`, `norm2`), or of which one is the
other's `copy.copy`; a normalisation that three or more members of one container hold, each with layers of its own
besides; and a module with parameters that is the default of an argument: all instances train it. Sharing that is meant is
left alone: a head tied to an embedding, one layer called in a loop, and whatever a class speaks of as shared, tied or
recurrent.

## How to fix it
`nn.ModuleList([Block() for _ in range(6)])`, or `copy.deepcopy(layer)` for each. Where it is meant, call one layer in
a loop.

## How to reproduce it
    named = list(module.named_modules(remove_duplicate=False))
    twice = [name for name, part in named if [*part.parameters()] and sum(other is part for _, other in named) > 1]
    assert not twice, f"{twice} are one and the same"
"""

from __future__ import annotations

import copy
import linecache
import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import shared, source, wording
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case

MEANT = re.compile(
    r"shar(?:e|ing)|\bti(?:e|ed|es)\b|tying|recurren|recycl|universal|albert|siamese", re.IGNORECASE
)
CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.Sequential, nn.ParameterList, nn.ParameterDict)


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.REGISTERED)
def shared_parameter(case: Case) -> Iterator[Finding]:
    """Compare the members of every container, and the attributes of every class, by their parameters."""
    for path, part in case.module.named_modules():
        holder, attribute = source.owner(case.module, path)
        own = type(part) if not isinstance(part, CONTAINERS) else type(holder)
        if source.is_torchs(own.__module__) or _is_meant(own):
            continue
        for names in shared.members(part):
            where = [f"{path}.{name}" if path else name for name in names]
            if isinstance(part, CONTAINERS):
                yield _finding(part, names, where, source.attribute_line(own, attribute))
            elif _is_one_statement(own, names) or _are_numbered(own, names):
                yield _finding(part, names, where, source.attribute_line(own, names[0]))
        for names in shared.shallow_copies(part):
            where = [f"{path}.{name}" if path else name for name in names]
            yield _finding(part, names, where, source.attribute_line(own, names[-1]))
        if isinstance(part, nn.ModuleList | nn.Sequential) and (names := shared.norm(part)):
            where = [f"{path}.{name}" for name in names]
            yield _finding(part, names, where, source.attribute_line(own, attribute))
    cls, built = type(case.module), case.subject.construction
    if built is not None and not _is_meant(cls):
        for name, default in shared.defaults(case.module, built.arguments):
            yield _default(cls, name, default)


def _default(cls: type, name: str, default: nn.Module) -> Finding:
    kind = type(default).__name__
    return Finding(
        f"{name}={kind}() is made once, with the class: all {cls.__name__} built without {name} train it",
        where=name,
        file=source.file_of(cls),
        line=source.member_line(cls, "__init__")[1],
        fix=f"{name}=None, and {kind}() in the constructor",
    )


def _is_one_statement(cls: type, names: list[str]) -> bool:
    """Whether `self.a = self.b = ...` set them, and forward uses both by name."""
    lines = {source.attribute_line(cls, name) for name in names}
    return len(lines) == 1 and all(source.methods_naming(cls, name) - {"__init__"} for name in names)


def _are_numbered(cls: type, names: list[str]) -> bool:
    """Whether the names differ by a number alone, as `norm1` and `norm2`, and forward uses each."""
    stems = {re.sub(r"\d+", "", name) for name in names}
    are_counted = len(stems) == 1 and all(re.search(r"\d", name) for name in names)
    return are_counted and all(source.methods_naming(cls, name) - {"__init__"} for name in names)


def _is_meant(cls: type) -> bool:
    """Whether the class speaks of sharing."""
    node = source.class_node(cls)
    lines = (
        linecache.getlines(source.file_of(cls))[node.lineno - 1 : node.end_lineno] if node is not None else []
    )
    return bool(MEANT.search("".join(lines)))


def _finding(part: nn.Module, names: list[str], where: list[str], place: tuple[str, int]) -> Finding:
    parameter = part._parameters.get(names[0])  # noqa: SLF001 - get_parameter would raise
    held = part.get_submodule(names[0]) if parameter is None else parameter
    tensors = [*held.parameters()] if isinstance(held, nn.Module) else [held]
    count = sum(tensor.numel() for tensor in tensors if tensor is not None)
    saved = f"{count} parameters instead of {count * len(names)}"
    return Finding(
        f"{wording.listed(where)} are one and the same {type(held).__name__}: {saved}",
        where=where[1],
        file=place[0],
        line=place[1],
        fix="make each its own: [make() for _ in range(n)] instead of [made] * n; or copy.deepcopy(made)",
        numbers={"parameters": count, "places": len(names)},
    )


@shared_parameter.bad(
    "layers.0, layers.1, layers.2 are one and the same Linear: 42 parameters instead of 126"
)
class OneLayerThreeTimes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(6, 6)] * 3)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x).relu()
        return x


@shared_parameter.bad("key, value are one and the same Linear")
class ChainedAssignment(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.key = self.value = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return (x @ self.key(x).mT).softmax(-1) @ self.value(x)


@shared_parameter.bad("norm1, norm2 are one and the same LayerNorm")
class OneNormUnderTwoNames(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        norm = nn.LayerNorm(6)
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
        self.norm1 = norm
        self.norm2 = norm

    def forward(self, x: Tensor) -> Tensor:
        return self.norm2(self.second(self.norm1(self.first(x)).relu()))


@shared_parameter.bad("gains.0, gains.1 are one and the same Parameter")
class OneGainTwice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gains = nn.ParameterList([nn.Parameter(torch.ones(6))] * 2)

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.gains[0]).relu() * self.gains[1]


@shared_parameter.bad("online, target are one and the same Linear")
class CopiesItsTargetFlat(nn.Module):
    """`copy.copy` of a module holds the very parameters of the original."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.online = nn.Linear(width, width)
        self.target = copy.copy(self.online)

    def forward(self, x: Tensor) -> Tensor:
        return (self.online(x) - self.target(x.flip(-1)).detach()).square()


@shared_parameter.good
class HeadOfTheEmbedding(nn.Module):
    """Two modules, one matrix, on purpose; and activations, which have nothing to share."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 8, bias=False)
        self.outer = nn.Linear(6, 8, bias=False)
        self.outer.weight = self.inner.weight
        self.acts = nn.ModuleList([nn.ReLU()] * 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.inner(x)
        for act in self.acts:
            y = act(y)
        return y + self.outer(x)


class _Block(nn.Module):
    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm, self.linear = norm, nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(self.norm(x))
        return x + y


@shared_parameter.bad("blocks.0.norm, blocks.1.norm, blocks.2.norm are one and the same LayerNorm")
class HandsOneNormToAll(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        norm = nn.LayerNorm(6)
        self.blocks = nn.Sequential(*(_Block(norm) for _ in range(3)))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.blocks(x)
        return y


@shared_parameter.bad(
    "act=PReLU() is made once, with the class: all TrainsOneSlopeForAll built without act train it"
)
class TrainsOneSlopeForAll(nn.Module):
    def __init__(self, act: nn.Module = nn.PReLU()) -> None:  # noqa: B008 - the fault
        super().__init__()
        self.linear, self.act = nn.Linear(6, 6), act

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.linear(x))
        return y


@shared_parameter.good
class ANormForEach(nn.Module):
    """The default of a constructor that holds no parameters may be one for all."""

    def __init__(self, act: nn.Module = nn.ReLU()) -> None:  # noqa: B008 - as above
        super().__init__()
        self.blocks = nn.Sequential(*(_Block(nn.LayerNorm(6)) for _ in range(3)), act)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.blocks(x)
        return y


@shared_parameter.good
class OneLayerInALoop(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(3):
            x = self.layer(x).relu()
        return x
