"""The verbs in Python: on objects, classes and functions, without changing what the user holds."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import layersmith
from layersmith.errors import CheckError, LayersmithError, UsageError
from layersmith.runner import STALE_WAIVER


class Leaks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        print("called")
        return self.linear(x - x.mean(0))


FAST: dict[str, Any] = {"ignore": ["compile"]}


def found(report: layersmith.Report) -> set[str]:
    return {result.rule for _, result, _ in report.findings()}


def leaks() -> nn.Module:
    return Leaks()


def sequential() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 4), nn.ReLU())


@pytest.mark.parametrize("target", [Leaks(), Leaks, leaks])
def test_a_module_a_class_and_a_function_are_all_targets(target: Any) -> None:
    report = layersmith.check(target, torch.randn(4, 6), **FAST)
    assert found(report) == {"batch-leak", "print-in-forward"}
    assert report.subjects[0].name == "Leaks"
    assert not report.ok


def test_inputs_are_found_for_an_object() -> None:
    report = layersmith.check(sequential(), **FAST)
    assert report.ok
    assert report.summary()["rules_run"] >= 11


def test_nothing_that_the_user_holds_changes() -> None:
    module, x = Leaks().train(), torch.randn(4, 6)
    module.linear.weight.grad = torch.ones(6, 6)
    before = (
        {k: v.clone() for k, v in module.state_dict().items()},
        x.clone(),
        torch.get_rng_state(),
        random.getstate(),
        np.random.get_state()[1].copy(),  # type: ignore[index]
        set(vars(module)),
    )
    with torch.no_grad():
        layersmith.check(module, x, **FAST)
        assert not torch.is_grad_enabled()
    assert module.training
    assert all(torch.equal(v, before[0][k]) for k, v in module.state_dict().items())
    assert torch.equal(x, before[1])
    assert torch.equal(torch.get_rng_state(), before[2])
    assert random.getstate() == before[3]
    assert (np.random.get_state()[1] == before[4]).all()  # type: ignore[index]
    assert set(vars(module)) == before[5]
    assert torch.equal(module.linear.weight.grad, torch.ones(6, 6))
    assert not module._forward_hooks
    assert x.grad is None


def test_what_a_module_prints_is_kept_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    report = layersmith.check(Leaks(), torch.randn(4, 6), **FAST)
    assert capsys.readouterr().out == ""
    assert "called" in report.subjects[0].output


def test_the_same_seed_gives_the_same_numbers() -> None:
    first, second = (layersmith.check(Leaks, torch.randn(4, 6), **FAST) for _ in range(2))
    torch.manual_seed(0)
    x = torch.randn(4, 6)
    first, second = (layersmith.check(Leaks, x, seed=3, **FAST) for _ in range(2))
    assert [f.message for *_, f in first.findings()] == [f.message for *_, f in second.findings()]


def test_raise_for_failures_says_what_failed() -> None:
    report = layersmith.check(Leaks(), torch.randn(4, 6), **FAST)
    with pytest.raises(CheckError, match=r"Leaks: batch-leak: .* moved by"):
        report.raise_for_failures()
    with pytest.raises(AssertionError):
        report.raise_for_failures()
    layersmith.check(sequential(), **FAST).raise_for_failures()


def test_the_dictionary_is_json_of_schema_1() -> None:
    report = layersmith.check(Leaks(), torch.randn(4, 6), **FAST)
    plain = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert plain["schema"] == 1
    assert plain["environment"]["torch"].startswith(torch.__version__.partition("+")[0])
    subject = plain["subjects"][0]
    assert {"name", "file", "line", "status", "why", "inferred_from", "results"} <= set(subject)
    result = next(result for result in subject["results"] if result["rule"] == "batch-leak")
    assert {"rule", "group", "outcome", "severity", "seconds", "why", "findings"} <= set(result)
    assert {"message", "where", "line", "fix", "numbers"} <= set(result["findings"][0])
    assert (result["outcome"], result["severity"]) == ("fail", "error")


def test_a_report_shows_itself_in_jupyter_and_in_a_terminal() -> None:
    report = layersmith.check(Leaks(), torch.randn(4, 6), **FAST)
    bundle = report._repr_mimebundle_()
    assert "batch-leak" in bundle["text/plain"]
    assert "batch-leak" in bundle["text/html"]


def test_rules_are_selected_ignored_and_waived() -> None:
    x = torch.randn(4, 6)
    assert found(layersmith.check(Leaks(), x, select=["forward"])) == {"batch-leak"}
    assert layersmith.check(Leaks(), x, ignore=["compile", "batch-leak"]).ok
    report = layersmith.check(Leaks(), x, waive={"batch-leak": "on purpose"}, **FAST)
    assert report.ok
    assert "waived: on purpose" in {result.why for result in report.subjects[0].results}


def test_waivers_reach_the_classes_of_a_text_target() -> None:
    report = layersmith.check("torch.nn:ReLU", select=["forward"], waive={"batch-leak": "to see it said"})
    assert STALE_WAIVER in {result.why for result in report.subjects[0].results}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((3,), "must be a module, an nn.Module class"),
        ((nn.Linear(2, 2), 3), "inputs must be a tensor"),
        (("no_such_file.py",), "no such file"),
        (("torch.nn:Linear", torch.ones(1)), "notation"),
    ],
)
def test_a_wrong_request_says_what_was_given_and_what_to_do(arguments: tuple[Any, ...], said: str) -> None:
    with pytest.raises(LayersmithError, match=said) as caught:
        layersmith.check(*arguments)
    assert caught.value.exit_code == 2


def test_unknown_rules_are_refused() -> None:
    with pytest.raises(UsageError, match="did you mean 'batch-leak'"):
        layersmith.check(nn.ReLU(), select=["batch-leaks"])
    with pytest.raises(UsageError, match="needs a reason"):
        layersmith.check(nn.ReLU(), waive={"batch-leak": ""})
    with pytest.raises(UsageError, match="unknown rule 'nothing-like-it'"):
        layersmith.check(nn.ReLU(), waive={"nothing-like-it": "x"})


def test_a_contract_needs_reasons() -> None:
    with pytest.raises(UsageError, match="needs a reason"):
        layersmith.contract(waive={"batch-leak": " "})


def test_init_measures_every_submodule_and_the_gain_of_activations() -> None:
    report = layersmith.init(sequential(), torch.randn(50, 6))
    rows = {(m.where, m.name): m.value for m in report.subjects[0].measurements}
    assert rows["1", "gain"] == pytest.approx(2**0.5)
    assert rows["1", "share_of_zeros"] == pytest.approx(0.5, abs=0.2)
    assert {("0", "mean"), ("0", "std"), ("0", "gradient_std"), ("input[0]", "std")} <= set(rows)


def test_profile_measures_time_flops_and_memory() -> None:
    report = layersmith.profile(sequential(), torch.randn(50, 6))
    rows = {(m.where, m.name): m for m in report.subjects[0].measurements}
    assert rows["0", "flops_forward"].value == 2 * 50 * 6 * 4
    assert rows["", "parameter_count"].value == 28
    assert rows["", "forward_seconds"].value > 0
    assert rows["", "backward_seconds"].unit == "s"
    assert ("", "saved_bytes") in rows


def test_a_contract_that_waives_an_unknown_rule_is_refused() -> None:
    @layersmith.contract(waive={"batch-leek": "compares rows"})
    class Contrast(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x

    with pytest.raises(UsageError, match="did you mean 'batch-leak'"):
        layersmith.check(Contrast(), torch.randn(4, 6), **FAST)


def test_a_report_prints_as_the_command_line_does() -> None:
    text = str(layersmith.check(Leaks(), torch.randn(4, 6), **FAST))
    assert "batch-leak" in text
    assert max(map(len, text.splitlines())) <= 80
    assert all(line == line.rstrip() for line in text.splitlines())


def test_one_rule_can_be_selected_by_a_string() -> None:
    assert found(layersmith.check(Leaks(), torch.randn(4, 6), select="batch-leak,mode")) == {"batch-leak"}


class WrongInFloat32(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.factor = 3 if x.dtype is torch.float32 else 2
        return 2 * x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * float(ctx.factor)


class Doubles(nn.Module):
    def forward(self, x: Tensor) -> Any:
        return WrongInFloat32.apply(x)


def test_gradients_are_examined_as_far_as_asked() -> None:
    asked: dict[str, Any] = {"select": ["wrong-gradient"]}
    assert layersmith.check(Doubles(), torch.randn(4, 6), **asked).ok
    report = layersmith.check(Doubles(), torch.randn(4, 6), gradients="full", **asked)
    assert found(report) == {"wrong-gradient"}
    with pytest.raises(UsageError, match="must be one of quick, full, not 'slow'"):
        layersmith.check(Doubles(), gradients="slow")


def test_a_surrogate_gradient_is_only_asked_to_be_finite_and_to_repeat_itself() -> None:
    @layersmith.contract(gradient="surrogate", reason="twice as steep on purpose")
    class Meant(Doubles):
        def forward(self, x: Tensor) -> Any:
            return 2 * x - x.detach()

    for module in (Meant(), nn.Sequential(nn.Linear(6, 6), Meant())):
        report = layersmith.check(module, torch.randn(4, 6), select=["wrong-gradient"])
        assert not found(report)
    report = layersmith.check(Meant(), torch.randn(4, 6), select=["wrong-gradient"])
    result = next(r for r in report.subjects[0].results if r.rule == "wrong-gradient")
    assert result.why.startswith("a surrogate (twice as steep on purpose)")
