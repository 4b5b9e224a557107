"""What a class's docstring states of it in plain words: promises, as the rules of the group `promises` ask them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from layersmith.load.call.stated import documented_axes
from layersmith.probe import batch, source
from layersmith.promises import Stated

_NUMBER = r"-?\d+(?:\.\d+)?"
_SHIFTS = r"(?:circular|cyclic|periodic)"
_SENTENCES: dict[str, str] = {  # rule -> the words that promise what it asks
    "odd": r"\bodd (?:function|map|activation)\b|(\w+)\(-(\w+)\) ?==? ?-\1\(\2\)",
    "even": r"\beven (?:function|map|activation)\b|(\w+)\(-(\w+)\) ?==? ?\1\(\2\)",
    "idempotent": r"\bidempotent\b",
    "linear": r"\blinear (?:in|function of) (?:the|its) input\b",
    "affine": r"\baffine (?:in|function of) (?:the|its) input\b",
    "homogeneous": r"\bpositive(?:ly)?[- ]homogen(?:e)?ous\b(?! of)|(\w+)\((\w) ?\*? ?x\) ?==? ?\2 ?\*? ?\1\(x\)",
    "monotone": r"\bmonoton\w*\b[^.;]* in (?:every|each|all|its|the) (?:input|feature|argument|coordinate)s?\b"
    r"|\bmonoton\w* (?:non-?)?(?:in|de)creasing (?:function|map|activation|network)\b"
    r"|\bnever (?:in|de)creases? (?:when|as|if) (?:an?|any|the|its|one) \w+ (?:goes up|rises|increases|grows)\b",
    "norm_preserving": r"\bnorm[- ]preserving\b"
    r"|\bpreserv(?:es?|ing) (?:the |its |their )?(?:euclidean |l2[ -])?norms?\b",
    "lipschitz": rf"\b({_NUMBER})[- ]Lipschitz\b|\bLipschitz (?:constant|bound)(?: of| is| at most| <=)* ({_NUMBER})\b",
    "permutation_invariant": r"\bpermutation[- ]invariant\b(?! (?:training|loss|function|communication))"
    r"|\b(?:invariant (?:to|under) (?:the )?(?:order|permutation)|order[- ](?:invariant|independent)\b)"
    r"|\border of (?:the|its) \w+ (?:does not|doesn't) matter\b",
    "permutation_equivariant": r"\bpermutation[- ]equivariant\b|\bequivariant (?:to|under) (?:the )?permutations?\b",
    "equivariant": rf"\bequivariant (?:to|under) {_SHIFTS} (?:shifts?|translations?)\b"
    rf"|\b{_SHIFTS}[- ]shift[- ]equivariant\b",
    "rotation_equivariant": r"\bS?[EO]\((?:n|d|2|3)\)[- ](?:equi|in)variant\b"
    r"|\brotation(?:al|ally)?[- ](?:equi|in)variant\b"
    r"|\b(?:equi|in)variant (?:to|under) [^.;:()]{0,30}\brotations?\b",
    "range": r"\b(?:outputs?|results?|returns?|actions?|(?:the|a) (?:scores?|similarity|probabilit(?:y|ies)))\b"
    r"(?:[^.;()\[\]]|\([A-Za-z_, ]*\)){0,30}"
    rf"\b(?:in|within|between|lies?)\b[^.;()\d]{{0,24}}[(\[]({_NUMBER}), ?({_NUMBER})[)\]]",
}
# What a sentence says of something else, or not for certain.
_HEDGE = re.compile(
    r"\b(?:not|no|nor|without|unless|except|approximat\w+|almost|roughly|nearly|if|when|unlike|instead|should|must|can|may"
    r"|encourag\w+|enforc\w+|penal\w+|regulari\w+|optional\w*|partial\w*|break\w*|et al|paper|inputs? (?:in|are)|expects?"
    r"|target|labels?|before|local\w*)\b|n't\b|https?:",
    re.IGNORECASE,
)
_OF_A_PART = re.compile(
    r"\b(?:with|us(?:es?|ing)|via|appl(?:y|ies|ying)|follow\w*|then|through|by|based|inspired|from|plus|of|where|denot\w+)\b",
    re.IGNORECASE,
)
_NO_HEDGE = re.compile(
    r"\bnon-?(?=decreasing|increasing)|\b(?:does not|doesn't) matter|\bnever (?:in|de)creases? (?:when|as|if)\b",
    re.IGNORECASE,
)
_SOURCE = re.compile(r"\([^()]*\bet al\b[^()]*\)")  # whose idea it is
_TITLE = re.compile(r"[- ](?:Invariant|Equivariant|Function|Preserving)")
_SECTION = re.compile(r"^\s*(?:Args|Arguments|Parameters|Inputs?|Shapes?|Examples?)\b\s*:?\s*$", re.MULTILINE)
_DOMAIN = re.compile(  # inputs that are not just any numbers
    r"\binputs?\b[^.]{0,60}(?:non-?negative|\bpositive|\bin [\[(]|\bbetween|>=? ?0|\bprobabilit|\bunit|normali[sz]ed)",
    re.IGNORECASE,
)
_MEMBERS = re.compile(
    r"(?:n|m|k|s|set|points?|elements?|items?|nodes?|instances?|objects?|particles?|atoms?|agents?|members?|tokens?)"
    r"|count|(?:n|num)_(?!(?:in|out|dims?|channels?|feat\w*|hidden)$)\w+",
    re.IGNORECASE,
)
_REDUCED = re.compile(
    r"\.(?:mean|sum|max|amax|logsumexp)\(\s*(?:\w+\s*,\s*)?(?:(?:dim|axis)\s*=\s*)?(-?\d)\b"
)
_SOME_ROTATIONS = re.compile(
    r"\b(?:about|around|yaw|azimuth\w*|ax[ei]s|degrees?|discrete|planar|in-plane|augment\w*|learn\w*)\b",
    re.IGNORECASE,
)
_COORDINATES = re.compile(r"(?:\w+_)?(?:pos|positions?|coords?|coors|coordinates|xyz)|points?")
_X_IS = re.compile(r"\bx\b[^.\n]{0,60}\b(?:coordinates|positions|points)\b", re.IGNORECASE)
SHOWN = 90  # characters of a sentence


def stated(cls: type) -> dict[str, Stated]:
    """The promises that docstrings of the class make, by their rules' names; none that is hedged or of a part."""
    found: dict[str, Stated] = {}
    for sentence in _sentences(cls):
        for name, words in _SENTENCES.items():
            match = re.search(words, sentence, re.IGNORECASE)
            if match is None or name in found or _is_hedged(sentence, match):
                continue
            value = _value(cls, name, match)
            if value is not None:
                found[name] = Stated(*value, sentence[:SHOWN])
    return found


