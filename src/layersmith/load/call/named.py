"""What the name of a forward parameter alone decides: masks, token ids, times, states, counts, graphs."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.load.call import graphs
from layersmith.load.call.callee import Callee
from layersmith.load.call.clue import BATCH, PRIMES, Clue, shaped
from layersmith.load.call.syntax import is_asked_for
from layersmith.load.constructor.names import WIDTH, plain
from layersmith.load.values import Made, TensorSpec
from layersmith.probe import source

NOTHING = object()  # stands for "leave it None"

_IDS = re.compile(
    r"(^|_)(ids?|idx|indices|index|tokens?|labels?|targets?|classes|segment|segs|codes|tgt_seq|src_seq|trg_seq|"
    r"words?|sentences?|text|caption|z_type|atom)$"
)
ENTITIES = re.compile(
    r"^(user|item|movie|book|entity|head|relation|tail|rel)s?(_?(ids?|idx|index|indices))?$"
)
_TIME = re.compile(r"^(t|time|timesteps?|ts|sigma|noise_levels?|steps?|noise_labels|log_snr)$")
STATE = re.compile(
    r"(past_key_values?|cache|state|states|kv_cache|hidden|hx|hidden_state|h_?0|mems?|memory_state)$"
)
_LENGTHS = re.compile(
    r"(lens|lengths?|valid_len|(words|chars|tokens|sentences|sents|frames)_per_\w+|(src|trg|tgt|text|mel|token|input|item_seq|enc|wav|audio|x|q|question|query|sent|sentence|doc|caption)_len)$"
)
BOUNDARIES = re.compile(r"^cu_?seq_?lens?(_[qk])?$")  # as kernels for sequences of any length call them
_CONDITION = re.compile(r"^(temb|emb|time_emb|t_emb|cond|c|vec|conditioning|context_vec|style|latent)$")
_COUNTS = re.compile(
    r"^(h|w|height|width|num_frames|n_frames|seq_len|seqlen|length|start_pos|layer_idx|batch_size|bsz?|num_\w+|offset|"
    r"frames|epoch|current_step|max_\w*len\w*)$"
)
LOSS = re.compile(r"(?<!log)loss$")
_FLAGS = re.compile(
    r"^(return|use|is|output|need|with|do|apply|add|has)_|^(training|causal|inverse|reverse)$"
)
SIZES = re.compile(r"(^|_)(size|shape|resolution|hw|x_size|output_size|input_size)$")
HIDDEN_ARGUMENTS = re.compile(
    r"^(hidden_(size|dim|features|units)|n_?hidden|d_hidden|hid_dim|num_units|(state|rnn|lstm|gru)_size)$"
)
_HIGHEST = 100  # token ids in messages stay readable
_FEW = 4


@dataclass(frozen=True, slots=True)
class Asked:
    """A parameter whose value is wanted, beside the main input where there is one."""

    callee: Callee
    name: str
    main: Any = None

    @property
    def word(self) -> str:
        """The name without case and surrounding underscores."""
        return plain(self.name)

    @property
    def clue(self) -> Clue:
        """What the source says of it."""
        return self.callee.clues[self.name]

    @property
    def is_open(self) -> bool:
        """Whether the source says neither a rank nor a size."""
        return not self.clue.says_size and not self.clue.rank

    @property
    def may_be_none(self) -> bool:
        """Whether it has a default, or forward asks whether it is there."""
        parameter = self.callee.parameters[self.name]
        node = source.function_node(source.forward(type(self.callee.module)))
        return parameter.default is not parameter.empty or node is None or is_asked_for(node, self.name)

    @property
    def may_be_number(self) -> bool:
        """Whether it may be something else than a tensor."""
        return self.is_open and self.callee.annotation(self.name) is not Tensor


def by_name(asked: Asked) -> Any:
    """A value that the name decides; None where it does not; NOTHING where None is the value."""
    found = (rule(asked) for rule in _RULES)
    return next((value for value in found if value is not None), None)


def count(word: str) -> int:
    """A number for a parameter that counts something."""
    sides = {"h": PRIMES[1], "height": PRIMES[1], "w": PRIMES[2], "width": PRIMES[2]}
    known = {**sides, **dict.fromkeys(("batch_size", "bs", "bsz"), BATCH)}
    return known.get(word, 0 if word in ("start_pos", "offset", "layer_idx") else 2)


def _graph(asked: Asked) -> Any:
    clues = asked.callee.clues
    has_rows = any(clues[n].rank == 1 and clues[n].dtype is torch.int64 for n in graphs.ROWS & set(clues))
    if not (graphs.PAIRS & set(asked.callee.parameters) or has_rows):
        return None
    if asked.main is None and not asked.clue.dtype:
        return TensorSpec(
            (graphs.NODES, asked.clue.last or WIDTH), free=frozenset() if asked.clue.last else frozenset({1})
        )
    return graphs.EDGES.get(asked.word)


def _number(asked: Asked) -> Any:
    if not asked.may_be_number:
        return None
    is_beside_others = len(asked.callee.parameters) > 1 and not (asked.clue.min_rank or asked.clue.reach)
    if is_beside_others and _COUNTS.match(asked.word):
        return count(asked.word)
    if SIZES.search(asked.word):
        return PRIMES[:2]
    return False if _FLAGS.search(asked.word) else None


def _state(asked: Asked) -> Any:
    """The hidden state of a cell, [batch, hidden]; nothing where a recurrent layer makes its own."""
    if asked.main is None or not asked.is_open or not STATE.search(asked.word):
        return None
    size = asked.callee.told(HIDDEN_ARGUMENTS)
    recurrent = [
        module for module in nn.Module.modules(asked.callee.module) if isinstance(module, nn.RNNBase)
    ]
    makes_own = bool(recurrent)
    if recurrent and asked.callee.parameters[asked.name].default is inspect.Parameter.empty:
        return (
            TensorSpec((BATCH, recurrent[0].hidden_size))  # forward gives it the dimension of the layers
            if asked.clue.is_step
            else _recurrent_state(recurrent[0])
        )
    return TensorSpec((BATCH, size), free=frozenset({1})) if size and not makes_own else NOTHING


def _recurrent_state(layer: nn.RNNBase) -> Any:
    """What a recurrent layer of torch takes as its state."""
    depth = layer.num_layers * (2 if layer.bidirectional else 1)
    state = TensorSpec((depth, BATCH, layer.hidden_size))
    return (state, state) if isinstance(layer, nn.LSTM) else state


def _among_nodes(asked: Asked) -> Any:
    """Which node knows which, and how."""
    callee, main = asked.callee, asked.main
    if not isinstance(main, TensorSpec) or main.rank < 2:  # noqa: PLR2004 - nodes and their features
        return None
    kinds = callee.told(graphs.KINDS)
    return graphs.relation(asked.word, callee.parameters, main.shape, kinds) or graphs.adjacency(
        asked.word, asked.clue, main.shape
    )


def _integers(asked: Asked) -> Any:
    is_said = asked.clue.dtype is torch.int64
    are_labels = asked.clue.rank == 1 and "label" in asked.word and not asked.clue.says_size
    is_named = _IDS.search(asked.word) is not None and not re.search("emb|feat", asked.word)
    is_named &= asked.is_open or are_labels
    if not is_said and (not is_named or _are_features(asked)):
        return None
    main, clue = asked.main, asked.clue
    is_float = isinstance(main, TensorSpec) and main.dtype is not torch.int64
    is_label = main is not None and bool(re.search(r"label|class|target", asked.word))
    is_label |= bool(ENTITIES.match(asked.word) or ((main is None or is_float) and _TIME.match(asked.word)))
    is_label |= _are_entities(asked.callee)
    is_label |= asked.word == "y" and isinstance(main, TensorSpec) and main.rank == 4  # noqa: PLR2004 - of an image
    beside = main.rank if isinstance(main, TensorSpec) and main.dtype is torch.int64 else 0
    rank = clue.rank or beside or (1 if is_label or clue.is_step else max(2, clue.min_rank))
    spec = shaped(replace(clue, dtype=torch.int64, last=clue.reach or None), rank)
    is_alike = isinstance(main, TensorSpec) and main.rank == rank and not clue.sizes
    shape = main.shape if isinstance(main, TensorSpec) and is_alike else spec.shape
    return replace(spec, shape=shape, high=min(clue.high or _vocabulary(asked) or _FEW, _HIGHEST))


def _are_features(asked: Asked) -> bool:
    """Whether tokens are vectors: those of a module without a table in which numbers could be looked up."""
    return asked.word.endswith("tokens") and not any(
        isinstance(part, nn.Embedding | nn.EmbeddingBag) for part in nn.Module.modules(asked.callee.module)
    )


def _are_entities(callee: Callee) -> bool:
    """Whether several inputs are each looked up in a table and nothing then looks along a sequence: users, items."""
    clues = [callee.clues[name] for name in callee.required]
    are_numbers = all(clue.dtype is torch.int64 and not clue.rank and clue.min_rank < 2 for clue in clues)  # noqa: PLR2004
    inner = [part for part in nn.Module.modules(callee.module) if part is not callee.module]
    tables = [part for part in inner if isinstance(part, nn.Embedding)]
    return len(clues) > 1 and are_numbers and len(tables) >= len(clues) and all(map(_is_of_rows, inner))


def _is_of_rows(part: nn.Module) -> bool:
    layers = nn.Embedding | nn.Linear | nn.Bilinear | nn.BatchNorm1d | nn.Sequential | nn.ModuleList
    is_plain = type(part).__module__.endswith(("activation", "dropout"))
    return is_plain or isinstance(part, layers | nn.ModuleDict)


def _vocabulary(asked: Asked) -> int:
    if not re.search(r"token|ids|word|text|src|tgt", asked.name):
        return 0
    return min(
        (m.num_embeddings for m in nn.Module.modules(asked.callee.module) if isinstance(m, nn.Embedding)),
        default=0,
    )


def _loss(asked: Asked) -> Any:
    """The number that another loss has come to, to which this one is added."""
    is_number = asked.is_open and not asked.clue.min_rank and LOSS.search(asked.word)
    return TensorSpec(()) if is_number else None


def _time(asked: Asked) -> Any:
    is_vector = asked.is_open or asked.clue.rank == 1
    if not is_vector or not _TIME.match(asked.word) or (asked.main is None and asked.word == "sigma"):
        return None
    if asked.word in ("timestep", "timesteps"):  # counted, where a share of the time is but called so
        return TensorSpec((BATCH,), torch.int64, free=frozenset({0}))
    return TensorSpec(
        (BATCH,), high=1 if asked.word.startswith(("sigma", "noise")) else 0, free=frozenset({0})
    )


def _lengths(asked: Asked) -> Any:
    clue = asked.clue
    is_vector = clue.rank == 1 and not clue.says_size
    is_column = clue.rank == 2 and clue.sizes[1:] == (1,)  # noqa: PLR2004 - `(batch_size, 1)`
    if clue.is_length and clue.rank == 2:  # noqa: PLR2004 - of the words in each sentence of each text
        return TensorSpec((BATCH, PRIMES[0]), torch.int64, PRIMES[1] + 1, low=1)
    is_lengths = clue.is_length or _LENGTHS.search(asked.word)
    shape = (BATCH, 1) if is_column else (BATCH,)
    is_told = is_lengths and (asked.is_open or is_vector or is_column)
    return TensorSpec(shape, torch.int64, PRIMES[0] + 1, low=1) if is_told else None


def _boundaries(asked: Asked) -> Any:
    """Where each sequence begins among all in one row, and where the last ends: two of them."""
    if not BOUNDARIES.match(asked.word) or not isinstance(asked.main, TensorSpec):
        return None
    total = asked.main.shape[0]
    where = [0, total // 2, total]
    return Made(f"torch.tensor({where})", lambda: torch.tensor(where))


def _mask(asked: Asked) -> Any:
    if not re.search("mask|msk", asked.word):
        return None
    rank, length = asked.clue.rank, PRIMES[0]
    if asked.may_be_none and (not rank or asked.callee.parameters[asked.name].default is None):
        return NOTHING
    first = asked.callee.clues[asked.callee.required[0]]
    main = asked.main
    is_beside_channels = first.channels or asked.clue.channels
    if is_beside_channels and isinstance(main, TensorSpec) and main.rank > 2 and rank in (None, main.rank):  # noqa: PLR2004
        shape = (main.shape[0], 1, *main.shape[2:])  # of the steps or pixels: the same for all channels
        return TensorSpec(shape, torch.bool, free=main.free - {1})
    if not rank:
        rank = 2
    shapes = {1: (length,), 2: (BATCH, length), 3: (BATCH, length, length), 4: (BATCH, 1, length, length)}
    shape = shapes.get(rank, (BATCH,) * rank)
    return TensorSpec(shape, torch.bool, free=frozenset(range(len(shape))))


def _condition(asked: Asked) -> Any:
    """A vector for each row."""
    is_vector = not asked.clue.rank and asked.clue.min_rank <= 2  # noqa: PLR2004 - batch and features
    if asked.main is None or not is_vector or not _CONDITION.match(asked.word):
        return None
    size = asked.clue.last or asked.callee.namesake_size(asked.word)
    return TensorSpec((BATCH, size or WIDTH), free=frozenset() if size else frozenset({1}))


_RULES: tuple[Callable[[Asked], Any], ...] = (
    _graph,
    _number,
    _state,
    _among_nodes,
    _boundaries,
    _lengths,
    _loss,
    _integers,
    _time,
    _mask,
    _condition,
)
