"""A TrainReport on the terminal: the epochs of model and baseline side by side, their curves, the verdict."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:  # the renderer itself needs no torch
    from layersmith.training import Epoch, Run, TrainReport

TITLES = ("model", "baseline")
ROWS = 10  # of the table, beside the best epochs
CURVE_WIDTH = 40
LONG = 1e4  # a number that needs an exponent to stay readable
BLOCKS, ASCII_BLOCKS = "▁▂▃▄▅▆▇█", "_.,-=+*#"


def render(report: TrainReport, console: Console) -> None:
    """Write the report in at most 80 columns; nothing is said by colour alone."""
    _line(console, f"{report.name} on {report.data}", style="bold")
    for line in _setting(report):
        _line(console, line)
    if any(run.history for run in _runs(report)):
        console.print(_table(report))
        for line in _curves(report, ASCII_BLOCKS if console.options.ascii_only else BLOCKS):
            _line(console, line)
        console.print()
    _line(console, report.verdict, style="bold")
    for line in _aftermath(report):
        _line(console, line)


@contextmanager
def progress(epochs: int, console: Console) -> Iterator[Callable[[Epoch], None]]:
    """A bar that is gone afterwards, and the `on_epoch` that feeds it; nothing where no one watches."""
    columns = (
        TextColumn("epoch"),
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("validation loss {task.fields[loss]}"),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("train", total=epochs, loss="-")
        yield lambda record: bar.update(task, completed=record.epoch, loss=_loss(record.validation_loss))


def _line(console: Console, line: str, *, style: str = "") -> None:
    console.print(Text(line, style=style))


def _runs(report: TrainReport) -> tuple[Run, ...]:
    return (report.run, report.baseline) if report.baseline else (report.run,)


def _setting(report: TrainReport) -> Iterator[str]:
    yield f"rows: {report.rows_train} to learn from, {report.rows_validation} to judge by; seed {report.seed}"
    beside = f"; baseline of nn.Linear and nn.ReLU: {report.baseline.parameters:,}" if report.baseline else ""
    yield f"trained parameters: {report.run.parameters:,}{beside}"
    if report.arrangement:
        yield f"built to fit: {report.arrangement}"


def _table(report: TrainReport) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("\n\nepoch", justify="right")
    for title in TITLES[: len(_runs(report))]:
        for heading in (f"{title}\ntrain\nloss", "\nvalidation\nloss", f"\nvalidation\n{report.metric}"):
            table.add_column(heading, justify="right")
    for index in _chosen(report):
        cells = [cell for run in _runs(report) for cell in _cells(run, index, report)]
        table.add_row(str(index + 1), *cells)
    return table


def _chosen(report: TrainReport) -> list[int]:
    """Indices of the epochs to show: evenly spread from first to last, and the best of each run."""
    count = max(len(run.history) for run in _runs(report))
    best = [run.best.epoch - 1 for run in _runs(report) if run.best]
    return sorted({*_spread(count, ROWS), *best})


def _spread(count: int, most: int) -> list[int]:
    """At most so many of the indices below `count`, evenly spread, first and last among them."""
    if count <= most:
        return list(range(count))
    return [round(step * (count - 1) / (most - 1)) for step in range(most)]


def _cells(run: Run, index: int, report: TrainReport) -> Iterable[str]:
    if index >= len(run.history):
        return ("", "", "")
    record = run.history[index]
    mark = "*" if run.best == record else " "
    return (
        _loss(record.train_loss),
        _loss(record.validation_loss),
        report.shown(record.validation_metric) + mark,
    )


def _loss(value: float) -> str:
    return f"{value:.4f}" if abs(value) < LONG else f"{value:.1e}"


def _curves(report: TrainReport, blocks: str) -> Iterator[str]:
    """The validation losses of both on one logarithmic scale."""
    curves = [[_log(epoch.validation_loss) for epoch in run.history] for run in _runs(report)]
    every = [value for curve in curves for value in curve]
    yield "* best epoch        validation loss, epoch by epoch, log scale"
    for title, curve in zip(TITLES, curves, strict=False):
        picked = [curve[index] for index in _spread(len(curve), CURVE_WIDTH)]
        yield f"{title:>18}  {_sparkline(picked, min(every), max(every), blocks)}"


def _sparkline(values: Sequence[float], low: float, high: float, blocks: str) -> str:
    span = (high - low) or 1.0
    return "".join(blocks[round((value - low) / span * (len(blocks) - 1))] for value in values)


def _log(loss: float) -> float:
    return math.log(max(loss, sys.float_info.epsilon))


def _aftermath(report: TrainReport) -> Iterator[str]:
    if report.interrupted:
        yield f"interrupted after {len(report.history)} finished epochs"
    if report.best and report.weights_path:
        yield f"weights of epoch {report.best.epoch} in {report.weights_path}"
