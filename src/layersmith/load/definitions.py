"""A file as a module without its work: what its classes need is run, what trains, plots and downloads is not.

So are notebooks, scripts that train when they are imported, and files that cannot be imported here for another
reason, as they read data or use a card. Of their statements, imports and definitions are run, and what sets the names
that classes and functions read.
"""

from __future__ import annotations
import __future__

import ast
import dis
import functools
import operator
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import CodeType, ModuleType

from layersmith.load.absent import Absent, why_without
from layersmith.probe.slips import LEFT_OUT

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
DEFINITIONS = (*FUNCTIONS, ast.ClassDef)
IMPORTS = (ast.Import, ast.ImportFrom)
_TRAINING = {"backward", "zero_grad", "fit"}
_OF_THE_PROCESS = ("sys.path.", "torch.set_default_")  # what a statement sets there
Keep = Callable[[ast.stmt], bool]
Statement = tuple[str, ast.stmt]  # with the name under which it is compiled


def run(
    statements: Sequence[Statement], module: ModuleType, why: str = "", *, keep: Keep = lambda _: False
) -> BaseException | None:
    """Run those of a file's statements that its classes need; what cannot be set is an error where it is used.

    Args:
        statements: of the file.
        module: where they are run.
        why: not the others, in words.
        keep: whether to run a statement that no class needs.

    Returns:
        the first error.

    Raises:
        Exception: if what an import would have brought is not known.
    """
    nodes = [node for _, node in statements]
    defined = {name for node in nodes if isinstance(node, (*DEFINITIONS, *IMPORTS)) for name in _set(node)}
    wanted = _wanted(nodes, defined)
    setters, future = _setters(nodes), _future(nodes)
    first: BaseException | None = None
    vars(module)[LEFT_OUT] = [why] if why else []
    for name, node in statements:
        if not (_is_needed(node, wanted, wanted - defined, setters) or keep(node)):
            continue
        try:
            code = compile(ast.Module([node], []), name, "exec", flags=future, dont_inherit=True)
            exec(code, vars(module))  # noqa: S102 - it is what importing means
        except (Exception, SystemExit) as error:  # whatever it raises: the next may not need it
            first = first or error
            if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
                raise
            cause = _cause(node, module)
            for unset in _set(node) - set(vars(module)):
                refusal = error if isinstance(error, Exception) else RuntimeError(f"SystemExit: {error}")
                own = Absent(_why(unset, name, node, error), refusal)
                vars(module)[unset] = own if cause is None else cause
    return first


def _future(nodes: list[ast.stmt]) -> int:
    """What the file asks of the compiler: `from __future__ import annotations`."""
    asked = (node for node in nodes if isinstance(node, ast.ImportFrom) and node.module == "__future__")
    features = (getattr(__future__, alias.name, None) for node in asked for alias in node.names)
    return functools.reduce(operator.or_, (one.compiler_flag for one in features if one is not None), 0)


def has_class(module: ModuleType) -> bool:
    """Whether the module itself defines one."""
    return any(isinstance(one, type) and one.__module__ == module.__name__ for one in vars(module).values())


def _cause(node: ast.stmt, module: ModuleType) -> Absent | None:
    """What is absent of that which a statement reads."""
    read = (vars(module).get(name) for name in _read(node))
    return next((value for value in read if isinstance(value, Absent)), None)


