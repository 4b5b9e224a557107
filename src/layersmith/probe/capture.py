"""What dynamo makes of a module: one trace, made once, of which several rules ask."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch._ops import HigherOrderOperator, OpOverload, OpOverloadPacket

from layersmith.probe import batch
from layersmith.probe.closeness import Gap
from layersmith.probe.compiler import Place, captured, compiler, sizes_fixed
from layersmith.probe.export import exported, with_rows
from layersmith.probe.inputs import Inputs
from layersmith.probe.passes import apart, asking, there_and_back
from layersmith.probe.surroundings import preserved

CALLS = 8  # compilations of one function: with the next, dynamo gives up
MORE = 3  # rows: as many sizes are tried beyond the first
Build = Callable[[], nn.Module]  # a fresh module
LOOKS_AWAY = re.compile(r"^set_$|data|detach|grad")  # `.data`, no_grad, detach, as they stand in a graph
OWN = frozenset({"torch", "_operator", "math", "builtins"})
OPERATORS = (HigherOrderOperator, OpOverload, OpOverloadPacket)  # autograd's Functions, and custom operators


@dataclass(frozen=True, slots=True)
class Capture:
    """What came of compiling a module whole, for the sizes that its inputs have.

    Its inputs ask for gradients; where dynamo refuses that, the trace is made without.
    """

    refusal: str = ""  # dynamo's error; "" where it took the module
    repeated: tuple[int, ...] = ()  # graphs compiled so far, after each of up to `CALLS` equal calls
    trouble: str = ""  # the error of a later call
    gap: Gap | None = None  # where outputs or gradients differ from those of the module as it is
    has_gradients: bool = False  # whether they were compared
    is_plain: bool = (
        False  # whether graphs hold torch's functions only, and write nothing behind autograd's back
    )

    @property
    def is_always_compiled(self) -> bool:
        """Whether the same call was compiled each time that it was made."""
        return self.repeated == tuple(range(1, CALLS + 1))


def capture(build: Build, inputs: Inputs, *, seed: int) -> Capture:
    """Compile a fresh module as one graph, and call it again with the same inputs."""
    with suppress(Exception):  # what it refuses so, it may take as it is usually asked
        return _captured(build, inputs, seed=seed, has_gradients=True)
    try:
        return _captured(build, inputs, seed=seed, has_gradients=False)
    except Exception as error:  # noqa: BLE001 - dynamo's, or the module's under dynamo
        return Capture(str(error).strip() or type(error).__name__)


def _captured(build: Build, inputs: Inputs, *, seed: int, has_gradients: bool) -> Capture:
    module = build()
    with compiler() as backend:
        compiled = captured(module, backend)

        def again() -> int:
            with preserved(seed=seed):
                (asking(inputs)[1] if has_gradients else inputs).call(compiled)
            return backend.graphs

        gap = None
        if has_gradients:
            there = there_and_back(module, inputs, seed=seed, call=compiled)
            gap = apart(there_and_back(build(), inputs, seed=seed), there)
        else:
            again()
        is_plain = _is_plain(backend.nodes)
        repeated, trouble = [backend.graphs], ""
        try:
            while len(repeated) < CALLS and repeated[-1] == len(repeated):
                repeated.append(again())
        except Exception as error:  # noqa: BLE001 - dynamo's, or the module's under dynamo
            trouble = str(error).strip() or type(error).__name__
    return Capture("", tuple(repeated), trouble, gap, has_gradients, is_plain)


@dataclass(frozen=True, slots=True)
class Resized:
    """What came of compiling a module whole with the batch axis open, and of calling it with other sizes."""

    graphs: tuple[int, ...]  # compiled so far, after calls with one, two and three rows more
    fixing: tuple[Place, ...]  # lines that hold a size to one number

    @property
    def is_always_compiled(self) -> bool:
        """Whether each size was compiled for itself."""
        return len(set(self.graphs)) == len(self.graphs)


def resized(build: Build, inputs: Inputs, axis: int, *, seed: int, has_gradients: bool) -> Resized:
    """Compile a fresh module with that axis open, and call it with more rows on it.

    Raises:
        Exception: dynamo's, or the module's under dynamo.
    """
    module = build()
    with compiler() as backend, sizes_fixed(module) as fixing, preserved(seed=seed):
        compiled = captured(module, backend)
        graphs = []
        for more in range(1 + MORE):
            given = batch.grown(inputs, more, axis=axis)
            given = asking(given)[1] if has_gradients else given
            _open(given, axis)
            given.call(compiled)
            graphs.append(backend.graphs)
    return Resized(tuple(graphs[1:]), tuple(fixing))


def _open(inputs: Inputs, axis: int) -> None:
    """Ask dynamo not to fix the size of the batch, where it need not."""
    from torch._dynamo import maybe_mark_dynamic  # noqa: PLC0415 - slow, and only here

    for tensor in with_rows(inputs, axis):
        maybe_mark_dynamic(tensor, axis)


def _is_plain(nodes: Sequence[Any]) -> bool:
    """Whether graphs hold functions of torch's only, and do not write to tensors where autograd looks away."""
    called = [node for node in nodes if node.op in {"call_function", "call_method"}]
    names = {getattr(node.target, "__name__", str(node.target)) for node in called}
    homes = {getattr(node.target, "__module__", None) or "torch" for node in called}
    is_own = any(home.partition(".")[0] not in OWN for home in homes)
    is_own |= any(isinstance(node.target, OPERATORS) for node in called)
    return not is_own and not (any(map(_writes, names)) and any(map(LOOKS_AWAY.search, names)))


def _writes(name: str) -> bool:
    """Whether it is the name of an operation in place, such as `mul_` or `iadd`."""
    return name.endswith("_") or name == "setitem" or (name[:1] == "i" and name[1:] in vars(operator))


def warm() -> None:
    """Have torch import what compiling takes, so that processes forked from this one need not: two seconds each.

    No backward, which would start autograd's threads where there are other devices, and no fork survives those.
    What another release of torch refuses here, a rule will meet again, and say so.
    """
    with suppress(Exception), torch.no_grad(), compiler() as backend:
        layer, x = nn.Linear(2, 2), torch.zeros(3, 2)
        captured(layer, backend)(x)
        exported(layer, Inputs((x,)), 0, seed=0)
