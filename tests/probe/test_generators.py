"""Which generators something draws from, and whether it seeds them."""

from __future__ import annotations

import random
import subprocess
import sys

import numpy as np
import torch

from layersmith.probe.generators import observed, reseeded


def seed_all_three() -> None:
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)


def seed_and_put_back() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)


def test_what_draws_is_named() -> None:
    assert observed(lambda: torch.rand(3), seed=0).moved == {"torch"}
    assert observed(random.random, seed=0).moved == {"random"}
    assert observed(np.random.rand, seed=0).moved == {"numpy"}
    assert observed(lambda: torch.ones(3), seed=0).moved == set()


def test_seeding_is_told_from_drawing() -> None:
    assert reseeded(seed_all_three) == {"torch", "random", "numpy"}
    assert reseeded(lambda: torch.rand(3)) == set()
    assert reseeded(seed_and_put_back) == set()


def test_a_foreign_seed_leaves_torch_alone_and_all_is_put_back() -> None:
    before = (torch.get_rng_state(), random.getstate())
    draws = [
        observed(lambda: (float(torch.rand(())), random.random()), seed=0, foreign_seed=s).result
        for s in (1, 2)
    ]
    assert draws[0][0] == draws[1][0]
    assert draws[0][1] != draws[1][1]
    assert torch.equal(before[0], torch.get_rng_state())
    assert random.getstate() == before[1]


def test_memory_is_filled_and_the_switch_put_back_without_the_compiler() -> None:
    code = (
        "import sys, torch\n"
        "from layersmith.probe.generators import filled_memory\n"
        "with filled_memory():\n"
        "    assert torch.empty(3).isnan().all()\n"
        "assert not torch.are_deterministic_algorithms_enabled()\n"
        "assert 'torch._inductor' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
