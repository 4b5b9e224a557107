"""The notation of inputs: `f32[2,16,64], mask=bool[2,16]`."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from typing import Any

from layersmith.errors import UsageError
from layersmith.load.values import DTYPES, Call, TensorSpec

_GRAMMAR = (
    "inputs are written as a call's arguments:\n"
    "  f32[2,16,64]                     a float tensor, standard normal (also f16 bf16 f64 c64)\n"
    "  f32[4,3]<1                       uniform from 0 to 1\n"
    "  i64[2,16]<100                    integers below 100 (also i32 u8)\n"
    "  1<=i64[2]<17                     integers from 1 to 16: lengths of rows, the longest first\n"
    "  f32[2,16,64], mask=bool[2,16]    two arguments, the second by name\n"
    "  [f32[2,8], f32[2,4]], 3, 'mean'  lists, tuples, dicts, numbers and strings"
)


def parse(text: str) -> Call:
    """The arguments that a text describes.

    Args:
        text: `f32[2,16,64], mask=bool[2,16]`.

    Raises:
        UsageError: where the text is no such thing, with the place and the grammar by example.

    Example:
        >>> str(parse("f32[2, 16, 64], mask=bool[2,16]"))
        'f32[2,16,64], mask=bool[2,16]'
    """
    source = _with_scalars(text)
    opening = "_("
    try:
        tree = ast.parse(f"{opening}{source})", mode="eval").body
    except SyntaxError as error:
        raise _bad(source, (error.offset or 1) - 1 - len(opening), "this cannot be read") from None
    if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name):
        raise _bad(source, 0, "brackets do not match")
    reader = _Reader(source, len(opening))
    args = tuple(reader.value(node) for node in tree.args)
    return Call(args, {reader.name(word): reader.value(word.value) for word in tree.keywords})


def described(text: str) -> tuple[str, dict[str, TensorSpec]]:
    """A Python expression with a name for every tensor that the text describes, and the tensors by these names.

    Raises:
        UsageError: for a description that is none.

    Example:
        >>> described("Block(64)(f32[2,64])")[0]
        'Block(64)(tensor_0_)'
    """
    source = _with_scalars(text)
    try:
        tree = ast.parse(source, mode="eval").body
    except SyntaxError as error:
        raise _bad(source, (error.offset or 1) - 1, "this cannot be read") from None
    specs = _Specs(_Reader(source, 0))
    return ast.unparse(specs.visit(tree)), specs.found


class _Specs(ast.NodeTransformer):
    """Puts a name in the place of every tensor that is described."""

    def __init__(self, reader: _Reader) -> None:
        self.reader = reader
        self.found: dict[str, TensorSpec] = {}

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        """`f32[2,3]`."""
        return self.named(self.reader.tensor(node)) if _is_tensor(node) else self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        """`i64[2,3]<100`."""
        is_bounded = _is_tensor(node.left) or _is_tensor(node.comparators[0])
        return self.named(self.reader.bounded(node)) if is_bounded else self.generic_visit(node)

    def named(self, spec: TensorSpec) -> ast.Name:
        name = f"tensor_{len(self.found)}_"
        self.found[name] = spec
        return ast.Name(name, ast.Load())


def _is_tensor(node: ast.expr) -> bool:
    return isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id in DTYPES


def _with_scalars(text: str) -> str:
    """The text with `f32[]` as Python can read it."""
    return re.sub(rf"\b({'|'.join(DTYPES)})\[\s*\]", r"\1[()]", text.strip())


class _Reader:
    """Turns the syntax tree of one text into values."""

    def __init__(self, source: str, shift: int) -> None:
        self.source = source
        self.shift = shift

    def name(self, keyword: ast.keyword) -> str:
        if keyword.arg is None:
            raise self.bad(keyword.value, "** is not allowed here")
        return keyword.arg

    def value(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Subscript):
            return self.tensor(node)
        if isinstance(node, ast.Compare):
            return self.bounded(node)
        if isinstance(node, ast.List | ast.Tuple):
            kind = list if isinstance(node, ast.List) else tuple
            return kind(self.value(item) for item in node.elts)
        if isinstance(node, ast.Dict):
            return {
                self.key(node, key): self.value(item)
                for key, item in zip(node.keys, node.values, strict=True)
            }
        return self.literal(node)

    def tensor(self, node: ast.Subscript, *, high: int = 0) -> TensorSpec:
        if not isinstance(node.value, ast.Name) or node.value.id not in DTYPES:
            raise self.bad(node, f"a tensor begins with one of {' '.join(DTYPES)}")
        sizes = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return TensorSpec(tuple(self.size(size) for size in sizes), DTYPES[node.value.id], high)

    def bounded(self, node: ast.Compare) -> TensorSpec:
        if isinstance(node.left, ast.Constant) and len(node.ops) == 2 and isinstance(node.ops[0], ast.LtE):  # noqa: PLR2004 - 1<=i64[5]<8
            inner = ast.copy_location(
                ast.Compare(node.comparators[0], node.ops[1:], node.comparators[1:]), node
            )
            return replace(self.bounded(inner), low=self.size(node.left))
        bound = node.comparators[0]
        is_plain = (
            len(node.ops) == 1 and isinstance(node.ops[0], ast.Lt) and isinstance(node.left, ast.Subscript)
        )
        if not is_plain or not isinstance(node.left, ast.Subscript):
            raise self.bad(node, "only a tensor can have a bound, and only by <")
        high = self.size(bound)
        if high == 0:
            raise self.bad(bound, "a bound must be at least 1")
        return self.tensor(node.left, high=high)

    def size(self, node: ast.expr) -> int:
        if isinstance(node, ast.Constant) and type(node.value) is int:
            return node.value
        raise self.bad(node, "sizes and bounds are whole numbers, 0 or more")

    def key(self, node: ast.Dict, key: ast.expr | None) -> Any:
        if key is None:
            raise self.bad(node, "** is not allowed here")
        return self.literal(key)

    def literal(self, node: ast.expr) -> Any:
        try:
            return ast.literal_eval(node)
        except ValueError:
            raise self.bad(node, "this is neither a tensor nor a literal") from None

    def bad(self, node: ast.expr, why: str) -> UsageError:
        return _bad(self.source, node.col_offset - self.shift, why)


def _bad(source: str, column: int, why: str) -> UsageError:
    place = " " * max(0, min(column, len(source)))
    return UsageError(f"cannot read the inputs: {why}\n  {source}\n  {place}^\n{_GRAMMAR}")
