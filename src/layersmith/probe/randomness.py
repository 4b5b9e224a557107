"""Which random operations of torch a call performs, and on which line of whose code."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.overrides import TorchFunctionMode

from layersmith.probe.inputs import Inputs
from layersmith.probe.steps import caller
from layersmith.probe.surroundings import preserved

RANDOM = frozenset(
    (
        "rand randn randint randperm rand_like randn_like randint_like normal normal_ uniform_ bernoulli "
        "bernoulli_ multinomial poisson exponential_ gumbel_softmax rrelu rrelu_ log_normal_ geometric_ "
        "cauchy_ random_"
    ).split()
)
DROPOUT = frozenset(
    (
        "dropout dropout_ dropout1d dropout2d dropout3d alpha_dropout alpha_dropout_ feature_dropout "
        "feature_dropout_ feature_alpha_dropout feature_alpha_dropout_"
    ).split()
)
ATTENTION = "scaled_dot_product_attention"
INHERENT = frozenset(  # torch's own operations that are random by definition
    [
        "fractional_max_pool2d",
        "fractional_max_pool2d_with_indices",
        "fractional_max_pool3d",
        "fractional_max_pool3d_with_indices",
    ]
)


@dataclass(frozen=True, slots=True)
class Draw:
    """One random operation."""

    operation: str
    file: str
    line: int

    @property
    def is_dropout(self) -> bool:
        """Whether it is one of torch's dropouts."""
        return self.operation in DROPOUT or self.operation == ATTENTION

    @property
    def is_inherent(self) -> bool:
        """Whether the operation is random by definition."""
        return self.operation in INHERENT


class Draws(TorchFunctionMode):
    """A context that records every random operation performed inside, in `seen`."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Draw] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Record the call if it draws random numbers, then do it."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if (
            name in RANDOM | INHERENT
            or (name in DROPOUT and _drops(args, kwargs))
            or _attends(name, args, kwargs)
        ):
            self.seen.append(Draw(name, *caller()))
        return func(*args, **kwargs)


def _drops(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether this dropout is switched on: (input, p, training)."""
    p = args[1] if len(args) > 1 else kwargs.get("p", 0.5)
    training = args[2] if len(args) > 2 else kwargs.get("training", True)  # noqa: PLR2004 - third argument
    return bool(training) and p != 0


def _attends(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether this attention drops: (query, key, value, attn_mask, dropout_p)."""
    dropout = args[4] if len(args) > 4 else kwargs.get("dropout_p", 0.0)  # noqa: PLR2004 - fifth argument
    return name == ATTENTION and dropout != 0


def draws_noise(run: Callable[[], object]) -> bool:
    """Whether a call draws normal or uniform numbers."""
    with Draws() as draws:
        run()
    return any(
        draw.operation == "rand" or draw.operation.startswith(("randn", "rand_like", "normal", "uniform"))
        for draw in draws.seen
    )


def draws_outside(module: nn.Module, inputs: Inputs) -> bool:
    """Whether a call moves Python's or NumPy's global generator on."""
    with preserved(seed=0):
        before = _states()
        inputs.call(module)
        return _states() != before


def _states() -> tuple[object, ...]:
    numpy = sys.modules.get("numpy")
    state = numpy.random.get_state() if numpy is not None else None
    return random.getstate(), state[1].tobytes() if state else b"", state[2] if state else 0
