"""Whatever a module does while it is examined, what the user holds is afterwards as it was."""

from __future__ import annotations

import copy
import os
import random
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import layersmith

Deed = Callable[["Misbehaving", Tensor], object]


def grow(module: Misbehaving, x: Tensor) -> None:
    module.seen.append(x)


def set_attribute(module: Misbehaving, x: Tensor) -> None:
    module.last = x.sum()


def add_buffer(module: Misbehaving, x: Tensor) -> None:
    module.register_buffer("late", x.clone())


def add_parameter(module: Misbehaving, x: Tensor) -> None:
    module.extra = nn.Parameter(torch.ones(x.shape[-1]))


def drop_parameter(module: Misbehaving, x: Tensor) -> None:
    module.linear.register_parameter("bias", None)


def write_weight(module: Misbehaving, x: Tensor) -> None:
    with torch.no_grad():
        module.linear.weight.mul_(0.5)


def leave_a_gradient(module: Misbehaving, x: Tensor) -> None:
    module.linear.weight.grad = torch.ones_like(module.linear.weight)


def hook(module: Misbehaving, x: Tensor) -> None:
    module.linear.register_forward_hook(lambda *_: None)


def switch_mode(module: Misbehaving, x: Tensor) -> None:
    module.train(not module.training)


def write_input(module: Misbehaving, x: Tensor) -> None:
    with torch.no_grad():
        x.zero_()


DEEDS: list[Deed] = [
    grow,
    set_attribute,
    add_buffer,
    add_parameter,
    drop_parameter,
    write_weight,
    leave_a_gradient,
    hook,
    switch_mode,
    write_input,
    lambda *_: torch.manual_seed(7),
    lambda *_: np.random.seed(7),
    lambda *_: random.seed(7),
    lambda *_: (torch.rand(3), np.random.rand(3), random.random()),
    lambda *_: torch.set_default_dtype(torch.float64),
    lambda *_: torch.set_grad_enabled(False),
    lambda *_: torch.set_num_threads(2),
    lambda *_: os.chdir(os.sep),
    lambda *_: warnings.simplefilter("error"),
]
ENDS: list[Callable[[Tensor], Tensor]] = [
    lambda x: x,
    lambda x: x.detach(),
    lambda x: x[:0],
    lambda x: x.reshape(-1)[1000:][0],  # raises
]


class Misbehaving(nn.Module):
    def __init__(self, deeds: list[Deed], end: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.register_buffer("count", torch.zeros(()))
        self.deeds, self.end = deeds, end
        self.seen: list[Any] = ["first"]
        self.last: Any = None

    def forward(self, x: Tensor) -> Tensor:
        self.get_buffer("count").add_(1)
        for deed in self.deeds:
            deed(self, x)
        return self.end(self.linear(x))


def held(module: Misbehaving, x: Tensor) -> dict[str, Any]:
    """All that the user could notice, as plain values."""
    numpy_state = np.random.get_state()
    return {
        "state": {name: tensor.tolist() for name, tensor in module.state_dict().items()},
        "grads": {
            name: p.grad if p.grad is None else p.grad.tolist() for name, p in module.named_parameters()
        },
        "ids": [id(tensor) for tensor in (*module.parameters(), *module.buffers())],
        "modes": [(part.training, len(part._forward_hooks), sorted(vars(part))) for part in module.modules()],
        "plain": (copy.copy(module.seen), module.last),
        "x": (x.tolist(), x.requires_grad, x.grad),
        "torch": torch.get_rng_state().tolist(),
        "numpy": (numpy_state[1].tolist(), numpy_state[2]),  # type: ignore[index]
        "random": random.getstate(),
        "settings": (torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()),
        "process": (Path.cwd(), [*map(str, warnings.filters)]),
    }


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(DEEDS), max_size=5, unique=True), st.sampled_from(ENDS), st.booleans())
def test_nothing_that_the_user_holds_changes(
    deeds: list[Deed], end: Callable[[Tensor], Tensor], has_grad: bool
) -> None:
    module, x = Misbehaving(deeds, end), torch.randn(3, 4, requires_grad=has_grad)
    before = held(module, x)
    layersmith.check(module, x, ignore=["compile", "initialisation", "gradients"])
    assert held(module, x) == before


def test_the_first_check_of_a_process_leaves_the_generators_as_they_are() -> None:
    """It imports the rules, and an example may hold a layer of its class, which draws its weights there."""
    program = """if True:
        import torch, layersmith
        module, x = torch.nn.Linear(4, 4), torch.randn(3, 4)
        before = torch.get_rng_state()
        layersmith.check(module, x, ignore=["compile"])
        assert torch.equal(torch.get_rng_state(), before)
    """
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
