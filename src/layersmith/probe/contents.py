"""Where two modules of one class hold different things: in buffers, in plain attributes, in hidden modules."""

from __future__ import annotations

import ast
import pickle
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.probe import source
from layersmith.probe.registration import OWN

RESET = re.compile(r"^_?(?:reset|clear|detach|init|zero|new)_?(?!_|param|weight)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Held:
    """One attribute or buffer of a submodule."""

    owner: type
    attribute: str
    path: str  # from the root module
    value: object


def differing(left: nn.Module, right: nn.Module) -> Iterator[Held]:
    """What the first holds otherwise than the second; what cannot be compared counts as the same."""
    others = dict(right.named_modules())
    for prefix, part in left.named_modules():
        mine, theirs = _contents(part), _contents(others.get(prefix, part))
        for name, value in mine.items():
            if name not in theirs or not _is_same(value, theirs[name]):
                yield Held(type(part), name, f"{prefix}.{name}" if prefix else name, value)


def uncopied(module: nn.Module, *, way: Callable[[Any], object] = pickle.dumps) -> Held | None:
    """The first plain attribute that cannot be pickled, or copied in another way."""
    for prefix, part in module.named_modules():
        for name, value in vars(part).items():
            if name not in OWN and not does(way, value):
                return Held(type(part), name, f"{prefix}.{name}" if prefix else name, value)
    return None


def does(way: Callable[[Any], object], value: object) -> bool:
    """Whether something can be done to a value without an error."""
    try:
        way(value)
    except Exception:  # noqa: BLE001 - that it fails is the answer
        return False
    return True


def is_frozen(value: object) -> bool:
    """Whether it is a module without trainable parameters, or holds only such: one kept out of sight on purpose."""
    parts = value if isinstance(value, list | tuple) else [value]
    return all(isinstance(p, nn.Module) and not any(w.requires_grad for w in p.parameters()) for p in parts)


def is_importable(module: nn.Module) -> bool:
    """Whether every class of the tree is found under its name, as pickle needs: not where it is local to a function."""
    classes = {type(part) for part in nn.Module.modules(module)}
    return all(getattr(sys.modules.get(cls.__module__), cls.__name__, None) is cls for cls in classes)


def scramble(module: nn.Module) -> None:
    """Overwrite all floating state, so that what is loaded afterwards shows."""
    for tensor in module.state_dict().values():  # detached: writing to them needs no no_grad
        if isinstance(tensor, Tensor) and tensor.is_floating_point():
            tensor.uniform_(0.1, 0.9)


def _contents(part: nn.Module) -> dict[str, Any]:
    plain = {name: value for name, value in vars(part).items() if name not in OWN}
    return {**dict(part.named_parameters(recurse=False)), **dict(part.named_buffers(recurse=False)), **plain}


def _is_same(left: Any, right: Any) -> bool:
    if type(left) is not type(right):
        return False
    if isinstance(left, nn.Module):
        left, right = left.state_dict(), right.state_dict()
    if isinstance(left, Tensor):  # a lazy one has no values yet
        return nn.parameter.is_lazy(left) or (left.shape == right.shape and torch.equal(left, right))
    if isinstance(left, Mapping):
        return left.keys() == right.keys() and all(_is_same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(_is_same, left, right))
    if isinstance(left, str | bytes | int | float | complex | None):
        return bool(left == right)
    raw = getattr(left, "tobytes", None)  # of a NumPy array
    return not callable(raw) or bool(raw() == right.tobytes())


def is_put_back(held: Held) -> bool:
    """Whether a method of its owner sets it to start anew: that calls depend on each other is meant then."""
    node = source.class_node(held.owner)
    return node is not None and any(
        isinstance(method, ast.FunctionDef)
        and RESET.match(method.name)
        and re.search(rf"self\.{re.escape(held.attribute)}\b", ast.unparse(method))
        for method in node.body
    )
