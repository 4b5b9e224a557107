"""Where the values in a function go: which names and attributes of `self` it reads, keeps, checks or uses."""

from __future__ import annotations

import ast
import copy
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType
from typing import Any

from layersmith.probe import source

PURE = {
    "int",
    "float",
    "bool",
    "str",
    "tuple",
    "list",
    "dict",
    "set",
    "min",
    "max",
    "round",
    "abs",
    "len",
    "sum",
}

REFLECTION = re.compile(
    r"\blocals\(\)|\bvars\(|__dict__|save_hyperparameters|signature\(|\b_?get_?frame|getfullargspec"
)

ACTS = (ast.Call, ast.Await, ast.Yield, ast.NamedExpr)

Names = frozenset[str]


def simplified(node: source.Function, scope: Mapping[str, Any] | None = None) -> source.Function:
    """A copy of a function without the choices that make no difference, and the values that nothing reads.

    Args:
        node: the function.
        scope: the names that it sees; a function among them that does nothing with an argument isn't given it.
    """
    found: source.Function = _Simplified(scope or {}).visit(copy.deepcopy(node))
    while dead := _dead(found):
        found = _Without(dead).visit(found)
    return found


def _dead(node: source.Function) -> set[int]:
    """Assignments of plain arithmetic to variables that nothing reads."""
    read = {p.id for p in ast.walk(node) if isinstance(p, ast.Name) and not isinstance(p.ctx, ast.Store)}
    return {
        id(part)
        for part in ast.walk(node)
        if isinstance(part, ast.Assign)
        and all(isinstance(target, ast.Name) and target.id not in read for target in part.targets)
        and not any(isinstance(p, ACTS) for p in ast.walk(part.value))
    }


class _Without(ast.NodeTransformer):
    """A function without some of its statements."""

    def __init__(self, left_out: set[int]) -> None:
        self.left_out = left_out

    def visit_Assign(self, node: ast.Assign) -> Any:
        """Nothing in the place of one that is left out."""
        return ast.copy_location(ast.Pass(), node) if id(node) in self.left_out else node


class _Simplified(ast.NodeTransformer):
    """A function without choices that make no difference: every branch the same, or nothing done in any."""

    def __init__(self, scope: Mapping[str, Any]) -> None:
        self.scope = scope

    def visit_Call(self, node: ast.Call) -> Any:
        """The call without what the called function does nothing with."""
        self.generic_visit(node)
        called = self.scope.get(node.func.id) if isinstance(node.func, ast.Name) else None
        idle = idle_of(called) if isinstance(called, FunctionType) else {}
        if idle and not any(isinstance(one, ast.Starred) for one in node.args):
            node.args = [_nothing(one) if idle.get(place) else one for place, one in enumerate(node.args)]
            node.keywords = [word for word in node.keywords if not idle.get(word.arg or "")]
        return node

    def visit_If(self, node: ast.If) -> Any:
        """The branch instead of the choice, if there is only one."""
        sides = [*_sides(node)]
        is_choice = len({ast.dump(ast.Module(side, [])) for side in sides}) > 1 or len(sides) == 1
        return self.generic_visit(node) if is_choice else [self.visit(child) for child in sides[0]]

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        """As for a statement."""
        self.generic_visit(node)
        return node.body if ast.dump(node.body) == ast.dump(node.orelse) else node


def _nothing(node: ast.expr) -> ast.expr:
    return ast.copy_location(ast.Constant(None), node)


@functools.lru_cache(maxsize=1024)
def idle_of(function: FunctionType) -> dict[int | str, bool]:
    """The parameters that a function of the user's does nothing with, by place and by name."""
    node = source.function_node(function)
    if node is None or source.is_torchs(function.__module__) or not _is_plain(node):
        return {}
    reading = Reading(simplified(node))
    live = reading.live(lambda _: True) | reading.deleted | reading.checked
    names = [one.arg for one in (*node.args.posonlyargs, *node.args.args)]
    idle = [one for one in (*names, *(one.arg for one in node.args.kwonlyargs)) if one not in live]
    return dict.fromkeys([*idle, *(names.index(one) for one in idle if one in names)], True)


def _is_plain(node: source.Function) -> bool:
    """Whether a function does something, and by no other names than it is seen to use."""
    does = [one for one in node.body if not isinstance(one, ast.Expr | ast.Pass | ast.Raise)]
    return bool(does) and not node.decorator_list and not REFLECTION.search(ast.unparse(node))


def _sides(node: ast.If) -> Iterator[list[ast.stmt]]:
    """The branches of a chain of `if` and `elif`; one that only refuses is none."""
    yield node.body
    if len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If):
        yield from _sides(node.orelse[0])
    elif not (len(node.orelse) == 1 and isinstance(node.orelse[0], ast.Raise)):
        yield node.orelse or [ast.Pass()]


