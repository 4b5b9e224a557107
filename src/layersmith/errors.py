"""What can be wrong with a request itself: each error says what was asked, what was given, what to do."""

from __future__ import annotations


class LayersmithError(Exception):
    """Any error that Layersmith raises on purpose; `exit_code` is what the command line returns."""

    exit_code = 2


class UsageError(LayersmithError):
    """The request cannot be served: an unknown rule, a file that is not there, inputs of a wrong kind."""


class TargetError(UsageError):
    """The target cannot be read or imported: no such file, a syntax error in it, no module in it."""


class EmptyTargetError(TargetError):
    """The target can be imported, and defines no module class: of a folder's files, one to pass over."""


class CheckError(LayersmithError, AssertionError):
    """Raised by `Report.raise_for_failures`: at least one rule failed at error severity."""

    exit_code = 1
