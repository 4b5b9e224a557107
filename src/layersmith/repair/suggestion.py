"""A repair as source: `reset_parameters` for the user's own class, as a diff, and what it does to a module."""

from __future__ import annotations

import ast
import difflib
import linecache
import os
import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from layersmith.errors import UsageError
from layersmith.probe import reading, source
from layersmith.probe.followed import Layer
from layersmith.probe.gain import gain
from layersmith.probe.inputs import Inputs
from layersmith.probe.layers import layers
from layersmith.probe.surroundings import preserved

INDENT = "    "
METHOD = "reset_parameters"
SHORTEST_LOOP = 3
INDEX = re.compile(r"\[(\d+)\]")


def suggest(module: nn.Module, inputs: Inputs, broken: Sequence[str]) -> str:
    """A unified diff of the file of the module's class that draws these weights so that the signal is kept.

    Each gets N(0, (g / sqrt(fan_in))^2) with the computed gain g of what follows it, its bias zero. Lines are
    added to the class's `reset_parameters`, or that method is added and called at the end of `__init__`.
    "" if the class has no source, or no product uses any of the weights.
    """
    cls: type = type(module)
    node, file = source.class_node(cls), source.file_of(cls)
    body = statements(module, inputs, broken)
    if node is None or not file or not body:
        return ""
    old = [line if line.endswith("\n") else line + "\n" for line in linecache.getlines(file)]
    new = _edited(old, node, _qualified(body, source.tree_of(file)))
    name = os.path.relpath(file) if Path(file).is_relative_to(Path.cwd()) else file.lstrip("/")
    return "".join(difflib.unified_diff(old, new, f"a/{name}", f"b/{name}"))


def statements(module: nn.Module, inputs: Inputs, broken: Sequence[str]) -> list[str]:
    """The lines of `reset_parameters` that draw these weights; layers of a list that start alike share a loop."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for layer in layers(module, inputs):
        if layer.weight in broken:
            index = INDEX.search(reading.spelled(layer.weight))
            alike.setdefault(_lines(module, layer), []).append(index[1] if index is not None else "")
    return [line for lines, indices in alike.items() for line in _written(lines, indices)]


def apply(module: nn.Module, body: Sequence[str], *, seed: int = 0) -> nn.Module:
    """Run the lines on a module, in place, as its own method would."""
    code = "\n".join(body)
    with preserved(seed=seed), torch.no_grad():
        exec(compile(code, "<suggestion>", "exec"), {"nn": nn, "torch": torch, "self": module})  # noqa: S102 - ours
    return module


def _written(lines: tuple[str, ...], indices: list[str]) -> list[str]:
    if len(indices) < SHORTEST_LOOP:
        return [line.replace("[index]", f"[{index}]") for index in indices for line in lines]
    comment, *rest = lines
    numbers = [int(index) for index in indices]
    step = numbers[1] - numbers[0]
    span = range(numbers[0], numbers[-1] + 1, step) if step > 0 else range(0)
    text = f"range({span.stop})" if span.start == 0 and span.step == 1 else str(span)
    every = text if [*span] == numbers else f"({', '.join(indices)})"
    return [comment, f"for index in {every}:", *(f"{INDENT}{line}" for line in rest)]


def _lines(module: nn.Module, layer: Layer) -> tuple[str, ...]:
    factor, reason = _gain(layer)
    weight = INDEX.sub("[index]", reading.spelled(layer.weight), count=1)
    bias = INDEX.sub("[index]", reading.spelled(layer.bias), count=1)
    fan_in = _fan_in(weight, module.get_parameter(layer.weight), layer)
    lines = (f"# {reason}", f"nn.init.normal_({weight}, std={factor:.4g} / {fan_in} ** 0.5)")
    return (*lines, f"nn.init.zeros_({bias})") if layer.bias else lines


def _gain(layer: Layer) -> tuple[float, str]:
    followers = str(layer.expression) or "no activation"
    try:
        found = gain(layer.expression)
    except UsageError:
        return 1.0, f"gain 1, as what follows has none: {followers}"
    return float(found), f"gain {float(found):.4g} before {followers}"


def _fan_in(weight: str, parameter: torch.Tensor, layer: Layer) -> str:
    """How the fan-in is written, so that it stays right when the layer's size changes."""
    if layer.is_convolution and not layer.is_input_first:
        return f"{weight}[0].numel()"
    for axis in (-2, -1) if layer.is_input_first else (-1, -2):
        if parameter.shape[axis] == layer.fan_in:
            return f"{weight}.shape[{axis % parameter.ndim}]"
    return str(layer.fan_in)


def _qualified(body: list[str], tree: ast.Module) -> list[str]:
    """With the names that the file knows torch.nn by."""
    for node in ast.walk(tree):
        names = getattr(node, "names", []) if isinstance(node, ast.Import | ast.ImportFrom) else []
        module = getattr(node, "module", None)
        if any((module, alias.name) == ("torch", "nn") and not alias.asname for alias in names):
            return body
        if any(alias.name == "torch.nn" and alias.asname == "nn" for alias in names):
            return body
    return [line.replace("nn.init.", "torch.nn.init.") for line in body]


def _edited(old: list[str], node: ast.ClassDef, body: list[str]) -> list[str]:
    """The file with the lines in the class's `reset_parameters`."""
    methods = {child.name: child for child in node.body if isinstance(child, ast.FunctionDef)}
    indent = " " * (node.col_offset + len(INDENT))
    lines = [f"{indent}{INDENT}{line}\n" for line in body]
    present = methods.get(METHOD)
    if present is not None:
        return [*old[: present.end_lineno], *lines, *old[present.end_lineno :]]
    method = ["\n", f"{indent}def {METHOD}(self):\n", *lines]
    first = methods.get("__init__")
    if first is None:
        return [*old[: node.end_lineno], *method, *old[node.end_lineno :]]
    call = [f"{indent}{INDENT}self.{METHOD}()\n"]
    return [*old[: first.end_lineno], *call, *method, *old[first.end_lineno :]]
