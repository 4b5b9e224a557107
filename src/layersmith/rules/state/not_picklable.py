"""A module must survive pickle: `torch.save(model)`, spawned workers and multiprocessing need it.

## Why it matters
It works until the model is sent somewhere: `DistributedDataParallel` by spawn, a Ray actor, a worker on
macOS or Windows. By then the lambda in `__init__` is old.

## How it is tested
`pickle.dumps` and `pickle.loads` of the module, in eval; the loaded one must give the same output. Classes
that pickle cannot find by name (those inside a function) are not asked, nor is what torch refuses by design
(parametrizations, the old weight_norm).

## How to fix it
Replace lambdas and local functions in attributes by methods, `functools.partial` or functions of the module
level; leave out locks, files, generators and handles in `__getstate__`.

## How to reproduce it
    import pickle
    run()
    pickle.loads(pickle.dumps(module))
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import closeness, contents, reading, source
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

BY_DESIGN = ("parametrized modules", "graph leaves", "ScriptModule", "__torch__.")  # torch refuses these


@rule(
    severity=Severity.WARNING,
    since="0.1",
    promise=Promise.STATE_ROUND_TRIP,
    after=("forward-raises", "not-copyable"),
)
def not_picklable(case: Case) -> Iterator[Finding]:
    """There and back."""
    if not contents.is_importable(case.module):
        raise NotApplicable("its class is local to a function")
    before = case.run()
    try:
        again = pickle.loads(pickle.dumps(case.module))  # noqa: S301 - made a moment ago
        after = Case(case.subject, again, case.inputs, case.seed).run()
    except Exception as error:  # noqa: BLE001 - that it fails is the finding
        text = " ".join(str(error).split())
        if not any(reason in text for reason in BY_DESIGN):
            yield _fails(case.module, f"{type(error).__name__}: {text:.200}")
        return
    is_steady = not closeness.gaps(before, case.run())
    for gap in closeness.gaps(before, after)[:1] if is_steady else ():
        yield Finding(
            f"after pickle {gap.where} differs {gap.extent}",
            gap.where,
            *source.class_line(type(case.module)),
            fix="let __getstate__ and __setstate__ keep all of it",
            numbers={"max_abs": gap.max_abs, "limit": gap.limit},
        )


def _fails(module: nn.Module, text: str) -> Finding:
    held = contents.uncopied(module)
    place = source.class_line(type(module))
    if held:
        place = reading.setting_line(held.owner, held.attribute, module, held.path)
    return Finding(
        f"pickle fails{f' at {held.path}' if held else ''}: {text}",
        held.path if held else "",
        *place,
        fix="use a method or a function of the module level; leave out locks, files and generators in __getstate__",
    )


@not_picklable.bad("pickle fails at activation")
class KeepsALambda(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.activation = lambda x: x.relu()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(x)


@not_picklable.bad("pickle fails at steps")
class KeepsALocalFunction(nn.Module):
    def __init__(self) -> None:
        super().__init__()

        def double(x: Tensor) -> Tensor:
            return 2 * x

        self.steps = {"double": double}

    def forward(self, x: Tensor) -> Tensor:
        return self.steps["double"](x)


@not_picklable.good
class KeepsAFunction(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.activation = torch.relu

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(x)
