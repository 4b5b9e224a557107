"""Which parameters get a gradient in a few steps of training, on other inputs each time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from layersmith.probe import closeness, leaves, tree
from layersmith.probe.inputs import Inputs
from layersmith.probe.reach import kept, others
from layersmith.probe.surroundings import preserved


@dataclass(frozen=True, slots=True)
class Flow:
    """Parameters by name."""

    reached: frozenset[str]
    without_path: frozenset[str]  # from no output does autograd's graph lead to them
    always_zero: frozenset[str]  # it does, but every gradient was exactly zero
    changed: frozenset[str]  # forward itself changes them, as an averaged codebook


def flow(module: nn.Module, inputs: Inputs, *, seed: int, rounds: int) -> Flow:
    """Train a little, at most so many rounds, until every parameter got a gradient; the module is changed for good.

    A round that raises counts for nothing: other inputs need not be accepted.
    """
    parameters: dict[str, Tensor] = {name: p for name, p in module.named_parameters() if p.requires_grad}
    reached, moved, changed = set[str](), set[str](), set[str]()
    for number in range(rounds):
        module.train(number % 2 == 0)
        before = {name: p._version for name, p in parameters.items()}  # noqa: SLF001 - counts changes in place
        try:
            with preserved(seed=seed + number), torch.enable_grad():
                call = inputs if number < 2 else others(inputs)  # noqa: PLR2004 - as they are in both modes
                outputs = (*leaves.tensors_within(call.call(module)), *kept(module))
                found = _gradients(outputs, [*parameters.values()], seed=seed + number)
        except Exception:  # noqa: BLE001, S112
            continue
        changed |= {name for name, p in parameters.items() if p._version != before[name]}  # noqa: SLF001
        there = {name: one for name, one in zip(parameters, found, strict=True) if one is not None}
        reached |= there.keys()
        moved |= {name for name, one in there.items() if bool(one.any())}
        if len(moved) == len(parameters):
            break
        _descend(parameters, there)
    return Flow(
        frozenset(reached),
        frozenset(parameters.keys() - reached),
        frozenset(reached - moved),
        frozenset(changed),
    )


def is_moved_by(call: Callable[[], object], parameter: Tensor) -> bool:
    """Whether an output changes when a parameter becomes quite another one."""
    with torch.no_grad():
        one = leaves.tensors_within(call())
        parameter.copy_(3 * torch.randn_like(parameter) * (1 + parameter.abs().mean()))
        return bool(closeness.gaps(one, leaves.tensors_within(call())))


def _gradients(outputs: Iterable[Tensor], parameters: list[Tensor], *, seed: int) -> list[Tensor | None]:
    outputs = [one for one in outputs if one.requires_grad]
    if not outputs:
        return [None] * len(parameters)
    generator = torch.Generator().manual_seed(seed)
    mixed = [one * torch.randn(one.shape, generator=generator).to(one) for one in outputs]
    found = torch.autograd.grad(tree.total(mixed), parameters, allow_unused=True)
    return [one.to_dense() if one is not None and one.is_sparse else one for one in found]


def _descend(parameters: dict[str, Tensor], gradients: dict[str, Tensor]) -> None:
    """One step, as long for every parameter as a tenth of its size."""
    with torch.no_grad():
        for name, gradient in gradients.items():
            size = float(gradient.norm())
            if 0 < size < float("inf"):
                parameter = parameters[name]
                parameter.sub_(gradient * (0.1 * (float(parameter.norm()) + 0.1) / size))
