"""A moving average of weights must keep most of itself: `momentum` of the old, `1 - momentum` of the new.

## Why it matters
The target network of BYOL, MoCo or a DQN is worth something because it is slow. With the two factors exchanged it takes
99 % of the online weights in every step, is a copy of them, and training collapses or never becomes stable.

## How it is tested
Where a module has parameters that ask for no gradient, and an attribute such as `momentum`, `decay` or `tau` near one or
zero, the trained parameters are moved, and forward is called once in train mode; where that changes no frozen parameter,
each method whose name says that it updates is called. A frozen parameter that has gone towards a trained one by the
larger of the two factors, where the smaller was meant, is reported.

## How to fix it
`target.lerp_(online, 1 - momentum)`, or `target.mul_(momentum).add_(online, alpha=1 - momentum)`.

## How to reproduce it
    frozen = {n: p.clone() for n, p in module.named_parameters() if not p.requires_grad}
    with torch.no_grad():
        for p in module.parameters():
            p.add_(torch.randn_like(p) * p.requires_grad)
    module.train()(*args, **kwargs)
    left = {n: module.get_parameter(n) for n in frozen}
    near = lambda old, new: any(q.shape == new.shape and (new - old).norm() > 0.9 * (q - old).norm() for q in online)
    online = [p for p in module.parameters() if p.requires_grad]
    assert not any(near(old, left[n]) for n, old in frozen.items()), "it follows at once"
"""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import reading, source
from layersmith.probe.surroundings import preserved
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

RATE = re.compile(r"momentum|decay|beta|tau|ema|moving|^m$", re.IGNORECASE)
UPDATES = re.compile(r"update|momentum|ema|moving|soft|sync", re.IGNORECASE)
NEAR_END = 0.1  # a rate this near to one, or to zero, says which of the two is meant to be slow
SAME = 1e-3


@rule(
    severity=Severity.ERROR,
    since="0.1",
    promise=Promise.DECLARED,
    after=("forward-raises",),
)
def average_too_fast(case: Case) -> Iterator[Finding]:
    """Move what is trained, let it be averaged, and see how far the average went."""
    rates = _rates(case.module)
    if not rates or all(one.requires_grad for one in case.module.parameters()):
        raise NotApplicable("it holds no frozen parameters beside a rate at which they could follow")
    module = case.fresh(training=True).module
    with preserved(seed=case.seed):
        _move(module)
    for way in _ways(case, module):
        with preserved(seed=case.seed):
            moved = _moved(module, way)
        for name, share in moved:
            for rate, value in rates.items():
                if abs(share - max(value, 1 - value)) < SAME:
                    yield Finding(
                        f"{name} goes {share:.1%} of the way to what it averages in one step, with {rate}={value:g}: "
                        "the two factors are exchanged",
                        name,
                        *reading.line_matching(module, r"(?:mul_|lerp_|\*).*(?:add_|\+|lerp_)|1\.?0? *- "),
                        fix="target.lerp_(online, 1 - momentum)",
                    )
                    return
        if moved:
            return


def _rates(module: nn.Module) -> dict[str, float]:
    """The attributes that say how slowly something follows; those near the middle say nothing."""
    own = [part for part in nn.Module.modules(module) if not source.is_torchs(type(part).__module__)]
    held = [item for part in own for item in vars(part).items()]
    near = {name: value for name, value in held if type(value) is float and RATE.search(name)}
    return {name: value for name, value in near.items() if 0 < min(value, 1 - value) <= NEAR_END}


@torch.no_grad()
def _move(module: nn.Module) -> None:
    for parameter in module.parameters():
        if parameter.requires_grad:
            parameter.add_(torch.randn_like(parameter))


def _ways(case: Case, module: nn.Module) -> Iterator[Callable[[nn.Module], object]]:
    """What may update the average: forward, then methods that take nothing and say so by their names."""
    yield lambda one: case.inputs.clone().call(one)
    for name, method in inspect.getmembers(type(module), inspect.isfunction):
        if UPDATES.search(name) and len(inspect.signature(method).parameters) == 1:
            yield method


def _moved(module: nn.Module, way: Callable[[nn.Module], object]) -> list[tuple[str, float]]:
    """The frozen parameters that went towards a trained one, and by which share of the way."""
    try:
        changed = copy.deepcopy(module)
        way(changed)
    except Exception:  # noqa: BLE001 - it cannot be copied, or a method wants a call before it
        return []
    trained = [one.detach().double() for one in changed.parameters() if one.requires_grad]
    found = []
    for name, old in module.named_parameters():
        step = changed.get_parameter(name).detach().double() - old.detach().double()
        if old.requires_grad or not bool(step.any()):
            continue
        for online in (one for one in trained if one.shape == old.shape):
            way_there = online - old.detach().double()
            share = float((step * way_there).sum() / way_there.square().sum())
            if float((step - share * way_there).norm()) < SAME * float(step.norm()):
                found.append((name, share))
    return found


class _Follows(nn.Module):
    def __init__(self, momentum: float = 0.99) -> None:
        super().__init__()
        self.momentum = momentum
        self.online = nn.Linear(6, 5)
        self.target = copy.deepcopy(self.online).requires_grad_(requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.update()
        return self.online(x) * self.target(x)

    def update(self) -> None:
        raise NotImplementedError


@average_too_fast.bad("goes 99.0% of the way to what it averages in one step, with momentum=0.99")
class FollowsAtOnce(_Follows):
    @torch.no_grad()
    def update(self) -> None:
        for target, online in zip(self.target.parameters(), self.online.parameters(), strict=True):
            target.mul_(1 - self.momentum).add_(online, alpha=self.momentum)


@average_too_fast.bad("with tau=0.005: the two factors are exchanged")
class LerpsTheOtherWay(nn.Module):
    def __init__(self, tau: float = 0.005) -> None:
        super().__init__()
        self.tau = tau
        self.critic, self.slow = nn.Linear(6, 2), nn.Linear(6, 2).requires_grad_(requires_grad=False)
        self.slow.load_state_dict(self.critic.state_dict())

    def forward(self, x: Tensor) -> Tensor:
        return self.critic(x) - self.slow(x)

    @torch.no_grad()
    def soft_update(self) -> None:
        for slow, critic in zip(self.slow.parameters(), self.critic.parameters(), strict=True):
            slow.copy_(self.tau * slow + (1 - self.tau) * critic)


@average_too_fast.good
class FollowsSlowly(_Follows):
    @torch.no_grad()
    def update(self) -> None:
        for target, online in zip(self.target.parameters(), self.online.parameters(), strict=True):
            target.lerp_(online, 1 - self.momentum)
