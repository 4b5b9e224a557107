"""A mask argument of forward: the encodings in which it may hide a step, and a call in which it hides some."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from layersmith.probe import batch, closeness, tree
from layersmith.probe.inputs import Inputs
from layersmith.probe.sequence import Layout


@dataclass(frozen=True, slots=True)
class Encoding:
    """One way to say which steps are hidden."""

    name: str
    dtype: torch.dtype
    hides_true: bool  # whether True, or 1, hides
    is_added: bool = False

    def of(self, hidden: Tensor) -> Tensor:
        """The mask that hides these places."""
        if self.is_added:
            return torch.zeros(hidden.shape, dtype=self.dtype).masked_fill(hidden, float("-inf"))
        return (hidden if self.hides_true else ~hidden).to(self.dtype)


TRUE_HIDES = Encoding("True hides", torch.bool, hides_true=True)
TRUE_KEEPS = Encoding("True keeps", torch.bool, hides_true=False)
ENCODINGS = (
    TRUE_HIDES,
    TRUE_KEEPS,
    Encoding("1 keeps", torch.float32, hides_true=False),
    Encoding("1 hides", torch.float32, hides_true=True),
    Encoding("added -inf", torch.float32, hides_true=True, is_added=True),
    Encoding("1 keeps", torch.int64, hides_true=False),
    Encoding("1 hides", torch.int64, hides_true=True),
)
AS_LENGTHS = Encoding("lengths", torch.int64, hides_true=False)


@dataclass(frozen=True, slots=True)
class Trial:
    """What one encoding did: whether the mask had an effect, and how far hidden steps moved the visible outputs."""

    encoding: Encoding
    effect: bool
    leak: closeness.Gap  # of the outputs at visible steps, when only hidden steps changed
    alive: bool  # whether those outputs depend on the visible steps: zeros would not leak either


@dataclass(frozen=True, slots=True)
class Masking:
    """One mask argument of forward, the shape it takes, the calls it was asked of, and what came of them."""

    argument: str
    shape: str  # letters: "bt", "tt" ...; "lengths"
    parameters: tuple[str, ...]  # of forward
    without: tuple[str, ...]  # those that are None when nothing is hidden
    rows: int  # a batch size that nothing else has; 0 where only the given one runs
    layout: Layout
    hidden: tuple[int, ...] = ()  # steps
    trials: tuple[Trial, ...] = ()

    @property
    def working(self) -> list[Encoding]:
        """The encodings under which what is hidden has no effect."""
        return [
            trial.encoding for trial in self.trials if trial.effect and trial.alive and not trial.leak.is_open
        ]

    @property
    def followed(self) -> list[Encoding]:
        """Those that work; if none does, those under which nothing leaks, as what they leave visible is cleared."""
        silent = [trial.encoding for trial in self.trials if trial.effect and not trial.leak.is_open]
        return self.working or silent

    def asked(self, inputs: Inputs) -> Inputs:
        """The call that was asked of, made of the usual one."""
        for name in self.without:
            inputs = with_argument(self.parameters, inputs, name, None)
        return of_rows(inputs, self.layout, self.rows) if self.rows else inputs

    def masked(self, inputs: Inputs, encoding: Encoding, hidden: tuple[int, ...]) -> Inputs:
        """A call with these steps hidden."""
        x = dict(inputs.named_tensors())[self.layout.names[0]]
        rows, steps = x.shape[self.layout.batch], x.shape[self.layout.time]
        if encoding is AS_LENGTHS:  # the first row is full, so that the output keeps its length
            lengths = torch.full((rows,), steps - len(hidden))
            lengths[0] = steps
            return with_argument(self.parameters, inputs, self.argument, lengths)
        places = torch.zeros(steps, dtype=torch.bool)
        places[list(hidden)] = True
        mask = encoding.of(_spread(places, self.shape, rows))
        return with_argument(self.parameters, inputs, self.argument, mask)

    def visible(self, output: object, steps: tuple[int, ...], *, length: int) -> Tensor | None:
        """The first output at these steps, or whole where it has no time axis; less row 0 under lengths.

        None where there is none, or none without row 0.
        """
        tensor = next((one for one in tree.tensors(output) if tree.is_differentiable(one)), None)
        if tensor is None:
            return None
        layout = Layout(self.layout.names, self.layout.batch, self.layout.time, length)
        axis = layout.axis_of(tensor)
        if axis is not None:
            tensor = tensor.index_select(axis, torch.tensor(steps))
        if self.shape == "lengths":
            if tensor.ndim <= self.layout.batch:
                return None  # a loss over all rows, the full one among them
            tensor = tensor.narrow(self.layout.batch, 1, tensor.shape[self.layout.batch] - 1)
        return tensor


def with_argument(parameters: tuple[str, ...], inputs: Inputs, name: str, value: object) -> Inputs:
    """The same call with one of forward's parameters set to that value."""
    place = parameters.index(name)
    if place < len(inputs.args):
        return Inputs((*inputs.args[:place], value, *inputs.args[place + 1 :]), inputs.kwargs)
    return Inputs(inputs.args, {**inputs.kwargs, name: value})


def of_rows(inputs: Inputs, laid: Layout, rows: int) -> Inputs:
    """The same call with so many rows, repeated as need be."""
    old = batch.batch_size(inputs, laid.batch)
    order = torch.arange(rows) % max(old, 1)
    return inputs.map(
        lambda t: (
            t.index_select(laid.batch, order) if t.ndim > laid.batch and t.shape[laid.batch] == old else t
        )
    )


def _spread(places: Tensor, shape: str, rows: int) -> Tensor:
    """The steps to hide as a mask of that shape; by pairs of steps they are the last axis, the keys."""
    steps = len(places)
    last = shape.rindex("t")
    for index, letter in enumerate(shape):
        size = {"b": rows, "t": steps, "1": 1}[letter]
        if index != last:
            places = places.unsqueeze(index) if index < last else places.unsqueeze(-1)
            places = places.expand(*[size if axis == index else old for axis, old in enumerate(places.shape)])
    return places.contiguous()
