"""The hint in the class itself: `example()` returns a module and inputs for it."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Mapping
from typing import Any

from torch import nn

from layersmith.load.attempt import Deadline, contained
from layersmith.load.constructor.recording import recorded
from layersmith.load.constructor.search import UNINITIALISED, call_text, construct
from layersmith.load.strategy import Found, Request
from layersmith.load.unbuildable import Unbuildable
from layersmith.load.values import Call, TensorSpec
from layersmith.probe.inputs import Inputs
from layersmith.probe.surroundings import seed_all
from layersmith.probe.tree import map_tensors
from layersmith.subject import Construction

_ADVICE = (
    "let it return a module and its inputs:\n"
    "    @classmethod\n"
    "    def example(cls):\n"
    "        return cls(64, heads=4), torch.randn(2, 16, 64)"
)
_PAIR = 2
MOST = 8  # examples of one class that are looked at


def by_example(request: Request) -> Found | None:
    """The module and inputs of the class's `example()`; None for a class without one.

    Raises:
        Unbuildable: if it raises, or returns something else, or what it returns does not work.
    """
    example = inspect.getattr_static(request.cls, "example", None)
    if not isinstance(example, classmethod | staticmethod):
        return None
    number = request.said.number
    try:
        module, inputs, arguments = _tried(request)
    except Unbuildable as error:
        if UNINITIALISED in error.why:
            return None  # it can be built in another way, for a rule to tell
        raise

    def build(seed: int) -> nn.Module:
        seed_all(seed)
        return _pair(request.cls, number)[0]

    def make_inputs(seed: int) -> Inputs:
        seed_all(seed)
        return _pair(request.cls, number)[1]

    call = described(inputs)
    said = request.inputs or make_inputs
    built = _construction(module, arguments)
    text = built.text if built is not None else f"{type(module).__name__}(...)"
    return Found(build, said, f"{text}({request.call or call})", "from example()", built)


def described(inputs: Inputs) -> Call:
    """The notation of real inputs."""
    return Call(
        tuple(map_tensors(TensorSpec.of, value) for value in inputs.args),
        {name: map_tensors(TensorSpec.of, v) for name, v in inputs.kwargs.items()},
    )


def _tried(request: Request) -> tuple[nn.Module, Inputs, Mapping[int, dict[str, Any]]]:
    """What `example()` returns, after one call that worked, and what every module was built with, by its id."""
    name = request.cls.__name__
    try:
        with contained(request.deadline), recorded(request.cls) as arguments:
            module, inputs = _pair(request.cls, request.said.number)
    except Unbuildable:
        raise
    except Exception as error:
        raise Unbuildable(f"{name}.example() raised {type(error).__name__}: {error}", _ADVICE) from error
    return module, inputs, arguments


def _construction(module: nn.Module, arguments: Mapping[int, dict[str, Any]]) -> Construction | None:
    """How the module of an example was built, where its arguments can be used again."""
    given = arguments.get(id(module))
    if given is None or any(isinstance(value, nn.Module) for value in given.values()):
        return None
    cls = type(module)
    return Construction(cls, given, construct, call_text(cls, given))


def _pair(cls: type[nn.Module], number: int = 0) -> tuple[nn.Module, Inputs]:
    """A pair of a module and its inputs: of that number, where there are several."""
    given: Any = cls.example()  # type: ignore[attr-defined]
    if _are_several(given):
        given = next(itertools.islice(given, number, None), None)
    is_pair = isinstance(given, tuple | list) and len(given) == _PAIR and isinstance(given[0], nn.Module)
    if not is_pair:
        raise Unbuildable(
            f"{cls.__name__}.example() returned {type(given).__name__}, not (module, inputs)", _ADVICE
        )
    return given[0], Inputs.of(given[1])


def _are_several(given: Any) -> bool:
    return inspect.isgenerator(given) or (
        isinstance(given, list) and bool(given) and isinstance(given[0], tuple)
    )


def number_of_examples(cls: type[nn.Module], deadline: Deadline) -> int:
    """How many pairs the class's `example()` gives; 1 where it does not say."""
    if not isinstance(inspect.getattr_static(cls, "example", None), classmethod | staticmethod):
        return 1
    try:
        with contained(deadline):
            given: Any = cls.example()  # type: ignore[attr-defined]
            return max(1, len([*itertools.islice(given, MOST)])) if _are_several(given) else 1
    except Exception:  # noqa: BLE001 - asking for the first will say what is wrong
        return 1
