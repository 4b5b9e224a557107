"""`layersmith check`: ask every rule about every class of the targets."""

from __future__ import annotations

import argparse
from dataclasses import replace

from layersmith import registry
from layersmith.cli import examination
from layersmith.promises import EXAMINATIONS

HELP = "ask every rule about every module class: is it right?"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Targets, and which rules."""
    examination.add_arguments(parser)
    parser.add_argument("--select", metavar="RULES", help="only these rules or groups, separated by commas")
    parser.add_argument(
        "--locked",
        action="store_true",
        help="end with code 2 unless layersmith.lock has every class as it is now",
    )
    parser.add_argument(
        "--reproduce",
        metavar="RULE",
        help="only this rule; print a script that shows each failure without Layersmith",
    )
    parser.add_argument("--ignore", metavar="RULES", help="not these rules or groups, separated by commas")
    parser.add_argument(
        "--gradients", choices=EXAMINATIONS, help="how far gradients are examined (default quick)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the rules; the command line goes before pyproject.toml."""
    settings = replace(examination.settings_for(arguments), is_locked=arguments.locked)
    if arguments.select is not None:
        settings = replace(settings, select=arguments.select)
    if arguments.ignore is not None:
        settings = replace(settings, ignore=arguments.ignore)
    if arguments.gradients is not None:
        settings = replace(settings, gradients=arguments.gradients)
    if arguments.reproduce is not None:
        arguments.format = "script"
        settings = replace(
            settings, select=(registry.nearest(arguments.reproduce, registry.rule_files()),), ignore=()
        )
    rules = registry.chosen(select=settings.select, ignore=settings.ignore)
    return examination.run("check", arguments, rules, settings)
