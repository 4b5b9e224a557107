"""What the error of a constructor says of the kind of one of its arguments: a list, a number, a tensor, a module."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from layersmith.load import failure
from layersmith.load.constructor import names
from layersmith.load.constructor.standins import ANY_MODULE, tensors
from layersmith.load.values import Made, TensorSpec

TENSOR_WANTED = (
    r"to (buffer|parameter) .*torch Tensor|has no attribute '(detach|shape|size|dim|device|data|to|t)'"
)


def alternatives(current: Any, text: str, error: Exception, numbers: list[int]) -> Iterator[Any]:
    """What the message says to one who gave a text, a list, a whole number or an object."""
    if isinstance(current, str):
        yield from [word for word in re.findall(r"['\"]([\w\-]+)['\"]", text) if word != current]
        yield from failure.known_keys(error)
    elif isinstance(current, list | tuple) and current:
        yield from _of_a_list(current, text, numbers)
    elif type(current) is int:
        yield from failure.known_keys(error, int)
        yield from _of_a_number(current, text, numbers)
    elif isinstance(current, TensorSpec):
        yield from _of_a_tensor(current, text)
    elif current == [] and re.search(TENSOR_WANTED, text):
        yield from tensors("")
    elif inspect.isclass(current) and re.search(r"missing \d required positional argument: 'self'", text):
        yield ANY_MODULE  # a module was meant, not its class
    elif inspect.isclass(current) and is_said_of(current, text) and "missing 1 required" in text:
        yield from _kept_as_large(current, text)
    elif isinstance(current, Made) and re.search(r"operand|iterable|subscript|no len|integer", text):
        yield from (32, 2, [2, 2])


def is_said_of(cls: type, text: str) -> bool:
    """Whether an error is that of a method of the class, its own or inherited: "Conv2d.__init__() missing"."""
    return any(text.startswith(f"{one.__name__}.") for one in cls.__mro__)


def _kept_as_large(layer: type, text: str) -> Iterator[Made]:
    """A convolution that keeps the size of an image, where but its channels are told: `conv=SNConv2d`."""
    parameters = inspect.signature(layer).parameters
    if text.endswith("'kernel_size'") and "padding" in parameters:
        written = f"functools.partial({layer.__name__}, kernel_size=3, padding=1)"
        yield Made(written, lambda: functools.partial(layer, kernel_size=3, padding=1))


def _of_a_tensor(current: TensorSpec, text: str) -> Iterator[Any]:
    size, shape = str(current.shape)[1:-1], current.shape
    if unpacked := re.search(r"not enough values to unpack \(expected (\d), got", text):
        yield TensorSpec((1, names.WIDTH, 8, 8)[: int(unpacked[1])])
    if "ndarray" in text:
        yield Made(f"torch.ones({size}).numpy()", torch.ones(shape).numpy)
    if "nn.Parameter or None expected" in text:  # weights that are tied
        yield Made(f"torch.nn.Parameter(torch.randn({size}))", lambda: nn.Parameter(torch.randn(shape)))


def _of_a_list(current: list[Any] | tuple[Any, ...], text: str, numbers: list[int]) -> Iterator[Any]:
    make = type(current)
    if re.search(r"(list|tuple) is not a Module subclass", text):
        yield current[0]
    yield from [make([current[0]] * n) for n in numbers if 0 < n < 9]  # noqa: PLR2004 - lists are short
    if re.search("increas|sorted|ascend", text):
        yield from (make([2, 4]), make([1, 2, 3]))
    if re.search(r"as an integer|'list' and|must be int|'(list|tuple)'|of type (list|tuple)", text):
        yield from ([current[0]] if type(current[0]) is int else [])
        yield from (names.WIDTH, 4, 2)


def _of_a_number(current: int, text: str, numbers: list[int]) -> Iterator[Any]:
    if re.search(r"divis|multiple|% ", text):
        yield from (64, 32, 16, 8, 128, 256)
    if re.search(r"no len|iterable|tuple|list\b|unpack|subscript|sequence", text):
        lengths = dict.fromkeys([*(n for n in numbers if 1 < n < 9), 2, 3])  # noqa: PLR2004 - lists are short
        yield from [kind([current] * length) for length in lengths for kind in (tuple, list)]
    if re.search(TENSOR_WANTED, text):
        yield from tensors("")
    if re.search(
        r"has no attribute '(parameters|children|(named_)?modules|state_dict|eval|train|forward)'", text
    ):
        yield ANY_MODULE
