"""The leg of buffers that backward reaches: a running statistic in eval, a fixed filter."""

from __future__ import annotations

from layersmith.probe import tree
from layersmith.probe.gradients.describe import describe
from layersmith.probe.gradients.joint import Verdict, reading_leg
from layersmith.probe.gradients.legs.bench import Bench, first_line
from layersmith.probe.gradients.specimen import Leaf
from layersmith.probe.gradients.station import occupy


def buffers(bench: Bench) -> None:
    """Buffers that backward reaches: a running statistic in eval, a fixed filter."""
    name = "buffers"
    if not any(map(tree.is_differentiable, bench.station.specimen.module.buffers())):
        bench.not_run(name, "it has no floating buffer")
        return
    near = bench.site.specimen(0)
    known = {id(leaf.tensor) for leaf in near.leaves}
    extra = [
        Leaf(path, one.requires_grad_(), "buffer")
        for path, one in near.module.named_buffers()
        if tree.is_differentiable(one) and one.numel() and id(one) not in known
    ]
    if not extra:
        bench.not_run(name, "it has no floating buffer")
        return
    near.leaves = (*near.leaves, *extra)
    try:
        station = occupy(near, near.outputs(), bench.site.precision, seed=bench.site.seed)
    except Exception as error:  # noqa: BLE001
        bench.not_run(name, f"they cannot be differentiated: {first_line(error)}")
        return
    reached = [
        i for i, one in enumerate(station.gradients) if near.leaves[i].kind == "buffer" and one is not None
    ]
    if not reached or near.is_stateful:
        bench.not_run(name, "forward changes them" if reached else "no gradient reaches one")
        return
    reading = station.read(only=reached)
    bench.legs.append(reading_leg(name, reading))
    if reading.verdict is Verdict.WRONG:
        bench.errors += describe(station, name)
