"""The clock: how long forward and backward of each submodule take."""

from __future__ import annotations

import heapq
import itertools
import statistics
from collections import Counter
from collections.abc import Iterator
from time import perf_counter

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from layersmith.errors import UsageError
from layersmith.finding import Measurement
from layersmith.probe.calls import ROOT, Call, Trace, sequence, traced
from layersmith.probe.inputs import Inputs
from layersmith.probe.rehearsal import as_in_training, cotangents, rehearsal

Step = dict[tuple[str, str], float]  # seconds by measurement's name and path
Stretch = tuple[Call, float]  # a call, and when it begins or how many seconds it lasts


def times(
    module: nn.Module,
    inputs: Inputs,
    *,
    seconds: float = 1.0,
    repeats: int = 5,
    warmup: int = 2,
    seed: int = 0,
) -> list[Measurement]:
    """`forward_seconds` and `backward_seconds` of the module and of every submodule that is called.

    Medians, with half the interquartile range as spread, over steps that are repeated until `seconds` have
    passed, but at least `repeats` times, after `warmup` unmeasured ones. The whole (where="") is timed in
    steps without hooks, the submodules in a step with hooks beside each. All calls of a submodule in a step
    are added up, and what it contains is included.

    Backward is that of a training step: inputs get a gradient only where they require one, so the first
    layer may be cheap. The time of an autograd node, and of adding to `.grad` after it, goes to the submodule
    that was running when it was made, so branches, views and writes in place are kept apart.

    Limits: a call takes one or two microseconds more by its hooks, of which its container's time has a part.
    The start of backward, some 20 microseconds, is in the whole only. A submodule that makes no node
    (frozen, without gradient) has no backward. What a checkpoint computes again is backward of its caller.
    CPU only.

    Raises:
        UsageError: if the module cannot be copied, or is not on the CPU.

    Example:
        >>> import torch
        >>> from layersmith.probe.inputs import Inputs
        >>> found = times(torch.nn.Sequential(torch.nn.Linear(3, 4)), Inputs.of(torch.ones(2, 3)), seconds=0)
        >>> [(m.name, m.where) for m in found if m.name == "forward_seconds"]
        [('forward_seconds', ''), ('forward_seconds', '0')]
    """
    _require_cpu(module, inputs)
    deadline = perf_counter() + seconds
    samples: dict[tuple[str, str], list[float]] = {}
    with rehearsal(module, inputs, seed=seed) as twin:
        for _ in range(warmup):
            _plain_step(twin, inputs, seed)
            _hooked_step(twin, inputs, seed)
        rounds = 0
        while rounds < repeats or perf_counter() < deadline:
            steps = _plain_step(twin, inputs, seed) | _hooked_step(twin, inputs, seed)
            for key, value in steps.items():
                samples.setdefault(key, []).append(value)
            rounds += 1
    return [_summary(name, where, values) for (name, where), values in samples.items()]


def _plain_step(twin: nn.Module, inputs: Inputs, seed: int) -> Step:
    """The whole module only, as it runs without any hook."""
    arguments = as_in_training(inputs, twin)
    twin.zero_grad()
    started = perf_counter()
    output = twin(*arguments.args, **arguments.kwargs)
    step = {("forward_seconds", ROOT): perf_counter() - started}
    ends, gradients = cotangents(output, seed=seed)
    if ends:
        started = perf_counter()
        torch.autograd.backward(ends, gradients)
        step["backward_seconds", ROOT] = perf_counter() - started
    return step


def _hooked_step(twin: nn.Module, inputs: Inputs, seed: int) -> Step:
    """Its submodules, in the order of their calls, each before those that it contains."""
    arguments = as_in_training(inputs, twin)
    twin.zero_grad()
    with traced(twin) as trace:
        output = twin(*arguments.args, **arguments.kwargs)
    forward = [
        (before.call, after.ended - before.started) for before, after in itertools.pairwise(trace.marks)
    ]
    return _charged("forward_seconds", forward) | _charged("backward_seconds", _backward(output, trace, seed))


def _backward(output: object, trace: Trace, seed: int) -> list[Stretch]:
    """Run backward, with a hook wherever it passes from the nodes of one call to those of another."""
    ends, gradients = cotangents(output, seed=seed)
    begun: list[Stretch] = []
    previous = None
    for node in _engine_order(ends):
        call = trace.owner(node)
        if call != previous:
            node.register_prehook(lambda _gradients, call=call: begun.append((call, perf_counter())))
        previous = call
    if ends:
        torch.autograd.backward(ends, gradients)
    begun.append((trace.current, perf_counter()))
    return [(call, end - start) for (call, start), (_, end) in itertools.pairwise(begun)]


def _engine_order(ends: list[Tensor]) -> Iterator[Node]:
    """The nodes as the engine runs them: of those that wait for no other, the one that was made last.

    Sorting by the time of making is not enough: a view that was written to makes its node when it is used.
    """
    nodes = _numbered_nodes(ends)
    awaited = Counter(following for node in nodes for following in _following(node))
    ready = [(-sequence(node), index, node) for index, node in enumerate(nodes) if not awaited[node]]
    heapq.heapify(ready)
    for index in itertools.count(len(nodes)):
        if not ready:
            return
        node = heapq.heappop(ready)[-1]
        yield node
        for following in _following(node):
            awaited[following] -= 1
            if not awaited[following]:
                heapq.heappush(ready, (-sequence(following), index, following))


def _numbered_nodes(ends: list[Tensor]) -> list[Node]:
    found: dict[Node, None] = {}
    waiting = [end.grad_fn for end in ends if end.grad_fn is not None]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found[node] = None
            waiting.extend(_following(node))
    return list(found)


def _following(node: Node) -> list[Node]:
    """The nodes it hands gradients to, less those that add to `.grad`: the engine runs these at once."""
    return [to for to, _ in node.next_functions if to is not None and not hasattr(to, "variable")]


def _charged(name: str, stretches: list[Stretch]) -> Step:
    """The stretches summed by submodule: each counts for the one that ran and for all around it."""
    step: Step = {}
    for call, seconds in stretches:
        for path in call.running - {ROOT}:
            step[name, path] = step.get((name, path), 0.0) + seconds
    return step


def _summary(name: str, where: str, values: list[float]) -> Measurement:
    lower, median, upper = (
        statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    )
    return Measurement(name, median, "s", (upper - lower) / 2, where)


def _require_cpu(module: nn.Module, inputs: Inputs) -> None:
    tensors = (*module.parameters(), *module.buffers(), *inputs.tensors())
    elsewhere = {str(tensor.device) for tensor in tensors} - {"cpu"}
    if elsewhere:
        raise UsageError(
            f"times are taken on the CPU only; {type(module).__name__} or its inputs are on "
            f"{', '.join(sorted(elsewhere))}: move both with .to('cpu')"
        )
