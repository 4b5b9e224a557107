"""Which axis holds the batch where torch's layers put time first and the class does not say a word."""

import torch
from torch import Tensor, nn

from layersmith.probe import batch
from layersmith.probe.inputs import Inputs


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(10, 8), nn.Embedding(16, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16)


class CountsAlongTheSecond(Encoder):
    def forward(self, tokens: Tensor) -> Tensor:
        places = torch.arange(tokens.shape[1], device=tokens.device)
        y: Tensor = self.layer(self.tokens(tokens) + self.places(places)[None])
        return y


class CountsAlongTheFirst(Encoder):
    def forward(self, tokens: Tensor) -> Tensor:
        places = torch.arange(tokens.shape[0], device=tokens.device)
        y: Tensor = self.layer(self.tokens(tokens) + self.places(places)[:, None])
        return y


def test_positions_are_counted_along_the_axis_of_time() -> None:
    inputs = Inputs((torch.randint(10, (5, 7)),))
    assert batch.axes(CountsAlongTheSecond(), inputs) == (0,)
    assert batch.axes(CountsAlongTheFirst(), inputs) == (0, 1)  # perhaps of one sequence


class NamesTheSecond(nn.Module):
    def forward(self, w: Tensor, r: Tensor) -> Tensor:
        qlen, rlen, bsz = w.size(0), r.size(0), w.size(1)
        return (w.reshape(qlen * bsz, -1) @ r.reshape(rlen, -1).mT).view(qlen, bsz, rlen)


class NamesTheFirst(nn.Module):
    def forward(self, w: Tensor, r: Tensor) -> Tensor:
        bsz, steps = w.size(0), w.size(1)
        return w.reshape(bsz, steps, -1) + r


def test_the_axis_whose_size_is_called_the_batch_is_it() -> None:
    inputs = Inputs((torch.randn(5, 4, 6), torch.randn(5, 4, 6)))
    assert batch.axes(NamesTheSecond(), inputs) == (0, 1)
    assert batch.axes(NamesTheFirst(), inputs) == (0,)
