"""Every module class of torch.nn: how to build and call it, or why its gradient cannot be asked for."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

Call = tuple[Callable[[], nn.Module], Callable[[], tuple[Any, ...]]]


class OfLogits(nn.Module):
    """CTC's backward is right only for inputs that are log-softmaxed: torch says so, and folds the two."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, logits: torch.Tensor, *rest: torch.Tensor) -> Any:
        return self.loss(logits.log_softmax(-1), *rest)


def _x(*shape: int) -> Callable[[], tuple[Any, ...]]:
    return lambda: (torch.randn(*shape),)


def _two(*shape: int) -> Callable[[], tuple[Any, ...]]:
    return lambda: (torch.randn(*shape), torch.randn(*shape))


def _classes(rows: int, classes: int) -> torch.Tensor:
    return torch.arange(rows) % classes


ELEMENTWISE = (
    "CELU",
    "ELU",
    "GELU",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "LogSigmoid",
    "Mish",
    "PReLU",
    "RReLU",
    "ReLU",
    "ReLU6",
    "SELU",
    "SiLU",
    "Sigmoid",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanh",
    "Tanhshrink",
    "Identity",
    "Dropout",
    "AlphaDropout",
    "FeatureAlphaDropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "Flatten",
)

WITH_ONE_INPUT: dict[str, tuple[tuple[Any, ...], tuple[int, ...]]] = {
    "GLU": ((), (3, 4)),
    "LogSoftmax": ((-1,), (3, 4)),
    "Softmax": ((-1,), (3, 4)),
    "Softmin": ((-1,), (3, 4)),
    "Softmax2d": ((), (2, 3, 2, 2)),
    "Threshold": ((0.1, 0.0), (3, 4)),
    "Linear": ((5, 3), (4, 5)),
    "LazyLinear": ((3,), (4, 5)),
    "Unflatten": ((1, (2, 2)), (3, 4)),
    "Conv1d": ((2, 3, 3), (2, 2, 7)),
    "Conv2d": ((2, 3, 3), (2, 2, 5, 5)),
    "Conv3d": ((2, 2, 2), (1, 2, 3, 3, 3)),
    "ConvTranspose1d": ((2, 3, 3), (2, 2, 5)),
    "ConvTranspose2d": ((2, 3, 3), (2, 2, 4, 4)),
    "ConvTranspose3d": ((2, 2, 2), (1, 2, 3, 3, 3)),
    "LazyConv1d": ((3, 3), (2, 2, 7)),
    "LazyConv2d": ((3, 3), (2, 2, 5, 5)),
    "LazyConv3d": ((2, 2), (1, 2, 3, 3, 3)),
    "LazyConvTranspose1d": ((3, 3), (2, 2, 5)),
    "LazyConvTranspose2d": ((3, 3), (2, 2, 4, 4)),
    "LazyConvTranspose3d": ((2, 2), (1, 2, 3, 3, 3)),
    "BatchNorm1d": ((4,), (8, 4)),
    "BatchNorm2d": ((3,), (4, 3, 3, 3)),
    "BatchNorm3d": ((2,), (3, 2, 2, 2, 2)),
    "SyncBatchNorm": ((3,), (4, 3, 3, 3)),
    "LazyBatchNorm1d": ((), (8, 4)),
    "LazyBatchNorm2d": ((), (4, 3, 3, 3)),
    "LazyBatchNorm3d": ((), (3, 2, 2, 2, 2)),
    "InstanceNorm1d": ((3,), (2, 3, 6)),
    "InstanceNorm2d": ((3,), (2, 3, 4, 4)),
    "InstanceNorm3d": ((2,), (2, 2, 3, 3, 3)),
    "LazyInstanceNorm1d": ((), (2, 3, 6)),
    "LazyInstanceNorm2d": ((), (2, 3, 4, 4)),
    "LazyInstanceNorm3d": ((), (2, 2, 3, 3, 3)),
    "GroupNorm": ((2, 4), (3, 4, 5)),
    "LayerNorm": ((6,), (4, 6)),
    "RMSNorm": ((6,), (4, 6)),
    "LocalResponseNorm": ((2,), (2, 4, 3, 3)),
    "AvgPool1d": ((2,), (2, 3, 6)),
    "AvgPool2d": ((2,), (2, 3, 4, 4)),
    "AvgPool3d": ((2,), (1, 2, 4, 4, 4)),
    "MaxPool1d": ((2,), (2, 3, 6)),
    "MaxPool2d": ((2,), (2, 3, 4, 4)),
    "MaxPool3d": ((2,), (1, 2, 4, 4, 4)),
    "LPPool1d": ((2, 2), (2, 3, 6)),
    "LPPool2d": ((2, 2), (2, 3, 4, 4)),
    "LPPool3d": ((2, 2), (1, 2, 4, 4, 4)),
    "FractionalMaxPool2d": ((2, 2), (2, 3, 5, 5)),
    "FractionalMaxPool3d": ((2, 2), (1, 2, 5, 5, 5)),
    "AdaptiveAvgPool1d": ((3,), (2, 3, 7)),
    "AdaptiveAvgPool2d": ((3,), (2, 3, 7, 7)),
    "AdaptiveAvgPool3d": ((2,), (1, 2, 4, 4, 4)),
    "AdaptiveMaxPool1d": ((3,), (2, 3, 7)),
    "AdaptiveMaxPool2d": ((3,), (2, 3, 7, 7)),
    "AdaptiveMaxPool3d": ((2,), (1, 2, 4, 4, 4)),
    "ReflectionPad1d": ((1,), (2, 3, 4)),
    "ReflectionPad2d": ((1,), (2, 3, 4, 4)),
    "ReflectionPad3d": ((1,), (1, 2, 3, 3, 3)),
    "ReplicationPad1d": ((1,), (2, 3, 4)),
    "ReplicationPad2d": ((1,), (2, 3, 4, 4)),
    "ReplicationPad3d": ((1,), (1, 2, 3, 3, 3)),
    "CircularPad1d": ((1,), (2, 3, 4)),
    "CircularPad2d": ((1,), (2, 3, 4, 4)),
    "CircularPad3d": ((1,), (1, 2, 3, 3, 3)),
    "ConstantPad1d": ((1, 0.5), (2, 3, 4)),
    "ConstantPad2d": ((1, 0.5), (2, 3, 4, 4)),
    "ConstantPad3d": ((1, 0.5), (1, 2, 3, 3, 3)),
    "ZeroPad1d": ((1,), (2, 3, 4)),
    "ZeroPad2d": ((1,), (2, 3, 4, 4)),
    "ZeroPad3d": ((1,), (1, 2, 3, 3, 3)),
    "PixelShuffle": ((2,), (2, 4, 3, 3)),
    "PixelUnshuffle": ((2,), (2, 2, 4, 4)),
    "ChannelShuffle": ((2,), (2, 4, 3, 3)),
    "Upsample": ((None, 2), (2, 3, 4, 4)),
    "UpsamplingNearest2d": ((None, 2), (2, 3, 4, 4)),
    "UpsamplingBilinear2d": ((None, 2), (2, 3, 4, 4)),
    "Unfold": ((2,), (2, 3, 4, 4)),
    "Fold": (((4, 4), 2), (2, 12, 9)),
    "RNN": ((4, 5), (3, 2, 4)),
    "LSTM": ((4, 5), (3, 2, 4)),
    "GRU": ((4, 5), (3, 2, 4)),
    "RNNCell": ((4, 5), (3, 4)),
    "LSTMCell": ((4, 5), (3, 4)),
    "GRUCell": ((4, 5), (3, 4)),
}

