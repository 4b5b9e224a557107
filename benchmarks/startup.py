"""How long a command takes to its end, relative to `python -c "import torch"`.

    python benchmarks/startup.py
    python benchmarks/startup.py --pairs 15 -- layersmith explain batch-leak

Each pair runs the command and the import one after the other, every second pair the other way round, so that
a busy machine slows both; the ratio is the median over pairs. Wall and CPU time, children that were waited
for included. One uncounted pair first fills the file caches.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

REFERENCE = [sys.executable, "-c", "import torch"]
DEFAULTS = [
    ["layersmith", "check", "examples/tutorial.py", "--ignore", "graph-break"],
    ["layersmith", "--help"],
]
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a command to its end."""

    wall_seconds: float
    cpu_seconds: float
    exit_code: int


def main() -> int:
    """Print one line a command; 1 when a command was not there or was stopped by a signal."""
    options = arguments()
    commands = [options.command] if options.command else DEFAULTS
    print(f"ratios to python -c 'import torch', medians of {options.pairs} pairs")
    print(f"{'wall':>7}{'(quartiles)':>17}{'CPU':>7}{'seconds':>10}  command")
    for command in commands:
        try:
            print(line(command, pairs=options.pairs), flush=True)
        except (FileNotFoundError, RuntimeError) as error:
            print(error, file=sys.stderr)
            return 1
    return 0


def arguments() -> argparse.Namespace:
    """The number of pairs, and the command if one is given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=7, help="how many pairs (default 7)")
    parser.add_argument(
        "command", nargs="*", help="a command with its arguments, after -- (default: two of ours)"
    )
    options = parser.parse_args()
    if options.pairs < 1:
        parser.error(f"--pairs must be at least 1, not {options.pairs}")
    return options


def line(command: list[str], *, pairs: int) -> str:
    """Median ratios of one command, with the quartiles of the wall ratio."""
    runs = [pair(command, reference_first=bool(index % 2)) for index in range(pairs + 1)][1:]
    walls = [mine.wall_seconds / reference.wall_seconds for mine, reference in runs]
    cpus = [mine.cpu_seconds / reference.cpu_seconds for mine, reference in runs]
    lower, median, upper = statistics.quantiles(walls, n=4, method="inclusive") if pairs > 1 else walls * 3
    seconds = statistics.median(mine.wall_seconds for mine, _ in runs)
    exits = ", ".join(map(str, sorted({mine.exit_code for mine, _ in runs})))
    spread, cpu = f"({lower:.2f} to {upper:.2f})", statistics.median(cpus)
    return f"{median:7.2f}{spread:>17}{cpu:7.2f}{seconds:10.2f}  {' '.join(command)}  [exit {exits}]"


def pair(command: list[str], *, reference_first: bool) -> tuple[Run, Run]:
    """The command and the reference, in either order."""
    if reference_first:
        reference = run(REFERENCE)
        return run(command), reference
    return run(command), run(REFERENCE)


def run(command: list[str]) -> Run:
    """One run from the checkout's root, output thrown away; its children's CPU time is included."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [executable(command[0]), *command[1:]], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = code = os.waitstatus_to_exitcode(status)
    if code < 0:
        raise RuntimeError(f"{' '.join(command)} was stopped by signal {-code}")
    return Run(wall, usage.ru_utime + usage.ru_stime, code)


def executable(name: str) -> str:
    """The program beside this interpreter, so that the environment of this script is what is measured."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else name


if __name__ == "__main__":
    raise SystemExit(main())
