"""Measurements as tables: a row a submodule, a column a measurement, and a bar where they form a curve."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions
from rich.table import Table
from rich.text import Text

from layersmith.finding import Measurement

BAR = 12  # characters of a full bar
BAR_RANK = 2
WHOLE = "(whole)"
EIGHTHS = " ▏▎▍▌▋▊▉█"


@dataclass(frozen=True, slots=True)
class Column:
    """One measurement and how its value is written; the higher its rank, the sooner a narrow table leaves it out."""

    title: str
    name: str
    write: Callable[[Measurement], str]
    rank: int = 0


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
        Column("mean", "mean", _plain, 1),
        Column("std", "std", _plain),
        Column("foretold", "predicted_std", _plain, 3),
        Column("zeros", "share_of_zeros", _share, 1),
        Column("flat", "saturated_share", _share, 4),
        Column("cosine", "cosine", _two_digits, 4),
        Column("grad std", "gradient_std", _plain),
        Column("gain", "gain", _plain, 1),
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
        Column("FLOP", "flops_forward", _si, 1),
        Column("params", "parameter_count", _si, 1),
        Column("saved", "saved_bytes", _si, 1),
    ),
}
CURVE = {"init": ("signal", "std"), "profile": ("share", "forward_seconds")}


@dataclass(frozen=True, slots=True)
class Grid:
    """A table that leaves columns out, last the most telling ones, until names and numbers fit unbroken."""

    title: str  # of the names
    names: tuple[str, ...]
    columns: tuple[tuple[Column, tuple[str, ...]], ...]
    curve: tuple[str, tuple[float, ...]] | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        """The table for the width at hand."""
        shown, has_curve = self._fitting(options.max_width)
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
        table.add_column(self.title, no_wrap=True, overflow="ellipsis")
        for column, _ in shown:
            table.add_column(column.title, justify="right", no_wrap=True)
        if self.curve is not None and has_curve:
            table.add_column(self.curve[0], no_wrap=True, width=BAR + 1)
        for row, name in enumerate(self.names):
            cells: list[str | Text] = [cells[row] for _, cells in shown]
            if self.curve is not None and has_curve:
                cells.append(bar(self.curve[1][row]))
            table.add_row(name, *cells, style="bold" if name == WHOLE else "")
        yield table

    def _fitting(self, width: int) -> tuple[list[tuple[Column, tuple[str, ...]]], bool]:
        """The columns that fit, and whether the bars do: they rank between the plain and the rarer numbers."""
        names = max(map(len, (self.title, *self.names)), default=0) + 1
        for limit in (4, 3, 2, 1, 0):
            shown = [pair for pair in self.columns if pair[0].rank <= limit]
            needed = sum(max(map(len, (column.title, *cells))) + 1 for column, cells in shown)
            has_curve = limit >= BAR_RANK and self.curve is not None
            if names + needed + (BAR + 2) * has_curve <= width:
                break
        return shown, has_curve


def measurements(verb: str, found: Iterable[Measurement]) -> Grid:
    """A table of what a verb measured, rows in the order of calls."""
    rows = _rows(verb, found)
    title, curve = CURVE[verb]
    heights = _heights(verb, [row[curve].value if curve in row else math.nan for row in rows.values()])
    names = tuple(_indented(where) if verb == "profile" else where or WHOLE for where in rows)
    first = "submodule" if verb == "profile" else "after"
    return Grid(first, names, _columns(verb, rows), (title, tuple(heights)))


def weights(found: Iterable[Measurement]) -> Grid | None:
    """A table of the weights; None if there are none."""
    rows = _rows("weights", found)
    return Grid("weight", tuple(rows), _columns("weights", rows)) if rows else None


def _columns(
    kind: str, rows: dict[str, dict[str, Measurement]]
) -> tuple[tuple[Column, tuple[str, ...]], ...]:
    """The columns of which anything was measured, with their cells."""

    def cells(column: Column) -> tuple[str, ...]:
        return tuple(column.write(row[column.name]) if column.name in row else "" for row in rows.values())

    return tuple((column, cells(column)) for column in COLUMNS[kind] if any(cells(column)))


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


def _indented(where: str) -> str:
    """A submodule's own name below its parent's, which comes first: a path would be too long."""
    if not where:
        return WHOLE
    *parents, name = where.split(".")
    return "  " * len(parents) + ("." if parents else "") + name
