"""Gradients that are stopped on purpose, as the name of what they do not reach says."""

from __future__ import annotations

from layersmith.finding import Severity
from layersmith.probe.tracing import Lost
from layersmith.rules.gradients.no_gradient import of_unreached


def test_a_target_that_gets_no_gradient_is_but_a_note() -> None:
    place = Lost("no_grad", "model.py", 7)
    assert of_unreached(["target_critic.q1.weight"], place).severity is Severity.NOTE
    assert of_unreached(["target_critic.q1.weight", "critic.q1.weight"], place).severity is None
    assert of_unreached(["target_critic.q1.weight"], Lost("round", "model.py", 7)).severity is None
