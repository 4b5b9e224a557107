"""At initialisation, no layer may multiply its signal.

## Why it matters
A matrix product sums fan_in terms, so weights of a fixed spread multiply a signal by std * sqrt(fan_in):
`torch.randn` weights with 64 inputs by 8, ten such layers by a billion. Units saturate, the loss starts
huge, and training is slow or diverges.

## How it is tested
One forward on the example inputs. Wherever a trainable parameter is contracted with a signal (matrix product,
convolution) the fan-in is read off the operation, and the signal is followed through the elementwise
operations to the next layer. Reported: more than 2.5 times the input there, or a saturated tanh, sigmoid or
softmax, with std * sqrt(fan_in) > 2.5. A normalisation that follows makes it harmless. Weights written as
plain `torch.randn` are a warning in small layers too, since they will not shrink when the layer grows. Weights of which
only the direction counts are not reported, nor is a head tied to an `nn.Embedding`: see `overconfident-logits`.

## How to fix it
`std = gain / sqrt(fan_in)`, with the gain of the activation that follows (`layersmith.gain`): in
`reset_parameters`, `nn.init.normal_(self.weight, std=gain / fan_in**0.5)`, or use `layersmith.nn.Linear`.
Source: He et al. 2015, Delving Deep into Rectifiers.

## How to reproduce it
    weight = dict(module.named_parameters()).get(where, torch.zeros(2, 2))
    fan_in = min(weight.shape) if weight.ndim == 2 else weight[0].numel()
    assert weight.std() < 2.5 / fan_in**0.5, f"{where} has std {weight.std():.3g}, fan_in {fan_in}"
"""

from __future__ import annotations

import contextlib
import linecache
import math
import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.errors import UsageError
from layersmith.finding import Finding, Severity
from layersmith.probe import closeness, reading, source
from layersmith.probe.contractions import (
    Contraction,
    contractions,
    is_scale_free,
    is_tied_embedding,
    keeps_gradients,
)
from layersmith.probe.followed import Layer
from layersmith.probe.gain import gain
from layersmith.probe.inputs import Inputs
from layersmith.probe.layers import layers
from layersmith.probe.surroundings import preserved
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case

PLAIN_RANDN = re.compile(r"Parameter\(\s*torch\.randn\([^()]*\)\s*\)")
SMALL_FAN_IN = 8  # below it a plain randn multiplies by less than 2.8, as a sound gain may


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.SIGNAL_PRESERVED)
def exploding_signal(case: Case) -> Iterator[Finding]:
    """One finding a parameter: the use that multiplies most."""
    case.module.train()  # batch normalisation normalises only there
    worst: dict[str, tuple[Contraction, Severity | None]] = {}
    for one in contractions(case.module, case.inputs):
        is_grave = one.explodes and not keeps_gradients(case.module, one)
        if is_tied_embedding(case.module, one):  # `overconfident-logits` weighs what comes of it
            continue
        if (is_grave or _is_careless(case.module, one)) and (
            one.parameter not in worst or one.arriving_rms > worst[one.parameter][0].arriving_rms
        ):
            worst[one.parameter] = (one, None if is_grave else Severity.WARNING)
    for one, severity in worst.values():
        trained = case.fresh(training=True).module
        if not _is_guessed(case, one) and not is_scale_free(trained, case.inputs, one):
            yield _finding(case.module, case.inputs, one, severity)


def _is_guessed(case: Case, one: Contraction) -> bool:
    """Whether nobody but inference chose the argument that sets the spread: with half of it there is half the spread."""
    made = case.subject.construction
    if made is None or not case.subject.inferred_from:
        return False
    for name, value in made.arguments.items():
        if isinstance(value, float) and value:
            with preserved(seed=case.seed), contextlib.suppress(Exception):
                halved = made.build(**{name: value / 2}).get_parameter(one.parameter)
                rms = closeness.rms(halved)
                if abs(2 * rms / one.rms - 1) < closeness.DEFAULT_SPREAD:
                    return True
    return False


def _is_careless(module: nn.Module, one: Contraction) -> bool:
    """Whether the source draws the weights from a plain N(0, 1), which no layer size changes."""
    file, line = source.parameter_line(module, one.parameter)
    text = linecache.getline(file, line) if file else ""
    is_large = one.fan_in >= SMALL_FAN_IN and one.factor > closeness.SIGNAL_GROWTH
    return is_large and not one.is_normalised and bool(PLAIN_RANDN.search(text))


