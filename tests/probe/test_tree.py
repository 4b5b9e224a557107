"""Nested values: every tensor is found and replaced, everything else is kept."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from hypothesis import given
from hypothesis import strategies as st

from layersmith.probe import tree


class Pair(NamedTuple):
    left: torch.Tensor
    right: Any


@dataclass
class Output:
    logits: torch.Tensor
    extra: Any = None


leaves = st.one_of(st.integers(), st.none(), st.text(max_size=3), st.just(torch.ones(2)))
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.text(max_size=2), inner, max_size=3),
        st.builds(Output, st.just(torch.ones(3)), inner),
        st.builds(Pair, st.just(torch.ones(3)), inner),
    ),
    max_leaves=8,
)


@given(trees)
def test_mapping_replaces_every_tensor_and_nothing_else(value: object) -> None:
    before = [*tree.tensors(value)]
    doubled = tree.map_tensors(lambda t: t * 2, value)
    after = [*tree.tensors(doubled)]
    assert [*map(torch.sum, after)] == [2 * t.sum() for t in before]
    assert type(doubled) is type(value)


@given(trees)
def test_paths_are_unique(value: object) -> None:
    names = [name for name, _ in tree.named_tensors(value, name="output")]
    assert len(set(names)) == len(names)


def test_paths_read_like_python() -> None:
    value = {"a": [torch.ones(1)], "b": Output(torch.ones(1)), "c": Pair(torch.ones(1), 3)}
    names = [name for name, _ in tree.named_tensors(value, name="output")]
    assert names == ["output['a'][0]", "output['b'].logits", "output['c'].left"]


def test_a_clone_shares_nothing_and_keeps_strides_and_grad() -> None:
    x = torch.randn(3, 4).T.requires_grad_()
    copy = tree.clone({"x": x})["x"]
    assert copy.stride() == x.stride()
    assert copy.requires_grad
    assert copy.is_leaf
    assert copy.data_ptr() != x.data_ptr()


def test_kinds_of_dicts_are_kept() -> None:
    assert isinstance(tree.clone(OrderedDict(x=torch.ones(1))), OrderedDict)


def test_a_distribution_holds_the_tensors_that_it_is_drawn_by() -> None:
    normal = torch.distributions.Normal(torch.zeros(2, 3), torch.ones(2, 3))
    joint = torch.distributions.Independent(normal, 1)
    assert [name for name, _ in tree.named_tensors((joint, 1))] == [
        "[0].base_dist.loc",
        "[0].base_dist.scale",
    ]
    logits = torch.distributions.Categorical(logits=torch.zeros(2, 3))
    assert [tuple(one.shape) for one in tree.tensors(logits)] == [(2, 3)]
