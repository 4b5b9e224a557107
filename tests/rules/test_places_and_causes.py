"""Findings point at the cause: the operation, the attribute, the line; and what is meant is only noted."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from layersmith import runner
from layersmith.finding import Outcome, Result, Severity
from layersmith.load.build import subject_of_class, subject_of_factory
from layersmith.registry import load


def ask(rule: str, cls: type[nn.Module], inputs: Tensor | None = None) -> Result:
    given = torch.randn(4, 6) if inputs is None else inputs
    return runner.ask(subject_of_factory(cls, given), load(rule))


class FrozenBackbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Linear(6, 6).requires_grad_(requires_grad=False)
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            features = self.backbone(x).relu()
        return self.head(features)


class Counts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.steps = 0

    def forward(self, x: Tensor) -> Tensor:
        self.steps += 1
        return x * self.steps


class ShiftsByChance(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shift = float(torch.rand(()))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.shift


class NormalisesTheBatch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = x * 2
        return nn.functional.normalize(y, dim=0)


class ForgetsTwo(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleList([nn.Linear(6, 2) for _ in range(3)])

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.heads[0](x)
        return out


def test_a_frozen_backbone_is_only_noted() -> None:
    result = ask("wrong-gradient", FrozenBackbone)
    assert {result.severity_of(finding) for finding in result.findings} <= {Severity.NOTE}


def test_the_attribute_that_an_eval_call_changes_is_named() -> None:
    (finding,) = ask("nondeterministic-eval", Counts).findings
    assert finding.where == "steps"


def test_the_attribute_that_a_checkpoint_loses_is_named() -> None:
    assert ask("state-dict-loss", ShiftsByChance).findings[0].where == "shift"


class TakesTheLastStepOfTheBatch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.rnn = nn.Embedding(9, 6), nn.LSTM(6, 6)

    def forward(self, tokens: Tensor) -> Tensor:
        out, _ = self.rnn(self.embedding(tokens))
        return out[:, -1, :]


def test_a_recurrent_network_over_the_batch_is_a_leak() -> None:
    (finding,) = ask("batch-leak", TakesTheLastStepOfTheBatch, torch.randint(0, 9, (3, 5))).findings
    assert "it starts at lstm()" in finding.message


def test_a_leak_is_placed_at_the_operation_where_it_starts() -> None:
    (finding,) = ask("batch-leak", NormalisesTheBatch).findings
    assert "normalize()" in finding.message
    assert finding.line == NormalisesTheBatch.forward.__code__.co_firstlineno + 2


def test_members_forgotten_on_one_line_are_one_finding() -> None:
    (finding,) = ask("unused-parameter", ForgetsTwo).findings
    assert "heads.1, heads.2 never reach the output" in finding.message


class KeepsItsTable(nn.Module):
    """It has buffers only, and its output is of their dtype: that is told by upcast-output."""

    rates: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("rates", 1 / torch.arange(1.0, 7.0))
        self.table: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.table is None:
            self.table = self.rates.cos()
        return x * self.table


def test_a_double_module_of_buffers_is_called_with_doubles() -> None:
    assert not ask("call-history", KeepsItsTable).findings


class AsksWhetherAnyRowIsChosen(nn.Module):
    """Rows go to an expert by their values: how many there are no compiler can know."""

    def __init__(self) -> None:
        super().__init__()
        self.expert = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        out = torch.zeros_like(x)
        (rows,) = torch.where(x[:, 0] > 0)
        if rows.numel():
            out = out.index_add(0, rows, self.expert(x[rows]))
        return out


class MasksTorchsEncoder(nn.Module):
    """Whether its mask is a causal one, torch's own encoder asks of the values."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(6, 2, 12, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.ones(x.shape[0], x.shape[0], dtype=torch.bool).triu(1)
        return self.encoder(x.unsqueeze(0), mask=hidden).squeeze(0)


def test_a_break_inside_a_layer_of_torch_is_only_noted() -> None:
    result = ask("graph-break", MasksTorchsEncoder)
    assert {result.severity_of(finding) for finding in result.findings} == {Severity.NOTE}


class CallsALossOfTorchs(nn.Module):
    """Which looks at its values by itself."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.gaussian_nll_loss(x, x.square(), x.exp())


def test_a_break_inside_a_function_of_torch_is_only_noted() -> None:
    result = ask("graph-break", CallsALossOfTorchs)
    assert {result.severity_of(finding) for finding in result.findings} == {Severity.NOTE}


class TakesDerivativesInForward(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.func.grad(lambda one: one.square().sum())(x)


def test_derivatives_that_cannot_be_checkpointed_are_no_fault() -> None:
    assert ask("checkpoint-differs", TakesDerivativesInForward).outcome is Outcome.SKIP


def test_a_branch_on_how_many_rows_the_data_choose_is_only_noted() -> None:
    result = ask("graph-break", AsksWhetherAnyRowIsChosen)
    assert {result.severity_of(finding) for finding in result.findings} == {Severity.NOTE}


class IsTheSlopeOfAnEnergy(nn.Module):
    """Without grad mode of its own: it is asked with gradients, as it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.energy = nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Tensor:
        at = x.detach().requires_grad_()
        return torch.autograd.grad(self.energy(at).square().sum(), at, create_graph=True)[0]


