"""What a forward does that no derivative follows: detach, .data, .item(), NumPy; where it loses digits."""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode, resolve_name

from layersmith.probe import tree
from layersmith.probe.gradients.specimen import Specimen

CUTS = {
    "torch.Tensor.detach": ".detach()",
    "torch.detach": ".detach()",
    "torch.Tensor.detach_": ".detach_()",
    "torch.Tensor.data.__get__": ".data",
    "torch.Tensor.numpy": ".numpy()",
    "torch.Tensor.__array__": "NumPy",
    "torch.Tensor.item": ".item()",
    "torch.Tensor.tolist": ".tolist()",
    "torch.Tensor.__float__": "float()",
    "torch.Tensor.__int__": "int()",
    "torch.Tensor.__index__": "int()",
}
VARIABLE = "Variable(requires_grad=False)"  # as a graph was cut before torch 0.4
HOOK = "register_hook()"  # what gives backward another gradient on purpose
METHODS = ("forward", "setup_context", "backward", "jvp")  # of an autograd.Function
_WIDTH = {torch.float16: 2, torch.bfloat16: 2, torch.float32: 4, torch.float64: 8}


@dataclass(frozen=True, slots=True)
class Cut:
    """One place where the graph is cut on purpose or by mistake."""

    call: str  # ".detach()", ".item()", "no_grad"
    file: str
    line: int

    def __str__(self) -> str:
        """`.detach() at scale.py:31`."""
        return f"{self.call} at {self.file.rsplit('/', 1)[-1]}:{self.line}"


class Watch(TorchFunctionMode):
    """Looks at every torch call of one forward."""

    def __init__(self) -> None:
        super().__init__()
        self.cuts: list[Cut] = []
        self.hooks: list[Cut] = []
        self.narrowest: torch.dtype | None = None  # the least precise floating result
        self.narrow_at = ""  # where that came to be, in the module's own source
        self.without_grad = False  # whether some part ran under no_grad on values that carry a gradient

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Note the call, then make it."""
        carrying = [one for one in tree.tensors(args) if one.requires_grad]
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self._note_width(result)
        if not carrying or is_in_function():
            return result
        name = name_of(func)
        if name == "torch.Tensor.register_hook" and (frame := caller()) is not None:
            self.hooks.append(Cut(HOOK, frame.f_code.co_filename, frame.f_lineno))
        call = CUTS.get(name)
        if call is None and not torch.is_grad_enabled() and isinstance(result, Tensor):
            self.without_grad, call = True, "no_grad"
        if call is not None:
            self.note_cut(call)
        return result

    def _note_width(self, result: Tensor) -> None:
        if result.dtype not in _WIDTH:
            return
        if self.narrowest is None or _WIDTH[result.dtype] < _WIDTH[self.narrowest]:
            self.narrowest = result.dtype
            frame = caller()
            if frame is not None and result.dtype is not torch.float64:
                self.narrow_at = f"{frame.f_code.co_filename.rsplit('/', 1)[-1]}:{frame.f_lineno}"

    def note_cut(self, call: str) -> None:
        """Keep where it was, once."""
        frame = caller()
        cut = Cut(call, frame.f_code.co_filename, frame.f_lineno) if frame else Cut(call, "", 0)
        if cut not in self.cuts and (frame or is_in_a_layer()):
            self.cuts.append(cut)


def watch(specimen: Specimen) -> Watch:
    """Run the forward once and say what was seen."""
    seen = Watch()
    with seen, _variables(seen):
        specimen.outputs()
    return seen


@contextlib.contextmanager
def _variables(seen: Watch) -> Iterator[None]:
    """Have tensors noted that come out of `Variable` without the graph that they went in with."""
    kind: Any = torch.autograd.Variable
    make = kind.__new__

    def new(cls: type, *args: Any, **kwargs: Any) -> Any:
        result = make(cls, *args, **kwargs)
        if any(one.requires_grad for one in tree.tensors(args)) and not result.requires_grad:
            seen.note_cut(VARIABLE)
        return result

    kind.__new__ = new
    try:
        yield
    finally:
        del kind.__new__


def name_of(func: Callable[..., Any]) -> str:
    """The full name of a torch function: `torch.Tensor.detach`."""
    name = resolve_name(func)
    return name if isinstance(name, str) else getattr(func, "__qualname__", "")


def is_in_function() -> bool:
    """Whether an autograd.Function is at work: what it cuts in forward, its backward makes good."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001
    while frame is not None:
        if frame.f_code.co_name in METHODS and _is_of_a_function(frame.f_code):
            return True
        frame = frame.f_back
    return False


@functools.lru_cache(maxsize=1024)
def _is_of_a_function(code: CodeType) -> bool:
    """Whether it is a method of an autograd.Function: since torch 2.15 the stack shows nothing else of one."""
    waiting = [torch.autograd.Function]
    while waiting:
        cls = waiting.pop()
        waiting += cls.__subclasses__()
        methods = [inspect.unwrap(getattr(cls, name)) for name in METHODS]
        if any(getattr(method, "__code__", None) is code for method in methods):
            return True
    return False


def is_in_a_layer() -> bool:
    """Whether code of torch.nn is running, called from a specimen: not the specimen itself."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001
    while frame is not None and frame.f_globals.get("__name__") != Specimen.__module__:
        if str(frame.f_globals.get("__name__", "")).startswith("torch.nn."):
            return True
        frame = frame.f_back
    return False


def caller() -> FrameType | None:
    """The innermost frame of the module's call that belongs neither to torch nor to us."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name == Specimen.__module__:
            return None  # which makes the call: there is nothing of the module's below
        if not name.startswith(("torch.", "layersmith.probe.")) and name != "torch":
            return frame
        frame = frame.f_back
    return None
