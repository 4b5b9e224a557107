"""Weights that are tied must stay tied when the module is copied, converted, saved and loaded.

## Why it matters
A tie made with `.data =` shares memory and nothing else: `.half()`, `.to(device)` and `deepcopy` give each
its own memory, without a word, and from then on the two drift apart. The optimiser, too, sees two
parameters with half a gradient each.

## How it is tested
Parameters that are one object, or lie in the same memory, are noted. After `copy.deepcopy`, `.double()` and
`pickle`, the same ones must be tied. Where nothing is tied, an argument named so (`tie_weights=True`) must do something:
built with it and without, and given the same weights, the module is another one. And where the class speaks of tied
weights, no layer may start with a copy of the random weights of a layer of another kind. What the constructor assigns to
another's parameter, on every path, must still be that when it is done.

## How to fix it
Tie the parameter, not its data: `self.decoder.weight = self.encoder.weight`; tie anew in `__setstate__` and
after whatever replaces a parameter.

## How to reproduce it
    import copy
    pointers = lambda m: [p.data_ptr() for p in m.parameters()]
    tied = len(set(pointers(module))) < len(pointers(module))
    twin = copy.deepcopy(module).double()
    assert not tied or len(set(pointers(twin))) < len(pointers(twin)), "a copy, or another dtype, parts what was tied"
"""

from __future__ import annotations

import contextlib
import copy
import pickle
import re
from collections import Counter
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import closeness, options, reading, source, ties
from layersmith.probe.modes import in_mode
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case, Construction

WHAT = r"_?(?:weights?|embed\w*|word_embed\w*|output\w*|params?)"
FLAG = re.compile(rf"^(?:(?:tie|tied)(?:{WHAT})?|share{WHAT})$")  # what a bare `share` is of, nobody knows
WAYS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "copy.deepcopy": copy.deepcopy,
    "pickle": lambda module: pickle.loads(pickle.dumps(module)),  # noqa: S301 - made a moment ago
    ".double()": nn.Module.double,  # last: it changes the module itself
}


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.STATE_ROUND_TRIP, after=())
def tied_weights_broken(case: Case) -> Iterator[Finding]:
    """Note the ties of a module as it was built; look for them again after each way."""
    module = case.subject.construction.build() if case.subject.construction else case.module
    cls: type = type(module)
    known = ties.tied(module)
    for one, other, line in ties.overwritten(module):
        message = f"{other} is tied to {one}, and another parameter takes its place in one of them later: they are two"
        fix = "tie them at the end of the constructor"
        yield Finding(message, other, source.file_of(cls), line, fix)
        return
    if not known:
        yield from _untied(case)
        return
    for way, change in WAYS.items():
        with contextlib.suppress(Exception):  # that it cannot be copied or pickled is another rule's business
            broken = sorted(known - ties.tied(change(module)))
            for one, other in broken[:1]:
                yield _finding(module, one, other, way)
                return


def _untied(case: Case) -> Iterator[Finding]:
    """The flag that promises a tie, and makes none."""
    construction = case.subject.construction
    names = options.names(construction.cls) if construction is not None else []
    flags = [name for name in names if FLAG.search(name)]
    for name in flags:
        if construction is not None and _is_void(case, construction, name):
            yield Finding(
                f"{name}=True ties nothing: no two parameters are one",
                name,
                *reading.line_anywhere(case.module, r"\.weight(\.data)?\b.*\.weight\b"),
                fix="self.decoder.weight = self.encoder.weight",
                severity=Severity.WARNING,
            )
            return
    if copied := next(ties.copies(case.module), None):
        yield _copied(case.module, *copied)
        return
    raise NotApplicable("no two parameters are tied")


def _copied(module: nn.Module, one: str, other: str) -> Finding:
    return Finding(
        f"{other} starts as a copy of {one}, and is not tied to it: the two are trained apart",
        other,
        *reading.line_anywhere(module, r"\.weight(\.data)?\b.*\.weight\b"),
        fix=f"self.{other} = self.{one}",
        severity=Severity.WARNING,
    )


def _is_void(case: Case, construction: Construction, flag: str) -> bool:
    """Whether the module built with a flag is, with the same weights, the one built without it."""
    if not isinstance(options.current(construction.cls, construction.arguments, flag), bool):
        return False
    shapes = Counter(one.shape for one in case.module.parameters())
    if not any(count > 1 for count in shapes.values()):
        return False  # no two could be one: the flag speaks of something else, such as masks
    with contextlib.suppress(Exception):
        one, other = (in_mode(construction.build(**{flag: value}), training=False) for value in (True, False))
        if [*dict(one.named_parameters())] != [*dict(other.named_parameters())]:
            return False  # also where the one has a tie, which is counted once
        other.load_state_dict(one.state_dict())
        return not closeness.gaps(case.inputs.call(one), case.inputs.call(other))
    return False


