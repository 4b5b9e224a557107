"""The process that imports torch once, confines itself and has every target examined by children."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from multiprocessing.connection import Connection
from pathlib import Path

from layersmith.errors import UsageError
from layersmith.isolation import Ended, confine, tree
from layersmith.server.messages import Confined, Request
from layersmith.server.schedule import examined


def main(handle: int) -> None:
    """Serve one request, which comes by the connection of that number; then end."""
    connection = _connection(handle)
    os.dup2(2, 1)  # a stray print of some library is no report
    tree.die_with_parent()
    tree.keep_orphans()
    request: Request = connection.recv()
    confined = confine(Path(request.scratch), unconfined=request.settings.unconfined)
    connection.send(Confined(confined))
    _warm(request)
    if (refusal := _refusal(request)) is not None:
        connection.send(refusal)
        return
    for event in examined(request, private=connection):
        connection.send(event)
    connection.send(Ended())


def _connection(handle: int) -> Connection:
    if sys.platform == "win32":
        from multiprocessing.connection import PipeConnection  # noqa: PLC0415 - only there

        return PipeConnection(handle)
    return Connection(handle)


def _warm(request: Request) -> None:
    """Import what every child needs, once: torch, the way to build, the rules."""
    for name in ("torch", "layersmith.load.build", "layersmith.load.discovery", "layersmith.runner"):
        importlib.import_module(name)
    from layersmith import registry  # noqa: PLC0415 - imports torch

    if request.compiles:
        from layersmith.probe import capture  # noqa: PLC0415 - imports torch

        capture.warm()
    registry.with_prerequisites(request.rules)
    gc.collect()
    gc.freeze()  # children need not look through what they share with us


def _refusal(request: Request) -> UsageError | None:
    """What is wrong with the request itself, if anything."""
    from layersmith.load import notation  # noqa: PLC0415 - needs torch

    try:
        notation.parse(request.inputs)
    except UsageError as error:
        return error
    return None
