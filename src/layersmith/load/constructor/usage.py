"""What a constructor does with its parameters: indexed, iterated, called, compared, passed on."""

from __future__ import annotations

import ast
import contextlib
import functools
import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from layersmith.load.constructor.bound import WALKED, Bound
from layersmith.load.constructor.called import callee_of, own_function, users_module
from layersmith.load.constructor.forward import read_forward
from layersmith.load.constructor.names import CONFIG, plain
from layersmith.load.constructor.syntax import (
    TENSOR_METHODS,
    TYPED_GETTER,
    activations,
    compared,
    conditions,
    field_name,
    given_beside,
    is_getattr,
    keys_of,
    last_name,
    owner_of,
    parameters_of,
    resolved,
    table_of,
)
from layersmith.load.constructor.trace import Usage
from layersmith.probe import source

_DEEPEST = 4  # parts of parts that are handed the same settings, methods that are called by methods
REST = "**"  # the entry of the variadic keywords in the traces
_being_read: list[type] = []  # classes whose constructors are gone through at the moment
_TAKEN_BY = {"range": ("number", "count"), "dict": ("dict",)}
_READERS = {"open", "loadtxt", "read_csv", "read_json"}  # of a file whose path they get
_TENSOR_TAKERS = {"Parameter", "register_buffer", "from_pretrained", "from_numpy"}


def usages(cls: type) -> Mapping[str, Usage]:
    """The traces of each parameter in the constructor's source; nothing where there is no source."""
    return _usages(cls)


def constructor(cls: Any) -> Any:
    """The class's `__init__`, its own or inherited."""
    return cls.__init__


def takes_the_rest(cls: type) -> Any:
    """The module class that the constructor hands its **kwargs to: `self.layers = Layers(dim, **kwargs)`."""
    found = usages(cls)[REST].passed_as if constructor(cls) is not object.__init__ else []
    return found[0].annotation if found else None


def hands_up(cls: type, variadic: str) -> tuple[Any, int]:
    """The base whose constructor gets all of `*variadic`, if any, and behind how many: `super().__init__(*args)`."""
    maker = source.function_node(constructor(cls)) or ast.Pass()
    calls = (one for one in ast.walk(maker) if isinstance(one, ast.Call))
    places = [
        place
        for call in calls
        for place, given in enumerate(call.args if last_name(call.func) == "__init__" else ())
        if isinstance(given, ast.Starred) and getattr(given.value, "id", "") == variadic
    ]
    makers = [
        one for one in cls.__mro__ if "__init__" in vars(one)
    ]  # its own, or the one that it inherits, first
    return (makers[1], places[0]) if places else (None, 0)


@functools.lru_cache(maxsize=1024)
def _usages(cls: type, above: tuple[type, ...] = ()) -> Mapping[str, Usage]:
    """The same; classes above it that hand their settings on are not read again."""
    reader = _Reader(cls, constructor(cls), above=above)
    _being_read.append(cls)
    try:
        reader.read_all()
    finally:
        _being_read.pop()
    forward = source.function_node(source.forward(cls)) if issubclass(cls, nn.Module) else None
    if forward is not None:
        read_forward(cls, forward, reader.trace)
    return reader.found


@functools.lru_cache(maxsize=1024)
def _inner(cls: type, function: Any, depth: int, above: tuple[type, ...]) -> _Reader:
    """What a method or function does with what it is handed: read once, however often it is called."""
    reader = _Reader(cls, function, depth=depth, above=above)
    reader.read_all()
    return reader


