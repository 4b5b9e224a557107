"""What an examination costs against gradcheck, and how it grows: medians of interleaved ratios of CPU time.

    python benchmarks/gradients/cost.py [--rounds 15] [--table] [--growth] [--failing] [--memory]

Ours is timed as a user calls it: copying the module, leaving everything untouched and reporting included.
gradcheck is timed on a float64 copy that was made beforehand.
"""

from __future__ import annotations

import argparse
import functools
import gc
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from peers import Peer, SeedLinear, mlp, table  # type: ignore[import-not-found]
from torch import Tensor, nn

from layersmith.probe.gradients import gradients
from layersmith.probe.gradients.directions import normal_view, normal_views
from layersmith.probe.gradients.duplicate import duplicate
from layersmith.probe.gradients.legs.second import second_order_leg

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "probe" / "gradients"))
from planted import Cut, plant  # type: ignore[import-not-found]

examination: Any = sys.modules[
    "layersmith.probe.gradients.examine"
]  # the package exports a function of its name
Timed = dict[str, Callable[[], object]]


def main() -> None:
    """Print what is asked for; everything by default."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=15)
    parts = {"table": print_table, "growth": print_growth, "failing": print_failing, "memory": print_memory}
    for name in parts:
        parser.add_argument(f"--{name}", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    vars(sys.modules["torch.autograd.gradcheck"])["_run_slow_mode_and_get_error"] = lambda *_: ""
    chosen = [name for name in parts if vars(options)[name]] or list(parts)
    for name in chosen:
        parts[name](options.rounds)


def print_table(rounds: int) -> None:
    """Each layer: quick, what the algorithm alone takes, and full without second order over fast; full over both."""
    heads = f"{'quick/fast':>10s} {'bare/fast':>10s} {'less 2nd/fast':>14s} {'full/(fast+gg)':>15s} {'quick/fb':>9s}"
    print(f"\n{'layer (P)':30s} {heads}")
    for name, (module, x) in table().items():
        peer = Peer(module, x)
        few = max(3, rounds // 5) if len(peer.tensors) > 50 else rounds
        medians = ratios(
            {
                "quick": functools.partial(gradients, module, x),
                "bare": functools.partial(bare, module, x),
                "full": functools.partial(gradients, module, x, mode="full"),
                "less": functools.partial(without_second_order, module, x),
                "fast": peer.check,
                "gg": peer.check_second,
                "fb": peer.forward_and_backward,
            },
            few,
        )
        numbers = f"{medians('quick', 'fast'):10.3f} {medians('bare', 'fast'):10.3f} {medians('less', 'fast'):14.3f}"
        full_over_both = medians("full", "fast", "gg")
        print(
            f"{f'{name} ({len(peer.tensors)})':30s} {numbers} {full_over_both:15.3f} {medians('quick', 'fb'):9.2f}",
            flush=True,
        )


def bare(module: nn.Module, x: Tensor) -> float:
    """The joint probe and nothing else, as the least that quick can cost: the miss.

    A float64 copy that is moved, one forward and backward, two forwards along a balanced direction. Nothing is
    preserved, looked after, judged or reported.
    """
    twin, x = duplicate(module, torch.float64), x.double().requires_grad_()
    leaves = [*twin.parameters(), x]
    values = [leaf.data for leaf in leaves]

    def project() -> Tensor:
        out = twin(x)
        out = out[0] if isinstance(out, tuple) else out
        return torch.dot(out.reshape(-1), normal_view(out, 1).reshape(-1))

    torch._foreach_add_(values, normal_views(values, 2), alpha=0.01)
    found = torch.autograd.grad(project(), leaves)
    norms = torch.stack(torch._foreach_norm(found)).tolist()  # noqa: SLF001
    along = torch._foreach_mul(normal_views(values, 3), [1 / (1e-9 + one) for one in norms])  # noqa: SLF001
    slope = sum(float(torch.dot(a.reshape(-1), b.reshape(-1))) for a, b in zip(found, along, strict=True))
    with torch.no_grad():
        torch._foreach_add_(values, along, alpha=1e-5)
        after = float(project())
        torch._foreach_add_(values, along, alpha=-2e-5)
        return (after - float(project())) / 2e-5 - slope


def without_second_order(module: nn.Module, x: Tensor) -> object:
    """Full mode less its leg of second order."""
    legs = examination.LEGS
    examination.LEGS = tuple(leg for leg in legs if leg is not second_order_leg)
    try:
        return gradients(module, x, mode="full")
    finally:
        examination.LEGS = legs


def print_growth(rounds: int) -> None:
    """Quick in units of one float64 forward and backward, from 10^2 to 10^7 parameters."""
    print(f"\n{'parameters':>12s} {'quick/fb':>9s} {'full/fb':>9s}")
    for width in (10, 32, 100, 316, 1000, 3162):
        module, x = SeedLinear(width, width), torch.randn(8, width)
        print_units(f"{width * width}", module, x, 5 if width > 500 else rounds)
    print(f"\n{'depth':>12s} {'quick/fb':>9s} {'full/fb':>9s}")
    for depth in (1, 4, 16, 64):
        print_units(str(depth), mlp(depth), torch.randn(8, 32), max(3, rounds // 3))


def print_units(label: str, module: nn.Module, x: Tensor, rounds: int) -> None:
    """One line of growth."""
    peer = Peer(module, x)
    medians = ratios(
        {
            "quick": lambda: gradients(module, x),
            "full": lambda: gradients(module, x, mode="full"),
            "fb": peer.forward_and_backward,
        },
        rounds,
    )
    print(f"{label:>12s} {medians('quick', 'fb'):9.2f} {medians('full', 'fb'):9.2f}", flush=True)


def print_failing(rounds: int) -> None:
    """A failing run, with all that it says, over a fast gradcheck that passes: of the same module without the error."""
    print(f"\n{'error at 512x512':22s} {'quick, failing / fast, passing':>32s}")
    passing = {"Matmul": Peer(*_at_512("right")), "Cut": Peer(Cut("right", 512), _at_512("detach")[1])}
    for error in ("sign", "x1.01", "element zero", "element x1.01", "row", "input x1.01", "mean", "detach"):
        module, x = _at_512(error)
        medians = ratios(
            {"quick": functools.partial(gradients, module, x), "fast": passing[type(module).__name__].check},
            max(5, rounds // 3),
        )
        print(f"{error:22s} {medians('quick', 'fast'):32.2f}", flush=True)


def _at_512(error: str) -> tuple[nn.Module, Tensor]:
    module, (x,) = plant(error, n=512, rows=2)
    return module, x


def print_memory(_: int) -> None:
    """Peak of tensor memory over that of one float64 forward and backward."""
    print(f"\n{'layer':30s} {'quick':>8s} {'full':>8s}   times one float64 forward + backward")
    cases: dict[str, tuple[nn.Module, Tensor]] = {
        "Linear 1000x1000": (SeedLinear(1000, 1000), torch.randn(8, 1000)),
        "MLP 8 x 256, batch 512": (mlp(8, 256), torch.randn(512, 256)),
        "Conv2d 16->16, 64x64": (nn.Conv2d(16, 16, 3, padding=1), torch.randn(4, 16, 64, 64)),
    }
    for name, (module, x) in cases.items():
        # What one forward and backward holds includes the float64 parameters and input that it needs.
        unit = peak(functools.partial(_unit, module, x))
        quick = peak(functools.partial(gradients, module, x)) / unit
        full = peak(functools.partial(gradients, module, x, mode="full")) / unit
        print(f"{name:30s} {quick:8.2f} {full:8.2f}", flush=True)


def _unit(module: nn.Module, x: Tensor) -> None:
    Peer(module, x).forward_and_backward()


def peak(ask: Callable[[], object]) -> float:
    """The most bytes that were allocated at any one time."""
    ask()
    gc.collect()
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as seen:
        ask()
    now = most = 0
    profiler: Any = seen.profiler
    for event in profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return float(most)


def ratios(timed: Timed, rounds: int) -> Callable[..., float]:
    """Time all in turn, `rounds` times; a function then gives the median ratio of one over the sum of others."""
    for ask in timed.values():
        ask()
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(rounds):
        for name, ask in timed.items():
            repeats = 10 if name == "fb" else 1
            start = time.process_time()
            for _ in range(repeats):
                ask()
            seconds[name].append((time.process_time() - start) / repeats)

    def median(over: str, *under: str) -> float:
        below = [sum(each) for each in zip(*(seconds[name] for name in under), strict=True)]
        return float(statistics.median(a / b for a, b in zip(seconds[over], below, strict=True)))

    return median


if __name__ == "__main__":
    main()
