"""Shapes that the author states: jaxtyping annotations, `(B, C, H, W)` in docstrings and comments."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Mapping
from typing import Any

import torch

from layersmith.load.call.clue import Clue
from layersmith.probe import source

_AXIS = r"[A-Za-z0-9_*/+\- ]{1,25}"
_FIRST = r"\*|[Nn]|[Bb]|bs|bsz|batch[\w ]*|BS|[LT]|(?:seq|src|trg|tgt|num)[\w ]*|[nN]_\w+"
_ROWS = rf"[\(\[]\s*((?:{_FIRST})\s*),\s*[\)\]]"  # one axis, in Python's way: `(batch,)`
_SHAPE = rf"[\(\[]\s*((?:{_FIRST})\s*,\s*{_AXIS}(?:,\s*{_AXIS}){{0,4}})\s*[\)\]]"
_ROW = r"[Bb]|bs|bsz|BS|[Bb]atch(?:[ _]?size)?"
_ONLY_ROWS = rf"[\(\[]\s*({_ROW})\s*[\)\]](?!\s*[x*])"  # `lengths (batch): of each row`
_PRODUCT = r"\b((?:B|N|bs|batch)(?:\s?x\s?[A-Z][a-wyz0-9_]*){1,4})(?!\w)"  # B x C x H x W
_WORDS = r"[\(\[]\s*(\w*[Bb]atch\w*(?:\s+x\s+\w+){1,4})\s*[\)\]]"  # [batch_size x len_q x d_model]
# Between a parameter's name and its shape: `x: of shape (B, C)`, `x (Tensor): input, (B, C)`, and below `x : Tensor`.
_GAP = r"(?:(?:\s*\([^()\n]{0,60}\)\s*:)?[^\n()\[\]]{0,80}|\s*:[^()\[\]\n]{0,60}\n[^\n()\[\]:]{0,80})"
_ITEM = r" *(?:\([^()\n]*\))? *:"  # `x (Tensor):` at the beginning of a line
_BELOW = rf"(?:[^\n]*\n(?![ \t]*(?:\w+{_ITEM}|\n))){{1,5}}?[^\n]*?"  # lines of the same item of a docstring
_NUMBERS = {"one": 1, "two": 2}
_KINDS = r"(?:of |dtype |torch\.)*([Bb]ool(?:ean)?s?|u?int(?:32|64)?s?|long|integers?)"
_OUTPUTS = re.compile(r"(?:[Rr]eturns?\b:?|[Oo]utputs?:|->|\bin,)\s*([^\n]*)")
_SEVERAL = re.compile(r"\b(?:[Ll]ist|[Tt]uple|[Ss]equence)s? of\b|\b(?:[Ll]ist|[Tt]uple|Sequence)\[")
_INTEGER_DTYPES = ("int", "uint")


def integers_said(annotation: Any, clue: Clue) -> int:
    """Of how many whole numbers a tuple is said to be, or is unpacked into: `batch_shape: tuple[int, ...]`."""
    parts = typing.get_args(annotation)
    if typing.get_origin(annotation) is not tuple or any(part not in (int, Ellipsis) for part in parts):
        return 0
    return clue.parts if Ellipsis in parts else len(parts)


def annotated_clue(annotation: Any, sizes: Mapping[str, int]) -> Clue | None:
    """What a jaxtyping annotation says; None for any other annotation.

    Args:
        annotation: such as `Float[Tensor, "*batch in_features"]`.
        sizes: the constructor's arguments: a dimension of the same name has that size.
    """
    text = getattr(annotation, "dim_str", None)
    if not isinstance(text, str):
        return None
    axes = text.split()
    names = [re.sub(r"^[#?_]+", "", axis.split("=")[-1]) for axis in axes]
    variadic = [index for index, name in enumerate(names) if name.startswith("*") or name == "..."]
    dtype = _dtype(annotation)
    known = tuple(_size(name, sizes) for name in names)
    if not variadic:
        return Clue(rank=len(names), sizes=known, names=tuple(names), dtype=dtype)
    if len(names) == 1:  # "*shape": any rank, as elementwise functions take it
        return Clue(dtype=dtype)
    before, after = names[: variadic[0]], names[variadic[0] + 1 :]
    count = 1 if not before else 0  # leading batch dimensions: one of them is what people use
    spread = (*known[: variadic[0]], *([None] * count), *known[variadic[0] + 1 :])
    return Clue(rank=len(before) + count + len(after), sizes=spread, dtype=dtype)


def documented_axes(cls: type, parameter: str, *, is_only: bool = False) -> tuple[str, ...]:
    """The names of a parameter's axes, or their numbers, where docstrings or comments give them behind its own name.

    Args:
        cls: the class.
        parameter: of its forward.
        is_only: there is no other: it may be the first shape that a docstring gives.
    """
    match = re.search(rf"\b{re.escape(parameter)}\b{_GAP}{_SHAPE}", _texts(cls)) if parameter else None
    match = match or (re.search(_SHAPE, _docstrings(cls)) if is_only else None)
    axes = [axis.strip() for axis in match.group(1).split(",")] if match else []
    return tuple(axes) if all(re.fullmatch(r"[A-Za-z]\w*|\d+", axis) for axis in axes) else ()


def documented_least(cls: type) -> dict[str, int]:
    """The least sizes of axes that docstrings promise, by the axis' name: `T >= 1`, "at least one frame"."""
    text = _docstrings(cls)
    found = {name: int(size) for name, size in re.findall(r"\b([A-Za-z]\w*)\s*(?:>=|≥)\s*(\d+)\b", text)}
    for size, name in re.findall(r"\bat least (one|two|\d+) ([a-z_]+)", text):
        least = _NUMBERS.get(size) or int(size)
        found |= {name: least, f"{name}s": least}
    return found


