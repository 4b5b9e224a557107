"""`layersmith init`: what becomes of the signal and of its gradient, submodule by submodule, and its repair."""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path

from layersmith import registry
from layersmith.cli import examination
from layersmith.errors import UsageError
from layersmith.report import Report, SubjectReport
from layersmith.verbs import VERBS

HELP = "audit the initialisation: does the signal survive, and which gain would keep it?"
HINT = "--suggest prints a repair as a diff"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Targets, and what to do with what is found."""
    examination.add_arguments(parser)
    parser.add_argument("--suggest", action="store_true", help="print a repair of what is broken as a diff")
    parser.add_argument(
        "--plot", metavar="FILE.svg", help="draw signal and gradient by depth, before and after"
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure the signal and ask the rules about initialisation."""
    if arguments.plot and Path(arguments.plot).suffix != ".svg":
        raise UsageError(f"--plot draws SVG: name a file that ends in .svg, not {arguments.plot!r}")
    settings = examination.settings_for(arguments)
    rules = registry.chosen(select=VERBS["init"].groups or ())
    return examination.run("init", arguments, rules, settings, finish=partial(_finish, arguments))


def _finish(arguments: argparse.Namespace, report: Report) -> Report:
    if arguments.plot:
        from layersmith.render.signal_plot import draw  # noqa: PLC0415 - only for a picture

        Path(arguments.plot).write_text(draw(report), encoding="utf-8")
    if arguments.suggest:
        return report
    return replace(report, subjects=tuple(_without_diff(subject) for subject in report.subjects))


def _without_diff(subject: SubjectReport) -> SubjectReport:
    return replace(subject, suggestion="", hint=HINT) if subject.suggestion else subject
