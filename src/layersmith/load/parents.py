"""Parent packages whose `__init__` cannot be run here: the rest of it is run, so that a file below can be imported."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from layersmith.probe.slips import LEFT_OUT


def tolerated(name: str, root: Path) -> bool:
    """Register the packages above a dotted name, the statements of their `__init__` that fail left out.

    Args:
        name: of a file in them, `package.part.file`.
        root: the folder in which the first of them lies.
    """
    parents = name.split(".")[:-1]
    forget(name.partition(".")[0])
    for depth in range(1, len(parents) + 1):
        init = root.joinpath(*parents[:depth], "__init__.py")
        _execute(".".join(parents[:depth]), init)
    return any(vars(module).get(LEFT_OUT) for module in _above(name))


def left_out(name: str) -> str:
    """What of the packages above a module was not run, in one line; "" where all was."""
    failed = [said for module in _above(name) for said in vars(module).get(LEFT_OUT, ())]
    more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
    return f"{failed[0]}{more}" if failed else ""


def _above(name: str) -> list[ModuleType]:
    parts = name.split(".")[:-1]
    names = (".".join(parts[:depth]) for depth in range(1, len(parts) + 1))
    return [sys.modules[one] for one in names if one in sys.modules]


def forget(package: str) -> None:
    """Take back what an import that failed has left behind."""
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]


def _execute(name: str, init: Path) -> None:
    spec = importlib.util.spec_from_file_location(name, init, submodule_search_locations=[str(init.parent)])
    if spec is None:
        raise ImportError(f"no loader for {init}")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    failed: list[str] = []
    setattr(module, LEFT_OUT, failed)
    parent, _, last = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], last, module)
    for statement in ast.parse(init.read_bytes() if init.exists() else b"", str(init)).body:
        code = compile(ast.Module([statement], []), str(init), "exec")
        try:
            exec(code, vars(module))  # noqa: S102 - what the import would do
        except Exception as error:  # noqa: BLE001 - whatever a neighbour raises
            what = ast.unparse(statement).partition("\n")[0]
            failed.append(f"{init.parent.name}/__init__.py without `{what:.60}`, which raised {error!s:.80}")