def documented_outputs(cls: type) -> list[tuple[str, ...]]:
    """The axes of all outputs, where a docstring gives them and each begins with the batch; [] where it does not."""
    texts = [vars(cls).get("__doc__"), getattr(vars(cls).get("forward"), "__doc__", None)]
    for clause in (match for text in texts for match in _OUTPUTS.findall(text or "")):
        shapes = [[axis.strip() for axis in one.split(",")] for one in re.findall(_SHAPE, clause)]
        if shapes and all(re.fullmatch(_ROW, shape[0]) for shape in shapes):
            return [tuple(shape) for shape in shapes]
    return []


def documented_clue(cls: type, parameter: str, sizes: Mapping[str, int] | None = None) -> Clue:
    """What docstrings and comments of the class say about a parameter's shape.

    Args:
        cls: the class.
        parameter: of its forward.
        sizes: the constructor's arguments: a dimension of the same name has that size.
    """
    text, name = _texts(cls), re.escape(parameter)
    dtype = _documented_dtype(text, name)
    own = [rf"\b{name}\b{_GAP}{shape}" for shape in (_SHAPE, _ROWS, _ONLY_ROWS, _PRODUCT)]
    longer = rf"\b{name}[a-z]+ *: *{_SHAPE}"  # `emissions: (B, T, K)`, of what forward calls em
    of_all = [rf"[Ii]nputs?\b[^\n(\[]{{0,40}}{_SHAPE}"] if not _is_told_of_another(cls, parameter) else []
    below = rf"(?m:^)[ \t]*{name}{_ITEM}{_BELOW}{_SHAPE}"
    for pattern in (*own, below, rf"(?i:\b{name}\b){_GAP}{_WORDS}", longer, *of_all):
        found = re.finditer(pattern, text)
        match = next((one for one in found if not _is_of_a_result(one, name)), None)
        if match and _SEVERAL.search(match.group(0)):  # the shape is that of each
            return Clue(is_sequence=True)
        said = match.group(1) if match else ""
        between = r"\s+x\s+" if " x " in said else r",|x" if pattern is own[-1] else ","
        axes = [axis.strip() for axis in re.split(between, said)] if said else []
        if axes and not {"*", "...", "-1"} & {*axes}:
            told = {name: size for name, size in (sizes or {}).items() if len(name) > 1}
            known = tuple(_size(_joined(axis), told) if index else None for index, axis in enumerate(axes))
            return Clue(rank=len(axes), names=tuple(axes), sizes=known if any(known) else (), dtype=dtype)
    if (listed := _listed(cls)) and parameter in listed:
        axes = listed[parameter]
        return Clue(rank=len(axes), names=tuple(axes), dtype=dtype)
    is_vector = re.search(rf"\b{name} *(?:\([^()\n]*\))? *: *\s(?:an?|the) vector\b", text, re.IGNORECASE)
    return Clue(rank=1 if is_vector else None, dtype=dtype)


