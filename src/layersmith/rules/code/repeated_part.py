"""Parts that are joined, or unpacked together, must not be one part twice.

## Why it matters
`x5 = x[:, 0::2, 1::2]` where `x2` has been just that joins two corners of a patch twice, and leaves out two: a slip of
the clipboard that no shape and no error shows. `x_dist = self.drop(x)`, two lines after `x, x_dist = ...`, throws
away what the second head was to get.

## How it is tested
The source is read. Two of the variables that one `cat` or `stack` joins must not have been given the same expression,
with nothing that it reads changed in between; nor may one call stand twice in it while a variable that was unpacked
with the one it reads is never read. A variable unpacked with another must not be set anew from that other
before anything has read it; sizes and what is called a rest are left out.

## How to fix it
Write the part, or the variable, that was meant.

## How to reproduce it
    import ast, inspect, textwrap
    tree = ast.parse(textwrap.dedent(inspect.getsource(type(module))))
    lines = [ast.unparse(one) for one in ast.walk(tree) if isinstance(one, ast.Assign)]
    set_to = [line.partition(" = ")[2] for line in lines]
    twice = [line for line, value in zip(lines, set_to) if value and set_to.count(value) > 1]
    assert not [line for line in lines if line.startswith(f"{where} = ") and (line in twice or len(lines) < 4)], where
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import repeated, source
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case

READINGS = (repeated.joined_twice, repeated.joined_with_itself, repeated.lost)


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.PLAIN_CODE, after=())
def repeated_part(case: Case) -> Iterator[Finding]:
    """Read it, whether the lines ran or not."""
    yield from parts_of(type(case.module))


@repeated_part.by_source
def parts_of(cls: type) -> Iterator[Finding]:
    """Each variable that is another's double, or that is lost to another."""
    for method in source.methods(cls):
        for one in chain(*(read(method) for read in READINGS)):
            yield Finding(
                one.said,
                where=one.name,
                file=source.file_of(cls),
                line=one.line,
                fix=f"write what {one.name} was to be",
            )


@repeated_part.bad("odd is even once more", inputs=lambda: torch.randn(3, 8, 6))
class JoinsEvenRowsTwice(nn.Module):
    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        even = x[:, 0::2]
        odd = x[:, 0::2]
        return self.linear(torch.cat([even, odd], dim=-1))


@repeated_part.bad("side is unpacked and, before anything reads it, set to something of main")
class LosesItsSide(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        main, side = x[:, :3], x[:, 3:]
        side = main.relu()
        return main, side


@repeated_part.bad("self.code(y) is joined with itself, and x, which came with y, is never read")
class EncodesRowsTwice(nn.Module):
    def code(self, place: Tensor) -> Tensor:
        return place.flatten()[:, None] / 2.0 ** torch.arange(3, device=place.device)

    def forward(self, image: Tensor) -> Tensor:
        y, x = torch.meshgrid(*(torch.arange(n, device=image.device) for n in image.shape), indexing="ij")  # noqa: RUF059 - the slip
        return image.reshape(-1, 1) + torch.cat([self.code(y), self.code(y)], 1).sin().to(image)


@repeated_part.good(inputs=lambda: torch.randn(3, 8, 6))
class JoinsBothKindsOfRows(nn.Module):
    """The rows are changed in between, and what is unpacked is read first; sizes may be named anew."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        steps, width = x.shape[1:]
        steps = steps * width
        first = x[:, 0::2]
        x = x.roll(1, dims=1)
        second = x[:, 0::2]
        main, side = first.chunk(2, dim=-1)
        side = main + side
        return self.linear(torch.cat([first, second], dim=-1)) + side.mean((1, 2), keepdim=True) / steps


@repeated_part.good(inputs=lambda: torch.randn(2, 3, 7, 4))
class PadsBothEnds(nn.Module):
    """Zeros before and after, of sizes that came with one that nothing reads."""

    def forward(self, x: Tensor) -> Tensor:
        n, c, t, v = x.size()  # noqa: RUF059 - as it is written
        return torch.cat((x.new_zeros(n, c, 1, v), x[:, :, 1:] - x[:, :, :-1], x.new_zeros(n, c, 1, v)), 2)
