"""What becomes of a constructor's parameters: read from the source, so that nothing needs to be run."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass

from layersmith.probe import source

READS_ALL = re.compile(r"\b(locals|vars|save_hyperparameters|getcallargs|inspect|signature)\b")
VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Idle:
    """A parameter that nothing depends on."""

    name: str
    how: str  # "is never read", "is kept in self.eps, which nothing reads"
    file: str
    line: int


def idle(cls: type) -> Iterator[Idle]:
    """The parameters of the class's own `__init__` that have no effect, whatever is given.

    A parameter is idle if each use of it only stores it where nothing reads it, checks it, or makes a local variable
    that is idle itself. Nothing is said of a constructor that reads all its parameters at once, as `locals()` does.
    """
    node = source.function_node(vars(cls).get("__init__"))
    if node is None or READS_ALL.search(ast.unparse(node)) or _does_nothing(node):
        return
    file = source.file_of(cls)
    reader = _Reader(cls, node, file)
    for argument in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs][1:]:
        if (how := reader.idleness(argument.arg)) is not None:
            yield Idle(argument.arg, how, file, argument.lineno)


class _Reader:
    """The uses of names in one constructor."""

    def __init__(self, cls: type, node: source.Function, file: str) -> None:
        self.cls = cls
        self.node = node
        self.parents = {child: parent for parent in ast.walk(node) for child in ast.iter_child_nodes(parent)}
        self.attributes_read = _attributes_read(file)

    def idleness(self, name: str, seen: frozenset[str] = frozenset()) -> str | None:
        """Why nothing depends on a name; None if something may."""
        uses = [part for part in ast.walk(self.node) if isinstance(part, ast.Name) and part.id == name]
        loads = [use for use in uses if isinstance(use.ctx, ast.Load)]
        if not loads:
            return "is never read"
        hows = [self._end(use, name, seen) for use in loads]
        if any(how is None for how in hows):
            return None
        return next((how for how in hows if how), "is only checked, never used")

    def _end(self, use: ast.Name, name: str, seen: frozenset[str]) -> str | None:
        """Where one use ends; "" for a mere check, None where it may have an effect."""
        child: ast.AST = use
        while not isinstance(child, ast.stmt):
            if isinstance(child, ast.NamedExpr | ast.Lambda | ast.Await | ast.Yield):
                return None
            if isinstance(child, ast.Call) and not _is_pure(child):
                return "" if self._is_in_check(child) else None
            child = self.parents[child]
        if self._is_in_check(use):
            return ""
        return self._stored(child, name, seen)

    def _is_in_check(self, node: ast.AST) -> bool:
        """Whether it stands in an assert, in a `raise`, or in an `if` that only raises or warns, and is reckoned with.

        A mere comparison with a constant is how an option is refused that is not supported: that is an effect.
        """
        is_reckoned = False
        while node is not self.node:
            node, inner = self.parents[node], node
            is_reckoned = is_reckoned or isinstance(node, ast.BinOp | ast.Raise)
            if isinstance(node, ast.Assert | ast.Raise):
                return is_reckoned
            if isinstance(node, ast.If) and (inner is node.test or not node.orelse) and _only_complains(node):
                return is_reckoned
        return False

    def _stored(self, statement: ast.AST, name: str, seen: frozenset[str]) -> str | None:
        if not isinstance(statement, ast.Assign | ast.AnnAssign) or statement.value is None:
            return None
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        hows = [self._kept(target, statement.value, name, seen) for target in targets]
        return None if None in hows else " ".join(how for how in hows if how is not None)

    def _kept(self, target: ast.expr, value: ast.expr, name: str, seen: frozenset[str]) -> str | None:
        if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
            is_plain = isinstance(value, ast.Name) and target.value.id == "self"
            is_read = target.attr in self.attributes_read or hasattr(self.cls, target.attr)
            return f"is kept in self.{target.attr}, which nothing reads" if is_plain and not is_read else None
        if isinstance(target, ast.Name):
            if target.id == name or target.id in seen:
                return ""
            inner = self.idleness(target.id, seen | {name, target.id})
            return f"only makes {target.id}, which {inner}" if inner else None
        return None


def _attributes_read(file: str) -> set[str]:
    """Every attribute name that any code of the file reads, and every string in it, which `getattr` may take."""
    found: set[str] = set()
    for node in ast.walk(source.tree_of(file)):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            found.add(node.attr)
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Attribute):
            found.add(node.target.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= set(re.findall(r"\w+", node.value)) if len(node.value) < 40 else set()  # noqa: PLR2004 - no prose
    return found


def has_twin(cls: type) -> bool:
    """Whether another class of the file has a constructor with the very same parameters: an interface they share."""
    mine = source.class_node(cls)
    names = _parameter_names(mine) if mine is not None else ()
    others = (
        node for node in ast.walk(source.tree_of(source.file_of(cls))) if isinstance(node, ast.ClassDef)
    )
    return any(
        _parameter_names(other) == names for other in others if mine is None or other.lineno != mine.lineno
    )


def _parameter_names(node: ast.ClassDef) -> tuple[str, ...]:
    for child in node.body:
        if isinstance(child, ast.FunctionDef) and child.name == "__init__":
            arguments = child.args
            return tuple(one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs))
    return ()


def _is_pure(call: ast.Call) -> bool:
    """Whether a call only computes: a builtin that has no effect but its value."""
    return isinstance(call.func, ast.Name) and call.func.id in {
        "int", "float", "bool", "str", "len", "max", "min", "abs", "round", "tuple", "list", "isinstance", "sum",
    }  # fmt: skip


def _only_complains(node: ast.If) -> bool:
    return all(
        isinstance(part, ast.Raise | ast.Assert | ast.Pass)
        or (isinstance(part, ast.Expr) and "warn" in ast.unparse(part))
        for part in node.body
    )


def _does_nothing(node: source.Function) -> bool:
    """Whether a constructor is a stub: a docstring, `pass`, a mere `super().__init__()`, or one that only raises."""
    rest = [
        part
        for part in node.body
        if not isinstance(part, ast.Pass | ast.Raise)
        and not (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant))
        and "super()" not in ast.unparse(part)
    ]
    return not rest
