"""Conventions that people follow: `example_input_array`, `dummy_inputs`, `get_init_inputs`, `get_inputs`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from layersmith.load.attempt import Deadline, contained
from layersmith.load.constructor.usage import constructor
from layersmith.load.example import described
from layersmith.load.inference import constructions
from layersmith.load.strategy import Found, Request
from layersmith.probe.inputs import Inputs
from layersmith.probe.modes import in_mode
from layersmith.probe.surroundings import seed_all

_ATTRIBUTES = ("example_input_array", "dummy_inputs")


def by_functions_of_file(request: Request) -> Found | None:
    """`Model(*get_init_inputs())(*get_inputs())`, where a file has these two and the class is its `Model`."""
    home = (
        vars(sys.modules.get(request.cls.__module__, object)) if request.cls.__module__ in sys.modules else {}
    )
    get_inputs, get_init = home.get("get_inputs"), home.get("get_init_inputs")
    if request.cls.__name__ != "Model" or not callable(get_inputs) or not callable(get_init):
        return None

    def build(seed: int) -> nn.Module:
        seed_all(seed)
        arguments = get_init()
        is_pair = len(arguments) == 2 and isinstance(arguments[0], list) and isinstance(arguments[1], dict)  # noqa: PLR2004
        return request.cls(*arguments[0], **arguments[1]) if is_pair else request.cls(*arguments)

    def inputs(seed: int) -> Inputs:
        seed_all(seed)
        return Inputs.of(get_inputs())

    call = _working(build, inputs, request.deadline)
    if call is None:
        return None
    return Found(
        build, request.inputs or inputs, f"Model(...)({call})", "from get_init_inputs() and get_inputs()"
    )


def by_attribute(request: Request) -> Found | None:
    """The inputs that an instance itself offers."""
    if not any(hasattr(request.cls, name) or _is_set(request.cls, name) for name in _ATTRIBUTES):
        return None
    for construction in constructions(request.cls, request.deadline):
        for name in _ATTRIBUTES:

            def inputs(_seed: int, name: str = name) -> Inputs:
                return _offered(getattr(construction.module, name))  # noqa: B023 - used before the loop goes on

            call = _working(lambda _: construction.module, inputs, request.deadline)  # noqa: B023
            if call is not None:
                offered = _drawn(inputs(0))
                return Found(
                    lambda _: construction.build(),  # noqa: B023
                    request.inputs or offered,
                    f"{construction}({call})",
                    f"from {name}",
                    construction.recipe,
                )
        return None
    return None


def _is_set(cls: type, name: str) -> bool:
    code = getattr(constructor(cls), "__code__", None)
    return code is not None and name in code.co_names


def _offered(value: Any) -> Inputs:
    return Inputs.of(value if isinstance(value, Tensor | tuple | list | dict) else ())


def _drawn(inputs: Inputs) -> Callable[[int], Inputs]:
    """Float tensors drawn anew for each seed but the first; integers stay, as their range is not known."""
    call = described(inputs)

    def make(seed: int) -> Inputs:
        if seed == 0:
            return inputs.clone()
        fresh = call.make(seed)
        new = iter(fresh.tensors())
        return inputs.map(lambda old: _other(old, next(new)))

    return make


def _other(old: Tensor, new: Tensor) -> Tensor:
    return new if old.is_floating_point() else old


def _working(build: Callable[[int], nn.Module], inputs: Callable[[int], Inputs], deadline: Deadline) -> Any:
    """The notation of the inputs, if a call with them works."""
    try:
        with contained(deadline):
            module, given = build(0), inputs(0)
            if not (given.args or given.kwargs):
                return None
            given.call(in_mode(module, training=False))
            return described(given)
    except Exception:  # noqa: BLE001 - a convention that does not hold here; other ways follow
        return None
