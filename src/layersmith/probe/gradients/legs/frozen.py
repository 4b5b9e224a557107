"""The leg of frozen tensors: each subset that asks for a gradient gets the one it gets among all."""

from __future__ import annotations

from layersmith.probe import source
from layersmith.probe.gradients.legs.bench import Bench, again, first_line

_SINGLY = 6  # tensors frozen one at a time, where an autograd.Function could notice


def frozen(bench: Bench) -> None:
    """Each subset of tensors that asks for a gradient must get the one it gets among all."""
    leaves = bench.station.specimen.leaves
    inputs = [i for i, leaf in enumerate(leaves) if leaf.kind == "input"]
    weights = [i for i, leaf in enumerate(leaves) if leaf.kind != "input"]
    cases = [("weights frozen", weights), ("inputs frozen", inputs)]
    if bench.functions and len(weights) <= _SINGLY:
        cases += [(f"{leaves[i].name} frozen", [i]) for i in weights if len(weights) > 1]
    for name, still in cases:
        if not still or len(still) == len(leaves):
            bench.not_run(name, "it would leave nothing, or change nothing")
            continue
        _without(bench, name, still)


def _without(bench: Bench, name: str, still: list[int]) -> None:
    """Freeze some leaves, ask again, and thaw them before anything is said."""
    leaves, specimen = bench.station.specimen.leaves, bench.station.specimen
    refusal: Exception | None = None
    for i in still:
        leaves[i].tensor.requires_grad = False
    try:
        picked = bench.station.projection.pick(specimen.outputs())
        if any(one.requires_grad for one in picked):
            again(bench, name, picked, f"with {name}", still)
        else:
            bench.not_run(name, "no output carries a gradient then")
    except Exception as error:  # noqa: BLE001 - forward may ask for what is frozen, in any way
        refusal = error
    finally:
        for i in still:
            leaves[i].tensor.requires_grad_()
    if refusal is not None:
        place = source.error_line(refusal, specimen.module)
        bench.fault(name, "raises", f"with {name}, forward raises {first_line(refusal)}", place=place)
