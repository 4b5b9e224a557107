"""A recorded call becomes a way to build and call its class, and the notation of it."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.load.attempt import Deadline, contained
from layersmith.load.call.run import is_useful
from layersmith.load.constructor.search import call_text, construct
from layersmith.load.constructor.solved import solved
from layersmith.load.constructor.usage import constructor
from layersmith.load.recording import Arguments, Recording, Seen
from layersmith.load.strategy import Found
from layersmith.load.values import Call, Made, TensorSpec
from layersmith.probe.gradients.duplicate import duplicate
from layersmith.probe.inputs import Inputs
from layersmith.probe.modes import in_mode
from layersmith.probe.registration import enclosed
from layersmith.probe.snapshot import snapshot
from layersmith.probe.surroundings import seed_all
from layersmith.subject import Construction, MakeInputs

_HIGHEST = 1 << 16
_ATOMS = (int, float, str, bool, bytes, complex, type(None), torch.dtype, torch.device)


def found_of(seen: Seen, recording: Recording, how: str, deadline: Deadline) -> Found | None:
    """The way in which a module was built and called; None if it doesn't work a second time."""
    if _holds_parts(seen.inputs):
        return None
    cls = type(seen.module)
    given = arguments_of(seen, recording)
    build = _builder(cls, given, seen)
    call = stated(seen.inputs)
    for make in (call.make, kept(seen.inputs)):
        if _works(build, make, deadline):
            built = call_text(cls, given) if given is not None else f"{cls.__name__}(...)"
            construction = Construction(cls, given, construct, built) if given is not None else None
            return Found(build, make, f"{built}({call})", how, construction)
    return None


def _holds_parts(inputs: Inputs) -> bool:
    """Whether a function is handed on that calls modules of its own, which no other call can be given anew."""
    values = [*inputs.args, *inputs.kwargs.values()]
    return any(isinstance(held, nn.Module) for value in values for _, held in enclosed(value))


def stated(inputs: Inputs) -> Call:
    """The notation of real inputs, with the ranges that their values show."""
    return Call(
        tuple(_described(value) for value in inputs.args),
        {name: _described(value) for name, value in inputs.kwargs.items()},
    )


def arguments_of(seen: Seen, recording: Recording) -> Arguments | None:
    """The constructor's arguments without those that are defaults, modules in them to be made afresh.

    Where the construction was not seen, they are solved for.
    """
    cls = type(seen.module)
    given = seen.arguments if seen.arguments is not None else solved(seen.module)
    if given is None:
        return None
    return _told(cls, given, recording)


def _told(cls: type[nn.Module], given: Arguments, recording: Recording) -> Arguments:
    parameters = inspect.signature(constructor(cls)).parameters
    return {
        name: _fresh(value, recording)
        for name, value in given.items()
        if name not in parameters or not _is_default(value, parameters[name])
    }


def _is_default(value: Any, parameter: inspect.Parameter) -> bool:
    try:
        return type(value) is type(parameter.default) and bool(value == parameter.default)
    except Exception:  # noqa: BLE001 - what cannot be compared is said
        return False


def _fresh(value: Any, recording: Recording) -> Any:
    """The value with modules, tensors and objects in it replaced by what makes them anew."""
    if isinstance(value, nn.Module):
        return _fresh_module(value, recording)
    if isinstance(value, Tensor):
        return Made(str(_spec(value)), lambda: value.detach().clone())
    if type(value) in (list, tuple):
        return type(value)(_fresh(item, recording) for item in value)
    if type(value) is dict:
        return {key: _fresh(item, recording) for key, item in value.items()}
    is_plain = isinstance(value, _ATOMS) or callable(value)
    return value if is_plain else Made(_text_of(value), lambda: copy.deepcopy(value))


def _fresh_module(module: nn.Module, recording: Recording) -> Made:
    if isinstance(module, nn.ModuleList | nn.Sequential) and type(module).__module__.startswith(
        "torch."
    ):  # filled after they were built, as often as not
        parts = [_fresh_module(part, recording) for part in module]
        return _container(type(module), parts)
    inner = recording.arguments.get(module)
    if inner is None:
        return Made(f"{type(module).__name__}(...)", lambda: copy.deepcopy(module))
    cls, given = type(module), _told(type(module), inner, recording)
    return Made(call_text(cls, given), lambda: construct(cls, given))


def _container(cls: type[nn.Module], parts: list[Made]) -> Made:
    texts = ", ".join(map(str, parts))
    made: Any = cls
    if cls is nn.Sequential:
        return Made(f"nn.Sequential({texts})", lambda: made(*(part.make() for part in parts)))
    return Made(f"nn.ModuleList([{texts}])", lambda: made([part.make() for part in parts]))


def _text_of(value: Any) -> str:
    name = type(value).__name__
    if dataclasses.is_dataclass(value):
        changed = [
            f"{f.name}={getattr(value, f.name)!r}"
            for f in dataclasses.fields(value)
            if getattr(value, f.name, f.default) != f.default
        ]
        return f"{name}({', '.join(changed)})"
    held = vars(value) if hasattr(value, "__dict__") and name == "SimpleNamespace" else None
    return (
        f"{name}({', '.join(f'{k}={v!r}' for k, v in held.items())})" if held is not None else f"{name}(...)"
    )


def _builder(cls: type[nn.Module], given: Arguments | None, seen: Seen) -> Callable[[int], nn.Module]:
    if given is None:
        return lambda _: copy_of(seen.module)

    def build(seed: int) -> nn.Module:
        seed_all(seed)
        return construct(cls, given)

    return build


def copy_of(module: nn.Module) -> nn.Module:
    """A copy of the very module."""
    try:
        return duplicate(module, None)
    except Exception:  # noqa: BLE001 - a module with parts that cannot be copied so
        return copy.deepcopy(module)


def kept(inputs: Inputs) -> MakeInputs:
    """The very inputs, a copy for each use."""
    return lambda _: Inputs(snapshot(inputs.args), snapshot(dict(inputs.kwargs)))


def _described(value: Any) -> Any:
    if isinstance(value, Tensor):
        return _spec(value)
    if type(value) in (list, tuple):
        return type(value)(map(_described, value))
    if type(value) is dict:
        return {key: _described(item) for key, item in value.items()}
    if isinstance(value, (*_ATOMS, torch.Size)) or callable(value):
        return value
    return Made(_text_of(value), lambda: snapshot(value))


def _spec(tensor: Tensor) -> Any:
    shape = tuple(tensor.shape)
    if tensor.dtype is torch.bool or not tensor.numel() or tensor.is_complex():
        return TensorSpec(shape, tensor.dtype)
    low, high = float(tensor.detach().min()), float(tensor.detach().max())
    if tensor.is_floating_point():
        return TensorSpec(shape, tensor.dtype, high=1 if low >= 0 and high <= 1 and low != high else 0)
    return TensorSpec(shape, tensor.dtype, high=min(_HIGHEST, max(int(high) + 1, 2)))


def _works(build: Callable[[int], nn.Module], make: MakeInputs, deadline: Deadline) -> bool:
    try:
        with contained(deadline), torch.no_grad():
            return is_useful(make(0).call(in_mode(build(0), training=False)))
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - whatever the user's code raises
        return False
