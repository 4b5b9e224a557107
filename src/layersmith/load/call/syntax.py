"""Small questions about syntax trees."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from layersmith.probe import source

_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)


def integer(node: ast.AST) -> int | None:
    """A literal whole number, with its sign; None for anything else."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = integer(node.operand)
        return -inner if inner is not None else None
    value = node.value if isinstance(node, ast.Constant) else None
    return value if type(value) is int else None


def is_ellipsis_or_none(node: ast.expr) -> bool:
    """Whether a part of a subscript takes no single dimension."""
    return isinstance(node, ast.Constant) and node.value in (None, Ellipsis)


def dimensions(index: ast.expr) -> tuple[int | None, int]:
    """How many dimensions a subscript says, where it says them all, and how many at least.

    `x[:, 0]` has two at least; `mask[:, None, None, :]`, which says the last one though it need not, just two, as does
    `mask[:, None, :, None]`, where `x[:, None, :]` is written of three as well.
    """
    if not isinstance(index, ast.Tuple):
        return None, 0
    own = [part for part in index.elts if not is_ellipsis_or_none(part)]
    if len(own) == len(index.elts):
        return None, len(own)
    added = [part for part in index.elts if isinstance(part, ast.Constant) and part.value is None]
    is_said = len(own) + len(added) == len(index.elts) and len(added) > 1
    is_last = index.elts[-1] in own or len(own) > 1
    is_full = is_said and is_last and all(ast.unparse(part) == ":" for part in own)
    return (len(own) if is_full else None), 0


def element_size(index: ast.Tuple, numbered: Mapping[str, int]) -> int:
    """How large the last of two dimensions must be for `boxes[:, 2]`, `x[..., 3]`; 0 where that says nothing.

    Args:
        index: of the subscript.
        numbered: names that count up to a number: `for i, layer in enumerate(self.layers): layer(x[:, i])`.
    """
    is_last = len(index.elts) == 2 and (  # noqa: PLR2004 - rows and columns
        isinstance(index.elts[0], ast.Slice) or is_ellipsis_or_none(index.elts[0])
    )
    last = index.elts[-1]
    if not is_last:
        return 0
    if isinstance(last, ast.Slice):
        lower, upper = (integer(part) if part is not None else None for part in (last.lower, last.upper))
        start = lower or 0
        return max(start + 1 if start > 1 else 0, upper or 0)  # x[:, 1:] is a step, not a column
    if isinstance(last, ast.Name):
        return numbered.get(last.id, 0)
    number = integer(last)
    return number + 1 if number is not None and number > 0 else 0


def found_in(node: ast.Subscript) -> ast.expr | None:
    """What is compared in `(x == k).nonzero(as_tuple=True)[0]` and `torch.where(x == k)[0]`: rows, as they are used."""
    called = node.value
    if (
        not isinstance(called, ast.Call)
        or integer(node.slice) != 0
        or not isinstance(called.func, ast.Attribute)
    ):
        return None
    is_where = called.func.attr == "where" and len(called.args) == 1
    is_nonzero = called.func.attr == "nonzero" and any(word.arg == "as_tuple" for word in called.keywords)
    test = called.args[0] if is_where else called.func.value if is_nonzero else None
    return test.left if isinstance(test, ast.Compare) else None


def shape_owner(node: ast.expr) -> ast.expr | None:
    """`x` for `x.shape` and `x.size()`; None for anything else."""
    attribute = node.func if isinstance(node, ast.Call) and not node.args else node
    wanted = "shape" if attribute is node else "size"
    return attribute.value if isinstance(attribute, ast.Attribute) and attribute.attr == wanted else None


def last_axes(node: ast.expr) -> tuple[ast.expr, int] | None:
    """`x` and 3 for `x.shape[-3:]`, also where more is unpacked behind it: `*x.shape[-3:], x.device`."""
    first = node.elts[0] if isinstance(node, ast.Tuple) and node.elts else node
    part = first.value if isinstance(first, ast.Starred) else first
    is_slice = (
        isinstance(part, ast.Subscript) and isinstance(part.slice, ast.Slice) and part.slice.upper is None
    )
    if not is_slice or not isinstance(part, ast.Subscript) or not isinstance(part.slice, ast.Slice):
        return None
    count, owner = (
        integer(part.slice.lower) if part.slice.lower is not None else None,
        shape_owner(part.value),
    )
    return (owner, -count) if owner is not None and count is not None and count < -1 else None


def is_super(node: ast.expr) -> bool:
    """Whether this is `super().name`."""
    inner = node.value if isinstance(node, ast.Attribute) else None
    return isinstance(inner, ast.Call) and getattr(inner.func, "id", "") == "super"


@dataclass(frozen=True, slots=True)
class Rebinding:
    """The moment after an assignment's value was computed, when its targets get it."""

    node: ast.Assign


def _undecided(_: ast.expr) -> bool | None:
    return None


