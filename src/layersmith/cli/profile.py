"""`layersmith profile`: time, FLOPs, parameters and saved bytes, submodule by submodule."""

from __future__ import annotations

import argparse

from layersmith.cli import examination

HELP = "measure time, FLOPs, parameters and memory by submodule: what is slow?"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Targets."""
    examination.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure, and judge nothing."""
    return examination.run("profile", arguments, (), examination.settings_for(arguments))
