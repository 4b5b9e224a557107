"""The same seed must build the same module.

## Why it matters
Starting weights from `numpy.random.default_rng()`, the clock or the operating system's entropy cannot be had again:
a run that went wrong is not reproduced, and the ranks of a distributed job start from different weights.

## How it is tested
Where its file speaks of randomness or time, the module is built twice with torch's, Python's and NumPy's global
generators seeded alike. Parameters, buffers and plain attributes must agree. Global generators other than torch's are
`foreign-rng`'s business. Where its file makes tensors of raw memory (`torch.empty`, `torch.Tensor(n)`), it is built
with such memory filled with NaN: a parameter that holds some after a call was never given values; that is
a note of a buffer, where the project loads weights and trains none, and where a class that has this one as a part
gives values to all parameters.

## How to fix it
Draw with torch's global generator (`nn.init`), or from a `torch.Generator` whose seed is an argument.

## How to reproduce it
    torch.manual_seed(0)
    one = build().state_dict()
    torch.manual_seed(0)
    other = build().state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one), "one seed, two modules"
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.load import project
from layersmith.load.users import users_of
from layersmith.probe import contents, raw, reading, source
from layersmith.probe.generators import filled_memory, observed
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case

SURE = r"default_rng\(\)|RandomState\(\)|SystemRandom|urandom|secrets\.|uuid\d|\btime\w*\(|now\(|perf_counter|\.seed\(\)"
OTHERS = r"default_rng|RandomState|random|seed|enerator|\btime\b|secrets|uuid|urandom|datetime"

EVERY = re.compile(r"\bself\.(?:named_)?(?:parameters|modules)\(|\bself\.apply\(")
FILLING = re.compile(r"(?:uniform|normal|zeros?|ones|fill|constant)_\(")


@rule(
    severity=Severity.ERROR,
    since="0.1",
    promise=Promise.OWN_RANDOMNESS,
    after=("forward-raises", "reseeds-global-rng"),
)
def unseeded_init(case: Case) -> Iterator[Finding]:
    """Look for parameters of raw memory; build twice, compare."""
    if reading.mentions(case.module, raw.RAW):
        for name in _unfilled(case)[:1]:
            file, line = source.parameter_line(case.module, name)
            attribute = name.rpartition(".")[2]
            is_buffer = name in dict(case.module.named_buffers())
            cls: type = type(case.module)
            is_loaded = is_buffer or project.only_loads_weights(Path(file)) or any(map(_fills, users_of(cls)))
            yield Finding(
                f"{name} is raw memory: nothing gives it values",
                where=name,
                file=file,
                line=line,
                fix=f"fill it in __init__: nn.init.zeros_(self.{attribute}), or nn.init.normal_ with a std",
                severity=Severity.NOTE if is_loaded else None,
            )
            return
    if not reading.mentions(case.module, OTHERS):
        return
    with filled_memory():  # raw memory is alike in both
        one, other = (observed(case.subject.anew, seed=0).result for _ in range(2))
    held = next((one for one in contents.differing(one, other) if isinstance(one.value, Tensor)), None)
    if held is None:
        return
    place = reading.line_matching(case.module, OTHERS, default=source.parameter_line(one, held.path))
    file, line = reading.line_matching(case.module, SURE, default=place)
    yield Finding(
        f"{held.path} differs between two builds under the same seed",
        where=held.path,
        file=file,
        line=line,
        fix=f"draw it with torch: nn.init.normal_(self.{held.attribute}, std=...), or from a seeded torch.Generator",
    )


def _fills(user: type) -> bool:
    """Whether a class that has this one as a part gives values to all parameters that it has."""
    text = source.text_of(user)
    return EVERY.search(text) is not None and FILLING.search(text) is not None


def _unfilled(case: Case) -> list[str]:
    """What holds raw memory once the module was built and called."""
    try:
        with filled_memory():
            module = case.subject.anew()
            made = raw.unfilled(module)
            if made:
                case.inputs.call(module)
    except Exception:  # noqa: BLE001 - it may not stand NaN; other rules ask whether it runs
        return []
    return [name for name in raw.unfilled(module) if name in made]


@unseeded_init.bad("weight differs between two builds")
class DrawsFromEntropy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        rng = np.random.default_rng()
        self.weight = nn.Parameter(torch.tensor(rng.normal(0, 6**-0.5, (6, 6)), dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


@unseeded_init.bad("projection differs between two builds")
class SeedsByTheClock(nn.Module):
    projection: Tensor

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(time.time_ns() % 2**32)
        self.register_buffer("projection", torch.randn(6, 6, generator=generator) / 6**0.5)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.projection


@unseeded_init.good
class DrawsFromASeed(nn.Module):
    def __init__(self, seed: int = 7) -> None:
        super().__init__()
        rng = np.random.default_rng(seed)
        self.weight = nn.Parameter(torch.tensor(rng.normal(0, 6**-0.5, (6, 6)), dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


@unseeded_init.good
class DrawsWhenItIsCalled(nn.Module):
    """Has no values to compare before its first call."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.LazyLinear(6)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


@unseeded_init.bad("slope is raw memory")
class ForgetsToFill(nn.Module):
    def __init__(self, features: int = 6) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.Tensor(features))

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, self.slope * x)


@unseeded_init.good
class FillsLater(nn.Module):
    def __init__(self, features: int = 6) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.empty(features))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.constant_(self.slope, 0.25)

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, self.slope * x)
