"""Subjects from what the user has: a class, a module object, or a function that builds one."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.jit import ScriptModule

from layersmith.errors import UsageError
from layersmith.load import absent, abstract, cards, definitions, inline, notation, parents, pretrained, words
from layersmith.load.attempt import Deadline, contained
from layersmith.load.call.search import CallSearch
from layersmith.load.conventions import by_attribute, by_functions_of_file
from layersmith.load.documented import by_documentation, by_small_documentation
from layersmith.load.example import by_example, described
from layersmith.load.hint import by_hint, by_lock
from layersmith.load.inference import by_inference
from layersmith.load.strategy import Failure, Found, Request, Said, Strategy
from layersmith.load.unbuildable import Unbuildable
from layersmith.load.users import as_used, by_users
from layersmith.load.values import Call, TensorSpec
from layersmith.probe import source, wording
from layersmith.probe.gradients.duplicate import duplicate
from layersmith.probe.inputs import Inputs
from layersmith.probe.modes import in_mode
from layersmith.probe.template import copied
from layersmith.promises import contract_of
from layersmith.subject import MakeInputs, Subject, copying

_STRATEGIES: tuple[Strategy, ...] = (
    by_hint,
    by_example,
    by_lock,
    by_functions_of_file,
    by_attribute,
    by_small_documentation,
    by_inference,
    by_users,
    by_documentation,
)
_SECONDS = 10.0
_NO_FILE = re.compile(r"^FileNotFoundError: .* No such file or directory: (.+)")


def subject_of_class(
    cls: type[nn.Module],
    *,
    inputs: object | None = None,
    seconds: float = _SECONDS,
    said: Said | None = None,
    may_run_examples: bool = False,
) -> Subject:
    """The class with a way to build and to call it.

    Args:
        cls: an nn.Module class.
        inputs: what to call it with: notation (`"f32[2,16,64]"`), a tensor, a tuple, a dict, or a function
            without arguments that returns one of these. Found if left out.
        seconds: CPU time for the search.
        said: what the settings and the lock file say of the class.
        may_run_examples: whether its documentation, tests and `__main__` may be executed to watch them call it;
            only where the process is confined.

    Raises:
        Unbuildable: with the reason in one line and the smallest hint that would help.
        UsageError: if `inputs` cannot be read.
    """
    if lacks := absent.needed_by(cls):
        raise Unbuildable(lacks)
    if issubclass(cls, ScriptModule):
        raise Unbuildable(f"{cls.__name__} is {abstract.SCRIPT}")
    request = dataclasses.replace(_request(cls, inputs, seconds), may_run_examples=may_run_examples)
    request.said = said or request.said
    try:
        found = _first_sure(request)
        while found is None and (
            pretrained.leave_out() or cards.stand_in(one.error for one in request.failures)
        ):
            request = dataclasses.replace(request, deadline=Deadline.after(seconds), failures=[])
            found = _first_sure(request)
    except MemoryError:
        raise Unbuildable(f"{cls.__name__} needs more memory than there is", _hint(request)) from None
    if found is None:
        raise Unbuildable(_why(request), _hint(request))
    return _subject(cls, found)


def _first_sure(request: Request) -> Found | None:
    """The first way that is no mere guess; where all are, the first of them."""
    guess: Found | None = None
    for strategy in _STRATEGIES:
        found = strategy(request)
        found = as_used(request, found) if found is not None and found.is_open else found
        if found is not None and (not found.doubt or strategy is by_lock):  # the search was done before
            return found
        guess = guess or found
        if request.deadline.is_over:
            break
    return guess


def subject_of_object(module: nn.Module, inputs: object | None = None) -> Subject:
    """A module that the user holds; each use gets a copy of it.

    Raises:
        Unbuildable: if it has no values or cannot be copied, or no way to call it was found.
    """
    _require_values(module)
    make, call, how = _inputs_for(_copied(module), inputs)
    found = Found(lambda _: _copied(module), make, f"{type(module).__name__}(...)({call})", how)
    return dataclasses.replace(_described(type(module), found), is_seeded=False)


def _copied(module: nn.Module) -> nn.Module:
    """A deep copy; one without history where deepcopy refuses a tensor for its history (the old weight_norm)."""
    try:
        return copied(module)
    except Exception as refusal:  # noqa: BLE001 - a class may define its own deepcopy
        try:
            return duplicate(module, None)
        except Exception:  # noqa: BLE001 - as above
            raise Unbuildable(
                f"{type(module).__name__} cannot be deep-copied: {type(refusal).__name__}: {refusal}",
                "pass the class or a function that builds it",
            ) from refusal


def subject_of_factory(function: Callable[[], nn.Module], inputs: object | None = None) -> Subject:
    """What a function without arguments builds.

    Raises:
        Unbuildable: if it raises or returns no module, or no way to call what it builds was found.
    """
    name = getattr(function, "__name__", "the function")
    try:
        with contained(Deadline.after(_SECONDS)):
            module = function()
    except Exception as error:
        raise Unbuildable(f"{name}() raised {type(error).__name__}: {error}") from error
    if not isinstance(module, nn.Module):
        raise Unbuildable(f"{name}() returned {type(module).__name__}, not an nn.Module")
    _require_values(module)
    make, call, how = _inputs_for(module, inputs)
    return _subject(type(module), Found(lambda _: function(), make, f"{name}()({call})", how))


def _require_values(module: nn.Module) -> None:
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.is_meta:
            raise Unbuildable(
                f"{type(module).__name__} cannot be run: {name} is on the meta device, without values",
                "call module.to_empty(device='cpu') and initialise it, or pass the class or a function that builds it",
            )


def _request(cls: type[nn.Module], inputs: object | None, seconds: float) -> Request:
    make, call = (None, None) if inputs is None else _given(inputs)
    return Request(cls, Deadline.after(seconds), call, make)


def _given(inputs: object) -> tuple[MakeInputs, Call]:
    """What the user said, as a function of the seed, and its notation."""
    if isinstance(inputs, str):
        call = notation.parse(inputs)
        return call.make, call
    if callable(inputs):
        produce: Callable[[], Any] = inputs
        return (lambda _: Inputs.of(produce())), described(Inputs.of(produce()))
    fixed = Inputs.of(inputs)
    return (lambda _: fixed.clone()), described(fixed)


def _inputs_for(module: nn.Module, inputs: object | None) -> tuple[MakeInputs, str, str]:
    """How a module is called; what is not the caller's own tensors lies where the module does."""
    tensors = itertools.chain(module.parameters(), module.buffers())
    device = next((tensor.device for tensor in tensors), torch.device("cpu"))
    if inputs is not None:
        make, call = _given(inputs)
        return (_made_on(device, make) if isinstance(inputs, str) else make), str(call), ""
    if device.type != "cpu":  # of what a search tries, some ends all work of a card
        module = _copied(module).to("cpu")
    was_training = module.training
    search = CallSearch(in_mode(module, training=False), {}, Deadline.after(_SECONDS))
    found = search.find()
    module.train(was_training)
    if found is not None:
        return _made_on(device, found.make), str(found), "from its source"
    name, error = type(module).__name__, search.attempts.error
    raise Unbuildable(
        f"no way to call {name} was found: {type(error).__name__}: {' '.join(str(error).split())[:200]}",
        f"pass its inputs: check(module, {_example_code(search.attempts.closest)})",
    )


