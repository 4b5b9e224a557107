"""Layers and parameters must be made in the constructor, not in forward.

## Why it matters
`nn.Linear(a, b)(x)` in forward draws new weights at every call: nothing is ever learned. A parameter
that forward adds at its first call comes after the optimizer was made, which does not know it.

## How it is tested
The module is called in train mode. An `nn.Parameter` that the output depends on and that neither the module nor any
attribute held before the call was made by it. Lazy modules of torch, whose parameters exist and take their shape at the
first call, are no such case.

## How to fix it
Make the layer in `__init__`, as an attribute; where its size is not known there, use `nn.LazyLinear` and the like.

## How to reproduce it
    known, made = {id(p) for p in module.parameters()}, []
    init = nn.Parameter.__new__
    nn.Parameter.__new__ = lambda cls, *a, **k: made.append(a) or init(cls, *a, **k)
    try:
        run()
    finally:
        nn.Parameter.__new__ = init
    assert not made, f"forward makes {len(made)} new parameters at every call"
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import leaves, reading, source, untracked
from layersmith.probe.modes import in_mode
from layersmith.probe.registration import hidden
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.REGISTERED)
def parameter_made_in_forward(case: Case) -> Iterator[Finding]:
    """Compare what the output depends on with what there was before."""
    module = in_mode(case.module, training=True)
    concealed = [tensor for one in hidden(module) for tensor in untracked.trainable(one.value)]
    before = dict(module.named_parameters())
    known = {id(parameter) for parameter in before.values()} | leaves.leaves_behind(concealed).keys()
    known |= {id(parameter) for given in case.inputs.modules() for parameter in given.parameters()}
    reached = leaves.leaves_behind(leaves.tensors_within(case.run())).values()
    after = dict(module.named_parameters())
    added = [name for name in after if name not in before]
    if added:
        yield _adds(module, added, after)
    known |= {id(parameter) for parameter in after.values()}
    made = [leaf for leaf in reached if isinstance(leaf, nn.Parameter) and id(leaf) not in known]
    if made:
        yield _makes(module, made)


def _makes(module: nn.Module, made: Sequence[Tensor]) -> Finding:
    file, line = reading.construction_line(module)
    count = sum(tensor.numel() for tensor in made)
    return Finding(
        f"forward makes {len(made)} new nn.Parameter at every call: {count} trainable numbers, drawn anew each time",
        file=file,
        line=line,
        fix="make the layer or parameter in __init__, as an attribute",
        numbers={"trainable_numbers": count},
    )


def _adds(module: nn.Module, added: list[str], after: dict[str, nn.Parameter]) -> Finding:
    file, line = source.parameter_line(module, added[0])
    count = sum(after[name].numel() for name in added)
    return Finding(
        f"the first call adds {added[0]}: {count} trainable numbers that no optimizer made before knows of",
        where=added[0],
        file=file,
        line=line,
        fix="make it in __init__, or use nn.UninitializedParameter and the lazy modules of torch",
        numbers={"trainable_numbers": count},
        severity=Severity.WARNING,
    )


@parameter_made_in_forward.bad("forward makes 2 new nn.Parameter")
class LayerMadeInForward(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.Linear(6, 6)(x)


@parameter_made_in_forward.bad("the first call adds projection.weight")
class MakesItAtFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.projection: nn.Linear | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.projection is None:
            self.projection = nn.Linear(x.shape[-1], 6)
        return self.projection(x)


@parameter_made_in_forward.good
class MakesItAhead(nn.Module):
    """A layer without parameters may be made anywhere; a lazy one is known from the start."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.LazyLinear(6)

    def forward(self, x: Tensor) -> Tensor:
        return nn.ReLU()(self.linear(x))
