"""False alarms: the whole check on code that is healthy, every error and warning listed.

    python benchmarks/healthy/alarms.py --install packages     # the latest releases, once
    python benchmarks/healthy/alarms.py --packages packages    # torch.nn and the five libraries
    python benchmarks/healthy/alarms.py --packages packages --package kornia --select forward --jobs 2

Every class of torch.nn is built as its documentation shows, every class of einops, vit-pytorch,
x-transformers, rotary-embedding-torch and local-attention as Layersmith finds out; what it cannot build is counted and
left. Each is examined under three seeds, and as an object in train and in eval mode, in a process of its own. What is
listed is either explained in `true.toml`, and then no false alarm, or ends the script with exit code 1.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import statistics
import subprocess
import sys
import time
import tomllib
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from examined import TORCH_NN, Examined, of_package  # type: ignore[import-not-found]

from layersmith import registry, runner
from layersmith.finding import Outcome, Result
from layersmith.isolation import Ended, Send, supervised
from layersmith.load.build import subject_of_object
from layersmith.load.unbuildable import Unbuildable
from layersmith.probe.surroundings import preserved
from layersmith.rule import Rule

LIBRARIES = ("einops", "vit_pytorch", "x_transformers", "rotary_embedding_torch", "local_attention")
NEEDED = (  # by pip's names; without their dependencies, which would bring another torch
    "einops vit-pytorch x-transformers rotary-embedding-torch local-attention "
    "hyper-connections torch-einops-utils einx loguru frozendict packaging"
).split()
SECONDS = 600.0  # of wall clock after which a class is given up, with all its visits
GRAVE = ("error", "warning")


@dataclass(frozen=True, slots=True)
class Alarm:
    """A finding, or a rule that crashed, at one class: and under which seeds and modes."""

    package: str
    name: str
    rule: str
    severity: str  # of the finding, or "broken"
    text: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What `true.toml` names it by."""
        return self.package, self.name, self.rule


@dataclass(slots=True)
class Examination:
    """What became of one class."""

    package: str
    name: str
    seconds: float = 0.0  # CPU time of all its visits, and of the search before
    skipped: str = ""  # why it could not be built
    ended: str = ""  # why its process ended early
    alarms: dict[Alarm, list[str]] = field(default_factory=dict)


def main() -> int:
    """Print the table and the list; 1 when something is listed that is not explained."""
    options = arguments()
    if options.install:
        command = [sys.executable, "-m", "pip", "install", "-q", "--upgrade", "--no-deps"]
        return subprocess.run([*command, "--target", options.install, *NEEDED], check=False).returncode
    sys.path.extend(options.packages)
    warnings.simplefilter("ignore")
    explained = {(one["package"], one["class"], one["rule"]): one["reason"] for one in known()}
    shown = (*GRAVE, "broken", *(["note"] if options.notes else []))
    done, left = [], 0
    for one in examinations(options):
        done.append(one)
        left += print_alarms(one, explained, shown=shown)
    print_table(done, explained)
    return 1 if left else 0


def arguments() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--install", metavar="FOLDER", help="only put the libraries there, with pip")
    parser.add_argument("--packages", action="append", default=[], metavar="FOLDER", help="where they lie")
    parser.add_argument("--package", action="append", metavar="NAME", help="import path; may be given again")
    parser.add_argument("--class", dest="classes", action="append", metavar="NAME", help="only these classes")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every n-th class")
    parser.add_argument("--select", default="", help="rules or groups, separated by commas")
    parser.add_argument("--ignore", default="", help="rules or groups, separated by commas")
    parser.add_argument("--seeds", type=int, default=3, help="how many (default 3)")
    parser.add_argument("--no-modes", action="store_true", help="not as an object in train and in eval")
    parser.add_argument("--no-compile", action="store_true", help="not the rules that compile")
    parser.add_argument("--notes", action="store_true", help="list notes, too")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time (default 1)")
    return parser.parse_args()


def known() -> list[dict[str, str]]:
    """The alarms that are true, each with the reason."""
    path = Path(__file__).with_name("true.toml")
    found: list[dict[str, str]] = tomllib.loads(path.read_text(encoding="utf-8")).get("true", [])
    return found


def examinations(options: argparse.Namespace) -> Iterator[Examination]:
    """Every class of every package, as it comes."""
    torch.set_num_threads(1)
    ids = registry.chosen(select=options.select, ignore=options.ignore)
    compiling = registry.ids(["compile"])
    ids = tuple(id_ for id_ in ids if not (options.no_compile and id_ in compiling))
    if compiling & set(ids):
        importlib.import_module("torch._dynamo")  # before the first fork
    rules = registry.with_prerequisites(ids)
    packages = options.package or [TORCH_NN, *LIBRARIES]
    chosen = [one for package in packages for one in of_package(package)]
    if options.classes:
        chosen = [one for one in chosen if one.name.rpartition(".")[2] in options.classes]
    visits = [f"seed {seed}" for seed in range(options.seeds)]
    visits += [] if options.no_modes else ["train", "eval"]
    yield from divided(chosen[:: options.every], rules, visits, jobs=options.jobs)


