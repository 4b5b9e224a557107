"""Arguments that hold several tensors: dicts by their keys, graph data by attributes, maps of several scales."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from layersmith.load.call.callee import Callee
from layersmith.load.call.clue import BATCH, PRIMES, Clue, shaped
from layersmith.load.call.graphs import ADJACENCY, EDGES, graph_part
from layersmith.load.call.loss import CLASSES
from layersmith.load.call.picked import picked
from layersmith.load.constructor.names import WIDTH, plain
from layersmith.load.values import Bundle, TensorSpec
from layersmith.probe import source

_MAPS = re.compile(r"^(features?|feats?|feature_?maps?|inputs?|xs?|fmaps?|outs|pyramid|maps)$")
_CHANNELS = re.compile(r"ch(annel|an)?s?(_list)?$|dims?$|planes|features|in_c")
_WIDTHS = re.compile(r"^(in|input|nfeat|node|num_(node_)?features|n_features|dim|hidden|channels)\w*$")
_LABELS = re.compile(r"^(labels?|targets?|y|class(es)?)$")
_ONE_ID = re.compile(r"(^|_)id$")
_TOKENS = re.compile(r"ids|token|index|labels?$|targets?$|words|text")
_METHODS = frozenset(dir(Tensor)) | {"items", "keys", "values", "get", "last_hidden_state"}
_SIDE, _SMALLEST = 32, 4  # of the largest of a few feature maps, and of the smallest of many
_MATRIX, _SEQUENCE, _IMAGE = 2, 3, 4  # ranks
_MOST = 16  # tensors in a list


def structure(callee: Callee, name: str, main: Any = None) -> Any:
    """A value for a parameter that is no single tensor, beside the main input; None where it seems to be one."""
    forward = source.function_node(source.forward(type(callee.module)))
    if wanted := picked(forward, name) if forward is not None else None:
        return wanted
    if plain(name) in EDGES and "edge" in plain(name):
        return graph_part(plain(name), 0)
    if callee.annotation(name) is Tensor:
        are_maps = any(one.channels for _, one in callee.clues[name].items)  # whatever the annotation says
        return _maps(callee, name) if are_maps else None
    attributes, known = callee.clues[name].attributes, dict(callee.clues[name].items)
    keys = sorted(key[1:-1] for key in attributes if key.startswith("["))
    if keys:
        return {key: _part(callee, key, keys, known.get(key)) for key in keys}
    parts = sorted(part for part in attributes if part not in _METHODS and not part.startswith("_"))
    if parts:
        return Bundle({part: _part(callee, part, parts) for part in parts})
    found = _maps(callee, name) or _items(callee, name)
    return _among_nodes(name, found, main) if found and isinstance(main, TensorSpec) else found


def _among_nodes(name: str, items: Any, main: TensorSpec) -> Any:
    """Matrices that say which node knows which: as many rows and columns as there are nodes."""
    are_matrices = all(isinstance(one, TensorSpec) and one.rank == _MATRIX for one in items)
    if not (ADJACENCY.search(plain(name)) and are_matrices and main.rank > _MATRIX):
        return items
    return type(items)(TensorSpec((main.shape[-2],) * 2, high=1) for _ in items)


def _items(callee: Callee, name: str) -> Any:
    """A list of the tensors that forward takes from the argument one by one."""
    clue = callee.clues[name]
    known, parts = dict(clue.items), clue.parts or clue.picked or _count_told(callee, name)
    is_maps = any((one.rank or 0) > _SEQUENCE or one.channels for one in known.values())
    numbers = [key for key in known if type(key) is int]
    is_counted = bool(numbers) and all(one.says_size for one in known.values())
    if clue.rank or not known or not (is_maps or parts or is_counted):
        return None
    count = parts or (max(numbers) + 1 if numbers else 2)
    like = next(iter(known.values())) if clue.picked else Clue(rank=_IMAGE if is_maps else None)
    clues = [known.get(index, known.get(None, like)) for index in range(count)]
    has_lists = any(map(_is_list, clues))  # `scores, penalties = x`
    if clue.parts and not has_lists and not all(one.rank or one.says_size or one.dtype for one in clues):
        return None
    items = [_map(one, level, count) for level, one in enumerate(clues)]
    if not clue.parts:
        return items
    return tuple([one, one] if _is_list(said) else one for said, one in zip(clues, items, strict=True))


def _count_told(callee: Callee, name: str) -> int:
    """How many the constructor was told of what forward goes through: `support_len`, `num_supports`; or 0."""
    word = re.escape(plain(name).rstrip("s"))
    is_walked = callee.clues[name].is_sequence and None in dict(callee.clues[name].items)
    count = (
        callee.told(re.compile(rf"^(n|num|len)_?{word}s?$|^{word}s?_?(len|num|count)$")) if is_walked else 0
    )
    return count if count <= _MOST else 0


def _is_list(clue: Clue) -> bool:
    return clue.is_sequence and not clue.rank


def side(level: int, count: int) -> int:
    """Of one of so many feature maps, each half as large as the one before."""
    return max(_SIDE, _SMALLEST << max(0, count - 1)) >> level


def _map(clue: Clue, level: int, count: int) -> TensorSpec:
    """A tensor as the clue says; a feature map at such a level of so many."""
    rank = clue.rank or max(clue.min_rank, _IMAGE if clue.channels else len(clue.sizes) or 2)
    return shaped(clue, rank, spatial=side(level, count) if rank >= _IMAGE else None)


def _part(callee: Callee, part: str, others: Iterable[str], clue: Clue | None = None) -> Any:
    word = plain(part)
    if clue is not None and (clue.channels or (clue.rank and clue.says_size)):
        numbered = sorted(other for other in others if re.search(r"\d$", other))
        return _map(clue, numbered.index(part) if part in numbered else 0, len(numbered))
    width = callee.namesake_size(word) or next(
        (v for n, v in callee.arguments.items() if type(v) is int and v > 1 and _WIDTHS.match(plain(n))),
        WIDTH,
    )
    if any("edge" in other or other in ("adj", "adj_t") for other in others):
        return graph_part(word, width)
    if clue is not None and clue.last:
        return shaped(clue, clue.rank or max(2, clue.min_rank))
    if callee.namesake_size(word):
        return TensorSpec((BATCH, width), free=frozenset({1}))
    return _integers(callee, word, clue) or _floats(word, width, others)


def _integers(callee: Callee, word: str, clue: Clue | None) -> TensorSpec | None:
    """Labels, masks and token ids by their names."""
    free, is_long = frozenset({1}), clue is not None and clue.min_rank > 1
    if _ONE_ID.search(word) and not is_long:  # of a user, of an item
        return TensorSpec((BATCH,), torch.int64, 10, free=frozenset({0}))
    if _LABELS.match(word) and not is_long:
        return TensorSpec((BATCH,), torch.int64, callee.told(CLASSES) or 2, free=frozenset({0}))
    if "mask" in word:
        return TensorSpec((BATCH, PRIMES[0]), torch.int64, 2, free=free)
    return TensorSpec((BATCH, PRIMES[0]), torch.int64, 10, free=free) if _TOKENS.search(word) else None


def _floats(word: str, width: int, others: Iterable[str]) -> TensorSpec:
    """Images by their names; a vector for each row else."""
    if not re.search(r"im(age|g)|pixel|rgb|frame|res\d|layer\d|^[cp]\d$|depth|^(low|high|out|aux)", word):
        return TensorSpec((BATCH, width), free=frozenset({1}))
    maps = sorted(other for other in others if re.search(r"\d$", other))
    side = max(4, 32 >> maps.index(word)) if word in maps else 32
    channels = 3 if re.search(r"im(age|g)|pixel|rgb|frame", word) else width
    return TensorSpec((BATCH, channels, side, side), free=frozenset({1}))


def is_of_image(value: Any) -> bool:
    """Whether this is the shape of one image, (3, 32, 32), and no list of widths."""
    return len(value) == _SEQUENCE and value[0] in (1, 3, 4) and value[0] < value[1] == value[2]


def _maps(callee: Callee, name: str) -> Any:
    """Feature maps whose channels the constructor was told in a list, each half as large as the one before."""
    clue = callee.clues[name]
    if not clue.is_sequence or clue.rank or not _MAPS.match(plain(name)):
        return None
    listed = [
        list(value)
        for argument, value in callee.arguments.items()
        if isinstance(value, list | tuple) and len(value) > 1 and all(type(item) is int for item in value)
        if _CHANNELS.search(plain(argument)) and not is_of_image(value)
    ]
    if not listed:
        return None
    sides = [side(level, len(listed[0])) for level in range(len(listed[0]))]
    return [
        TensorSpec((BATCH, channels, side, side)) for channels, side in zip(listed[0], sides, strict=True)
    ]
