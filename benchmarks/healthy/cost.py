"""CPU seconds that a module costs: our battery without and with the compiler, and the peers, on the same modules.

    python -m pip install -q --no-deps --target packages torchtest2==0.1 pytest-torch==1.1
    python benchmarks/healthy/cost.py --packages packages [--every 4] [--package vit_pytorch]

Each tool examines each module in a process of its own, forked when everything is imported (the rules have been asked
once, and the compiler has compiled a module), as `layersmith check` does; building and finding inputs is not counted.
The median, the 90th percentile and the total over modules, and then what each rule takes of our total.

The peers run what they run by default: `torchtest2.check_model(module, inputs)` without a loss, hence without
overfitting; of pytest-torch what `pytest --torch-model` asks, and the same with its checks of compile and export.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import statistics
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from examined import TORCH_NN, Examined, of_package  # type: ignore[import-not-found]

from layersmith import registry, runner
from layersmith.isolation import Ended, Send, supervised
from layersmith.load.unbuildable import Unbuildable
from layersmith.subject import Subject

SECONDS = 600.0  # of wall clock for one tool on one module
Tool = Callable[[Subject, Send], None]


def main() -> None:
    """Print both tables."""
    options = arguments()
    sys.path.extend(options.packages)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    tools = ours(options.no_compile, options.select) | peers(options.no_compile)
    chosen = [one for package in options.package or [TORCH_NN] for one in of_package(package)]
    taken: dict[str, list[float]] = defaultdict(list)
    by_rule: dict[str, list[float]] = defaultdict(list)
    for one in chosen[:: options.every]:
        for name, tool in tools.items():
            for item in measured(one, tool):
                if isinstance(item, float):
                    taken[name].append(item)
                else:
                    by_rule[item[0]].append(item[1])
        if sys.stderr.isatty():
            print(f"\r\033[K{one.name}", end="", file=sys.stderr, flush=True)
    print_tools(taken)
    print_rules(by_rule)


def arguments() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--packages", action="append", default=[], metavar="FOLDER", help="where others lie")
    parser.add_argument("--package", action="append", metavar="NAME", help="default: torch.nn")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every n-th class")
    parser.add_argument("--select", default="", help="rules or groups, separated by commas")
    parser.add_argument("--no-compile", action="store_true", help="leave out what compiles, ours and theirs")
    return parser.parse_args()


def ours(is_without_compiler: bool, select: str) -> dict[str, Tool]:  # noqa: FBT001 - an option handed on
    """The battery without the group that compiles, and that group beside it."""
    compiling = registry.ids(["compile"])
    rest = tuple(rule for rule in registry.with_prerequisites(registry.chosen(select=select)))
    tools: dict[str, Tool] = {"layersmith": lambda subject, send: _ask(rest_of(subject), send)}

    def rest_of(subject: Subject) -> tuple[Subject, Any]:
        return subject, [rule for rule in rest if rule.id not in compiling]

    _warm(rest_of(next(of_package(TORCH_NN)).subject())[1])
    if not is_without_compiler:
        importlib.import_module("torch._dynamo")
        rules = registry.with_prerequisites(id_ for id_ in compiling if id_ in {rule.id for rule in rest})
        _warm(rules)
        tools["layersmith: compile"] = lambda subject, send: _ask((subject, rules), send)
    return tools


def _warm(rules: Any) -> None:
    """Ask once, so that nothing is imported later."""
    with contextlib.suppress(StopIteration):
        [*runner.run(next(of_package(TORCH_NN)).subject(), rules)]


def _ask(asked: tuple[Subject, Any], send: Send) -> None:
    subject, rules = asked
    before = time.process_time()
    for result in runner.run(subject, rules):
        now = time.process_time()
        send((result.rule, now - before))
        before = now


def peers(is_without_compiler: bool) -> dict[str, Tool]:  # noqa: FBT001 - an option handed on
    """Those of the peers that are there."""
    tools: dict[str, Tool] = {}
    try:
        import torchtest2  # type: ignore[import-not-found]  # noqa: PLC0415 - may not be there

        check: Any = torchtest2.check_model
        tools[f"torchtest2 {torchtest2.__version__}"] = lambda subject, _: check(
            subject.build(0), subject.inputs(0).args
        )
    except ImportError as error:
        print(f"torchtest2 is not there: {error}")
    try:
        import pytest_torch  # type: ignore[import-not-found]  # noqa: PLC0415 - may not be there

        importlib.import_module("pytest_torch.contract")
        name = f"pytest-torch {getattr(pytest_torch, '__version__', '')}"
        tools[name] = lambda subject, _: _pytest_torch(subject, compiles=False)
        if not is_without_compiler:
            tools[f"{name}: compile, export"] = lambda subject, _: _pytest_torch(subject, compiles=True)
    except ImportError as error:
        print(f"pytest-torch is not there: {error}")
    return tools


def _pytest_torch(subject: Subject, *, compiles: bool) -> None:
    """Its checks one after the other; one that fails costs what it costs."""
    from pytest_torch.checkpoint import assert_checkpoint_roundtrip  # type: ignore[import-not-found]  # noqa: PLC0415
    from pytest_torch.contract import check_inference_contract  # type: ignore[import-not-found]  # noqa: PLC0415
    from pytest_torch.invariance import assert_layout_invariant  # type: ignore[import-not-found]  # noqa: PLC0415
    from pytest_torch.parity import assert_compile_parity, assert_export_parity  # type: ignore[import-not-found]  # noqa: PLC0415
    from pytest_torch.training import assert_gradients_finite  # type: ignore[import-not-found]  # noqa: PLC0415

    inputs, limits = subject.inputs(0).args, {"rtol": 1e-4, "atol": 1e-4}
    first = inputs[0] if len(inputs) == 1 else inputs
    without = (
        lambda: check_inference_contract(subject.build(0), first, **limits),
        lambda: assert_layout_invariant(subject.build(0).eval(), first, **limits),
        lambda: assert_checkpoint_roundtrip(
            lambda: subject.build(0), first, model=subject.build(0).eval(), **limits
        ),
        lambda: assert_gradients_finite(subject.build(0).train(), first, _sum),
    )
    compiling = (
        lambda: assert_export_parity(subject.build(0).eval(), first, **limits),
        lambda: assert_compile_parity(subject.build(0).eval(), first, backend="eager", **limits),
    )
    checks: tuple[Callable[[], Any], ...] = compiling if compiles else without
    for check in checks:
        with contextlib.suppress(Exception):
            check()


def _sum(output: Any) -> torch.Tensor:
    from layersmith.probe import tree  # noqa: PLC0415 - beside torch and the peers

    return tree.total(tensor for tensor in tree.tensors(output) if tensor.requires_grad)


def measured(one: Examined, tool: Tool) -> list[Any]:
    """What a tool sent about a module, and last the CPU time that it took; nothing if it could not be built."""

    def work(send: Send) -> None:
        try:
            subject = one.subject()
        except Unbuildable:
            return
        start = time.process_time()
        with contextlib.suppress(Exception):
            tool(subject, send)
        send(time.process_time() - start)

    with Path("/dev/null").open("w+b") as nowhere:
        found = [*supervised(work, seconds=SECONDS, output=nowhere)]
    return [item for item in found if not isinstance(item, Ended)]


def print_tools(taken: dict[str, list[float]]) -> None:
    """One line a tool."""
    print(f"{'CPU seconds a module':34}{'modules':>9}{'median':>9}{'90 %':>9}{'total':>9}")
    for name, seconds in taken.items():
        ordered = sorted(seconds)
        late = ordered[int(0.9 * len(ordered))]
        print(
            f"{name:34}{len(ordered):9}{statistics.median(ordered):9.3f}{late:9.3f}{sum(ordered):9.1f}",
            flush=True,
        )


def print_rules(by_rule: dict[str, list[float]]) -> None:
    """One line a rule, the slowest first."""
    total = sum(map(sum, by_rule.values())) or 1.0
    print(f"\n{'rule':34}{'median ms':>10}{'90 % ms':>10}{'max ms':>10}{'share':>8}")
    for name, seconds in sorted(by_rule.items(), key=lambda pair: -sum(pair[1])):
        ordered = sorted(seconds)
        late = ordered[int(0.9 * len(ordered))]
        print(
            f"{name:34}{1000 * statistics.median(ordered):10.1f}{1000 * late:10.1f}{1000 * ordered[-1]:10.1f}"
            f"{sum(ordered) / total:8.1%}"
        )


if __name__ == "__main__":
    main()