def _is_of_a_result(match: re.Match[str], name: str) -> bool:
    """Whether the shape is that of what becomes of it: `x -> (B, D)`, or behind the line `c = t + x  # (B, D)`."""
    said, line = match.group(0), match.string[: match.start()].rpartition("\n")[2]
    remark = said.rpartition("#")[2] if "#" in said else name
    is_behind = not re.search(rf"\b{name}\b", remark) and re.search(r"(?<![=!<>])=(?!=)", line) is not None
    return is_behind or bool(re.search(r"->|→", said))


def _is_told_of_another(cls: type, parameter: str) -> bool:
    """Whether `inputs (batch, time, dim)` speaks of another parameter: one of forward bears that name."""
    node = source.function_node(getattr(cls, "forward", None))
    names = {one.arg for one in node.args.args} if node is not None else set()
    return bool(names & {"input", "inputs"} - {parameter})


def _listed(cls: type) -> dict[str, list[str]]:
    """The axes of all inputs, where the docstring lists them before what comes of them: `(B, T, D), (B, T) -> (B, T)`."""
    match = re.search(r"([^.]*?)(?:->|→)", _docstrings(cls))
    shapes = [shape.split(",") for shape in re.findall(_SHAPE, match.group(1))] if match else []
    forward = vars(cls).get("forward")  # which of a compiled class is nothing to call
    taken = [*inspect.signature(forward).parameters.values()][1:] if callable(forward) else []
    names = [one.name for one in taken if one.default is one.empty]
    is_each = len(names) == len(shapes)
    return {
        name: [axis.strip() for axis in shape] for name, shape in zip(names, shapes, strict=False) if is_each
    }


def _documented_dtype(text: str, name: str) -> torch.dtype | None:
    """Whole numbers or flags: `mask: (B, T) bool`, `labels (LongTensor)`; None where neither is said."""
    match = re.search(rf"\b{name}\b\s*[(:]\s*(?:torch\.)?(Long|Int|Bool)Tensor\b", text)
    match = match or re.search(rf"\b{name}\b{_GAP}[(\[][^()\[\]\n]{{1,60}}[)\]]\W{{1,3}}{_KINDS}\b", text)
    if match is None:
        return None
    return torch.bool if match.group(1).lower().startswith("bool") else torch.int64


def _joined(axis: str) -> str:
    """`dec hid dim` as the constructor spells it."""
    return re.sub(r"(?<=[A-Za-z]) (?=[A-Za-z])", "_", axis)


def _size(name: str, sizes: Mapping[str, int]) -> int | None:
    if name.isdigit():
        return int(name)
    value = sizes.get(name)
    if type(value) is int:
        return value
    if not re.fullmatch(r"[\w*+\-/() ]+", name):
        return None
    try:
        worth = eval(name, {"__builtins__": {}}, dict(sizes))  # noqa: S307 - names and arithmetic: "2*dim+1"
    except Exception:  # noqa: BLE001 - a dimension that no constructor argument determines
        return None
    return worth if type(worth) is int else None


def _dtype(annotation: Any) -> torch.dtype:
    names = getattr(annotation, "dtypes", ())
    first = next(iter(names), "float32") if isinstance(names, list | tuple | set | frozenset) else "float32"
    if str(first).startswith("bool"):
        return torch.bool
    if str(first).startswith("complex"):
        return torch.complex64
    return torch.int64 if str(first).startswith(_INTEGER_DTYPES) else torch.float32


def _docstrings(cls: type) -> str:
    """Those of the class itself and of its forward."""
    return "\n".join(held.__doc__ or "" for held in (cls, vars(cls).get("forward")) if held is not None)


def _texts(cls: type) -> str:
    """The docstrings of the class and the source of its forward."""
    parts = []
    for base in cls.__mro__[:2]:
        parts.append(vars(base).get("__doc__") or "")
        forward = vars(base).get("forward")
        if forward is not None:
            try:
                parts.append(inspect.getsource(forward))
            except (OSError, TypeError):
                parts.append(forward.__doc__ or "")
    return "\n".join(parts)
