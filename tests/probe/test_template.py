"""Copies of a template are what `copy.deepcopy` gives: equal, apart from the original and each other, sharing within."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from layersmith.probe import contents
from layersmith.probe.template import Template, copied


class Tied(nn.Module):
    """A weight that is shared, a view of a buffer, a bound method, a list of its parts."""

    table: Tensor
    view: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.register_buffer("table", torch.arange(6.0))
        self.view = self.table[:3]
        self.act = self.twice
        self.parts = [self.first, self.second]

    def twice(self, x: Tensor) -> Tensor:
        """Twice x."""
        return 2 * x

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.parts[1](self.parts[0](x)))
        return y


class HoldsALambda(nn.Linear):
    """Cannot be pickled."""

    def __init__(self) -> None:
        super().__init__(4, 4)
        self.act = lambda x: x


class CopiesItself(nn.Linear):
    """Says how it is deep-copied."""

    def __init__(self) -> None:
        super().__init__(4, 4)
        self.copies = 0

    def __deepcopy__(self, memo: dict[int, Any]) -> CopiesItself:
        other = CopiesItself()
        other.load_state_dict(self.state_dict())
        other.copies = self.copies + 1
        return other


class RefusesToBeCopied(nn.Module):
    """Holds a tensor with a history."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2))
        self.squared = self.scale**2


@pytest.mark.parametrize(
    "make",
    [Tied, HoldsALambda, lambda: nn.TransformerEncoderLayer(8, 2), lambda: nn.LazyLinear(3), nn.ReLU],
)
def test_a_copy_is_equal_and_apart(make: Any) -> None:
    module = make()
    template = Template(module)
    for twin in (template.copy(), template.copy()):
        assert type(twin) is type(module)
        assert twin is not module
        assert not [*contents.differing(module, twin)]
        assert [*twin.state_dict()] == [*module.state_dict()]
        mine, theirs = {id(p) for p in module.parameters()}, {id(p) for p in twin.parameters()}
        assert len(mine) == len(theirs)
        assert not mine & theirs


def test_what_is_shared_stays_shared_within_a_copy() -> None:
    twin = Template(Tied()).copy()
    assert isinstance(twin, Tied)
    assert twin.first.weight is twin.second.weight
    assert twin.parts[0] is twin.first
    assert twin.act.__self__ is twin  # type: ignore[attr-defined]
    twin.table += 1
    assert twin.view[0] == 1


def test_a_deep_copy_of_the_modules_own_is_asked() -> None:
    twin = Template(CopiesItself()).copy()
    assert isinstance(twin, CopiesItself)
    assert twin.copies == 1


def test_what_cannot_be_copied_raises_as_deepcopy_does() -> None:
    module = RefusesToBeCopied()
    with pytest.raises(RuntimeError) as expected:
        copy.deepcopy(module)
    with pytest.raises(RuntimeError) as got:
        Template(module).copy()
    assert str(got.value) == str(expected.value)


class CallsItsPartsByAFunction(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = layer = nn.Linear(3, 3)
        self.apply_layer = lambda x: layer(x).relu()

    def forward(self, x: Tensor) -> Tensor:
        return self.apply_layer(x)


def test_a_function_of_a_copy_works_with_the_parts_of_the_copy() -> None:
    module = CallsItsPartsByAFunction()
    other = Template(module).copy()
    other(torch.ones(2, 3)).sum().backward()
    assert other.get_parameter("layer.weight").grad is not None
    assert module.layer.weight.grad is None


class HooksItsLayer(nn.Module):
    """Reads what a hook on its layer has kept."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.kept: Tensor | None = None
        self.layer.register_forward_hook(self._keep("kept"))

    def _keep(self, name: str) -> Callable[..., None]:
        def keep(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            setattr(self, name, output)

        return keep

    def forward(self, x: Tensor) -> Tensor:
        self.layer(x)
        assert self.kept is not None
        return self.kept


def test_the_hooks_of_a_copy_are_its_own() -> None:
    module = HooksItsLayer()
    other = Template(module).copy()
    other(torch.ones(2, 3))
    assert module.kept is None


def test_what_hangs_on_a_parameter_hangs_on_that_of_a_copy() -> None:
    module = nn.Linear(2, 2)
    module.weight.fast = [1.0]  # type: ignore[attr-defined]
    for other in (Template(module).copy(), copied(module)):
        assert other.weight.fast == [1.0]  # type: ignore[union-attr]
        assert other.weight.fast is not module.weight.fast  # type: ignore[union-attr,attr-defined]
