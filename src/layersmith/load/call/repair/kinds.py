"""What errors say about the kind of an argument: missing, None, a list, a number, a function."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from layersmith.load import failure
from layersmith.load.call.callee import State
from layersmith.load.call.clue import BATCH, PRIMES
from layersmith.load.call.repair.complaint import Complaint
from layersmith.load.call.start import value_for
from layersmith.load.constructor.standins import ANY_MODULE
from layersmith.load.values import TensorSpec, specs

_SEQUENCE = 3  # a rank
_NUMBER = re.compile(
    r"^([ilk]|idx|index|level|layer|stage|step|(layer|level|stage|scale)_(id|idx|index|num))$"
)
_TENSOR_UNWANTED = re.compile(
    r"'Tensor' object (is not callable|has no attribute)|object of type 'Tensor'|"
    r"argument .* must be (tuple|list|int)|"
    r"'int' but got|must be .*not Tensor|arange\(\) received|Tensor.*cannot be interpreted as an integer|"
    r"only integer tensors|only one element tensors|unhashable|ambiguous|iteration over a 0-d|"
    r"list indices|not Tensor|step must be greater than zero|"  # `features[::-1]`
    r"(repeat|expand|view|reshape|permute|new_\w+)\(\) takes 1 positional|"
    r"expected.*(Sequence|list|tuple)|found a Tensor|multiple elements|string indices|slice indices"
)
_TENSOR_WANTED = re.compile(
    r"'(int|bool|float|str|tuple|NoneType|dict)' object|must be Tensor|expected Tensor|"
    r"not (int|tuple|bool|float|str|dict)\b"
)
_NONE_UNWANTED = re.compile(
    r"NoneType|must (be|not be|provide|specify)|is required|required|cannot be None|either|"
    r"have to specify|None|got \(bool, |"  # `mask == 0` where the mask is None
    r"forward returned \w+, no tensor"  # but lists of tags, where a loss is returned for those that are right
)


def own_state(complaint: Complaint) -> Iterator[State]:
    """No state where the one given has another batch: the layer begins with its own."""
    for name in complaint.state if complaint.says("[Hh]idden|cell state|hx|h_0") else ():
        if re.search("hidden|state|^h|cell|memory", name) and complaint.state[name] is not None:
            yield complaint.with_value(name, None)


def not_given(complaint: Complaint) -> Iterator[State]:
    """A value for what was left None or out."""
    if not _NONE_UNWANTED.search(complaint.text) and not _asks_for_option(complaint):
        return
    parameters, state = complaint.callee.parameters, complaint.state
    optional = [name for name, p in parameters.items() if name not in state and p.default is None]
    behind = failure.names_behind(complaint.error, {*optional})  # also where an inner module names it alike
    named = [n for n in optional if n in complaint.suspects or re.search(rf"\b{n}\b", complaint.text)]
    named = [*behind, *named]
    empty = [name for name, value in state.items() if value is None]
    for name in list(
        dict.fromkeys([*(n for n in complaint.suspects if n in empty), *named, *empty, *optional[:3]])
    )[:5]:
        yield complaint.with_value(name, _some_tensor(complaint, name))


def _asks_for_option(complaint: Complaint) -> bool:
    """Whether a failed check names a parameter that was left None: "cross attention should receive context"."""
    options = [
        n for n, p in complaint.callee.parameters.items() if p.default is None and n not in complaint.state
    ]
    if any(
        test.wanted is None and getattr(test.left, "id", "") in options
        for test in failure.comparisons(complaint.error)
    ):
        return True  # assert w is not None
    words = set(
        re.findall(r"\w+", complaint.text if isinstance(complaint.error, AssertionError | ValueError) else "")
    )
    return bool(words & set(options))


def _some_tensor(complaint: Complaint, name: str) -> Any:
    main = next(specs(list(complaint.state.values())), None)
    value = value_for(complaint.callee, name, main.rank if main is not None else 3, main=main)
    if value is None and "mask" in name:
        return TensorSpec((BATCH, _length(complaint, main)), torch.bool)
    if isinstance(value, TensorSpec) and "mask" in name and PRIMES[0] not in complaint.all_sizes:
        length = _length(complaint, main)
        return replace(value, shape=tuple(length if size == PRIMES[0] else size for size in value.shape))
    return value if value is not None else main


def _length(complaint: Complaint, main: TensorSpec | None) -> int:
    """Of the sequence that a mask is for: the main input, or features beside it."""
    if main is not None and main.rank > 1:
        return main.shape[1]
    found = (spec for spec in specs(list(complaint.state.values())) if spec.rank == _SEQUENCE)
    sequence = next(found, TensorSpec((BATCH, PRIMES[0], 1)))
    return sequence.shape[0] if sequence.shape[1] == BATCH else sequence.shape[1]


def one_element(complaint: Complaint) -> Iterator[State]:
    """One index a row where a row of them was meant for one, `self.norms[style[i]]`; a number: `self.masks[level]`."""
    for name in complaint.blamed if complaint.says("tensors of a single element can be converted") else ():
        tensor = complaint.state[name]
        if _NUMBER.match(name):
            yield complaint.with_value(name, 0)
        if isinstance(tensor, TensorSpec) and tensor.rank > 1 and not tensor.dtype.is_floating_point:
            yield complaint.with_rank(tensor.rank - 1, [name])


def not_a_tensor(complaint: Complaint) -> Iterator[State]:
    """A number, a flag, a list or a function in the place of a tensor."""
    if not _TENSOR_UNWANTED.search(complaint.text):
        return
    for name in complaint.blamed:
        tensor = complaint.state[name]
        if isinstance(tensor, TensorSpec):
            for other in _others(complaint, tensor):
                yield complaint.with_value(name, other)


def _others(complaint: Complaint, tensor: TensorSpec) -> list[Any]:
    missing = complaint.says(r"has no attribute '(\w+)'")
    pair: list[Any] = [[tensor, tensor], (tensor, tensor)]
    if missing:
        is_dict = missing.group(1) in ("items", "keys", "values", "get")
        return [{"x": tensor}] if is_dict else [*pair[:1], ANY_MODULE]
    if complaint.says("callable"):
        return [ANY_MODULE]
    if complaint.says("ambiguous|multiple elements"):
        return [False, True, 2, None]
    if complaint.says("integer|int|arange|takes 1 positional"):
        return [2, PRIMES[0], (PRIMES[0], PRIMES[1])]
    return [2, *pair, False, (PRIMES[0], PRIMES[1]), ANY_MODULE]


def a_tensor(complaint: Complaint) -> Iterator[State]:
    """A tensor in the place of a number, a flag or a tuple."""
    if not _TENSOR_WANTED.search(complaint.text):
        return
    main = next(specs(list(complaint.state.values())), TensorSpec((BATCH, PRIMES[0], 32)))
    for name in complaint.suspects:
        if name in complaint.state and not isinstance(complaint.state[name], TensorSpec):
            for other in (main, (PRIMES[0], PRIMES[1]), 2):
                yield complaint.with_value(name, other)
