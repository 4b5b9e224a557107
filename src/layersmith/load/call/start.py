"""The first guesses at a call: each parameter by its clue, its annotation and its name, at several ranks."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.load.call.clue import BATCH, PRIMES, Clue, shaped
from layersmith.load.call.reading import module_clue, parameter_clue
from layersmith.load.call.stated import annotated_clue, documented_clue
from layersmith.load.constructor.candidates import evaluated
from layersmith.load.constructor.names import WIDTH, plain
from layersmith.load.constructor.standins import ANY_MODULE
from layersmith.load.values import TensorSpec

State = dict[str, Any]  # parameter of forward -> description of its argument

_LOSS = re.compile(r"Loss|Criterion|Dice|Jaccard|Tversky|Focal|CE$")
_IDS = re.compile(
    r"(^|_)(ids?|idx|indices|index|tokens?|labels?|targets?|classes|segment|segs|codes|tgt_seq|src_seq|trg_seq|"
    r"words?|sentences?|text|caption|z_type|atom|actions?)$"
)
_TIME = re.compile(r"^(t|time|timesteps?|ts|sigma|noise_levels?|steps?|noise_labels|log_snr)$")
_STATE = re.compile(
    r"(past_key_values?|cache|state|states|kv_cache|hidden|hx|hidden_state|h_?0|mems?|memory_state)$"
)
_LENGTHS = re.compile(r"(lens|lengths?|valid_len)$")
_CONDITION = re.compile(r"^(temb|emb|time_emb|t_emb|cond|c|vec|conditioning|context_vec|style|latent)$")
_IMAGES = re.compile(r"^(img|image|images|imgs|frames|pixel_values)$")
_VIDEOS = re.compile(r"^(video|videos|clip|vid)$")
_COUNTS = re.compile(
    r"^(h|w|height|width|num_frames|n_frames|seq_len|seqlen|length|start_pos|layer_idx|batch_size|num_\w+|offset|"
    r"frames|epoch|current_step)$"
)
_FLAGS = re.compile(
    r"^(return|use|is|output|need|with|do|apply|add|has)_|^(training|causal|inverse|reverse)$"
)
_SIZES = re.compile(r"(^|_)(size|shape|resolution|hw|x_size|output_size|input_size)$")
_LISTS = re.compile(r"(^|_)(features|feats|inputs|xs|feature_maps|images|tensors)$")
_SEQUENCE_CLASS = re.compile(r"d_model|n_embd|embed_dim|^dim$|model_dim|d_embed|emb_dim|config|^cfg$|head")
_CHANNEL_ARGUMENTS = re.compile(
    r"^(channels|in_ch\w*|input_channels|im(age|g)_ch\w*|n_channels|num_channels|in_planes|inplanes|in_c)$"
)
_IMAGE_ARGUMENTS = re.compile(
    r"^(image_?size|img_?size|input_resolution|resolution|fmap_size|spatial_size|sample_size|size|input_size|input_shape)$"
)
_LENGTH_ARGUMENTS = re.compile(
    r"^(seq_?len\w*|sequence_length|num_patches|n_patches|seq_size|window_size|window|num_tokens|num_nodes|n_nodes)$"
)
_FEATURE_ARGUMENTS = re.compile(
    r"^(input_size|input_dim|in_features|in_dim|d_in|dim|d_model|n_embd|embed_dim|embed_size|n_features|num_features)$"
)
_HIDDEN_ARGUMENTS = re.compile(
    r"^(hidden_(size|dim|features|units)|n_?hidden|d_hidden|hid_dim|num_units|state_size)$"
)
_OTHER_SEQUENCE = re.compile(r"context|memory|encoder_|cond")  # of a length of its own
_ADJACENCY = re.compile(r"^(adj\w*|a_hat|laplacian|graph)$")
_GRAPH: Mapping[str, TensorSpec] = {
    "edge_index": TensorSpec((2, 40), torch.int64, 11),
    "batch": TensorSpec((11,), torch.int64, 2),
    "edge_attr": TensorSpec((40, WIDTH)),
    "edge_weight": TensorSpec((40,), high=1),
    "edge_type": TensorSpec((40,), torch.int64, 2),
    "pos": TensorSpec((11, 3)),
}
_NODES = 11


@dataclass(frozen=True, slots=True)
class Callee:
    """A module with what is known of its forward."""

    module: nn.Module
    arguments: Mapping[str, Any]  # of the constructor, defaults included
    parameters: Mapping[str, inspect.Parameter]
    clues: Mapping[str, Clue]
    scope: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, module: nn.Module, arguments: Mapping[str, Any]) -> Callee:
        """Read the module's forward."""
        forward = inspect.unwrap(type(module).forward)
        parameters = {
            name: parameter
            for name, parameter in list(inspect.signature(type(module).forward).parameters.items())[1:]
            if parameter.kind is not parameter.VAR_KEYWORD
        }
        bound = {**_defaults(type(module)), **arguments}
        scope = getattr(forward, "__globals__", {})
        clues = {
            name: _clue(module, name, position, parameter, bound, scope)
            for position, (name, parameter) in enumerate(parameters.items())
        }
        return cls(module, bound, parameters, clues, scope)

    @property
    def required(self) -> list[str]:
        """The parameters without a default; where there is none, the first that is a tensor, or all of *inputs."""
        plain_ones = [
            n for n, p in self.parameters.items() if p.default is p.empty and p.kind is not p.VAR_POSITIONAL
        ]
        return plain_ones or list(self.parameters)[:1]

    def annotation(self, name: str) -> Any:
        """The parameter's annotation as an object, or None."""
        return evaluated(self.parameters[name].annotation, self.scope)