class _Reader(Bound):
    """Collects the traces from the syntax tree of one constructor, or of what it hands its parameters to."""

    def __init__(self, cls: type, function: Any, *, depth: int = 0, above: tuple[type, ...] = ()) -> None:
        self.node = source.function_node(function)
        self.depth = depth  # of methods and functions that hand a parameter on
        self.above = above
        self.cls = cls
        super().__init__(parameters_of(self.node))
        self.variadic = self.node.args.kwarg.arg if self.node and self.node.args.kwarg is not None else ""
        self.globals = getattr(source.unwrapped(function), "__globals__", {})

    @functools.cached_property
    def tests_kinds(self) -> bool:
        """Whether it asks of what kind something is."""
        names = (one.id for one in ast.walk(self.node or ast.Pass()) if isinstance(one, ast.Name))
        return "isinstance" in names

    def read_all(self) -> None:
        """The whole function, what it keeps and loops over first: either is used before it is named."""
        nodes = [*ast.walk(self.node)] if self.node is not None else []
        for node in nodes:
            for target in node.targets if isinstance(node, ast.Assign) else ():
                self.keep(target, node.value)  # type: ignore[attr-defined]
        for node in nodes:
            if isinstance(node, ast.For | ast.comprehension):
                self.loop(node.target, node.iter)
        for node in nodes:
            self.read(node)

    def read(self, node: ast.AST) -> None:
        if isinstance(node, ast.Assign):
            self.assignment(node)
        elif isinstance(node, ast.Subscript):
            self.subscript(node)
        elif isinstance(node, ast.For | ast.comprehension | ast.Starred):
            self.mark(node.value if isinstance(node, ast.Starred) else node.iter, "sequence")
        elif isinstance(node, ast.Call):
            self.call(node)
        elif isinstance(node, ast.Compare):
            self.comparison(node)
        elif isinstance(node, ast.Attribute) and (held := self.trace(node.value)) is not None:
            is_getter = TYPED_GETTER.match(node.attr)  # `conf.get_int`, of settings
            (held.kinds if is_getter else held.attributes).add("dict" if is_getter else node.attr)
        elif isinstance(node, ast.Assert | ast.UnaryOp):
            self.asked_to_be(node)
        elif isinstance(node, ast.BinOp | ast.If | ast.IfExp):
            parts = (node.left, node.right) if isinstance(node, ast.BinOp) else conditions(node.test)
            for part in parts:
                self.mark(part, "number" if isinstance(node, ast.BinOp) else "flag")

    def assignment(self, node: ast.Assign) -> None:
        for target in node.targets:
            if isinstance(target, ast.Tuple | ast.List) and (trace := self.trace(node.value)) is not None:
                trace.kinds.add("sequence")
                trace.length = len(target.elts)

    def subscript(self, node: ast.Subscript) -> None:
        if (picked := self.trace(node.slice)) is not None:  # `TABLE[name]`, `{"relu": nn.ReLU}[name]`
            picked.strings += keys_of(node.value, self.globals)
        if (trace := self.trace(node.value)) is None:
            return
        if (index := self.parameter(node.slice)) and "dict" not in trace.kinds:  # `channels[level]`
            self.found[index].kinds.add("index")
        key = node.slice.value if isinstance(node.slice, ast.Constant) else None
        if isinstance(key, str):
            trace.keys.add(key)
        trace.kinds.add("dict" if isinstance(key, str) else "sequence")
        if type(key) is int and key >= 0:
            trace.length = max(trace.length, key + 1)

    def call(self, node: ast.Call) -> None:
        self.asked_for(node)
        self.mark(node.func, "callable")
        if isinstance(node.func, ast.Attribute) and node.func.attr in TENSOR_METHODS:
            self.mark(node.func.value, "tensor")
        called = node.func.id if isinstance(node.func, ast.Name) else ""
        if called in WALKED:
            for argument in node.args:
                self.mark(argument, "sequence")
            return
        if last_name(node.func) in _TENSOR_TAKERS:
            for argument in node.args:
                self.taken_as_tensor(table_of(argument) if "pretrained" in last_name(node.func) else argument)
            return
        if self.parameter(node.func):
            return
        self.to_python(called, node)
        if self.depth < _DEEPEST and (own := own_function(node.func, self.cls, self.globals)) is not None:
            self.handed_on(node, own)
        if (callee := callee_of(node.func, self.cls, self.globals)) is not None:
            self.passed_on(node, callee)

    def taken_as_tensor(self, node: ast.expr) -> None:
        """A parameter, or one item of it: `nn.Parameter(start[0])`."""
        is_item = isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant)
        held = self.trace(node.value) if is_item and isinstance(node, ast.Subscript) else None
        if held is not None:
            held.one().kinds.add("tensor")
        self.mark(node, "tensor")

    def to_python(self, called: str, node: ast.Call) -> None:
        """`range(depth)`, `dict(config)`, `getattr(nn, activation)`, `ast.literal_eval(sizes)`, `open(cfg_file)`."""
        if last_name(node.func) in {"literal_eval", "eval"} and node.args:
            self.mark(node.args[0], "literal")
        for kind in _TAKEN_BY.get(called, ()) if node.args else ():
            self.mark(node.args[-1], kind)
        if last_name(node.func) in _READERS and node.args:
            self.mark(node.args[0], "path")
        if called == "getattr" and len(node.args) > 1 and (named := self.trace(node.args[1])) is not None:
            named.strings += activations(resolved(node.args[0], self.globals))

    def asked_to_be(self, node: ast.Assert | ast.UnaryOp) -> None:
        """`assert isinstance(layers, Layers)`, `if not isinstance(layers, Layers): raise`."""
        call = node.test if isinstance(node, ast.Assert) else node.operand
        is_test = (
            isinstance(call, ast.Call) and getattr(call.func, "id", "") == "isinstance" and len(call.args) > 1
        )
        if is_test and isinstance(call, ast.Call) and (asked := self.trace(call.args[0])) is not None:
            asked.is_a = users_module(resolved(call.args[1], self.globals)) or asked.is_a

    def asked_for(self, node: ast.Call) -> None:
        """`config.get_int("width")`: settings with that key; `getattr(config, "width", 8)`: with that attribute."""
        if not (key := field_name(node)) or (asked := self.trace(owner_of(node))) is None:
            return
        if is_getattr(node):
            asked.attributes.add(key)
            with contextlib.suppress(
                ValueError, IndexError, TypeError, SyntaxError, MemoryError, RecursionError
            ):
                asked.fields.setdefault(key, Usage()).default = ast.literal_eval(node.args[2])
        else:
            asked.keys.add(key)
            asked.kinds.add("dict")

    def handed_on(self, node: ast.Call, function: Any) -> None:
        """What a method of the class or a function of the project does with a parameter that it is handed."""
        inner = _inner(self.cls, function, self.depth + 1, self.above)
        by_name = [(word.arg or "", word.value) for word in node.keywords]
        for name, given in [*zip(inner.names, node.args, strict=False), *by_name]:
            trace = self.trace(given)
            if name in inner.found and trace is not None:
                before = {*trace.kinds}
                trace.take(inner.found[name])
                if inner.tests_kinds:  # `to_2tuple(x)`, which takes a list as well
                    trace.kinds -= {"sequence"} - before

    def passed_on(self, node: ast.Call, callee: Any) -> None:
        try:
            expected = list(inspect.signature(callee).parameters.values())
        except Exception:  # noqa: BLE001 - a stand-in for what is not installed raises what it likes
            return
        by_name = {parameter.name: parameter for parameter in expected}
        self.rest(node, callee)
        if callee is nn.ModuleList or callee is nn.Sequential:
            self.several(node)
        pairs = [*zip(node.args, expected, strict=False)]
        pairs += [(word.value, by_name[word.arg]) for word in node.keywords if word.arg in by_name]
        for given, parameter in pairs:
            trace = self.trace(given)
            if trace is not None and parameter.kind is not inspect.Parameter.VAR_POSITIONAL:
                trace.passed_as.append(parameter)
                self.settings(trace, given, callee, parameter.name)

    def settings(self, trace: Usage, given: ast.expr, callee: Any, name: str) -> None:
        """What a part reads of the settings that it is handed as a whole: `Block(config)`."""
        above = (*self.above, self.cls)
        is_part = inspect.isclass(callee) and issubclass(callee, nn.Module) and callee not in above
        if callee in self.cls.__mro__[1:-1] and len(above) <= _DEEPEST:
            trace.take(_usages(callee, above)[name])
        elif is_part and len(above) <= _DEEPEST and CONFIG.search(plain(getattr(given, "id", ""))):
            theirs = _usages(callee, above)[name]
            trace.attributes |= theirs.attributes
            trace.keys |= theirs.keys
            trace.kinds |= theirs.kinds & {"dict"}
            trace.take(Usage(fields=theirs.fields))
        elif is_part and callee not in _being_read and not source.is_torchs(callee.__module__):
            theirs = _usages(callee)[name]  # of `Stages(layer_sizes)`, which takes four of them
            trace.strings += theirs.strings
            trace.take(Usage(theirs.kinds & {"sequence", "count"}, theirs.length, item=theirs.item))

    def several(self, node: ast.Call) -> None:  # `nn.ModuleList(experts)`, `nn.Sequential(*layers)`
        for given in node.args:
            inner = given.value if isinstance(given, ast.Starred) else given
            for kind in ("sequence", "module"):
                self.mark(inner, kind)

    def rest(self, node: ast.Call, callee: Any) -> None:
        """`Layers(dim, **kwargs)`: which class takes the rest, and which arguments it is given beside."""
        beside = given_beside(node, callee, self.variadic)
        if beside is not None:
            cls = inspect.Parameter("cls", inspect.Parameter.KEYWORD_ONLY, annotation=callee)
            self.found[REST].take(Usage(passed_as=[cls], keys=beside))

    def comparison(self, node: ast.Compare) -> None:
        (left, texts), right = compared(node), node.comparators[0]
        if isinstance(node.ops[0], ast.In | ast.NotIn) and not isinstance(node.left, ast.Constant):
            self.mark(right, "sequence")  # `if depth in attended`
        if (trace := self.trace(left)) is not None:
            trace.strings += texts
            trace.kinds |= {"optional"} if getattr(right, "value", ...) is None else set()
