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

## How to reproduce it
    import copy, pickle
    copy.deepcopy(module)
    pickle.loads(pickle.dumps(module))
    before, saved = (module.eval(), run())[1], module.state_dict()
    torch.manual_seed(1)
    module = build().eval()
    module.load_state_dict(saved)
    assert torch.allclose(before, run()), "what was loaded answers differently"
"""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import closeness, contents, source
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

OTHER_SEED = 1729
BY_DESIGN = ("parametrized modules", "graph leaves")  # torch refuses parametrizations and weight_norm
FIRST = "forward-raises unregistered-parameter unregistered-module parameter-not-a-leaf unregistered-buffer"


@rule(
    severity=Severity.ERROR,
    since="0.1",
    promise=Promise.STATE_ROUND_TRIP,
    after=tuple(FIRST.split()),
)
def state_dict_loss(case: Case) -> Iterator[Finding]:
    """Save and load, deepcopy, else pickle: three ways to the same output."""
    _train_a_little(case)
    if closeness.gaps(before := case.run(), case.run()):
        raise NotApplicable("its output changes from call to call")
    yield from _lost(case, before, "state_dict", _loaded)
    copied = [*_lost(case, before, "copy.deepcopy", lambda case: copy.deepcopy(case.module))]
    yield from copied or _lost(case, before, "pickle", lambda case: pickle.loads(pickle.dumps(case.module)))  # noqa: S301


def _train_a_little(case: Case) -> None:
    """One call in train mode, so that running statistics are no longer at their first value."""
    case.module.train()
    try:
        case.run()
    except Exception:  # noqa: BLE001 - train mode may ask for more than the example has
        case.module.load_state_dict(case.fresh().module.state_dict())
    case.module.eval()


def _loaded(case: Case) -> nn.Module:
    torch.save(case.module.state_dict(), file := io.BytesIO())
    file.seek(0)
    other = case.fresh(seed=OTHER_SEED).module
    if not case.subject.is_seeded:
        contents.scramble(other)
    other.load_state_dict(torch.load(file, weights_only=True))
    return other


def _lost(case: Case, before: object, way: str, make: Callable[[Case], nn.Module]) -> Iterator[Finding]:
    try:
        again = make(case).eval()
        after = Case(case.subject, again, case.inputs, case.seed).run()
    except Exception as error:  # noqa: BLE001 - that the way fails is the finding
        text = " ".join(str(error).split())
        if not any(reason in text for reason in BY_DESIGN) and contents.is_importable(case.module):
            yield _fails(case.module, way, f"{type(error).__name__}: {text:.200}")
        return
    for gap in closeness.gaps(before, after)[:1]:
        yield _differs(case.module, [*contents.differing(case.module, again)], gap, way)


def _fails(module: nn.Module, way: str, text: str) -> Finding:
    held = contents.uncopied(module)
    file, line = (
        source.attribute_line(held.owner, held.attribute) if held else source.class_line(type(module))
    )
    return Finding(
        f"{way} fails{f' at {held.path}' if held else ''}: {text}",
        where=held.path if held else "",
        file=file,
        line=line,
        fix="keep only what can be copied and saved in attributes: no lambdas, locks, files or generators",
        severity=None if way == "state_dict" else Severity.WARNING,
    )


def _differs(module: nn.Module, lost: list[contents.Held], gap: closeness.Gap, way: str) -> Finding:
    own = next((name for name in ("state_dict", "load_state_dict") if name in vars(type(module))), "")
    node = source.function_node(getattr(type(module), own)) if own else None
    place = (
        source.attribute_line(lost[0].owner, lost[0].attribute) if lost else source.class_line(type(module))
    )
    names = f"its own {own}()" if own else ", ".join(one.path for one in lost[:3]) or "non-persistent buffers"
    return Finding(
        f"after {way} {gap.where} differs by {gap.max_abs:.2g}, limit {gap.limit:.2g}; look at {names}",
        where=lost[0].path if lost else gap.where,
        file=place[0],
        line=node.lineno if node else place[1],
        fix=f"let {own}() keep all of it"
        if own
        else 'what must be kept: self.register_buffer("name", tensor)',
        numbers={"max_abs": gap.max_abs, "limit": gap.limit},
        severity=Severity.NOTE if lost and all(contents.is_frozen(one.value) for one in lost) else None,
    )


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
