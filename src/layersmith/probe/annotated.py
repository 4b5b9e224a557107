"""The axes that `forward` says its arguments have: `Float[Tensor, "*batch time dim"]`, `(*, dim)` in a docstring."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping

from torch import Tensor, nn

from layersmith.probe import arguments, source
from layersmith.probe.inputs import Inputs

QUOTED = re.compile(r"""\[[^,\[\]]+,\s*["']([^"']+)["']\s*\]""")
SHAPE = re.compile(r"[(\[]((?:\w+\s*,\s*)+\w+)[)\]]")
AT_LEAST = re.compile(r"(?:>=?|≥|at least)\s*(\d+)")
STARRED = re.compile(  # a shape, not what an index picks: "the target is x[..., 0]"
    r"(?<![\w)\]])[(\[]\s*(?:\*|\.\.\.)\s*,\s*[\w ,]+[)\]]"
)
ANY_SIZE = re.compile(
    r"\b(?:images?|inputs?|maps?)\b[^.\n]{0,30}\b(?:any|arbitrary|all) "
    r"(?:sizes?|resolutions?|height and width|shapes?)\b|"
    r"\b(?:any|arbitrary|every) (?:input|image|spatial) (?:sizes?|resolutions?)\b",
    re.IGNORECASE,
)
BUT = r"(?![^.]*(?:\b(?:multiples?|divisible|even|odd|powers?|up to|at most|that|which)\b|<|%))"
ANY_LENGTH = re.compile(rf"\b(?:any|arbitrary) (?:input |sequence )?lengths?\b{BUT}", re.IGNORECASE)
ANY_OF_ITS = re.compile(rf"\b(\w+) of (?:any|arbitrary) (?:size|resolution|length)\b{BUT}", re.IGNORECASE)
IMAGE = 4  # axes: rows x channels x height x width
TIME = re.compile(
    r"^(?:t|l|s|seq\w*|time\w*|len\w*|length|steps?|frames?|tokens?|n_tokens|num_tokens)$", re.IGNORECASE
)


def axes(module: nn.Module) -> Mapping[str, tuple[str, ...]]:
    """The names of the axes by argument, where an annotation states them."""
    forward = source.forward(type(module))
    found = {}
    for name, annotation in getattr(forward, "__annotations__", {}).items():
        text = getattr(annotation, "dim_str", None)
        if text is None and isinstance(annotation, str) and (match := QUOTED.search(annotation)):
            text = match.group(1)
        if isinstance(text, str) and name != "return":
            found[name] = tuple(re.sub(r"^[#?_]+", "", part) for part in text.split())
    return found


def is_leading(names: tuple[str, ...]) -> bool:
    """Whether any number of axes may come first: `*batch dim`, `... dim`."""
    return len(names) > 1 and (names[0].startswith("*") or names[0] == "...")


def says_leading(module: nn.Module) -> bool:
    """Whether the docstring of the class or its forward gives the input as `(*, dim)`."""
    return STARRED.search(_said(module)) is not None


def _said(module: nn.Module) -> str:
    cls = type(module)
    return f"{vars(cls).get('__doc__') or ''}\n{inspect.getdoc(source.forward(cls)) or ''}"


def free_lengths(module: nn.Module, inputs: Inputs) -> dict[str, list[tuple[Tensor, int]]]:
    """The tensors and axes (from the end) of every named time axis that no attribute of the module has for its size.

    With them the sides of images that may have any size, and the steps of any length, as the documentation says.
    """
    stated = axes(module)
    fixed = {name for part in nn.Module.modules(module) for name in vars(part)} | set(_constructor(module))
    found: dict[str, list[tuple[Tensor, int]]] = {}
    for _, argument, tensor in arguments.named(module, inputs):
        names = stated.get(argument, ())
        for place, name in enumerate(names):
            axis = place - len(names)
            if TIME.match(name) and name not in fixed and tensor.ndim >= -axis:
                found.setdefault(name, []).append((tensor, axis))
        for axis in _of_any_length(module, tensor):
            found.setdefault("length", []).append((tensor, axis))
        if tensor.ndim == IMAGE and tensor.is_floating_point() and ANY_SIZE.search(_said(module)):
            found.setdefault("height", []).append((tensor, -2))
            found.setdefault("width", []).append((tensor, -1))
    return found


def least_length(module: nn.Module) -> int:
    """The number that the documentation calls the least of any length; 2 where it states none."""
    said = AT_LEAST.search(_said(module))
    return max(2, int(said.group(1)) if said else 0)


def _of_any_length(module: nn.Module, tensor: Tensor) -> Iterator[int]:
    """The time axis (from the end) in the shape that the documentation states, where it says that any length will do."""
    said = _said(module)
    shapes = [match.group(1).replace(" ", "").split(",") for match in SHAPE.finditer(said)]
    names = next((names for names in shapes if len(names) == tensor.ndim), [])
    places = (
        [place for place, name in enumerate(names) if TIME.match(name)] if ANY_LENGTH.search(said) else []
    )
    if of_its := ANY_OF_ITS.search(said):  # "(batch, grid, 1) on a grid of any resolution"
        places += [place for place, name in enumerate(names) if name == of_its[1] and place not in places]
    if len(places) == 1:
        yield places[0] - len(names)


def _constructor(module: nn.Module) -> list[str]:
    try:
        return [*inspect.signature(type(module)).parameters]
    except (TypeError, ValueError):
        return []
