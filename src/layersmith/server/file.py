"""The process of one target: imports it, says which classes it has, and starts a child for each as it is told."""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Iterable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING

from layersmith.errors import EmptyTargetError, LayersmithError, UsageError
from layersmith.isolation import Ended, Send, confine, tree
from layersmith.isolation.child import LOOK
from layersmith.isolation.guard import folders_left_unmade
from layersmith.load.target import Target
from layersmith.server import subject
from layersmith.server.messages import Class, Failed, Found, Reported, Request

if TYPE_CHECKING:
    from layersmith.load.discovery import Thing


def serve(request: Request, target: Target, commands: Connection, send: Send) -> None:
    """Import the target, then examine the classes whose numbers come, until nothing more can come."""
    if not request.settings.fork:  # started anew: the kernel's walls stand, the hook in Python does not
        confine(Path(request.scratch), unconfined=request.settings.unconfined)
    try:
        found = things(target, request.settings.timeout)
    except LayersmithError as error:
        is_refused = isinstance(error.__cause__, UsageError)  # such as a contract without a reason
        is_empty = isinstance(error, EmptyTargetError)
        send(error.__cause__ if is_refused else Failed(target, str(error), is_empty=is_empty))
        return
    send(Found(target, tuple(_said_of(index, thing, target) for index, thing in enumerate(found))))
    helpers = tree.children(os.getpid())  # whatever the import has started is needed
    running: dict[int, subject.Examination] = {}
    started = 0
    try:
        while True:
            ready = wait([commands, *(one.child.connection for one in running.values())], LOOK)
            if commands in ready:
                index, started = commands.recv(), started + 1
                running[index] = subject.Examination.begin(
                    request, target, index, name_of(found[index], target), close=[commands, send.connection]
                )
            for index, one in [*running.items()]:
                if isinstance(one.listen(), Ended):
                    del running[index]
                    if one.imported is not None and request.settings.fork:
                        send(one.imported)
                        warm(one.imported.names if started < len(found) else ())
                    send(one.refusal or Reported(target, index, one.report()))
                    tree.end_orphans(keep=helpers | {other.child.pid for other in running.values()})
    except EOFError:
        return
    finally:
        for one in running.values():
            one.child.end()


def warm(names: Iterable[str]) -> None:
    """Import modules for the children to come."""
    for name in names:
        with suppress(Exception):  # a part that is closed here
            importlib.import_module(name)


def name_of(thing: Thing, target: Target) -> str:
    """What a report calls it."""
    from torch import nn  # noqa: PLC0415 - keeps the importer light

    if isinstance(thing, nn.Module):
        return target.name
    return getattr(thing, "__name__", "") or getattr(thing, "name", "")


def _said_of(index: int, thing: Thing, target: Target) -> Class:
    from layersmith.load.discovery import Unreachable  # noqa: PLC0415 - needs torch
    from layersmith.probe import source  # noqa: PLC0415 - as above

    name = name_of(thing, target)
    if isinstance(thing, type):
        cls: type = thing
        return Class(index, name, (source.file_of(cls) or cls.__module__, cls.__qualname__))
    if isinstance(thing, Unreachable):
        return Class(index, name, (thing.file, f"{thing.function}.{name}:{thing.line}"))
    return Class(index, name, (str(target), f"{name} {index}"))


@functools.cache
def things(target: Target, seconds: float) -> list[Thing]:
    """What a target holds, imported when first asked for in this process or one that it was forked from.

    What its import does is ended after so many seconds of wall clock.
    """
    from layersmith.load import discovery, importing, loader  # noqa: PLC0415 - needs torch

    with folders_left_unmade(), loader.within(seconds):
        return discovery.things(importing.import_target(target), target.name)
