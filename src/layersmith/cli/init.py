"""`layersmith init`: what becomes of the signal and of its gradient, submodule by submodule."""

from __future__ import annotations

import argparse

from layersmith import registry
from layersmith.cli import examination
from layersmith.verbs import VERBS

HELP = "audit the initialisation: does the signal survive, and which gain would keep it?"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Targets."""
    examination.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure the signal and ask the rules about initialisation."""
    settings = examination.settings_for(arguments.targets)
    return examination.run("init", arguments, registry.chosen(select=VERBS["init"].groups or ()), settings)
