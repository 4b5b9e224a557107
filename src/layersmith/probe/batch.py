"""The batch: which axis it lies on, and inputs in which all rows but one are replaced."""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.probe import closeness, nodes, reading, source, tree, unbatched
from layersmith.probe.inputs import Inputs
from layersmith.probe.surroundings import preserved
from layersmith.probe.template import copied

BATCH_NAMES = frozenset({"b", "bs", "bsz", "bz", "n", "nb", "batch", "batch_size", "num_samples"})
TIME_NAMES = frozenset(
    {"t", "l", "s", "seq", "seq_len", "seqlen", "length", "time", "steps", "tgt_len", "src_len"}
)
CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def axes(module: nn.Module, inputs: Inputs) -> tuple[int, ...]:
    """The axes that may hold the batch, likeliest first; () when nothing is batched.

    0, unless there is a sign of time before batch: an RNN or attention with `batch_first=False` inside, a
    forward that loops over its input or unpacks its shape as `time, batch, ...`, a docstring that says so. None where
    several rows of one input go with each of another, or it says that it takes one sample.
    What the class says of itself goes before what its submodules are.
    """
    first = next(inputs.tensors(), None)
    cls: type = type(module)
    if first is None or first.ndim == 0 or unbatched.is_unbatched(cls):
        return ()
    unpacked = shape_names(cls)
    is_second = [name in BATCH_NAMES for name in unpacked[:2]] == [False, True]
    if is_second or (unpacked and unpacked[0] in TIME_NAMES):
        return (1,) if is_second else ()
    if _are_in_groups(inputs):
        return ()
    if (unpacked and unpacked[0] in BATCH_NAMES) or reading.axis_hint(cls) == "batch":
        return (0,)
    is_time_first = any(
        reading.batch_first(part) is False or reading.axis_hint(kind) == "time"
        for part, kind in ((part, _class_of(part)) for part in nn.Module.modules(module))
    )
    if not is_time_first or (first.is_floating_point() and first.ndim < 3):  # noqa: PLR2004 - one sample's steps
        return (0,)
    return (0, 1) if first.ndim > 1 else ()  # tokens: of one sequence, or time before batch


def _are_in_groups(inputs: Inputs) -> bool:
    """Whether several rows of one input go with each of another: the variables of a series with the series."""
    sizes = [one.shape[0] for one in inputs.tensors() if one.ndim > 2 and one.is_floating_point()]  # noqa: PLR2004 - rows x steps x features
    fewest, most = min(sizes, default=1), max(sizes, default=1)
    return most > fewest > 1 and most % fewest == 0


@functools.cache
def shape_names(cls: type) -> tuple[str, ...]:
    """The names that `forward` unpacks an argument's shape into, lower case: `B, T, C = x.shape` gives b, t, c.

    An argument that was assigned anew before (transposed, perhaps) does not count.
    """
    forward = source.function_node(getattr(cls, "forward", None))
    arguments = {argument.arg for argument in forward.args.args} if forward is not None else set()
    for node in sorted(_assignments(forward), key=lambda node: node.lineno):
        target = node.targets[0]
        if isinstance(target, ast.Tuple) and _shape_of(node.value) in arguments:
            return tuple(e.id.lower() if isinstance(e, ast.Name) else "_" for e in target.elts)
        arguments -= {name.id for name in ast.walk(target) if isinstance(name, ast.Name)}
    return ()


def _class_of(part: nn.Module) -> type:
    return type(part)


def _assignments(function: source.Function | None) -> list[ast.Assign]:
    return (
        [node for node in ast.walk(function) if isinstance(node, ast.Assign)] if function is not None else []
    )


def is_one_sample(inputs: Inputs, run: Callable[[Inputs], Any], *, ranks: tuple[int, ...] = (2,)) -> bool:
    """Whether a module takes two such calls as one, with an axis before, and keeps those apart: that is the batch.

    Asked of inputs of these ranks: 2 is steps x features, 3 an image.
    """
    if any(tensor.ndim not in ranks for tensor in inputs.tensors()):
        return False
    other = shrunk(inputs)
    rest = iter([*other.tensors()])
    try:
        apart = [[*tree.tensors(run(one))] for one in (inputs, other)]
        together = [*tree.tensors(run(inputs.map(lambda one: torch.stack([one, next(rest)]))))]
    except Exception:  # noqa: BLE001 - it takes no more axes
        return False
    return not closeness.gaps([torch.stack(pair) for pair in zip(*apart, strict=True)], together)


