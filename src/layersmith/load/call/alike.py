"""Whether inputs of many shapes meet one error, which then is the code's."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import torch

from layersmith.load import failure
from layersmith.load.call.repair.messages import directed_pairs
from layersmith.load.values import TensorSpec
from layersmith.probe import source

_PARTS = (2, 3, 4)
_APART = re.compile(r"chunk|split|unbind|\[:, *[^\]]*:|// ?[234]\b")
_TIMES = (1, 2, 3, 4)
_ENOUGH = 3  # different inputs that met the same error
_OF_CODE = re.compile(
    r"(?:^(\w+)\(\) )?takes \d+ positional arguments? but|missing \d+ required|unexpected keyword argument|"
    r"view size is not compatible|in-?place operation|refers to a single memory location"
)
_OF_KINDS = re.compile(
    r"invalid combination of arguments - got \(Tensor|argument 'input' \(position 1\) must be Tensor, not (?:int|float)"
)


def fails_alike(
    errors: Sequence[Exception],
    inputs: Sequence[Sequence[TensorSpec]],
    furthest: Exception,
    arguments: Collection[Any] = (),
) -> bool:
    """Whether inputs of many shapes meet one error of the code: a bad call, a bad view, layers that clash.

    Args:
        errors: of all attempts.
        inputs: of each attempt; a mismatch of one of their sizes, or of a part of it, is the input's, as may be one
            that none was tried without: what is joined to 7 features has 7 more than it had.
        furthest: the error of the attempt that came furthest into forward: what others met before is no end.
        arguments: of the constructor, which are guesses: others might fit where but one side of a clash follows them.
    """
    last = errors[-_ENOUGH:]
    if len(last) < _ENOUGH or any(_is_raised_by_hand(error) or _spreads(error) for error in last):
        return False
    if _end_alike(errors):
        return True
    clashes, left = [], []
    for error, tried in zip(errors, inputs, strict=True):
        told = {*_told_by(tried, takes_apart=_takes_apart(error))}
        found = [pair for pair in set(directed_pairs(str(error))) if pair[0] not in told]
        clashes += found
        left += [{spec.shape[index] for spec in tried for index in spec.free if index}] * bool(found)
    is_end = not {*clashes}.isdisjoint(directed_pairs(str(furthest)))
    if len(set(clashes)) != 1 or len(clashes) < _ENOUGH or not is_end or set.intersection(*left):
        return False
    known = {*_made_of(arguments)}
    return len({size in known for size in clashes[0]}) == 1


def _told_by(inputs: Iterable[TensorSpec], *, takes_apart: bool) -> Iterator[int]:
    """The sizes of inputs, but for the batch, and of parts: of what nothing has fixed, or of all where some are taken."""
    for spec in inputs:
        yield from spec.shape[1:]
        open_sizes = [spec.shape[index] for index in spec.free if index]
        for size, parts in itertools.product(spec.shape[1:] if takes_apart else open_sizes, _PARTS):
            yield from (size * parts, size // parts, -(-size // parts))
        yield from (
            a * b for a, b in itertools.combinations_with_replacement(open_sizes, 2)
        )  # an outer product


def _takes_apart(error: Exception) -> bool:
    """Whether the functions that an error went through take parts of anything: `kept, gone = split(x)`."""
    nodes = (source.code_node(frame.f_code) for frame, _ in failure.frames(error))
    return any(_APART.search(ast.unparse(node)) for node in nodes if node is not None)


def _made_of(arguments: Iterable[Any]) -> Iterator[int]:
    """The sizes that layers make of what a constructor is told: a few times a width, two side by side, their product."""
    listed = (one if isinstance(one, list | tuple) else [one] for one in arguments)
    sizes = {one for several in listed for one in several if type(one) is int and one > 1}
    yield from (times * size for size, times in itertools.product(sizes, _TIMES))
    for one, other in itertools.permutations(sizes, 2):
        yield from (one + other, one + 2 * other, one * other)


def _end_alike(errors: Sequence[Exception]) -> bool:
    """Whether no input came further than one line, and that fails for what its code does."""
    of_code = [error for error in errors if _is_of_code(error)]
    lines = {_line(error) for error in of_code}
    if len(of_code) < _ENOUGH or len(lines) > 1:
        return False
    ((file, line),) = lines
    others = (_line(error) for error in errors if error not in of_code)
    return all(other[0] == file and other[1] < line for other in others)


def _is_of_code(error: Exception) -> bool:
    """Whether a call is made the wrong way, or with what no tensor is made of and no argument of forward is."""
    if found := _OF_CODE.search(str(error)):
        return not hasattr(torch.Tensor, found[1] or "")  # which says so of what is no size, too
    if not _OF_KINDS.search(str(error)):
        return False
    node = failure.statement(error)
    named = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)} if node is not None else set()
    forward = next((frame for frame, _ in failure.frames(error) if frame.f_code.co_name == "forward"), None)
    given = forward.f_code.co_varnames[2 : forward.f_code.co_argcount] if forward is not None else ()
    return forward is not None and not named & {*given}


def _is_raised_by_hand(error: Exception) -> bool:
    """Whether an assert or raise of the user's own code is the origin: a demand on the input."""
    frames = failure.frames(error)
    if not frames or frames[0][0].f_code.co_filename.startswith(source.TORCH):
        return False
    return isinstance(failure.statement(error), ast.Raise | ast.Assert)


def _spreads(error: Exception) -> bool:
    """Whether the call that failed spreads a variable, `f(x, *state, **kwargs)`: what it passes is the caller's."""
    statement = failure.statement(error)
    return any(
        (isinstance(part, ast.Starred) or (isinstance(part, ast.keyword) and part.arg is None))
        and isinstance(part.value, ast.Name)
        for part in (ast.walk(statement) if statement is not None else ())
    )


def _line(error: Exception) -> tuple[str, int]:
    found = ((frame.f_code.co_filename, line) for frame, line in failure.frames(error))
    return next((place for place in found if not place[0].startswith(source.TORCH)), ("", 0))
