"""The batch: which axis it lies on, and inputs in which all rows but one are replaced."""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.probe import tree
from layersmith.probe.inputs import Inputs

BATCH_NAMES = frozenset({"b", "bs", "bsz", "bz", "n", "nb", "batch", "batch_size", "num_samples"})
TIME_NAMES = frozenset(
    {"t", "l", "s", "seq", "seq_len", "seqlen", "length", "time", "steps", "tgt_len", "src_len"}
)
GRAPH_NAMES = ("edge_index", "edge", "edges", "adj", "adjacency", "adj_matrix", "graph")


def is_graph(inputs: Inputs, names: tuple[str, ...]) -> bool:
    """Whether rows are nodes of a graph, which are meant to depend on each other."""
    if any(name.lower() in GRAPH_NAMES for name in (*names, *inputs.kwargs)):
        return True
    tables = [tensor for tensor in inputs.tensors() if tensor.ndim == 2]  # noqa: PLR2004 - nodes x features, 2 x edges
    has_edges = any(not table.is_floating_point() and table.shape[0] == 2 for table in tables)  # noqa: PLR2004 - as above
    return has_edges and any(table.is_floating_point() for table in tables)


def axes(module: nn.Module, inputs: Inputs) -> tuple[int, ...]:
    """The axes that may hold the batch, likeliest first; () when nothing is batched.

    0, unless there is a sign of time before batch: an RNN or attention with `batch_first=False` inside, or a
    forward that unpacks its input's shape as `time, batch, ...`.
    """
    first = next(inputs.tensors(), None)
    if first is None or first.ndim == 0:
        return ()
    cls: type = type(module)
    unpacked = shape_names(cls)
    if unpacked and unpacked[0] in TIME_NAMES:
        return (1,) if len(unpacked) > 1 and unpacked[1] in BATCH_NAMES else ()
    time_first = any(getattr(part, "batch_first", None) is False for part in module.modules())
    return (0, 1) if time_first and first.ndim > 2 else (0,)  # noqa: PLR2004


@functools.cache
def shape_names(cls: type) -> tuple[str, ...]:
    """The names that `forward` first unpacks a shape into, lower case: `B, T, C = x.shape` gives b, t, c."""
    try:
        body = ast.parse(textwrap.dedent(inspect.getsource(cls.forward)))  # type: ignore[attr-defined]
    except (OSError, TypeError, SyntaxError, AttributeError):
        return ()
    for node in ast.walk(body):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple) and _is_shape(node.value):
            return tuple(e.id.lower() if isinstance(e, ast.Name) else "_" for e in node.targets[0].elts)
    return ()


def replace_other_rows(inputs: Inputs, keep: int, *, axis: int, generator: torch.Generator) -> Inputs:
    """The same inputs with every row but one replaced, by values within the range of the old ones."""
    size = batch_size(inputs, axis)

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


def batch_size(inputs: Inputs, axis: int) -> int:
    """The size of the batch axis of the first tensor that has it; 0 when none has."""
    return next((tensor.shape[axis] for tensor in inputs.tensors() if tensor.ndim > axis), 0)


def rows(output: object, index: int, *, axis: int, size: int) -> Iterator[tuple[str, Tensor]]:
    """One row of every output tensor that has a batch axis, with its path; the input's axis is preferred."""
    for path, tensor in tree.named_tensors(output, name="output"):
        candidates = [a for a in (axis, *range(tensor.ndim)) if a < tensor.ndim and tensor.shape[a] == size]
        if candidates:
            yield path, tensor.select(candidates[0], index)


def take(inputs: Inputs, count: int, *, axis: int) -> Inputs:
    """The first `count` rows of every tensor that has the batch axis."""
    size = batch_size(inputs, axis)
    return inputs.map(lambda t: t.narrow(axis, 0, count) if t.ndim > axis and t.shape[axis] == size else t)


def _shuffled(tensor: Tensor, generator: torch.Generator) -> Tensor:
    order = torch.randperm(tensor.numel(), generator=generator)
    return tensor.detach().reshape(-1)[order].reshape(tensor.shape)


def _is_shape(node: ast.expr) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Attribute) and node.func.attr == "size" and not node.args
    return isinstance(node, ast.Attribute) and node.attr == "shape"