def has_single_rows(found: Inputs, usual: Inputs) -> bool:
    """Whether a call is of one sample or one step where the usual one has several: that broadcasts."""
    pairs = [(a, b) for a, b in zip(found.tensors(), usual.tensors(), strict=False) if a.ndim == b.ndim]
    return any(
        a.shape[axis] == 1 < b.shape[axis] and a.shape[axis + 1 :] == b.shape[axis + 1 :]
        for a, b in pairs
        for axis in range(min(a.ndim, 2))
    )


def replace_other_rows(inputs: Inputs, keep: int, *, axis: int, seed: int) -> Inputs:
    """The same inputs with every row but one replaced, by values within the range of the old ones."""
    size = batch_size(inputs, axis)
    generator = torch.Generator().manual_seed(seed)

    def replaced(tensor: Tensor) -> Tensor:
        if tensor.ndim <= axis or tensor.shape[axis] != size:
            return tensor
        new = _shuffled(tensor, generator)
        if tensor.is_floating_point():  # a mixture: within the range, yet with other sums than the original
            share = torch.rand(new.shape, generator=generator, dtype=torch.float64).to(new.dtype)
            new = share * new + (1 - share) * _shuffled(tensor, generator)
        new.select(axis, keep).copy_(tensor.select(axis, keep))
        return new

    return inputs.map(replaced)


def shrunk(inputs: Inputs) -> Inputs:
    """Smaller inputs: a softmax over rows that is saturated hides what it mixes."""
    return inputs.map(lambda x: x * closeness.UNSATURATED if x.is_floating_point() else x)


def batch_size(inputs: Inputs, axis: int) -> int:
    """The size of the batch axis of the first tensor that has it; 0 when none has."""
    return next((tensor.shape[axis] for tensor in inputs.tensors() if tensor.ndim > axis), 0)


def rows_anywhere(result: object, index: int, *, size: int) -> list[Tensor]:
    """Copies of what may be that row of an operation's result: its slice along every axis as long as the batch."""
    found = [tensor.detach() for tensor in tree.tensors(result) if tree.is_differentiable(tensor)][:1]
    return [
        tensor.select(axis, index).clone()
        for tensor in found
        for axis in range(tensor.ndim)
        if tensor.shape[axis] == size
    ]


def rows(output: object, index: int, *, axis: int, size: int) -> Iterator[tuple[str, Tensor]]:
    """One row of every output tensor that has a batch axis, with its path; the input's axis is preferred."""
    for path, tensor in tree.named_tensors(output, name="output"):
        candidates = [a for a in (axis, *range(tensor.ndim)) if a < tensor.ndim and tensor.shape[a] == size]
        if candidates:
            yield path, tensor.select(candidates[0], index)


def resized(inputs: Inputs, count: int, *, axis: int) -> Inputs | None:
    """The same rows as a batch of another size, from the first again where they run out.

    None where it cannot be told which axis of an argument holds rows, or whether a number counts them.
    """
    size = batch_size(inputs, axis)
    given = [*inputs.args, *inputs.kwargs.values()]
    if any(_may_count(value, size) or _may_hold(value, size, axis) for value in given):
        return None
    order = torch.arange(count) % max(size, 1)

    def picked(tensor: Tensor) -> Tensor:
        has_rows = tensor.ndim > axis and tensor.shape[axis] == size
        return tensor.detach().index_select(axis, order) if has_rows else tensor

    return inputs.map(picked)


def independent_axis(module: nn.Module, inputs: Inputs, run: Callable[[Inputs], Any]) -> int | None:
    """The likeliest batch axis along which a row's answer is seen not to move with the other rows."""
    if nodes.is_graph(inputs, ()) or orders_rows(run(inputs), batch_size(inputs, 0)):
        return None
    for axis in axes(module, inputs):
        size = batch_size(inputs, axis)
        if size < 2 or resized(inputs, size, axis=axis) is None:  # noqa: PLR2004 - one row has no others
            continue
        ends = [_stays(inputs, keep, axis, run) for keep in (0, size - 1)]  # the first step knows no past
        if all(ends):
            return axis
    return None


def orders_rows(output: Any, size: int) -> bool:
    """Whether an output numbers the rows, which then come in an order of their own: of their lengths, say."""
    numbers = [x for x in tree.tensors(output) if x.dtype is torch.int64 and x.shape == (size,)]
    return any(sorted(x.tolist()) == [*range(size)] for x in numbers)


