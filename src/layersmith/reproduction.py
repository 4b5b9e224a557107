"""A failure shown without Layersmith: a short script that builds the module, calls it and raises."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from layersmith.load.example import described
from layersmith.load.values import TensorSpec, written
from layersmith.probe import source, tree
from layersmith.rule import Rule
from layersmith.subject import Case, Construction, Subject

HEADING = "## How to reproduce it\n"


def script(subject: Subject, rule: Rule, *, where: str = "") -> str:
    """The whole script, or "" when the rule's page has none.

    It defines `build`, `module`, `args`, `kwargs`, `where` (the finding's place) and `run(*args)`, the first tensor of
    the output. What follows stands on the rule's page, and raises where the rule fails.
    """
    body = snippet(rule.doc)
    for name, one in subject.contract.stated.items():  # in words only
        body = body.replace(f'type(module).layersmith_contract.declared["{name}"]', one.code)
    return "\n".join([*_preamble(subject, where), body]) + "\n" if body else ""


def snippet(page: str) -> str:
    """The code on a rule's page that shows its failure; "" when there is none."""
    section = page.partition(HEADING)[2].partition("\n## ")[0]
    code = [line for line in section.splitlines() if line.startswith("    ") or not line]
    return textwrap.dedent("\n".join(code)).strip()


def _preamble(subject: Subject, where: str) -> Iterator[str]:
    case = subject.case()
    call = described(case.inputs)
    yield from _construction(subject.construction)
    yield "torch.manual_seed(0); module = build()"
    args = _code(tuple(call.args))
    yield f"args, kwargs, where = {args}, {_code(dict(call.kwargs))}, {where!r}"
    yield f"run = lambda *a: module(*(a or args), **kwargs){_first_tensor(case)}"


def _construction(built: Construction | None) -> Iterator[str]:
    """The lines that import the class and define `build`."""
    imports = "import sys, torch; from torch import nn"
    if built is None:
        yield imports
        yield "build = ...  # a function that builds your module"
        return
    cls = built.cls
    is_torchs = cls.__module__.startswith("torch.nn")
    folder, name = _home(cls)
    yield imports if is_torchs else f"{imports}; sys.path.insert(0, {folder!r})"
    if not is_torchs:
        yield f"from {name} import {cls.__qualname__.partition('.')[0]}"
    named = ", ".join(f"{name}={written(value)}" for name, value in built.arguments.items())
    yield f"build = lambda: {'nn.' * is_torchs}{cls.__qualname__}({named})"


def _home(cls: type) -> tuple[str, str]:
    """The folder to import from and the module's name there."""
    file = Path(source.file_of(cls))
    parts = cls.__module__.split(".")
    is_package = len(parts) > 1 and file.with_suffix("").parts[-len(parts) :] == tuple(parts)
    return (
        (str(file.parents[len(parts) - 1]), cls.__module__) if is_package else (str(file.parent), file.stem)
    )


def _code(value: Any) -> str:
    """The source that makes a value."""
    if isinstance(value, TensorSpec):
        return _tensor(value)
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        items = ", ".join(map(_code, value))
        return f"[{items}]" if isinstance(value, list) else f"({items}{',' if len(value) == 1 else ''})"
    if type(value) is dict:
        return "{" + ", ".join(f"{key!r}: {_code(item)}" for key, item in value.items()) + "}"
    return written(value)


def _tensor(spec: TensorSpec) -> str:
    sizes = ", ".join(map(str, spec.shape))
    if spec.dtype.is_floating_point or spec.dtype.is_complex:
        kind = "" if str(spec.dtype) == "torch.float32" else f", dtype={spec.dtype}"
        return f"torch.randn({sizes or '()'}{kind})"
    if str(spec.dtype) == "torch.bool":
        return f"torch.rand({sizes or '()'}) < 0.5"
    return (
        f"torch.randint({spec.high or 2}, ({sizes}{',' if len(spec.shape) == 1 else ''}), dtype={spec.dtype})"
    )


def _first_tensor(case: Case) -> str:
    """The way from an output to its first tensor: "", "[0]", ".logits"."""
    try:
        case.module.eval()
        paths = [path for path, _ in tree.named_tensors(case.run(), name="")]
    except Exception:  # noqa: BLE001 - a forward that fails is what some scripts show
        return ""
    return paths[0] if paths else ""
