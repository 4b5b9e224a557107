"""The first guesses at a call: each parameter by its annotation, its name and its clue, at several ranks."""

from __future__ import annotations

import ast
import inspect
import re
import typing
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from layersmith.load.call import graphs
from layersmith.load.call.callee import Callee, State
from layersmith.load.call.clue import BATCH, PRIMES, shaped
from layersmith.load.call.given_state import given_state
from layersmith.load.call.lookup import looked_up
from layersmith.load.call.loss import has_labels, is_loss, loss_states
from layersmith.load.call.named import BOUNDARIES, NOTHING, SIZES, Asked, by_name, count
from layersmith.load.call.sized import told_image, told_sides
from layersmith.load.call.stated import integers_said
from layersmith.load.call.structure import structure
from layersmith.load.call.syntax import compared_texts, rest_of
from layersmith.load.constructor.names import WIDTH, plain
from layersmith.load.constructor.standins import ANY_MODULE
from layersmith.load.values import TensorSpec
from layersmith.probe import source

_MATRIX, _SEQUENCE, _IMAGE, _VIDEO = 2, 3, 4, 5  # ranks
_IMAGES = re.compile(r"^(img|image|images|imgs|frames|pixel_values)$")
_VIDEOS = re.compile(r"^(video|videos|clip|vid)$")
_LISTS = re.compile(r"(^|_)(features|feats|inputs|xs|feature_maps|images|tensors)$")
_OTHER_SEQUENCE = re.compile(r"context|memory|encoder_|cond")  # of a length of its own
_DECODED = re.compile(r"(^|_)(dec|decoder)(_|$)")  # as the target beside a source
_TEXTS = re.compile(
    r"^(context|encoder_hidden_states|text_emb\w*|memory)$"
)  # what an image is conditioned on
_SEQUENCE_CLASS = re.compile(r"d_model|n_embd|embed_dim|^dim$|model_dim|d_embed|emb_dim|config|^cfg$|head")
_SEQUENCE_INPUT = re.compile(r"^(hidden_states|inputs_embeds|sequences?|sequence_output|\w*tokens)$")
_BETWEEN = re.compile(r"range\(1, *\w+\.(?:ndim|dim\(\)) *- *1\)")  # the axes between the first and the last
_OF_DIMENSIONS = re.compile(r"([123])[dD](?![a-z\d])")  # in the name of a class, as torch has it: AvgPool2d
_CHANNEL_ARGUMENTS = re.compile(
    r"^(channels|in_ch\w*|input_channels|im(age|g)_ch\w*|n_channels|num_channels|in_planes|inplanes|in_c)$"
)
_LENGTH_ARGUMENTS = re.compile(
    r"^(seq_?len\w*|sequence_length|context_(window|len\w*)|input_len\w*|lookback|num_patches|n_patches|seq_size|window_size|window|num_tokens|num_nodes|n_nodes|"
    r"(num_|n_)fields|field_(num|count|size))$"
)
_FRAMES_ARGUMENTS = re.compile(r"^((num_|n_|all_)?frames|clip_len(gth)?|num_segments)$")
_FEATURE_ARGUMENTS = re.compile(
    r"^(input_(size|dim)|in_(features|dim)|d_in|dim|d_model|n_embd|embed_(dim|size)|embedding_dim|n_features|num_features|"
    r"e_dim)$"
)
_ROTATIONS = re.compile(r"(^|_)(cis|complex)$")  # cos + i sin
_SPATIAL = (None, 32, 64, 16, 8, 28, 224)
_LARGEST_IMAGE = 512
_FEW_STEPS, _WINDOWS = 2, 4  # a sequence of less holds no past, present and future; a window of it, then
_LATER_RANK, _LATER_SIZE = 1.0, 0.7  # how much less likely the next rank and the next size are


