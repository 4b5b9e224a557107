"""A rule that the module does not answer is skipped, not broken: other rows refused, a compiled part."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from layersmith import runner
from layersmith.finding import Outcome, Severity
from layersmith.load.build import subject_of_class
from layersmith.probe.inputs import Inputs
from layersmith.registry import load, rule_files, with_prerequisites
from layersmith.subject import Subject

try:  # noqa: SIM105 - as people write it
    from no_such_package_of_all import hinge  # type: ignore[import-not-found]
except ImportError:
    pass


class NeedsWhatIsNotInstalled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = hinge(x)
        return found


def test_a_name_of_what_is_not_installed_is_no_error() -> None:
    result = runner.ask(subject_of_class(NeedsWhatIsNotInstalled), load("forward-raises"))
    assert [result.severity_of(finding) for finding in result.findings] == [Severity.NOTE]


class PacksSortedRows(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(6, 4, batch_first=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
        return nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True)[0]


def test_rows_in_an_order_that_it_refuses_break_no_rule() -> None:
    lengths = torch.tensor([5, 4, 3, 2])
    subject = Subject(
        "PacksSortedRows", lambda _: PacksSortedRows(), lambda _: Inputs((torch.randn(4, 5, 6), lengths))
    )
    result = runner.ask(subject, load("batch-leak"))
    assert result.outcome is Outcome.SKIP
    assert "it does not take what it was given: RuntimeError: `lengths` array must be sorted" in result.why


def compiled() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.trace(nn.Sequential(nn.Linear(6, 6), nn.Sigmoid()), torch.randn(4, 6))


class HasACompiledGate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate = compiled()

    def forward(self, x: Tensor) -> Tensor:
        return self.gate(x) * x


scripted: Callable[[Any], Any] = vars(torch.jit)["script_method"]


class IsScripted(torch.jit.ScriptModule):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    @scripted
    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.linear(x)) * x


class HasAScriptedGate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate = IsScripted()

    def forward(self, x: Tensor) -> Tensor:
        return self.gate(x) * x


def test_a_compiled_part_breaks_neither_the_search_for_a_call_nor_a_rule() -> None:
    rules = [name for name in rule_files() if load(name).group != "compile"]
    for cls in (HasACompiledGate, HasAScriptedGate):
        subject = subject_of_class(cls)
        outcomes = {result.rule: result.outcome for result in runner.run(subject, with_prerequisites(rules))}
        assert Outcome.BROKEN not in outcomes.values()
        assert outcomes["forward-raises"] is Outcome.PASS


class ContinuesAPair(nn.Module):
    """What comes from the block before it is a pair; what comes first is none."""

    def __init__(self, kind: str = "first") -> None:
        super().__init__()
        assert kind in ("first", "next")
        self.kind = kind
        self.linear = nn.Linear(6, 12)

    def forward(self, x: Tensor | tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        joined = torch.cat(x, -1) if isinstance(x, tuple) else x
        kept, added = self.linear(joined).chunk(2, -1)
        if self.kind == "next":
            return torch.cat([x[0], kept], -1) @ x[0], torch.cat([x[1], added], -1)
        return kept, added


def test_another_option_may_want_a_list_where_forward_asks_for_one() -> None:
    assert not runner.ask(subject_of_class(ContinuesAPair), load("argument-crashes")).findings


class TakesTheFirstOfAList(nn.Module):
    """What it does with a list is no matter of its options."""

    def __init__(self, width: int = 6, *, gated: bool = False) -> None:
        super().__init__()
        self.gated = gated
        self.linear = nn.Linear(width, 2 * width)

    def forward(self, x: Tensor | list[Tensor]) -> Tensor:
        if isinstance(x, list):
            x = x[0]
        y = self.linear(x)
        return y + x if self.gated else y


def test_an_option_that_crashes_is_told_of_what_may_take_a_list() -> None:
    subject = subject_of_class(TakesTheFirstOfAList)
    assert runner.ask(subject, load("argument-crashes")).findings


class AnswersTimeFirst(nn.Module):
    """Its input is batch first, its output time first: where both are as long, rows are taken for steps."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.RNN(3, 4)

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        answers: Tensor = self.cell(x.transpose(0, 1), hidden)[0]
        return answers


def test_rows_that_come_out_along_another_axis_do_not_leak() -> None:
    given = Inputs((torch.randn(6, 6, 3), torch.randn(1, 6, 4)))
    subject = Subject("AnswersTimeFirst", lambda _: AnswersTimeFirst(), lambda _: given.clone())
    assert not runner.ask(subject, load("batch-leak")).findings
