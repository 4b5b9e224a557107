"""Quick mode: it names what is wrong, and is silent on what is right."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from planted import FIRST_ORDER, plant  # type: ignore[import-not-found]
from torch import Tensor, nn

from layersmith.errors import UsageError
from layersmith.probe.gradients import gradients
from layersmith.probe.gradients.watch import Watch

TENSOR = {
    "input x1.01": "input[0]",
    "mean": "bias",
    "no broadcast sum": "slope",
    "x<0": "input[0]",
    "bias none": "bias",
}
UNNAMED = {"grad_output in place", "saved in place", "crash"}
SEVERAL = {"detach", ".data", ".item", "numpy"}


@pytest.mark.parametrize("error", FIRST_ORDER)
def test_a_planted_error_is_caught_and_its_tensor_named(error: str) -> None:
    module, inputs = plant(error, n=16)
    report = gradients(module, inputs)
    assert not report.ok
    named = {found.tensor for found in report.errors}
    if error in SEVERAL:
        assert {"first.weight", "first.bias"} <= named
        assert "last.weight" not in named
    elif error not in UNNAMED:
        assert named == {TENSOR.get(error, "inner.weight" if error == "hidden by zero" else "weight")}


def test_a_factor_is_said_like_a_person_with_the_line_of_backward() -> None:
    module, inputs = plant("x1.01")
    (found,) = gradients(module, inputs).errors
    assert found.message.startswith(
        "d loss/d weight is 1.01x what finite differences give, in all 4096 elements; "
        "seen in _Matmul.backward (planted.py:"
    )
    assert found.kind == "whole tensor x1.01"
    assert found.ratio == pytest.approx(1.01)
    assert "def backward(ctx" in Path(found.file).read_text().splitlines()[found.line - 1]


def test_a_single_wrong_element_is_found_with_its_numbers() -> None:
    module, inputs = plant("element x1.01", n=64)
    (found,) = gradients(module, inputs).errors
    assert found.index == (21, 12)
    assert found.kind == "element (21, 12)"
    assert found.ratio == pytest.approx(1.01, rel=1e-5)


def test_a_row_and_a_sign_of_the_input_are_recognised() -> None:
    (row,) = gradients(*plant("row")).errors
    assert row.kind == "row 21: whole tensor x1.01"
    (sign,) = gradients(*plant("x<0")).errors
    assert sign.kind == "negative elements only"


def test_the_innermost_submodule_is_blamed() -> None:
    inner, inputs = plant("sign", n=16)
    module = nn.Sequential(nn.Linear(16, 16), nn.Sequential(nn.Tanh(), inner), nn.Linear(16, 4))
    errors = gradients(module, inputs).errors
    assert {found.module for found in errors} == {"1.1"}
    assert {found.module_class for found in errors} == {"Matmul"}
    assert any(found.tensor == "1.1.weight" for found in errors)


def test_the_call_that_cuts_the_graph_is_named() -> None:
    errors = gradients(*plant("detach")).errors
    assert errors[0].function == ".detach()"
    assert errors[0].file.endswith("planted.py")


def test_module_inputs_generators_and_settings_stay_as_they_are() -> None:
    module, inputs = plant("crash", n=8)
    before = [one.clone() for one in (*module.parameters(), *inputs)]
    state, dtype = torch.get_rng_state(), torch.get_default_dtype()
    with torch.no_grad():
        gradients(module, inputs)
        assert not torch.is_grad_enabled()
    assert torch.equal(state, torch.get_rng_state())
    assert torch.get_default_dtype() is dtype
    assert all(torch.equal(a, b) for a, b in zip(before, (*module.parameters(), *inputs), strict=True))
    assert all(one.grad is None for one in module.parameters())


def test_the_report_is_json() -> None:
    plain = gradients(*plant("bias none", n=8)).to_dict()
    assert json.loads(json.dumps(plain))["errors"][0]["tensor"] == "bias"
    assert plain["ok"] is False


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(UsageError, match="quick"):
        gradients(nn.Linear(2, 2), torch.randn(1, 2), mode="slow")  # type: ignore[arg-type]


def test_quick_mode_imports_nothing_slow() -> None:
    code = (
        "import sys, torch; before = set(sys.modules)\n"
        "from layersmith.probe.gradients import gradients\n"
        "assert gradients(torch.nn.Linear(3, 2), torch.randn(4, 3)).ok\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "slow = {'sympy', 'triton', 'networkx', 'scipy', 'mpmath', 'decimal'}\n"
        "assert 'torch._dynamo' not in sys.modules and not new & slow, new & slow\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


class _Thrice(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        return 3 * x

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        return 2 * gradient


class Augments(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _Thrice.apply(x)


class LearnsFromItsOwnView(nn.Module):
    """What is wrong in the augmentation reaches no parameter: only the target is stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.augment, self.encoder = Augments(), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            view = self.augment(x)
        target = self.encoder(view).detach()
        return (self.encoder(view + 1) - target).square().mean()


def test_who_is_to_blame_is_what_the_wrong_tensors_pass() -> None:
    report = gradients(LearnsFromItsOwnView(), torch.randn(5, 6))
    assert report.errors
    assert {found.function for found in report.errors if found.tensor.startswith("encoder")} == {".detach()"}


class _KeepsADetachedCopy(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.detach() * 3

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:  # noqa: ARG004 - autograd's signature
        ctx.kept = inputs[0].detach()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return 2 * gradient + 0 * ctx.kept


class Triples(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _KeepsADetachedCopy.apply(x)


def test_what_a_function_detaches_in_any_of_its_methods_is_not_to_blame() -> None:
    with Watch() as seen:
        Triples()(torch.randn(5, 6, requires_grad=True))
    assert not seen.cuts
