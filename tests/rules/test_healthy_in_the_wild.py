"""Healthy code that a rule once accused, and beside some of it the same with the fault that the rule is for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from layersmith import runner
from layersmith.finding import Finding, Outcome, Severity
from layersmith.load.build import subject_of_class, subject_of_object
from layersmith.probe.inputs import Inputs
from layersmith.registry import load
from layersmith.subject import Construction, Subject


def _randn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


class ScalesVisible(nn.Module):
    """By chance no row of the example shows step 2."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(6, 1))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return x * self.scale * mask


class ScalesSome(ScalesVisible):
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return super().forward(x, mask)[..., :-2]


def _with_holes() -> tuple[Tensor, Tensor]:
    mask = torch.ones(3, 1, 5, dtype=torch.bool)
    mask[:, :, 2:4] = False
    return _randn(3, 6, 5), mask


class DecodesMasked(nn.Module):
    """Steps that one mask hides in between see what the other hides, and are seen by those behind."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(6))

    def forward(self, x: Tensor, x_mask: Tensor, memory: Tensor, memory_mask: Tensor) -> Tensor:
        both = x_mask[:, :, None] & memory_mask[:, None, :]
        x = x + (x @ memory.mT).masked_fill(~both, -1e4).softmax(-1) @ memory @ self.weight
        past = torch.ones(5, 5, dtype=torch.bool).tril()
        return (x @ x.mT).masked_fill(~past, -1e4).softmax(-1) @ x * x_mask[..., None]


def _two_masks() -> tuple[Tensor, ...]:
    holes = torch.tensor([[True, False, True, True, True]] * 3)
    return _randn(3, 5, 6), holes, _randn(3, 5, 6), holes.flip(1)


class Draws(nn.Module):
    """A posterior: what it returns first is a draw from what it returns besides."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 8)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, logs = self.linear(x).chunk(2, -1)
        return mean + torch.randn_like(mean) * torch.exp(logs), mean, logs


class Disturbs(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x) * 0.1


class StaysInFull(nn.LayerNorm):
    """Its weights stay float32 in a model of any dtype."""

    def __init__(self) -> None:
        super().__init__(6)

    def forward(self, x: Tensor) -> Tensor:
        kind = x.dtype
        y = super().forward(x.type(torch.float32))
        return y.type(kind)


class SeesAPrefix(nn.Module):
    """Causal behind its prefix, within which all see all."""

    mask: Tensor

    def __init__(self, prefix: int = 3) -> None:
        super().__init__()
        mask = torch.tril(torch.ones(5, 5))
        mask[:prefix, :prefix] = 1
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        scores = (x @ x.mT).masked_fill(self.mask == 0, float("-inf"))
        return scores.softmax(-1) @ x


class CausalPrefix(SeesAPrefix):
    """By its name as well."""

    def __init__(self) -> None:
        super().__init__()


class SeesAhead(nn.Module):
    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        mask = torch.triu(torch.ones(5, 5))
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        return (x @ x.mT).masked_fill(self.mask == 0, float("-inf")).softmax(-1) @ x


class Conditioned(nn.Module):
    """Its own parts are all used; that one of them holds a layer too many is said where that is checked."""

    def __init__(self, *, is_timed: bool = True) -> None:
        super().__init__()
        self.time = nn.Linear(1, 6) if is_timed else None
        self.block = Block()

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x, None if self.time is None else self.time(x[:, :1]))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.main, self.timed = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x: Tensor, t: Tensor | None) -> Tensor:
        return self.main(x) if t is None else self.main(x) + self.timed(t)


class Translates(nn.Module):
    """Of two sequences that are as long, each with a mask, of which one is given alone."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(9, 6)

    def forward(
        self, trg: Tensor, memory: Tensor, src_mask: Tensor | None = None, trg_mask: Tensor | None = None
    ) -> Tensor:
        x = self.table(trg)
        x = _attend(x, x, trg_mask)
        return _attend(x, memory, src_mask)


def _attend(x: Tensor, keys: Tensor, mask: Tensor | None) -> Tensor:
    scores = x @ keys.mT
    if mask is not None:
        scores = scores.masked_fill(mask[:, None, :] == 0, -1e4)
    return x + scores.softmax(-1) @ keys


class StartsAtNothing(nn.Module):
    """A branch that starts at zero, and as many channels as it has are alike."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(4, 6))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("btd,cd->bct", x, self.weight)


