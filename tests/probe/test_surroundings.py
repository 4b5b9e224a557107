"""Whatever happens inside, the user's global state is as before."""

from __future__ import annotations

import os
import random
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.overrides import _get_current_function_mode_stack

from layersmith.probe.surroundings import preserved, seed_all


def state() -> tuple[object, ...]:
    return (
        torch.get_rng_state().tolist(),
        random.getstate(),
        np.random.get_state()[1].tolist(),  # type: ignore[index]
        torch.get_default_dtype(),
        torch.get_default_device(),
        len(_get_current_function_mode_stack()),
        torch.is_grad_enabled(),
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        Path.cwd(),
    )


def vandalise(folder: Path) -> None:
    seed_all(99)
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.set_grad_enabled(False)
    torch.set_num_threads(2 if torch.get_num_threads() == 1 else 1)
    torch.use_deterministic_algorithms(True)
    os.chdir(folder)


@pytest.mark.parametrize("fails", [False, True])
def test_everything_is_restored(tmp_path: Path, fails: bool) -> None:
    before = state()
    with suppress(RuntimeError), preserved(seed=3):
        vandalise(tmp_path)
        if fails:
            raise RuntimeError("on purpose")
    assert state() == before


def test_a_seed_makes_all_three_generators_repeat() -> None:
    def draw() -> tuple[float, float, float]:
        with preserved(seed=7):
            return torch.rand(()).item(), random.random(), float(np.random.rand())

    assert draw() == draw()
