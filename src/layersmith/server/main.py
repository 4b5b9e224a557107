"""The process that imports torch once, confines itself and has every target examined by children."""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from layersmith.errors import UsageError
from layersmith.isolation import Ended, confine, tree
from layersmith.server.messages import Confined, Request
from layersmith.server.schedule import examined

COLLECT_EVERY = 20_000  # objects; the trace of a compiler makes hundreds of thousands that stay
ALLOCATOR = {-1: 2**31 - 1, -2: 64 * 2**20, -3: 32 * 2**20}  # of mallopt(3): what to trim, to pad, to map


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
    from layersmith.load import cards, importing, options, pretrained  # noqa: PLC0415 - imports torch

    if not request.settings.unconfined:
        pretrained.watch()
        cards.watch()
        options.watch()
        importing.watch()
    if request.compiles:
        from layersmith.probe import capture  # noqa: PLC0415 - imports torch

        capture.warm()
    registry.with_prerequisites(request.rules)
    gc.collect()
    gc.freeze()  # children need not look through what they share with us
    gc.set_threshold(COLLECT_EVERY, 20, 20)
    _keep_pages()


def _keep_pages() -> None:
    """Have the children's allocator keep what tensors give back: each page anew costs them a fault, a tenth of all.

    Where the allocator is not glibc's there is no such function, or it answers that it has not done it.
    """
    with suppress(OSError, AttributeError, TypeError):
        c = ctypes.CDLL(None)
        for option, value in ALLOCATOR.items():
            c.mallopt(option, value)


def _refusal(request: Request) -> UsageError | None:
    """What is wrong with the request itself, if anything."""
    from layersmith.load import notation  # noqa: PLC0415 - needs torch

    try:
        notation.parse(request.inputs)
    except UsageError as error:
        return error
    return None
