"""The compiled module must give the values and the gradients of the module as it is.

## Why it matters
A module that answers otherwise once compiled trains another model than the one that was tested, and nothing is
raised. It is code that asks whether it is being compiled, that writes to `.data` behind autograd's back, or that
has effects in Python which happen while it is traced and not when it runs.

## How it is tested
Outputs and gradients (of a random sum of the outputs, for all parameters and inputs) of the captured graph, run with
the same kernels, against those without compiler, in eval mode. A graph that writes to tensors behind autograd's back, or
that holds functions other than torch's, is run as `torch.compile(backend="aot_eager")` rewrites it. Modules that draw
random numbers there are not asked.

## How to fix it
No branch on `torch.compiler.is_compiling()` that changes values; `detach()` and new tensors instead of `.data`; no
effect outside of tensors that a later line depends on.

## How to reproduce it
    module.eval()
    eager = run()
    module.compile(backend="eager")
    assert torch.allclose(eager, run(), rtol=1e-3, atol=1e-5), "the compiled module answers differently"
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.observations import captures
from layersmith.probe import reading
from layersmith.probe.closeness import Gap
from layersmith.probe.compiler import captured, compiler, is_torchs
from layersmith.probe.passes import Pass, apart, there_and_back
from layersmith.probe.randomness import Draws
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

AOT = "aot_eager_default_partitioner"  # aot_eager proper would import inductor, for two seconds, to no other answer
SUSPECTS = r"is_compiling|is_dynamo_compiling|is_exporting|\.data\b|\bglobal\b|\bid\(|\btime\.|_version"


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.COMPILES, after=("forward-raises", "graph-break"))
def compile_differs(case: Case) -> Iterator[Finding]:
    """The same pass with and without compiler; where the graph is torch's functions only, it is run as it is."""
    found = case.once(captures)
    gap = found.gap if found.has_gradients and found.is_plain else _gap_of_whole_stack(case)
    if gap is None:
        return
    other = case.fresh()
    with Draws() as draws:
        other.run()
    if draws.seen or apart(_passed(case), _passed(case.fresh())) is not None:
        raise NotApplicable("two passes of two equal modules may differ")
    file, line = reading.line_with(case.module, SUSPECTS)
    yield Finding(
        f"compiled, {gap.where} differs {gap.extent}",
        gap.where,
        file,
        line,
        fix="no branch on is_compiling(), no .data, no effect outside of tensors",
        numbers={"max_abs": gap.max_abs, "limit": gap.limit},
        severity=Severity.NOTE if is_torchs(file) else None,  # torch compiles MultiLabelMarginLoss wrongly
    )


def _gap_of_whole_stack(case: Case) -> Gap | None:
    """As compiled through autograd's own tracer, too, which rewrites what writes to tensors."""
    plain = _passed(case.fresh())
    try:
        compiled = _passed(case.fresh(), is_compiled=True)
    except Exception as error:
        raise NotApplicable(f"its backward is not compiled: {type(error).__name__}") from error
    return apart(plain, compiled)


def _passed(case: Case, *, is_compiled: bool = False) -> Pass:
    if not is_compiled:
        return there_and_back(case.module, case.inputs, seed=case.seed)
    with compiler():
        call = captured(case.module, AOT)
        return there_and_back(case.module, case.inputs, seed=case.seed, call=call)


@compile_differs.bad("compiled, output differs")
class FasterWhenCompiled(nn.Module):
    """The shortcut forgets the activation."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        if torch.compiler.is_compiling():
            return self.linear(x)
        return self.linear(x).relu()


@compile_differs.bad("compiled, the gradient of weight differs")
class LearnsLessWhenCompiled(nn.Module):
    """The branch that was written for the compiler keeps the gate's gradient back."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(6))

    def forward(self, x: Tensor) -> Tensor:
        gate = self.weight.sigmoid()
        if torch.compiler.is_compiling():
            gate = gate.detach()
        return x * self.weight * gate


@compile_differs.good
class FusedWhenCompiled(nn.Module):
    """The same values by another way."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        if torch.compiler.is_compiling():
            return nn.functional.relu(x @ self.linear.weight.T + self.linear.bias)
        return self.linear(x).relu()
