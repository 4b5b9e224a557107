"""Which parameters are one object or lie in one memory, and which only start as copies of others."""

from __future__ import annotations

import ast
import contextlib
import itertools
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from layersmith.probe import reading, source

SAYS_TIED = (
    r"(?<!not )(?<!never )\b(?:tied|tying|tie_\w+)\b"
    r"|\bembedding\b[^.\n]*\b(?:output|head|projection|decoder|softmax)\b[^.\n]*\bshar(?:e|es|ed|ing)\b"
)
Ties = set[tuple[str, str]]


def tied(module: nn.Module) -> Ties:
    """Pairs of names whose parameters are one object, or one memory of one shape."""
    named = [
        (name, one)
        for name, one in module.named_parameters(remove_duplicate=False)
        if not is_lazy(one) and one.numel()
    ]
    places: dict[object, str] = {}
    found = set()
    for name, one in named:
        key = (one.data_ptr(), one.shape, one.stride()) if one.device.type != "meta" else id(one)
        first = places.setdefault(key, name)
        if first != name:
            found.add((first, name))
    return found


def copies(module: nn.Module) -> Iterator[tuple[str, str]]:
    """Weights of layers of two kinds that start as the same random numbers, in a class that speaks of a tie."""
    if not reading.says(module, SAYS_TIED):
        return
    drawn = [
        (name, one, type(module.get_submodule(name.rpartition(".")[0])))
        for name, one in module.named_parameters()
        if not is_lazy(one) and one.ndim > 1 and one.requires_grad and bool((one != one.flatten()[0]).any())
    ]
    for (name, one, kind), (other, two, other_kind) in itertools.combinations(drawn, 2):
        if kind is not other_kind and one.shape == two.shape and torch.equal(one, two):
            yield name, other


def overwritten(module: nn.Module) -> Iterator[tuple[str, str, int]]:
    """What the constructor makes one, `self.head.weight = self.table.weight`, and is two at its end; and the line."""
    node = source.function_node(vars(type(module)).get("__init__"))
    for part in node.body if node is not None else ():  # not under a condition
        if any(isinstance(inner, ast.Return) for inner in ast.walk(part)):
            return  # what follows need not run
        if isinstance(part, ast.Assign) and isinstance(part.value, ast.Attribute):
            one, other = (ast.unparse(side).partition("self.")[2] for side in (part.value, part.targets[0]))
            with contextlib.suppress(AttributeError):
                kept, given = module.get_parameter(one), module.get_parameter(other)
                if kept is not given and kept.shape == given.shape and "." in other:
                    yield one, other, part.lineno
