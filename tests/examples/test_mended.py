"""The end of the story: the tutorial's model with Layersmith's layers has no findings and learns."""

from __future__ import annotations

from pathlib import Path

import layersmith
from layersmith.finding import Outcome

TUTORIAL = Path(__file__).parents[2] / "examples" / "tutorial.py"
MENDED = TUTORIAL.with_name("mended.py")


def test_the_mended_model_has_no_findings() -> None:
    report = layersmith.check(str(MENDED))
    assert [subject.name for subject in report.subjects] == ["MendedModel"]
    assert not [*report.findings()]
    assert not [r for r in report.subjects[0].results if r.outcome is Outcome.SKIP and r.applies]


def test_the_mended_model_learns_where_the_tutorials_lags_behind() -> None:
    mended = layersmith.train(f"{MENDED}::MendedModel", baseline=False)
    as_written = layersmith.train(f"{TUTORIAL}::CustomModel", baseline=False)
    assert mended.best is not None
    assert as_written.best is not None
    assert mended.best.validation_metric >= 0.96
    assert mended.best.validation_metric > as_written.best.validation_metric + 0.02
