"""torch.func.functional_call must use the parameters that it is given.

## Why it matters
Meta-learning, ensembles, gradients per sample and sharded training all run a module with other tensors in the place of
its parameters. A second reference to a parameter, kept in a list or a dict beside its registered name, still points to
the old one: the call runs and uses the wrong weights.

## How it is tested
`functional_call(module, other_parameters, inputs)` in eval mode against the module into which these parameters were
loaded; they are its own, each nudged.

## How to fix it
Read `self.weight` in forward; keep several in `nn.ParameterList` and `nn.ParameterDict`.

## How to reproduce it
    from torch.func import functional_call
    zeros = {name: torch.zeros_like(parameter) for name, parameter in module.named_parameters()}
    moved = functional_call(module, zeros, args, kwargs)
    [parameter.data.fill_(3.0) for parameter in module.parameters()]
    assert torch.equal(moved, functional_call(module, zeros, args, kwargs)), "it uses weights of its own"
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import closeness, source, tree
from layersmith.probe.closeness import NUDGE
from layersmith.probe.surroundings import preserved
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case


@rule(severity=Severity.NOTE, since="0.1", promise=Promise.COMPILES)
def functional_call_fails(case: Case) -> Iterator[Finding]:
    """Give it other parameters in two ways: by call, and by writing them into a twin."""
    loaded = case.fresh()
    if not (state := {name: _nudged(one) for name, one in case.module.named_parameters() if _counts(one)}):
        raise NotApplicable("it has no parameters")
    with torch.no_grad():
        for name, parameter in loaded.module.named_parameters():
            if name in state:
                parameter.copy_(state[name])
        expected = loaded.run()
    inputs = case.inputs.clone()
    try:
        with preserved(seed=case.seed), torch.no_grad():
            got = torch.func.functional_call(case.module, state, inputs.args, dict(inputs.kwargs))
    except Exception as error:  # noqa: BLE001 - called by itself it did not raise
        text = " ".join(str(error).split())
        yield Finding(
            f"functional_call raises {type(error).__name__}: {text}"[:300],
            "",
            *source.error_line(error, case.module),
            fix="read parameters as attributes in forward, and do not assign them there",
        )
        return
    for gap in closeness.gaps(expected, got)[:1]:
        yield _finding(case, gap)


def _counts(parameter: Tensor) -> bool:
    return tree.is_differentiable(parameter) and parameter.numel() > 0


def _nudged(parameter: Tensor) -> Tensor:
    return parameter.detach() * (1 + NUDGE) + NUDGE


def _finding(case: Case, gap: closeness.Gap) -> Finding:
    path = _second_reference(case.fresh().module)
    place = source.class_line(type(case.module))
    if path:
        holder, attribute = source.owner(case.module, path)
        place = source.attribute_line(type(holder), attribute)
    return Finding(
        f"given other parameters by functional_call it still uses its own{f', held in {path}' if path else ''}: "
        f"{gap.where} differs {gap.extent}",
        path or gap.where,
        *place,
        fix="read self.<name> in forward; keep several in nn.ParameterList or nn.ParameterDict",
        numbers={"max_abs": gap.max_abs, "limit": gap.limit},
    )


def _second_reference(module: nn.Module) -> str:
    """The path of a plain attribute that holds a registered parameter; "" if there is none."""
    known = {id(parameter) for parameter in module.parameters()}
    for prefix, part in module.named_modules():
        for name, value in vars(part).items():
            if name not in ("_parameters", "_modules", "_buffers"):
                held = value if isinstance(value, list | tuple | dict | Tensor) else ()
                if any(id(tensor) in known for tensor in tree.tensors(held)):
                    return f"{prefix}.{name}" if prefix else name
    return ""


@functional_call_fails.bad("still uses its own, held in weights")
class KeepsASecondReference(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.randn(6, 6) / 6**0.5)
        self.second = nn.Parameter(torch.randn(6, 6) / 6**0.5)
        self.weights = [self.first, self.second]

    def forward(self, x: Tensor) -> Tensor:
        for weight in self.weights:
            x = x @ weight
        return x


@functional_call_fails.bad("functional_call raises")
class AsksForParameters(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(6))

    def forward(self, x: Tensor) -> Tensor:
        if not isinstance(self.weight, nn.Parameter):
            raise TypeError("weight must be a Parameter")
        return x * self.weight


@functional_call_fails.good
class KeepsThemRegistered(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.ParameterList(torch.randn(6, 6) / 6**0.5 for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        for weight in self.weights:
            x = x @ weight
        return x
