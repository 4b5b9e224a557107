"""`layersmith VERB ...`: finds the verbs, parses the arguments, turns errors into exit codes."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from layersmith.errors import LayersmithError

INTERRUPTED = 130  # 128 + SIGINT, as shells have it


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 fine, 1 findings, 2 a wrong request, 130 interrupted."""
    parser = argparse.ArgumentParser(
        prog="layersmith",
        description="The workbench for people who write their own PyTorch layers and models.",
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(title="verbs", metavar="VERB")
    for name, module in verbs().items():
        command = commands.add_parser(name, help=module.HELP, description=module.HELP)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    arguments = parser.parse_args(argv)
    with contextlib.suppress(ValueError):  # only the main thread may
        signal.signal(signal.SIGTERM, _terminated)
    if not hasattr(arguments, "run"):
        parser.print_help(sys.stderr)
        return LayersmithError.exit_code
    try:
        code: int = arguments.run(arguments)
    except LayersmithError as error:
        sys.stderr.write(f"layersmith: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _terminated(number: int, _: object) -> None:
    """End as after an error, so that no process and no scratch folder is left."""
    raise SystemExit(128 + number)


def verbs() -> dict[str, ModuleType]:
    """Every file of this folder that has a HELP line, by its name."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("*.py"))
    modules = {
        name: importlib.import_module(f"layersmith.cli.{name}")
        for name in names
        if not name.startswith(("_", "main"))
    }
    return {name: module for name, module in modules.items() if hasattr(module, "HELP")}


def _version() -> str:
    from importlib import metadata  # noqa: PLC0415 - slow, and only needed for one option

    return f"layersmith {metadata.version('layersmith')}"


if __name__ == "__main__":
    sys.exit(main())
