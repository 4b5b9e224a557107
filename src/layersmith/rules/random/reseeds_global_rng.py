"""Nobody but the caller may seed the global random generators.

## Why it matters
`torch.manual_seed(0)` in a constructor or in forward makes everything random that comes after it the same again and
again: the same dropout masks at every step, the same weights in two modules that should differ, the same
augmentation. The user's own seed no longer means anything.

## How it is tested
Where its file speaks of seeds, the module is built, and called in train and in eval mode, from two different states
of torch's, Python's and NumPy's generators. If one of them stands at the same place afterwards, it was seeded. What
restores it (`torch.random.fork_rng`) passes. A seed at the top level of a file that otherwise only defines is a note.

## How to fix it
Take a `torch.Generator` as an argument, or draw in a `with torch.random.fork_rng():` block; seed in the script that
trains.

## How to reproduce it
    ends = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        build().train()(*args, **kwargs)
        ends.append(torch.get_rng_state())
    assert not torch.equal(*ends), "its caller's seed does not matter"
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import reading, source
from layersmith.probe.generators import reseeded
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case

SEEDS = r"manual_seed\w*\(|\bset_rng_state\(|(?<!def )\b\w*seed\w*\("
SEEDING = r"(?i)seed|set_rng_state|reproducib|determin"
FUNCTIONS = {"torch": "torch.manual_seed", "random": "random.seed", "numpy": "numpy.random.seed"}


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.OWN_RANDOMNESS)
def reseeds_global_rng(case: Case) -> Iterator[Finding]:
    """Ask of the constructor, then of both modes of forward, then read the file."""
    if not reading.mentions(case.module, SEEDING):
        return
    found = reseeded(case.subject.anew)
    if found:
        yield _finding(case.module, min(found), "building it")
        return
    for training in (True, False):
        fresh = case.fresh(training=training)
        found = reseeded(functools.partial(_called, fresh))
        if found:
            mode = "train" if training else "eval"
            yield _finding(case.module, min(found), f"calling it in {mode} mode")
            return
    yield from _at_import(type(case.module))


def _called(case: Case) -> None:
    try:
        case.inputs.call(case.module)
    except Exception:  # noqa: BLE001 - train mode may ask for more than the example has
        return


def _finding(module: nn.Module, generator: str, act: str) -> Finding:
    file, line = reading.line_matching(module, SEEDS)
    return Finding(
        f"{act} seeds the global generator of {generator} ({FUNCTIONS[generator]}): "
        "the caller's seed no longer matters, and all that is drawn afterwards repeats",
        file=file,
        line=line,
        fix="draw from a torch.Generator of its own, or inside `with torch.random.fork_rng():`",
    )


def _at_import(cls: type) -> Iterator[Finding]:
    """A call that seeds among nothing but imports, definitions and constants; told for the file's first module."""
    file, node = source.file_of(cls), source.class_node(cls)
    body = source.tree_of(file).body if node is not None and "layersmith" not in file else []
    modules = [one for one in body if isinstance(one, ast.ClassDef) and "forward" in ast.unparse(one)]
    seeds = [one for one in body if isinstance(one, ast.Expr) and _is_seeding(one.value)]
    rest = [one for one in body if one not in seeds and not _defines(one)]
    if seeds and not rest and modules[:1] == [node]:
        yield Finding(
            f"importing this file seeds a global generator: {ast.unparse(seeds[0])}",
            file=file,
            line=seeds[0].lineno,
            fix="seed in the script that trains, or under `if __name__ == '__main__':`",
            severity=Severity.NOTE,
        )


def _is_seeding(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("manual_seed", "random.seed"))


def _defines(node: ast.stmt) -> bool:
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    kinds = (ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef, ast.Assign, ast.AnnAssign)
    return isinstance(node, kinds)


@reseeds_global_rng.bad("building it seeds the global generator of torch")
class SeedsWhenBuilt(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


@reseeds_global_rng.bad("calling it in train mode seeds the global generator of torch")
class SeedsItsMask(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            torch.manual_seed(42)
            x = x * (torch.rand_like(x) > 0.1)  # noqa: PLR2004 - a share
        return x


@reseeds_global_rng.good
class DrawsFromItsOwn(nn.Module):
    """A fixed projection needs no global seed."""

    projection: Tensor

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("projection", torch.randn(6, 6, generator=generator) / 6**0.5)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.projection


@reseeds_global_rng.good
class PutsItBack(nn.Module):
    projection: Tensor

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.register_buffer("projection", torch.randn(6, 6) / 6**0.5)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.projection
