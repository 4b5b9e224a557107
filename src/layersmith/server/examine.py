"""The work of one class's process: find a way to build and call the class, then run rules and probes on it."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

from layersmith.errors import UsageError
from layersmith.finding import Result, Status
from layersmith.isolation import Send, confine
from layersmith.isolation.guard import LIFTED_BY
from layersmith.load import examples
from layersmith.load.lock import NAME, Entry
from layersmith.load.target import Target
from layersmith.report import SubjectReport
from layersmith.server import shared
from layersmith.server.messages import Imported, Request

if TYPE_CHECKING:
    from torch import nn

    from layersmith.load.strategy import Said
    from layersmith.subject import Subject

TRUST = f"run it with {LIFTED_BY} if you trust this code"
REPLAY_SECONDS = 1.0  # of CPU, to see what would fit in the place of a hint that does not


def examine(request: Request, target: Target, index: int, send: Send) -> None:
    """Examine the class of that number, and send what is known of it as soon as it is."""
    from layersmith.load.discovery import Unreachable  # noqa: PLC0415 - needs torch
    from layersmith.server.file import name_of, things  # noqa: PLC0415 - it starts what this file describes

    if not request.settings.fork:  # started anew: the kernel's walls stand, the hook in Python does not
        confine(Path(request.scratch), unconfined=request.settings.unconfined)
    thing = things(target, request.settings.timeout)[index]
    before = {*sys.modules}
    if isinstance(thing, Unreachable):
        header = SubjectReport(thing.name, thing.file, thing.line)
        send(replace(header, status=Status.SKIPPED, why=thing.why, hint=thing.hint))
    elif isinstance(thing, type):
        _examine_class(request, thing, send)
    else:
        _examine_object(request, thing, SubjectReport(name_of(thing, target), target.path), send)
    if new := tuple(name for name in [*sys.modules] if name not in before and _is_slow_part(name)):
        send(Imported(new))


def _is_slow_part(name: str) -> bool:
    """Whether a module is torch's, and one that starts nothing when it is imported."""
    return name.startswith("torch.") and not name.startswith(("torch._inductor", "torch.distributed"))


def _examine_class(request: Request, cls: type[nn.Module], send: Send) -> None:
    from layersmith.load.hint import Stale  # noqa: PLC0415 - needs torch
    from layersmith.load.unbuildable import Unbuildable  # noqa: PLC0415 - as above
    from layersmith.probe import source  # noqa: PLC0415 - as above

    header = SubjectReport(cls.__name__, *source.class_line(cls))
    send(header)
    known = _Known(request, cls, header)
    if known.skip is not None:
        send(known.skip)
        _send_read(known, send)
        return
    try:
        for number in range(known.count()):
            subject = known.subject(number)
            if number == 0:
                send(known.described(subject))
            for item in _items(request, subject):
                send(item if number == 0 else _called(item, subject.inferred_from))
    except Stale as error:
        send(replace(header, status=Status.STALE, why=error.why, hint=known.fitting()))
    except Unbuildable as error:
        hint = TRUST if LIFTED_BY in error.why else error.hint
        send(known.left_out(error.why, hint))
        _send_read(known, send)
    except UsageError as error:  # a waiver without a reason, of an unknown rule: the whole request is wrong
        send(error)
    except Exception:  # what the class does to its own machinery; the source may say what
        _send_read(known, send)
        raise


def _send_read(known: _Known, send: Send) -> None:
    """What the source alone says of a class, unless its author wants it left out."""
    for result in known.read() if known.example is None or not known.example.skip else ():
        send(result)


def _examine_object(
    request: Request, thing: FunctionType | nn.Module, header: SubjectReport, send: Send
) -> None:
    """Examine what a function builds, or a module that the file holds."""
    from layersmith.load.build import subject_of_factory, subject_of_object  # noqa: PLC0415 - needs torch
    from layersmith.load.unbuildable import Unbuildable  # noqa: PLC0415 - as above
    from layersmith.probe import source  # noqa: PLC0415 - as above

    send(header)
    make: Any = subject_of_factory if isinstance(thing, FunctionType) else subject_of_object
    try:
        subject: Subject = make(thing, request.inputs or None)
    except Unbuildable as error:
        send(replace(header, status=Status.SKIPPED, why=error.why, hint=error.hint))
        return
    is_theirs = not subject.file.startswith(source.TORCH)
    place = (subject.file, subject.line) if is_theirs else (header.file, 0)
    send(replace(header, file=place[0], line=place[1], inferred_from=subject.inferred_from))
    for item in _items(request, subject):
        send(item)


