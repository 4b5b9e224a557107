"""Measurements as tables: a row a submodule, a column a measurement, and a bar where they form a curve."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rich import box
from rich.table import Table
from rich.text import Text

from layersmith.finding import Measurement

BAR = 12  # characters of a full bar
EIGHTHS = " ▏▎▍▌▋▊▉█"


@dataclass(frozen=True, slots=True)
class Column:
    """One measurement and how its value is written."""

    title: str
    name: str
    write: Callable[[Measurement], str]


def si(value: float, unit: str = "") -> str:
    """A number with three digits and a prefix: 1.23 M, 45.6 µs."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {unit}".strip()
    exponent = max(-3, min(5, math.floor(math.log10(abs(value)) / 3 + 1e-12)))
    prefix = {-3: "n", -2: "µ", -1: "m", 0: "", 1: "k", 2: "M", 3: "G", 4: "T", 5: "P"}[exponent]
    return f"{value / 1000**exponent:.3g} {prefix}{unit}".strip()


def _plain(measurement: Measurement) -> str:
    return f"{measurement.value:.3g}"


def _si(measurement: Measurement) -> str:
    return si(measurement.value, measurement.unit if measurement.unit in {"s", "B"} else "")


def _seconds(measurement: Measurement) -> str:
    return f"{si(measurement.value, 's')} ±{100 * measurement.spread / (measurement.value or 1):.0f}%"


def _share(measurement: Measurement) -> str:
    return f"{100 * measurement.value:.0f}%"


def _two_digits(measurement: Measurement) -> str:
    return f"{measurement.value:.2f}"


COLUMNS = {
    "init": (
        Column("std", "std", _plain),
        Column("foretold", "predicted_std", _plain),
        Column("zeros", "share_of_zeros", _share),
        Column("flat", "saturated_share", _share),
        Column("cosine", "cosine", _two_digits),
        Column("grad std", "gradient_std", _plain),
        Column("gain", "gain", _plain),
    ),
    "weights": (
        Column("std", "weight_std", _plain),
        Column("fan-in", "fan_in", _plain),
        Column("fan-out", "fan_out", _plain),
        Column("update", "update_ratio", _plain),
        Column("copies", "copied_units", _share),
    ),
    "profile": (
        Column("forward", "forward_seconds", _seconds),
        Column("backward", "backward_seconds", _seconds),
        Column("FLOP", "flops_forward", _si),
        Column("params", "parameter_count", _si),
        Column("saved", "saved_bytes", _si),
    ),
}
CURVE = {"init": ("signal", "std"), "profile": ("share", "forward_seconds")}


def measurements(verb: str, found: Iterable[Measurement]) -> Table:
    """A table of what a verb measured, rows in the order of calls."""
    rows = _rows(verb, found)
    columns = [c for c in COLUMNS[verb] if any(c.name in row for row in rows.values())]
    title, curve = CURVE[verb]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("after" if verb == "init" else "submodule", overflow="fold", ratio=1, min_width=8)
    for column in columns:
        table.add_column(column.title, justify="right", no_wrap=True)
    table.add_column(title, no_wrap=True, width=BAR + 1)
    heights = _heights(verb, [row[curve].value if curve in row else math.nan for row in rows.values()])
    for (where, row), height in zip(rows.items(), heights, strict=True):
        cells = [column.write(row[column.name]) if column.name in row else "" for column in columns]
        table.add_row(_name(where), *cells, bar(height), style="bold" if where == "" else "")
    return table


def weights(found: Iterable[Measurement]) -> Table | None:
    """A table of the weights; None if there are none."""
    rows = _rows("weights", found)
    columns = [c for c in COLUMNS["weights"] if any(c.name in row for row in rows.values())]
    if not rows:
        return None
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("weight", overflow="fold", ratio=1, min_width=8)
    for column in columns:
        table.add_column(column.title, justify="right", no_wrap=True)
    for where, row in rows.items():
        table.add_row(
            where, *(column.write(row[column.name]) if column.name in row else "" for column in columns)
        )
    return table


def _rows(kind: str, found: Iterable[Measurement]) -> dict[str, dict[str, Measurement]]:
    """What the table's columns show, by submodule."""
    names = {column.name for column in COLUMNS[kind]}
    rows: dict[str, dict[str, Measurement]] = {}
    for measurement in found:
        if measurement.name in names:
            rows.setdefault(measurement.where, {})[measurement.name] = measurement
    return rows


def bar(height: float) -> Text:
    """A bar of up to twelve characters for a height from 0 to 1; empty for NaN."""
    if math.isnan(height):
        return Text("")
    eighths = round(max(0.0, min(1.0, height)) * BAR * 8)
    return Text("█" * (eighths // 8) + EIGHTHS[eighths % 8].strip(), "blue")


def _heights(verb: str, values: list[float]) -> list[float]:
    """Shares of the largest value; for the signal on a logarithmic scale from 1e-3 to 1e3 of the first."""
    finite = [value for value in values if math.isfinite(value) and value > 0]
    if not finite:
        return [math.nan] * len(values)
    if verb != "init":
        return [value / max(finite) for value in values]
    decades = 6
    return [
        (math.log10(value / finite[0]) + decades / 2) / decades
        if value > 0
        else (0.0 if value == 0 else math.nan)
        for value in values
    ]


def _name(where: str) -> str:
    return where or "(whole)"
