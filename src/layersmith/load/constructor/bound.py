"""Which names and attributes of a constructor hold a parameter, an item of it, or a field."""

from __future__ import annotations

import ast
from collections import defaultdict

from layersmith.load.constructor.syntax import contents, field_name, is_slice, owner_of
from layersmith.load.constructor.trace import Usage

WALKED = {"zip", "enumerate", "list", "tuple", "reversed", "pairwise", "len", "sum", "max", "sorted"}


class Bound:
    """The traces of one function's parameters, by all the names that the function has for them."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self.found: defaultdict[str, Usage] = defaultdict(Usage)
        self.kept_as: dict[str, Usage] = {}  # attribute of self -> the trace of what it keeps
        self.looped: dict[str, Usage] = {}  # local variable -> the trace of what it holds or goes through

    def parameter(self, node: ast.AST) -> str:
        """The parameter that a bare name is; "" if it is none."""
        return node.id if isinstance(node, ast.Name) and node.id in self.names else ""

    def trace(self, node: ast.AST) -> Usage | None:
        """The traces of a parameter, of a loop's item of it, of an attribute or key, or of what it makes: `make()`."""
        if self.parameter(node):
            return self.found[self.parameter(node)]
        if isinstance(node, ast.Name):
            return self.looped.get(node.id)
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "self":
            return self.kept_as.get(node.attr)
        if isinstance(node, ast.Call) and not (node.args or node.keywords):
            maker = self.trace(node.func) if isinstance(node.func, ast.Name) else None
            return maker.result() if maker is not None else None
        is_picked = isinstance(node, ast.Subscript) and not isinstance(node.slice, ast.Constant | ast.Slice)
        name = field_name(node)
        held = self.trace(owner_of(node)) if name or is_picked else None
        if held is not None and is_picked:  # `sizes[i]`
            return held.one() if "dict" not in held.kinds else None
        return held.fields.setdefault(name, Usage()) if held is not None else None

    def mark(self, node: ast.AST, kind: str) -> None:
        """Remember of what kind it is used as, if it is held at all."""
        if (trace := self.trace(node)) is not None:
            trace.kinds.add(kind)

    def keep(self, target: ast.expr, value: ast.expr) -> None:
        """`self.depth = config.depth`, `self.dim, self.depth = dim, depth`: another name of that setting."""
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            for one, its in zip(target.elts, value.elts, strict=False):
                self.keep(one, its)
        if (trace := self.trace(contents(value))) is None:
            return
        if isinstance(target, ast.Attribute) and getattr(target.value, "id", "") == "self":
            self.kept_as.setdefault(target.attr, trace)
        elif isinstance(target, ast.Name):
            self.looped.setdefault(target.id, trace)

    def loop(self, target: ast.expr, walked: ast.expr) -> None:
        """Remember of which parameter the loop variable is an item."""
        called = walked.func.id if isinstance(walked, ast.Call) and isinstance(walked.func, ast.Name) else ""
        inner = walked.args if isinstance(walked, ast.Call) else []
        parts = target.elts if isinstance(target, ast.Tuple) else []
        if called == "enumerate" and inner and len(parts) == 2:  # noqa: PLR2004 - number and item
            self.loop(parts[1], inner[0])
        elif called == "zip":
            for part, one in zip(parts, inner, strict=False):
                self.loop(part, one)
        elif called in WALKED and inner:
            self.loop(target, inner[0])
        else:
            self.item_of(target, walked.value if is_slice(walked) else walked)

    def item_of(self, target: ast.expr, walked: ast.expr) -> None:
        """The loop variables are an item of what is walked, or the parts of one."""
        if (trace := self.trace(walked)) is None:
            return
        trace.kinds.add("sequence")
        if isinstance(target, ast.Name):
            self.looped[target.id] = trace.one()
        elif isinstance(target, ast.Tuple):
            item = trace.one()
            item.kinds.add("sequence")
            item.length = len(target.elts)
            names = [(i, part.id) for i, part in enumerate(target.elts) if isinstance(part, ast.Name)]
            self.looped.update({name: item.part(index) for index, name in names})
