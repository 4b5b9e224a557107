"""Rows that are nodes of a graph and are meant to depend on each other, and no batch."""

from __future__ import annotations

import re

import torch

from layersmith.probe.inputs import Inputs

GRAPH_NAMES = ("edge_index", "edge", "edges", "adj", "adjacency", "adj_matrix", "graph")
# Whose rows a table of rows is asked for.
NEIGHBOURS = re.compile(r"neighbo|\bnbrs?(?:\b|_)|^knn", re.IGNORECASE)


def is_graph(inputs: Inputs, names: tuple[str, ...]) -> bool:
    """Whether rows are nodes of a graph, which are meant to depend on each other."""
    if any(name.lower() in GRAPH_NAMES for name in (*names, *inputs.kwargs)):
        return True
    if "batch" in names[1:]:  # beside the nodes: to which graph each of them belongs
        return True
    tables = [tensor for tensor in inputs.tensors() if tensor.ndim == 2]  # noqa: PLR2004 - nodes x features, 2 x edges
    if any(map(NEIGHBOURS.search, (*names, *inputs.kwargs))) and len(tables) == len([*inputs.tensors()]):
        return True  # nodes x features and nodes x neighbours
    has_edges = any(not table.is_floating_point() and table.shape[0] == 2 for table in tables)  # noqa: PLR2004 - as above
    return has_edges and any(table.is_floating_point() for table in tables)


def has_adjacency(inputs: Inputs) -> bool:
    """Whether a matrix of rows by rows comes with a table of rows: perhaps which node knows which."""
    first, *others = [*inputs.tensors()] or [torch.empty(0)]
    return first.ndim == 2 and any(  # noqa: PLR2004 - rows x features
        tuple(other.shape) == (len(first), len(first)) for other in others
    )