def in_order(
    function: source.Function,
    truth: Callable[[ast.expr], bool | None] = _undecided,
    *,
    after: object = None,
) -> Iterator[ast.AST | Rebinding]:
    """The nodes in order of evaluation, nearly: by position, a binding after its value.

    Args:
        function: the function.
        truth: what a test comes to where that is known: the other branch is not read.
        after: an assignment: only what follows it.
    """
    events: list[tuple[int, int, int, Any]] = []
    for node in _reached(function, truth):
        if isinstance(node, ast.expr | ast.stmt):
            events.append((node.lineno, node.col_offset, 0, node))
        if isinstance(node, _COMPREHENSIONS):  # what it goes through is known before its result is made
            events += [(node.lineno, node.col_offset, -1, part) for part in node.generators]
        if isinstance(node, ast.Assign):
            events.append((node.end_lineno or 0, node.end_col_offset or 0, 1, Rebinding(node)))
    found = [event[3] for event in sorted(events, key=lambda event: event[:3])]
    bound = (i for i, event in enumerate(found) if isinstance(event, Rebinding) and event.node is after)
    yield from found[next(bound, -1) + 1 :]


def _reached(function: source.Function, truth: Callable[[ast.expr], bool | None]) -> Iterator[ast.AST]:
    left: list[ast.AST] = [*function.body]
    while left:
        node = left.pop()
        yield node
        decided = truth(node.test) if isinstance(node, ast.If | ast.IfExp) else None
        if decided is None or not isinstance(node, ast.If | ast.IfExp):
            left += ast.iter_child_nodes(node)
            continue
        taken = node.body if decided else node.orelse
        left += [node.test, *(taken if isinstance(taken, list) else [taken])]


def is_asked_for(function: source.Function, name: str) -> bool:
    """Whether the function asks if the argument is there: `if mask is not None`, `if mask`, or hands it on."""
    for node in ast.walk(function):
        tests = [node.test] if isinstance(node, ast.If | ast.IfExp) else []
        handed = [*node.args, *(word.value for word in node.keywords)] if isinstance(node, ast.Call) else []
        parts = [part for test in tests for part in ast.walk(test)]
        if any(getattr(part, "id", "") == name for part in [*parts, *handed]):
            return True
    return False


def compared_texts(function: source.Function, name: str) -> list[str]:
    """The texts that an argument is compared with: `mode == "norm"`, `mode in ("norm", "denorm")`."""
    found: list[str] = []
    for node in ast.walk(function):
        if isinstance(node, ast.Compare) and getattr(node.left, "id", "") == name:
            parts = [part for other in node.comparators for part in ast.walk(other)]
            values = [part.value for part in parts if isinstance(part, ast.Constant)]
            found += [value for value in values if isinstance(value, str)]
    return list(dict.fromkeys(found))


def keys_of(function: source.Function, name: str) -> list[str]:
    """The texts by which an argument is subscripted: `labels` of `kwargs["labels"]`."""
    found = [
        node.slice.value
        for node in ast.walk(function)
        if isinstance(node, ast.Subscript) and getattr(node.value, "id", "") == name
        if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str)
    ]
    return [key for key in dict.fromkeys(found) if key.isidentifier()]


def rest_of(node: ast.expr, function: source.Function) -> ast.Name | None:
    """The `inputs` of `*inputs` in a call, if those are what the function is given in any number."""
    rest = function.args.vararg.arg if function.args.vararg is not None else ""
    inner = node.value if isinstance(node, ast.Starred) else None
    return inner if isinstance(inner, ast.Name) and inner.id == rest else None


def first_input(cls: type) -> int:
    """Where a class's `forward` takes its first input: behind `self`, unless it is a static method."""
    return 0 if isinstance(inspect.getattr_static(cls, "forward", None), staticmethod) else 1


def parameter_at(function: Any, position: int, *, skipped: int = 1) -> str:
    """The parameter that a function takes at a position, behind those skipped; "" where it takes fewer."""
    names = list(inspect.signature(function).parameters)[skipped:]
    return names[position] if position < len(names) else ""


def picked_parts(function: source.Function, name: str) -> int:
    """How many parts an argument has of which nothing but parts by number is read: 2 for `x[0]`, `x[1]`; or 0."""
    subscripts = [node for node in ast.walk(function) if isinstance(node, ast.Subscript)]
    numbers = {node.value: integer(node.slice) for node in subscripts}
    count = 0
    for event in in_order(function):
        if isinstance(event, Rebinding):
            bound = [part for target in event.node.targets for part in ast.walk(target)]
            if any(getattr(part, "id", "") == name for part in bound):
                break
        elif isinstance(event, ast.Name) and event.id == name and isinstance(event.ctx, ast.Load):
            number = numbers.get(event)
            if number is None or number < 0:
                return 0
            count = max(count, number + 1)
    return count


def taken_twice(function: source.Function, name: str) -> tuple[int, int]:
    """How many parts an argument has, and how many items each, by `state[0][-1]`, `state[1][0]`; zeros without such."""
    found: list[tuple[int, int]] = []
    for part in ast.walk(function):
        inner = part.value if isinstance(part, ast.Subscript) else None
        if isinstance(part, ast.Subscript) and isinstance(inner, ast.Subscript):
            outer_index, index = integer(inner.slice), integer(part.slice)
            index = 0 if index is None and isinstance(part.slice, ast.Name) else index  # `state[0][layer]`
            if getattr(inner.value, "id", "") == name and outer_index is not None and index is not None:
                found.append((outer_index + 1, index + 1 if index >= 0 else -index))
    return max((one for one, _ in found), default=0), max((one for _, one in found), default=0)