def test_a_module_that_needs_grad_mode_is_asked_about_compiling() -> None:
    assert ask("graph-break", IsTheSlopeOfAnEnergy).outcome is not Outcome.BROKEN


class NormalisesGroupsIfAsked(nn.Module):
    """What stands between the two may do nothing in this configuration."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = x.view(-1, 2, 3)
        y = self.norm(y)
        return self.norm(y.view(-1, 6).view(-1, 3, 2)).view(-1, 6) * 2


def test_reshapes_around_a_part_that_does_nothing_are_not_undone() -> None:
    assert not ask("undone-reshape", NormalisesGroupsIfAsked).findings


class TakesAGradient(nn.Module):
    """The force that belongs to an energy."""

    def __init__(self) -> None:
        super().__init__()
        self.energy = nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            at = x.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.energy(at).square().sum(), at, create_graph=True)
        return -slope


class PacksItsRows(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        lengths = x.ne(0).sum(1).clamp(min=1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return nn.utils.rnn.pad_packed_sequence(packed, batch_first=True)[0]


@pytest.mark.parametrize("cls", [TakesAGradient, PacksItsRows])
def test_what_dynamo_leaves_to_python_on_purpose_is_only_noted(cls: type[nn.Module]) -> None:
    result = ask("graph-break", cls)
    assert {result.severity_of(finding) for finding in result.findings} == {Severity.NOTE}


class IntegratesOverTimes(nn.Module):
    """One axis of as many times as there are rows: a larger batch is no later end."""

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        out = [x]
        for i in range(len(t) - 1):
            out.append(out[-1] * (t[i + 1] - t[i]).exp())
        return torch.stack(out, 1)


def test_times_as_many_as_rows_are_no_batch() -> None:
    made = subject_of_factory(IntegratesOverTimes, (torch.randn(4, 6), torch.rand(4)))
    assert not runner.ask(made, load("export-fails")).findings
    assert not runner.ask(made, load("recompiles")).findings


class ComparesARowWithEach(nn.Module):
    """Counts its rows in Python, and gives one number: nobody serves a loss."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.cross_entropy(x @ x.T, torch.arange(int(x.shape[0]), device=x.device))


def test_a_loss_of_one_batch_size_is_only_noted() -> None:
    result = ask("export-fails", ComparesARowWithEach)
    assert {result.severity_of(finding) for finding in result.findings} == {Severity.NOTE}