def _why(unset: str, name: str, node: ast.stmt, error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        return why_without(error.name.partition(".")[0])
    raised = raised_at(name, node.lineno, error)
    return raised if isinstance(node, DEFINITIONS) else f"needs {unset}, and {raised}"


def raised_at(name: str, line: int, error: BaseException) -> str:
    """An error and where it was raised, in one line."""
    message = next(iter(str(error).strip().splitlines()), "")
    return f"{Path(name).name}:{line} raised {type(error).__name__}{f': {message:.80}' if message else ''}"


def why_only(name: str) -> str:
    """Why only the definitions of a module's file were run, in words; "" if all of it was."""
    return next(iter(vars(sys.modules[name]).get(LEFT_OUT, ())), "") if name in sys.modules else ""


def trains(node: ast.AST) -> bool:
    """Whether a statement trains: it calls `loss.backward()`, `optimizer.step()`, `model.fit(...)`."""
    calls = (part for part in ast.walk(node) if isinstance(part, ast.Call))
    named = ((getattr(one.func, "attr", ""), one) for one in calls)
    return any(name in _TRAINING or (name == "step" and not one.args) for name, one in named)


def _is_needed(node: ast.stmt, wanted: set[str], filled: set[str], setters: set[str]) -> bool:
    """Whether it defines something, sets what is wanted, or fills that by a method or a function."""
    if isinstance(node, (*DEFINITIONS, *IMPORTS)):
        return True
    if trains(node):
        return False
    if isinstance(node, ast.Expr):
        called = ast.unparse(node.value.func) if isinstance(node.value, ast.Call) else ""
        return _owner(node) in filled or called in setters or called.startswith(_OF_THE_PROCESS)
    chooses = isinstance(node, ast.If | ast.Try | ast.With)  # between two imports, or two forms of a class
    defines = chooses and any(isinstance(part, (*DEFINITIONS, *IMPORTS)) for part in _outside_functions(node))
    return defines or bool(_set(node) & (wanted | {"globals"}))


def _setters(nodes: list[ast.stmt]) -> set[str]:
    """The functions of a file that set its globals, and what sets an attribute."""
    functions = (node for node in nodes if isinstance(node, FUNCTIONS))
    return {"setattr"} | {
        node.name for node in functions if any(isinstance(part, ast.Global) for part in ast.walk(node))
    }


def _wanted(statements: list[ast.stmt], defined: set[str]) -> set[str]:
    """The names that classes use, and those from which these are computed."""
    uses: dict[str, set[str]] = {}
    for node in statements:
        for name in _set(node) | ({_owner(node)} - defined):
            uses.setdefault(name, set()).update(_read(node))
    wanted: set[str] = set()
    new = {name for node in statements if isinstance(node, ast.ClassDef) for name in _read(node)}
    while new:
        wanted |= new
        new = {used for name in new for used in uses.get(name, ())} - wanted
    return wanted


def _owner(node: ast.stmt) -> str:
    """The name whose method a statement calls, as in `words.append(word)`."""
    called = getattr(getattr(node, "value", None), "func", None)
    while isinstance(called, ast.Attribute):
        called = called.value
    return called.id if isinstance(called, ast.Name) and isinstance(node, ast.Expr) else ""


def _set(node: ast.stmt) -> set[str]:
    """The names that a statement sets, defines or imports; what it sets an item or attribute of counts."""
    found: set[str] = set()
    for part in [node, *_outside_functions(node)]:
        if isinstance(part, DEFINITIONS):
            found.add(part.name)
        elif isinstance(part, IMPORTS):
            found |= {(alias.asname or alias.name).partition(".")[0] for alias in part.names}
        elif isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            found.add(part.id)
        elif isinstance(part, ast.Subscript | ast.Attribute) and isinstance(part.ctx, ast.Store):
            found |= {name.id for name in ast.walk(part.value) if isinstance(name, ast.Name)}
    return found


def _outside_functions(node: ast.stmt) -> Iterator[ast.AST]:
    """The parts of a statement that run with it."""
    if isinstance(node, DEFINITIONS):
        return
    for child in ast.iter_child_nodes(node):
        yield child
        if isinstance(child, ast.stmt | ast.ExceptHandler):
            yield from _outside_functions(child)  # type: ignore[arg-type]
        else:
            yield from ast.walk(child)


def _read(node: ast.stmt) -> set[str]:
    """The names of the module that a statement reads, and what it defines will read."""
    try:
        return set(_loaded(compile(ast.Module([node], []), "", "exec")))
    except SyntaxError:  # `return` beside a function
        return set()


def _loaded(code: CodeType) -> Iterator[str]:
    for step in dis.get_instructions(code):
        if step.opname in {"LOAD_NAME", "LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS"}:
            yield step.argval
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _loaded(inner)