def starts(callee: Callee) -> list[State]:
    """First guesses, the likeliest first."""
    if not callee.parameters:
        return [{}]
    ranks, sizes = _ranks(callee), _spatial_sizes(callee)
    weighed = [
        (1.0 * r + 0.7 * s, _state(callee, rank, size))
        for r, rank in enumerate(ranks)
        for s, size in enumerate(sizes if rank > 3 else [None, *sizes] if rank == 3 else [None])
    ]
    if _is_loss(callee):
        weighed += [(-1 + 0.01 * n, state) for n, state in enumerate(_loss_states(callee))]
    return [state for _, state in sorted(weighed, key=lambda pair: pair[0])]


def value_for(callee: Callee, name: str, rank: int, *, spatial: int | None = None, main: Any = None) -> Any:
    """One parameter's first value, beside the main input where there is one."""
    word = plain(name)
    by_kind = _by_annotation(callee, name, rank, spatial)
    if by_kind is not None:
        return by_kind
    if "edge_index" in callee.parameters and word in _GRAPH:
        return _GRAPH[word]
    special = _by_name(callee, name, word, main)
    if special is not None:
        return special if special is not NOTHING else None
    return _tensor(callee, name, word, rank, spatial, main)


_MATRIX, _SEQUENCE = 2, 3  # ranks: [batch, features], [batch, length, features]
NOTHING = object()  # stands for "leave it None"


def _defaults(cls: type) -> dict[str, Any]:
    found = {}
    for base in cls.__mro__:
        parameters = inspect.signature(base.__init__).parameters if "__init__" in vars(base) else {}
        for name, parameter in parameters.items():
            if parameter.default is not parameter.empty:
                found.setdefault(name, parameter.default)
        if base is nn.Module:
            break
    return found


def _clue(
    module: nn.Module,
    name: str,
    position: int,
    parameter: inspect.Parameter,
    arguments: Mapping[str, Any],
    scope: Mapping[str, Any],
) -> Clue:
    sizes = {key: value for key, value in arguments.items() if type(value) is int}
    stated = annotated_clue(evaluated(parameter.annotation, scope), sizes)
    if stated is not None:
        return stated
    if type(module).__module__.startswith("torch.nn"):
        return module_clue(module, position, keyword=name)
    return parameter_clue(module, name).merged(documented_clue(type(module), name))


def _ranks(callee: Callee) -> list[int]:
    """Ranks to try for the main input, the likeliest first."""
    clue = callee.clues[callee.required[0]]
    if clue.rank:
        likely = [clue.rank]
    elif clue.channels is not None:
        likely = [4, 3, 5, 2]
    elif clue.says_size or any(_SEQUENCE_CLASS.search(name) for name in callee.arguments):
        is_sequence = any(_SEQUENCE_CLASS.search(name) for name in callee.arguments)
        likely = [3, 2, 4] if is_sequence else [2, 3, 4]
    else:
        likely = [2, 3, 4] if clue.min_rank <= _MATRIX else [3, 4, 2]
    ranks = dict.fromkeys([*likely, 2, 3, 4, 5, 1, 0])
    return [rank for rank in ranks if rank >= clue.min_rank]


def _spatial_sizes(callee: Callee) -> list[int | None]:
    told = [
        value[-1] if isinstance(value, tuple | list) else value
        for name, value in [*callee.arguments.items(), *vars(callee.module).items()]
        if _IMAGE_ARGUMENTS.match(name)
        and isinstance(value, int | tuple | list)
        and value not in ((), [], True, False)
    ]
    known = [size for size in told if type(size) is int and 1 < size <= 512]  # noqa: PLR2004 - pixels
    return list(dict.fromkeys([*known, None, 32, 64, 16, 8, 28, 224]))