class PoolsByNothing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.seeds = nn.Parameter(torch.zeros(1, 4, 6))

    def forward(self, x: Tensor) -> Tensor:
        return (self.seeds @ x.mT).softmax(-1) @ x


class Asks(nn.Module):
    """What the query adds to each score is the same for all keys unless something bends the sum."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.score = nn.Linear(5, 8), nn.Linear(6, 8), nn.Linear(8, 1)

    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        shares = self.score(self.bent(self.key(keys) + self.query(query)[:, None])).softmax(1)
        return (shares * keys).sum(1)

    def bent(self, x: Tensor) -> Tensor:
        return x.tanh()


class AsksInVain(Asks):
    def bent(self, x: Tensor) -> Tensor:
        return x


class Doubles(torch.autograd.Function):
    """It clears what it kept, as a checkpoint does, so its graph serves once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.kept = x.detach()
        return 2 * x

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        kept = ctx.kept
        del ctx.kept
        return 2 * slope + 0 * kept


class ServesOnce(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = Doubles.apply(x)
        return y, y.sigmoid()


class HasHalves(nn.Module):
    """Whoever sets the option converts the module as well."""

    def __init__(self, *, use_fp16: bool = False) -> None:
        super().__init__()
        self.dtype = torch.float16 if use_fp16 else torch.float32
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.type(self.dtype)).type(x.dtype)


class JoinsAnEarlierOne(nn.Module):
    """Which of them it was told when it was built."""

    def __init__(self, index: int = 0) -> None:
        super().__init__()
        self.index = index
        self.linear = nn.Linear(12, 6)

    def forward(self, x: Tensor, earlier: list[Tensor]) -> Tensor:
        return self.linear(torch.cat([earlier[self.index], x], -1))


class GatesThenScales(nn.Module):
    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        x = x * gate.sigmoid()
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5)


class Directs(nn.Module):
    """An edge from a node to itself has no direction, and nobody gives it one."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        start, end = edge_index
        apart = x[start] - x[end]
        return torch.zeros_like(x).index_add(0, end, apart / apart.norm(dim=-1, keepdim=True))


class RefusesLonelyNodes(nn.Module):
    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        start, end = edge_index
        degree = x.new_zeros(len(x)).index_add(0, end, x.new_ones(len(end)))
        if (degree == 0).any():
            raise ValueError("a node has no edges: add one to itself")
        return torch.zeros_like(x).index_add(0, end, x[start]) / degree[:, None]


class TiesIfAsked(nn.Module):
    def __init__(self, *, tie: bool = False) -> None:
        super().__init__()
        self.table, self.head = nn.Linear(6, 6), nn.Linear(6, 6)
        if not tie:
            return
        self.head.weight = self.table.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.table(x).relu())


class FreezesTwice(nn.Module):
    """One of two ways that do not hurt each other."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Linear(6, 6), nn.Linear(6, 6)
        self.table.requires_grad = False  # type: ignore[assignment]
        for parameter in self.table.parameters():
            parameter.requires_grad = False

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.table(x).relu())


class Forecasts(nn.Module):
    """Each step ahead starts as the last one, from which its own numbers lead away."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.offsets = nn.Parameter(torch.zeros(4, 6))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x[:, -1:]) + self.offsets


class DropPath(nn.Module):
    def __init__(self, drop_prob: float) -> None:
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, x: Tensor) -> Tensor:
        keep = 1 - self.drop_prob
        return x * x.new_empty(len(x), 1).bernoulli_(keep).div_(keep) if self.training else x


class ScalesALittle(nn.Module):
    """A layer scale that starts at next to nothing, as ConvNeXt's, before stochastic depth."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.drop_path = DropPath(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.drop_path(1e-9 * self.linear(x))


class TakesSome(nn.Module):
    """Of what the loader of all its kind gives, it needs the words and the pairs."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(9, 6)
        self.pairs = nn.Embedding(9, 6)

    def forward(self, x: tuple[Tensor, ...]) -> Tensor:
        return (self.words(x[0]) + self.pairs(x[2])).mean(1)


class LeavesLengths(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(9, 6)

    def forward(self, x: tuple[Tensor, Tensor]) -> Tensor:
        words, _ = x
        return self.words(words).mean(1)


class MayMix(nn.Module):
    def __init__(self, *, mixes: bool = False) -> None:
        super().__init__()
        self.mixes = mixes

    def forward(self, outputs: tuple[Tensor, list[Tensor]]) -> Tensor:
        mean, others = outputs
        loss = (mean**2).mean()
        if self.mixes:
            for other in others:
                loss = loss + (other**2).mean()
        return loss


class ForecastsAlone(nn.Module):
    """Takes what all forecasters take, and hands on what its own way of forecasting has no use for."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def ahead(self, x: Tensor, mark: Tensor, other: Tensor) -> Tensor:
        return self.linear(x) + mark

    def forward(self, x: Tensor, mark: Tensor, other: Tensor) -> Tensor:
        return self.ahead(x, mark, other)