def starts(callee: Callee) -> list[State]:
    """First guesses, the likeliest first."""
    if not callee.parameters:
        return [{}]
    spatial = _spatial_sizes(callee)
    weighed = [
        (_LATER_RANK * r + _LATER_SIZE * s, _state(callee, rank, size))
        for r, rank in enumerate(_ranks(callee))
        for s, size in enumerate(_sizes_at(rank, spatial))
    ]
    if is_loss(callee):
        are_told = all(callee.clues[name].names for name in callee.required[:2]) and not has_labels(callee)
        weighed += [(_LATER_RANK if are_told else -1.0, state) for state in loss_states(callee)]
    found = [state for _, state in sorted(weighed, key=lambda pair: pair[0])]
    left_out = graphs.left_out(callee.parameters)
    return [found[0], {**found[0], **left_out}, *found[1:]] if left_out else found


def value_for(callee: Callee, name: str, rank: int, *, spatial: int | None = None, main: Any = None) -> Any:
    """One parameter's first value, beside the main input where there is one."""
    node = source.function_node(source.forward(type(callee.module)))
    if texts := compared_texts(node, name) if node is not None else []:
        return texts[0]
    structured = given_state(callee, name) if main is not None else None
    structured = structure(callee, name, main) if structured is None else structured
    if structured is not None:
        return structured
    by_kind = _by_annotation(callee, name, rank, spatial)
    if by_kind is not None:
        return by_kind
    special = by_name(Asked(callee, name, main))
    if special is not None:
        return special if special is not NOTHING else None
    if isinstance(main, TensorSpec) and main.dtype is torch.float32:
        return _as_told(callee, name, _sibling(callee, name, main, spatial))
    return _as_told(callee, name, _main(callee, name, rank, spatial))


def _as_told(callee: Callee, name: str, spec: TensorSpec) -> TensorSpec:
    """As wide as the constructor was told by the input's own name, and as its columns are picked."""
    clue, size = callee.clues[name], callee.namesake_size(plain(name))
    if size and not clue.says_size and spec.rank > 1:
        return spec.resized(1 if spec.rank >= _IMAGE else spec.rank - 1, size, fix=False)
    is_open = spec.rank > 1 and spec.rank - 1 in spec.free
    return spec.resized(spec.rank - 1, clue.reach, fix=False) if clue.reach and is_open else spec


def _ranks(callee: Callee) -> list[int]:
    """Ranks to try for the main input, the likeliest first."""
    clue = callee.clues[callee.required[0]]
    is_sequence = any(_SEQUENCE_CLASS.search(name) for name in [*callee.arguments, *callee.settings])
    is_sequence |= bool(_SEQUENCE_INPUT.match(callee.required[0]))
    cls: type = type(callee.module)
    dimensions = _OF_DIMENSIONS.findall(cls.__name__)
    if clue.rank:
        likely = [clue.rank]
    elif any(map(BOUNDARIES.match, callee.parameters)):
        likely = [_MATRIX]
    elif told_image(callee) and not clue.says_size:
        likely = [_IMAGE]
    elif len(dimensions) == 1 and not clue.last:
        likely = [2 + int(dimensions[0]), _SEQUENCE, _MATRIX]
    elif clue.channels is not None:
        likely = [4, 3, 5, 2]
    elif clue.min_rank == _MATRIX and callee.told(_CHANNEL_ARGUMENTS) and not (clue.last or is_sequence):
        likely = [_IMAGE, _SEQUENCE]  # `x.shape[1] == self.channels`
    elif is_sequence or clue.min_rank > _MATRIX or _BETWEEN.search(source.text_of(cls)):
        likely = [3, 2, 4] if clue.says_size or is_sequence else [3, 4, 2]
    else:
        likely = [2, 3, 4]
    return [rank for rank in dict.fromkeys([*likely, 2, 3, 4, 5, 1, 0]) if rank >= clue.min_rank]


def _spatial_sizes(callee: Callee) -> list[int | None]:
    """Heights and widths to try; those that the constructor was told first."""
    told = [*told_image(callee)[2:], *(sides[-1] for sides in told_sides(callee) if sides)]
    known = [size for size in told if type(size) is int and 1 < size <= _LARGEST_IMAGE]
    return list(dict.fromkeys([*known, *_SPATIAL]))


