"""An argument must go to the parameter of its name.

## Why it matters
`Attention(dim, dim_head, heads)` where it says `def __init__(self, dim, heads, dim_head)` runs, with eight heads of 64
for 64 heads of eight; `LayerNorm(width, bias)` makes an epsilon of the bias. No shape shows it.

## How it is tested
The calls of torch's layers, and of classes and functions of the file, in the source: two positional arguments must not
be variables of each other's parameter's name, unless both are of one kind (`in_channels`, `out_channels`), which a
mirrored layer may well exchange, or another call exchanges nothing; and a variable with the name of one parameter, which
gets no argument, must not be given to another whose default is of another kind (a flag, a number, a text). What counts
(`groups`) must not stand beside the parameter that it is the number of (`num_groups`).

## How to fix it
Name the arguments: `heads=heads`.

## How to reproduce it
    import ast, inspect, textwrap
    tree = ast.parse(textwrap.dedent(inspect.getsource(type(module))))
    called = [ast.unparse(one) for one in ast.walk(tree) if isinstance(one, ast.Call)]
    assert where not in called, f"{where} gives arguments to parameters of other names"
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import fitting
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.PLAIN_CODE, after=())
def swapped_arguments(case: Case) -> Iterator[Finding]:
    """Read it, whether the lines ran or not."""
    yield from swaps_of(type(case.module))


@swapped_arguments.by_source
def swaps_of(cls: type) -> Iterator[Finding]:
    """Each call with arguments in places of other names."""
    known = [*fitting.calls(cls)]
    for called in known:
        if (
            why := fitting.exchanged(called, known)
            or fitting.of_another_kind(called)
            or fitting.misplaced(called)
        ):
            yield Finding(
                f"{ast.unparse(called.node)} calls {called.name}{_short(called)}: {why}",
                where=ast.unparse(called.node),
                file=called.file,
                line=called.node.lineno,
                fix="name the arguments",
            )


def _short(called: fitting.Called) -> str:
    return f"({', '.join(called.signature.parameters)})"


class _Heads(nn.Module):
    def __init__(self, width: int, heads: int = 2, per_head: int = 3) -> None:
        super().__init__()
        self.heads, self.project = heads, nn.Linear(width, heads * per_head)

    def forward(self, x: Tensor) -> Tensor:
        return self.project(x).unflatten(-1, (self.heads, -1)).softmax(-1).flatten(-2)


@swapped_arguments.bad("per_head is given as heads, and heads as per_head")
class SwapsHeads(nn.Module):
    def __init__(self, width: int = 6, per_head: int = 3, heads: int = 2) -> None:
        super().__init__()
        self.attend = _Heads(width, per_head, heads)

    def forward(self, x: Tensor) -> Tensor:
        return self.attend(x)


class _Scaled(nn.Module):
    def __init__(self, width: int, eps: float = 1e-5, *, bias: bool = True) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x)


@swapped_arguments.bad("bias, which is a flag, is given as eps, which is a number")
class GivesABiasAsEpsilon(nn.Module):
    def __init__(self, width: int = 6, *, bias: bool = True) -> None:
        super().__init__()
        self.norm = _Scaled(width, bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x)


@swapped_arguments.bad("bn_momentum is given as eps, and momentum is left as it is")
class GivesAMomentumAsEpsilon(nn.Module):
    def __init__(self, width: int = 6, bn_momentum: float = 0.1) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(width, width), nn.BatchNorm1d(width, bn_momentum)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.linear(x))


@swapped_arguments.bad("groups is given as num_channels, and num_groups is width")
class NormalisesByName(nn.Module):
    def __init__(self, width: int = 6, groups: int = 2, norm: str = "layer") -> None:
        super().__init__()
        self.norm = nn.GroupNorm(width, groups) if norm == "group" else nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x)


class _Changes(nn.Module):
    def __init__(self, in_width: int, out_width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_width, out_width)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).tanh()


@swapped_arguments.good
class GoesThereAndBack(nn.Module):
    """A mirrored layer exchanges widths, and one name may well stand for another; a layer is no number of layers."""

    def __init__(self, in_width: int = 6, out_width: int = 8, heads: int = 2, per_head: int = 3) -> None:
        super().__init__()
        self.there, self.back = _Changes(in_width, out_width), _Changes(out_width, in_width)
        self.attend = _Heads(per_head * heads, heads, per_head)
        self.other = _Heads(heads * per_head, per_head=heads, heads=per_head)
        layer, depth = (
            nn.TransformerEncoderLayer(per_head * heads, heads, 12, dropout=0.0, batch_first=True),
            1,
        )
        self.encode = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.back(self.there(x))
        return self.attend(y) + self.other(y) + self.encode(y.unsqueeze(1)).squeeze(1)