class ForecastsWithOthers(ForecastsAlone):
    def forward(self, x: Tensor, mark: Tensor, other: Tensor) -> Tensor:
        return self.ahead(x, mark, other) * other


class EmbedsAsManyAsThereAre(nn.Module):
    """One table for each codebook of which there is a column."""

    def __init__(self, count: int = 12) -> None:
        super().__init__()
        self.tables = nn.ModuleList([nn.Embedding(9, 6) for _ in range(count)])

    def forward(self, indices: Tensor) -> Tensor:
        columns = [table(column) for table, column in zip(self.tables, indices.unbind(1), strict=False)]
        return torch.stack(columns).sum(0)


class LeavesTheWords(nn.Module):
    """Its loss takes the features first, and has their words said beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.speaker = nn.Linear(6, 9)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).relu()


def says(model: LeavesTheWords, x: Tensor) -> Tensor:
    return model.speaker(model(x)).log_softmax(-1)


class OneQuery(nn.Module):
    """The mask is of the keys' steps, though the query has as many features."""

    def forward(self, query: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        scores = (query.unsqueeze(1) * keys).sum(-1).masked_fill(~mask, -1e4)
        return (scores.softmax(-1).unsqueeze(-1) * keys).sum(1)


class ForgetsThePairs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(9, 6)
        self.pairs = nn.Embedding(9, 6)

    def forward(self, x: tuple[Tensor, Tensor]) -> Tensor:
        words, pairs = x
        return (self.words(words) + self.pairs(words)).mean(1) + 0 * pairs.sum()


def _words(count: int) -> tuple[Tensor, ...]:
    return tuple((torch.arange(10) * (3 + index) % 9).reshape(2, 5) for index in range(count))


class ReadsTheLeftTwice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, pair: tuple[Tensor, Tensor]) -> Tensor:
        left, right = self.left(pair[0]), self.right(pair[0])
        return left + right


class AddsNothingResidual(nn.Module):
    """Another class of the file adds a layer of that name, which is none of these."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


class HoldsIt(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mixed = AddsNothingResidual()

    def forward(self, x: Tensor) -> Tensor:
        return self.mixed(x)


class AddsAnother(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mixed = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mixed(x)


class HasTwoOutputs(nn.Module):
    """One large, and one that reads memory in order."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return 1e6 * x.tanh(), torch.as_strided(x, x.shape, (x.shape[1], 1)).tanh()


class HidesLate(nn.Module):
    """Says that it is causal; what is padding is another matter."""

    def forward(
        self, x: Tensor, key_padding_mask: Tensor | None = None, *, is_causal: bool = False
    ) -> Tensor:
        scores = x @ x.mT
        if is_causal:
            scores = scores.masked_fill(torch.ones(x.shape[1], x.shape[1]).triu(1).bool(), -1e9)
        weights = scores.softmax(-1)
        return weights @ (x if key_padding_mask is None else x + key_padding_mask[..., None])


def _ring() -> tuple[Tensor, Tensor]:
    return _randn(5, 6), torch.tensor([[0, 1, 2, 3, 4, 4, 2], [1, 2, 3, 4, 0, 1, 0]])


def _told(cls: type[nn.Module], inputs: tuple[Any, ...], rule: str) -> tuple[Finding, ...]:
    made = Construction(cls, {}, lambda kind, given: kind(**given), f"{cls.__name__}()")
    subject = Subject(cls.__name__, lambda _: cls(), lambda _: Inputs(inputs), construction=made)
    return runner.ask(subject, load(rule)).findings


