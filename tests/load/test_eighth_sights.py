"""What the next repositories showed: windows that are as large as the sides that fit."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.load.calling import called