def _state(callee: Callee, rank: int, spatial: int | None) -> State:
    state: State = {}
    main: Any = None
    for name in callee.required:
        value = value_for(callee, name, rank, spatial=spatial, main=main)
        if callee.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL:
            value = (value,) if name == "args" else (value, value)
        state[name] = value
        if main is None and isinstance(value, TensorSpec):
            main = value
    return state


def _by_annotation(callee: Callee, name: str, rank: int, spatial: int | None) -> Any:
    annotation, clue = callee.annotation(name), callee.clues[name]
    text = str(annotation)
    plain_kinds: Mapping[Any, Any] = {bool: False, float: 1.0, str: "mean"}
    if annotation in plain_kinds:
        return plain_kinds[annotation]
    if annotation is int:
        return _count(plain(name))
    if inspect.isclass(annotation) and issubclass(annotation, nn.Module):
        return ANY_MODULE
    origin = typing.get_origin(annotation)
    is_list = origin in (list, tuple) and "Tensor" in text
    is_list |= bool(_LISTS.search(plain(name))) and clue.is_sequence and not clue.rank
    if is_list:
        parts = typing.get_args(annotation)
        count = len(parts) if origin is tuple and Ellipsis not in parts else 2
        item = shaped(clue, rank, spatial=spatial)
        return (item,) * count if origin is tuple else [item] * count
    if clue.parts and not (clue.rank or clue.says_size):
        return (shaped(clue, rank, spatial=spatial),) * clue.parts
    return {} if origin is dict or annotation is dict else None


def _count(word: str) -> int:
    return {"h": PRIMES[1], "height": PRIMES[1], "w": PRIMES[2], "width": PRIMES[2]}.get(
        word, 0 if word in ("start_pos", "offset", "layer_idx") else 2
    )


def _by_name(callee: Callee, name: str, word: str, main: Any) -> Any:
    """A value that the name alone decides; None where it does not."""
    clue, is_first = callee.clues[name], main is None
    is_open = not clue.says_size and not clue.rank
    says_tensor = callee.annotation(name) is Tensor
    if (
        is_open
        and not clue.min_rank
        and not says_tensor
        and _COUNTS.match(word)
        and len(callee.parameters) > 1
    ):
        return _count(word)
    if is_open and not says_tensor and _SIZES.search(word):
        return (PRIMES[0], PRIMES[1])
    if _FLAGS.search(word) and is_open and not says_tensor:
        return False
    if not is_first and _STATE.search(word) and is_open:
        return _state_value(callee)
    if not is_first and _ADJACENCY.search(word) and isinstance(main, TensorSpec) and main.rank >= _MATRIX:
        return TensorSpec((*main.shape[:-1], main.shape[-2]), high=1)
    if clue.dtype is torch.int64 or (is_open and _IDS.search(word) and not re.search("emb|feat", word)):
        return _integers(callee, name, word, main)
    if _TIME.match(word) and is_open and (not is_first or word != "sigma"):
        return TensorSpec((BATCH,), high=1 if word.startswith(("sigma", "noise")) else 0, free=frozenset({0}))
    if _LENGTHS.search(word) and is_open:
        return TensorSpec((BATCH,), torch.int64, 6)
    if "mask" in word:
        return _mask(clue)
    if _CONDITION.match(word) and not is_first and not clue.rank and clue.min_rank < 3:  # noqa: PLR2004 - a vector a row
        size = clue.last or WIDTH
        return TensorSpec((BATCH, size), free=frozenset() if clue.last else frozenset({1}))
    return None


def _state_value(callee: Callee) -> Any:
    """The hidden state of a cell: [batch, hidden]; nothing where a recurrent layer makes its own."""
    size = _argument(callee, _HIDDEN_ARGUMENTS)
    has_own = any(isinstance(module, nn.RNNBase) for module in callee.module.modules())
    return TensorSpec((BATCH, size), free=frozenset({1})) if size and not has_own else NOTHING


def _integers(callee: Callee, name: str, word: str, main: Any) -> Any:
    clue = callee.clues[name]
    is_label = bool(re.search(r"label|class|target", word)) and main is not None
    rank = clue.rank or (len(main.shape) if isinstance(main, TensorSpec) and main.dtype is torch.int64 else 0)
    rank = rank or (1 if is_label else max(2, clue.min_rank))
    spec = shaped(replace(clue, dtype=torch.int64, last=None), rank)
    high = clue.high or _vocabulary(callee, name) or 4
    if isinstance(main, TensorSpec) and main.rank == rank:
        return replace(spec, shape=main.shape, high=min(high, 100))
    return replace(spec, high=min(high, 100))


def _vocabulary(callee: Callee, name: str) -> int:
    is_word = re.search(r"token|ids|word|text|src|tgt", name)
    sizes = (
        [m.num_embeddings for m in callee.module.modules() if isinstance(m, nn.Embedding)] if is_word else []
    )
    return min(sizes, default=0)


