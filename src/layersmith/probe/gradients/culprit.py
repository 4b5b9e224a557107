"""Who is to blame: the innermost submodule that is wrong by itself, and its backward's file and line."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from types import CodeType
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.probe import tree
from layersmith.probe.gradients.joint import Precision, Verdict
from layersmith.probe.gradients.projection import Named
from layersmith.probe.gradients.specimen import Specimen, specimen
from layersmith.probe.gradients.station import BackwardError, occupy
from layersmith.probe.gradients.watch import HOOK, watch
from layersmith.probe.inputs import Inputs


@dataclass(frozen=True, slots=True)
class Culprit:
    """A submodule, and where in the source it goes wrong."""

    path: str  # "" for the examined module itself
    module_class: str
    function: str = ""  # the autograd.Function, or the call that cuts the graph
    file: str = ""
    line: int = 0

    @property
    def is_cut(self) -> bool:
        """Whether a call that takes a value out of the graph is to blame."""
        return bool(self.function) and not self.function.endswith(".backward") and self.function != HOOK

    @property
    def place(self) -> str:
        """`Scale.backward (scale.py:31)`; the submodule where nothing finer is known."""
        if self.function:
            return f"{self.function} ({self.file.rsplit('/', 1)[-1]}:{self.line})"
        return f"{self.path} ({self.module_class})" if self.path else self.module_class


def find_culprit(
    found: Specimen, precision: Precision, *, seed: int, path: str = "", wrong: Collection[int] = ()
) -> Culprit:
    """Descend into the first child that is wrong by itself, on the very arguments it gets here.

    Args:
        found: what is wrong as a whole.
        precision: how closely to look.
        seed: of its noise.
        path: of the module within the examined one.
        wrong: positions of the leaves with a wrong gradient: a child that none of them reaches is not to blame.
    """
    try:
        calls, reached = [*_calls(found)], _reached(found, wrong) if wrong else None
    except Exception:  # noqa: BLE001 - it may refuse to run under no_grad
        calls, reached = [], None
    for name, child, call in calls:
        if reached is not None and name not in reached:
            continue
        inner = specimen(child, call, dtype=found.dtype, seed=seed, differentiated="varied")
        if _is_wrong(inner, precision, seed=seed):
            return find_culprit(inner, precision, seed=seed, path=f"{path}.{name}" if path else name)
    return _place(found, path)


def functions_in(outputs: Named) -> list[type]:
    """Every autograd.Function in the graph of the outputs, nearest to the outputs first."""
    nodes = nodes_of([out for _, out in outputs])
    owners = (getattr(node, "_forward_cls", None) for node in nodes)
    return list(dict.fromkeys(owner for owner in owners if isinstance(owner, type)))


def nodes_of(tensors: Iterable[Tensor]) -> list[Any]:
    """Every node of the graph behind some tensors, nearest first."""
    tensors = [*tensors]  # as in `leaves.nodes_behind`
    seen: dict[Any, None] = {}
    queue: deque[Any] = deque(one.grad_fn for one in tensors if one.grad_fn is not None)
    while queue:
        node = queue.popleft()
        if node not in seen:
            seen[node] = None
            queue += [after for after, _ in node.next_functions if after is not None]
    return list(seen)


def backward_of(function: type) -> tuple[str, int]:
    """File and line of a Function's backward; ("", 0) where its source is not known."""
    backward = getattr(function, "backward", None)
    if getattr(backward, "__module__", "") == "torch.autograd.function":
        backward = getattr(function, "vjp", backward)
    code = getattr(inspect.unwrap(backward), "__code__", None) if backward is not None else None
    return (code.co_filename, _line_of_def(code)) if code is not None else ("", 0)


def _line_of_def(code: CodeType) -> int:
    """A decorated function's code starts at its first decorator; its def is what a reader looks for."""
    try:
        lines, first = inspect.getsourcelines(code)
    except (OSError, TypeError):
        return code.co_firstlineno
    return first + next((k for k, text in enumerate(lines) if text.lstrip().startswith("def ")), 0)


def _calls(found: Specimen) -> Iterator[tuple[str, nn.Module, Inputs]]:
    """Each direct child with the arguments of its first call."""
    calls: dict[str, Inputs] = {}
    children = dict(found.module.named_children())

    def note(name: str) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            calls.setdefault(name, Inputs(tree.clone(args), tree.clone(kwargs)))

        return hook

    handles = [child.register_forward_pre_hook(note(n), with_kwargs=True) for n, child in children.items()]
    try:
        with torch.no_grad():
            found.values()
    finally:
        for handle in handles:
            handle.remove()
    for name, call in calls.items():
        yield name, children[name], call


def _reached(found: Specimen, wrong: Collection[int]) -> set[str]:
    """The children that get something that depends on these leaves, or hold one themselves."""
    leaves = {id(found.leaves[position].tensor) for position in wrong}
    reached: set[str] = set()

    def note(name: str) -> Any:
        def hook(child: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if any(one.requires_grad for one in tree.tensors((args, kwargs))) or any(
                id(one) in leaves for one in (*child.parameters(), *child.buffers())
            ):
                reached.add(name)

        return hook

    others = [
        leaf.tensor for leaf in found.leaves if leaf.tensor.requires_grad and id(leaf.tensor) not in leaves
    ]
    handles = [
        child.register_forward_pre_hook(note(name), with_kwargs=True)
        for name, child in found.module.named_children()
    ]
    try:
        for tensor in others:
            tensor.requires_grad = False
        with torch.enable_grad():
            found.outputs()
    finally:
        for tensor in others:
            tensor.requires_grad = True
        for handle in handles:
            handle.remove()
    return reached


def _is_wrong(inner: Specimen, precision: Precision, *, seed: int) -> bool:
    try:
        outputs = inner.outputs()
        if not inner.leaves or not outputs or not any(out.requires_grad for _, out in outputs):
            return False
        station = occupy(inner, outputs, precision, seed=seed)
        return any(station.read(draw=draw).verdict is Verdict.WRONG for draw in (0, 1))
    except BackwardError:
        return True
    except Exception:  # noqa: BLE001 - a child that cannot be run alone cannot be blamed
        return False


def _place(found: Specimen, path: str) -> Culprit:
    name = type(found.module).__name__
    functions = functions_in(found.outputs())
    if len(functions) == 1:
        file, line = backward_of(functions[0])
        return Culprit(path, name, f"{functions[0].__name__}.backward", file, line)
    if functions:
        file, line = backward_of(functions[0])
        several = " or ".join(one.__name__ for one in functions)
        return Culprit(path, name, f"{several}.backward", file, line)
    seen = watch(found)
    cuts = seen.hooks or seen.cuts
    return Culprit(path, name, cuts[0].call, cuts[0].file, cuts[0].line) if cuts else Culprit(path, name)