class _Known:
    """What the settings and the lock file say of a class, and what follows."""

    def __init__(self, request: Request, cls: type[nn.Module], header: SubjectReport) -> None:
        from layersmith.load import fingerprint  # noqa: PLC0415 - needs torch

        self.request, self.cls, self.header = request, cls, header
        lock, names = request.lock, {"module": cls.__module__, "name": cls.__qualname__}
        self.example = examples.of(request.settings.examples, file=header.file, **names)
        self.key = lock.key(header.file, *names.values()) if lock is not None else ""
        entry = lock.entries.get(self.key) if lock is not None else None
        self.signature = fingerprint.signature(cls)
        self.source = fingerprint.digest(cls)
        self.unlocked = self._unlocked(entry) if lock is not None else ""
        self.place = f"{header.file}:{header.line}:{cls.__qualname__}"
        before = (
            None
            if entry is not None or self.example is not None
            else shared.left(request.scratch, self.place)
        )
        self.entry = entry if entry is not None and not self.unlocked else before or Entry()
        self.is_shared = before is not None  # whether the other lane has just found it
        self.said = self._said()

    @property
    def skip(self) -> SubjectReport | None:
        """The whole report on a class that need not be tried: left out by the user, or hopeless before."""
        if self.example is not None and self.example.skip:
            return replace(self.header, status=Status.SKIPPED, why=self.example.skip)
        if self.example is not None or self.request.inputs or self._speaks_for_itself():
            return None
        if self.entry.unknown:
            return self.left_out(self.entry.unknown, self.entry.hint)
        if self.request.settings.is_locked and self.unlocked:
            return replace(
                self.header, status=Status.SKIPPED, why=self.unlocked, key=self.key, unlocked=self.unlocked
            )
        return None

    def count(self) -> int:
        """How many ways to call it are to be examined."""
        from layersmith.load.attempt import Deadline  # noqa: PLC0415 - needs torch
        from layersmith.load.example import number_of_examples  # noqa: PLC0415 - as above

        if self.request.inputs:
            return 1
        if self.said.hints:
            return len(self.said.hints)
        return max(len(self.said.locked), number_of_examples(self.cls, Deadline.after(REPLAY_SECONDS)))

    def subject(self, number: int) -> Subject:
        """The class with a way to build and to call it, and with what the settings waive."""
        from layersmith import registry  # noqa: PLC0415 - needs torch
        from layersmith.load.build import subject_of_class  # noqa: PLC0415 - as above

        said = replace(self.said, number=number)
        found = subject_of_class(
            self.cls,
            inputs=self.request.inputs or None,
            said=said,
            may_run_examples=not self.request.settings.unconfined,
        )
        if said.misfits:
            self.unlocked = f"its call in the lock file no longer works: {said.misfits[0]}"
        contract = found.contract.waiving(self._waived())
        found = replace(found, contract=contract, gradients=self.request.settings.gradients)
        try:
            registry.require_sound(found.contract)
        except UsageError as error:
            raise UsageError(
                f"{self.header.file}:{self.header.line}: {self.cls.__name__} waives: {error}"
            ) from error
        return found

    def read(self) -> Iterator[Result]:
        """What the source alone says of the class."""
        from layersmith import registry, runner  # noqa: PLC0415 - needs torch
        from layersmith.promises import contract_of  # noqa: PLC0415 - as above

        contract = contract_of(self.cls).waiving(self._waived())
        yield from runner.read(self.cls, map(registry.load, self.request.rules), contract)

    def _waived(self) -> dict[str, str]:
        return dict(self.request.settings.waivers_of(self.cls.__module__, self.cls.__name__))

    def described(self, subject: Subject) -> SubjectReport:
        """The header, with how the class was built and called, and what to keep of that."""
        is_stated = self.example is not None or self._speaks_for_itself()
        unlocked = "" if is_stated or self.request.inputs else self.unlocked
        entry = None if is_stated else self._kept(subject)
        if entry is not None and not self.request.inputs:
            shared.leave(self.request.scratch, self.place, entry)
        return replace(
            self.header, inferred_from=subject.inferred_from, key=self.key, entry=entry, unlocked=unlocked
        )

    def left_out(self, why: str, hint: str) -> SubjectReport:
        """The report on a class for which there is no way."""
        entry = Entry(signature=self.signature, unknown=why, hint=hint, source=self.source)
        if not self.request.inputs:
            shared.leave(self.request.scratch, self.place, entry)
        return replace(
            self.header,
            status=Status.SKIPPED,
            why=why,
            hint=hint,
            key=self.key,
            entry=entry,
            unlocked=self.unlocked,
        )

    def fitting(self) -> str:
        """What would fit in the place of a hint that does not, to paste; "" if nothing is found."""
        from layersmith.load.build import subject_of_class  # noqa: PLC0415 - needs torch
        from layersmith.load.unbuildable import Unbuildable  # noqa: PLC0415 - as above

        try:
            call, _, _ = subject_of_class(self.cls, seconds=REPLAY_SECONDS).inferred_from.partition(" from ")
        except Unbuildable:
            return ""
        return f"this works now:\n{self.cls.__name__} = {json.dumps(call, ensure_ascii=False)}"

    def _said(self) -> Said:
        from layersmith.load.strategy import Said  # noqa: PLC0415 - needs torch

        hints = self.example.calls if self.example is not None else ()
        source = self.entry.how if self.is_shared else NAME
        return Said(hints, self.entry.calls, source=source, doubt=self.entry.doubt)

    def _unlocked(self, entry: Entry | None) -> str:
        """Why the lock file's entry is of no use."""
        if entry is None:
            return f"{self.key} is not in the lock file"
        if entry.signature and entry.signature != self.signature:
            return f"its signature was {entry.signature} in the lock file, now it is {self.signature}"
        if entry.unknown and entry.source != self.source:
            return "its source has changed since no way to call it was found"
        return ""

    def _kept(self, subject: Subject) -> Entry:
        """The entry for what was found: the old one, if that did."""
        if self.entry.calls and not self.unlocked:
            return self.entry
        call, _, how = subject.inferred_from.partition(" from ")
        return Entry((call,), how.partition("; a guess: ")[0], self.signature, doubt=subject.doubt)

    def _speaks_for_itself(self) -> bool:
        return hasattr(self.cls, "example")


def _items(request: Request, subject: Subject) -> Iterator[Any]:
    from layersmith import runner  # noqa: PLC0415 - needs torch

    yield from runner.examine(subject, request.verb, request.rules, seed=request.seed)


def _called(item: Any, how: str) -> Any:
    """A result of a further example: its findings say which."""
    if not isinstance(item, Result):
        return item
    told = (replace(one, message=f"{one.message} (in {how})") for one in item.findings)
    return dataclasses.replace(item, findings=tuple(told))
