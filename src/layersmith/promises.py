"""What a module promises, and how its author waives one of the usual promises, with a reason."""

from __future__ import annotations

import dataclasses
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
    ANY_BATCH_SIZE = "any-batch-size"  # a batch of one, or of an odd number of rows, works as well
    FINITE = "finite"  # usual and unusual finite inputs give finite outputs and gradients
    SIGNAL_PRESERVED = "signal-preserved"  # at initialisation a signal neither explodes nor vanishes
    READY_TO_LEARN = "ready-to-learn"  # at initialisation units differ, answer and can be trained
    TRUE_GRADIENT = "true-gradient"  # backward computes the derivative of forward
    EVERY_PARAMETER_LEARNS = "every-parameter-learns"  # every parameter that asks for a gradient gets one
    EVERY_INPUT_MATTERS = "every-input-matters"  # no argument of forward is without effect
    EVERY_ARGUMENT_MATTERS = "every-argument-matters"  # constructor arguments work and have an effect
    INDEPENDENT_ROWS = "independent-rows"  # in eval, one row of a batch does not depend on the others
    INDEPENDENT_CALLS = "independent-calls"  # a call depends on, and keeps, nothing of the calls before it
    INPUTS_UNTOUCHED = "inputs-untouched"  # forward does not change its arguments in place
    ANY_LAYOUT = "any-layout"  # values do not depend on strides
    SHAPES_MEANT = "shapes-meant"  # nothing is broadcast by accident
    DETERMINISTIC_EVAL = "deterministic-eval"  # in eval, the same input gives the same output
    STEADY_EVAL = "steady-eval"  # an eval call changes no state
    OBEYS_MODES = "obeys-modes"  # train() and eval() reach every submodule and do what they say
    REGISTERED = "registered"  # every tensor and submodule that forward uses is known to nn.Module
    FOLLOWS_DTYPE = "follows-dtype"  # .double() and .bfloat16() work
    FOLLOWS_DEVICE = "follows-device"  # .to(device) works
    LOW_PRECISION = "low-precision"  # half precision is as good as its dtype allows, and stays half
    STATE_ROUND_TRIP = "state-round-trip"  # state_dict, deepcopy and pickle carry all of its state
    RESETS = "resets"  # reset_parameters draws every parameter anew
    OWN_RANDOMNESS = "own-randomness"  # the caller's generators are neither seeded nor bypassed
    OBEYS_MASKS = "obeys-masks"  # what a mask hides has no effect
    CAUSAL = "causal"  # a step does not see later ones, where that is promised
    COMPILES = "compiles"  # torch.compile captures it as one graph, export and transforms work
    PLAIN_CODE = "plain-code"  # forward stays within what autograd and the compiler follow
    DECLARED = "declared"  # what its author states beside the usual promises


GRADIENTS = ("true", "surrogate")
EXAMINATIONS = ("quick", "full")  # how far the gradient rules go; the first is the default


@dataclass(frozen=True, slots=True)
class Stated:
    """What a docstring promises in words, as a contract would."""

    value: Any
    code: str  # the source that makes the value
    words: str


@dataclass(frozen=True, slots=True)
class Contract:
    """What one class promises: all of `Promise`, less what is waived, and what its author states beside."""

    waived: Mapping[str, str] = field(default_factory=dict)  # rule or promise -> reason
    declared: Mapping[str, Any] = field(
        default_factory=dict
    )  # rule of the group `promises` -> what is promised
    gradient: str = "true"  # or "surrogate": backward is deliberately another function's derivative
    reason: str = ""  # for a surrogate gradient
    stated: Mapping[str, Stated] = field(default_factory=dict)  # what of the declared stands in words only

    def __post_init__(self) -> None:
        """Raise UsageError for an exemption without a reason."""
        for name, reason in self.waived.items():
            if not isinstance(reason, str) or not reason.strip():
                raise UsageError(
                    f"the waiver of {name!r} needs a reason: waive={{{name!r}: 'why this is meant'}}"
                )
        if self.gradient not in GRADIENTS:
            raise UsageError(f"gradient must be one of {', '.join(GRADIENTS)}, not {self.gradient!r}")
        if self.gradient != "true" and not self.reason.strip():
            raise UsageError(f"gradient={self.gradient!r} needs a reason: reason='straight-through'")

    def waiver(self, rule: str, promise: str) -> str:
        """Why this rule, or the promise it asks about, is waived; "" when it is not."""
        return self.waived.get(rule) or self.waived.get(promise) or ""

    def waiving(self, more: Mapping[str, str]) -> Contract:
        """The same contract with more waivers."""
        return dataclasses.replace(self, waived={**self.waived, **more})

    def stating(self, words: Mapping[str, Stated]) -> Contract:
        """The same contract with what the words promise beside it."""
        new = {name: one for name, one in words.items() if name not in self.declared}
        values = {name: one.value for name, one in new.items()}
        return dataclasses.replace(self, declared={**self.declared, **values}, stated=new)


def contract(
    *, waive: Mapping[str, str] | None = None, gradient: str = "true", reason: str = "", **declared: Any
) -> Callable[[C], C]:
    """Class decorator that waives rules (or whole promises) by name, each with a reason, and states more promises.

    Args:
        waive: rule or promise -> why it is not kept.
        gradient: "surrogate" when backward is meant to differ from the derivative (straight-through, reversal).
        reason: why the gradient is a surrogate.
        declared: what else is true of the class, by the names of the rules of the group `promises`.

    Example:
        >>> from torch import nn
        >>> import layersmith
        >>> @layersmith.contract(waive={"batch-leak": "contrastive: every row is compared with all others"})
        ... class Contrast(nn.Module):
        ...     def forward(self, x):
        ...         return (x @ x.T).softmax(-1) @ x
    """
    promised = Contract(dict(waive or {}), declared, gradient, reason)

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
