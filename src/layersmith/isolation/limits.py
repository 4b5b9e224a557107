"""How much one child may take: memory, CPU time, the size of a file."""

from __future__ import annotations

import math
import os

BYTES_OF_DATA = 12 * 2**30  # private memory of one child; torch alone takes well below 1 GB
BYTES_AT_LEAST = 2 * 2**30
BYTES_OF_FILE = 2**28  # the largest file that it may write, its own output included
SHARE_OF_MEMORY = 0.8  # of the machine's, for all children together
CPU_GRACE = 5  # seconds beside those of the wall clock


def apply(seconds: float, *, jobs: int = 1) -> None:
    """Limit this process, as far as the system can; the CPU time to what the wall clock allows anyway."""
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return
    for limit, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_DATA, bytes_of_data(jobs)),
        (resource.RLIMIT_FSIZE, BYTES_OF_FILE),
        (resource.RLIMIT_CPU, math.ceil(seconds) + CPU_GRACE),
    ):
        _, hard = resource.getrlimit(limit)
        resource.setrlimit(limit, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def bytes_of_data(jobs: int) -> int:
    """The memory of one child of so many: at most 12 GiB, and all of them within what the machine has."""
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return BYTES_OF_DATA
    return int(min(BYTES_OF_DATA, max(BYTES_AT_LEAST, total * SHARE_OF_MEMORY / jobs)))