def _made_on(device: torch.device, make: MakeInputs) -> MakeInputs:
    if device.type == "cpu":
        return make
    return lambda seed: make(seed).map(lambda tensor: tensor.to(device))


def _subject(cls: type[nn.Module], found: Found) -> Subject:
    subject = _described(cls, found)
    return dataclasses.replace(subject, build=copying(found.build))


def _described(cls: type[nn.Module], found: Found) -> Subject:
    file, line = source.class_line(cls)
    said = f"{found.notation} {found.how}" if found.how else ""
    contract = contract_of(cls).waiving(inline.waivers(cls)).stating(words.stated(cls))
    said += f"; a guess: {found.doubt}" if found.doubt else ""
    missing = parents.left_out(cls.__module__)
    weights = wording.listed(pretrained.left_out())
    card = "the processor for a card" if cards.stands_in() else ""
    only = definitions.why_only(cls.__module__)
    for what, names in (
        ("of its file only what classes need was run, as", only),
        ("imported below", missing),
        ("without the weights", weights),
        ("with", card),
    ):
        said += f"; {what} {names}" if names and f"; {what}" not in said else ""  # what was locked says so
    return Subject(
        cls.__name__,
        found.build,
        found.inputs,
        file,
        line,
        contract,
        said,
        found.construction,
        found.doubt,
    )


def _why(request: Request) -> str:
    name = request.cls.__name__
    if not request.failures:
        return f"no way to build or call {name} was found"
    closest = request.failures[0]
    if missing := _NO_FILE.search(closest.error):
        return f"{name} needs the file {missing[1]}, which is not there"
    if not closest.call:
        return f"no way to build {name} was found; {closest.construction} raised {closest.error}"
    return f"no way to call {name} was found; {closest.construction}({closest.call}) raised {closest.error}"


def _hint(request: Request) -> str:
    """What to add to the class, with the closest attempt filled in."""
    closest = request.failures[0] if request.failures else Failure("cls()", "", "")
    built = closest.construction.replace(request.cls.__name__, "cls", 1)
    with contextlib.suppress(UsageError):  # a text that stands for an object is left as it is
        built, tensors = notation.described(built)
        for name, spec in tensors.items():
            built = built.replace(name, _code(spec))
    call = _parsed(closest.call)
    head = "add to the class:\n    @classmethod\n    def example(cls):"
    return f"{head}\n        return {built}, {_example_code(call)}"


def _parsed(text: str) -> Call | None:
    try:
        return notation.parse(text) if text else None
    except UsageError:
        return None


def _example_code(call: Call | None) -> str:
    """Inputs as the source code that makes them."""
    values = [*call.args, *call.kwargs.values()] if call is not None else []
    if not values:
        return "torch.randn(4, 32)"
    code = [_code(value) for value in values]
    if call is not None and call.kwargs and not call.args:
        return "{" + ", ".join(f"{name!r}: {_code(value)}" for name, value in call.kwargs.items()) + "}"
    return code[0] if len(code) == 1 else f"({', '.join(code)})"


def _code(value: Any) -> str:
    if type(value) in (list, tuple):
        inner = ", ".join(map(_code, value)) + ("," if len(value) == 1 and type(value) is tuple else "")
        return f"[{inner}]" if type(value) is list else f"({inner})"
    if type(value) is dict:
        return "{" + ", ".join(f"{key!r}: {_code(part)}" for key, part in value.items()) + "}"
    if not isinstance(value, TensorSpec):
        return repr(value)
    sizes = ", ".join(map(str, value.shape))
    if value.dtype.is_floating_point:
        return f"torch.rand({sizes})" if value.high == 1 else f"torch.randn({sizes})"
    if value.dtype.is_complex:
        return f"torch.randn({sizes}, dtype={value.dtype})"
    span = f"{value.low}, {value.high}" if value.low else f"{value.high or 2}"
    return f"torch.randint({span}, ({sizes},))"
