"""The compiler as an instrument: it counts what it compiles, keeps quiet, and is asked which line it means."""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import nn

from layersmith.probe import source

TORCH = str(Path(torch.__file__).parent)
LAYERS = f"{TORCH}/nn/modules/"
FIXES_SIZE = re.compile(r"eval Eq\(.+\[guard added\]")
CAUSED_BY_FUNCTION = re.compile(r"^Caused by: .*\(nn/functional\.py:\d+ in ", re.MULTILINE)
Place = tuple[str, int]  # file and line
FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')


@dataclass(slots=True)
class Compiler:
    """A backend that runs what was captured as it is; made by `compiler`."""

    graphs: int = 0  # compiled so far
    nodes: list[Any] = field(default_factory=list)  # of all graphs

    def __call__(self, graph: Any, _inputs: object) -> Callable[..., Any]:
        """Count the graph and hand it back."""
        self.graphs += 1
        self.nodes.extend(graph.graph.nodes)
        forward: Callable[..., Any] = graph.forward
        return forward


@contextmanager
def compiler(**settings: Any) -> Iterator[Compiler]:
    """Dynamo without memory of what was compiled before, silent, with these of its settings."""
    from torch._dynamo import config, reset  # noqa: PLC0415 - slow, and only here

    logger = logging.getLogger("torch._dynamo")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    reset()
    try:
        with (
            _functions_unnamed(),
            config.patch(**{"verbose": False, "error_on_recompile": False, **settings}),
        ):
            yield Compiler()
    finally:
        logger.setLevel(level)
        reset()


@contextmanager
def _functions_unnamed() -> Iterator[None]:
    """Let dynamo not look up the names of functions for its log.

    It reads every file that a trace enters by `tokenize`, torch/nn/functional.py among them: 0.4 s a process.
    """
    from torch._dynamo import symbolic_convert  # noqa: PLC0415 - slow, and only here

    if not hasattr(symbolic_convert, "get_funcname"):  # another release's
        yield
        return
    with patch.object(symbolic_convert, "get_funcname", lambda *_: None):
        yield


@contextmanager
def sizes_fixed(module: nn.Module) -> Iterator[list[Place]]:
    """Notes the lines of the module's own files that hold a traced size to one number, or to its multiples.

    The tracer says so to its logger only, from within the call.
    """
    files = own_files(module)
    seen: list[Place] = []

    def note(record: logging.LogRecord) -> bool:
        if FIXES_SIZE.match(record.getMessage()):
            seen.extend([place for place in (*_running(), *_traced()) if place[0] in files][-1:])
        return False

    logger = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    level = logger.level
    logger.addFilter(note)
    logger.setLevel(logging.INFO)
    try:
        yield seen
    finally:
        logger.removeFilter(note)
        logger.setLevel(level)


def _running() -> Iterator[Place]:
    """The frames at hand, outermost first."""
    frames = [*traceback.walk_stack(sys._getframe())]  # noqa: SLF001 - the handler's caller
    return ((frame.f_code.co_filename, line) for frame, line in reversed(frames))


def _traced() -> Iterator[Place]:
    """The lines that dynamo is going through."""
    from torch._guards import TracingContext  # noqa: PLC0415 - only while it is tracing

    return ((frame.filename, frame.lineno or 0) for frame in TracingContext.extract_stack())


def captured(module: nn.Module, backend: Any) -> Any:
    """The module compiled, as one graph or not at all."""
    return torch.compile(module, fullgraph=True, backend=backend)


def place(error: str, module: nn.Module) -> Place:
    """The innermost line of the module's own classes that an error of dynamo's names; else of others, else the class."""
    frames = [(match["file"], int(match["line"])) for match in FRAME.finditer(error)]
    own = [frame for frame in frames if frame[0] in own_files(module)]
    return (own or frames or [source.class_line(type(module))])[-1]


def is_in_layer_of_torch(error: str) -> bool:
    """Whether the innermost frame that an error of dynamo's names is in torch.nn, whoever called it."""
    frames = [match["file"] for match in FRAME.finditer(error)]
    is_function = CAUSED_BY_FUNCTION.search(error) is not None
    return is_function or (bool(frames) and frames[-1].startswith(LAYERS))


def own_files(module: nn.Module) -> set[str]:
    """The files of the module tree's classes that are not torch's."""
    classes: set[type] = {type(part) for part in nn.Module.modules(module)}
    return {file for file in map(source.file_of, classes) if file and not file.startswith(TORCH)}


def is_torchs(file: str) -> bool:
    """Whether a file is torch's own."""
    return file.startswith(TORCH)
