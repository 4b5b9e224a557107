"""What is examined: every class of torch.nn as the catalogue of the tests builds it, and the classes of libraries."""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn

from layersmith.load.build import subject_of_class
from layersmith.probe import source
from layersmith.probe.inputs import Inputs
from layersmith.promises import contract_of
from layersmith.subject import Subject, copying

ROOT = Path(__file__).parents[2]
sys.path += [str(ROOT / "benchmarks"), str(ROOT / "tests" / "probe" / "gradients")]
import catalogue  # type: ignore[import-not-found]  # noqa: E402
import inference  # type: ignore[import-not-found]  # noqa: E402

TORCH_NN = "torch.nn"
SECONDS = 8.0  # of CPU time for the search of a way to build and call a class
BESIDE = {  # of torch.nn, what the catalogue of gradients leaves out
    "CrossMapLRN2d": (lambda: nn.CrossMapLRN2d(3), lambda: (torch.randn(2, 4, 3, 3),)),
}


def stand_in_for_torchvision() -> None:
    """Let vit_pytorch and timm be imported: they take a little from there, whose release must match torch's build."""
    if "torchvision" not in sys.modules and importlib.util.find_spec("torchvision") is None:
        names = ("torchvision", "torchvision.transforms", "torchvision.ops", "torchvision.ops.misc")
        vision, *inner = made = [types.ModuleType(name) for name in names]
        vision.transforms, vision.ops = inner[:2]  # type: ignore[attr-defined]
        vision.__path__ = inner[1].__path__ = []
        inner[2].FrozenBatchNorm2d = type("FrozenBatchNorm2d", (nn.Module,), {})  # type: ignore[attr-defined]
        sys.modules |= dict(zip(names, made, strict=True))


@dataclass(frozen=True, slots=True)
class Examined:
    """One class, and how a subject is made of it: `Unbuildable` is raised if it cannot be."""

    package: str
    name: str
    subject: Callable[[], Subject]


def of_package(package: str) -> Iterator[Examined]:
    """Every class of a package that has a forward; those of torch.nn as its documentation builds them."""
    if package == TORCH_NN:
        for name, call in (*catalogue.covered().items(), *BESIDE.items()):
            yield Examined(package, name, partial(_documented, name, *call))
        return
    stand_in_for_torchvision()
    for cls in inference.classes_of(package):
        name = f"{cls.__module__}.{cls.__qualname__}".removeprefix(f"{package}.")
        yield Examined(package, name, partial(subject_of_class, cls, seconds=SECONDS))


def _documented(name: str, build: Callable[[], nn.Module], inputs: Callable[[], object]) -> Subject:
    cls: type = getattr(nn, name)
    file, line = source.class_line(cls)
    return Subject(
        name,
        copying(lambda _: build()),
        lambda _: Inputs.of(inputs()),
        file,
        line,
        contract_of(cls),
        "its page",
    )
