r"""A pattern of einops says all sizes but one of each group that it takes apart.

## Why it matters
`rearrange(x, "b (qkv heads c) h w -> qkv b heads c (h w)", heads=8)` cannot know how much of the axis is qkv and how much
is c. It raises for every input.

## How it is tested
The source of the class is read, whether its lines run or not: in a call of `rearrange`, `reduce` or `repeat` with a
pattern in quotes, a group in brackets on the left may hold one name that no keyword gives. Numbers have their size.
Calls with `**sizes` are left alone.

## How to fix it
Give the size: `qkv=3`.

## How to reproduce it
    import re
    for group in re.findall(r"\(([^)]*)\)", where.split("->")[0]):
        unknown = [name for name in group.split() if not name.isdigit() and f"{name}=" not in where.replace(" ", "")]
        assert len(unknown) < 2, unknown
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import source
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case

CALLS = frozenset({"rearrange", "reduce", "repeat"})
GROUP = re.compile(r"\(([^()]*)\)")


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.PLAIN_CODE, after=())
def unsolvable_pattern(case: Case) -> Iterator[Finding]:
    """Read it, whether the lines ran or not."""
    yield from patterns_of(type(case.module))


@unsolvable_pattern.by_source
def patterns_of(cls: type) -> Iterator[Finding]:
    """Every call whose pattern leaves two sizes of a group open."""
    node = source.class_node(cls)
    for call in ast.walk(node) if node is not None else ():
        pattern = _pattern(call) if isinstance(call, ast.Call) else ""
        given = {word.arg for word in call.keywords} if isinstance(call, ast.Call) else set()
        for group in GROUP.findall(pattern.partition("->")[0]) if None not in given else ():
            open_ = [name for name in group.split() if not name.isdigit() and name not in given]
            if len(open_) > 1 and "..." not in group and isinstance(call, ast.Call):
                yield Finding(
                    f"({group}) cannot be taken apart: the sizes of {' and '.join(open_)} are not given",
                    where=ast.unparse(call),
                    file=source.file_of(cls),
                    line=call.lineno,
                    fix=f"give all but one: {open_[0]}=...",
                )
                break


def _pattern(call: ast.Call) -> str:
    """The pattern of a call of einops, in quotes; "" of any other."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    texts = [one.value for one in call.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    return next((one for one in texts if "->" in one), "") if name in CALLS else ""


def rearrange(x: Tensor, pattern: str, **sizes: int) -> Tensor:
    """As that of einops, for two patterns."""
    assert "->" in pattern
    return x.reshape(x.shape[0], sizes.get("heads", 2), -1)


@unsolvable_pattern.bad("(heads d) cannot be taken apart: the sizes of heads and d are not given")
class SplitsIntoHeads(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return rearrange(x, "b (heads d) -> b heads d")


@unsolvable_pattern.bad("(qkv heads d) cannot be taken apart: the sizes of qkv and d are not given")
class SplitsIntoThree(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return rearrange(torch.cat([x, x], -1), "b (qkv heads d) -> qkv b heads d", heads=2)


@unsolvable_pattern.good
class SplitsByNumber(nn.Module):
    """Joins what it took apart, and gives one size as a number."""

    def forward(self, x: Tensor) -> Tensor:
        x = rearrange(x, "b (heads 1 d) -> b heads d", heads=2)
        return rearrange(x, "b heads d -> b (heads d)", heads=2)
