"""What forward does with the arguments that the constructor keeps: called, looped over, asked for their truth."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator

from layersmith.load.constructor.syntax import compared, conditions
from layersmith.load.constructor.trace import Usage
from layersmith.probe import source

Trace = Callable[[ast.AST], Usage | None]
_WALKS = {"zip", "reversed", "list", "tuple"}  # calls that go through what they are given


def read_forward(cls: type, function: source.Function, kept: Trace) -> None:
    """Add to the traces of what `self` keeps; forward's own names are others than the constructor's.

    Args:
        cls: the class.
        function: the source of its forward.
        kept: the trace of `self.layers`, of `self.config.depth`.
    """
    reader = _Reader(cls, kept, _required(function))
    nodes = list(ast.walk(function))
    for node in nodes:
        if isinstance(node, ast.Assign):
            reader.named(node)
    for node in nodes:
        if isinstance(node, ast.For | ast.comprehension):
            reader.loop(node.target, node.iter)
    for node in nodes:
        reader.read(node)
    below = list(_in_its_methods(cls, nodes))
    for node in below:
        reader.called(node)
    for node in [*nodes, *below]:
        reader.opened(node)
    for trace, used in reader.modes.values():  # the mode that uses most of what forward is given comes first
        trace.strings.sort(key=lambda text: -used.get(text, 0))


def _in_its_methods(cls: type, nodes: list[ast.AST]) -> Iterator[ast.AST]:
    """The nodes of the methods that these call: `self.get_embedding(x)`, and those that it calls in turn."""
    seen: set[str] = set()
    left = nodes
    while left:
        functions = [part.func for part in left if isinstance(part, ast.Call)]
        calls = {one.attr for one in functions if isinstance(one, ast.Attribute) and _is_own(one)}
        found = {name: inspect.getattr_static(cls, name, None) for name in sorted(calls - seen)}
        seen |= calls
        left = [
            part
            for one in found.values()
            if (node := source.function_node(one) if inspect.isfunction(one) else None) is not None
            for part in ast.walk(node)
        ]
        yield from left


def _is_own(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "self"


def _required(function: source.Function) -> set[str]:
    names = [argument.arg for argument in function.args.args]
    return set(names[1 : len(names) - len(function.args.defaults)])


class _Reader:
    def __init__(self, cls: type, kept: Trace, given: set[str]) -> None:
        self.cls = cls
        self.kept = kept
        self.given = given  # the arguments that forward requires
        self.modes: dict[int, tuple[Usage, dict[str, int]]] = {}  # how many of them each mode's branch uses
        self.looped: dict[str, Usage] = {}  # local name -> the trace of what it holds: an item, or all

    def trace(self, node: ast.AST) -> Usage | None:
        """Of what `self` keeps, of a loop's item of it, or of one picked by number."""
        if isinstance(node, ast.Name):
            return self.looped.get(node.id)
        if isinstance(node, ast.Subscript) and not isinstance(node.slice, ast.Slice):
            held = self.trace(node.value)
            return held.one() if held is not None and "sequence" in held.kinds else None
        return self.kept(node) if isinstance(node, ast.Attribute) else None

    def named(self, node: ast.Assign) -> None:
        """`layers = self.layers`: a shorter name."""
        trace = (
            self.kept(node.value) if isinstance(node.value, ast.Attribute) and _is_own(node.value) else None
        )
        if trace is not None and isinstance(node.targets[0], ast.Name):
            self.looped[node.targets[0].id] = trace

    def mark(self, node: ast.AST, kind: str) -> Usage | None:
        trace = self.trace(node)
        if trace is not None:
            trace.kinds.add(kind)
        return trace

    def loop(self, target: ast.expr, walked: ast.expr) -> None:
        """Remember of which list the loop variable is an item."""
        called = getattr(walked.func, "id", "") if isinstance(walked, ast.Call) else ""
        inner = walked.args if isinstance(walked, ast.Call) else []
        parts = target.elts if isinstance(target, ast.Tuple) else []
        if called == "enumerate" and inner and len(parts) == 2:  # noqa: PLR2004 - number and item
            self.loop(parts[1], inner[0])
            return
        if inner and called not in _WALKS:  # range(self.depth), self.parts(x)
            return
        for part, one in zip(parts if called == "zip" else [target], inner or [walked], strict=False):
            whole = one.value if isinstance(one, ast.Subscript) and isinstance(one.slice, ast.Slice) else one
            trace = self.mark(whole, "sequence")
            if trace is not None and isinstance(part, ast.Name):
                self.looped[part.id] = trace.one()

    def read(self, node: ast.AST) -> None:
        if isinstance(node, ast.Call):  # of a loop's item, too
            self.mark(node.func, "module")
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple):
            self.unpacked(node.value, node.targets[0])
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            self.picked(node.value, node.slice.value)
            self.item(node.value, node.slice.value)
        if isinstance(node, ast.Compare):
            left, texts = compared(node)
            trace = self.trace(left) if texts else None
            if trace is not None:
                trace.strings += texts
        if isinstance(node, ast.If):
            self.branch(node)
        for condition in conditions(node.test) if isinstance(node, ast.If | ast.IfExp) else ():
            self.mark(condition, "flag") if isinstance(condition, ast.Attribute) else None

    def called(self, node: ast.AST) -> None:
        if isinstance(node, ast.Call) and _is_own(node.func):
            self.mark(node.func, "module")

    def opened(self, node: ast.AST) -> None:
        """`self.vit.transformer`, of a module that is called; `self.pars.use_cuda`, of what nothing else is done with."""
        held = self.trace(node.value) if isinstance(node, ast.Attribute) and _is_own(node.value) else None
        if held is not None and isinstance(node, ast.Attribute) and held.kinds <= {"module"}:
            held.attributes.add(node.attr)

    def unpacked(self, value: ast.expr, target: ast.Tuple) -> None:
        """`y, weights = self.attention(x)`: it returns so many."""
        trace = self.trace(value.func) if isinstance(value, ast.Call) else None
        if trace is not None and not any(isinstance(part, ast.Starred) for part in target.elts):
            trace.outputs = tuple(len(p.elts) if isinstance(p, ast.Tuple) else 1 for p in target.elts)

    def picked(self, value: ast.expr, index: object) -> None:
        """`self.attention(x)[0]`: it returns that many at least."""
        trace = self.trace(value.func) if isinstance(value, ast.Call) else None
        if trace is not None and type(index) is int and index >= 0 and not trace.outputs:
            trace.outputs = (1,) * max(2, index + 1)

    def item(self, value: ast.expr, index: object) -> None:
        """`self.dropouts[1]`: one of so many at least."""
        is_kept = isinstance(value, ast.Attribute) or getattr(value, "id", "") in self.looped
        trace = self.trace(value) if type(index) is int and is_kept else None
        if trace is not None and type(index) is int:
            trace.kinds.add("sequence")
            trace.length = max(trace.length, index + 1)

    def branch(self, node: ast.If) -> None:
        """`if self.mode == "decode": return self.decode(x, memory)`: how many arguments that mode uses."""
        count = len(set(self.used(node.body)))
        for test in (part for part in ast.walk(node.test) if isinstance(part, ast.Compare)):
            left, texts = compared(test)
            trace = self.trace(left)
            if trace is not None:
                used = self.modes.setdefault(id(trace), (trace, {}))[1]
                used.update({text: max(used.get(text, 0), count) for text in texts})

    def used(self, body: list[ast.stmt]) -> Iterator[str]:
        """The arguments that some statements read; what is handed to a method that does not is none of them."""
        unread: set[ast.AST] = set()
        for call in (part for one in body for part in ast.walk(one) if isinstance(part, ast.Call)):
            found = inspect.getattr_static(self.cls, call.func.attr, None) if _is_own(call.func) else None  # type: ignore[attr-defined]
            method = source.function_node(found) if inspect.isfunction(found) else None
            if method is not None:
                inner = {
                    part.id for one in method.body for part in ast.walk(one) if isinstance(part, ast.Name)
                }
                pairs = zip(call.args, method.args.args[1:], strict=False)
                unread |= {given for given, argument in pairs if argument.arg not in inner}
        for part in (part for one in body for part in ast.walk(one) if part not in unread):
            if isinstance(part, ast.Name) and part.id in self.given:
                yield part.id
