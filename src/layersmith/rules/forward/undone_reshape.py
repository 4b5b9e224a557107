"""A reshape must not be undone by the next one.

## Why it matters
A channel shuffle splits the channels into groups, swaps the two axes and joins them again. Without the swap nothing has
moved: the groups of the next convolution see the same channels for ever, and no shape and no error tells.

## How it is tested
Reshapes are watched while forward runs in eval mode. Reported is one that splits an axis, if the very next operation
gives the shape from before, in the same expression or in the statement after it. Parts of one element do not count.

## How to fix it
`x.transpose(1, 2)` between the two, or neither of them.

## How to reproduce it
    seen = []
    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            if function.__name__ in ("view", "reshape", "flatten", "unflatten"):
                seen.append((args[0], result))
            return result
    with Watch(): run()
    assert not [y for (x, y), (z, w) in zip(seen, seen[1:]) if y is z and w.shape == x.shape], "nothing has moved"
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe.undone import undone
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.SHAPES_MEANT, after=("forward-raises",))
def undone_reshape(case: Case) -> Iterator[Finding]:
    """Watch one call; one finding a line."""
    found = {(one.file, one.line): one for one in undone(case.module, case.inputs)}
    for one in found.values():
        yield Finding(
            f"{one.whole} is split into {one.split} and put together again at once: nothing has moved",
            file=one.file,
            line=one.line,
            fix="transpose the parts between the two reshapes, or leave both out",
        )


def _channels() -> Tensor:
    return torch.randn(4, 6, 5)


@undone_reshape.bad("split into (4, 2, 3, 5)", inputs=_channels)
class ShufflesNothing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        b, c, n = x.shape
        x = x.view(b, 2, c // 2, n)
        return x.reshape(b, c, n)


@undone_reshape.bad("split into (4, 3, 2, 5)", inputs=_channels)
class JoinsWhatItSplit(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (3, 2)).flatten(1, 2) * 2


@undone_reshape.good(inputs=_channels)
class ShufflesChannels(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        b, c, n = x.shape
        return x.view(b, 2, c // 2, n).transpose(1, 2).reshape(b, c, n)


@undone_reshape.good(inputs=_channels)
class NormalisesGroups(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        b, c, n = x.shape
        y = x.view(b, 2, c // 2, n)
        wide = y.float()
        y = (wide / (wide.square().mean((2, 3), keepdim=True) + 1e-5).sqrt()).to(x.dtype)
        return y.view(b, c, n)