class Reading:
    """Which names and attributes of `self` each assignment of a constructor passes on, and what is used otherwise.

    Args:
        node: the function.
        values: attributes that hold plain values, such as functions: whatever made them built nothing that counts.
    """

    def __init__(self, node: source.Function, values: Names = frozenset()) -> None:
        self.values = {f"self.{name}" for name in values}
        self.goes_to: dict[str, set[str]] = {}
        self.used: set[str] = set()
        self.checked: set[str] = set()
        self.deleted = {
            part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Del)
        }
        for statement in node.body:
            self._statement(statement, frozenset())

    def live(self, is_read: Callable[[str], bool]) -> Names:
        """Every name whose value has an effect; `is_read` says so of an attribute, written `self.x`."""
        attributes = {end for ends in self.goes_to.values() for end in ends if end.startswith("self.")}
        found = self.used | {name for name in attributes if is_read(name[5:])}
        while more := {name for name, ends in self.goes_to.items() if ends & found} - found:
            found |= more
        return frozenset(found)

    def end(self, name: str, named: Names) -> str:
        """What becomes of a parameter without effect."""
        seen, waiting = {name}, [name]
        while waiting:
            for end in sorted(self.goes_to.get(waiting.pop(), set()) - seen):
                if end.startswith("self."):
                    return f"kept in {end}, which nothing reads"
                seen.add(end)
                waiting.append(end)
        if name in self.checked:
            return "only checked"
        if copies := sorted(self.goes_to.get(name, set()) - {name}):
            return f"only copied to {', '.join(copies)}"
        if name in self.goes_to:
            return "given a value, which is never read"
        return "asked for, but every answer does the same" if name in named else "never read"

    def _statement(self, node: ast.stmt, conditions: Names) -> None:
        if isinstance(node, ast.If):
            self._branch(node, conditions)
        elif pairs := _pairs(node):
            for one in pairs:
                self._statement(one, conditions)
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign) and node.value is not None:
            targets: list[ast.expr] = [*node.targets] if isinstance(node, ast.Assign) else [node.target]
            self._assignment(targets, node.value, conditions)
        elif isinstance(node, ast.Assert):
            self._check(node.test, conditions)
        elif not isinstance(node, ast.Pass):
            self.used |= loads(node) | conditions

    def _check(self, test: ast.expr, conditions: Names) -> None:
        """A test of size or of divisibility is no use; one that lets a single value pass says that it has none."""
        if any(isinstance(part, ast.Mod | ast.Lt | ast.LtE | ast.Gt | ast.GtE) for part in ast.walk(test)):
            self.checked |= loads(test)
        else:
            self.used |= loads(test) | conditions

    def _branch(self, node: ast.If, conditions: Names) -> None:
        if all(map(_refuses, node.body)) and not node.orelse:
            self._check(node.test, conditions)
            return
        inside = conditions | loads(node.test)
        if _has_effect(node.test):
            self.used |= inside
        for child in [*node.body, *node.orelse]:
            self._statement(child, inside)

    def _assignment(self, targets: list[ast.expr], value: ast.expr, conditions: Names) -> None:
        ends = [end for target in targets for end in ends_of(target)]
        is_plain = all(ends) and not _has_effect(value)
        kept = {end for end in ends if end.startswith("self.")}
        is_plain = is_plain and (kept <= self.values or not _makes(value))
        given = loads(value) | conditions
        if not is_plain:
            self.used |= given | {name for target in targets for name in loads(target)}
            return
        for name in given:
            self.goes_to.setdefault(name, set()).update(ends)


def _pairs(node: ast.stmt) -> list[ast.Assign]:
    """`a, b = x, y` as two assignments, unless one uses what another sets; [] of any other statement."""
    if not (isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.value, ast.Tuple)):
        return []
    (target,), values = node.targets, node.value.elts
    ends = target.elts if isinstance(target, ast.Tuple) else []
    is_plain = not any(isinstance(part, ast.Starred) for part in (*ends, *values))
    is_swap = {end for one in ends for end in ends_of(one)} & loads(node.value)
    if len(ends) != len(values) or not is_plain or is_swap:
        return []
    pairs = zip(ends, values, strict=True)
    return [ast.copy_location(ast.Assign([end], value), node) for end, value in pairs]


def _refuses(node: ast.stmt) -> bool:
    """Whether a statement refuses a value, other than for want of code."""
    return isinstance(node, ast.Raise) and "NotImplemented" not in ast.unparse(node)


def ends_of(target: ast.expr) -> list[str]:
    """What an assignment's target sets; "" for anything but names and attributes of `self`."""
    if isinstance(target, ast.Tuple | ast.List):
        return [end for part in target.elts for end in ends_of(part)]
    name = _name(target)
    return ["" if name == "self" else name]


def _name(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    is_own = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
    return f"self.{node.attr}" if is_own and isinstance(node, ast.Attribute) else ""


def loads(node: ast.AST) -> Names:
    """Names and attributes of `self` that are read anywhere below."""
    found = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Name | ast.Attribute) and not isinstance(part.ctx, ast.Store):
            found.add(_name(part))
    return frozenset(found - {"", "self"})


def _has_effect(value: ast.expr) -> bool:
    """Whether evaluating may do more than give a value: `self` or a method of it is handed out or called."""
    calls = [part for part in ast.walk(value) if isinstance(part, ast.Call)]
    handed = [
        argument for call in calls for argument in [*call.args, *(word.value for word in call.keywords)]
    ]
    is_handed = any(isinstance(one, ast.Name) and one.id == "self" for one in handed)
    own = any("self" in {getattr(p, "id", "") for p in ast.walk(call.func)} for call in calls)
    return is_handed or own or any(isinstance(part, ast.NamedExpr | ast.Lambda) for part in ast.walk(value))


def _makes(value: ast.expr) -> bool:
    """Whether a call that is not a plain conversion stands in the expression: it may build with its arguments."""
    return any(isinstance(p, ast.Call) and getattr(p.func, "id", "") not in PURE for p in ast.walk(value))
