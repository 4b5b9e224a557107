from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from layersmith.errors import UsageError
from layersmith.load.notation import parse
from layersmith.load.values import DTYPES, Call, TensorSpec

tensors = st.builds(
    TensorSpec,
    st.lists(st.integers(0, 9), max_size=4).map(tuple),
    st.sampled_from([DTYPES[name] for name in ("f32", "f64", "bf16", "i64", "u8")]),
    st.sampled_from([0, 1, 7]),
)
literals = st.one_of(
    st.integers(),
    st.booleans(),
    st.none(),
    st.text(max_size=4),
    st.floats(allow_nan=False, allow_infinity=False),
)
values = st.recursive(
    st.one_of(tensors, literals),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=2), inner, max_size=2),
    ),
    max_leaves=5,
)
calls = st.builds(
    Call,
    st.lists(values, max_size=3).map(tuple),
    st.dictionaries(st.sampled_from(["x", "mask", "t"]), values),
)


@given(calls)
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read_back(call: Call) -> None:
    again = parse(str(call))
    assert (again.args, dict(again.kwargs)) == (call.args, dict(call.kwargs))


def test_the_values_differ_between_seeds_and_the_shapes_do_not() -> None:
    call = parse("f32[2,16], i64[4]<100, mask=bool[2,16]")
    one, same, other = call.make(0), call.make(0), call.make(1)
    for a, b, c in zip(one.tensors(), same.tensors(), other.tensors(), strict=True):
        assert torch.equal(a, b)
        assert a.shape == c.shape
        assert not torch.equal(a, c)


def test_making_inputs_leaves_the_global_generator_alone() -> None:
    state = torch.get_rng_state()
    parse("f32[2,16], i64[4]<100, mask=bool[2,16]").make(0)
    assert torch.equal(torch.get_rng_state(), state)


def test_inputs_are_not_the_numbers_that_weights_of_the_same_seed_get() -> None:
    inputs = next(parse("f32[64]").make(3).tensors())
    assert not torch.equal(inputs, torch.randn(64, generator=torch.Generator().manual_seed(3)))


def test_bounds_hold() -> None:
    integers, floats = parse("i64[500]<3, f32[500]<1").make(0).tensors()
    assert set(integers.tolist()) == {0, 1, 2}
    assert 0 <= float(floats.min()) < float(floats.max()) < 1


def test_each_row_of_flags_has_both() -> None:
    flags = next(parse("bool[50,4]").make(0).tensors())
    assert flags.any(-1).all()
    assert not flags.all(-1).any()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("f33[2]", "a tensor begins with one of"),
        ("f32[2.5]", "whole numbers"),
        ("f32[-1]", "whole numbers"),
        ("f32[2", "cannot be read"),
        ("f32[2])(", "cannot be read|brackets"),
        ("i64[2]>4", "only by <"),
        ("i64[2]<0", "at least 1"),
        ("open('x')", "neither a tensor nor a literal"),
        ("**{}", r"\*\* is not allowed"),
    ],
)
def test_bad_notation_shows_the_place_and_the_grammar(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        parse(text)
    assert "^" in str(caught.value)
    assert "f32[2,16,64], mask=bool[2,16]" in str(caught.value)


def test_the_caret_stands_below_the_mistake() -> None:
    with pytest.raises(UsageError) as caught:
        parse("f32[2], f33[3]")
    shown, caret = str(caught.value).splitlines()[1:3]
    assert shown[caret.index("^") :].startswith("f33")