def _finding(module: nn.Module, inputs: Inputs, one: Contraction, severity: Severity | None) -> Finding:
    file, line = reading.drawn_line(module, one.parameter)
    parameter = module.get_parameter(one.parameter)
    std = float(parameter.detach().double().std())
    layer = next((layer for layer in layers(module, inputs) if layer.weight == one.parameter), None)
    gain_wanted, follower = _gain(layer)
    scale = one.rms / rms if (rms := closeness.rms(parameter)) else 1.0
    is_scaled = abs(scale - 1) > closeness.DEFAULT_SPREAD
    wanted = gain_wanted / math.sqrt(one.fan_in) / (scale if is_scaled else 1.0)
    at = f"at fan_in {one.fan_in}" + (", as at any other (plain torch.randn)" if severity else "")
    at += f", times {scale:#.3g} in forward" if is_scaled else ""
    return Finding(
        f"{one.parameter} has std {std:#.3g} {at}: it multiplies its signal by {one.factor:#.3g}",
        where=one.parameter,
        file=file,
        line=line,
        fix=f"initialise it with std {wanted:#.3g} = {gain_wanted:#.3g} / sqrt(fan_in), {follower}",
        numbers={
            "std": std,
            "wanted_std": wanted,
            "fan_in": one.fan_in,
            "factor": one.factor,
            "input_rms": one.input_rms,
            "arriving_rms": one.arriving_rms,
        },
        severity=severity,
    )


def _gain(layer: Layer | None) -> tuple[float, str]:
    """The computed gain of what follows the product, and what that is."""
    if layer is None or not layer.expression.steps:
        return 1.0, "as no activation follows"
    try:
        return float(gain(layer.expression)), f"the gain before what follows it: {layer.expression}"
    except UsageError:  # softmax and its like
        return 1.0, f"as what follows has no gain: {layer.expression}"


@exploding_signal.bad("weights has std", inputs=lambda: torch.randn(8, 64))
class UnscaledRandn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.randn(64, 32))

    def forward(self, x: Tensor) -> Tensor:
        return (x @ self.weights).relu()


@exploding_signal.bad("weight has std", inputs=lambda: torch.randn(8, 64))
class SaturatesTanh(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 32)
        nn.init.normal_(self.linear.weight)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.linear(x))


@exploding_signal.bad("times 1.41 in forward", inputs=lambda: torch.randn(8, 64))
class ScaledWithoutItsFanIn(nn.Module):
    """The equalised learning rate, its fan-in forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(32, 64))
        self.scale = 2**0.5

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight * self.scale).relu()


@exploding_signal.good(inputs=lambda: torch.randn(8, 64))
class ScaledByItsFanIn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(32, 64))
        self.scale = (2 / 64) ** 0.5

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight * self.scale).relu()


@exploding_signal.good(inputs=lambda: torch.randn(8, 64))
class MadeForASmallActivation(nn.Module):
    """A gain of 14 is right before an activation that divides by ten."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 32)
        nn.init.normal_(self.linear.weight, std=14.1 / 64**0.5)

    def forward(self, x: Tensor) -> Tensor:
        return 0.1 * self.linear(x).relu()


@exploding_signal.good(inputs=lambda: torch.randn(8, 64))
class NormalisedAfterwards(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 32, bias=False)
        nn.init.normal_(self.linear.weight)
        self.norm = nn.LayerNorm(32)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.linear(x))


@exploding_signal.good(inputs=lambda: torch.randint(0, 20, (4, 7)))
class LooksUpTokens(nn.Module):
    """N(0, 1) is right for an embedding: a lookup sums nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 64)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.embedding(tokens)


@exploding_signal.good(inputs=lambda: torch.randn(8, 16))
class ReflectsAtRandomVectors(nn.Module):
    """Only their direction counts."""

    def __init__(self) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.randn(4, 16))

    def forward(self, x: Tensor) -> Tensor:
        for vector in self.vectors.unbind():
            x = x - 2 / vector.square().sum() * (x @ vector)[..., None] * vector
        return x


@exploding_signal.good(inputs=lambda: torch.randn(2, 96, 5, 5))
class MindsWhatComesBack(nn.Module):
    """By its fan-out, as residual networks are started: what narrows the signal makes it larger."""

    def __init__(self) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(96, 12, 1)
        nn.init.kaiming_normal_(self.narrow.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        return self.narrow(x).relu()


@exploding_signal.good(inputs=lambda: torch.randn(4, 9, 64))
class AsksByScaledProducts(nn.Module):
    """Queries drawn from N(0, 1): the scale after the product undoes what that does."""

    def __init__(self, width: int = 64, queries: int = 3) -> None:
        super().__init__()
        self.scale = width**-0.5
        self.norm = nn.LayerNorm(width)
        self.queries = nn.Parameter(torch.randn(queries, width))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        weights = (self.queries @ x.transpose(-1, -2) * self.scale).softmax(-1)
        return weights @ x
