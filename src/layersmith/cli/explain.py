"""`layersmith explain`: a rule's page, or the list of all rules."""

from __future__ import annotations

import argparse
import sys

from layersmith import registry
from layersmith.render import rule_page

HELP = "show a rule's page: why it matters, how it is tested, how to fix it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The rule; without one, all are listed."""
    parser.add_argument(
        "rule", nargs="?", metavar="RULE", help="its name, or a group's; without one, all are listed"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print to stdout, for people as rich Markdown."""
    from rich.console import Console  # noqa: PLC0415 - keeps --help fast
    from rich.markdown import Markdown  # noqa: PLC0415 - as above

    files = registry.rule_files()
    if arguments.rule is None or arguments.rule in registry.groups():
        text = _index(arguments.rule)
    else:
        text = rule_page.read(files[registry.nearest(arguments.rule, files)]).markdown()
    if sys.stdout.isatty():
        Console().print(Markdown(text))
    else:
        sys.stdout.write(text)
    return 0


def _index(group: str | None) -> str:
    pages = sorted(
        map(rule_page.read, registry.rule_files().values()), key=lambda page: (page.group, page.id)
    )
    pages = [page for page in pages if group in {None, page.group}]
    lines = [f"| {page.id} | {page.group} | {page.severity} | {page.title} |" for page in pages]
    return (
        "\n".join(["| rule | group | severity | what a good module does |", "|---|---|---|---|", *lines])
        + "\n"
    )
