"""An elementwise function put together from the operations that a tensor went through, to be computed again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Expression:
    """A function of one tensor z; without steps it is z itself."""

    steps: tuple[_Step, ...] = ()  # each may use what those before it made

    @classmethod
    def of(cls, operation: Any, arguments: tuple[Any, ...], words: Mapping[str, Any]) -> Expression:
        """An operation on expressions, numbers and tensors of one element."""
        steps: list[_Step] = []
        used: list[Any] = []
        for argument in arguments:
            if not isinstance(argument, Expression):
                # In any other shape a single number would give the result its own dimensions.
                used.append(
                    argument.detach().reshape(1).clone() if isinstance(argument, Tensor) else argument
                )
                continue
            steps += [step for step in argument.steps if not any(step is other for other in steps)]
            used.append(_Result(argument.steps[-1] if argument.steps else None))
        return cls((*steps, _Step(operation, tuple(used), dict(words))))

    def __call__(self, z: Tensor) -> Tensor:
        """The function's value."""
        made: dict[int, Tensor] = {}
        value = z
        for step in self.steps:
            arguments = [_filled(one, z, made) for one in step.arguments]
            value = made[id(step)] = _functional(step.operation)(*arguments, **step.words)
        return value

    def __str__(self) -> str:
        return " ".join(step.name for step in self.steps)

    @property
    def key(self) -> str:
        """The same text for the same function, of numbers too."""
        return "; ".join(
            f"{step.name}({[_text(a) for a in step.arguments]}, {step.words})" for step in self.steps
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    operation: Any
    arguments: tuple[Any, ...]
    words: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        name: str = self.operation.overloadpacket.__name__
        return name.rstrip("_")


@dataclass(frozen=True, slots=True)
class _Result:
    """Stands for what a step made, or for z."""

    step: _Step | None


def _filled(argument: Any, z: Tensor, made: Mapping[int, Tensor]) -> Any:
    if isinstance(argument, _Result):
        return z if argument.step is None else made[id(argument.step)]
    return argument.to(z.dtype) if isinstance(argument, Tensor) and argument.is_floating_point() else argument


def _functional(operation: Any) -> Callable[..., Tensor]:
    """The operation itself; one that works in place on a copy, for z and earlier results are needed again."""
    if not operation._schema.is_mutable:  # noqa: SLF001 - no public name
        return operation  # type: ignore[no-any-return]
    return lambda first, *rest, **words: operation(first.clone(), *rest, **words)


def _text(argument: Any) -> str:
    if isinstance(argument, _Result):
        return "z" if argument.step is None else argument.step.name
    return str(argument.tolist()) if isinstance(argument, Tensor) else str(argument)