ODD: dict[str, Call] = {
    "Bilinear": (lambda: nn.Bilinear(4, 3, 2), lambda: (torch.randn(5, 4), torch.randn(5, 3))),
    "CosineSimilarity": (nn.CosineSimilarity, _two(4, 5)),
    "PairwiseDistance": (nn.PairwiseDistance, _two(4, 5)),
    "Embedding": (lambda: nn.Embedding(9, 4, padding_idx=0), lambda: (torch.tensor([[0, 1, 2], [8, 1, 0]]),)),
    "EmbeddingBag": (lambda: nn.EmbeddingBag(9, 4, padding_idx=0), lambda: (torch.tensor([[0, 1], [8, 1]]),)),
    "MaxUnpool1d": (
        lambda: nn.MaxUnpool1d(2),
        lambda: nn.functional.max_pool1d(torch.randn(2, 3, 6), 2, return_indices=True),
    ),
    "MaxUnpool2d": (
        lambda: nn.MaxUnpool2d(2),
        lambda: nn.functional.max_pool2d(torch.randn(2, 3, 4, 4), 2, return_indices=True),
    ),
    "MaxUnpool3d": (
        lambda: nn.MaxUnpool3d(2),
        lambda: nn.functional.max_pool3d(torch.randn(1, 2, 4, 4, 4), 2, return_indices=True),
    ),
    "MultiheadAttention": (lambda: nn.MultiheadAttention(6, 2), lambda: (torch.randn(4, 2, 6),) * 3),
    "Transformer": (
        lambda: nn.Transformer(8, 2, 1, 1, 16, dropout=0.0),
        lambda: (torch.randn(3, 2, 8), torch.randn(4, 2, 8)),
    ),
    "TransformerEncoder": (
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 2),
        _x(3, 2, 8),
    ),
    "TransformerEncoderLayer": (lambda: nn.TransformerEncoderLayer(8, 2, 16), _x(3, 2, 8)),
    "TransformerDecoder": (
        lambda: nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 16), 2),
        lambda: (torch.randn(3, 2, 8), torch.randn(4, 2, 8)),
    ),
    "TransformerDecoderLayer": (
        lambda: nn.TransformerDecoderLayer(8, 2, 16),
        lambda: (torch.randn(3, 2, 8), torch.randn(4, 2, 8)),
    ),
    "Sequential": (lambda: nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)), _x(3, 4)),
    "AdaptiveLogSoftmaxWithLoss": (
        lambda: nn.AdaptiveLogSoftmaxWithLoss(6, 9, [3]),
        lambda: (torch.randn(5, 6), _classes(5, 9)),
    ),
    "LinearCrossEntropyLoss": (
        lambda: nn.LinearCrossEntropyLoss(6, 4),
        lambda: (torch.randn(5, 6), _classes(5, 4)),
    ),
    "L1Loss": (nn.L1Loss, _two(3, 4)),
    "MSELoss": (nn.MSELoss, _two(3, 4)),
    "SmoothL1Loss": (nn.SmoothL1Loss, _two(3, 4)),
    "HuberLoss": (nn.HuberLoss, _two(3, 4)),
    "SoftMarginLoss": (nn.SoftMarginLoss, lambda: (torch.randn(3, 4), torch.randn(3, 4).sign())),
    "BCELoss": (nn.BCELoss, lambda: (torch.rand(3, 4) * 0.9 + 0.05, torch.rand(3, 4).round())),
    "BCEWithLogitsLoss": (nn.BCEWithLogitsLoss, lambda: (torch.randn(3, 4), torch.rand(3, 4).round())),
    "KLDivLoss": (nn.KLDivLoss, lambda: (torch.randn(3, 4).log_softmax(1), torch.rand(3, 4))),
    "NLLLoss": (nn.NLLLoss, lambda: (torch.randn(5, 3).log_softmax(1), _classes(5, 3))),
    "NLLLoss2d": (nn.NLLLoss2d, lambda: (torch.randn(2, 3, 2, 2), torch.randint(0, 3, (2, 2, 2)))),
    "CrossEntropyLoss": (nn.CrossEntropyLoss, lambda: (torch.randn(5, 3), _classes(5, 3))),
    "PoissonNLLLoss": (nn.PoissonNLLLoss, lambda: (torch.randn(3, 4), torch.rand(3, 4) * 3)),
    "GaussianNLLLoss": (nn.GaussianNLLLoss, lambda: (*_two(3, 4)(), torch.rand(3, 4) + 0.1)),
    "MultiLabelMarginLoss": (
        nn.MultiLabelMarginLoss,
        lambda: (torch.randn(2, 4), torch.tensor([[3, 0, -1, 1], [1, -1, 2, 0]])),
    ),
    "MultiLabelSoftMarginLoss": (
        nn.MultiLabelSoftMarginLoss,
        lambda: (torch.randn(3, 4), torch.rand(3, 4).round()),
    ),
    "MultiMarginLoss": (nn.MultiMarginLoss, lambda: (torch.randn(5, 3), _classes(5, 3))),
    "HingeEmbeddingLoss": (nn.HingeEmbeddingLoss, lambda: (torch.randn(3, 4), torch.randn(3, 4).sign())),
    "MarginRankingLoss": (nn.MarginRankingLoss, lambda: (*_two(5)(), torch.randn(5).sign())),
    "CosineEmbeddingLoss": (nn.CosineEmbeddingLoss, lambda: (*_two(5, 3)(), torch.randn(5).sign())),
    "TripletMarginLoss": (nn.TripletMarginLoss, lambda: (*_two(3, 4)(), torch.randn(3, 4))),
    "TripletMarginWithDistanceLoss": (
        nn.TripletMarginWithDistanceLoss,
        lambda: (*_two(3, 4)(), torch.randn(3, 4)),
    ),
    "CTCLoss": (
        lambda: OfLogits(nn.CTCLoss()),
        lambda: (
            torch.randn(6, 2, 5),
            torch.randint(1, 5, (2, 3)),
            torch.tensor([6, 6]),
            torch.tensor([3, 2]),
        ),
    ),
}

NOT_COVERED = {
    "CrossMapLRN2d": "its own backward is wrong in the terms across channels: gradcheck says so too",
    "Module": "abstract",
    "Container": "deprecated alias of Module",
    "ModuleList": "a container without a forward",
    "ModuleDict": "a container without a forward",
    "ParameterList": "a container without a forward",
    "ParameterDict": "a container without a forward",
    "RNNBase": "abstract",
    "RNNCellBase": "abstract",
    "DataParallel": "wraps a module for several GPUs",
}


def covered() -> dict[str, Call]:
    """Every class of torch.nn that can be called, by name."""
    found: dict[str, Call] = {}
    for name in ELEMENTWISE:
        shape = (2, 3, 4, 4, 4) if "3d" in name else (2, 3, 4, 4) if "2d" in name else (2, 3, 4)
        found[name] = (getattr(nn, name), _x(*shape))
    for name, (arguments, size) in WITH_ONE_INPUT.items():
        found[name] = (functools.partial(getattr(nn, name, nn.Identity), *arguments), _x(*size))
    return {**found, **ODD}
