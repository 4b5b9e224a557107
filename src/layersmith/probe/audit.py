"""The audit of a module's start: what becomes of signal, gradient and units, beside what its weights foretell."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from layersmith.finding import Measurement
from layersmith.probe.foresight import foretold
from layersmith.probe.inputs import Inputs
from layersmith.probe.rehearsal import rehearsal
from layersmith.probe.saturation import saturation
from layersmith.probe.signal import observe, require_values
from layersmith.probe.weights import weights

STEP = 1e-3  # learning rate of the first step of Adam, torch's default
ADAM_EPS = 1e-8  # torch's default too
MOST_ROWS, MOST_NUMBERS = 32, 4096  # of a batch, and of a row, that are compared


def audit(module: nn.Module, inputs: Inputs, *, seed: int = 0) -> list[Measurement]:
    """How the module starts, in one forward and backward of a copy: by submodule, in call order.

    Beside `signal`'s mean, std, rms, share_of_zeros and gradient_std:

    - `saturated_share`: of an activation's inputs, where it is not zero and its slope below 5 % of its steepest.
    - `effective_rank`: of the rows of a batch: (sum of squared singular values)^2 / sum of their 4th powers,
      from 1, where all inputs look the same, to the number of rows (at most 32 are taken).
    - `cosine`: the mean cosine between different rows.
    - `dead_units`: of an output with zeros, the share of units (channels) that are zero for the whole batch.
    - `predicted_std`: what the weights alone foretell of the result of a linear or convolution layer.

    And for each weight: `weight_std`, `fan_in`, `fan_out`, `copied_units` (share of units whose weights equal
    another's) and `update_ratio`: rms of the first step of Adam with learning rate 1e-3 over rms of the weight.
    For the whole module, `signal_depth`: over how many layers like its own a signal survives.

    Raises:
        UsageError: if the module cannot be copied, or has no values (meta device).

    Example:
        >>> import torch
        >>> from layersmith.probe.inputs import Inputs
        >>> found = audit(torch.nn.Tanh(), Inputs.of(torch.randn(16, 64) * 100))
        >>> [round(m.value, 1) for m in found if m.name == "saturated_share"]
        [1.0]
    """
    require_values(module, inputs)
    with rehearsal(module, inputs, seed=seed) as twin:
        with saturation(twin) as saturated:
            found = observe(twin, inputs, seed=seed, more=_compared)
        for where, share in saturated.items():
            found.setdefault(where, {})["saturated_share"] = share
        of_weights = [*_weights(twin)]
        foreseen = foretold(twin, inputs)
    known = {(one.where, one.name) for one in of_weights}
    for where, numbers in foreseen.items():
        fans = {name: value for name, value in numbers.items() if name.startswith("fan_")}
        of_weights += [Measurement(n, v, where=where) for n, v in fans.items() if (where, n) not in known]
        if where in found and not fans:
            found[where] |= numbers
    measured = (
        Measurement(name, value, where=where) for where in found for name, value in found[where].items()
    )
    return [*measured, *of_weights]


def medians(audits: Iterable[list[Measurement]]) -> list[Measurement]:
    """One list from those of several seeds: medians, and half the interquartile range as spread."""
    values: dict[tuple[str, str, str], list[float]] = {}
    for found in audits:
        for one in found:
            values.setdefault((one.where, one.name, one.unit), []).append(one.value)
    return [
        Measurement(name, statistics.median(numbers), unit, _spread(numbers), where)
        for (where, name, unit), numbers in values.items()
    ]


def _spread(numbers: list[float]) -> float:
    if len(numbers) < 2 or not all(math.isfinite(number) for number in numbers):  # noqa: PLR2004 - of a spread
        return 0.0
    first, _, third = statistics.quantiles(numbers, n=4, method="inclusive")
    return (third - first) / 2


def _compared(where: str, values: Tensor) -> Mapping[str, float]:
    """How alike the rows of a batch are, and which units are dead."""
    if values.ndim < 2 or len(values) < 2 or values.numel() == len(values):  # noqa: PLR2004 - rows of numbers
        return {}
    numbers = _alikeness(values)
    if not where.startswith("input"):
        numbers |= _dead(values)
    return numbers


def _alikeness(values: Tensor) -> dict[str, float]:
    rows = values[:MOST_ROWS].flatten(1)
    rows = rows[:, :: max(1, rows.shape[1] // MOST_NUMBERS)].double()
    lengths = rows.norm(dim=1, keepdim=True)
    if not bool(lengths.isfinite().all()) or not bool(lengths.max() > 0):
        return {}
    rows = rows / lengths.max()  # their squares could overflow
    gram = rows @ rows.T
    size = float(gram.trace())
    cosines = gram / (rows.norm(dim=1, keepdim=True) @ rows.norm(dim=1, keepdim=True).T).clamp_min(1e-300)
    count = len(rows)
    return {
        "effective_rank": size**2 / float(gram.square().sum()),
        "cosine": float(cosines.sum() - cosines.trace()) / (count * (count - 1)),
    }


def _dead(values: Tensor) -> dict[str, float]:
    units = values.movedim(1, -1) if values.ndim > 3 else values  # noqa: PLR2004 - images have channels first
    is_dead = (units == 0).flatten(0, -2).all(0)
    return {"dead_units": float(is_dead.double().mean())} if bool(is_dead.any()) else {}


def _weights(twin: nn.Module) -> Iterator[Measurement]:
    yield from weights(twin)
    for where, parameter in twin.named_parameters():
        if parameter.ndim < 2 or not parameter.is_floating_point():  # noqa: PLR2004 - no matrix
            continue
        if copies := _copied(parameter.detach()):
            yield Measurement("copied_units", copies, where=where)
        size = float(parameter.detach().double().square().mean().sqrt())
        if parameter.grad is not None and size > 0:
            gradient = parameter.grad.double()
            step = STEP * gradient / (gradient.abs() + ADAM_EPS)
            yield Measurement("update_ratio", float(step.square().mean().sqrt()) / size, where=where)


def _copied(parameter: Tensor) -> float:
    """The share of rows, or else of columns, that equal another one; 0 for a weight of zeros."""
    if not bool(parameter.count_nonzero()):
        return 0.0
    return max(_equal(parameter.flatten(1)), _equal(parameter.transpose(0, 1).flatten(1)))


def _equal(rows: Tensor) -> float:
    if len(rows) < 2 or rows.shape[1] < 2:  # noqa: PLR2004 - of rows that could be alike by chance
        return 0.0
    if not torch.equal(rows[0], rows[1]) and rows.numel() > MOST_NUMBERS:
        return 0.0  # random weights, almost surely
    _, counts = torch.unique(rows, dim=0, return_counts=True)
    return float(counts[counts > 1].sum()) / len(rows)
