"""The global random generators of torch, Python and NumPy: which of them something uses, and how."""

from __future__ import annotations

import contextlib
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from layersmith.probe.surroundings import preserved, seed_all

States = dict[str, object]


@dataclass(frozen=True, slots=True)
class Episode:
    """What something returned, and where the generators stood before and after it."""

    result: Any
    before: States
    after: States

    @property
    def moved(self) -> frozenset[str]:
        """The generators that it drew from or seeded: "torch", "random", "numpy"."""
        return frozenset(name for name, state in self.after.items() if state != self.before.get(name))


def observed(act: Callable[[], Any], *, seed: int, foreign_seed: int | None = None) -> Episode:
    """Do something under a seed, Python's and NumPy's generators under another one if it is given."""
    with preserved(seed=seed):
        if foreign_seed is not None:
            torchs = torch.random.get_rng_state()
            seed_all(foreign_seed)
            torch.random.set_rng_state(torchs)
        before = _states()
        result = act()
        return Episode(result, before, _states())


@contextlib.contextmanager
def filled_memory() -> Iterator[None]:
    """Within it torch fills the memory that it hands out with NaN, so that what nobody fills can be seen."""
    is_strict, warns = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    switch = torch._C._set_deterministic_algorithms  # noqa: SLF001 - torch's own door to it imports the compiler
    switch(True, warn_only=True)  # noqa: FBT003 - it takes no keyword
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        switch(is_strict, warn_only=warns)


def reseeded(act: Callable[[], Any]) -> frozenset[str]:
    """The generators that stand at the same place afterwards wherever they stood before: something seeds them."""
    one, other = (observed(act, seed=seed) for seed in (1, 2))
    return frozenset(name for name in one.moved & other.moved if one.after[name] == other.after[name])


def _states() -> States:
    found: States = {"torch": torch.random.get_rng_state().numpy().tobytes(), "random": random.getstate()}
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        kind, words, position, *rest = numpy.random.get_state()
        found["numpy"] = (kind, words.tobytes(), position, *rest)
    return found
