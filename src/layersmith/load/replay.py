"""A class built and called again as a notation says: `Block(64, heads=4)(f32[2,16,64], mask=bool[2,16])`.

The notation is Python in which a tensor may be described: whatever the class's own file can name, it can name.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name that everyone knows
from torch import nn

from layersmith.errors import UsageError
from layersmith.load import notation
from layersmith.load.attempt import contained
from layersmith.load.constructor.search import call_text, construct
from layersmith.load.constructor.standins import Layers, Several
from layersmith.load.constructor.usage import constructor
from layersmith.load.strategy import Found, Request
from layersmith.load.values import Call, Made, TensorSpec
from layersmith.probe.inputs import Inputs
from layersmith.probe.modes import in_mode
from layersmith.probe.source import error_line
from layersmith.probe.surroundings import seed_all
from layersmith.subject import Construction


class Misfit(Exception):  # noqa: N818 - a fact about a text and a class
    """The class cannot be built or called as the text says; the message says why, in one line."""


def replayed(request: Request, text: str, *, how: str, must_work: bool = True) -> Found:
    """The class built and called as the text says, after one call that worked (unless it need not).

    The inputs of the request, where it has some, go before those of the text.

    Raises:
        Misfit: if that does not work.
    """
    construction, call = _read(request.cls, text)
    make = request.inputs or call
    try:
        with contained(request.deadline), torch.no_grad():
            module = in_mode(construction.build(), training=False)
            if must_work:
                make(0).call(module)
    except Exception as error:
        raise Misfit(_said(error, construction.cls)) from error
    said = str(request.call) if request.call is not None else str(call)
    return Found(lambda _: construction.build(), make, f"{construction.text}({said})", how, construction)


def _read(cls: type[nn.Module], text: str) -> tuple[Construction, _Arguments]:
    """The two calls of a notation."""
    try:
        source, specs = notation.described(text)
        tree = ast.parse(source, mode="eval").body
    except (SyntaxError, UsageError) as error:
        raise Misfit(f"cannot be read: {str(error).splitlines()[0]}") from error
    if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Call):
        raise Misfit(f"is not of the form {cls.__name__}(...)(...)")
    names = _Names(cls, specs)
    arguments = {name: _description(node, names) for name, node in _bound(cls, tree.func).items()}
    return Construction(cls, arguments, construct, call_text(cls, arguments)), _Arguments(tree, names)


def _bound(cls: type[nn.Module], call: ast.Call) -> dict[str, Any]:
    """The expressions of a constructor's call by parameter; a list of them for `*args`."""
    try:
        signature = inspect.signature(constructor(cls))
        words = {word.arg: word.value for word in call.keywords if word.arg is not None}
        bound = dict(signature.bind(None, *call.args, **words).arguments)
    except TypeError as error:
        raise Misfit(f"the constructor takes other arguments: {error}") from error
    bound.pop(next(iter(signature.parameters)), None)
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            bound |= bound.pop(name, {})
    return bound


def _description(node: Any, names: _Names) -> Any:
    """A literal as it is; anything else as what makes it afresh."""
    if isinstance(node, list | tuple):
        return [_description(item, names) for item in node]
    try:
        return ast.literal_eval(node)
    except ValueError:
        value = names.value(node)
        if inspect.isclass(value) or inspect.isroutine(value) or isinstance(value, torch.dtype):
            return value
        return Made(names.text(node), lambda: names.value(node))


class _Arguments:
    """The arguments of forward, as a function of the seed."""

    def __init__(self, call: ast.Call, names: _Names) -> None:
        self.args = call.args
        self.words = {word.arg: word.value for word in call.keywords if word.arg is not None}
        self.names = names

    def __call__(self, seed: int) -> Inputs:
        plain = self.plain()
        if plain is not None:
            return plain.make(seed)
        seed_all(seed)
        return Inputs(
            tuple(map(self.names.value, self.args)),
            {name: self.names.value(node) for name, node in self.words.items()},
        )

    def plain(self) -> Call | None:
        """The same as a description, where it consists of tensors and literals."""
        try:
            return notation.parse(str(self))
        except UsageError:
            return None

    def __str__(self) -> str:
        words = [f"{name}={self.names.text(node)}" for name, node in self.words.items()]
        return ", ".join([*map(self.names.text, self.args), *words])


class _Names(dict[str, Any]):
    """What a notation may name: what the class's file can, torch, and the classes of its package."""

    def __init__(self, cls: type[nn.Module], specs: Mapping[str, TensorSpec]) -> None:
        home = vars(sys.modules.get(cls.__module__, object()) if cls.__module__ in sys.modules else cls)
        usual = {
            "torch": torch,
            "nn": nn,
            "F": F,
            "SimpleNamespace": types.SimpleNamespace,
            "functools": functools,
            "Several": Several,
            "Layers": Layers,
        }
        super().__init__(usual | dict(home) | {cls.__name__: cls})
        self.package = cls.__module__.partition(".")[0]
        self.specs = specs

    def __missing__(self, name: str) -> Any:
        if name in self.specs:
            return self.specs[name].make(torch.default_generator)
        for module in self.relatives():
            if name in vars(module):
                return vars(module)[name]
        raise KeyError(name)

    def relatives(self) -> Iterator[types.ModuleType]:
        """The modules of the class's package."""
        for name, module in sorted(sys.modules.items()):
            if name.partition(".")[0] == self.package and isinstance(module, types.ModuleType):
                yield module

    def value(self, node: ast.expr) -> Any:
        """What an expression is worth, made anew."""
        expression = ast.fix_missing_locations(ast.Expression(node))
        try:
            return eval(compile(expression, "<notation>", "eval"), {}, self)  # noqa: S307 - code that is run anyway
        except Exception as error:
            raise Misfit(f"{self.text(node)} raised {type(error).__name__}: {error}") from error

    def text(self, node: ast.expr) -> str:
        """An expression with its tensors described."""
        text = ast.unparse(node)
        for name, spec in self.specs.items():
            text = text.replace(name, str(spec))
        return text


def _said(error: Exception, cls: type[nn.Module]) -> str:
    if isinstance(error, Misfit):
        return str(error)
    module = cls.__new__(cls)
    nn.Module.__init__(module)
    file, line = error_line(error, module)
    at = f" at {file.rpartition('/')[2]}:{line}" if line else ""
    return f"{type(error).__name__}: {' '.join(str(error).split()):.200}{at}"
