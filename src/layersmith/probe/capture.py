"""What dynamo makes of a module: one trace, made once, of which several rules ask."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch._ops import HigherOrderOperator, OpOverload, OpOverloadPacket

from layersmith.probe import batch
from layersmith.probe.closeness import Gap
from layersmith.probe.compiler import captured, compiler, sizes_fixed
from layersmith.probe.export import open_axis, with_rows
from layersmith.probe.inputs import Inputs
from layersmith.probe.passes import apart, asking, there_and_back
from layersmith.probe.surroundings import preserved

CALLS = 4
Build = Callable[[], nn.Module]  # a fresh module
LOOKS_AWAY = re.compile(r"^set_$|data|detach|grad")  # `.data`, no_grad, detach, as they stand in a graph
OWN = frozenset({"torch", "_operator", "math", "builtins"})
OPERATORS = (HigherOrderOperator, OpOverload, OpOverloadPacket)  # autograd's Functions, and custom operators


@dataclass(frozen=True, slots=True)
class Capture:
    """What came of compiling a module whole.

    The trace leaves the batch axis open, where there is one, and its inputs ask for gradients; where dynamo refuses
    that, it is made as `torch.compile` makes the first one, of fixed sizes and without gradients.
    """

    axis: int | None = None  # the batch axis, if eager mode takes other sizes of it
    refusal: str = ""  # dynamo's error; "" where it took the module
    repeated: tuple[int, ...] = ()  # graphs compiled so far, after each of up to four equal calls
    resized: tuple[
        int, ...
    ] = ()  # and after calls with one, two and three rows more; () where there is no axis
    fixing: tuple[tuple[str, int], ...] = ()  # files and lines that hold a size to one number
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
    """Compile a fresh module as one graph, and call it again, with the same inputs and with more rows."""
    axis = open_axis(build(), inputs)
    with suppress(Exception):  # what it refuses so, it may take as it is usually asked
        return _captured(build, inputs, axis, seed=seed, has_gradients=True)
    try:
        return _captured(build, inputs, axis, seed=seed, has_gradients=False)
    except Exception as error:  # noqa: BLE001 - dynamo's, or the module's under dynamo
        return Capture(axis, str(error).strip() or type(error).__name__)


def _captured(build: Build, inputs: Inputs, axis: int | None, *, seed: int, has_gradients: bool) -> Capture:
    module = build()
    with compiler() as backend, sizes_fixed(module) as fixing:
        compiled = captured(module, backend)

        def opened(*args: Any, **kwargs: Any) -> Any:
            if axis is not None:
                _open(Inputs(args, kwargs), axis)
            return compiled(*args, **kwargs)

        def again(given: Inputs) -> int:
            with preserved(seed=seed):
                if has_gradients:
                    taken = asking(given)[1]
                    opened(*taken.args, **taken.kwargs)
                else:
                    given.call(compiled)
            return backend.graphs

        gap = None
        if has_gradients:
            there = there_and_back(module, inputs, seed=seed, call=opened)
            gap = apart(there_and_back(build(), inputs, seed=seed), there)
        else:
            again(inputs)
        is_plain = _is_plain(backend.nodes)
        repeated, resized, trouble = [backend.graphs], [], ""
        try:
            while len(repeated) < CALLS and repeated[-1] == len(repeated):
                repeated.append(again(inputs))
            if axis is not None and backend.graphs:
                resized = [again(batch.grown(inputs, more, axis=axis)) for more in (1, 2, 3)]
        except Exception as error:  # noqa: BLE001 - dynamo's, or the module's under dynamo
            trouble = str(error).strip() or type(error).__name__
    return Capture(
        axis, "", tuple(repeated), tuple(resized), tuple(fixing), trouble, gap, has_gradients, is_plain
    )


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