class ScalesByItsSize(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / math.sqrt(x.numel())


def test_a_size_that_goes_through_pythons_math_is_only_noted() -> None:
    (finding,) = ask("export-fails", ScalesByItsSize).findings
    assert finding.severity is Severity.NOTE


class PenalisesACritic(nn.Module):
    """What it is given is a module, which is no parameter of its own and follows its caller's dtype."""

    def forward(self, critic: nn.Module, x: Tensor) -> Tensor:
        y: Tensor = critic(x)
        return y.square().mean()


@pytest.mark.parametrize("rule", ["hard-coded-dtype", "parameter-made-in-forward", "autocast-fails"])
def test_a_module_that_is_given_is_not_made(rule: str) -> None:
    made = subject_of_factory(PenalisesACritic, (nn.Linear(6, 1), torch.randn(4, 6)))
    assert not runner.ask(made, load(rule)).findings


class RoundsToCodes(nn.Module):
    """Straight through: the value of its code, the gradient of x. A loss moves the codes."""

    def __init__(self) -> None:
        super().__init__()
        self.codes = nn.Parameter(torch.randn(4, 6))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.codes[(x.unsqueeze(-2) - self.codes).square().sum(-1).argmin(-1)]
        return x + (y - x).detach(), (y - x.detach()).square().mean()


def test_a_straight_through_gradient_of_the_right_side_is_only_noted() -> None:
    result = ask("wrong-gradient", RoundsToCodes)
    assert {result.severity_of(finding) for finding in result.findings} == {Severity.NOTE}


class WantsAnotherDevice(nn.Module):
    """In torch's own words, as of flexible attention."""

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu":
            raise NotImplementedError("FlexAttention does not support backward on CPU.")
        return x


def test_what_wants_another_device_is_no_fault() -> None:
    (finding,) = ask("forward-raises", WantsAnotherDevice).findings
    assert finding.severity is Severity.NOTE


class DrawsByChance(nn.Module):
    """An augmentation, in either mode; with a chance of nothing it draws for nothing."""

    def __init__(self, p: float = 0.0) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return x.flip(-1) if random.random() < self.p else x


def test_an_augmentation_that_does_not_ask_for_the_mode_is_only_noted() -> None:
    (finding,) = ask("consumes-rng-in-eval", DrawsByChance).findings
    assert finding.severity is Severity.NOTE


class SumsUpTheBatch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.cumsum(0)


def test_a_leak_names_the_row_that_moved() -> None:
    (finding,) = ask("batch-leak", SumsUpTheBatch).findings
    assert "row 3 moved" in finding.message


class LooksAtASource(nn.Module):
    """A decoder: the mask of the source hides none of its own steps, which it mixes."""

    def forward(
        self, trg: Tensor, enc_src: Tensor, trg_mask: Tensor | None = None, src_mask: Tensor | None = None
    ) -> Tensor:
        scores = trg @ enc_src.mT
        if trg_mask is not None:
            trg = trg * trg_mask.unsqueeze(-1)
        if src_mask is not None:
            scores = scores.masked_fill(src_mask == 0, -1e4)
        hidden = trg + scores.softmax(-1) @ enc_src
        return hidden + hidden.cumsum(1).amax(1, keepdim=True)


def test_a_mask_of_the_source_hides_no_step_of_what_is_decoded() -> None:
    made = subject_of_factory(LooksAtASource, (torch.randn(3, 7, 6), torch.randn(3, 7, 6)))
    found = runner.ask(made, load("padding-changes-output")).findings
    assert not [finding for finding in found if "src_mask" in finding.message]


class AddsAPart(nn.Module):
    """What it is given is a function, of a module that its caller holds."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        return x + sublayer(self.norm(x))


class CallsAPart(nn.Module):
    def __init__(self, dim: int = 32) -> None:
        super().__init__()
        self.part, self.linear = AddsAPart(dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        linear = self.linear
        y: Tensor = self.part(x, lambda one: linear(one).relu())
        return y


def test_a_function_of_its_caller_is_not_taken_for_an_input() -> None:
    assert "<lambda>" not in subject_of_class(AddsAPart).inferred_from


class HoldsASparseMatrix(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        places = torch.arange(len(x)).expand(2, -1)
        return torch.sparse_coo_tensor(places, torch.ones(len(x)), (len(x), len(x))) @ x


def test_sparse_tensors_break_graphs_and_no_rule() -> None:
    graph_break = ask("graph-break", HoldsASparseMatrix)
    assert {graph_break.severity_of(finding) for finding in graph_break.findings} == {Severity.NOTE}
    for rule in ("exploding-signal", "vanishing-signal"):
        assert ask(rule, HoldsASparseMatrix).outcome is not Outcome.BROKEN


class ScramblesHeads(nn.Module):
    """The same slip for a query, a key and a value, and once more further down."""

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        q = x.reshape(len(x), 7, 2, 3)
        k = x.reshape(len(x), 7, 2, 3)
        v = x.reshape(len(x), 7, 2, 3)
        y = (q + k + v).flatten(2).transpose(1, 2)
        return y.reshape(len(x), 7, 2, 3)


def test_the_same_slip_on_lines_that_follow_each_other_is_told_once() -> None:
    found = ask("scrambled-reshape", ScramblesHeads, torch.randn(5, 7, 6)).findings
    assert ["so do the 2 lines below it" in one.message for one in found] == [True, False]


class KeepsKeysAndValues(nn.Module):
    """What is written into a plain tensor brings its graph along, twice."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.keys, self.values = torch.zeros(4, 9, 6), torch.zeros(4, 9, 6)

    def forward(self, x: Tensor) -> Tensor:
        self.keys[: len(x), : x.shape[1]] = self.linear(x)
        self.values[: len(x), : x.shape[1]] = self.linear(x)
        keys, values = self.keys[: len(x), : x.shape[1]], self.values[: len(x), : x.shape[1]]
        return (x @ keys.mT).softmax(-1) @ values


def test_tensors_that_keep_the_graph_together_are_told_once() -> None:
    (finding,) = ask("growing-memory", KeepsKeysAndValues, torch.randn(4, 3, 6)).findings
    assert finding.where == "keys"


class Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).relu())


class BorrowsABody(nn.Module):
    """Takes a backbone apart, and leaves its head."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.first = self.backbone.body
        self.last = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x).relu())


def test_of_a_backbone_that_is_taken_apart_only_what_is_left_is_told() -> None:
    (finding,) = ask("unused-parameter", BorrowsABody).findings
    assert finding.message == "backbone.head never reaches the output: 14 numbers get no gradient"
    assert finding.severity is Severity.WARNING


class GivesItsCoordinatesBack(nn.Module):
    """So that its caller can take derivatives by them."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = x.clone().detach().requires_grad_(True)
        return x, self.linear(x).sin()


def test_what_is_given_back_to_be_derived_by_breaks_graphs_by_dynamos_decision() -> None:
    result = ask("graph-break", GivesItsCoordinatesBack)
    assert [result.severity_of(finding) for finding in result.findings] == [Severity.NOTE]
