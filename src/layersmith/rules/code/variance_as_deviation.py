r"""Noise is scaled by a standard deviation, not by a variance.

## Why it matters
`mu + torch.exp(logvar) * noise` draws with the variance squared: exp(logvar) is the variance, and noise wants its root.
Everything else, the divergence above all, takes `logvar` for what its name says. A variational model trains all the same,
towards a posterior that it never draws from.

## How it is tested
The source is read: a product of drawn noise (`torch.randn_like(...)`, or a name that such a call sets) and the `exp`
of a name that says that it is the logarithm of a variance (`logvar`, `log_var`, `log_variance`), also by way of
another name in the same method, and `torch.normal` or `Normal` of it. It is a note, unless a divergence in the file
takes the same `exp` for a variance. A class that squares that `exp`, or doubles the logarithm, takes it for that of a
deviation, and passes.

## How to fix it
`std = torch.exp(0.5 * logvar)`.

## How to reproduce it
    import inspect, re, textwrap
    text = textwrap.dedent(inspect.getsource(type(module)))
    variance = re.search(rf"\bexp\({where}\)|\b{where}\.exp\(\)", text)
    assert not where or not variance, f"exp({where}) is the variance, where the deviation is meant"
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import reading, source
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case

LOGARITHM = re.compile(r"(^|_)(log|ln)_?var(iance)?s?$|(^|_)log_?(sigma_?(2|sq|squared))$", re.IGNORECASE)
NOISE = re.compile(r"^(randn|randn_like|normal_|gaussian_noise)$")
HALF = re.compile(r"\b0\.5\b|/ ?2\b")
DRAWS = re.compile(r"^(normal|Normal|LogNormal)$")
# Its square, or twice its logarithm: what is called the logarithm of a variance is that of a deviation.
TAKEN_FOR_DEVIATION = re.compile(
    r"(exp\(\)|exp\([\w.]+\)) ?(\*\* ?2|\.pow\(2\)|\.square\(\))|\b2(\.0?)? ?\* ?(self\.)?\w*(log|ln)_?var"
)

# As in a divergence: `1 + logvar - mu.pow(2) - logvar.exp()`.
TAKEN_FOR_VARIANCE = (
    r"\b1(\.0?)? ?\+ ?(self\.)?\w*(log|ln)_?var|"
    r"[-+] ?(torch\.exp\((self\.)?\w*(log|ln)_?var|\w*(log|ln)_?var\w*\.exp\(\))"
)


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.PLAIN_CODE, after=())
def variance_as_deviation(case: Case) -> Iterator[Finding]:
    """Read the class of the module."""
    yield from variances_in(type(case.module))


@variance_as_deviation.by_source
def variances_in(cls: type) -> Iterator[Finding]:
    """The first place of each method where noise meets a variance."""
    methods, file = [*source.methods(cls)], source.file_of(cls)
    if any(TAKEN_FOR_DEVIATION.search(ast.unparse(method)) for method in methods):
        return
    for method in methods:
        found = next(_meetings(method), None)
        if found is not None:
            name, line = found
            yield Finding(
                f"exp({name}) is a variance, and scales noise: its root, exp(0.5 * {name}), is the deviation",
                where=name,
                file=file,
                line=line,
                fix=f"std = torch.exp(0.5 * {name})",
                severity=None if reading.file_mentions(file, TAKEN_FOR_VARIANCE) else Severity.NOTE,
            )


def _meetings(method: ast.FunctionDef) -> Iterator[tuple[str, int]]:
    """The name of a logarithm, and the line where its exp meets noise."""
    set_to = {
        node.targets[0].id: node.value
        for node in ast.walk(method)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    for node in (part for part in ast.walk(method) if isinstance(part, ast.BinOp | ast.Call)):
        sides = _factors(node)
        is_noisy = any(_is_noise(side, set_to) for side in sides)
        if isinstance(node, ast.Call) and DRAWS.match(_called(node)):
            sides, is_noisy = node.args[1:2], True
        if is_noisy and (name := next(filter(None, (_variance(side, set_to) for side in sides)), "")):
            yield name, node.lineno


def _factors(node: ast.BinOp | ast.Call) -> list[ast.expr]:
    """What `a * b` and `a.mul(b)` multiply; [] of anything else."""
    if isinstance(node, ast.BinOp):
        return [node.left, node.right] if isinstance(node.op, ast.Mult) else []
    is_product = _called(node) == "mul" and isinstance(node.func, ast.Attribute)
    return [*node.args, node.func.value][:2] if is_product and isinstance(node.func, ast.Attribute) else []


def _variance(node: ast.expr, set_to: dict[str, ast.expr]) -> str:
    """`logvar` of `torch.exp(logvar)` or `logvar.exp()`, or of a name that is set to such; "" of anything else."""
    if isinstance(node, ast.Name) and node.id in set_to:
        node = set_to[node.id]
    if not isinstance(node, ast.Call) or _called(node).rstrip("_") != "exp":
        return ""
    inner = node.args[0] if node.args else getattr(node.func, "value", None)
    name = inner.attr if isinstance(inner, ast.Attribute) else getattr(inner, "id", "")
    is_halved = name in set_to and HALF.search(ast.unparse(set_to[name]))
    return name if LOGARITHM.search(name) and not is_halved else ""


def _is_noise(node: ast.expr, set_to: dict[str, ast.expr]) -> bool:
    if isinstance(node, ast.Name) and node.id in set_to:
        node = set_to[node.id]
    return isinstance(node, ast.Call) and bool(NOISE.match(_called(node)))


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


@variance_as_deviation.bad("exp(logvar) is a variance, and scales noise")
class DrawsTooWide(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.to_mu, self.to_logvar = nn.Linear(6, 4), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        mu, logvar = self.to_mu(x), self.to_logvar(x)
        return mu + torch.exp(logvar) * torch.randn_like(mu) if self.training else mu


@variance_as_deviation.bad("exp(log_var) is a variance, and scales noise")
class DrawsTooWideByName(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.Linear(6, 8)

    def reparameterize(self, mu: Tensor, log_var: Tensor) -> Tensor:
        std = log_var.exp()
        eps = torch.randn(std.shape, dtype=std.dtype, device=std.device)
        return eps.mul(std) + mu

    def forward(self, x: Tensor) -> Tensor:
        mu, log_var = self.heads(x).chunk(2, dim=-1)
        return self.reparameterize(mu, log_var) if self.training else mu


@variance_as_deviation.good
class DrawsWithItsRoot(nn.Module):
    """The variance itself stands in the divergence, where it belongs."""

    def __init__(self) -> None:
        super().__init__()
        self.to_mu, self.to_logvar = nn.Linear(6, 4), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mu, logvar = self.to_mu(x), self.to_logvar(x)
        std = torch.exp(0.5 * logvar)
        drawn = mu + std * torch.randn_like(std) if self.training else mu
        return drawn, 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(-1)


@variance_as_deviation.good
class NamedAVariance(nn.Module):
    """What is called log_var is the logarithm of a deviation throughout."""

    def __init__(self) -> None:
        super().__init__()
        self.to_mu, self.to_log_var = nn.Linear(6, 4), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mu, log_var = self.to_mu(x), self.to_log_var(x)
        drawn = mu + log_var.exp() * torch.randn_like(mu) if self.training else mu
        return drawn, (mu.square() + log_var.exp() ** 2 - 1 - 2 * log_var).sum(-1) / 2
