"""What a script requires on its command line: parsers get along without it where nobody can give it.

`parser.add_argument("--dataset", required=True)` at the top of a script would end the import of its classes, as would the
positional `data` of a training script. Where classes of files are examined, in processes of their own, what is required
is the first of its choices, a small number, or the name of the option.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from typing import Any

_NUMBERS = {int: 1, float: 0.1}


def watch() -> None:
    """Have, for the rest of this process, no parser end it for what it was not given; call it before user code."""
    own = argparse.ArgumentParser.parse_known_args
    argparse.ArgumentParser.parse_known_args = _forgiving(own)  # type: ignore[method-assign]


def _forgiving(parse: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(parse)
    def parse_known_args(self: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> Any:
        for action in self._actions:
            if action.required:
                action.required = False
                action.default = _instead(action) if action.default is None else action.default
        for group in self._mutually_exclusive_groups:
            group.required = False
        return parse(self, *args, **kwargs)

    return parse_known_args


def _instead(action: argparse.Action) -> Any:
    """A value that the option could have; a list of it where it takes several."""
    usual = _NUMBERS.get(action.type, action.dest)  # type: ignore[call-overload]
    value = next(iter(action.choices), usual) if action.choices is not None else usual
    return [value] * action.nargs if type(action.nargs) is int else [value] if action.nargs == "+" else value
