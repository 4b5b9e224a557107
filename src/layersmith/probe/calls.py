"""The calls of submodules during one forward pass: which one is running, and whose an autograd node is."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter

from torch import _C, jit, nn
from torch.autograd.graph import Node

from layersmith.errors import UsageError

ROOT = ""  # the path of the whole module, as in `named_modules`


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a submodule; number 0 of the root stands for the time before and after its first call."""

    path: str
    number: int
    running: frozenset[str]  # the paths of all modules that are running, this one included

    @property
    def name(self) -> str:
        """`path` for the first call of a submodule, then `path#2`, `path#3` ..."""
        return self.path if self.number == 1 else f"{self.path}#{self.number}"


@dataclass(frozen=True, slots=True)
class Mark:
    """From here on `call` is the innermost; the trace's own work lies between `ended` and `started`."""

    call: Call
    sequence: int  # the number that the next autograd node of this thread gets
    ended: float  # perf_counter at the end of the stretch before this mark, in seconds
    started: float  # and at the start of the stretch after it


@dataclass(slots=True)
class Trace:
    """The calls of one forward pass as far as it has come: hooks write it, probes read it."""

    stack: list[Call] = field(default_factory=lambda: [Call(ROOT, 0, frozenset({ROOT}))])
    marks: list[Mark] = field(default_factory=list)
    times_called: Counter[str] = field(default_factory=Counter)  # by path, in the order of first calls

    @property
    def current(self) -> Call:
        """The innermost call that is running."""
        return self.stack[-1]

    def owner(self, node: Node) -> Call:
        """The innermost call that was running when this thread made the autograd node."""
        after = bisect.bisect_right(self.marks, sequence(node), key=lambda mark: mark.sequence)
        return self.marks[after - 1].call if after else self.stack[0]

    def enter(self, path: str) -> None:
        """A submodule is called."""
        ended = perf_counter()
        self.times_called[path] += 1
        self.stack.append(Call(path, self.times_called[path], self.current.running | {path}))
        self._mark(ended)

    def leave(self) -> Call:
        """The innermost call returned, or raised."""
        ended = perf_counter()
        call = self.stack.pop()
        self._mark(ended)
        return call

    def _mark(self, ended: float) -> None:
        upcoming = _C._autograd._get_sequence_nr()  # noqa: SLF001 - no public name
        self.marks.append(Mark(self.current, upcoming, ended, perf_counter()))


@contextmanager
def traced(
    module: nn.Module, *, after: Callable[[Call, object], None] = lambda _call, _output: None
) -> Iterator[Trace]:
    """Trace the calls of the module and its submodules inside the block; its hooks are removed at the end.

    A submodule with several names goes by its first, as in `named_modules`. A call of `.forward` itself
    passes hooks by and is not seen. Leave the block before backward: checkpoints call submodules again there.

    Args:
        module: what will be called.
        after: told each call that returned and its output, innermost first; `None` for one that raised.

    Raises:
        UsageError: for TorchScript, which takes no hooks.
    """
    trace = Trace()

    def leave(_module: nn.Module, _args: object, output: object) -> None:
        after(trace.leave(), output)

    _refuse_scripts(module)
    handles = []
    for path, submodule in module.named_modules():
        handles.append(submodule.register_forward_pre_hook(_entering(trace, path), prepend=True))
        handles.append(submodule.register_forward_hook(leave, always_call=True))
    try:
        yield trace
    finally:
        for handle in handles:
            handle.remove()


def sequence(node: Node) -> int:
    """The number of an autograd node: nodes made later have greater ones, and the engine runs those first."""
    return node._sequence_nr()  # noqa: SLF001 - no public name


def _entering(trace: Trace, path: str) -> Callable[[nn.Module, object], None]:
    return lambda _module, _args: trace.enter(path)


def _refuse_scripts(module: nn.Module) -> None:
    for path, submodule in module.named_modules():
        if isinstance(submodule, jit.ScriptModule):
            raise UsageError(
                f"submodule {path!r} of {type(module).__name__} is TorchScript, which cannot be looked into: "
                "measure the module that it was scripted or traced from"
            )
