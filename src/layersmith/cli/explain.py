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

    pages = rule_page.pages(registry.chosen(select=arguments.rule or ()))
    is_one = arguments.rule is not None and arguments.rule not in registry.groups()
    text = pages[0].markdown() if is_one else rule_page.index(pages)
    if sys.stdout.isatty():
        Console().print(Markdown(text))
    else:
        sys.stdout.write(text)
    return 0
