"""`layersmith train`: a target learns real data, beside a baseline of equal size."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from layersmith.training import TrainReport

HELP = "train a model on real data, beside a torch.nn baseline of equal size"

DIVERGED, INTERRUPTED = 1, 130
WIDTH_WITHOUT_TERMINAL = 80


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be said after `layersmith train`."""
    parser.add_argument("target", metavar="TARGET", help="file.py, file.py::Class, package.module:Class")
    parser.add_argument("--data", default="digits", metavar="NAME", help="digits (default) or diabetes")
    parser.add_argument("--epochs", type=int, default=30, metavar="N", help="default: %(default)s")
    parser.add_argument("--batch-size", type=int, default=64, metavar="N", help="default: %(default)s")
    parser.add_argument("--lr", type=float, default=3e-3, metavar="X", help="of AdamW; default: %(default)s")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of everything; default: %(default)s"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="keep the best weights, as safetensors")
    parser.add_argument("--no-baseline", action="store_true", help="train the target alone")
    parser.add_argument("--format", choices=("terminal", "json"), default="terminal")


def run(arguments: argparse.Namespace) -> int:
    """Train, write the report; 1 if the loss diverged, 130 if Ctrl-C ended it, else 0."""
    report = _trained(arguments)
    if arguments.format == "json":
        sys.stdout.write(json.dumps(report.to_dict(), indent=2, allow_nan=False) + "\n")
    else:
        from rich.console import Console  # noqa: PLC0415 - `--help` should be fast

        from layersmith.render.training import render  # noqa: PLC0415 - as above

        console = Console(highlight=False)
        render(
            report, console if console.is_terminal else Console(highlight=False, width=WIDTH_WITHOUT_TERMINAL)
        )
    if report.interrupted:
        return INTERRUPTED
    return DIVERGED if report.run.diverged_at else 0


def _trained(arguments: argparse.Namespace) -> TrainReport:
    """Train with a progress bar; what the user's own code prints goes to stderr: stdout is the report's."""
    from rich.console import Console  # noqa: PLC0415 - `--help` should be fast

    from layersmith.render.training import progress  # noqa: PLC0415 - as above
    from layersmith.training import adamw, train  # noqa: PLC0415 - needs torch

    console = Console(stderr=True)
    with contextlib.redirect_stdout(sys.stderr), progress(arguments.epochs, console) as on_epoch:
        return train(
            arguments.target,
            arguments.data,
            epochs=arguments.epochs,
            batch_size=arguments.batch_size,
            optimizer=adamw(arguments.lr),
            seed=arguments.seed,
            baseline=not arguments.no_baseline,
            output=arguments.output,
            on_epoch=on_epoch,
        )
