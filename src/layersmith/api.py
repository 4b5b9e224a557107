"""The verbs as functions: on a module, a class, a function that builds one, or the text of a target."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layersmith import client, config
from layersmith.errors import TargetError, UsageError
from layersmith.finding import Status
from layersmith.load import lock as locks
from layersmith.load import target as targets
from layersmith.load.lock import Lock
from layersmith.load.target import Target
from layersmith.promises import EXAMINATIONS, Contract
from layersmith.registry import chosen, require_known, require_sound
from layersmith.report import Report, SubjectReport, environment
from layersmith.server import Failed, Request
from layersmith.server.subject import OUTPUT_KEPT
from layersmith.verbs import VERBS

if TYPE_CHECKING:
    from layersmith.subject import Subject


def check(  # noqa: PLR0913 - every one is an option that users differ in
    target: Any,
    inputs: Any = None,
    *,
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
    waive: Mapping[str, str] | None = None,
    gradients: str = "quick",
    seed: int = 0,
    submodules: bool = False,
) -> Report:
    """Ask every rule about a module.

    Args:
        target: a module, an nn.Module class, a function without arguments that builds a module, or the text of a
            target as on the command line (`"layers.py::Block"`), which is examined in processes of its own.
        inputs: a tensor, a tuple of positional arguments or a dict of keyword arguments; for a text target their
            notation (`"f32[2,16,64], mask=bool[2,16]"`). None: they are found out.
        select: ids or groups of the rules to run; none: all.
        ignore: ids or groups of rules to leave out.
        waive: rule ids (or promises) that this target need not keep, each with the reason.
        gradients: "full" examines them also in float32, elsewhere, and for every layout of what backward gets.
        seed: of the build, the inputs and everything that a rule draws.
        submodules: also ask them about every distinct submodule of a module object, on the inputs that it really
            gets when the module is called with `inputs`.

    Raises:
        UsageError: if the request itself is wrong: no such file, an unknown rule, inputs of a wrong kind.

    Example:
        >>> import torch, layersmith
        >>> report = layersmith.check(torch.nn.Linear(10, 5), torch.randn(32, 10), ignore=["graph-break"])
        >>> report.ok
        True
    """
    if gradients not in EXAMINATIONS:
        raise UsageError(f"gradients must be one of {', '.join(EXAMINATIONS)}, not {gradients!r}")
    settings = config.Config(waive={"*": waive or {}}, gradients=gradients)
    rules = chosen(select=select, ignore=ignore)
    report = _verb("check", target, inputs, rules, settings, seed)
    if not submodules:
        return report
    parts = [_here("check", part, rules, waive or {}, seed) for part in _parts_of(target, inputs)]
    return dataclasses.replace(report, subjects=(*report.subjects, *parts))


@contextlib.contextmanager
def record(lock: str | os.PathLike[str] | None = None) -> Iterator[Any]:
    """Keep in the lock file how the modules that run inside are built and called: one or two calls a class.

    Build the model inside too, and its constructors' real arguments are kept; those of one that was built before
    are solved for from its sizes, and a class for which that fails is left out.

    Args:
        lock: the lock file; by default `layersmith.lock` of the project that the working directory lies in.

    Example:
        >>> import torch, layersmith
        >>> with layersmith.record("/dev/null"):
        ...     _ = torch.nn.Linear(10, 5)(torch.randn(32, 10))
    """
    from layersmith.load import lock as locks  # noqa: PLC0415 - needs torch
    from layersmith.load import record as recorder  # noqa: PLC0415 - as above
    from layersmith.load.recorded_run import located  # noqa: PLC0415 - as above

    path = Path(lock) if lock is not None else locks.place(Path.cwd())
    with recorder.record() as recording:
        yield recording
    found = located(recorder.entries(recording), recorder.classes(recording), Lock(path))
    if found:
        old = locks.read(path) if path.exists() else Lock(path)
        locks.write(dataclasses.replace(old, entries={**old.entries, **found}))


def init(target: Any, inputs: Any = None, *, seed: int = 0) -> Report:
    """Measure what becomes of the signal and of its gradient after every submodule, and judge it.

    The arguments are those of `check`. The measurements are `mean`, `std`, `rms`, `share_of_zeros` and
    `gradient_std`, by submodule in the order of calls.
    """
    return _verb("init", target, inputs, chosen(select=VERBS["init"].groups or ()), config.Config(), seed)


def profile(target: Any, inputs: Any = None, *, seed: int = 0) -> Report:
    """Measure time (s), FLOPs, parameters and bytes saved for backward, by submodule.

    The arguments are those of `check`.
    """
    return _verb("profile", target, inputs, (), config.Config(), seed)


def examine(
    verb: str,
    texts: Iterable[str],
    *,
    rules: tuple[str, ...],
    settings: config.Config,
    inputs: str = "",
    seed: int = 0,
    on_progress: Callable[[client.Progress], None] = lambda _: None,
) -> Report:
    """What a verb finds out about the targets of these texts, each class in a process of its own.

    Raises:
        UsageError: if nothing could be examined, or a waiver names an unknown rule.
    """
    for waived in settings.waive.values():
        require_known(Contract(waived).waived)
    texts = tuple(texts)
    parsed = tuple(
        dict.fromkeys(target for text in texts for target in targets.parse(text, exclude=settings.exclude))
    )
    lock = _lock(verb, parsed, required=settings.is_locked)
    request = Request(verb, parsed, rules, inputs, settings, seed, lock=lock)
    examined = client.examine(request, on_progress=on_progress)
    if examined.failed and not examined.subjects:
        raise TargetError("\n".join(failed.why for failed in examined.failed))
    failed = (one for one in examined.failed if not one.is_empty or str(one.target) in texts)
    subjects = (*examined.subjects, *map(_unimported, failed))
    confinement = {"confinement": examined.confinement.words} if examined.confinement.words else {}
    return Report(
        subjects,
        verb,
        {**environment(), **confinement},
        interrupted=examined.interrupted,
        is_confined=examined.confinement.is_whole,
    )


def _lock(verb: str, parsed: tuple[Target, ...], *, required: bool) -> Lock | None:
    """The lock file of the project that the first target lies in; for `infer` the one that is to be."""
    start = Path(parsed[0].path).parent if parsed and parsed[0].path else Path.cwd()
    found = locks.find(start)
    if found is None and required:
        raise UsageError(
            f"--locked, but there is no {locks.NAME} in {start.resolve()} or above: `layersmith infer` writes it"
        )
    return found or (Lock(locks.place(start)) if verb == "infer" else None)


def _verb(
    verb: str, target: Any, inputs: Any, rules: tuple[str, ...], asked: config.Config, seed: int
) -> Report:
    """Examine a target as asked; the waivers of all classes are those of the call."""
    waive = asked.waive.get("*", {})
    require_known(Contract(waive).waived)
    if isinstance(target, str | os.PathLike):
        if inputs is not None and not isinstance(inputs, str):
            raise UsageError('inputs for a text target are in notation, such as "f32[2,16,64]"')
        settings = config.find(Path.cwd())
        settings = dataclasses.replace(
            settings, waive={**settings.waive, "*": waive}, gradients=asked.gradients
        )
        return examine(
            verb, [os.fspath(target)], rules=rules, settings=settings, inputs=inputs or "", seed=seed
        )
    subject = dataclasses.replace(subject_of(target, inputs), gradients=asked.gradients)
    return Report((_here(verb, subject, rules, waive, seed),), verb)


def _parts_of(target: Any, inputs: Any) -> list[Subject]:
    """The distinct submodules of a module object, on their real inputs."""
    from torch import nn  # noqa: PLC0415 - `import layersmith` must not import torch

    from layersmith.load.submodules import subjects_of_submodules  # noqa: PLC0415 - as above

    if not isinstance(target, nn.Module):
        raise UsageError(
            f"submodules=True needs a module object, not {type(target).__name__}: {target!r:.80}"
        )
    subject = subject_of(target, inputs)
    return subjects_of_submodules(subject.build(0), subject.inputs(0))


def _here(
    verb: str, subject: Subject, rules: tuple[str, ...], waive: Mapping[str, str], seed: int
) -> SubjectReport:
    """Examine a subject in this process."""
    from layersmith import runner  # noqa: PLC0415 - needs torch

    start, printed = time.perf_counter(), io.StringIO()
    subject = dataclasses.replace(subject, contract=subject.contract.waiving(waive))
    require_sound(subject.contract)
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        items = [*runner.examine(subject, verb, rules, seed=seed)]
    report = SubjectReport(subject.name, subject.file, subject.line, inferred_from=subject.inferred_from)
    return dataclasses.replace(
        report.holding(items),
        output=printed.getvalue()[-OUTPUT_KEPT:],
        seconds=time.perf_counter() - start,
    )


def subject_of(target: Any, inputs: Any = None) -> Subject:
    """The Subject of a module, a class or a function that builds one.

    Raises:
        UsageError: if the target is something else.
        Unbuildable: if no way to build or to call it was found.
    """
    from torch import nn  # noqa: PLC0415 - `import layersmith` must not import torch

    from layersmith.load import build  # noqa: PLC0415 - as above

    if isinstance(target, nn.Module):
        return build.subject_of_object(target, inputs)
    if isinstance(target, type) and issubclass(target, nn.Module):
        return build.subject_of_class(target, inputs=inputs)
    if callable(target):
        return build.subject_of_factory(target, inputs)
    raise UsageError(
        "the target must be a module, an nn.Module class, a function that builds a module, or the text of a "
        f"target such as 'layers.py::Block', not {type(target).__name__}: {target!r:.80}"
    )


def _unimported(failed: Failed) -> SubjectReport:
    """A file without a class, or that needs a package which is not there, is skipped; any other is broken."""
    is_skipped = failed.is_empty or failed.why.startswith("skipped: ")
    status = Status.SKIPPED if is_skipped else Status.CRASHED
    why = failed.why.removeprefix("skipped: ")
    return SubjectReport(str(failed.target), failed.target.path, status=status, why=why)
