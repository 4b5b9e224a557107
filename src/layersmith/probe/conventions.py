"""What a mask argument means by True, as its name or the documentation says: it hides, or it keeps."""

from __future__ import annotations

import ast
import functools
import linecache
import re
from dataclasses import dataclass

from layersmith.probe import source

HIDING = (
    r"pad\w*|ignor\w*|hid(?:e|es|den)|exclud\w*|mask(?:s|ed)(?: out)?|block\w*|invalid|disallow\w*|drop\w*|"
    r"forbid\w*|prevent\w*"
)
KEEPING = (
    r"valid|keeps?|kept|real|attend\w*|visible|allow\w*|use[ds]?|present|observed|include\w*|participat\w*|"
    r"takes? part"
)
NOT = re.compile(r"\b(?:not|non|no|never|cannot|without|un)\b|n't", re.IGNORECASE)
TRUE = r"(?:\bTrue\b|\b1s?\b|\bones?\b|\b1\.0\b|\bnonzero\b)"
FALSE = r"(?:\bFalse\b|\b0s?\b|\bzeros?\b|\b0\.0\b)"
SAYS = re.compile(
    rf"(?:{TRUE}|(?P<false>{FALSE}))(?P<between>(?:(?!{TRUE}|{FALSE})[^.;,\n]){{0,50}}?)\b(?P<word>{HIDING}|{KEEPING})\b",
    re.IGNORECASE,
)
HIDES = re.compile(rf"^(?:{HIDING})$", re.IGNORECASE)
BY_NAME = {
    "key_padding_mask": "hides",
    "src_key_padding_mask": "hides",
    "tgt_key_padding_mask": "hides",
    "valid_mask": "keeps",
    "keep_mask": "keeps",
    "valid": "keeps",
    "is_valid": "keeps",
    "is_pad": "hides",
    "is_padding": "hides",
}


@dataclass(frozen=True, slots=True)
class Stated:
    """One convention and who says so."""

    convention: str  # "hides" or "keeps": what True does
    why: str


@functools.lru_cache(maxsize=512)
def stated(cls: type, argument: str) -> Stated | None:
    """The convention of one argument of forward; None where nothing is stated, or two things are."""
    said = {_means(match) for line in _lines(cls, argument) for match in SAYS.finditer(line)}
    if len(said) > 1:
        return None
    if said:
        return Stated(said.pop(), "the documentation says so")
    if argument.endswith(("lens", "lengths", "len")):
        return Stated("keeps", "the first steps are the valid ones")
    known = BY_NAME.get(argument)
    return (
        Stated(known, "its name says so, as in torch" if "key_padding" in argument else "its name says so")
        if known
        else None
    )


def _means(match: re.Match[str]) -> str:
    hides = bool(HIDES.match(match["word"])) != bool(NOT.search(match["between"]))
    return "hides" if hides != bool(match["false"]) else "keeps"  # what is said of False, True does not


def _lines(cls: type, argument: str) -> list[str]:
    """What docstrings and comments of a class say of an argument, each statement as one line."""
    file = source.file_of(cls)
    node = source.class_node(cls)
    if node is None:
        return []
    methods = [
        child
        for child in node.body
        if isinstance(child, ast.FunctionDef) and child.name in ("forward", "__init__")
    ]
    docs = [ast.get_docstring(node) or "", *(ast.get_docstring(one) or "" for one in methods)]
    comments = [
        text.partition("#")[2]
        for number in range(node.lineno, (node.end_lineno or 0) + 1)
        if "#" in (text := linecache.getline(file, number))
    ]
    return [line for doc in docs for line in _statements(doc, argument)] + [
        line for line in comments if re.search(rf"\b{argument}\b", line)
    ]


def _statements(doc: str, argument: str) -> list[str]:
    """The lines that name the argument, each with the deeper-indented ones that continue it."""
    lines, found = doc.splitlines(), []
    for index, line in enumerate(lines):
        if not re.search(rf"\b{argument}\b", line):
            continue
        indent = len(line) - len(line.lstrip())
        more = []
        for later in lines[index + 1 :]:
            if not later.strip() or len(later) - len(later.lstrip()) <= indent:
                break
            more.append(later.strip())
        found.append(" ".join([line.strip(), *more]))
    return found
