"""A branch must not be hidden by one before it that is taken whenever it would be.

## Why it matters
`if kind.endswith("avgmax"): ... elif kind.endswith("catavgmax"): ...` never comes to its second branch: the option is
accepted, and another one is built in its place.

## How it is tested
The source is read: chains of `if` and `elif` in which an earlier condition holds wherever a later one does. Understood
are the ends, beginnings and parts of one text, comparisons of one expression with numbers or texts, and conditions that
are written twice.

## How to fix it
Ask for what is narrower first.

## How to reproduce it
    import ast, inspect, textwrap
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(type(module))))):
        if isinstance(node, ast.If) and len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If):
            assert ast.unparse(node.orelse[0].test) != where, f"{where} comes after {ast.unparse(node.test)}"
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import source
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case

ENDS: dict[str, Callable[[str, str], bool]] = {"endswith": str.endswith, "startswith": str.startswith}
TEXT = re.compile(r"name$|\.(?:lower|upper)\(\)$")  # not a dict, nor a list
SAME_SIDE = {ast.Gt: operator.ge, ast.GtE: operator.ge, ast.Lt: operator.le, ast.LtE: operator.le}


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.PLAIN_CODE, after=())
def unreachable_branch(case: Case) -> Iterator[Finding]:
    """Read the class of the module."""
    yield from hidden_in(type(case.module))


@unreachable_branch.by_source
def hidden_in(cls: type) -> Iterator[Finding]:
    """The branches of its methods that an earlier one of their chain hides."""
    for method in source.methods(cls):
        for chain in _chains(method):
            for index, later in enumerate(chain):
                earlier = next((one for one in chain[:index] if _implies(later, one)), None)
                if earlier is not None:
                    yield Finding(
                        f"the branch of `{ast.unparse(later)}` is never reached: `{ast.unparse(earlier)}` is before it",
                        where=ast.unparse(later),
                        file=source.file_of(cls),
                        line=later.lineno,
                        fix="ask for what is narrower first",
                    )


def _chains(method: source.Function) -> Iterator[list[ast.expr]]:
    """The conditions of each chain of at least two."""
    inner = {
        id(node.orelse[0])
        for node in ast.walk(method)
        if isinstance(node, ast.If) and len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If)
    }
    for node in ast.walk(method):
        tests: list[ast.expr] = []
        part: ast.stmt | None = node if isinstance(node, ast.If) and id(node) not in inner else None
        while isinstance(part, ast.If):
            tests.append(part.test)
            part = part.orelse[0] if len(part.orelse) == 1 else None
        if len(tests) > 1:
            yield tests


def _implies(later: ast.expr, earlier: ast.expr) -> bool:
    """Whether the earlier condition holds wherever the later one does."""
    if ast.unparse(later) == ast.unparse(earlier):
        return (
            not any(isinstance(part, ast.Call | ast.NamedExpr) for part in ast.walk(later))
            or _end(later) is not None
        )
    one, other = _end(later), _end(earlier)
    if one is not None and other is not None:
        return one[:2] == other[:2] and ENDS[one[1]](one[2], other[2])
    narrow, wide = _comparison(later), _comparison(earlier)
    if narrow is None or wide is None or narrow[0] != wide[0] or narrow[1] is not wide[1]:
        return False
    if narrow[1] is ast.In:
        is_text = isinstance(narrow[2], str) and TEXT.search(narrow[0]) is not None
        return is_text and isinstance(wide[2], str) and wide[2] in narrow[2]
    are_numbers = all(isinstance(value, int | float) for value in (narrow[2], wide[2]))
    return are_numbers and narrow[1] in SAME_SIDE and bool(SAME_SIDE[narrow[1]](narrow[2], wide[2]))


def _end(test: ast.expr) -> tuple[str, str, str] | None:
    """`name`, `endswith` and the text of `name.endswith("text")`."""
    if (
        not isinstance(test, ast.Call)
        or not isinstance(test.func, ast.Attribute)
        or test.func.attr not in ENDS
    ):
        return None
    text = test.args[0].value if len(test.args) == 1 and isinstance(test.args[0], ast.Constant) else None
    return (ast.unparse(test.func.value), test.func.attr, text) if isinstance(text, str) else None


def _comparison(test: ast.expr) -> tuple[str, type[ast.cmpop], Any] | None:
    """`x`, the comparison and the constant of `x > 1`, or of `"part" in x`."""
    if not isinstance(test, ast.Compare) or len(test.ops) != 1:
        return None
    left, right = test.left, test.comparators[0]
    if isinstance(test.ops[0], ast.In):
        left, right = right, left
    return (ast.unparse(left), type(test.ops[0]), right.value) if isinstance(right, ast.Constant) else None


class _Pools(nn.Module):
    def __init__(self, kind: str = "max") -> None:
        super().__init__()
        self.kind = kind


@unreachable_branch.bad("the branch of `self.kind.endswith('absmax')` is never reached")
class PoolsByEnd(_Pools):
    def forward(self, x: Tensor) -> Tensor:
        if self.kind.endswith("max"):
            return x.amax(-1)
        elif self.kind.endswith("absmax"):  # noqa: RET505 - as it is found
            return x.abs().amax(-1)
        return x.mean(-1)


@unreachable_branch.bad("the branch of `steps > 100` is never reached")
class ChoosesByLength(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        steps = x.shape[-1]
        if steps > 10:  # noqa: PLR2004 - as it is found
            x = x * 0.5
        elif steps > 100:  # noqa: PLR2004 - as above
            x = x * 0.1
        return x.relu()


@unreachable_branch.good
class PoolsByTheLongerEnd(_Pools):
    def forward(self, x: Tensor) -> Tensor:
        if self.kind.endswith("absmax"):
            return x.abs().amax(-1)
        elif self.kind.endswith("max"):  # noqa: RET505 - as it is found
            return x.amax(-1)
        return x.mean(-1)
