"""What the source says about one parameter of forward: rank, sizes, dtype."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import torch

from layersmith.load.values import TensorSpec

_BATCH = re.compile(r"^(b|bs|bsz|batch([_ ]?size)?)$", re.IGNORECASE)
BATCH = 5  # no width, head count or kernel of ours is a multiple of it
PRIMES = (
    7,
    11,
    13,
    17,
    19,
    23,
    29,
    31,
    37,
)  # one for each free dimension: a number in an error names its dimension


@dataclass(frozen=True, slots=True)
class Clue:
    """What is known of a tensor argument; None and 0 mean nothing."""

    rank: int | None = None
    min_rank: int = 0
    last: int | None = None  # size of the last dimension
    channels: int | None = None  # size of dimension 1
    sizes: tuple[int | None, ...] = ()  # sizes of all dimensions, where they are stated
    trailing: tuple[int, ...] = ()  # sizes of the last dimensions
    names: tuple[str, ...] = ()  # names of the dimensions
    dtype: torch.dtype | None = None
    high: int = 0
    parts: int = 0  # a sequence of so many tensors
    picked: int = 0  # of which nothing but parts by number is read: so many parts
    is_sequence: bool = False
    items: tuple[tuple[object, Clue], ...] = ()  # of its parts, by number or key; by None where all are alike
    reach: int = 0  # the size that its last dimension has at least, where columns are picked by number
    attributes: frozenset[str] = frozenset()
    is_flat: bool = False  # forward makes one row of all that stands behind its batch
    is_length: bool = False  # of a sequence that is packed: 1 at least
    is_step: bool = False  # it gets a dimension of its own: one number for each row, if numbers they are

    def merged(self, other: Clue) -> Clue:
        """This clue, with the other's word where this one is silent."""
        return replace(
            self,
            rank=self.rank or other.rank,
            min_rank=max(self.min_rank, other.min_rank),
            last=self.last or other.last,
            channels=self.channels or other.channels,
            sizes=self.sizes or other.sizes,
            trailing=self.trailing or other.trailing,
            names=self.names or other.names,
            dtype=self.dtype or other.dtype,
            high=self.high or other.high,
            parts=self.parts or other.parts,
            picked=self.picked or other.picked,
            is_sequence=self.is_sequence or other.is_sequence,
            items=self.items or other.items,
            reach=max(self.reach, other.reach),
            attributes=self.attributes | other.attributes,
            is_flat=self.is_flat or other.is_flat,
            is_length=self.is_length or other.is_length,
            is_step=self.is_step or other.is_step,
        )

    @property
    def says_size(self) -> bool:
        """Whether any size is known."""
        return bool(self.last or self.channels or self.trailing or any(self.sizes))

    @property
    def is_known(self) -> bool:
        """Whether anything is known of rank, size or dtype."""
        return bool(self.rank or self.says_size or self.min_rank or self.dtype or self.parts)


def is_batch(name: str) -> bool:
    """Whether an axis is called so because it is that of the rows."""
    return bool(_BATCH.match(name)) or name in ("n", "N")


def shaped(clue: Clue, rank: int, *, spatial: int | None = None) -> TensorSpec:
    """A tensor of the given rank that agrees with the clue; what it leaves open gets primes, or `spatial`."""
    shape = [BATCH, *PRIMES[: rank - 1]][:rank]
    places = [index for index, name in enumerate(clue.names[:rank]) if _BATCH.match(name)]
    if places and len(clue.names) == rank:  # sequence first
        shape[0], shape[places[0]] = shape[places[0]], shape[0]
    fixed: dict[int, int] = {}
    if clue.sizes and len(clue.sizes) == rank:
        fixed = {index: size for index, size in enumerate(clue.sizes) if size}
    elif clue.channels is not None and rank > 1:
        fixed = {1: clue.channels}
    elif clue.trailing and rank >= len(clue.trailing):
        fixed = {rank - len(clue.trailing) + index: size for index, size in enumerate(clue.trailing)}
    elif clue.last is not None and rank > 0:
        fixed = {rank - 1: clue.last}
    for index, size in fixed.items():
        shape[index] = size
    free = frozenset(range(rank)) - fixed.keys()
    if spatial and rank > 2:  # noqa: PLR2004 - batch and features are not spatial
        within = range(1, rank - 1) if clue.last and not clue.channels else range(2, rank)
        shape = [spatial if i in within and i in free else size for i, size in enumerate(shape)]
    return TensorSpec(tuple(shape), clue.dtype or torch.float32, clue.high, free=free)