def _finding(module: nn.Module, one: str, other: str, way: str) -> Finding:
    parameters = dict(module.named_parameters(remove_duplicate=False))
    is_memory = parameters[one] is not parameters[other]
    holder, _, attribute = other.rpartition(".")
    why = "they share memory only, through .data" if is_memory else "it makes two parameters of one"
    return Finding(
        f"{one} and {other} are tied, but no longer after {way}: {why}",
        other,
        *_place(module, one, other),
        fix=f"self.{holder}.{attribute} = self.{one}" if holder else f"self.{attribute} = self.{one}",
    )


def _place(module: nn.Module, one: str, other: str) -> tuple[str, int]:
    for name in (other, one):
        pattern = rf"{name.rpartition('.')[2]}(\.data)?\s*=(?!=)|__setstate__|__deepcopy__|\.data\s*=(?!=)"
        place = reading.line_anywhere(module, pattern)
        if place != source.class_line(type(module)):
            return place
    return source.class_line(type(module))


@tied_weights_broken.bad("they share memory only", inputs=lambda: torch.randint(9, (4, 6)))
class TiesTheData(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 6)
        self.head = nn.Linear(6, 9, bias=False)
        self.head.weight.data = self.embedding.weight.data

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.embedding(ids))


@tied_weights_broken.bad(
    "head.weight is tied to embedding.weight, and another", inputs=lambda: torch.randint(9, (4, 6))
)
class DrawsAfterTheTie(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 6)
        self.head = nn.Linear(6, 9, bias=False)
        self.head.weight = self.embedding.weight
        self.embedding.weight = nn.Parameter(0.02 * torch.randn(9, 6))

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.embedding(ids))


@tied_weights_broken.bad("no longer after copy.deepcopy")
class CopiesItselfWithoutItsTie(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = nn.Linear(6, 6), nn.Linear(6, 6)
        self.decode.weight = self.encode.weight

    def __deepcopy__(self, memo: object) -> CopiesItselfWithoutItsTie:
        other = type(self)()
        other.decode.weight = nn.Parameter(other.encode.weight.detach().clone())
        other.load_state_dict(self.state_dict())
        return other

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x).relu())


@tied_weights_broken.bad("tie_weights=True ties nothing", inputs=lambda: torch.randint(9, (4, 6)))
class CopiesOnce(nn.Module):
    def __init__(self, words: int = 9, width: int = 8, *, tie_weights: bool = True) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.head = nn.Linear(width, words)
        nn.init.normal_(self.embedding.weight, std=0.02)
        if tie_weights:
            self.head.weight.data.copy_(self.embedding.weight.data)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.embedding(tokens))


@tied_weights_broken.bad(
    "head.weight starts as a copy of embedding.weight", inputs=lambda: torch.randint(9, (4, 6))
)
class TiesAClone(nn.Module):
    def __init__(self, words: int = 9, width: int = 8) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.head = nn.Linear(width, words)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.tie_weights()

    def tie_weights(self) -> None:
        self.head.weight = nn.Parameter(self.embedding.weight.detach().clone())

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.embedding(tokens))


@tied_weights_broken.good(inputs=lambda: torch.randint(9, (4, 6)))
class StartsAsItsCodes(nn.Module):
    """The head starts where the codes are, and goes its own way: they are not tied."""

    def __init__(self, words: int = 9, width: int = 8) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.head = nn.Linear(width, words)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.head.weight.data.copy_(self.embedding.weight.data)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.embedding(tokens))


@tied_weights_broken.good(inputs=lambda: torch.randint(9, (4, 6)))
class TiesInForward(nn.Module):
    def __init__(self, words: int = 9, width: int = 8, *, tie_weights: bool = True) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.head = None if tie_weights else nn.Linear(width, words)
        nn.init.normal_(self.embedding.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.embedding(tokens)
        return hidden @ self.embedding.weight.T if self.head is None else self.head(hidden)


@tied_weights_broken.good(inputs=lambda: torch.randn(4, 6, 5))
class TiesItsMask(nn.Module):
    """The flag is of a dropout's mask, one for all steps."""

    def __init__(self, rate: float = 0.1, *, tie: bool = True) -> None:
        super().__init__()
        self.rate, self.tie = rate, tie

    def forward(self, x: Tensor) -> Tensor:
        shape = (*x.shape[:2], 1) if self.tie else x.shape
        return x * nn.functional.dropout(x.new_ones(shape), self.rate, self.training)


@tied_weights_broken.good(inputs=lambda: torch.randint(9, (4, 6)))
class TiesTheParameter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 6)
        self.head = nn.Linear(6, 9, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.embedding(ids))