def _sentences(cls: type) -> Iterator[str]:
    texts = [vars(cls).get("__doc__") or "", getattr(vars(cls).get("forward"), "__doc__", None) or ""]
    for text in texts if not any(map(_DOMAIN.search, texts)) else ():
        said = _SECTION.split(text, maxsplit=1)[0]
        yield from (" ".join(part.split()) for part in re.split(r"(?<=[.!?;])\s+|\n\s*\n", said))


def _is_hedged(sentence: str, match: re.Match[str]) -> bool:
    plain = _NO_HEDGE.sub("", _SOURCE.sub("", sentence))
    is_title = bool(_TITLE.search(sentence[match.start() + 1 : match.end()]))  # that of a paper
    return is_title or bool(_HEDGE.search(plain) or _OF_A_PART.search(sentence[: match.start()]))


def _value(cls: type, name: str, match: re.Match[str]) -> tuple[Any, str] | None:
    """What a contract would say, and as source; None where the words leave it open."""
    if name == "equivariant":
        return (_rolled, _rolled), "(lambda x: x.roll(1, -1),) * 2"
    value: Any = True
    if name.startswith("permutation"):
        value = _axis(cls)
    elif name == "rotation_equivariant":
        value = None if _SOME_ROTATIONS.search(match.string) else _coordinates(cls)
    elif name == "monotone":
        is_falling = re.search(r"(?<!non-)(?<!non)decreasing|non-?increasing|never increases", match.string)
        value = "decreasing" if is_falling else "increasing"
    elif name == "homogeneous":
        value = 1.0
    elif name == "lipschitz":  # spectral_norm's few steps of iteration come near its bound only
        value = None if "spectral_norm" in source.text_of(cls) else float(match[1] or match[2])
    elif name == "range":
        low, high = float(match[1]), float(match[2])
        value = (low, high) if low < high else None
    return None if value is None else (value, repr(value))


def _axis(cls: type) -> int | None:
    """The axis of a set's members: by its documented name, by the names a shape is unpacked into, by what is reduced."""
    forward = source.function_node(source.forward(cls))
    parameter = forward.args.args[1].arg if forward is not None and len(forward.args.args) > 1 else ""
    for names in (documented_axes(cls, parameter, is_only=True), batch.shape_names(cls)):
        axes = [index for index, name in enumerate(names) if index and _MEMBERS.fullmatch(name)]
        if axes:
            return axes[0]
    reduced = {*map(int, _REDUCED.findall(source.text_of(cls)))}
    return reduced.pop() if len(reduced) == 1 else None


def _coordinates(cls: type) -> str | None:
    """The one argument of forward that holds coordinates by its name; `x` where a docstring says that it does."""
    forward = source.function_node(source.forward(cls))
    names = [one.arg for one in (*forward.args.args, *forward.args.kwonlyargs)] if forward is not None else []
    found = [name for name in names if _COORDINATES.fullmatch(name)]
    said = "\n".join(text.__doc__ or "" for text in (cls, source.forward(cls)))
    found = found or [name for name in names if name == "x" and _X_IS.search(said)]
    return found[0] if len(found) == 1 else None


def _rolled(x: Tensor) -> Tensor:
    return x.roll(1, dims=-1)
