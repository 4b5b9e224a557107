"""How many classes of installed packages Layersmith builds and calls unaided.

    python -m pip install --no-deps --target packages vit-pytorch local-attention einops
    PYTHONPATH=src:packages python benchmarks/inference.py torch.nn vit_pytorch local_attention

For each package: the concrete nn.Module classes that it defines, how many of them could be built, how
many also called, and the CPU time that a class took (median, 90th percentile). Each class has a process of
its own. With `--failures`, why the others were not.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import signal
import time
import types
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch
from torch import nn

from layersmith.errors import TargetError
from layersmith.load.build import subject_of_class
from layersmith.load.discovery import classes, is_concrete
from layersmith.load.doubt import FAILS
from layersmith.load.unbuildable import Unbuildable

SECONDS = 6.0  # CPU time for the search of one class
WALL = 60  # seconds after which its process is ended
NEVER_CALLED = {"Container", "ModuleList", "ModuleDict", "ParameterList", "ParameterDict", "Module"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the search for one class ended."""

    name: str
    seconds: float
    what: str  # the notation of the call, or why there is none
    is_built: bool = False
    is_called: bool = False
    is_abstract: bool = False  # it leaves to others what its forward calls


def main() -> None:
    """Print one line a package."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("packages", nargs="+", help="import paths: vit_pytorch, torch.nn")
    parser.add_argument("--failures", action="store_true", help="also say why classes were not called")
    parser.add_argument("--all", action="store_true", help="also say how the others were")
    parser.add_argument("--sample", type=int, default=0, help="examine so many classes of each, drawn evenly")
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'package':32} {'classes':>8} {'built':>7} {'called':>7} {'median':>8} {'p90':>8}")
    for package in given.packages:
        found = classes_of(package)
        step = max(1, len(found) // given.sample) if given.sample else 1
        outcomes = [one for cls in found[::step] if not (one := examined(cls)).is_abstract]
        print(row(package, outcomes), flush=True)
        for one in outcomes:
            if (given.all and one.is_called) or (given.failures and not one.is_called):
                print(f"    {one.name}: {one.what}")


def classes_of(package: str) -> list[type[nn.Module]]:
    """The concrete module classes that a package and its submodules define."""
    if package == "torch.nn":
        public = [
            thing for thing in vars(nn).values() if isinstance(thing, type) and issubclass(thing, nn.Module)
        ]
        return [cls for cls in dict.fromkeys(public) if is_concrete(cls) and _is_called(cls.__name__)]
    found: dict[type[nn.Module], None] = {}
    for module in modules_of(package):
        try:
            found |= dict.fromkeys(cls for cls in classes(module) if cls.__module__ == module.__name__)
        except TargetError:
            continue  # no class in this one
    return list(found)


def modules_of(package: str) -> Iterator[types.ModuleType]:
    """The package and every submodule that can be imported."""
    try:
        root = importlib.import_module(package)
    except ImportError as error:
        print(f"    {package} cannot be imported: {error}")
        return
    yield root
    for info in pkgutil.walk_packages(getattr(root, "__path__", []), f"{package}.", onerror=lambda _: None):
        try:
            yield importlib.import_module(info.name)
        except Exception as error:  # noqa: BLE001 - an optional dependency that is not there
            print(f"    {info.name} cannot be imported: {error}"[:110])


def examined(cls: type[nn.Module]) -> Outcome:
    """The outcome of one class, found in a process of its own."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        signal.alarm(WALL)
        with os.fdopen(writing, "w") as pipe:
            pipe.write(json.dumps(asdict(_searched(cls))))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return Outcome(**json.loads(text)) if text else Outcome(cls.__name__, WALL, "its process died")


def row(package: str, outcomes: list[Outcome]) -> str:
    """One line of the table."""
    seconds = sorted(one.seconds for one in outcomes) or [0.0]
    median, late = seconds[len(seconds) // 2], seconds[int(0.9 * len(seconds))]
    total = max(1, len(outcomes))
    built = f"{sum(one.is_built for one in outcomes) / total:.0%}"
    called = f"{sum(one.is_called for one in outcomes) / total:.0%}"
    return f"{package:32} {len(outcomes):8} {built:>7} {called:>7} {median:7.3f}s {late:7.2f}s"


def _is_called(name: str) -> bool:
    return name not in NEVER_CALLED and not name.startswith("Lazy") and not name.endswith("Base")


def _searched(cls: type[nn.Module]) -> Outcome:
    begin = time.process_time()
    is_built = is_called = is_abstract = False
    try:
        subject = subject_of_class(cls, seconds=SECONDS, may_run_examples=True)
        what, is_built, is_called = subject.inferred_from, True, subject.doubt != FAILS
    except Unbuildable as error:
        is_built, what = "no way to call" in error.why, error.why
        is_abstract = " is abstract: " in error.why
    except BaseException as error:  # noqa: BLE001 - Layersmith's own fault: counted as a failure
        what = f"CRASH {error!r}"
    return Outcome(cls.__name__, time.process_time() - begin, what, is_built, is_called, is_abstract)


if __name__ == "__main__":
    main()
