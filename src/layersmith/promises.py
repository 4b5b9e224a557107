"""What a module promises, and how its author waives one of the usual promises, with a reason."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from layersmith.errors import UsageError

ATTRIBUTE = "layersmith_contract"

C = TypeVar("C", bound=type)


class Promise(enum.StrEnum):
    """The usual promises: they hold unless waived. Each rule asks about one of them."""

    CALLABLE = "callable"  # forward accepts the inputs that the module is made for
    SIGNAL_PRESERVED = "signal-preserved"  # at initialisation a signal neither explodes nor vanishes
    TRUE_GRADIENT = "true-gradient"  # backward computes the derivative of forward
    EVERY_PARAMETER_LEARNS = "every-parameter-learns"  # every parameter that asks for a gradient gets one
    INDEPENDENT_ROWS = "independent-rows"  # in eval, one row of a batch does not depend on the others
    INPUTS_UNTOUCHED = "inputs-untouched"  # forward does not change its arguments in place
    DETERMINISTIC_EVAL = "deterministic-eval"  # in eval, the same input gives the same output
    REGISTERED = "registered"  # every tensor and submodule that forward uses is known to nn.Module
    FOLLOWS_DTYPE = "follows-dtype"  # .double() and .bfloat16() work
    STATE_ROUND_TRIP = "state-round-trip"  # state_dict, deepcopy and pickle carry all of its state
    COMPILES = "compiles"  # torch.compile captures it as one graph


@dataclass(frozen=True, slots=True)
class Contract:
    """What one class promises: all of `Promise`, less what is waived, each waiver with its reason."""

    waived: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise UsageError for a waiver without a reason."""
        for name, reason in self.waived.items():
            if not isinstance(reason, str) or not reason.strip():
                raise UsageError(
                    f"the waiver of {name!r} needs a reason: waive={{{name!r}: 'why this is meant'}}"
                )

    def reason(self, rule: str, promise: str) -> str:
        """Why this rule, or the promise it asks about, is waived; "" when it is not."""
        return self.waived.get(rule) or self.waived.get(promise) or ""

    def waiving(self, more: Mapping[str, str]) -> Contract:
        """The same contract with more waivers."""
        return Contract({**self.waived, **more})


def contract(*, waive: Mapping[str, str]) -> Callable[[C], C]:
    """Class decorator that waives rules (or whole promises) by name, each with a reason.

    Example:
        >>> from torch import nn
        >>> import layersmith
        >>> @layersmith.contract(waive={"batch-leak": "contrastive: every row is compared with all others"})
        ... class Contrast(nn.Module):
        ...     def forward(self, x):
        ...         return (x @ x.T).softmax(-1) @ x
    """
    promised = Contract(dict(waive))

    def attach(cls: C) -> C:
        setattr(cls, ATTRIBUTE, promised)
        return cls

    return attach


def contract_of(target: Any) -> Contract:
    """The contract of a class or module; the attribute `layersmith_contract` may also be a plain dict of waivers.

    Raises:
        UsageError: if the attribute is neither a Contract nor a mapping of names to reasons.
    """
    found = getattr(target, ATTRIBUTE, None) or Contract()
    if isinstance(found, Contract):
        return found
    if isinstance(found, Mapping):
        return Contract(dict(found))
    raise UsageError(f"{ATTRIBUTE} must be a Contract or a dict of rule: reason, not {found!r:.80}")
