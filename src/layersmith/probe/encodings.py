"""How a mask says which steps are hidden: True hides or keeps, as numbers, or added to scores."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


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
