"""The module must run in the dtype that it was moved to.

## Why it matters
A tensor made in float32 inside forward, whatever the module's dtype, breaks `.double()`, `.bfloat16()`, mixed
precision and gradient checks, far from the line that made it.

## How it is tested
Module and inputs are moved to float64 and called; what worked in float32 must work there, also with images of two
rows and three columns, or two steps, for which forward may have another way. If that fails only because a kernel does
not exist in float64, nothing is said. A line that casts to float32 and back, as a norm whose weights stay float32 in a
model of any dtype, a module that is told a dtype to which it casts, images that come as bytes, and the sines and
cosines of a step are notes.

## How to fix it
Make tensors like the ones at hand: `torch.zeros(n, device=x.device, dtype=x.dtype)`, `x.new_zeros(n)`,
`torch.zeros_like(x)`; after a deliberate `x.float()`, cast back: `y.to(x.dtype)`.

## How to reproduce it
    module.eval().double()
    args = [x.double() if x.is_floating_point() else x for x in args]
    assert run().dtype != torch.float32, "float32 came back"
"""

from __future__ import annotations

import ast
import linecache
import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import sides, source
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

# A norm of what was cast up, its weights being float32 in a model of any dtype.
NORM = re.compile(
    r"(?:norm|super\(.*\)\.forward)\(\s*\w+\.(?:float\(\)|(?:to|type)\((?:dtype=)?torch\.float32\))",
    re.IGNORECASE,
)
BYTES = re.compile(r"\.float\(\)\s*/\s*255|/\s*255\.?0?\)?\.float\(\)")  # images as they are stored
NEAR = 3  # lines, within which the result is cast back
BACK = re.compile(r"\.(?:to|type|type_as)\(")
FIRST = (
    "forward-raises unregistered-parameter unregistered-module parameter-not-a-leaf unregistered-buffer "
    "parameter-made-in-forward mode-not-propagated"
)


@rule(
    severity=Severity.ERROR,
    since="0.1",
    promise=Promise.FOLLOWS_DTYPE,
    after=tuple(FIRST.split()),
)
def hard_coded_dtype(case: Case) -> Iterator[Finding]:
    """Run it in float64, as it is and with little, for which it may have another way."""
    if not any(tensor.is_floating_point() for tensor in (*case.inputs.tensors(), *case.module.parameters())):
        raise NotApplicable("no floating inputs and no parameters")
    little = sides.least(case.inputs)
    for inputs, where in ((case.inputs, ""), *([(little, " with inputs of least size")] if little else [])):
        if where and case.fresh().error(inputs) is not None:
            continue
        double = case.fresh(dtype=torch.float64)  # what a call keeps may be of other sizes
        try:
            double.run(inputs.to(torch.float64))
        except Exception as error:
            text = " ".join(str(error).split())
            if "not implemented for" in text:
                raise NotApplicable(f"no float64 kernel: {text:.120}") from error
            file, line = source.error_line(error, double.module)
            yield Finding(
                f"forward fails after .double(){where}: {text:.200}",
                file=file,
                line=line,
                fix="make tensors in forward with device=x.device, dtype=x.dtype",
                severity=Severity.NOTE if _is_meant(double.module, file, line) else None,
            )
            return


def _is_meant(module: nn.Module, file: str, line: int) -> bool:
    """Whether the line casts to float32 and back, as a norm whose weights stay float32, or the module is told a dtype."""
    text = linecache.getline(file, line)
    below = "".join(linecache.getline(file, line + more) for more in range(1, 1 + NEAR))
    if BYTES.search(text) or (NORM.search(text) and BACK.search(below)):
        return True
    if ".float()" in text and BACK.search(text.partition(".float()")[2]):
        return True
    if any(node.lineno <= line <= (node.end_lineno or 0) and _is_of_angles(node) for node in _classes(file)):
        return True
    kinds: dict[type, list[str]] = {
        type(part): [name for name, value in vars(part).items() if value is torch.float32]
        for part in nn.Module.modules(module)
    }
    told = (
        (source.text_of(base), name)
        for kind, names in kinds.items()
        for base in kind.__mro__[:-1]
        for name in names
    )
    return any(re.search(rf"\.(?:to|type)\(self\.{name}\b", text) for text, name in told)


def _classes(file: str) -> list[ast.ClassDef]:
    return [node for node in ast.walk(source.tree_of(file)) if isinstance(node, ast.ClassDef)]


def _is_of_angles(node: ast.ClassDef) -> bool:
    """Whether it embeds numbers, such as the steps of a diffusion, by sines and cosines that float32 is needed for."""
    text = ast.unparse(node)
    return all(re.search(rf"\.{word}\(", text) for word in ("sin", "cos", "(?:arange|linspace)"))


@hard_coded_dtype.bad("fails after .double()")
class MakesFloat32Weights(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x @ torch.eye(6, dtype=torch.float32)


@hard_coded_dtype.bad("fails after .double()")
class CastsTheInput(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.float())


@hard_coded_dtype.bad(
    "fails after .double() with inputs of least size", inputs=lambda: torch.randn(2, 4, 5, 7)
)
class WeighsFewPixelsInFloat32(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(2)
        if flat.shape[-1] > 9:  # noqa: PLR2004
            return x.relu()
        scores = (flat.mT @ flat).float()
        return (flat @ scores.softmax(-1)).reshape(x.shape)


@hard_coded_dtype.good(inputs=lambda: torch.randn(2, 4, 5, 7))
class WeighsFewPixels(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(2)
        if flat.shape[-1] > 9:  # noqa: PLR2004
            return x.relu()
        scores = (flat.mT @ flat).float()
        return (flat @ scores.softmax(-1).to(x.dtype)).reshape(x.shape)


@hard_coded_dtype.good
class NormInFloat32(nn.Module):
    """Casts up for the sum and back for the result."""

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        return (wide * wide.square().mean(-1, keepdim=True).add(1e-6).rsqrt()).to(x.dtype)


@hard_coded_dtype.good
class MakesWhatFits(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x @ torch.eye(6, device=x.device, dtype=x.dtype)


@hard_coded_dtype.good(inputs=lambda: torch.randn(4, 5, dtype=torch.complex64))
class TakesComplexNumbers(nn.Module):
    """In float64 they are of two such numbers each."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.real) * self.linear(x.imag)
