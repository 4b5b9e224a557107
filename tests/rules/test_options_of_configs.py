"""Options that are fields of a config object, and heads of keys that several queries share."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from layersmith.load.constructor.any_settings import AnyConfig
from layersmith.load.constructor.fields import fields
from tests.trying import findings

X = torch.randn(4, 5, 6)
SETTINGS = {"task": "classify", "enc_in": 6}


@dataclass(frozen=True)
class Encoding:
    width: int = 6
    bidirectional: bool = False
    pool: Literal["last", "all"] = "last"
    outputs: int = 0  # as many as the encoder has

    def __post_init__(self) -> None:
        object.__setattr__(self, "outputs", self.outputs or self.width * (1 + self.bidirectional))
        if self.pool == "all" and self.bidirectional:
            raise ValueError("all steps of one direction only")


class Encoder(nn.Module):
    def __init__(self, cfg: Encoding) -> None:
        super().__init__()
        self.rnn = nn.GRU(cfg.width, cfg.width, batch_first=True, bidirectional=cfg.bidirectional)
        self.is_last = cfg.pool == "last"

    def forward(self, x: Tensor) -> Tensor:
        y = self.rnn(x)[0]
        return y[:, -1] if self.is_last else y


class KnowsOneDirection(nn.Module):
    """The part reads the flag, and the head knows nothing of it."""

    def __init__(self, config: Encoding = Encoding()) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(self.config)
        self.head = nn.Linear(self.config.width, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x))


class AsksItsConfig(nn.Module):
    """What the config works out itself is right for every flag, and what it refuses is its affair."""

    def __init__(self, config: Encoding = Encoding()) -> None:
        super().__init__()
        self.encoder, self.head = Encoder(config), nn.Linear(config.outputs, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x))


class SkipsItsNorm(nn.Module):
    """A namespace, whose texts and rates are read by name and by key."""

    def __init__(self, args: Any = SimpleNamespace(norm="layer", dropout=0.1, unread=True)) -> None:  # noqa: B008
        super().__init__()
        self.drop = nn.Dropout(getattr(args, "dropout", 0.0))
        if args.norm not in ("layer", "none"):
            raise ValueError(f"no norm {args.norm!r}")
        if args.norm == "layer":
            self.norm = nn.LayerNorm(6)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.drop(x))


class Sizes:
    """Settings as attributes of a class, which is never made."""

    n_head = 2
    n_kv_heads = None
    bias = True


class SharesNoKeys(nn.Module):
    def __init__(self, config: type[Sizes] = Sizes) -> None:
        super().__init__()
        self.heads, self.keys = config.n_head, config.n_kv_heads or config.n_head
        self.q = nn.Linear(6, 6, bias=config.bias)
        self.k = nn.Linear(6, 3 * self.keys, bias=config.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.q(x) + self.k(x) * x.mean(-1, keepdim=True)


class SharesKeys(nn.Module):
    def __init__(self, width: int = 6, num_heads: int = 2, num_kv_heads: int | None = None) -> None:
        super().__init__()
        self.keys = num_kv_heads or num_heads
        self.groups = num_heads // self.keys
        self.k = nn.Linear(width, width // num_heads * self.keys)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.k(x).unflatten(-1, (self.keys, -1)).repeat_interleave(self.groups, -2).flatten(-2)


class HasTwoTasks(nn.Module):
    def __init__(self, configs: Any) -> None:
        super().__init__()
        self.task, self.linear = configs.task, nn.Linear(6, configs.enc_in)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).mean(1) if self.task == "classify" else self.linear(x)


@pytest.mark.parametrize(
    ("cls", "said"),
    [
        (KnowsOneDirection, "(config.bidirectional=True) (a flag): forward raised RuntimeError"),
        (SkipsItsNorm, "(args.norm='none') (compared in the source): forward raised AttributeError"),
        (SharesNoKeys, "(config.n_kv_heads=1) (keys shared by two heads each): forward raised RuntimeError"),
    ],
)
def test_a_field_of_a_config_is_an_option(cls: type[nn.Module], said: str) -> None:
    (found,) = findings(cls, X)
    assert said in found.message


@pytest.mark.parametrize("cls", [AsksItsConfig, SharesKeys])
def test_a_config_that_works_out_the_rest_is_not_blamed(cls: type[nn.Module]) -> None:
    assert findings(cls, X) == ()


@pytest.mark.parametrize(
    ("config", "names"),
    [(AnyConfig(SETTINGS), []), (SimpleNamespace(**SETTINGS), ["configs.task", "configs.enc_in"])],
)
def test_only_what_somebody_has_written_is_varied(config: Any, names: list[str]) -> None:
    """What was made up for one task need not do for another."""
    assert [one.name for one in fields(HasTwoTasks, {"configs": config})] == names


def test_the_config_that_was_given_stays_as_it_was() -> None:
    findings(SkipsItsNorm, X)
    assert SkipsItsNorm.__init__.__defaults__[0] == SimpleNamespace(norm="layer", dropout=0.1, unread=True)  # type: ignore[index]
    assert Sizes.n_kv_heads is None
