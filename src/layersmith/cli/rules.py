"""`layersmith rules`: the rules as a table, by group and severity."""

from __future__ import annotations

import argparse
import sys

from layersmith import registry
from layersmith.errors import UsageError
from layersmith.finding import Severity
from layersmith.render import rule_page

HELP = "list the rules: all, or those of a group or a severity"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Filters."""
    parser.add_argument("groups", nargs="*", metavar="GROUP", help="only these groups (or rules)")
    parser.add_argument("--severity", choices=[*Severity], help="only rules of this severity")
    parser.add_argument("--names", action="store_true", help="print bare names, one a line, for scripts")


def run(arguments: argparse.Namespace) -> int:
    """Print to stdout, for people as a table."""
    pages = [
        page
        for page in rule_page.pages(registry.chosen(select=arguments.groups))
        if arguments.severity in {None, page.severity}
    ]
    if not pages:
        raise UsageError(f"no rule of {', '.join(arguments.groups)} has severity {arguments.severity!r}")
    text = "".join(f"{page.id}\n" for page in pages) if arguments.names else rule_page.index(pages)
    if sys.stdout.isatty() and not arguments.names:
        from rich.console import Console  # noqa: PLC0415 - keeps --help fast
        from rich.markdown import Markdown  # noqa: PLC0415 - as above

        Console().print(Markdown(text))
    else:
        sys.stdout.write(text)
    return 0
