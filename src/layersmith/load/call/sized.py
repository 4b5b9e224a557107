"""Sizes of inputs that the constructor was told, and those that scripts write down: `summary(net, (3, 66, 200))`."""

from __future__ import annotations

import ast
import functools
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from layersmith.load.call.callee import Callee, State
from layersmith.load.call.clue import BATCH
from layersmith.load.call.structure import is_of_image
from layersmith.load.constructor import sites
from layersmith.load.constructor.settings import UNKNOWN
from layersmith.load.constructor.worth import worth
from layersmith.load.values import TensorSpec
from layersmith.probe import source

_IMAGE_ARGUMENTS = re.compile(
    r"^(image_?size|img_?size|input_resolution|resolution|fmap_size|spatial_size|sample_size|size|input_s(ize|hape))$"
)
_IMAGE_SHAPES = re.compile(r"^(in|input|img|image)_?(dims?|shape|size)$")
_MAKERS = ("randn", "rand", "zeros", "ones", "empty", "randint", "Tensor", "FloatTensor")
_SUMMARIES = ("summary", "get_model_complexity_info")  # of torchsummary, torchinfo and ptflops
_WRITERS = (*_SUMMARIES, *_MAKERS)
_LEAST, _MOST = 3, 4  # a rank below which the layers say enough; shapes
_LARGE, _FEW = 1_000_000, 2  # numbers in a batch, and its rows where there are more


def told_sides(callee: Callee) -> list[tuple[Any, ...]]:
    """What the constructor was told of the sides of images, one or several numbers each."""
    known = [*callee.arguments.items(), *callee.settings.items(), *vars(callee.module).items()]
    told = [value for name, value in known if _IMAGE_ARGUMENTS.match(name)]
    return [tuple(value) if isinstance(value, tuple | list) else (value,) for value in told]


def told_image(callee: Callee) -> tuple[int, ...]:
    """Channels, height and width, where the constructor was told them together: `input_dims=(3, 32, 32)`; or ()."""
    told = (value for name, value in callee.arguments.items() if _IMAGE_SHAPES.match(name))
    return next(
        (tuple(value) for value in told if isinstance(value, list | tuple) and is_of_image(value)), ()
    )


def as_written(callee: Callee, state: State) -> list[State]:
    """A first guess with its main input in the shapes that the files which build its class write down.

    Those are left out that are of another rank, or of other channels where layers say how many.
    """
    name = next(iter(callee.required), "")
    spec = state.get(name)
    if not isinstance(spec, TensorSpec):
        return []
    told = {axis for axis in range(1, spec.rank) if axis not in spec.free}
    cls: type = type(callee.module)
    shapes = [shape for shape in _shapes(cls) if len(shape) == spec.rank]
    fitting = [shape for shape in shapes if all(shape[axis] == spec.shape[axis] for axis in told)]
    return [{**state, name: replace(spec, shape=(_rows(shape), *shape[1:]))} for shape in fitting]


def _rows(shape: tuple[int, ...]) -> int:
    """A batch of no more than a machine calls quickly."""
    return BATCH if math.prod(shape[1:]) * BATCH < _LARGE else _FEW


@functools.lru_cache(maxsize=256)
def _shapes(cls: type) -> tuple[tuple[int, ...], ...]:
    """Those in its own file, and in others of its project that build it, but for what other modules make."""
    near = {site.file: site.tree for site in (*sites.near(cls), *sites.elsewhere(cls))}
    own = source.file_of(cls)
    trees = {own: source.tree_of(own), **near} if own else near
    found = [shape for file, tree in trees.items() for shape in _in_file(tree, file)]
    return tuple(dict.fromkeys(found))[:_MOST]


def _in_file(tree: ast.Module, file: str) -> Iterator[tuple[int, ...]]:
    layers = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and any(getattr(one, "name", "") == "forward" for one in node.body)
        for part in ast.walk(node)
    }
    has_rows = any(
        "torchinfo" in ast.unparse(node)
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
    )
    found = sites.calls_in(tree, _WRITERS, file)
    for site in sorted(found, key=lambda site: _WRITERS.index(sites.name_of(site.call))):  # summaries first
        is_summary = sites.name_of(site.call) in _SUMMARIES
        sizes = () if id(site.call) in layers else _sizes(site, skipped=int(is_summary))
        shape = (1, *sizes) if is_summary and not has_rows else sizes
        if len(shape) >= _LEAST:
            yield shape


def _sizes(site: sites.Site, skipped: int) -> tuple[int, ...]:
    """The whole numbers that a call is given, one by one or together; () where they cannot be told."""
    given = [word.value for word in site.call.keywords if word.arg in ("size", "input_size")]
    given = given or site.call.args[skipped : skipped + 1 if skipped else None]
    values: list[Any] = [worth(node, site) for node in given if not isinstance(node, ast.Starred)]
    whole = next((one for one in values if isinstance(one, tuple | list)), values)
    is_told = bool(whole) and UNKNOWN not in values and all(type(size) is int and size > 0 for size in whole)
    return tuple(whole) if is_told else ()
