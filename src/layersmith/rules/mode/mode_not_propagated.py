"""`train()` and `eval()` must reach every submodule, and return the module.

## Why it matters
A dropout that never hears of `eval()` goes on dropping in production; a batch norm that never hears of it goes on
learning from test data. `model = model.eval()` is None where an override forgets to return.

## How it is tested
`eval()` is called: every submodule must have `training` False, also those in plain lists, where `nn.Module` does not see
them. Then `train()`: the module itself must have it True. Submodules that an override keeps in eval mode (a frozen
backbone) pass. Both must return the module.

## How to fix it
`def train(self, mode=True): super().train(mode); ...; return self`, and `nn.ModuleList` instead of a list.

## How to reproduce it
    for mode in (True, False):
        module.train(mode)
        stay = [name for name, part in module.named_modules() if part.training != mode]
        assert not where or not stay, f"{stay} do not follow train({mode})"
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import source
from layersmith.probe.registration import hidden
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

_DIFFERING = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)  # noqa: SLF001 - their common bases
MEANT = re.compile(r"(?:^|_)mc(?=_|$)|MC|(?i:monte|bayes|sampl|uncertain|always)")


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.OBEYS_MODES)
def mode_not_propagated(case: Case) -> Iterator[Finding]:
    """Switch it both ways and look at every submodule."""
    module = case.module
    try:
        asleep = module.eval()
        awake = [path for path, part in module.named_modules() if part.training]
        deaf = [one for one in hidden(module) if isinstance(one.value, nn.Module) and _hears_not(one.value)]
        deaf = [one for one in deaf if _is_called(case, one.value)]
        woken = module.train()
    except TypeError as error:
        raise NotApplicable(f"train() takes other arguments: {error}") from error
    if awake:
        yield _awake(module, awake)
    elif deaf:
        place = source.attribute_line(deaf[0].owner_class, deaf[0].attribute)
        message = f"{deaf[0].path} stays in train mode after eval(): nn.Module does not know of it"
        yield Finding(message, deaf[0].path, *place, fix="use nn.ModuleList or nn.ModuleDict")
    if not module.training and any(parameter.requires_grad for parameter in module.parameters()):
        message = "train() leaves the module in eval mode"
        yield Finding(message, "", *_line(module), fix="call super().train(mode)")
    for name, returned in (("eval", asleep), ("train", woken)):
        if returned is not module:
            message = f"{name}() returns {type(returned).__name__}, not the module: `model = model.{name}()` loses it"
            yield Finding(message, "", *_line(module), fix="end the override with `return self`")
            return


def _awake(module: nn.Module, paths: list[str]) -> Finding:
    paths = sorted(paths, key=lambda path: not isinstance(module.get_submodule(path), _DIFFERING))
    part = module.get_submodule(paths[0])
    is_meant = any(MEANT.search(type(one).__name__) for one in (module, part))
    names = ", ".join(path or type(module).__name__ for path in paths[:3])
    return Finding(
        f"{names} {'stays' if len(paths) == 1 else 'stay'} in train mode after eval()",
        paths[0],
        *_line(module),
        fix="call super().train(mode), or super().eval(), in the override",
        severity=Severity.NOTE if is_meant else None,
    )


def _hears_not(part: nn.Module) -> bool:
    """Whether a hidden module would behave otherwise in eval mode."""
    return part.training and any(isinstance(one, _DIFFERING) for one in nn.Module.modules(part))


def _is_called(case: Case, part: nn.Module | Tensor) -> bool:
    """Whether forward calls it: of a table of backbones all but one are thrown away."""
    calls: list[object] = []
    parts = nn.Module.modules(part) if isinstance(part, nn.Module) else ()
    hooks = [one.register_forward_pre_hook(lambda *_: calls.append(None)) for one in parts]
    try:
        case.run()
    except Exception:  # noqa: BLE001 - then nothing says that it is not
        return True
    finally:
        for hook in hooks:
            hook.remove()
    return bool(calls)


def _line(module: nn.Module) -> tuple[str, int]:
    """Where the first class of the tree overrides `train` or `eval`; the module's class otherwise."""
    for part in nn.Module.modules(module):
        for name in ("train", "eval"):
            method = getattr(type(part), name)
            node = source.function_node(method) if method is not getattr(nn.Module, name) else None
            if node is not None:
                return method.__code__.co_filename, node.lineno
    return source.class_line(type(module))


@mode_not_propagated.bad("body.1, body, body.0 stay in train mode after eval()")
class FrozenNormClassifier(nn.Module):
    """Keeps its norm in eval mode, and forgets the rest; no name of it says that it samples."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(6).eval()
        self.body = nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5))

    def train(self, mode: bool = True) -> FrozenNormClassifier:
        self.training = mode
        self.norm.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self.norm(x))


@mode_not_propagated.bad("stay in train mode after eval()")
class ForgetsItsChildren(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5))

    def eval(self) -> ForgetsItsChildren:
        self.training = False
        return self

    def train(self, mode: bool = True) -> ForgetsItsChildren:
        self.training = mode
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


@mode_not_propagated.bad("returns NoneType")
class ReturnsNothing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(6)

    def train(self, mode: bool = True) -> None:  # type: ignore[override]
        super().train(mode)
        self.norm.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x)


@mode_not_propagated.bad("drops[0] stays in train mode")
class DropsFromAList(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.drops = [nn.Dropout(0.2), nn.Dropout(0.5)]

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.linear(drop(x)) for drop in self.drops]).mean(0)


@mode_not_propagated.good
class ChoosesItsBody(nn.Module):
    """The other of the table is thrown away."""

    def __init__(self) -> None:
        super().__init__()
        self.table = {name: nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5)) for name in ("one", "other")}
        self.body = self.table["one"]

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


@mode_not_propagated.good
class KeepsItsBackboneAsleep(nn.Module):
    """Frozen statistics: what an override keeps in eval mode is meant."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(6)
        self.head = nn.Linear(6, 2)

    def train(self, mode: bool = True) -> KeepsItsBackboneAsleep:
        super().train(mode)
        self.norm.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(x))
