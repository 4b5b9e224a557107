"""Modules that take their first values from the first batch that they see, in eval mode too, as ActNorm does."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from layersmith.probe import source
from layersmith.probe.inputs import Inputs
from layersmith.probe.modes import in_mode
from layersmith.probe.surroundings import preserved

_NAMED = re.compile(r"initiali[sz]ed|^is_?init|^inited$|_inited?$|^init_done$")


def first_mode(build: Callable[[], nn.Module], inputs: Inputs) -> bool | None:
    """Whether the batch that initialises a module has to come in train mode; None where no batch initialises it.

    Args:
        build: makes the module.
        inputs: such a batch.
    """
    begins = _begins(build(), inputs, training=False)
    if begins is None:  # it refuses to begin in eval mode
        return True if _begins(build(), inputs, training=True) else None
    return False if begins else None


def _begins(module: nn.Module, inputs: Inputs, *, training: bool) -> bool | None:
    """Whether the first call sets a flag among the buffers, and the next one leaves all as it is; None if one fails.

    The module is called twice, and changed for good.
    """
    waiting = {*_flags(module)}
    with preserved(seed=0), torch.no_grad(), contextlib.suppress(Exception):
        inputs.call(in_mode(module, training=training))
        if waiting <= {*_flags(module)}:
            return False
        first = {name: value.clone() for name, value in _state(module)}
        inputs.call(in_mode(module, training=False))
        return all(torch.equal(first[name], value) for name, value in _state(module))
    return None


def has_flags(module: nn.Module) -> bool:
    """Whether there is a buffer, or a plain `initialized`, that may say that the first batch is still to come."""
    return next(_flags(module), None) is not None


def _flags(module: nn.Module) -> Iterator[str]:
    """The names of buffers that are 0, and of plain flags that say so, of classes that are not torch's own."""
    for path, part in module.named_modules():
        if not source.is_torchs(type(part).__module__):
            for name, value in part.named_buffers(recurse=False):
                if value.numel() == 1 and not value.is_floating_point() and not bool(value):
                    yield f"{path}.{name}"
            yield from (
                f"{path}.{n}" for n, value in vars(part).items() if value is False and _NAMED.search(n)
            )


def _state(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()
