"""The process of one target: imports it, says which classes it has, and starts a child for each as it is told."""

from __future__ import annotations

import functools
import os
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING

from layersmith.errors import LayersmithError
from layersmith.isolation import Ended, Send, confine, tree
from layersmith.isolation.child import LOOK
from layersmith.load.target import Target
from layersmith.server import subject
from layersmith.server.messages import Class, Failed, Found, Reported, Request

if TYPE_CHECKING:
    from torch import nn


def serve(request: Request, target: Target, commands: Connection, send: Send) -> None:
    """Import the target, then examine the classes whose numbers come, until nothing more can come."""
    if not request.settings.fork:  # started anew: the kernel's walls stand, the hook in Python does not
        confine(Path(request.scratch), unconfined=request.settings.unconfined)
    try:
        found = classes(target)
    except LayersmithError as error:
        send(Failed(target, str(error)))
        return
    send(Found(target, tuple(_said_of(index, cls) for index, cls in enumerate(found))))
    helpers = tree.children(os.getpid())  # whatever the import has started is needed
    running: dict[int, subject.Examination] = {}
    try:
        while True:
            ready = wait([commands, *(one.child.connection for one in running.values())], LOOK)
            if commands in ready:
                index = commands.recv()
                running[index] = subject.Examination.begin(
                    request, target, index, found[index].__name__, close=[commands, send.connection]
                )
            for index, one in [*running.items()]:
                if isinstance(one.listen(), Ended):
                    del running[index]
                    send(Reported(target, index, one.report()))
                    tree.end_orphans(keep=helpers | {other.child.pid for other in running.values()})
    except EOFError:
        return
    finally:
        for one in running.values():
            one.child.end()


def _said_of(index: int, cls: type[nn.Module]) -> Class:
    return Class(index, cls.__name__, (cls.__module__, cls.__qualname__))


@functools.cache
def classes(target: Target) -> list[type[nn.Module]]:
    """The classes of a target, imported when first asked for in this process or one that it was forked from."""
    from layersmith.load import discovery, importing  # noqa: PLC0415 - needs torch

    return discovery.classes(importing.import_target(target), target.name)
