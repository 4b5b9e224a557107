"""Every distinct submodule of a model as a Subject of its own, with the inputs that a real batch brings it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from layersmith.load.attempt import Deadline, contained
from layersmith.load.recorded import copy_of, kept, stated
from layersmith.load.recording import Seen, recording
from layersmith.probe import source
from layersmith.probe.inputs import Inputs
from layersmith.promises import contract_of
from layersmith.subject import Subject

_SECONDS = 600.0


def calls_of_submodules(module: nn.Module, inputs: Inputs) -> Iterator[tuple[str, Seen]]:
    """The first call of every submodule that the model calls, with its path, in the order of registration.

    Args:
        module: the model; it is called once, in eval mode and without gradients.
        inputs: one batch.
    """
    paths = {id(part): path for path, part in module.named_modules()}
    was_training = [part for part in nn.Module.modules(module) if part.training]
    with recording(each=1, by_module=True) as found, contained(Deadline.after(_SECONDS)), torch.no_grad():
        inputs.call(module.eval())
    for part in was_training:
        part.training = True
    seen = {id(calls[0].module): calls[0] for calls in found.calls.values()}
    yield from ((path, seen[key]) for key, path in paths.items() if path and key in seen)


def subjects_of_submodules(module: nn.Module, inputs: Inputs) -> list[Subject]:
    """A Subject for every submodule that differs from those before it in class, parameters or inputs.

    torch's own layers are left out: they are right.
    """
    found: dict[Any, Subject] = {}
    for path, seen in calls_of_submodules(module, inputs):
        if not type(seen.module).__module__.startswith("torch."):
            found.setdefault(_likeness(seen), _subject(path, seen))
    return list(found.values())


def _likeness(seen: Seen) -> Any:
    shapes = tuple((name, tuple(t.shape)) for name, t in seen.module.state_dict().items())
    return type(seen.module), shapes, str(stated(seen.inputs))


def _subject(path: str, seen: Seen) -> Subject:
    cls = type(seen.module)
    file, line = source.class_line(cls)
    said = f"{cls.__name__}(...)({stated(seen.inputs)}) as the model calls it"
    subject = Subject(
        f"{path}: {cls.__name__}",
        lambda _: copy_of(seen.module),
        kept(seen.inputs),
        file,
        line,
        contract_of(cls),
        said,
    )
    return dataclasses.replace(subject, is_seeded=False)
