"""Everything global that a module could change, kept as it was: generators, dtype, grad mode, threads."""

from __future__ import annotations

import os
import random
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def preserved(*, seed: int | None = None) -> Iterator[None]:
    """Restore the global state of torch, NumPy and Python afterwards, also after an exception.

    Covers the random generators of all three, torch's default dtype and device, grad mode, deterministic
    mode, number of threads, the working directory and the warnings filters.

    Args:
        seed: when given, all three generators are seeded with it inside.
    """
    numpy = sys.modules.get("numpy")
    python_state, numpy_state = random.getstate(), numpy.random.get_state() if numpy else None
    dtype, mode = torch.get_default_dtype(), _device_mode()
    grad, threads = torch.is_grad_enabled(), torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    folder = os.getcwd()  # noqa: PTH109 - chdir wants it back verbatim
    try:
        with warnings.catch_warnings(), forked_generators():
            if seed is not None:
                seed_all(seed)
            yield
    finally:
        random.setstate(python_state)
        if numpy is not None:
            numpy.random.set_state(numpy_state)
        torch.set_default_dtype(dtype)
        if _device_mode() is not mode:
            torch.set_default_device(None if mode is None else mode.device)
        torch.set_grad_enabled(grad)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        if torch.are_deterministic_algorithms_enabled() != deterministic:  # setting it imports the compiler
            torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        os.chdir(folder)


@contextmanager
def forked_generators() -> Iterator[None]:
    """`torch.random.fork_rng`, which by itself starts every graphics card to ask for its state; this one starts none."""
    was_in_use = torch.cuda.is_initialized()
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count()) if was_in_use else ()):
            yield
    finally:
        if torch.cuda.is_initialized() and not was_in_use:
            # As it starts where the caller is the first to use it.
            torch.cuda.manual_seed_all(torch.initial_seed())


def _device_mode() -> Any:
    """The mode that `torch.set_default_device` switched on, even for "cpu"; None as torch starts."""
    return getattr(getattr(torch, "_GLOBAL_DEVICE_CONTEXT", None), "device_context", None)


def seed_all(seed: int) -> None:
    """Seed torch's, Python's and NumPy's global generators; a negative seed leaves them as they are."""
    if seed < 0:
        return
    torch.default_generator.manual_seed(
        seed
    )  # torch.manual_seed asks every backend, for hundreds of microseconds
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
    random.seed(seed)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(seed % 2**32)
