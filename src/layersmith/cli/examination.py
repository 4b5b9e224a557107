"""What check, init and profile share: targets, options, a progress bar, the report."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from layersmith import api, config, render
from layersmith.client import Progress
from layersmith.errors import UsageError
from layersmith.report import Report

TARGETS = "file.py, file.py::Class, package.module, package.module:Class, a folder or a glob"
INTERRUPTED = 130
UPDATE = "run `layersmith infer` on the same targets, and commit the file"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that all three have."""
    add_targets(parser)
    parser.add_argument(
        "--inputs",
        default="",
        metavar="NOTATION",
        help="how forward is called, e.g. 'f32[2,16,64], mask=bool[2,16]'",
    )
    parser.add_argument("--seed", type=int, default=0, help="of builds, inputs and draws (default 0)")
    add_running(parser)
    parser.add_argument("--show-output", action="store_true", help="show what the code printed")
    parser.add_argument(
        "--verbose", action="store_true", help="name each rule that does not apply, and say why"
    )
    parser.add_argument("--format", choices=render.formats(), default="terminal", help="default: terminal")
    parser.add_argument("--output", metavar="FILE", help="write the report there instead of to stdout")


def add_targets(parser: argparse.ArgumentParser) -> None:
    """What is examined."""
    parser.add_argument("targets", nargs="+", metavar="TARGET", help=TARGETS)
    parser.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="PATTERN",
        help="leave out these files or folders of a folder; written as in .gitignore, can be repeated",
    )


def add_running(parser: argparse.ArgumentParser) -> None:
    """How the code is run."""
    parser.add_argument(
        "--timeout", type=float, metavar="SECONDS", help="wall clock that one class may take (default 60)"
    )
    parser.add_argument(
        "-j", "--jobs", type=int, metavar="N", help="how many classes at a time (default: one a core)"
    )
    parser.add_argument(
        "--hide-cuda",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="whether the code sees no graphics card (default: it sees none)",
    )
    parser.add_argument(
        "--unconfined", action="store_true", help="let the code use the network and write files anywhere"
    )


def run(
    verb: str,
    arguments: argparse.Namespace,
    rules: tuple[str, ...],
    settings: config.Config,
    *,
    finish: Callable[[Report], Report] = lambda report: report,
) -> int:
    """Examine the targets, write the report as `finish` returns it, return the exit code."""
    report = examined(verb, arguments, rules, settings)
    report = finish(replace(report, shows_output=arguments.show_output, shows_reasons=arguments.verbose))
    with _destination(arguments.output) as file:
        _write(report, arguments.format, file)
    if report.interrupted:
        return INTERRUPTED
    if settings.is_locked:
        _require_locked(report)
    return 0 if report.ok else 1


def examined(
    verb: str, arguments: argparse.Namespace, rules: tuple[str, ...], settings: config.Config
) -> Report:
    """The report, after a progress bar."""
    with _progress(verb) as on_progress:
        return api.examine(
            verb,
            arguments.targets,
            rules=rules,
            settings=settings,
            inputs=getattr(arguments, "inputs", ""),
            seed=getattr(arguments, "seed", 0),
            on_progress=on_progress,
        )


def settings_for(arguments: argparse.Namespace) -> config.Config:
    """The settings of the project that the first target lies in, with what the command line says of this run."""
    settings = config.find(folder_of(arguments.targets[0]))
    if arguments.timeout is not None:
        if arguments.timeout <= 0:
            raise UsageError(f"--timeout must be a positive number of seconds, not {arguments.timeout:g}")
        settings = replace(settings, timeout=arguments.timeout)
    if arguments.jobs is not None:
        if arguments.jobs < 1:
            raise UsageError(f"--jobs must be at least 1, not {arguments.jobs}")
        settings = replace(settings, jobs=arguments.jobs)
    return replace(
        settings,
        unconfined=arguments.unconfined,
        hide_cuda=arguments.hide_cuda,
        exclude=(*settings.exclude, *arguments.exclude),
    )


def folder_of(target: str) -> Path:
    """The folder of a target; for an import path the working directory."""
    path = Path(target.partition("::")[0])
    return path if path.is_dir() else path.parent


def _require_locked(report: Report) -> None:
    missing = [
        f"  {subject.key or subject.name}: {subject.unlocked}"
        for subject in report.subjects
        if subject.unlocked
    ]
    if missing:
        raise UsageError("\n".join(["--locked, but layersmith.lock is not up to date:", *missing, UPDATE]))


def _write(report: Report, name: str, file: TextIO) -> None:
    import importlib  # noqa: PLC0415

    importlib.import_module(f"layersmith.render.{name}").write(report, file)


@contextmanager
def _destination(path: str | None) -> Iterator[TextIO]:
    if path is None:
        yield sys.stdout
        return
    try:
        file = Path(path).open("w", encoding="utf-8")  # noqa: SIM115 - closed below
    except OSError as error:
        raise UsageError(f"--output {path}: {error.strerror}") from error
    with file:
        yield file


@contextmanager
def _progress(verb: str) -> Iterator[Callable[[Progress], None]]:
    """A bar on stderr with the class at hand; nothing where stderr is not a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 - only for people
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn  # noqa: PLC0415
    from rich.progress import Progress as Bar  # noqa: PLC0415

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"{verb}: starting torch", total=None)

        def show(progress: Progress) -> None:
            bar.update(
                task, completed=progress.done, total=progress.total, description=f"{verb} {progress.name}"
            )

        yield show