def _mask(clue: Clue) -> Any:
    if not clue.rank:
        return NOTHING
    length = PRIMES[0]
    shape = (BATCH, 1, length, length) if clue.rank == 4 else (BATCH, length, length, length)[: clue.rank]  # noqa: PLR2004
    return TensorSpec(shape, torch.bool, free=frozenset(range(len(shape))))


def _tensor(callee: Callee, name: str, word: str, rank: int, spatial: int | None, main: Any) -> TensorSpec:
    clue = callee.clues[name]
    beside = main.rank if isinstance(main, TensorSpec) else rank
    if beside > _SEQUENCE and clue.last and not clue.channels:
        beside = _MATRIX  # a vector beside an image
    own = clue.rank or max(beside, clue.min_rank)
    if not clue.rank and (_IMAGES.match(word) or _VIDEOS.match(word)):
        own = 4 if _IMAGES.match(word) and clue.min_rank <= 4 else 5  # noqa: PLR2004 - batch, channels, height, width
    is_sibling = isinstance(main, TensorSpec) and main.dtype is torch.float32
    if is_sibling and own == main.rank and not clue.says_size:
        return typing.cast("TensorSpec", main)  # q, k, v; skip connections
    spec = shaped(clue, own, spatial=spatial)
    if is_sibling and own == main.rank and not _OTHER_SEQUENCE.search(word):
        spec = replace(
            spec,
            shape=tuple(
                m if i in spec.free else s
                for i, (s, m) in enumerate(zip(spec.shape, main.shape, strict=True))
            ),
        )
    if is_sibling and spec.rank == _SEQUENCE and 1 in spec.free and _OTHER_SEQUENCE.search(word):
        return spec.resized(1, PRIMES[1], fix=False)
    return _with_told_sizes(callee, word, spec, clue) if main is None else spec


def _with_told_sizes(callee: Callee, word: str, spec: TensorSpec, clue: Clue) -> TensorSpec:
    """Channels and lengths that the constructor was told."""
    told = _argument(callee, _CHANNEL_ARGUMENTS)
    is_channel = (
        1 in spec.free
        and not clue.last
        and not re.fullmatch(
            r"[hwnlt]|height|width|seq\w*", (clue.names[1] if len(clue.names) > 1 else "").lower()
        )
    )
    if spec.rank >= 4 and is_channel and told:  # noqa: PLR2004 - batch, channels, height, width
        return spec.resized(1, told, fix=False)
    if spec.rank >= 4 and is_channel and _IMAGES.match(word):  # noqa: PLR2004
        return spec.resized(1, 3, fix=False)
    features = _argument(callee, _FEATURE_ARGUMENTS)
    if spec.rank in (_MATRIX, _SEQUENCE) and {1, spec.rank - 1} <= spec.free and features:
        spec = spec.resized(spec.rank - 1, features, fix=False)
    length = _argument(callee, _LENGTH_ARGUMENTS)
    if spec.rank == 3 and 1 in spec.free and length and clue.last:  # noqa: PLR2004 - batch, length, features
        return spec.resized(1, length, fix=False)
    return spec


def _argument(callee: Callee, pattern: re.Pattern[str]) -> int:
    found = [value for name, value in callee.arguments.items() if pattern.match(name)]
    return next((value for value in found if type(value) is int and value > 0), 0)


def _is_loss(callee: Callee) -> bool:
    words = [plain(name) for name in callee.required][:2]
    has_pair = len(words) > 1 and bool(
        re.search(r"^(target|targets|label|labels|y|y_true|true|gt|ground_truth)$", words[1])
    )
    return has_pair or (len(callee.parameters) > 1 and bool(_LOSS.search(type(callee.module).__name__)))


def _loss_states(callee: Callee) -> list[State]:
    """A prediction and a target of matching shapes: floats, probabilities, class numbers, flags."""
    first, second, *rest = callee.required if len(callee.required) > 1 else list(callee.parameters)[:2]
    shapes = [
        (BATCH, WIDTH),
        (BATCH,),
        (BATCH, 7, 16, 16),
        (BATCH, 1, 16, 16),
        (BATCH, 3, 16, 16),
        (BATCH, 7, WIDTH),
    ]
    states = []
    for shape in shapes:
        labels = TensorSpec((shape[0], *shape[2:]), torch.int64, 2)
        pairs = [
            (TensorSpec(shape), TensorSpec(shape)),
            (TensorSpec(shape, high=1), TensorSpec(shape, high=1)),
            (TensorSpec(shape), labels),
            (TensorSpec(shape), TensorSpec(shape, torch.int64, 2)),
        ]
        states += [
            {first: a, second: b, **{name: TensorSpec(shape, high=1) for name in rest}} for a, b in pairs
        ]
    return states
