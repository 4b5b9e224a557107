"""A saved and loaded module must give the same output.

## Why it matters
What `state_dict()` does not carry is lost with the process: the checkpoint of a week's training then
answers differently from the model that was saved.

## How it is tested
After one call in train mode and a small step of every parameter, the state is saved and loaded into a fresh
module built under another seed; the eval outputs must agree. A module that was passed as an object cannot
be built anew: a copy of it with scrambled state is loaded instead. What the two hold otherwise is named; what one more
call puts right, as the end of a stream, is not lost. Then both
are called once in train mode: where they answer or change otherwise, and no longer do once the flags and numbers
that forward has set are handed on too, that is a warning.

## How to fix it
Register what was drawn or learned: `register_buffer("table", t)`; a flag that forward sets, too:
`register_buffer("initialized", torch.tensor(False))`. What follows from a parameter is computed in forward, not
in `__init__`.

## How to reproduce it
    before, saved = (module.eval(), run())[1], module.state_dict()
    torch.manual_seed(1)
    module = build().eval()
    module.load_state_dict(saved)
    assert torch.allclose(before, run()), "what was loaded answers differently"
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import closeness, contents, resumption, source
from layersmith.probe.wording import listed
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

OTHER_SEED = 1729
FIRST = (
    "forward-raises unregistered-parameter unregistered-module parameter-not-a-leaf unregistered-buffer "
    "transient-state-saved parameter-made-in-forward mode-not-propagated"
)


@rule(
    severity=Severity.ERROR,
    since="0.1",
    promise=Promise.STATE_ROUND_TRIP,
    after=tuple(FIRST.split()),
)
def state_dict_loss(case: Case) -> Iterator[Finding]:
    """Train a little, save, load into another, compare."""
    _train_a_little(case)
    if closeness.gaps(before := case.run(), case.run()):
        raise NotApplicable("its output changes from call to call")
    try:
        saved = _saved(case.module)
        again = _loaded(case, saved).eval()
        after = _run(case, again)
    except Exception as error:  # noqa: BLE001 - that it fails is the finding
        if contents.is_importable(case.module):
            said = f"state_dict fails: {type(error).__name__}: {' '.join(str(error).split()):.200}"
            fix = "let a fresh module load what this one saves"
            yield Finding(said, "", *source.class_line(type(case.module)), fix)
        return
    for gap in closeness.gaps(before, after)[:1]:
        if not closeness.gaps(before, _run(case, again)):
            raise NotApplicable("its output depends on the call before, and on nothing else that is lost")
        yield _differs(case.module, [*contents.differing(case.module, again)], gap)
        return
    anew = partial(_loaded, case, saved)
    if found := resumption.forgotten(case.module, case.fresh().module, anew, partial(_run, case)):
        yield _begins_again(found)


def _run(case: Case, module: nn.Module) -> Any:
    return Case(case.subject, module, case.inputs, case.seed).run()


def _train_a_little(case: Case) -> None:
    """One call in train mode and a step, so that neither statistics nor weights are at their first value."""
    case.module.train()
    try:
        case.run()
    except Exception:  # noqa: BLE001 - train mode may ask for more than the example has
        case.module.load_state_dict(case.fresh().module.state_dict())
    case.module.eval()
    with torch.no_grad():
        for parameter in case.module.parameters():
            if parameter.requires_grad and parameter.is_floating_point():
                parameter.mul_(1 + closeness.NUDGE)


def _saved(module: nn.Module) -> bytes:
    torch.save(module.state_dict(), file := io.BytesIO())
    return file.getvalue()


def _loaded(case: Case, saved: bytes) -> nn.Module:
    other = case.subject.unbegun(seed=OTHER_SEED)
    if not case.subject.is_seeded:
        contents.scramble(other)
    other.load_state_dict(torch.load(io.BytesIO(saved), weights_only=True))
    return other


def _begins_again(found: resumption.Forgotten) -> Finding:
    first = found.numbers[0]
    return Finding(
        f"after state_dict the next call in train mode gives another {found.what}, by {found.gap.max_abs:.2g}: "
        f"forward goes by {listed([one.path for one in found.numbers])}, which is not saved",
        first.path,
        *source.attribute_line(first.owner, first.attribute),
        fix=f'let it be a buffer: self.register_buffer("{first.attribute}", torch.tensor(...))',
        numbers={"max_abs": found.gap.max_abs, "limit": found.gap.limit},
        severity=Severity.WARNING,
    )


def _differs(module: nn.Module, lost: list[contents.Held], gap: closeness.Gap) -> Finding:
    own = next((name for name in ("state_dict", "load_state_dict") if name in vars(type(module))), "")
    node = source.function_node(getattr(type(module), own)) if own else None
    place = (
        source.attribute_line(lost[0].owner, lost[0].attribute) if lost else source.class_line(type(module))
    )
    names = f"its own {own}()" if own else ", ".join(one.path for one in lost[:3]) or "non-persistent buffers"
    return Finding(
        f"after state_dict {gap.where} differs {gap.extent}; look at {names}",
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


@state_dict_loss.bad("look at its own state_dict()")
class SavesHalf(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x).relu())

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        full = super().state_dict(*args, **kwargs)
        return {name: value for name, value in full.items() if name.startswith("first")}

    def load_state_dict(self, state: Any, strict: bool = True, assign: bool = False) -> Any:
        return super().load_state_dict(state, strict=False, assign=assign)


@state_dict_loss.bad("forward goes by ready, which is not saved")
class CodesOfTheFirstBatch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.codes = nn.Parameter(torch.ones(3, 6))
        self.ready, self.calls = False, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.training and not self.ready:
            self.codes.data.copy_(x[:3])
            self.ready = True
        return torch.cdist(x, self.codes)


@state_dict_loss.good
class CodesAndAFlagThatIsSaved(nn.Module):
    codes: Tensor
    ready: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("codes", torch.ones(3, 6))
        self.register_buffer("ready", torch.zeros((), dtype=torch.bool))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.codes.copy_(torch.where(self.ready, self.codes, x[:3].detach()))
            self.ready.fill_(1)
        return torch.cdist(x, self.codes)


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
