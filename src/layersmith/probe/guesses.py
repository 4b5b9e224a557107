"""Signs that axis 0 of inputs that were guessed holds something else than a batch."""

from __future__ import annotations

import contextlib
import linecache
import re
from collections.abc import Callable
from typing import Any

import torch

from layersmith.probe import closeness, tree
from layersmith.probe.inputs import Inputs

IMAGE = 3  # axes of one image
PAIR = re.compile(r"\b(\w+)\[0\].*\b\1\[1\]")  # cosines and sines in one tensor


def is_a_pair(file: str, line: int) -> bool:
    """Whether a line takes a tensor apart along axis 0: `t * freqs[0] + turned(t) * freqs[1]`."""
    return bool(line) and PAIR.search(linecache.getline(file, line)) is not None


def is_one_sample(inputs: Inputs, run: Callable[[Inputs], Any]) -> bool:
    """Whether an input of three axes is one image: two of them, stacked, give the same answers, stacked."""
    first, *others = [*inputs.tensors()] or [torch.empty(0)]
    if others or first.ndim != IMAGE:
        return False
    with contextlib.suppress(Exception):
        both = tree.tensors(run(inputs.map(lambda x: torch.stack([x, x.flip(0)]))))
        pairs = [*zip(both, tree.tensors(run(inputs)), strict=True)]
        return all(two.ndim == one.ndim + 1 and not closeness.gap(two[0], one).is_open for two, one in pairs)
    return False
