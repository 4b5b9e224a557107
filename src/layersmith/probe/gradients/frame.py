"""The frame in which a module is examined: everything global is fixed inside and as it was outside."""

from __future__ import annotations

import random
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch


@contextmanager
def framed(dtype: torch.dtype) -> Iterator[None]:
    """Grad mode on, autocast and inference mode off, no warnings; all of it and every generator restored.

    A leaner `surroundings.preserved`: that one seeds every accelerator, which by itself takes longer than the
    whole quick examination of a small layer.

    Args:
        dtype: the default dtype inside, so that `torch.zeros(n)` in a forward agrees with the examined copy.
    """
    numpy_random = sys.modules.get("numpy.random")  # NumPy loads it only when it is first asked for
    python_state, numpy_state = random.getstate(), numpy_random and numpy_random.get_state(legacy=False)
    torch_states = [(one, one.get_state()) for one in _generators()]
    default, threads = torch.get_default_dtype(), torch.get_num_threads()
    flags = _flags()
    try:
        with warnings.catch_warnings(), _normal_mode(), torch.enable_grad():
            warnings.simplefilter("ignore")
            torch.set_default_dtype(dtype)
            yield
    finally:
        torch.set_default_dtype(default)
        random.setstate(python_state)
        if numpy_random is not None:
            numpy_random.set_state(numpy_state)
        for generator, state in torch_states:
            generator.set_state(state)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        if _flags() != flags:
            torch.use_deterministic_algorithms(flags[0], warn_only=flags[1])


def reseed(seed: int) -> None:
    """Give every global generator the same state before each call of the module."""
    reseed_torch(seed)
    random.seed(seed)
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed(seed % 2**32)


def reseed_torch(seed: int) -> None:
    """The same for torch's generators only, which takes a tenth of the time."""
    for generator in _generators():
        generator.manual_seed(seed)


def _generators() -> list[torch.Generator]:
    on_gpu = torch.cuda.default_generators if torch.cuda.is_initialized() else ()
    return [torch.default_generator, *on_gpu]


def _flags() -> tuple[bool, bool]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )


@contextmanager
def _normal_mode() -> Iterator[None]:
    inference = torch.inference_mode(mode=False) if torch.is_inference_mode_enabled() else nullcontext()
    autocast = torch.autocast("cpu", enabled=False) if torch.is_autocast_enabled("cpu") else nullcontext()
    cuda = torch.autocast("cuda", enabled=False) if torch.is_autocast_enabled("cuda") else nullcontext()
    # cuDNN's recurrent layers have no backward in eval mode, and no second derivative.
    own = torch.backends.cudnn.flags(enabled=False) if torch.cuda.is_initialized() else nullcontext()
    with inference, autocast, cuda, own:
        yield
