"""Functions that take a tensor apart and put it together, called one after the other: is what comes back what went in?"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from layersmith.probe.inputs import Inputs
from layersmith.probe.listening import Called, Listening
from layersmith.probe.surroundings import preserved

# Names of the one and of the other, the word in common left out: `window_partition` and `window_reverse`.
_PAIRS = (
    (r"partition", r"reverse|unpartition|merge"),
    (r"patchify", r"unpatchify"),
    (r"split|separate", r"merge|combine|join"),
    (r"pack", r"unpack"),
    (r"shuffle", r"unshuffle|deshuffle"),
    (r"fold", r"unfold"),
    (r"unfold", r"fold"),
)
_WORDS = re.compile(rf"(?:{'|'.join(rf'{there}|{back}' for there, back in _PAIRS)})\w*$")


@dataclass(frozen=True, slots=True)
class Unrestored:
    """Two functions of which the second leaves numbers elsewhere than the first found them."""

    there: str
    back: str
    file: str
    line: int


def unrestored(module: nn.Module, inputs: Inputs) -> list[Unrestored]:
    """Each such pair of functions that one call of the module calls.

    Only those that move numbers, and neither make nor lose any, are asked.
    """
    with preserved(seed=0), torch.no_grad(), Listening(_WORDS) as watch:
        inputs.clone().call(module)
        watch.is_on = False
        found = [_asked(there, back) for there, back in _pairs(watch.calls)]
    return list(dict.fromkeys(one for one in found if one is not None))


def _pairs(calls: list[Called]) -> Iterator[tuple[Called, Called]]:
    """What was taken apart, and what was put together from pieces of the same shape."""
    for there, back in itertools.permutations(calls, 2):
        made, taken = there.result, back.arguments.get(back.tensor)
        are_tensors = isinstance(made, Tensor) and isinstance(taken, Tensor) and there.tensor
        if are_tensors and _is_pair(there.name, back.name) and made.shape == taken.shape:  # type: ignore[union-attr]
            yield there, back


def _is_pair(one: str, other: str) -> bool:
    """Whether the names differ by such a pair of words only."""
    return any(
        re.search(rf"(?<![a-z])(?:{there})", one)
        and re.search(rf"(?<![a-z])(?:{back})", other)
        and re.sub(rf"(?<![a-z])(?:{there})", "", one) == re.sub(rf"(?<![a-z])(?:{back})", "", other)
        for there, back in _PAIRS
    )


def _asked(there: Called, back: Called) -> Unrestored | None:
    """Put together what was taken apart, with nothing done to it in between."""
    given: Tensor = there.arguments[there.tensor]
    try:
        apart = there.function(**{**there.arguments, there.tensor: given.clone()})
        whole = back.function(**{**back.arguments, back.tensor: apart})
    except Exception:  # noqa: BLE001 - it asks for more than its arguments
        return None
    if not (_is_moved(given, apart) and _is_moved(given, whole)) or whole.shape != given.shape:
        return None
    code = back.function.__code__
    is_same = torch.equal(whole, given)
    return None if is_same else Unrestored(there.name, back.name, code.co_filename, code.co_firstlineno)


def _is_moved(one: Tensor, other: object) -> bool:
    """Whether both hold the same numbers, wherever."""
    if not isinstance(other, Tensor) or other.numel() != one.numel() or other.dtype is not one.dtype:
        return False
    return torch.equal(one.flatten().sort().values, other.flatten().sort().values)