def _stays(inputs: Inputs, keep: int, axis: int, run: Callable[[Inputs], Any]) -> bool:
    """Whether outputs have that row, and it keeps its answer when all others are replaced."""
    size = batch_size(inputs, axis)
    others = replace_other_rows(inputs, keep, axis=axis, seed=0)
    before, after = (dict(rows(run(given), keep, axis=axis, size=size)) for given in (inputs, others))
    pairs = [(before[path], after[path]) for path in before if path in after]
    return bool(pairs) and not any(closeness.gap(*pair).is_open for pair in pairs)


def reversed_rows(inputs: Inputs) -> Inputs:
    """The same rows in reverse order."""
    size = batch_size(inputs, 0)
    return inputs.map(lambda t: t.detach().flip(0) if t.ndim and t.shape[0] == size else t)


def is_certain(module: nn.Module, inputs: Inputs) -> bool:
    """Whether the code leaves no doubt that axis 0 holds independent samples."""
    cls: type = type(module)
    names, first = shape_names(cls), next(inputs.tensors(), torch.empty(0))
    if names or reading.axis_hint(cls):
        return names[0] in BATCH_NAMES if names else reading.axis_hint(cls) == "batch"
    parts = [*nn.Module.modules(module)]
    if any(reading.batch_first(part) is False for part in parts):
        return False
    is_image = first.ndim > 3 and any(isinstance(part, CONVOLUTIONS) for part in parts)  # noqa: PLR2004 - batch, channels, places
    return is_image or any(map(reading.batch_first, parts))


def _may_count(value: object, size: int) -> bool:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return (is_number and value == size) or (isinstance(value, list | tuple) and len(value) == size)


def _may_hold(value: object, size: int, axis: int) -> bool:
    """Whether a tensor has an axis as long as the batch, but not where the batch lies."""
    return any(
        size in tensor.shape and not (tensor.ndim > axis and tensor.shape[axis] == size)
        for tensor in tree.tensors(value)
    )


def take(inputs: Inputs, count: int, *, axis: int) -> Inputs:
    """The first `count` rows of every tensor that has the batch axis."""
    size = batch_size(inputs, axis)
    return inputs.map(lambda t: t.narrow(axis, 0, count) if t.ndim > axis and t.shape[axis] == size else t)


def distinct(module: nn.Module, inputs: Inputs, output: object = ()) -> Inputs | None:
    """The inputs with as many rows as no other axis has, so that rows are known again in outputs; None if refused."""
    size = batch_size(inputs, 0)
    taken = {length for tensor in inputs.tensors() for length in tensor.shape[1:]}
    is_twice = any([*tensor.shape].count(size) > 1 for tensor in tree.tensors(output))
    if (size not in taken and not is_twice) or not axes(module, inputs):
        return inputs
    more = next(count for count in range(1, len(taken) + 2) if size + count not in taken)
    larger = grown_if_taken(module, inputs, more, axis=0)
    return inputs if larger is None and size not in taken else larger


def is_added(inputs: Inputs, output: object) -> bool:
    """Whether the output is a batch of one around inputs of one axis less."""
    given = [tensor.ndim for tensor in inputs.tensors()]
    return bool(given) and all(
        tensor.ndim == given[0] + 1 and tensor.shape[0] == 1 for tensor in tree.tensors(output)
    )


def grown_if_taken(module: nn.Module, inputs: Inputs, count: int, *, axis: int) -> Inputs | None:
    """As `grown`; None if a copy of the module raises on them."""
    larger = grown(inputs, count, axis=axis)
    try:
        with preserved(seed=0):
            larger.call(copied(module))
    except Exception:  # noqa: BLE001 - whatever it raises, it does not take them
        return None
    return larger


def grown(inputs: Inputs, count: int, *, axis: int) -> Inputs:
    """The same inputs, with so many of the rows once more at the end."""
    size = batch_size(inputs, axis)
    order = torch.arange(size + count) % max(size, 1)
    return inputs.map(lambda t: t.index_select(axis, order) if t.ndim > axis and t.shape[axis] == size else t)


def _shuffled(tensor: Tensor, generator: torch.Generator) -> Tensor:
    order = torch.randperm(tensor.numel(), generator=generator)
    return tensor.detach().reshape(-1)[order].reshape(tensor.shape)


def _shape_of(node: ast.expr) -> str:
    """The variable whose shape this is: "x" for `x.shape` and `x.size()`; "" otherwise."""
    if isinstance(node, ast.Call) and not node.args and isinstance(node.func, ast.Attribute):
        node = node.func
    if (
        isinstance(node, ast.Attribute)
        and node.attr in {"shape", "size"}
        and isinstance(node.value, ast.Name)
    ):
        return node.value.id
    return ""
