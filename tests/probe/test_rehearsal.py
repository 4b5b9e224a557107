"""Measuring leaves what the user holds as it was, whatever the module does."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from layersmith.errors import UsageError
from layersmith.finding import Measurement
from layersmith.probe.calls import traced
from layersmith.probe.clock import times
from layersmith.probe.flops import flops
from layersmith.probe.inputs import Inputs
from layersmith.probe.memory import parameters, saved_bytes
from layersmith.probe.rehearsal import cotangents, rehearsal
from layersmith.probe.signal import signal

Probe = Callable[[nn.Module, Inputs], list[Measurement]]


def quick_times(module: nn.Module, inputs: Inputs) -> list[Measurement]:
    return times(module, inputs, seconds=0, repeats=2, warmup=0)


PROBES = [signal, flops, quick_times, saved_bytes, parameters]
CALLING = [signal, flops, quick_times, saved_bytes]
every_probe = pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.__name__)
every_calling_probe = pytest.mark.parametrize("probe", CALLING, ids=lambda probe: probe.__name__)


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.second = self.first
        self.norm = nn.BatchNorm1d(6)

    def forward(self, x: Tensor) -> Any:
        return self.second(self.norm(self.first(x)))


class WritesIntoItsInput(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Any:
        x.mul_(2)
        return self.drop(self.relu(x))


class DictOfTuples(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(6, 3, batch_first=True)

    def forward(self, *, x: Tensor) -> Any:
        y, state = self.rnn(x[:, None])
        return {"length": 4, "y": y, "state": state, "argmax": y.argmax(-1)}


class WithoutGradient(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Any:
        with torch.no_grad():
            return self.inner(x)


class Bag(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(9, 6)
        self.head = nn.Linear(6, 2)

    def forward(self, index: Tensor) -> Any:
        return index, self.head(self.table(index).mean(1))


class Recomputing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6))

    def forward(self, x: Tensor) -> Any:
        from torch.utils.checkpoint import checkpoint

        return checkpoint(self.block, x, use_reentrant=False)


def frozen() -> nn.Module:
    module = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6))
    module[0].requires_grad_(False)
    return module.eval()


TRAPS: dict[str, tuple[Callable[[], nn.Module], Inputs]] = {
    "shared": (Shared, Inputs.of(torch.randn(4, 6))),
    "in_place": (WritesIntoItsInput, Inputs.of(torch.randn(4, 6))),
    "in_place_on_a_leaf": (WritesIntoItsInput, Inputs.of(torch.randn(4, 6, requires_grad=True))),
    "dict_of_tuples": (DictOfTuples, Inputs.of({"x": torch.randn(4, 6)})),
    "no_gradient": (WithoutGradient, Inputs.of(torch.randn(4, 6))),
    "integers": (Bag, Inputs.of(torch.randint(9, (4, 3)))),
    "checkpoint": (Recomputing, Inputs.of(torch.randn(4, 6))),
    "frozen": (frozen, Inputs.of(torch.randn(4, 6))),
    "lazy": (lambda: nn.Sequential(nn.LazyLinear(3), nn.LazyLinear(2)), Inputs.of(torch.randn(4, 6))),
    "attention": (
        lambda: nn.TransformerEncoderLayer(6, 2, 8, batch_first=True),
        Inputs.of(torch.randn(2, 4, 6)),
    ),
    "complex": (lambda: nn.Linear(6, 2, dtype=torch.complex64), Inputs.of(torch.randn(4, 6) + 0j)),
    "half": (lambda: nn.Linear(6, 2, dtype=torch.bfloat16), Inputs.of(torch.randn(4, 6).bfloat16())),
    "empty": (lambda: nn.Linear(6, 2), Inputs.of(torch.randn(0, 6))),
}
every_trap = pytest.mark.parametrize("trap", TRAPS)


def hooks(module: nn.Module) -> list[int]:
    return [
        len(held)
        for part in module.modules()
        for name, held in sorted(vars(part).items())
        if name.endswith("_hooks") and hasattr(held, "__len__")
    ]


def state(module: nn.Module, inputs: Inputs) -> dict[str, Any]:
    """Everything that measuring could change."""
    held = [t for t in (*module.parameters(), *module.buffers()) if not nn.parameter.is_lazy(t)]
    return {
        "values": [t.detach().clone() for t in (*held, *inputs.tensors())],
        "versions": [t._version for t in (*held, *inputs.tensors())],
        "grads": [id(t.grad) for t in (*held, *inputs.tensors())],
        "requires_grad": [t.requires_grad for t in (*held, *inputs.tensors())],
        "types": [(type(part), part.training) for part in module.modules()],
        "hooks": hooks(module),
        "generators": (torch.get_rng_state(), random.getstate()),
        "gradients_enabled": torch.is_grad_enabled(),
    }


def assert_same(left: Any, right: Any) -> None:
    torch.testing.assert_close(left["values"], right["values"], rtol=0, atol=0, equal_nan=True)
    assert torch.equal(left["generators"][0], right["generators"][0])
    assert left["generators"][1] == right["generators"][1]
    for key in left.keys() - {"values", "generators"}:
        assert left[key] == right[key], key


@every_trap
@every_probe
def test_a_probe_changes_nothing_and_repeats_itself(probe: Probe, trap: str) -> None:
    build, inputs = TRAPS[trap]
    module = build()
    for parameter in module.parameters():
        if not nn.parameter.is_lazy(parameter):
            parameter.grad = torch.ones_like(parameter)
    before = state(module, inputs)
    with torch.no_grad():
        first = probe(module, inputs)
        again = probe(module, inputs)
        assert not torch.is_grad_enabled()
    assert_same(before, state(module, inputs))
    assert [(m.name, m.where) for m in first] == [(m.name, m.where) for m in again]
    if probe is not quick_times:
        torch.testing.assert_close(
            [m.value for m in first], [m.value for m in again], rtol=0, atol=0, equal_nan=True
        )


@every_calling_probe
def test_a_forward_that_raises_raises_and_leaves_nothing(probe: Probe) -> None:
    class Raises(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Any:
            raise LookupError(f"after {self.inner(x).sum().item() * 0}")

    module, inputs = Raises(), Inputs.of(torch.randn(4, 6))
    before = state(module, inputs)
    with pytest.raises(LookupError, match="after"):
        probe(module, inputs)
    assert_same(before, state(module, inputs))


@every_probe
def test_a_module_that_cannot_be_copied_is_a_usage_error(probe: Probe) -> None:
    class Uncopyable(nn.Linear):
        def __deepcopy__(self, _memo: object) -> nn.Module:
            raise TypeError("holds an open file")

    with pytest.raises(UsageError, match=r"deepcopy of Uncopyable raised TypeError: holds an open file"):
        probe(Uncopyable(2, 2), Inputs.of(torch.randn(1, 2)))


@pytest.mark.filterwarnings("ignore")
@every_calling_probe
def test_torchscript_is_a_usage_error(probe: Probe) -> None:
    module = nn.Sequential(torch.jit.script(nn.Linear(2, 2)))
    with pytest.raises(UsageError, match="submodule '0' of Sequential is TorchScript"):
        probe(module, Inputs.of(torch.randn(1, 2)))


@every_calling_probe
def test_the_user_s_own_hooks_run_and_stay(probe: Probe) -> None:
    module = nn.Sequential(nn.Linear(2, 2))
    called = []
    module[0].register_forward_hook(lambda *_: called.append(1))
    probe(module, Inputs.of(torch.randn(1, 2)))
    assert called
    assert len(module[0]._forward_hooks) == 1


def test_hooks_are_gone_from_the_module_that_was_traced() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    before = hooks(module)
    with pytest.raises(RuntimeError), traced(module):
        module(torch.randn(3, 5))
    assert hooks(module) == before


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_rehearsal_has_gradients_in_whatever_mode_it_is_asked_for(mode: Callable[[], Any]) -> None:
    module = nn.Linear(2, 2)
    with mode():
        inputs = Inputs.of(torch.randn(1, 2))
        with rehearsal(module, inputs, seed=0) as twin:
            assert twin(*inputs.map(torch.clone).args).requires_grad


def test_the_objective_starts_from_every_differentiable_output_and_is_scaled_by_their_number() -> None:
    y = torch.randn(500, 20, requires_grad=True) * 1
    output = {"y": y, "count": torch.tensor(3), "cut": y.detach()}
    (end,), (gradient,) = cotangents(output, seed=0)
    assert end is y
    assert gradient.square().sum() == pytest.approx(1, rel=0.1)
    assert torch.equal(gradient, cotangents(copy.copy(output), seed=0)[1][0])
    assert not torch.equal(gradient, cotangents(output, seed=1)[1][0])
