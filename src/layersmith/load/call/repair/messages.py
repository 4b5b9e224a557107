"""The sizes that torch's error messages name: what was given and what was wanted."""

from __future__ import annotations

import re
from collections.abc import Iterator

from layersmith.load.call.clue import PRIMES

NODES = PRIMES[0]  # of the matrix that a constructor was given
Pair = tuple[int, int]  # given, wanted

_ONE_WAY = (  # pattern, group of what was given, group of what was wanted
    (r"shapes cannot be multiplied \(\d+x(\d+) and (\d+)x\d+\)", 1, 2),
    (rf"shapes cannot be multiplied \(({NODES})x{NODES} and (\d+)x\d+\)", 2, 1),  # by a matrix of nodes
    (r"to have (\d+) channels, but got (\d+) channels", 2, 1),
    (r"(?:running_mean|weight|bias) (?:should|to) .*?(\d+) elements? not (\d+)", 1, 2),
    (r"must be equal to input_size\. Expected (\d+), got (\d+)", 2, 1),
    (r"inconsistent (?:input|hidden)_size: got (\d+),? expected (\d+)", 1, 2),
    (r"number of channels in input.*weight of shape \[(\d+)\] and input of shape \[\d+, (\d+)", 2, 1),
    (r"= (\d+), but got input\.size\(\d\)=(\d+)", 2, 1),
    (r"expecting embedding dimension of (\d+), but got (\d+)", 2, 1),
    (r"[Ee]xpected (\d+),? (?:but )?(?:got|found) (\d+)\b", 2, 1),
    (r"parameter numbers = (\d+) and channel size = (\d+)", 2, 1),  # of PReLU
)
_TWO_WAY = (
    r"size of tensor a \((\d+)\) must match the size of tensor b \((\d+)\)",
    r"Expected size (\d+) but got size (\d+)",
    r"expanded size of the tensor \((\d+)\) must match the existing size \((\d+)\)",
    r"Sizes of tensors must match except in dimension \d+\. Expected.* (\d+) .*got.* (\d+)",
    r"input batch_size \((\d+)\) to match target batch_size \((\d+)\)",
    r"subscript \w has size (\d+) for operand \d+ which does not broadcast with .* size (\d+)",
)
_SPLIT = r"sum exactly to (\d+) .* got split_sizes=\[([\d, ]+)\]"
_NORMALIZED = r"expected input with shape \[\*?,? ?([\d, ]+)\], but got input of size ?\[([\d, ]+)\]"
_INDEXED = r"mask \[([\d, ]+)\] at index (\d+) does not match the shape of the indexed tensor \[([\d, ]+)\]"
_BROADCAST = r"output with shape \[([\d, ]+)\] doesn't match the broadcast shape \[([\d, ]+)\]"  # of `x += y`
_BATCHED = r"batch2 tensor to be: \[(\d+), (\d+)\] but got: \[(\d+), (\d+)\]"


def directed_pairs(text: str) -> Iterator[Pair]:
    """Pairs from messages that say which of the two is the input's."""
    for pattern, given, wanted in _ONE_WAY:
        match = re.search(pattern, text)
        if match:
            yield int(match.group(given)), int(match.group(wanted))
    match = re.search(_SPLIT, text)
    if match:
        yield int(match.group(1)), sum(map(int, match.group(2).split(",")))
    match = re.search(_NORMALIZED, text)
    if match:
        expected, actual = ([int(size) for size in group.split(",")] for group in match.groups())
        yield from zip(actual[-len(expected) :], expected, strict=False)
    match = re.search(_BATCHED, text)
    if match:
        a, b, c, d = map(int, match.groups())
        yield from (pair for pair in ((b, d), (c, a), (d, b), (a, c)) if pair[0] != pair[1])


def undirected_pairs(text: str) -> Iterator[Pair]:
    """Pairs from messages that don't say which of the two is right."""
    for pattern in _TWO_WAY:
        match = re.search(pattern, text)
        if match:
            yield int(match.group(1)), int(match.group(2))
    match = re.search(_INDEXED, text)
    if match:
        mask, indexed = ([int(size) for size in match.group(place).split(",")] for place in (1, 3))
        yield mask[int(match.group(2))], indexed[int(match.group(2))]
    match = re.search(_BROADCAST, text)
    if match:
        sizes = zip(*([int(size) for size in group.split(",")] for group in match.groups()), strict=False)
        yield from [pair for pair in sizes if pair[0] != pair[1]][:1]
