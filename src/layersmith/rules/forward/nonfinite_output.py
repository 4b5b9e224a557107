"""Finite inputs must give finite outputs, also where they are zero, constant, tiny or large.

## Why it matters
One NaN ends a training run: a padded row of zeros in a norm without eps, a confident logit in an `exp`
without the maximum subtracted. It comes hours after the start and points at nothing.

## How it is tested
Forward is called with rows of zeros, constant rows, one-hot rows, inputs times 1e-4, 3, 10, 100 and 1e4, plus 5000,
and of +-25, within the range that the example shows (a mask, a variance and a probability are left alone). What
is not finite is computed again in float64: an ordinary number there is an error, a NaN at zero or constant rows
a warning (0 / 0), the logarithm of what one signed input gives too, and an overflow that is the true result passes.

## How to fix it
`x / (norm + eps)`, `rsqrt(var + eps)`, `log(x.clamp_min(eps))`; `softmax`, `logsumexp`, `log_softmax`,
`softplus` and `logsigmoid` in the place of formulas with `exp`.

## How to reproduce it
    module.eval()
    for scale in (0, 1e-4, 100):
        assert run(*(x * scale for x in args)).isfinite().all(), f"inputs x {scale} give an output that is not finite"
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import closeness, edges, source, steps, tree
from layersmith.probe.inputs import Inputs
from layersmith.probe.randomness import draws_noise
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

FIXES = {
    "exp expm1 exp2 softmax sinh cosh": "subtract the maximum first, or use softmax, logsumexp, softplus",
    "log log2 log10 log1p": "log(x.clamp_min(eps)), or log_softmax, logsigmoid, xlogy",
    "div truediv rdiv reciprocal rsqrt sqrt norm pow": "add eps to the denominator, or clamp_min(eps)",
}
TORCHS_OWN = "soft_margin_loss"  # overflows in torch itself
BY_OPERATION = {operation: fix for names, fix in FIXES.items() for operation in names.split()}
DOMAINS = (lambda x: x, lambda x: x.abs() + 1.0, torch.sigmoid)  # signed, positive, 0 to 1


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.FINITE)
def nonfinite_output(case: Case) -> Iterator[Finding]:
    """Find inputs of the right domain, then go through the edges; the first failure is the finding."""
    usual = next((one for one in _domains(case) if not _what(case.fresh(), one, has_infinity=False)), None)
    if usual is None:
        if case.subject.inferred_from and steps.leaves_nothing(case.fresh().module, case.inputs):
            raise NotApplicable("of the inputs that inference gave nothing is left on the way")
        step = _start(case, case.inputs, case.inputs)
        yield _finding(case, step, "NaN for the example itself", None)
        return
    has_infinity = any(bool(tensor.isinf().any()) for tensor in _floats(case.run(usual)))
    for edge in edges.edges(case.module, usual):
        if not (what := _what(case, edge.inputs, has_infinity=has_infinity)):
            continue
        severity = _severity(case, edge)
        step = _start(case, usual, edge.inputs) if severity is not None or edge.is_degenerate else None
        severity = severity or (Severity.WARNING if _is_log_of_silence(usual, step) else None)
        if step is not None and step.operation in ("exp", "exp_") and draws_noise(case.fresh().run):
            continue  # the deviation of noise, which is as large as it says
        if severity is not None and (step is None or step.operation != TORCHS_OWN):
            yield _finding(case, step, f"{what} for {edge.name}", severity)
            return


def _domains(case: Case) -> Iterator[Inputs]:
    """The example, then the same values made positive, then between 0 and 1: a logarithm takes no other."""
    if not any(tensor.is_floating_point() for tensor in case.inputs.tensors()):
        raise NotApplicable("no floating input")
    for change in DOMAINS:
        yield case.inputs.map(lambda x, change=change: change(x) if x.is_floating_point() else x)


def _what(case: Case, inputs: Inputs, *, has_infinity: bool) -> str:
    """NaN or inf, if an output is so (an infinity only where the usual output has none); "" also if it refuses."""
    try:
        found = _floats(case.run(inputs))
    except Exception:  # noqa: BLE001 - to refuse such inputs is sound
        return ""
    if any(bool(tensor.isnan().any()) for tensor in found):
        return "NaN"
    is_infinite = not has_infinity and any(bool(tensor.isinf().any()) for tensor in found)
    return "infinite" if is_infinite else ""


def _floats(output: object) -> list[Tensor]:
    return [tensor.detach() for tensor in tree.tensors(output) if tree.is_differentiable(tensor)]


def _severity(case: Case, edge: edges.Edge) -> Severity | None:
    """What float64 says there: a number makes it an error; where there is none, 0 / 0 is a warning; else it passes."""
    try:
        narrow = _floats(case.fresh().run(edge.inputs))
        wide = _floats(case.fresh(dtype=torch.float64).run(edge.inputs.to(torch.float64)))
    except Exception:  # noqa: BLE001 - without float64 there is no judge
        return None
    if any(map(closeness.is_lost, narrow, wide)):
        return Severity.ERROR
    return Severity.WARNING if edge.is_degenerate and any(bool(x.isnan().any()) for x in wide) else None


def _is_log_of_silence(usual: Inputs, step: steps.Step | None) -> bool:
    """Whether it starts at the logarithm of what was computed from one signed input, such as an energy.

    Of two, as a prediction and its target, zeros are the same twice, and the logarithm of their distance has no end.
    """
    floats = [one for one in usual.tensors() if one.is_floating_point()]
    is_signed = len(floats) == 1 and bool((floats[0] < 0).any())
    return is_signed and step is not None and step.operation.rstrip("_") in ("log", "log2", "log10")


def _finding(case: Case, step: steps.Step | None, what: str, severity: Severity | None) -> Finding:
    place = (step.file, step.line) if step is not None else source.class_line(type(case.module))
    begins = f"; it starts at {step.operation}()" if step is not None else ""
    known = ", though float64 has a finite answer" if severity is Severity.ERROR else ""
    return Finding(
        f"an output is {what}{known}{begins}",
        "output",
        *place,
        fix=BY_OPERATION.get(step.operation.rstrip("_") if step is not None else "", "guard it with an eps"),
        severity=severity,
    )


def _start(case: Case, usual: Inputs, inputs: Inputs) -> steps.Step | None:
    """The first operation whose result is not finite where it was with the usual inputs."""

    def note(result: object) -> bool:
        return any(not bool(tensor.isfinite().all()) for tensor in _floats(result))

    before, after = (steps.watched(case.fresh().module, given, note) for given in (usual, inputs))
    apart = [b for a, b in zip(before, after, strict=False) if b.line and b.noted and not a.noted]
    step = next(iter([*apart, *(one for one in after if one.line and one.noted)]), None)
    return step if step is not None and not source.is_machinery(step.file) else None


@nonfinite_output.bad("NaN for inputs x 100, though float64")
class SoftmaxByHand(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        e = x.exp()
        return e / e.sum(-1, keepdim=True)


@nonfinite_output.bad("NaN for all zeros; it starts at")
class NormWithoutEps(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / x.norm(dim=-1, keepdim=True)


@nonfinite_output.bad("infinite for inputs x 10, though float64")
class LogOfSigmoid(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (1 - x.sigmoid()).log()


@nonfinite_output.bad("infinite for inputs x 3", inputs=lambda: (torch.randn(4, 6), torch.randn(4, 7, 6)))
class ContrastWithoutMaximum(nn.Module):
    """Times 10 its logits are a hundred times as large, and too large for float64 as well."""

    def forward(self, x: Tensor, others: Tensor) -> Tensor:
        return (others @ x.unsqueeze(-1) / 0.2).exp().sum(1).log()


@nonfinite_output.bad("infinite for inputs x", inputs=lambda: torch.randn(8, 16))
class SquashesItsActions(nn.Module):
    """Where the largest are infinite in float64, too, the others are not."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.log(1 - (2 * x).tanh().square())


@nonfinite_output.bad("infinite for all zeros; it starts at log()")
class LogEnergy(nn.Module):
    """Silence has none."""

    def forward(self, x: Tensor) -> Tensor:
        return x.square().mean(-1).log()


@nonfinite_output.good(inputs=lambda: (torch.randn(4, 6), torch.randn(4, 6)))
class SignalToNoise(nn.Module):
    """Two that are the same have no noise."""

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        return -10 * (x - target).square().mean().log10()


@nonfinite_output.good
class Exponential(nn.Module):
    """Overflows because the result is too large for float32: that is what exp is."""

    def forward(self, x: Tensor) -> Tensor:
        return x.exp()


@nonfinite_output.good
class NormWithEps(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / (x.norm(dim=-1, keepdim=True) + 1e-6)


@nonfinite_output.good(inputs=lambda: torch.rand(4, 6) + 0.1)
class LogOfWhatIsPositive(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.log()
