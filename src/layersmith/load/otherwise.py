"""Whether a module whose call fails may work in another: with more steps, or with inputs that a search finds."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.load.attempt import Deadline, OutOfBudget, contained
from layersmith.load.call.repair.messages import directed_pairs
from layersmith.load.call.search import CallSearch
from layersmith.load.constructor.names import known_integers
from layersmith.probe import batch, influence, sides, tree
from layersmith.probe.inputs import Inputs
from layersmith.probe.modes import in_mode
from layersmith.subject import Construction

ROWS = 2  # axes of rows x features
NO_BROADCAST = "must match the size of tensor"
PAIR = 2
MOST = 256  # entries
STEPS = 3  # of rows x steps x features, or of rows x channels x steps


class NothingReturnedError(TypeError):
    """Forward came to its end without a `return`, or with nothing in it, and does not say that it may.

    Its text is what forward did.
    """


def error_of(module: nn.Module, inputs: Inputs, deadline: Deadline, *, seed: int) -> Exception | None:
    """What a call raises, or that it returns None; None where it works, or does not come to an end in time."""
    try:
        with contained(deadline, seed=seed), torch.no_grad():
            output = inputs.call(module)
    except OutOfBudget:
        return None
    except Exception as error:  # noqa: BLE001 - whatever forward raises
        return error
    says_so = re.search(r"None|Optional", str(inspect.signature(module.forward).return_annotation))
    return NothingReturnedError("returned None") if output is None and not says_so else None


def emptied(module: nn.Module, inputs: Inputs, deadline: Deadline) -> Exception | None:
    """What there is to say of a call that works and gives no number at all."""
    try:
        with contained(deadline), torch.no_grad():
            outputs = [*tree.tensors(inputs.call(module))]
    except Exception:  # noqa: BLE001 - out of time
        return None
    if not outputs or any(one.numel() for one in outputs):
        return None
    return NothingReturnedError(f"returned nothing: an output of shape {tuple(outputs[0].shape)}")


def may_work_otherwise(
    module: nn.Module,
    inputs: Inputs,
    given: Mapping[str, Any],
    error: Exception,
    deadline: Deadline,
    *,
    is_guess: bool,
) -> bool:
    """Whether more steps work, or a search finds a call that does or runs out of time.

    Args:
        module: whose call failed.
        inputs: of that call.
        given: the arguments of its constructor.
        error: what it raised.
        deadline: of it all.
        is_guess: whether inference chose how long the inputs are.
    """
    if is_guess and error_of(module, influence.longer(inputs), deadline, seed=0) is None:
        return True
    search = CallSearch(in_mode(module, training=False), dict(given), deadline)
    found = search.find()
    if found is None:
        is_code = search.fails_whatever or _is_between_layers(inputs, error)
        return deadline.is_over and not is_code
    other = found.make(0)
    if batch.has_single_rows(other, inputs) or _is_square(other, inputs):
        return False
    is_broadcast = NO_BROADCAST in str(error) and (
        _fits_once(module, other, inputs, deadline) or _fits_a_pair(module, other, deadline)
    )
    return not is_broadcast


def builds_with_sizes(
    construction: Construction, arguments: Mapping[str, Any], given: Mapping[str, Any], deadline: Deadline
) -> bool:
    """Whether a class can be built once the sizes that were left None are given: an option may want them.

    Args:
        construction: of the class.
        arguments: what is given to its constructor in another way.
        given: all that it is given, beside its defaults.
        deadline: of the attempt.
    """
    parameters = inspect.signature(construction.cls).parameters
    unset = [name for name, one in parameters.items() if one.default is None and given.get(name) is None]
    left = [name for name in unset if name not in arguments]
    sizes = {name: known_integers(name)[0] for name in left if known_integers(name)}
    try:
        with contained(deadline):
            return bool(sizes) and construction.build(**{**arguments, **sizes}) is not None
    except Exception:  # noqa: BLE001 - then that was not it
        return False


def other_widths(inputs: Inputs, given: Mapping[str, Any], error: Exception) -> Iterator[Inputs]:
    """Inputs of other sizes that an error of a call asks for.

    With more channels, where a layer gets more than the input has: parts of it are laid beside it. As long as an
    argument of the constructor says, where that many entries are asked for one by one.
    """
    for got, wanted in directed_pairs(str(error)):
        yield from sides.with_channels(inputs, got, wanted - got)
    if match := re.search(r"out of bounds for dimension (\d+) with size (\d+)", str(error)):
        axis, size = map(int, match.groups())
        for count in {value for value in given.values() if type(value) is int and size < value <= MOST}:
            order = torch.arange(count) % max(size, 1)
            yield inputs.map(
                lambda one, order=order: (
                    one.index_select(axis, order) if one.ndim > axis and one.shape[axis] == size else one
                )
            )


def _is_square(found: Inputs, usual: Inputs) -> bool:
    """Whether a call has as many steps as features where the usual one has not: a layer meets the wrong axis."""
    return any(
        one.ndim == STEPS and one.shape[1] == one.shape[2] and len(changed) == 1
        for one, changed in _changes(found, usual)
    )


def _fits_once(module: nn.Module, found: Inputs, usual: Inputs, deadline: Deadline) -> bool:
    """Whether only the number of steps that was found works, and neither one nor two more, nor twice as many."""
    changes = [(one, axes[0]) for one, axes in _changes(found, usual) if len(axes) == 1]
    if len(changes) != 1:
        return False
    tensor, axis = changes[0]
    size = tensor.shape[axis]
    others = (
        found.map(lambda one, more=more: _longer(one, axis, more) if one is tensor else one)
        for more in (1, 2, size)
    )
    return all(error_of(module, other, deadline, seed=0) is not None for other in others)


def _fits_a_pair(module: nn.Module, found: Inputs, deadline: Deadline) -> bool:
    """Whether an axis of two works, and of three, not: one of the two was dropped, and what is left broadcasts."""
    first = next((one for one in found.tensors() if one.is_floating_point()), torch.empty(0))
    pairs = [axis for axis, size in enumerate(first.shape) if axis and size == PAIR]
    others = (
        found.map(lambda one, axis=axis: _longer(one, axis, 1) if one is first else one) for axis in pairs
    )
    return any(NO_BROADCAST in str(error_of(module, other, deadline, seed=0)) for other in others)


def _longer(tensor: Tensor, axis: int, more: int) -> Tensor:
    return torch.cat([tensor, tensor.narrow(axis, 0, more)], dim=axis)


def _changes(found: Inputs, usual: Inputs) -> list[tuple[Tensor, list[int]]]:
    """The inputs of as many axes as the usual ones, each with those of another size."""
    pairs = [(a, b) for a, b in zip(found.tensors(), usual.tensors(), strict=False) if a.ndim == b.ndim]
    return [(a, [axis for axis in range(1, a.ndim) if a.shape[axis] != b.shape[axis]]) for a, b in pairs]


def _is_between_layers(inputs: Inputs, error: Exception) -> bool:
    """Whether a width that rows of features cannot have brought along is not what the next layer takes."""
    tensors = [*inputs.tensors()]
    sizes = {size for tensor in tensors for size in tensor.shape}
    pairs = directed_pairs(str(error))
    are_rows = all(tensor.ndim <= ROWS for tensor in tensors)
    return are_rows and bool(pairs) and not sizes & {pair[0] for pair in pairs}