def _sizes_at(rank: int, spatial: list[int | None]) -> list[int | None]:
    if rank > _SEQUENCE:
        return spatial
    return list(dict.fromkeys([None, *spatial])) if rank == _SEQUENCE else [None]


def _state(callee: Callee, rank: int, spatial: int | None) -> State:
    state: State = {}
    main: Any = None
    for name in callee.required:
        value = value_for(callee, name, rank, spatial=spatial, main=main)
        if isinstance(value, TensorSpec) and main is not None:
            value = _as_named(value, callee.clues[name].names, _sizes_by_name(callee, state))
        if callee.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL:
            value = (value,) * (_taken(callee) or (1 if name == "args" else 2))
        state[name] = value
        if main is None and isinstance(value, TensorSpec) and value.rank:
            main = value
    return state


def _taken(callee: Callee) -> int:
    """How many of `*inputs` the module requires to which forward hands them on; 0 where it does not."""
    function = source.function_node(source.forward(type(callee.module)))
    for node in (one for one in ast.walk(function or ast.Pass()) if isinstance(one, ast.Call)):
        handed = function is not None and any(rest_of(given, function) for given in node.args)
        called = looked_up(node.func, callee.module, {}) if handed else None
        if isinstance(called, nn.Module):
            parameters = [*inspect.signature(source.forward(type(called))).parameters.values()][1:]
            needed = [
                one
                for one in parameters
                if one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD
            ]
            return max(0, len(needed) - len(node.args) + 1)
    return 0


def _sizes_by_name(callee: Callee, state: State) -> dict[str, int]:
    """The sizes of axes that the documentation names: of `(N, in_dim)` and then of `(N,)`."""
    found: dict[str, int] = {}
    for name, spec in state.items():
        names = callee.clues[name].names
        if isinstance(spec, TensorSpec) and len(names) == spec.rank:
            found = {**dict(zip(names, spec.shape, strict=True)), **found}
    return found


def _as_named(spec: TensorSpec, names: tuple[str, ...], sizes: Mapping[str, int]) -> TensorSpec:
    if len(names) != spec.rank:
        return spec
    for axis, name in enumerate(names):
        if axis in spec.free and name.strip("_") and name in sizes:
            spec = spec.resized(axis, sizes[name], fix=False)
    return spec


def _by_annotation(callee: Callee, name: str, rank: int, spatial: int | None) -> Any:
    annotation, clue = callee.annotation(name), callee.clues[name]
    plain_kinds: Mapping[Any, Any] = {bool: False, float: 1.0, str: "mean", dict: {}, int: count(plain(name))}
    origin = typing.get_origin(annotation)
    if any((origin or annotation) is kind for kind in plain_kinds):
        return plain_kinds[origin or annotation]
    if inspect.isclass(annotation) and issubclass(annotation, nn.Module):
        return ANY_MODULE
    if said := integers_said(annotation, clue):
        return tuple(PRIMES[:said])
    is_said_list = origin in (list, tuple) and "Tensor" in str(annotation)
    if is_said_list or (_LISTS.search(plain(name)) and clue.is_sequence and not clue.rank):
        parts = typing.get_args(annotation)
        several = len(parts) if origin is tuple and Ellipsis not in parts else 2
        items = [shaped(clue, rank, spatial=spatial)] * several
        return tuple(items) if origin is tuple else items
    if clue.parts and not (clue.rank or clue.says_size):
        is_size = SIZES.search(plain(name))  # `height, width = x_size`
        return PRIMES[: clue.parts] if is_size else (shaped(clue, rank, spatial=spatial),) * clue.parts
    return None