@pytest.mark.parametrize(
    ("cls", "inputs", "rule", "severity"),
    [
        (ScalesVisible, _with_holes(), "ignored-input", None),
        (ScalesSome, _with_holes(), "ignored-input", Severity.WARNING),
        (DecodesMasked, _two_masks(), "mask-ignored", None),
        (Draws, (_randn(3, 6),), "nondeterministic-eval", Severity.NOTE),
        (Disturbs, (_randn(3, 6),), "nondeterministic-eval", Severity.WARNING),
        (StaysInFull, (_randn(3, 6),), "hard-coded-dtype", Severity.NOTE),
        (SeesAPrefix, (_randn(2, 5, 6),), "future-leak", None),
        (CausalPrefix, (_randn(2, 5, 6),), "future-leak", None),
        (SeesAhead, (_randn(2, 5, 6),), "future-leak", Severity.WARNING),
        (Conditioned, (_randn(3, 6),), "unused-with-option", None),
        (Translates, (torch.arange(14).reshape(2, 7) % 9, _randn(2, 7, 6)), "padding-changes-output", None),
        (StartsAtNothing, (_randn(3, 5, 6),), "symmetric-init", None),
        (PoolsByNothing, (_randn(3, 5, 6),), "symmetric-init", Severity.WARNING),
        (Asks, (_randn(3, 5), _randn(3, 7, 6)), "ignored-input", None),
        (AsksInVain, (_randn(3, 5), _randn(3, 7, 6)), "ignored-input", Severity.WARNING),
        (JoinsAnEarlierOne, (_randn(3, 6), [_randn(3, 6), _randn(3, 6)]), "ignored-input", None),
        (ScalesALittle, (_randn(5, 6),), "unscaled-drop-path", None),
        (TakesSome, (_words(4),), "ignored-input", None),
        (LeavesLengths, (_words(2),), "ignored-input", None),
        (MayMix, ((_randn(3, 6), [_randn(3, 6), _randn(3, 6)]),), "ignored-input", None),
        (ForgetsThePairs, (_words(2),), "ignored-input", Severity.WARNING),
        (ForecastsAlone, (_randn(3, 6), _randn(3, 6), _randn(3, 6)), "ignored-input", Severity.NOTE),
        (LeavesTheWords, (_randn(3, 6),), "unused-parameter", Severity.NOTE),
        (OneQuery, (_randn(5, 6), _randn(5, 6, 6), torch.ones(5, 6).bool()), "mask-ignored", None),
        (ReadsTheLeftTwice, ((_randn(3, 6), _randn(3, 6)),), "ignored-input", Severity.WARNING),
        (AddsNothingResidual, (_randn(3, 6),), "missing-shortcut", Severity.WARNING),
        (HasTwoOutputs, (_randn(6, 6),), "strided-input", Severity.ERROR),
        (GatesThenScales, (_randn(3, 16), _randn(3, 16)), "half-overflow", Severity.WARNING),
        (Directs, _ring(), "isolated-nodes", None),
        (RefusesLonelyNodes, _ring(), "isolated-nodes", None),
        (TiesIfAsked, (_randn(3, 6),), "tied-weights-broken", None),
        (FreezesTwice, (_randn(3, 6),), "module-not-frozen", None),
        (Forecasts, (_randn(3, 5, 6),), "symmetric-init", None),
        (ServesOnce, (_randn(3, 6),), "wrong-gradient", None),
        (ServesOnce, (_randn(3, 6),), "layout-dependent-gradient", None),
        (HasHalves, (_randn(3, 6),), "argument-crashes", None),
    ],
)
def test_only_what_is_wrong_is_told(
    cls: type[nn.Module], inputs: tuple[Any, ...], rule: str, severity: Severity | None
) -> None:
    found = _told(cls, inputs, rule)
    assert [one.severity or load(rule).severity for one in found[:1]] == ([severity] if severity else [])


