"""A node without edges must be a node all the same.

## Why it matters
`edge_index.max() + 1` is the number of nodes only where the last one has an edge; a graph in which it has none loses a
row, or fails far below. And a degree of zero, to the power -0.5, is infinite: one lonely node makes the loss NaN.

## How it is tested
Asked where forward takes edges, as two rows of node numbers, beside features of the nodes. The graph is called once
with edges from and to every node, then with another edge in place of each that the last node has. That must not fail,
other than by a refusal that says so, nor lose a row of an output that has one for each node, nor make a number that is
none.

## How to fix it
`x.size(0)` for the number of nodes; `degree.clamp(min=1)`, or `masked_fill` where the inverse is infinite.

## How to reproduce it
    nodes = args[0].shape[0]
    edges = torch.stack([torch.arange(nodes - 1), torch.arange(nodes - 1).roll(1)])
    output = run(args[0], edges)
    assert len(output) == nodes and output.isfinite().all(), "the last node, which has no edges, is lost"
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.load.call import graphs
from layersmith.load.constructor.names import plain
from layersmith.probe import arguments, source, tree, wording
from layersmith.probe.inputs import Inputs
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.CALLABLE)
def isolated_nodes(case: Case) -> Iterator[Finding]:
    """Leave the last node without edges."""
    edges, count = _graph(case)
    whole, lonely = (arguments.replaced(case.inputs, {id(edges): made}) for made in _edges(edges, count))
    if (usual := _outputs(case, whole)) is None:
        raise NotApplicable("it refuses a graph in which every node has edges")
    try:
        outputs = [*tree.tensors(case.run_fresh(lonely))]
    except Exception as error:  # noqa: BLE001 - whatever forward raises is the finding
        if source.is_refusal(error, case.module):
            return
        file, line = source.error_line(error, case.module)
        yield _finding(f"raised {wording.short(error)}", file, line)
        return
    file, line = source.class_line(type(case.module))
    rows = [len(got) for had, got in zip(usual, outputs, strict=False) if had.ndim and len(had) == count]
    if any(found != count for found in rows):
        yield _finding(f"answered for {min(rows)} of {count} nodes", file, line)
    elif tree.is_finite(usual) and not tree.is_finite(outputs):
        yield _finding("answered with numbers that are not finite", file, line)


def _graph(case: Case) -> tuple[Tensor, int]:
    """The edges, and how many nodes the features beside them have."""
    named = [(plain(name), tensor) for _, name, tensor in arguments.named(case.module, case.inputs)]
    edges = [x for name, x in named if name in graphs.PAIRS and x.ndim == 2 and len(x) == 2]  # noqa: PLR2004
    features = [x for _, x in named if x.is_floating_point() and x.ndim > 1]
    if not edges or not features or edges[0].is_floating_point():
        raise NotApplicable("forward takes no edges beside features of nodes")
    count = len(features[0])
    if edges[0].shape[1] < count or count < 3 or int(edges[0].max()) >= count:  # noqa: PLR2004 - one of them alone
        raise NotApplicable("there are too few edges, or nodes, for one to be left out")
    return edges[0], count


def _edges(edges: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """With edges from and to every node, and with none of the last."""
    whole = edges.clone()
    whole[:, :count] = torch.stack([torch.arange(count), torch.arange(count).roll(1)]).to(edges)
    lonely = whole.clone()
    lonely[:, (whole == count - 1).any(0)] = whole[:, 1:2]  # one that is there, and leads to another node
    return whole, lonely


def _outputs(case: Case, inputs: Inputs) -> list[Tensor] | None:
    try:
        return [*tree.tensors(case.run_fresh(inputs))]
    except Exception:  # noqa: BLE001 - it wants other edges
        return None


def _finding(did: str, file: str, line: int) -> Finding:
    return Finding(
        f"forward {did} where the last node has no edges",
        where="edges",
        file=file,
        line=line,
        fix="take the number of nodes from their features, x.size(0), and divide by no degree of zero",
    )


def _ring() -> tuple[Tensor, Tensor]:
    return torch.randn(5, 6), torch.tensor([[0, 1, 2, 3, 4, 4, 2], [1, 2, 3, 4, 0, 1, 0]])


@isolated_nodes.bad("where the last node has no edges", inputs=_ring)
class CountsByItsEdges(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.root, self.near = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        start, end = edge_index
        count = int(edge_index.max()) + 1
        return self.root(x) + x.new_zeros(count, 6).index_add(0, end, self.near(x)[start])


@isolated_nodes.bad("not finite where the last node has no edges", inputs=_ring)
class DividesByTheDegree(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        start, end = edge_index
        degree = x.new_zeros(len(x)).index_add(0, end, x.new_ones(len(end)))
        total = torch.zeros_like(x).index_add(0, end, self.linear(x)[start])
        return total / degree[:, None]


@isolated_nodes.bad("answered for 4 of 5 nodes", inputs=_ring)
class PoolsByItsEdges(nn.Module):
    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        count = int(edge_index.max()) + 1
        return x.new_zeros(count, 6).index_add(0, edge_index[1], x[edge_index[0]])


@isolated_nodes.good(inputs=_ring)
class CountsItsNodes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        start, end = edge_index
        sent = self.linear(x)[start]
        total = sent.new_zeros(x.size(0), 6).index_add(0, end, sent)
        count = sent.new_zeros(x.size(0), 1).index_add(0, end, torch.ones_like(sent[:, :1]))
        return total / count.clamp(min=1)


@isolated_nodes.good(inputs=lambda: (torch.randn(7, 6), _ring()[1]))
class KnowsButEdges(nn.Module):
    """Its features are those of edges, of which each is as good as the next."""

    def __init__(self) -> None:
        super().__init__()
        self.near = nn.Embedding(5, 6)

    def forward(self, edge_attr: Tensor, edge_index: Tensor) -> Tensor:
        return edge_attr * self.near(edge_index).prod(0)
