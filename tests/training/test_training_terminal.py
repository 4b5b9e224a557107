"""The terminal's view of a training."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from torch import nn

from layersmith.render.training import progress, render
from layersmith.training import TrainReport, train


@pytest.fixture(scope="module")
def report() -> TrainReport:
    return train(nn.ReLU, epochs=15, seed=2)


def shown(report: TrainReport, *, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding)  # strict: a character that does not exist raises
    render(report, Console(file=file, width=80, highlight=False))
    file.flush()
    return raw.getvalue().decode(encoding)


def test_both_runs_stand_side_by_side_in_80_plain_columns(report: TrainReport) -> None:
    text = shown(report)
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    assert "ReLU on digits" in text
    assert "trained parameters: 4,810; baseline of nn.Linear and nn.ReLU: 4,810" in text
    assert "built to fit: Linear(64, 64) -> ReLU -> Linear(64, 10)" in text
    assert report.verdict in text


def test_first_last_and_best_epoch_are_in_the_table(report: TrainReport) -> None:
    assert report.best is not None
    rows = [line.split() for line in shown(report).splitlines() if line[:6].strip().isdigit()]
    numbers = [int(row[0]) for row in rows]
    assert {1, report.best.epoch, 15} <= set(numbers)
    assert numbers == sorted(set(numbers))
    assert len(numbers) <= 12
    starred = [row for row in rows if any(cell.endswith("*") for cell in row)]
    assert str(report.best.epoch) in [row[0] for row in starred]
    assert f"{report.best.validation_loss:.4f}" in starred[0]


def test_the_curves_share_one_scale(report: TrainReport) -> None:
    assert report.baseline is not None
    worse = tuple(replace(epoch, validation_loss=1000 * epoch.validation_loss) for epoch in report.history)
    text = shown(replace(report, run=replace(report.run, history=worse)))
    curves = {
        line.split()[0]: line.split()[1]
        for line in text.splitlines()
        if line.split()[:1] in (["model"], ["baseline"]) and "train" not in line and len(line.split()) == 2
    }
    assert len(curves["model"]) == len(curves["baseline"]) == 15
    assert min(curves["model"]) > max(curves["baseline"])
    assert curves["model"][0] == "█"


def test_it_can_be_read_in_ascii(report: TrainReport) -> None:
    assert shown(report, encoding="ascii").isascii()


def test_it_says_what_happened(report: TrainReport) -> None:
    assert report.best is not None
    interrupted = shown(replace(report, interrupted=True, weights_path=Path("best.safetensors")))
    assert "interrupted after 15 finished epochs" in interrupted
    assert f"weights of epoch {report.best.epoch} in best.safetensors" in interrupted
    diverged = replace(report.run, history=report.history[:3], diverged_at=70)
    assert "no longer finite at step 70" in shown(replace(report, run=diverged)).replace("\n", " ")


def test_a_report_without_an_epoch_or_baseline_is_shown(report: TrainReport) -> None:
    empty = replace(report.run, history=(), best=None)
    assert shown(replace(report, run=empty, baseline=None)).splitlines()[-1] == "no epoch was finished"
    assert "baseline" not in shown(replace(report, baseline=None))


def test_huge_numbers_stay_in_their_columns(report: TrainReport) -> None:
    huge = tuple(
        replace(epoch, train_loss=3.2e21, validation_loss=1.5e18, validation_metric=-1.6e17)
        for epoch in report.history
    )
    text = shown(replace(report, task="regression", run=replace(report.run, history=huge, best=huge[0])))
    assert max(map(len, text.splitlines())) <= 80
    assert "3.2e+21" in text
    assert "-1.6e+17 validation R2" in text


def test_progress_is_seen_on_a_terminal_only(report: TrainReport) -> None:
    for is_terminal in (True, False):
        file = io.StringIO()
        with progress(15, Console(file=file, force_terminal=is_terminal, width=80)) as on_epoch:
            on_epoch(report.history[4])
        assert ("5/15" in file.getvalue()) == is_terminal