class ReadsASet(nn.Module):
    """What each query finds in a set of any size."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor, support: Tensor) -> Tensor:
        return self.linear(x) + torch.softmax(x.mm(support.T), -1).mm(support)


class ReadsItself(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        return self.linear(x) + torch.softmax(x.mm(x.t()), -1).mm(x) + other


def test_a_hint_of_causality_says_nothing_of_padding() -> None:
    inputs = Inputs((_randn(3, 7, 6),), {"is_causal": True})
    subject = Subject("HidesLate", lambda _: HidesLate(), lambda _: inputs)
    assert runner.ask(subject, load("mask-ignored")).findings


def test_a_decoder_sees_its_memory_by_a_mask_of_its_own() -> None:
    """Rows of the source and the target are of unlike lengths."""
    subject = Subject(
        "Transformer",
        lambda _: nn.Transformer(8, 2, 1, 1, 16, batch_first=True),
        lambda _: Inputs((_randn(3, 5, 8), _randn(3, 4, 8))),
    )
    assert not runner.ask(subject, load("mask-ignored")).findings


@pytest.mark.parametrize(
    ("make", "inputs", "rule"),
    [
        (
            lambda: nn.TransformerDecoderLayer(8, 2, 16, batch_first=True),
            Inputs(
                (_randn(3, 5, 8), _randn(3, 7, 8)),
                {"tgt_mask": torch.ones(5, 5).triu(1).bool(), "tgt_is_causal": True},
            ),
            "mask-ignored",
        ),
        (lambda: nn.BatchNorm1d(8, track_running_stats=False), Inputs((_randn(6, 8),)), "strided-input"),
        (
            lambda: nn.Embedding(20, 8, sparse=True),
            Inputs((torch.arange(20).reshape(4, 5),)),
            "leading-dimensions",
        ),
    ],
)
def test_layers_of_torch_called_as_people_call_them(
    make: Callable[[], nn.Module], inputs: Inputs, rule: str
) -> None:
    ended = runner.ask(Subject("layer", lambda _: make(), lambda _: inputs), load(rule))
    assert ended.outcome is not Outcome.BROKEN
    assert not ended.findings


@pytest.mark.parametrize(("cls", "is_told"), [(ReadsASet, False), (ReadsItself, True)])
def test_rows_of_a_set_are_no_batch(cls: type[nn.Module], is_told: bool) -> None:
    subject = Subject(cls.__name__, lambda _: cls(), lambda _: Inputs((_randn(5, 6), _randn(5, 6))))
    subject = dataclasses.replace(subject, inferred_from=f"{cls.__name__}()")
    assert bool(runner.ask(subject, load("batch-leak")).findings) == is_told


def test_a_guess_of_less_columns_than_there_are_tables_leaves_none_unused() -> None:
    subject = dataclasses.replace(
        Subject(
            "EmbedsAsManyAsThereAre",
            lambda _: EmbedsAsManyAsThereAre(),
            lambda _: Inputs((torch.arange(35).reshape(5, 7) % 9,)),
        ),
        inferred_from="EmbedsAsManyAsThereAre(12)",
    )
    assert not runner.ask(subject, load("unused-parameter")).findings
    told = dataclasses.replace(subject, inferred_from="")
    assert runner.ask(told, load("unused-parameter")).findings


class TimeFirst(nn.Module):
    """Takes steps first, whatever it calls them, and answers rows first."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(6 + 4, 4)

    def forward(self, embedding: Tensor) -> Tensor:
        """
        embedding: [sentence_length, batch_size, embedding_size]
        init_h: [batch_size, hidden_size]
        """
        sentence_length, batch_size, _ = embedding.size()
        h = torch.zeros(batch_size, 4, dtype=embedding.dtype, device=embedding.device)
        states = []
        for step in range(sentence_length):
            h = torch.tanh(self.gate(torch.cat([embedding[step], h], dim=1)))
            states.append(h)
        return torch.stack(states, dim=1)


class WeighsByFrequency(nn.Module):
    """As torch documents `scale_grad_by_freq`."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 6, scale_grad_by_freq=True)

    def forward(self, ids: Tensor) -> Tensor:
        return self.table(ids)


class NormalisesAgain(nn.Module):
    """Rows of length one stay what they are, but for rounding."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(200, 50)
        self.table.weight.data = nn.functional.normalize(self.table.weight.data, p=1)

    def forward(self, ids: Tensor) -> Tensor:
        with torch.no_grad():
            self.table.weight.div_(self.table.weight.norm(p=1, dim=1, keepdim=True))
        return self.table(ids)


class AttendsSharply(nn.Module):
    """One weight for each step: there are no classes."""

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        return torch.einsum("bd,bsd->bs", query, memory).softmax(-1)


def _attends_sharply() -> Subject:
    return subject_of_object(AttendsSharply(), (_randn(3, 256), _randn(3, 7, 256)))


@pytest.mark.parametrize(
    ("rule", "make"),
    [
        ("batch-leak", lambda: subject_of_class(TimeFirst)),
        (
            "wrong-gradient",
            lambda: subject_of_object(WeighsByFrequency(), torch.tensor([[1, 1, 2], [1, 3, 3]])),
        ),
        ("state-changes-in-eval", lambda: subject_of_class(NormalisesAgain)),
        ("overconfident-logits", _attends_sharply),
    ],
)
def test_what_a_random_sample_of_repositories_showed(rule: str, make: Callable[[], Subject]) -> None:
    assert not runner.ask(make(), load(rule)).findings
