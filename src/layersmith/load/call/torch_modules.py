"""What an instance of a torch.nn class (or einops layer) accepts: read from its attributes."""

from __future__ import annotations

import re
from collections.abc import Callable

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from layersmith.load.call.clue import BATCH, Clue


def clue_of(module: nn.Module, position: int) -> Clue | None:
    """What the module's argument at a position must be; None for a class that is not known here."""
    for kind, read in _READERS:
        if isinstance(module, kind):
            return read(module, position)
    if type(module).__module__.startswith("einops") and hasattr(module, "pattern"):
        return pattern_clue(str(module.pattern))
    return _by_dimension(type(module)) if type(module).__module__.startswith("torch.nn") else None


def pattern_clue(pattern: str) -> Clue:
    """What an einops pattern says: rank, names and literal sizes of the left side."""
    left = pattern.split("->", maxsplit=1)[0].strip()
    if "..." in left:
        return Clue()
    axes = re.findall(r"\([^)]*\)|\S+", left)
    sizes = tuple(int(axis) if axis.isdigit() else None for axis in axes)
    return Clue(rank=len(axes), names=tuple(axes), sizes=sizes if any(sizes) else ())


def _convolution(module: nn.Module, _position: int) -> Clue:
    return Clue(rank=2 + _dimensions(type(module)), channels=_number(module, "in_channels") or None)


def _linear(module: nn.Module, _position: int) -> Clue:
    return Clue(last=_number(module, "in_features") or None, min_rank=1)


def _bilinear(module: nn.Module, position: int) -> Clue:
    return Clue(last=_number(module, "in1_features" if position == 0 else "in2_features"), min_rank=1)


def _embedding(module: nn.Module, position: int) -> Clue:
    if position > 0:
        is_offsets = position == 1 and isinstance(module, nn.EmbeddingBag)
        return Clue(dtype=torch.int64, high=1, rank=1, sizes=(BATCH,)) if is_offsets else Clue()
    rank = 2 if isinstance(module, nn.EmbeddingBag) else None
    return Clue(dtype=torch.int64, high=_number(module, "num_embeddings"), min_rank=1, rank=rank)


def _layer_norm(module: nn.Module, _position: int) -> Clue:
    shape = tuple(module.normalized_shape)  # type: ignore[arg-type]
    return Clue(trailing=shape, last=shape[-1], min_rank=len(shape))


def _batch_norm(module: nn.Module, _position: int) -> Clue:
    dimensions = _dimensions(type(module))
    rank = 2 + dimensions if dimensions > 1 else None if "Batch" in type(module).__name__ else 3
    return Clue(rank=rank, channels=_number(module, "num_features") or None, min_rank=2)


def _group_norm(module: nn.Module, _position: int) -> Clue:
    return Clue(channels=_number(module, "num_channels"), min_rank=2)


def _recurrent(module: nn.Module, position: int) -> Clue:
    return Clue(rank=3, last=_number(module, "input_size")) if position == 0 else Clue()


def _recurrent_cell(module: nn.Module, position: int) -> Clue:
    return Clue(rank=2, last=_number(module, "input_size" if position == 0 else "hidden_size"))


def _attention(module: nn.Module, position: int) -> Clue:
    sizes = ("embed_dim", "kdim", "vdim")
    return Clue(rank=3, last=_number(module, sizes[position])) if position < len(sizes) else Clue()


def _transformer_layer(module: nn.Module, position: int) -> Clue:
    names = ("src", "memory") if isinstance(module, nn.TransformerDecoderLayer) else ("src",)
    if position >= len(names):
        return Clue()
    return Clue(rank=3, last=_number(module.self_attn, "embed_dim"))  # type: ignore[arg-type]


def _transformer_stack(module: nn.Module, position: int) -> Clue:
    return _transformer_layer(module.layers[0], position)  # type: ignore[index, arg-type]


def _transformer(module: nn.Module, position: int) -> Clue:
    return Clue(rank=3, last=_number(module, "d_model")) if position < 2 else Clue()  # noqa: PLR2004 - src and tgt


def _by_dimension(cls: type) -> Clue:
    dimensions = _dimensions(cls)
    return Clue(rank=2 + dimensions) if dimensions else Clue()


def _dimensions(cls: type) -> int:
    """1, 2 or 3 from the name of a class or of its bases (Conv2d); 0 where it has none."""
    found = (re.search(r"([123])[dD]", base.__name__) for base in cls.__mro__)
    return next((int(match.group(1)) for match in found if match), 0)


def _number(module: nn.Module, name: str) -> int:
    value = getattr(module, name, 0)
    return value if isinstance(value, int) else 0


Reader = Callable[[nn.Module, int], Clue]
_CLASS_LOSSES = (nn.CrossEntropyLoss, nn.NLLLoss, nn.MultiMarginLoss)
_READERS: tuple[tuple[type | tuple[type, ...], Reader], ...] = (
    (_ConvNd, _convolution),
    (nn.Linear, _linear),
    (_CLASS_LOSSES, lambda _m, position: Clue(dtype=torch.int64) if position == 1 else Clue()),
    (nn.Bilinear, _bilinear),
    ((nn.Embedding, nn.EmbeddingBag), _embedding),
    ((nn.LayerNorm, nn.RMSNorm), _layer_norm),
    (_NormBase, _batch_norm),
    (nn.GroupNorm, _group_norm),
    (nn.RNNBase, _recurrent),
    (nn.RNNCellBase, _recurrent_cell),
    (nn.MultiheadAttention, _attention),
    ((nn.TransformerEncoderLayer, nn.TransformerDecoderLayer), _transformer_layer),
    ((nn.TransformerEncoder, nn.TransformerDecoder), _transformer_stack),
    (nn.Transformer, _transformer),
    (
        (nn.Upsample, nn.Unfold, nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle),
        lambda _m, _p: Clue(rank=4),
    ),
)
