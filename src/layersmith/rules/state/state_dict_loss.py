"""A saved and loaded module, and a copied one, must give the same output.

## Why it matters
What `state_dict()` does not carry is lost with the process: the checkpoint of a week's training then answers
differently from the model that was saved. deepcopy (for averaging) and pickle (for workers) have their own traps.

## How it is tested
After one call in train mode, the state is saved and loaded into a fresh module built under another seed; the
eval outputs must agree. Then the same with `copy.deepcopy` and `pickle`. A module that was passed as an
object cannot be built anew: a copy of it with scrambled state is loaded instead.

## How to fix it
Register what was drawn or learned: `register_buffer("table", t)`. For pickle, replace lambdas and local
functions in attributes by methods or module-level functions.
"""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import closeness, source
from layersmith.probe.registration import hidden
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

OTHER_SEED = 1729
BY_DESIGN = ("parametrized modules", "graph leaves")  # torch refuses parametrizations and weight_norm


@rule(
    severity=Severity.ERROR,
    since="0.1",
    promise=Promise.STATE_ROUND_TRIP,
    after=("forward-raises", "unregistered-parameter", "unregistered-buffer"),
)
def state_dict_loss(case: Case) -> Iterator[Finding]:
    """Save and load, deepcopy, pickle: three ways to the same output."""
    _train_a_little(case)
    before = case.run()
    if closeness.gaps(before, case.run()):
        raise NotApplicable("its output changes from call to call")
    yield from _lost(case, before, "state_dict", _loaded)
    yield from _lost(case, before, "copy.deepcopy", lambda case: copy.deepcopy(case.module))
    yield from _lost(case, before, "pickle", lambda case: pickle.loads(pickle.dumps(case.module)))  # noqa: S301


def _train_a_little(case: Case) -> None:
    """One call in train mode, so that running statistics are no longer at their first value."""
    case.module.train()
    try:
        case.run()
    except Exception:  # noqa: BLE001 - train mode may ask for more than the example has
        case.module.load_state_dict(case.fresh().module.state_dict())
    case.module.eval()


def _loaded(case: Case) -> nn.Module:
    file = io.BytesIO()
    torch.save(case.module.state_dict(), file)
    file.seek(0)
    other = case.fresh(seed=OTHER_SEED).module
    if not case.subject.is_seeded:
        _scramble(other)
    other.load_state_dict(torch.load(file, weights_only=True))
    return other


def _scramble(module: nn.Module) -> None:
    for tensor in module.state_dict().values():  # detached: writing to them needs no no_grad
        if isinstance(tensor, Tensor) and tensor.is_floating_point():
            tensor.uniform_(0.1, 0.9)


def _lost(case: Case, before: object, way: str, make: Callable[[Case], nn.Module]) -> Iterator[Finding]:
    try:
        again = make(case)
        again.eval()
        after = Case(case.subject, again, case.inputs, case.seed).run()
    except Exception as error:  # noqa: BLE001 - that the way fails is the finding
        text = " ".join(str(error).split())
        if any(reason in text for reason in BY_DESIGN) or _is_unreachable(case.module):
            return
        yield Finding(
            f"{way} fails: {type(error).__name__}: {text:.200}",
            "",
            *source.class_line(type(case.module)),
            fix="keep only what can be copied and saved in attributes: no lambdas, locks, files or generators",
            severity=None if way == "state_dict" else Severity.WARNING,
        )
        return
    for gap in closeness.gaps(before, after)[:1]:
        yield _differs(case, gap, way)


def _differs(case: Case, gap: closeness.Gap, way: str) -> Finding:
    suspects = [one for one in hidden(case.module) if isinstance(one.value, Tensor)]
    places = [source.attribute_line(one.owner_class, one.attribute) for one in suspects]
    names = ", ".join(one.path for one in suspects[:3]) or "non-persistent buffers and plain attributes"
    return Finding(
        f"after {way} {gap.where} differs by {gap.max_abs:.2g}, limit {gap.limit:.2g}; look at {names}",
        suspects[0].path if suspects else gap.where,
        *[*places, source.class_line(type(case.module))][0],
        fix='register what must be kept: self.register_buffer("name", tensor)',
        numbers={"max_abs": gap.max_abs, "limit": gap.limit},
    )


def _is_unreachable(module: nn.Module) -> bool:
    """Whether pickle cannot find a class by name, which is where it was defined and not what it does."""
    classes = {type(part) for part in module.modules()}
    return any("<locals>" in cls.__qualname__ or cls.__module__ == "__main__" for cls in classes)


@state_dict_loss.bad("after state_dict output differs")
class RandomTableNotSaved(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.randn(6), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.get_buffer("table")


@state_dict_loss.bad("pickle fails")
class KeepsALambda(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.activation = lambda x: x.relu()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(x)


@state_dict_loss.good
class RandomTableSaved(nn.Module):
    table: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.randn(6))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.table


@state_dict_loss.good
class ConstantNotSaved(nn.Module):
    table: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.arange(6.0), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.table
