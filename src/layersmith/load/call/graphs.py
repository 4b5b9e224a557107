"""What the parts of a graph are called, and what they look like: nodes, edges, and which node knows which."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from layersmith.load.call.clue import BATCH, PRIMES, Clue
from layersmith.load.constructor.names import WIDTH, plain
from layersmith.load.values import TensorSpec

_RELATION = re.compile(r"^rel(ation)?s?_?(rec|send)\w*$")  # which node an edge comes from, and where it leads
_KIND = re.compile(r"^(rel(ation)?|edge)s?(_?types?)?$")  # how much of each kind it is
KINDS = re.compile(r"^(n|num)?_?edge_types$")
ADJACENCY = re.compile(r"^(adj\w*|a_hat|laplacians?|graphs?|supports?)$")
NODES, _LINKS = 11, 40
_ENDS = TensorSpec((2, _LINKS), torch.int64, NODES)
EDGES: Mapping[str, TensorSpec] = {
    "edge_index": _ENDS,
    "edge_indices": _ENDS,
    "edges": _ENDS,
    "edge_list": _ENDS,
    "edge_attr": TensorSpec((_LINKS, WIDTH), free=frozenset({1})),
    "edge_attrs": TensorSpec((_LINKS, WIDTH), free=frozenset({1})),
    "edge_feat": TensorSpec((_LINKS, WIDTH), free=frozenset({1})),
    "edge_features": TensorSpec((_LINKS, WIDTH), free=frozenset({1})),
    "edge_weight": TensorSpec((_LINKS,), high=1),
    "edge_weights": TensorSpec((_LINKS,), high=1),
    "edge_type": TensorSpec((_LINKS,), torch.int64, 2),
    "edge_types": TensorSpec((_LINKS,), torch.int64, 2),
    "batch": TensorSpec((NODES,), torch.int64, 2),
    "batch_idx": TensorSpec((NODES,), torch.int64, 2),
    "batch_index": TensorSpec((NODES,), torch.int64, 2),
    "pos": TensorSpec((NODES, 3)),
    "z": TensorSpec((NODES,), torch.int64, 10),
    "adj": TensorSpec((NODES, NODES), high=1),
    "num_nodes": TensorSpec((), torch.int64, NODES),
}
ROWS = {"batch", "batch_index", "batch_idx"}  # which graph each node belongs to
PAIRS = {"edge_index", "edge_indices", "edges", "edge_list"}


def graph_part(word: str, width: int) -> Any:
    """A part of a graph by its name; node features where the name is no other part's."""
    if word in ("num_nodes", "num_graphs"):
        return NODES if word == "num_nodes" else 2
    return EDGES.get(word) or TensorSpec((NODES, width or WIDTH), free=frozenset({1}))


def left_out(parameters: Mapping[str, inspect.Parameter]) -> dict[str, TensorSpec]:
    """Features of edges that may be left out, beside edges: layers may have been built for them."""
    words = {plain(name): name for name, one in parameters.items() if one.default is None}
    return {words[word]: EDGES[word] for word in words if word in EDGES and PAIRS & {*map(plain, parameters)}}


def relation(word: str, others: Iterable[str], nodes: tuple[int, ...], kinds: int) -> TensorSpec | None:
    """An edge from each node to each other: [edges, nodes], or its kinds beside such: [batch, edges, kinds].

    Args:
        word: the name.
        others: the names of all inputs.
        nodes: the shape of the main input, of [batch, nodes, ...].
        kinds: how many kinds of edges there are; 0 if unknown.
    """
    if len(nodes) < 3 or not any(map(_RELATION.match, map(plain, others))):  # noqa: PLR2004 - batch, nodes and features
        return None
    edges = nodes[1] * (nodes[1] - 1)
    if _RELATION.match(word):
        return TensorSpec((edges, nodes[1]), high=1)
    return TensorSpec((BATCH, edges, kinds or 2), high=1) if _KIND.match(word) else None


def adjacency(word: str, clue: Clue, main: tuple[int, ...]) -> TensorSpec | None:
    """Which node knows which: [nodes, nodes] of each graph, and of each relation where it has an axis more."""
    if not ADJACENCY.search(word):
        return None
    is_shared = clue.rank == 2 or len(main) > 3  # noqa: PLR2004 - one graph for all rows, channels and steps
    graphs, nodes = () if is_shared else main[:-2], main[-2]
    more = max(0, (clue.rank or 0) - len(main)) if graphs else 0
    relations = range(len(graphs), len(graphs) + more)
    return TensorSpec((*graphs, *PRIMES[2 : 2 + more], nodes, nodes), high=1, free=frozenset(relations))
