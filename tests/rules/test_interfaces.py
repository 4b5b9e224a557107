"""What an interface demands and the class does not use is worth knowing, and no more."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import layersmith
from layersmith.finding import Severity


class MixesFrequencies(nn.Module):
    """Takes what an attention takes, so that either can stand in a layer."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
        return torch.fft.rfft(self.linear(queries), dim=1).abs()


class Attends(nn.Module):
    """The other."""

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
        scores = queries @ keys.mT
        return (scores if mask is None else scores.masked_fill(mask, -1e9)).softmax(-1) @ values


def test_what_another_class_takes_as_well_is_a_note() -> None:
    calls = tuple(torch.randn(3, 7, 6) for _ in range(3))
    report = layersmith.check(MixesFrequencies(), calls, select=["ignored-input", "mask-ignored"])
    found = {finding.where: result.severity_of(finding) for _, result, finding in report.findings()}
    assert len(found) >= 2
    assert set(found.values()) == {Severity.NOTE}


class TakesABatch(nn.Module):
    """The dict is the loader's: what the loss takes of it is not for the model, and what it takes itself is."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        if batch["length"] is None:
            return batch["x"]
        return self.linear(batch["x"])


def test_an_entry_of_a_dict_counts_where_the_class_names_it() -> None:
    batch = {"x": torch.randn(4, 6), "length": torch.rand(4), "label": torch.rand(4)}
    report = layersmith.check(TakesABatch(), (batch,), select=["ignored-input"])
    assert [finding.where for *_, finding in report.findings()] == ["input[0]['length']"]


class AttendsWithinImages(nn.Module):
    def __init__(self, width: int, ahead: int, size: tuple[int, int], heads: int = 4) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(heads, size[0] * size[1]))
        self.linear = nn.Linear(width, ahead)


class Convolves(nn.Module):
    """One call makes either: `block(width, ahead, size)`; the ratio is its own."""

    def __init__(self, width: int, ahead: int, size: tuple[int, int], ratio: int = 2) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, ahead))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def test_an_argument_is_demanded_where_another_constructor_begins_alike() -> None:
    report = layersmith.check(Convolves(6, 6, (4, 4)), torch.randn(3, 6), select=["ignored-argument"])
    assert [finding.where for *_, finding in report.findings()] == ["ratio"]


class Smooths(nn.Module):
    """A divergence from targets that are certain: only their scores count."""

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        certain = torch.zeros_like(x).scatter_(1, target[:, None], 1.0)
        return nn.functional.kl_div(x, certain, reduction="sum")


def test_classes_that_are_no_targets_are_no_dead_features() -> None:
    inputs = torch.randn(5, 32).log_softmax(-1), torch.randint(4, (5,))
    assert [*layersmith.check(Smooths(), inputs, select=["ignored-input"]).findings()] == []


class Halves(nn.Module):
    """Of a list in which some layers take the time, and all are called alike."""

    def forward(self, x: Tensor, temb: Tensor) -> Tensor:
        return x[..., ::2] + x[..., 1::2]


class Doubles(nn.Module):
    def forward(self, x: Tensor, temb: Tensor) -> Tensor:
        return torch.cat([x, x], dim=-1)


class Shifts(nn.Module):
    def forward(self, x: Tensor, temb: Tensor) -> Tensor:
        return x + temb


def test_two_others_that_take_the_same_are_an_interface() -> None:
    calls = torch.randn(3, 6), torch.randn(3, 6)
    report = layersmith.check(Halves(), calls, select=["ignored-input"])
    found = [(finding.where, result.severity_of(finding)) for _, result, finding in report.findings()]
    assert found == [("input[1]", Severity.NOTE)]


class ChopsTheEnd(nn.Module):
    """How much of the input counts is an option."""

    def __init__(self, chop: int = 5) -> None:
        super().__init__()
        self.chop = chop

    def forward(self, x: Tensor) -> Tensor:
        return x[..., : -self.chop].relu()


def test_what_an_option_cuts_off_need_not_count() -> None:
    report = layersmith.check(ChopsTheEnd(), torch.randn(4, 12), select=["ignored-input"])
    assert not [*report.findings()]


class WeighsItsEdges(nn.Module):
    """edge_weight: of each edge, `(num_edges,)`."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor) -> Tensor:
        source, target = edge_index
        messages = self.linear(x)[source] * edge_weight.unsqueeze(-1)
        return x.index_add(0, target, messages)


class SpeaksOfItsEdges(WeighsItsEdges):
    """edge_weight: of each edge, `(num_edges,)`."""

    def forward(self, nodes: Tensor, edge_index: Tensor, edge_weights: Tensor) -> Tensor:
        """Sum the messages, each times its number of edge_weights."""
        source, target = edge_index
        return nodes.index_add(0, target, self.linear(nodes)[source])


def test_a_weight_of_edges_that_is_documented_counts() -> None:
    calls = (torch.randn(5, 6), torch.randint(5, (2, 9)), torch.rand(9))
    for cls, told in ((WeighsItsEdges, 0), (SpeaksOfItsEdges, 1)):
        report = layersmith.check(cls(), calls, select=["ignored-input"])
        assert len([*report.findings()]) == told
