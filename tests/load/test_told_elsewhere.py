"""What a class does with its parts, its modes and its settings says what they are."""
# ruff: noqa: A001, ANN001, ANN201, ANN204
# mypy: ignore-errors

from __future__ import annotations

import pytest
import torch
from torch import nn

from layersmith.load.attempt import Deadline
from layersmith.load.build import subject_of_class
from layersmith.load.replay import replayed
from layersmith.load.strategy import Request


class Layer(nn.Module):
    """Its attention returns weights as well."""

    def __init__(self, attention, d_model):
        super().__init__()
        self.attention = attention
        self.norm = nn.LayerNorm(d_model)

    def forward(self, x, attn_mask=None):
        new_x, attn = self.attention(x, x, x, attn_mask=attn_mask)
        return self.norm(x + new_x), attn


class Stack(nn.Module):
    def __init__(self, layers, norm_layer=None):
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.norm = norm_layer

    def forward(self, x):
        seen = []
        for layer in self.layers:
            x, attn = layer(x)
            seen.append(attn)
        return x, seen


class Translated(nn.Module):
    """What its encoder returns has a state of two parts."""

    def __init__(self, encoder, hidden_size):
        super().__init__()
        self.encoder = encoder
        self.out = nn.Linear(hidden_size, 2)

    def forward(self, src):
        y, (h, c) = self.encoder(src)
        return self.out(h + c) + self.out(y)


class Marks(nn.Module):
    """Numbers of hours and weekdays: forward casts them."""

    def __init__(self, d_model, embed="fixed", freq="h"):
        super().__init__()
        size = {"h": 4, "d": 3}[freq]
        self.hours, self.days = nn.Embedding(24, d_model), nn.Embedding(7, d_model)
        self.size = size if embed == "fixed" else 0

    def forward(self, x):
        x = x.long()
        return self.hours(x[:, :, 1]) + self.days(x[:, :, 0])


class Task(nn.Module):
    """Only one of its modes uses all that it is given; its settings go where they have defaults."""

    def __init__(self, configs):
        super().__init__()
        self.task_name = configs.task_name
        self.marks = Marks(configs.d_model, configs.embed, configs.freq)
        self.value = nn.Linear(configs.enc_in, configs.d_model)

    def repair(self, x_enc, x_mark_enc, x_dec):
        return self.value(x_enc) + self.marks(x_mark_enc)

    def forecast(self, x_enc, x_mark_enc, x_dec):
        return self.value(x_enc) + self.marks(x_mark_enc) + self.value(x_dec)

    def forward(self, x_enc, x_mark_enc, x_dec):
        if self.task_name == "imputation":
            return self.repair(x_enc, x_mark_enc, x_dec)
        if self.task_name in ("long", "short"):
            return self.forecast(x_enc, x_mark_enc, x_dec)
        raise ValueError("no such task")


class Factors(nn.Module):
    """Numbers of users and items: one a row."""

    def __init__(self, num_users, num_items, k=8):
        super().__init__()
        self.user, self.item = nn.Embedding(num_users, k), nn.Embedding(num_items, k)

    def forward(self, u, i):
        return (self.user(u) * self.item(i)).sum(1)


class Overlap(nn.Module):
    """It flattens maps, so they are maps."""

    def forward(self, input, target):  # noqa: A002 - as people call it
        rows = target.size(0)
        p, t = torch.sigmoid(input).view(rows, -1), target.view(rows, -1)
        input = input.view(rows, -1)
        return 1 - ((p * t).sum(1) / (p.sum(1) + t.sum(1) + 1)).mean()


class OverlapLoss(Overlap):
    pass


REAL = {
    Layer: "Layer(Several(1, 1), 32)(f32[5,7,32])",
    Stack: "Stack([Several(1, 1), Several(1, 1)])(",
    Translated: "Translated(Several(1, 2), 48)(",
    Task: (
        "Task(SimpleNamespace(d_model=32, embed='fixed', enc_in=32, freq='h', task_name='long'))"
        "(f32[5,7,32], i64[5,7,"
    ),
    Factors: "Factors(100, 100)(i64[5]<100, i64[5]<100)",
    OverlapLoss: "OverlapLoss()(f32[5,7,16,16], f32[5,7,16,16])",
}


@pytest.mark.parametrize("cls", REAL, ids=lambda cls: cls.__name__)
def test_a_class_is_called_as_it_treats_what_it_gets(cls) -> None:
    said = subject_of_class(cls).inferred_from
    assert said.startswith(REAL[cls]), said


def test_a_stand_in_that_returns_several_is_replayed() -> None:
    request = Request(Layer, Deadline.after(5))
    found = replayed(request, "Layer(Several(1, 1), 32)(f32[5,7,32])", how="")
    output, weights = found.inputs(0).call(found.build(0).eval())
    assert output.shape == weights.shape == (5, 7, 32)
