"""Every submodule must be called by some call of the module.

## Why it matters
`self.act = nn.GELU()` that forward never calls is a step of the model that is missing. Mostly it is a slip of the
clipboard: `norm1` called twice, `norm2` never.

## How it is tested
The module is called in train and in eval mode, with other seeds and inputs. A submodule that no call reached, and that
no method but `__init__` names, is reported. Those with trainable parameters are the business of `unused-parameter`; an
identity counts where an option makes a layer of it; losses, dropouts, members of containers, and what other code of the
file or the constructor itself reads are left out. Of a class that cannot be called, the source is read: an attribute that
is only started, while one made like it is called twice.

## How to fix it
Call it in forward, or delete it.

## How to reproduce it
    called = set()
    for name, part in module.named_modules():
        part.register_forward_pre_hook(lambda *_, name=name: called.add(name))
    run()
    assert where in called, f"{where} is never called"
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import calls, parameters, source, twins
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case

CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.Sequential)
LEFT_OUT = (nn.Identity, nn.modules.dropout._DropoutNd, nn.modules.loss._Loss)  # noqa: SLF001 - no public base
RUNS = 4


@rule(
    severity=Severity.WARNING,
    since="0.1",
    promise=Promise.REGISTERED,
    after=("forward-raises", "unused-parameter"),
)
def uncalled_module(case: Case) -> Iterator[Finding]:
    """Count calls over a few runs; ask of those that had none."""
    suspects = {
        path: part for path, part in case.module.named_modules() if _is_suspect(case.module, path, part)
    }
    if not suspects:
        return
    counts: Counter[str] = Counter()
    for run in range(RUNS):
        fresh = case.fresh(seed=case.seed + run // 2, training=run % 2 == 0)
        with calls.traced(fresh.module) as trace, torch.no_grad():
            try:
                fresh.run()
            except Exception:  # noqa: BLE001, S112 - train mode may ask for more than the example has
                continue
        counts.update(trace.times_called)
    parts = dict(case.module.named_modules())
    seen = set()
    for path in suspects:
        holder, attribute = source.owner(case.module, path)
        is_called = any(counts[name] for name in counts if f"{name}.".startswith(f"{path}."))
        if not is_called and (type(holder), attribute) not in seen:
            seen.add((type(holder), attribute))
            yield _finding(case.module, path, _twin(parts, counts, path))


@uncalled_module.by_source
def forgotten(cls: type) -> Iterator[Finding]:
    """What the source shows of a class that was not called: a twin that is called twice in another's place."""
    for one in twins.never_called(cls):
        yield Finding(
            f"{one.name} is never called, {one.twin}, made like it, twice",
            where=one.name,
            file=one.file,
            line=one.line,
            fix=f"call self.{one.name}, or delete it",
        )


def _is_suspect(root: nn.Module, path: str, part: nn.Module) -> bool:
    holder, attribute = source.owner(root, path)
    if path and type(part) is nn.Identity and not isinstance(holder, CONTAINERS):
        return _is_forgotten_option(type(holder), attribute)
    if not path or isinstance(part, LEFT_OUT) or any(p.requires_grad for p in part.parameters()):
        return False
    if isinstance(holder, CONTAINERS) or source.is_torchs(type(holder).__module__):
        return False
    cls: type = type(holder)
    if parameters.is_read(cls, attribute) or source.is_read_when_built(cls, attribute):
        return False
    return bool(source.attribute_line(cls, attribute)[1])


def _is_forgotten_option(cls: type, attribute: str) -> bool:
    """Whether it is a layer only where an option says so, and nothing in the class or its file ever names it."""
    node = source.function_node(getattr(cls, "__init__", None))
    choices = [
        part
        for part in (ast.walk(node) if node is not None else ())
        if isinstance(part, ast.Assign) and isinstance(part.value, ast.IfExp)
        if any(getattr(target, "attr", "") == attribute for target in part.targets)
    ]
    is_read = source.methods_using(cls, attribute) or source.is_read_when_built(cls, attribute)
    return bool(choices) and not is_read and not parameters.is_read_in_file(cls, attribute)


def _twin(parts: dict[str, nn.Module], counts: Counter[str], path: str) -> str:
    """A sibling of the same class that is called more than once a run."""
    parent = path.rpartition(".")[0]
    siblings = [other for other in parts if other != path and other.rpartition(".")[0] == parent and other]
    same = [other for other in siblings if type(parts[other]) is type(parts[path])]
    return next((other for other in same if counts[other] > RUNS), "")


def _finding(root: nn.Module, path: str, twin: str) -> Finding:
    holder, attribute = source.owner(root, path)
    file, line = source.attribute_line(type(holder), attribute)
    part = root.get_submodule(path)
    if type(part) is nn.Identity:
        said = f"{path}, a layer if an option says so, is never called: the option changes nothing"
        return Finding(said, path, file, line, fix=f"call self.{attribute} in forward, or delete it")
    is_sure = bool(twin) or source.is_torchs(type(part).__module__)
    also = f", while {twin} is called twice" if twin else ""
    return Finding(
        f"{path} ({type(part).__name__}) is never called{also}",
        where=path,
        file=file,
        line=line,
        fix=f"call self.{attribute} in forward" + (f" in place of one {twin}" if twin else ", or delete it"),
        severity=None if is_sure else Severity.NOTE,
    )


@uncalled_module.bad("norm, a layer if an option says so, is never called")
class ForgetsItsNorm(nn.Module):
    def __init__(self, width: int = 6, norm_layer: type[nn.Module] | None = None) -> None:
        super().__init__()
        self.first = nn.Linear(width, width)
        self.norm = norm_layer(width) if norm_layer is not None else nn.Identity()
        self.second = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x).relu())


@uncalled_module.bad("norm2 (BatchNorm1d) is never called, while norm1 is called twice")
class CallsOneNormTwice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.norm1 = nn.BatchNorm1d(6, affine=False)
        self.norm2 = nn.BatchNorm1d(6, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm1(self.linear(self.norm1(x)))


@uncalled_module.bad("act (GELU) is never called")
class ForgetsItsActivation(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(6, 12)
        self.act = nn.GELU()
        self.down = nn.Linear(12, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.up(x))


@uncalled_module.good
class LossForTheTrainer(nn.Module):
    """A loss is for whoever trains; a branch is taken where an argument says so."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.criterion = nn.CrossEntropyLoss()
        self.softmax = nn.Softmax(dim=-1)

    def forward(self, x: Tensor, *, is_probability: bool = False) -> Tensor:
        logits = self.linear(x)
        return self.softmax(logits) if is_probability else logits


@uncalled_module.good
class ChoosesOneOfTwo(nn.Module):
    """The constructor picks what is called, under another name."""

    def __init__(self, *, is_smooth: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.smooth, self.hard = nn.GELU(), nn.ReLU()
        self.chosen = self.smooth if is_smooth else self.hard

    def forward(self, x: Tensor) -> Tensor:
        return self.chosen(self.linear(x))
