"""What several rules look at, found out once for all of them: `case.once(gradient_reports)`."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch.overrides import TorchFunctionMode

from layersmith.finding import Finding, Severity
from layersmith.probe import batch, closeness, escapes, history, leaves, lost, masks, source, tree
from layersmith.probe.capture import Capture, capture
from layersmith.probe.export import Export, export_of
from layersmith.probe.gradients import GradientReport, Leg, WrongGradient, gradients, question_of
from layersmith.probe.gradients.watch import VARIABLE
from layersmith.probe.masking import Masking
from layersmith.probe.modes import heeds_mode
from layersmith.promises import contract_of
from layersmith.rule import NotApplicable
from layersmith.subject import Case

# Calls that take a value out of the graph, as the engine names them.
CUTS = frozenset(
    {
        ".detach()",
        ".detach_()",
        ".data",
        ".numpy()",
        "NumPy",
        ".item()",
        ".tolist()",
        "float()",
        "int()",
        "no_grad",
        VARIABLE,
    }
)

LONG = 15.0  # seconds of CPU, after which the other mode would take a class's whole time
SLOW, FEW_ROWS = 0.25, 2  # seconds of CPU for a call, above which fewer rows are asked
HERMITIAN = re.compile(r"^_?(?:linalg_)?(?:eigh|eigvalsh|cholesky)(?:_ex)?_?$")
MATRIX = 2  # axes


@dataclass(frozen=True, slots=True)
class GradientReports:
    """What the engine says of a module in train and in eval mode; where they are the same, one report for both."""

    train: GradientReport
    eval: GradientReport
    is_usual: bool  # whether a gradient that is stopped is usual here: in a loss, or where eval is right
    unjudged: str = ""  # why the gradient is no derivative, as that of torch's CTC loss

    @property
    def both(self) -> tuple[GradientReport, ...]:
        """Train mode first."""
        return (self.train,) if self.eval is self.train else (self.train, self.eval)

    def errors(self, question: str) -> tuple[WrongGradient, ...]:
        """What is wrong as to one question (see `question_of`), in the first mode in which something is."""
        of = ([e for e in report.errors if question_of(e.leg) == question] for report in self.both)
        return tuple(next((errors for errors in of if errors), ()))

    def legs(self, question: str) -> list[Leg]:
        """What was asked as to one question, in both modes."""
        return [leg for report in self.both for leg in report.legs if question_of(leg.name) == question]


def gradient_reports(case: Case) -> GradientReports:
    """Examine the gradients in both modes, as far as the subject asks for; what takes long and is right, in one."""
    case = _of_few_rows(case)
    begin = time.process_time()
    first = _report(case.fresh(training=True), freeze=True)
    is_long = time.process_time() - begin > LONG
    if first.ok and (is_long or not heeds_mode(case.module)):
        return GradientReports(first, first, is_usual=False)
    train = first if first.ok else _of_used(case, first)
    evaluated = _report(case.fresh(), freeze=False)
    if train.ok and evaluated.ok:
        return GradientReports(train, evaluated, is_usual=False)
    is_loss = all(one.ndim == 0 for one in tree.tensors(case.fresh().run()))
    return GradientReports(train, evaluated, is_loss or evaluated.ok, _unjudged(case))


def leaves_something(case: Case) -> bool:
    """Whether a call changes what the module holds: where it does not, the next call cannot know of it."""
    case.run()
    return history.leaves_something(case.module, case.fresh().module)


def _of_few_rows(case: Case) -> Case:
    """The same with two rows where a call takes long: the engine makes a dozen, forward and back."""
    begin, asked = time.process_time(), case.fresh(training=True)
    try:
        asked.run()
        if time.process_time() - begin < SLOW:
            return case
        axis = batch.axes(case.module, case.inputs)[0]
        few = batch.take(case.inputs, FEW_ROWS, axis=axis)
        case.fresh(training=True).run(few)
    except Exception:  # noqa: BLE001 - it is asked as it is
        return case
    subject = dataclasses.replace(
        case.subject, inputs=lambda seed: batch.take(case.subject.inputs(seed), FEW_ROWS, axis=axis)
    )
    return subject.case(seed=case.seed)


def stacked_report(case: Case) -> GradientReport | None:
    """The same in train mode with two of each matrix, if forward takes them so; None where it does not.

    A gradient of two axes can be viewed in ways in which one of three cannot.
    """
    asked = case.fresh(training=True)
    inputs = asked.inputs.map(
        lambda x: torch.stack([x, x.flip(0)]) if x.is_floating_point() and x.ndim == MATRIX else x
    )
    try:
        ranks = [[one.ndim for one in tree.tensors(asked.run(given))] for given in (asked.inputs, inputs)]
    except Exception:  # noqa: BLE001 - it need not take them
        return None
    is_higher = bool(ranks[0]) and ranks[1] == [rank + 1 for rank in ranks[0]]
    return (
        _report(dataclasses.replace(case.fresh(training=True), inputs=inputs), freeze=False)
        if is_higher
        else None
    )


def captures(case: Case) -> Capture:
    """What dynamo makes of the module in eval mode: one trace for all rules about compiling."""
    return capture(lambda: case.fresh().module, case.inputs, seed=case.seed)


def exports(case: Case) -> Export:
    """What torch.export makes of the module in eval mode, with its batch open."""
    return export_of(lambda: case.fresh().module, case.inputs, seed=case.seed)


def noise(case: Case) -> tuple[closeness.Gap, ...]:
    """How far another seed of torch moves each of its outputs."""
    first, second = (
        dict(tree.named_tensors(case.fresh().run(case.inputs, seed=seed), name="output")) for seed in (1, 2)
    )
    return tuple(closeness.gap(first[path], second[path], where=path) for path in first if path in second)


def maskings(case: Case) -> tuple[Masking, ...]:
    """What the mask arguments of forward do, each in every encoding that it takes."""
    return tuple(masks.studied(case.module, case.inputs, case.run_fresh))


@dataclass(frozen=True, slots=True)
class Departures:
    """Where values leave autograd in a call in train mode, by the ways of `probe.escapes`."""

    places: frozenset[tuple[str, str, int]]  # way, file, line
    cuts: tuple[tuple[str, lost.Cut], ...]  # way, and a line that cuts parameters off in it

    def lines(self, way: str) -> list[tuple[str, int]]:
        """Files and lines, in order."""
        return sorted((file, line) for one, file, line in self.places if one == way)

    def cut_off(self, way: str) -> list[lost.Cut]:
        """The lines behind which parameters get no gradient."""
        return [cut for one, cut in self.cuts if one == way]


def departures(case: Case) -> Departures:
    """Watch one call for all rules about `.data`, `.detach()`, `.item()` and NumPy."""
    run = escapes.escapes(case.module, case.inputs, seed=case.seed)
    return Departures(
        frozenset((one.way, one.file, one.line) for one in run.escapes),
        tuple((way, cut) for way in ("data", "detach") for cut in lost.cut_off(case.module, run, way)),
    )


def is_cut_off(error: WrongGradient) -> bool:
    """Whether a tensor gets no gradient at all because a value left the graph, and no Function is to blame."""
    return error.kind.startswith("detached") and (not error.function or error.function in CUTS)


def places(errors: Iterable[WrongGradient]) -> list[list[WrongGradient]]:
    """The errors by the line that they blame."""
    found: dict[tuple[str, int, str], list[WrongGradient]] = {}
    for error in errors:
        found.setdefault((error.file, error.line, error.function), []).append(error)
    return [*found.values()]


def findings(
    errors: Iterable[WrongGradient], *, fix: str, severity: Severity | None = None
) -> Iterator[Finding]:
    """One finding for all tensors that go wrong at one line."""
    for first, *others in places(errors):
        more = f"; and so is d loss/d {', '.join(one.tensor for one in others)}" if others else ""
        yield Finding(
            first.message + more,
            where=first.tensor,
            file=first.file,
            line=first.line,
            fix=fix,
            numbers={name: getattr(first, name) for name in ("got", "expected", "ratio", "elements")},
            severity=severity,
        )


def require_asked(reports: GradientReports, question: str) -> None:
    """Raise NotApplicable with the reason when no leg of a question came to a verdict."""
    legs = reports.legs(question)
    if not any(leg.outcome in {"right", "wrong"} for leg in legs):
        reasons = [leg.why for leg in legs if leg.why]
        raise NotApplicable(reasons[0] if reasons else "no autograd.Function takes part")


def _of_used(case: Case, first: GradientReport) -> GradientReport:
    """The report on a module that was called before, if that is right: the first call may initialise."""
    used = case.fresh(training=True)
    used.run()
    again = _report(used, freeze=True)
    return again if again.ok and again.judged else first


def _report(case: Case, *, freeze: bool) -> GradientReport:
    promised = case.subject.contract
    surrogate = promised.reason if promised.gradient == "surrogate" else ""
    mode = cast(Literal["quick", "full"], case.subject.gradients)
    report = gradients(
        case.module, case.inputs, mode=mode, seed=case.seed, surrogate=surrogate, freeze=freeze
    )
    return _without_surrogates(case, report)


def _without_surrogates(case: Case, report: GradientReport) -> GradientReport:
    """Less what is wrong in a submodule that declares its gradient a surrogate."""

    def is_declared(error: WrongGradient) -> bool:
        path = error.module
        while path:
            part = source.owner(case.module, f"{path}.weight")[0]
            if contract_of(type(part)).gradient == "surrogate":
                return True
            path = path.rpartition(".")[0]
        return False

    return dataclasses.replace(report, errors=tuple(e for e in report.errors if not is_declared(e)))


def _unjudged(case: Case) -> str:
    """Why the gradient of what forward computes is no derivative, by an agreement of torch's own; "" elsewhere."""
    used = case.fresh(training=True)
    for tensor in used.inputs.tensors():
        tensor.requires_grad_(tensor.is_floating_point())
    with _Halves() as halves:
        outputs = [*tree.tensors(used.run())]
    if any(node.name().startswith("CtcLoss") for node in leaves.nodes_behind(outputs)):
        return "torch's CTC loss has a right gradient only behind a log_softmax"
    return halves.found and f"{halves.found}() reads half of a matrix that is not Hermitian"


class _Halves(TorchFunctionMode):
    """Looks for decompositions that take a matrix to be Hermitian which is not."""

    def __init__(self) -> None:
        super().__init__()
        self.found = ""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Look at the matrix, then do it."""
        name = getattr(func, "__name__", "")
        if HERMITIAN.search(name) and args and isinstance(args[0], torch.Tensor):
            matrix = args[0].detach()
            self.found = self.found or ("" if torch.allclose(matrix, matrix.mH, rtol=1e-4) else name)
        return func(*args, **(kwargs or {}))
