"""Gradients at the edges that data has: zeros, equal rows, equal inputs; and which operation makes NaN of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.probe import leaves, source, tree
from layersmith.probe.inputs import Inputs
from layersmith.probe.surroundings import preserved


@dataclass(frozen=True, slots=True)
class Explosion:
    """Finite outputs with a gradient that is not finite."""

    edge: str  # "ordinary inputs", "input[0] all zeros"
    tensor: str  # the parameter or input whose gradient it is
    operation: str  # the backward that first makes it: "sqrt"; "" where none does
    file: str
    line: int


def edges(module: nn.Module, inputs: Inputs) -> Iterator[tuple[str, Inputs]]:
    """The inputs themselves, then the same with one floating input at an edge, or two of them equal.

    Also with rows that lie where a table of the module's has its own: an embedding in the centre of its class.
    """
    yield "ordinary inputs", inputs
    named = [(name, one) for name, one in inputs.named_tensors() if one.is_floating_point() and one.numel()]
    for name, tensor in named:
        yield f"{name} all zeros", _with(inputs, {id(tensor): torch.zeros_like(tensor)})
        if tensor.dim() > 1:
            row = tensor.detach().flatten(end_dim=-2)[:1]
            yield f"all rows of {name} equal", _with(inputs, {id(tensor): row.expand(tensor.shape).clone()})
        for path, table in _tables(module):
            if tensor.dim() > 1 and tensor.shape[-1] == table.shape[-1]:
                rows = table.detach().repeat(-(-tensor.numel() // table.numel()), 1).to(tensor)
                rows = rows[: tensor.shape[:-1].numel()].reshape(tensor.shape).clone()
                yield f"rows of {name} equal to those of {path}", _with(inputs, {id(tensor): rows})
    if len(named) > 1 and named[0][1].shape == named[1][1].shape:
        (a, one), (b, other) = named[:2]
        yield f"{a} equal to {b}", _with(inputs, {id(one): other.detach().clone()})


def _tables(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The matrices that classes of the user's hold themselves, such as prototypes; those of torch's layers are maps."""
    for path, part in module.named_modules():
        if not source.is_torchs(type(part).__module__):
            for name, held in part.named_parameters(prefix=path, recurse=False):
                if held.ndim == 2 and held.is_floating_point() and held.numel():  # noqa: PLR2004 - rows of features
                    yield name, held


def explosion(module: nn.Module, inputs: Inputs, edge: str, *, seed: int) -> Explosion | None:
    """Call the module and go backward from all its outputs; None where they are not finite, or the gradients are."""
    given = inputs.clone()
    named = [(name, one) for name, one in given.named_tensors() if one.is_floating_point()]
    for _, one in named:
        one.requires_grad_()
    with preserved(seed=seed), torch.enable_grad():
        outputs = [
            one for one in leaves.tensors_within(module(*given.args, **given.kwargs)) if one.requires_grad
        ]
        is_loss = all(one.ndim == 0 for one in outputs)  # of a target the gradient is asked by no one
        wanted: dict[str, Tensor] = {
            name: one for name, one in module.named_parameters() if one.requires_grad
        }
        wanted |= dict(named[:1] if is_loss else named)
        if not wanted or not outputs or not all(bool(one.isfinite().all()) for one in outputs):
            return None
        found = torch.autograd.grad(_weighed(outputs), [*wanted.values()], allow_unused=True)
    broken = [n for n, one in zip(wanted, found, strict=True) if one is not None and not _is_finite(one)]
    return Explosion(edge, broken[0], "", "", 0) if broken else None


def origin(module: nn.Module, inputs: Inputs, *, seed: int) -> tuple[str, str, int]:
    """The operation whose backward first makes something that is not finite, with its line in a file not torch's."""
    given = inputs.clone()
    for one in given.tensors():
        if one.is_floating_point():
            one.requires_grad_()
    made: list[Any] = []
    with preserved(seed=seed), torch.enable_grad(), torch.autograd.set_detect_anomaly(True, check_nan=False):
        outputs = [
            one for one in leaves.tensors_within(module(*given.args, **given.kwargs)) if one.requires_grad
        ]
        handles = [_watched(node, made) for node in leaves.nodes_behind(outputs)]
        _weighed(outputs).backward()
    for handle in handles:
        handle.remove()
    if not made:
        return "", "", 0
    return _named(made[0]), *_place(made[0])


def _watched(node: Any, made: list[Any]) -> Any:
    def look(after: tuple[Tensor | None, ...], before: tuple[Tensor | None, ...]) -> None:
        if all(one is None or _is_finite(one) for one in before) and not all(
            one is None or _is_finite(one) for one in after
        ):
            made.append(node)

    return node.register_hook(look)


def _place(node: Any) -> tuple[str, int]:
    """The innermost line of the forward call that is neither torch's nor ours."""
    frames: list[str] = node.metadata.get("traceback_", [])
    ours = max((i for i, text in enumerate(frames) if __file__ in text), default=-1)
    for text in reversed(frames[ours + 1 :]):
        file, _, rest = text.partition('File "')[2].partition('", line ')
        number = rest.partition(",")[0]
        if number.isdigit() and not file.startswith((source.TORCH, "<")):
            return file, int(number)
    return "", 0


def _named(node: Any) -> str:
    name: str = node.name().removeprefix("torch::autograd::")
    return name.rstrip("0123456789").removesuffix("Backward").lower()


def _weighed(outputs: list[Tensor]) -> Tensor:
    """A sum in which no two elements count alike, so that nothing cancels."""
    weighed = [one * torch.linspace(0.5, 1.5, one.numel()).view(one.shape).to(one) for one in outputs]
    return tree.total(weighed)


def _is_finite(tensor: Tensor) -> bool:
    return bool((tensor.coalesce().values() if tensor.is_sparse else tensor).isfinite().all())


def _with(inputs: Inputs, changed: dict[int, Tensor]) -> Inputs:
    return inputs.map(lambda tensor: changed.get(id(tensor), tensor))
