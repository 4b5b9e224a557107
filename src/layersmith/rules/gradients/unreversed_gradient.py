"""What its name says reverses the gradient must hand it on with the other sign.

## Why it matters
A gradient reversal layer is the whole of domain-adversarial training: without its minus sign the features are
trained to tell the domains apart. Forward is the identity either way, so that no output shows it.

## How it is tested
Where an `autograd.Function` takes part whose name says that it reverses gradients (`GradReverse`, `ReverseLayerF`,
`RevGrad`, `GRL`), backward is run once, and what goes into the Function is compared with what comes out. Reported
is a gradient that comes out as it went in, times a number above zero. A factor of zero, as at the start of a
schedule, says nothing.

## How to fix it
`return -ctx.lambd * grad_output, None`.

## How to reproduce it
    loss = run(*(x.clone().requires_grad_() for x in args)).sum()
    waiting, held = [loss.grad_fn], []
    while waiting:
        node = waiting.pop()
        if "rev" in node.name().lower():
            node.register_hook(lambda out, coming: held.append((out[0] * coming[0]).sum()))
        waiting += [before for before, _ in node.next_functions if before is not None]
    loss.backward()
    assert all(product <= 0 for product in held), "the gradient leaves the Function with the sign that it had"
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import leaves, tree
from layersmith.probe.gradients import culprit
from layersmith.promises import Promise, contract
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

REVERSES = re.compile(r"grad\w*revers|revers\w*grad|rev_?grad|grad_?rev|reverselayer|^grl", re.IGNORECASE)


@rule(
    severity=Severity.WARNING,
    since="0.1",
    promise=Promise.TRUE_GRADIENT,
    after=("forward-raises", "no-gradient"),
)
def unreversed_gradient(case: Case) -> Iterator[Finding]:
    """Compare what goes into each such Function's backward with what comes out of it."""
    fresh = case.fresh(training=True)
    with torch.enable_grad():
        outputs = [*tree.tensors(fresh.run(fresh.inputs.map(_asking)))]
    nodes = {node: owner for node in leaves.nodes_behind(outputs) if (owner := _reversal(node))}
    if not nodes:
        raise NotApplicable("nothing reverses gradients by its name")
    kept: dict[type, bool] = {}
    for node, owner in nodes.items():
        node.register_hook(_watch(kept, owner))
    tree.total(outputs).backward()
    for owner in (owner for owner, is_kept in kept.items() if is_kept):
        yield Finding(
            f"{owner.__name__} hands the gradient on with the sign that it has, not reversed as its name says",
            owner.__name__,
            *culprit.backward_of(owner),
            fix="return -factor * gradient",
        )


def _asking(tensor: Tensor) -> Tensor:
    return tensor.detach().clone().requires_grad_() if tensor.is_floating_point() else tensor


def _reversal(node: Any) -> type | None:
    """The Function of a node, if its name says that it reverses gradients."""
    owner = getattr(node, "_forward_cls", None)
    return owner if isinstance(owner, type) and REVERSES.search(owner.__name__) else None


def _watch(kept: dict[type, bool], owner: type) -> Callable[[Any, Any], None]:
    """A hook that notes whether what comes out is what goes in, times a number above zero."""

    def hook(out: Any, into: Any) -> None:
        first, given = out[0], into[0]
        if first is None or given is None or first.shape != given.shape or not bool(first.any()):
            return
        factor = first.norm() / given.norm()
        kept[owner] = kept.get(owner, True) and bool(torch.allclose(first, factor * given, rtol=1e-4))

    return hook


class _GradReverse(torch.autograd.Function):
    """Forgets the sign."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.factor * gradient, None


@unreversed_gradient.bad("_GradReverse hands the gradient on with the sign that it has")
class DomainHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(_GradReverse.apply(x, 0.5))


@unreversed_gradient.bad("_GradReverse hands the gradient on with the sign that it has")
class AlsoTheLabel(nn.Module):
    """Only one of the two heads is behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.label, self.domain = nn.Linear(6, 5), nn.Linear(5, 3), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x).relu()
        return torch.stack([self.label(x), self.domain(_GradReverse.apply(x, 1.0))])


class _ReverseLayerF(torch.autograd.Function):
    """Has its sign."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, alpha: float) -> Tensor:
        ctx.alpha = alpha
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.neg() * ctx.alpha, None


@unreversed_gradient.good
@contract(gradient="surrogate", reason="the gradient is reversed on purpose")
class Reverses(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(_ReverseLayerF.apply(x, 0.5))
