"""A part that drops whole samples in train mode: whether what it keeps is what it gives in eval mode."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from layersmith.probe import closeness, tree
from layersmith.probe.inputs import Inputs
from layersmith.probe.surroundings import preserved

CALLS = 16


def keeps_as_in_eval(root: nn.Module, part: nn.Module, inputs: Inputs, *, seed: int) -> bool:
    """Whether, alone in train mode, it gives samples as in eval mode, and leaves out others of them."""
    given: list[Any] = []

    def keep(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given[:] = given or [tree.clone((args, kwargs))]

    handle = part.register_forward_pre_hook(keep, with_kwargs=True)
    try:
        with preserved(seed=seed), torch.no_grad():
            inputs.call(root)
    finally:
        handle.remove()
    if not given:
        return False
    try:
        whole, *drawn = [_rows(part, *given[0], seed=one) for one in (None, *range(CALLS))]
        is_kept = torch.stack([_are_equal(one, whole) for one in drawn])
    except Exception:  # noqa: BLE001 - alone it may be called in another way
        return False
    x = next(tree.tensors(given[0]), whole)
    entered = x.detach().flatten(1) if x.shape[:1] == whole.shape[:1] and x.ndim > 1 else whole
    for row in range(len(whole)):
        others = [one[row] for one, kept in zip(drawn, is_kept[:, row], strict=True) if not kept]
        if any(not _is_left_out(one, entered[row]) for one in others):
            return False  # something else is random, scaled, or put in its place
    return bool(is_kept.any()) and not bool(is_kept.all())


def _are_equal(rows: Tensor, others: Tensor) -> Tensor:
    """Of each row whether it is the other, by what is large in it: a layer scale of 1e-6 leaves little of a branch."""
    limit = closeness.RELATIVE.get(others.dtype, 0.0) * others.abs().amax(1)
    return (rows - others).abs().amax(1) <= limit


def _is_left_out(row: Tensor, given: Tensor) -> bool:
    """Whether nothing is left of a sample, or what went in."""
    return not bool(row.any()) or (row.shape == given.shape and bool(_are_equal(row[None], given[None])))


def _rows(part: nn.Module, args: Any, kwargs: Any, *, seed: int | None) -> Tensor:
    """Its output of each sample: in train mode, without its children; or in eval mode, where no seed is given."""
    part.training = seed is not None
    with preserved(seed=seed or 0), torch.no_grad():
        output = next(tree.tensors(part(*tree.clone(args), **tree.clone(kwargs))))
    part.training = False
    return output.flatten(1)
