"""What is examined: a private copy of a module with its inputs, and the tensors that it depends on."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.probe import tree
from layersmith.probe.gradients.cotangent import pull_back
from layersmith.probe.gradients.duplicate import cast_to
from layersmith.probe.gradients.frame import reseed, reseed_torch
from layersmith.probe.inputs import Inputs

Adapt = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Leaf:
    """One tensor that the outputs may depend on."""

    name: str  # "weight", "block.0.bias", "input[0]", "x"
    tensor: Tensor  # requires grad, private
    kind: str  # "parameter", "input" or "buffer"
    still: tuple[int, ...] = ()  # rows that have no gradient by definition: padding of an embedding

    def hold(self, direction: Tensor) -> Tensor:
        """Take the rows that must not be moved out of a direction, in place."""
        for row in self.still:
            direction[row] = 0
        return direction


@dataclass(slots=True)
class Specimen:
    """A module that may be moved about and called any number of times, always from the same state."""

    module: nn.Module
    inputs: Inputs
    leaves: tuple[Leaf, ...]
    dtype: torch.dtype
    seed: int
    forwards: int = 0
    backwards: int = 0
    adapt: Adapt | None = None  # how an input's layout is changed before the call
    _state: list[tuple[dict[str, Any], dict[str, Any]]] = field(default_factory=list)
    _buffers: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    is_stateful: bool | None = None  # unknown before the first call
    needs_graph: bool = False  # whether it refuses to run under no_grad, as with hooks on what it computes
    draws_elsewhere: bool = True  # perhaps from Python's or NumPy's generators: seed these as well

    def outputs(
        self, *, call: Inputs | None = None, parameters: dict[str, Tensor] | None = None
    ) -> list[tuple[str, Tensor]]:
        """Every floating or complex tensor of the output, with its name, from the module's original state.

        Args:
            call: other inputs of the same form.
            parameters: values to use instead of the module's own.
        """
        self.restore()
        (reseed if self.draws_elsewhere else reseed_torch)(self.seed)
        self.forwards += 1
        adapt = self.adapt or _cloned
        copies: dict[int, Tensor] = {}

        def passed(tensor: Tensor) -> Tensor:
            if id(tensor) not in copies:
                copies[id(tensor)] = adapt(tensor)
            return copies[id(tensor)]

        given = call or self.inputs
        plain = not given.kwargs and all(isinstance(one, Tensor) for one in given.args)
        given = Inputs(tuple(map(passed, given.args))) if plain else given.map(passed)
        if parameters is None:
            result = self.module(*given.args, **given.kwargs)
        else:
            result = torch.func.functional_call(self.module, parameters, given.args, dict(given.kwargs))
        if self.is_stateful is None:
            self._notice_state()
        if isinstance(result, Tensor):
            return [("output", result)] if tree.is_differentiable(result) else []
        return [
            (name, out)
            for name, out in tree.named_tensors(result, name="output")
            if tree.is_differentiable(out)
        ]

    def values(self) -> list[tuple[str, Tensor]]:
        """The outputs under no_grad, as the caller has it, unless the module cannot be called so."""
        try:
            if not self.needs_graph:
                return self.outputs()
        except RuntimeError as error:
            if "grad" not in str(error):
                raise
        self.needs_graph = True
        with torch.enable_grad():
            return self.outputs()

    def gradients(
        self, outputs: Sequence[Tensor], along: Sequence[Tensor | None], *, keep: bool = False
    ) -> list[Tensor | None]:
        """The gradient of <along, outputs> with respect to every leaf; None where autograd says none."""
        self.backwards += 1
        tensors = [leaf.tensor for leaf in self.leaves if leaf.tensor.requires_grad]
        found = iter(pull_back(outputs, along, tensors, keep=keep))
        every = [next(found) if leaf.tensor.requires_grad else None for leaf in self.leaves]
        return [one.to_dense() if one is not None and one.layout != torch.strided else one for one in every]

    def named(self, kind: str) -> list[str]:
        """The names of the leaves of one kind."""
        return [leaf.name for leaf in self.leaves if leaf.kind == kind]

    def remember(self) -> None:
        """Take the present state of the module as the one from which every call starts."""
        owners = list(nn.Module.modules(self.module))
        self._state = [(d, dict(d)) for owner in owners for d in (vars(owner), owner._buffers)]  # noqa: SLF001
        self._buffers = [(one, one.clone()) for one in self.module.buffers()]

    @property
    def tensors(self) -> list[Tensor]:
        """The leaves' values, to be moved in place unseen by autograd."""
        return [leaf.tensor.data for leaf in self.leaves]

    def _notice_state(self) -> None:
        moved = any(_differ(now, then) for now, then in self._state)
        self.is_stateful = moved or any(not _same(now, then) for now, then in self._buffers)

    def restore(self) -> None:
        """Put the module back to the remembered state, where it is known to keep any."""
        if not self.is_stateful:
            return
        for now, then in self._state:
            now.clear()
            now.update(then)
        for buffer, value in self._buffers:
            buffer.data.copy_(value)


def specimen(
    module: nn.Module, inputs: Inputs, *, dtype: torch.dtype, seed: int, differentiated: str = "all"
) -> Specimen:
    """A specimen of a module that is already a private copy in `dtype`; inputs are copied here.

    A tensor that is passed twice stays one tensor, for some modules ask `key is value`.

    Args:
        module: private, already in `dtype`.
        inputs: of one call.
        dtype: of floating inputs, with complex inputs of the same precision.
        seed: of the module's own random numbers.
        differentiated: "all" floating inputs, those that are "varied" (labels and masks, being whole numbers,
            are not), or "none".
    """
    twins: dict[int, Tensor] = {}

    def own(tensor: Tensor) -> Tensor:
        if id(tensor) not in twins:
            twins[id(tensor)] = tensor.detach().to(cast_to(tensor, dtype), copy=True)
        return twins[id(tensor)]

    mine = inputs.map(own)
    padding = _padding(module)
    leaves = [
        Leaf(name, tensor, "parameter", padding.get(id(tensor), ()))
        for name, tensor in module.named_parameters()
        if tensor.requires_grad
    ]
    leaves += _input_leaves(mine, differentiated)
    found = Specimen(module, mine, tuple(leaves), dtype, seed)
    found.remember()
    return found


def _input_leaves(inputs: Inputs, differentiated: str) -> Iterator[Leaf]:
    seen: set[int] = set()
    for name, tensor in inputs.named_tensors():
        ordinary = tree.is_differentiable(tensor) and tensor.layout == torch.strided and tensor.numel()
        chosen = differentiated == "all" or (differentiated == "varied" and not _is_whole(tensor))
        if ordinary and chosen and id(tensor) not in seen:
            seen.add(id(tensor))
            yield Leaf(name, tensor.requires_grad_(), "input")


def _is_whole(tensor: Tensor) -> bool:
    return not tensor.is_complex() and torch.equal(tensor, tensor.round())


def _padding(module: nn.Module) -> dict[int, tuple[int, ...]]:
    return {
        id(part.weight): (part.padding_idx,)
        for part in nn.Module.modules(module)
        if isinstance(part, nn.Embedding | nn.EmbeddingBag) and part.padding_idx is not None
    }


def _cloned(tensor: Tensor) -> Tensor:
    return tensor.clone()


def _differ(now: dict[str, Any], then: dict[str, Any]) -> bool:
    return len(now) != len(then) or not all(map(operator.is_, now.values(), then.values()))


def _same(now: Tensor, then: Tensor) -> bool:
    return now.shape == then.shape and torch.equal(now, then)
