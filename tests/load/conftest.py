"""What tests of loading share."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture
def fresh_modules() -> Iterator[None]:
    """Modules that a test imports, torch's aside, are imported anew by the next: their files have the same names."""
    known = set(sys.modules)
    yield
    for name in set(sys.modules) - known:
        if not name.startswith("torch"):
            del sys.modules[name]
