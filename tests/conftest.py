"""What several tests share: the command line in a process of its own, and files to point it at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

HEADER = "import torch\nfrom torch import nn\n"

# Tests never depend on wall-clock: on a busy machine examples are drawn slowly, and that is no fault.
settings.register_profile("without_clock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("without_clock")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        """The report, where the command was given `--format json`."""
        found: dict[str, Any] = json.loads(self.out)
        return found

    def subject(self, name: str) -> dict[str, Any]:
        """The part of the report about one class."""
        return next(subject for subject in self.report["subjects"] if subject["name"] == name)

    def findings(self, name: str) -> dict[str, list[str]]:
        """The messages about one class by rule."""
        results = self.subject(name)["results"]
        return {r["rule"]: [f["message"] for f in r["findings"]] for r in results if r["findings"]}


@pytest.fixture
def layersmith(tmp_path: Path) -> Callable[..., Ended]:
    """Run `layersmith ARGUMENTS...` in a fresh folder, as a user would."""

    def run(*arguments: str, cwd: Path | None = None) -> Ended:
        done = subprocess.run(
            [sys.executable, "-m", "layersmith.cli.main", *arguments],
            capture_output=True,
            text=True,
            cwd=cwd or tmp_path,
            env={**os.environ, "COLUMNS": "80"},
            timeout=300,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a Python file that begins with the usual imports."""

    def write_file(text: str, name: str = "layers.py", *, header: str = HEADER) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(header + text)
        return path

    return write_file