def _main(callee: Callee, name: str, rank: int, spatial: int | None) -> TensorSpec:
    clue = callee.clues[name]
    spec = shaped(clue, clue.rank or _named_rank(callee, name) or max(rank, clue.min_rank), spatial=spatial)
    told = next(iter(told_image(callee)), 3 if _IMAGES.match(plain(name)) else 0)
    channels = callee.told(_CHANNEL_ARGUMENTS) or told
    if clue.names[1:2] and clue.names[1] in ("c", "channel", "channels"):
        channels = channels or callee.told(_FEATURE_ARGUMENTS)
    if spec.rank >= _IMAGE:
        for sides in (one for one in told_sides(callee) if len(one) == spec.rank - 2 and one[-1] == spatial):
            for index, side in enumerate(sides, start=2):  # one for each: `image_size=(64, 32)`
                spec = spec.resized(index, side, fix=False) if index in spec.free else spec
        if (frames := callee.told(_FRAMES_ARGUMENTS)) and spec.rank == _VIDEO:
            axis = clue.names.index("t") if "t" in clue.names else 2
            spec = spec.resized(axis, frames, fix=False) if axis in spec.free else spec
        is_channel = 1 in spec.free and not clue.last and not _is_spatial_name(clue.names[1:2])
        return spec.resized(1, channels, fix=False) if channels and is_channel else spec
    features = callee.told(_FEATURE_ARGUMENTS) or (
        callee.told(_CHANNEL_ARGUMENTS) if spec.rank == _MATRIX else 0
    )
    if spec.rank in (_MATRIX, _SEQUENCE) and {1, spec.rank - 1} <= spec.free and features:
        spec = spec.resized(spec.rank - 1, features, fix=False)
    length = callee.told(_LENGTH_ARGUMENTS)
    if spec.rank == _SEQUENCE and 1 in spec.free and length and (clue.last or features):
        return spec.resized(1, length if length > _FEW_STEPS else _WINDOWS * length, fix=False)
    if spec.rank == _SEQUENCE and 1 not in spec.free and 2 in spec.free and length > _FEW_STEPS:  # noqa: PLR2004
        return spec.resized(2, length, fix=False)  # the steps of so many channels
    return spec


def _sibling(callee: Callee, name: str, main: TensorSpec, spatial: int | None) -> TensorSpec:
    """A tensor beside the main one: of its shape (q, k, v; skips) as far as its own clue leaves that open."""
    clue, word = callee.clues[name], plain(name)
    if _ROTATIONS.search(word):
        return TensorSpec(
            (PRIMES[0], PRIMES[1]), torch.complex64, free=frozenset({0, 1})
        )  # one for each step and pair of features
    if main.rank > _SEQUENCE and _TEXTS.search(word) and not (clue.rank or clue.says_size or clue.min_rank):
        width = callee.namesake_size(word) or WIDTH
        return TensorSpec((BATCH, PRIMES[1], width), free=frozenset({1, 2}))
    is_vector = main.rank > _SEQUENCE and clue.last and not clue.channels  # a vector beside an image
    beside = _MATRIX if is_vector or (clue.reach and main.rank < _MATRIX) else main.rank
    rank = clue.rank or _named_rank(callee, name) or max(beside, clue.min_rank)
    if rank != main.rank:
        return shaped(clue, rank, spatial=spatial)
    if not clue.says_size:
        is_decoded = rank == _SEQUENCE and _DECODED.search(word) and main.free == frozenset(range(rank))
        return main.resized(1, PRIMES[1], fix=False) if is_decoded else main
    spec = shaped(clue, rank, spatial=spatial)
    same = [m if i in spec.free else s for i, (s, m) in enumerate(zip(spec.shape, main.shape, strict=True))]
    spec = replace(spec, shape=tuple(same))
    is_other = rank == _SEQUENCE and 1 in spec.free and _OTHER_SEQUENCE.search(word)
    return spec.resized(1, PRIMES[1], fix=False) if is_other else spec


def _named_rank(callee: Callee, name: str) -> int:
    """The rank of something that is called an image or a video; 0 for other names."""
    at_least, is_flat = callee.clues[name].min_rank, bool(callee.clues[name].last)
    if is_flat:  # what a linear map takes: the features of one
        return 0
    if _IMAGES.match(plain(name)):
        return _IMAGE if at_least <= _IMAGE else _VIDEO
    return _VIDEO if _VIDEOS.match(plain(name)) else 0


def _is_spatial_name(names: tuple[str, ...]) -> bool:
    return any(re.fullmatch(r"[hwnlt]|height|width|seq\w*", name.lower()) for name in names)
