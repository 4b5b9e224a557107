"""Search for an input that breaks a stated property of a function, then shrink it to one that a person can read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from layersmith.finding import Finding
from layersmith.probe import closeness, source, tree
from layersmith.probe.inputs import Inputs
from layersmith.probe.surroundings import preserved

Function = Callable[[Tensor], Tensor]  # the module as a function of its first input
DRAWS = 4  # fresh random inputs
SCALES = (0.1, 10.0)
SHOWN = 24  # elements of a counterexample that are printed in full
ZEROED = 64  # elements that are tried one by one


@dataclass(frozen=True, slots=True)
class Miss:
    """How far two sides that should agree are apart, and how that reads."""

    gap: closeness.Gap
    text: str


Claim = Callable[[Function, Tensor], Miss]


def findings(module: nn.Module, inputs: Inputs, claim: Claim, *, says: str, fix: str) -> Iterator[Finding]:
    """The smallest counterexample found, as a finding; nothing where none was.

    Args:
        module: in eval.
        inputs: a call of it; its first tensor is varied, the others stay.
        claim: compares the two sides at one input.
        says: what the counterexample shows, such as "is not odd".
        fix: what to do about it.
    """
    function, x = function_of(module, inputs)
    found = next((point for point in candidates(x) if _is_broken(claim, function, point)), None)
    if found is None:
        return
    smallest = _shrunk(claim, function, found)
    miss = claim(function, smallest)
    file, line = source.class_line(type(module))
    yield Finding(
        f"{type(module).__name__} {says}: {miss.text}, for {written(smallest)}",
        "output",
        file,
        line,
        fix=fix,
        numbers={"max_abs": miss.gap.max_abs, "limit": miss.gap.limit},
    )


def function_of(module: nn.Module, inputs: Inputs) -> tuple[Function, Tensor]:
    """The module as a function of the first tensor of its call, to its first output; and that tensor."""
    first, x = next(iter(inputs.named_tensors()))

    def function(value: Tensor) -> Tensor:
        names = iter([name for name, _ in inputs.named_tensors()])
        call = inputs.map(lambda tensor: value if next(names) == first else tensor)
        with preserved(seed=0), torch.set_grad_enabled(value.requires_grad):
            kept = call.args, call.kwargs  # not cloned: the graph must reach the value
            return next(
                tree.tensors(module(*kept[0], **kept[1]) if value.requires_grad else call.call(module))
            )

    return function, x.detach()


def candidates(x: Tensor) -> Iterator[Tensor]:
    """Inputs to try: the given one, simple ones, others like it, quieter and louder ones."""
    yield x
    if not x.is_floating_point():
        yield x.flip(0)
        return
    yield from (torch.zeros_like(x), torch.ones_like(x), -torch.ones_like(x), -x)
    generator = torch.Generator().manual_seed(0)
    for _ in range(DRAWS):
        yield torch.randn(x.shape, generator=generator).to(x)
    yield from (scale * x for scale in SCALES)


def compared(left: Tensor, right: Tensor, names: tuple[str, str]) -> Miss:
    """Two tensors that should be equal; the text tells them at the element where they differ most."""
    gap = closeness.gap(left, right)
    if left.shape != right.shape:
        return Miss(gap, f"{names[0]} has shape {list(left.shape)} and {names[1]} {list(right.shape)}")
    if not left.numel():
        return Miss(gap, "")
    apart = (left - right).abs().double().nan_to_num(torch.inf).reshape(-1)
    worst = int(apart.argmax())
    one, other = float(left.reshape(-1)[worst]), float(right.reshape(-1)[worst])
    return Miss(gap, f"{names[0]} is {one:.4g} where {names[1]} is {other:.4g}")


def written(x: Tensor) -> str:
    """An input as short as it can be said."""
    if x.numel() <= SHOWN:
        return f"x = {_rounded(x.tolist())}"
    places = x.nonzero()
    if 0 < len(places) <= SHOWN // 4:
        entries = ", ".join(f"x{list(map(int, place))} = {x[tuple(place)]:.4g}" for place in places)
        return f"{entries} and zeros, shape {list(x.shape)}"
    start = _rounded(x.reshape(-1)[:4].tolist())[:-1]
    return f"x = {start}, ...], shape {list(x.shape)}"


def _rounded(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_rounded, value))}]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _is_broken(claim: Claim, function: Function, x: Tensor) -> bool:
    """Whether the claim fails there; an input that the module refuses shows nothing."""
    try:
        return claim(function, x).gap.is_open
    except Exception:  # noqa: BLE001 - as above
        return False


def _shrunk(claim: Claim, function: Function, x: Tensor) -> Tensor:
    """Fewer rows, more zeros, rounder numbers: each step is kept where the claim still fails."""
    for smaller in (x[:1], x[-1:]) if x.ndim > 1 else ():
        if _is_broken(claim, function, smaller):
            x = smaller
            break
    for size in range(1, x.ndim):  # shorter axes, where the module takes them
        while x.shape[size] > 1 and _is_broken(claim, function, x.narrow(size, 0, x.shape[size] // 2)):
            x = x.narrow(size, 0, x.shape[size] // 2)
    if not x.is_floating_point():
        return x
    for chunk in _chunks(x.numel()):
        fewer = x.clone().reshape(-1)
        fewer[chunk] = 0.0
        if _is_broken(claim, function, fewer.reshape(x.shape)):
            x = fewer.reshape(x.shape)
    rounder = [x.sign(), x.round(), x.round(decimals=1), x.round(decimals=2)]
    return next((one for one in rounder if _is_broken(claim, function, one)), x)


def _chunks(count: int) -> Iterator[slice]:
    """Halves, quarters ... of that many elements, down to single ones where they are few."""
    size = count // 2
    while size and count // size <= ZEROED:
        yield from (slice(start, start + size) for start in range(0, count, size))
        size //= 2
