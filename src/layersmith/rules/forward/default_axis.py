"""What is normalised or compared along a default axis must have its features there.

## Why it matters
`F.normalize(x)` and `F.cosine_similarity(x, y)` work along axis 1. That is right for rows of features; for rows x steps x
features it is the steps: every feature is divided by its norm over the sequence, padding and future among it, and no
vector has length one.

## How it is tested
Forward is watched: `F.normalize` or `F.cosine_similarity`, called without an axis, must not be given three axes of which
a linear layer, a norm or an embedding has just made the last.

## How to fix it
Say it: `F.normalize(x, dim=-1)`.

## How to reproduce it
    from unittest import mock
    taken = []
    def normalize(x, p=2.0, dim=None, eps=1e-12, real=nn.functional.normalize):
        taken.append(x.ndim > 2 and dim is None)
        return real(x, p, 1 if dim is None else dim, eps)
    with mock.patch.object(nn.functional, "normalize", normalize):
        run()
    assert not any(taken), "normalize() without dim works along axis 1"
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import features_last, reading
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.SHAPES_MEANT, after=("forward-raises",))
def default_axis(case: Case) -> Iterator[Finding]:
    """Watch one call."""
    if not reading.mentions(case.module, features_last.CALLS):
        raise NotApplicable("its files call neither normalize() nor cosine_similarity()")
    for one in dict.fromkeys(features_last.misplaced(case.module, case.inputs)):
        yield Finding(
            f"{one.function}() without dim works along axis 1 of {one.shape}, and a layer made the last one",
            file=one.file,
            line=one.line,
            fix="dim=-1",
        )


@default_axis.bad(
    "normalize() without dim works along axis 1 of (2, 5, 4)", inputs=lambda: torch.randn(2, 5, 6)
)
class NormalisesSteps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.normalize(self.project(x))


@default_axis.bad("cosine_similarity() without dim", inputs=lambda: torch.randint(9, (2, 5)))
class ComparesSteps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.key = nn.Embedding(9, 4), nn.Linear(4, 4)

    def forward(self, ids: Tensor) -> Tensor:
        words = self.words(ids)
        return nn.functional.cosine_similarity(words, self.key(words).relu())


@default_axis.good(inputs=lambda: torch.randn(2, 5, 6))
class NormalisesFeatures(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        rows = nn.functional.normalize(self.project(x.mean(1)))
        return nn.functional.normalize(self.project(x), dim=-1) @ rows.unsqueeze(-1)


@default_axis.good(inputs=lambda: torch.randn(2, 5, 6))
class NormalisesChannels(nn.Module):
    """After a transpose axis 1 is that of the features."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.normalize(self.project(x).transpose(1, 2))


@default_axis.good(inputs=lambda: torch.randn(2, 6, 5))
class NormalisesMaps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(6, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.normalize(self.conv(x).relu())