def divided(
    classes: Sequence[Examined], rules: Sequence[Rule], visits: Sequence[str], *, jobs: int
) -> Iterator[Examination]:
    """The classes dealt out to so many processes."""
    context = multiprocessing.get_context("fork")
    queue: Any = context.Queue()

    def work(share: Sequence[Examined]) -> None:
        for one in share:
            queue.put(examination(one, rules, visits))

    for number in range(jobs):
        context.Process(target=work, args=(classes[number::jobs],)).start()
    for count in range(len(classes)):
        one = queue.get()
        if sys.stderr.isatty():
            print(f"\r\033[K{count + 1}/{len(classes)} {one.name}", end="", file=sys.stderr, flush=True)
        yield one
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)


def examination(one: Examined, rules: Sequence[Rule], visits: Sequence[str]) -> Examination:
    """Examine one class in a process of its own."""
    found = Examination(one.package, one.name)
    with Path("/dev/null").open("w+b") as nowhere:
        for item in supervised(
            lambda send: visit_all(one, rules, visits, send), seconds=SECONDS, output=nowhere
        ):
            if isinstance(item, Ended):
                found.ended = item.why
            elif isinstance(item, str):
                found.skipped = item
            elif isinstance(item, float):
                found.seconds = item
            else:
                visit, alarm = item
                found.alarms.setdefault(alarm, []).append(visit)
    return found


def visit_all(one: Examined, rules: Sequence[Rule], visits: Sequence[str], send: Send) -> None:
    """The work of the process: what cannot be built sends a string, each alarm a pair, the end its CPU time."""
    start = time.process_time()
    try:
        subject = one.subject()
    except Unbuildable as error:
        send(error.why)
        return
    for visit in visits:
        if visit.startswith("seed"):
            seed, chosen = int(visit.split()[1]), subject
        else:
            with preserved(seed=0):
                module, inputs = subject.build(0).train(visit == "train"), subject.inputs(0)
            doubt = subject.doubt  # what stands in for something still does
            seed, chosen = 0, replace(subject_of_object(module, inputs), doubt=doubt)
        for result in runner.run(chosen, rules, seed=seed):
            for alarm in alarms(one, result):
                send((visit, alarm))
    send(time.process_time() - start)


def alarms(one: Examined, result: Result) -> Iterator[Alarm]:
    """The findings of one result; one of its own for a rule that crashed."""
    if result.outcome is Outcome.BROKEN:
        yield Alarm(one.package, one.name, result.rule, "broken", " ".join(result.why.split())[-200:])
    for finding in result.findings:
        place = f"{Path(finding.file).name}:{finding.line}: " if finding.line else ""
        text = f"{place}{' '.join(finding.message.split())}"
        yield Alarm(one.package, one.name, result.rule, result.severity_of(finding), text)


def print_table(done: Iterable[Examination], explained: dict[tuple[str, str, str], str]) -> None:
    """One line a package. A class counts once for each rule that alarms at it, however many seeds see it."""
    by_package: dict[str, list[Examination]] = defaultdict(list)
    for one in done:
        by_package[one.package].append(one)
    print(
        f"{'package':28}{'classes':>8}{'modules':>8}{'errors':>8}{'warnings':>9}{'of these true':>14}"
        f"{'notes':>7}{'broken':>7}{'ended':>6}{'CPU s':>7}"
    )
    for package, group in by_package.items():
        modules = [one for one in group if not one.skipped]
        counts, true = Counter[str](), 0
        for one in modules:
            seen = {(alarm.severity, *alarm.key) for alarm in one.alarms}
            counts.update(severity for severity, *_ in seen)
            true += sum(severity in GRAVE and tuple(key) in explained for severity, *key in seen)
        ended = sum(bool(one.ended) for one in modules)
        seconds = statistics.median([one.seconds for one in modules] or [0.0])
        print(
            f"{package:28}{len(group):8}{len(modules):8}{counts['error']:8}{counts['warning']:9}{true:14}"
            f"{counts['note']:7}{counts['broken']:7}{ended:6}{seconds:7.1f}"
        )


def print_alarms(
    one: Examination, explained: dict[tuple[str, str, str], str], *, shown: Sequence[str]
) -> int:
    """What was found at one class; the number of errors, warnings, crashes and early ends without a reason."""
    left = 0
    for alarm, visits in sorted(one.alarms.items(), key=lambda pair: pair[0].rule):
        if alarm.severity not in shown:
            continue
        reason = explained.get(alarm.key, "")
        left += not reason and alarm.severity != "note"
        print(f"{alarm.rule} [{alarm.severity}] {alarm.package}:{alarm.name} ({', '.join(visits)})")
        print(f"    {alarm.text}")
        print(f"    true: {reason}\n" if reason else "", flush=True)
    if one.ended:
        print(f"ended early: {one.package}:{one.name}: {one.ended}\n", flush=True)
    return left + bool(one.ended)


if __name__ == "__main__":
    raise SystemExit(main())
