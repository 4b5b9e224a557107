"""Rules as tests: one pytest test a rule, as scikit-learn's `parametrize_with_checks` has it, or one call."""

from __future__ import annotations

import unittest
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from layersmith import api
from layersmith.errors import CheckError, UsageError
from layersmith.finding import Outcome, Result, Severity
from layersmith.registry import chosen, nearest, rule_files
from layersmith.report import Report

if TYPE_CHECKING:
    import pytest

    from layersmith.subject import Subject

Expected = Mapping[str, str] | Callable[[Any], Mapping[str, str]]


def check_module(
    module: Any,
    inputs: Any = None,
    *,
    expected_failures: Mapping[str, str] | None = None,
    on_fail: Literal["raise", "warn"] | None = "raise",
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
) -> Report:
    """Ask every rule about a module, in the manner of scikit-learn's `check_estimator`.

    Args:
        module: a module, a class, or a function without arguments that builds one.
        inputs: as for `layersmith.check`; None: they are found out.
        expected_failures: rule -> why it is expected to fail here; such a rule is skipped with that reason.
        on_fail: "raise" a CheckError that names every error, "warn" instead, or do neither.
        select: ids or groups of the rules to run; none: all.
        ignore: ids or groups of rules to leave out.

    Returns:
        The report: `report.subjects[0].results` has a Result a rule.

    Raises:
        CheckError: an AssertionError, if a rule fails at error severity and `on_fail` is "raise".
        UsageError: for an unknown rule, a missing reason or another value of `on_fail`.

    Example:
        >>> import torch
        >>> from layersmith.testing import check_module
        >>> check_module(torch.nn.Linear(10, 5), torch.randn(32, 10), ignore=["compile"]).ok
        True
    """
    if on_fail not in {"raise", "warn", None}:
        raise UsageError(f"on_fail must be 'raise', 'warn' or None, not {on_fail!r}")
    report = api.check(module, inputs, select=select, ignore=ignore, waive=expected_failures)
    if on_fail == "raise":
        report.raise_for_failures()
    elif on_fail == "warn":
        for subject, result, finding in report.findings():
            warnings.warn(f"{subject.name}: {result.rule}: {finding.message}", stacklevel=2)
    return report


def parametrize_with_checks(
    modules: Iterable[Any],
    *,
    expected_failures: Expected | None = None,
    xfail_strict: bool | None = None,
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
) -> pytest.MarkDecorator:
    """Pytest decorator: one test a module and rule, with ids such as `Block-batch-leak`.

    The test gets `module` and `check`, and calls `check(module)`. A rule that fails at error severity fails the test,
    one that does not apply skips it.

    Args:
        modules: modules, classes, functions that build one, or pairs of one of these and its inputs.
        expected_failures: rule -> reason, for all; or a function from a module to such a mapping. Marked xfail.
        xfail_strict: whether an expected failure that passes fails the test; None: as pytest is configured.
        select: ids or groups of the rules to ask; none: all.
        ignore: ids or groups of rules to leave out.

    Raises:
        UsageError: for an unknown rule or a missing reason.

    Example:
        >>> from torch import nn
        >>> from layersmith.testing import parametrize_with_checks
        >>> @parametrize_with_checks([nn.ReLU(), nn.Linear(4, 2)], ignore=["compile"])
        ... def test_layers(module, check):
        ...     check(module)
    """
    import pytest  # noqa: PLC0415 - an extra

    rules = chosen(select=select, ignore=ignore)
    strict: dict[str, Any] = {} if xfail_strict is None else {"strict": xfail_strict}
    parameters = []
    for module in modules:
        reasons = _reasons(module, expected_failures)
        about = Module(*module) if isinstance(module, tuple) else Module(module)
        for rule in rules:
            marks = [pytest.mark.xfail(reason=reasons[rule], **strict)] if rule in reasons else []
            parameters.append(
                pytest.param(module, Check(rule, about), id=f"{name_of(about.target)}-{rule}", marks=marks)
            )
    return pytest.mark.parametrize(("module", "check"), parameters)


@dataclass(slots=True)
class Module:
    """One module under test; its Subject is found when the first rule is asked."""

    target: Any
    inputs: Any = None
    _subject: Subject | None = None

    @property
    def subject(self) -> Subject:
        """How it is built and called."""
        self._subject = self._subject or api.subject_of(self.target, self.inputs)
        return self._subject


@dataclass(frozen=True, slots=True)
class Check:
    """One rule, to be called with the module: returns, raises CheckError, or raises SkipTest."""

    rule: str
    about: Module

    def __call__(self, module: Any) -> None:
        """Ask the rule, after those that it needs first.

        Raises:
            CheckError: if it fails at error severity, or crashes.
            SkipTest: if it does not apply.
        """
        from layersmith import registry, runner  # noqa: PLC0415 - imports torch

        if (module[0] if isinstance(module, tuple) else module) is not self.about.target:
            raise UsageError("call check(module) with the module that came with it")
        *_, result = runner.run(self.about.subject, registry.with_prerequisites([self.rule]))
        if result.outcome is Outcome.SKIP:
            raise unittest.SkipTest(result.why)
        if result.outcome is Outcome.BROKEN:
            raise CheckError(f"{self.rule} itself crashed, please report it:\n{result.why}")
        if errors := [*_lines(result, Severity.ERROR)]:
            raise CheckError("\n".join(errors))
        for line in _lines(result, Severity.WARNING):
            warnings.warn(line, stacklevel=2)


def _lines(result: Result, severity: Severity) -> Iterator[str]:
    for finding in result.findings:
        if result.severity_of(finding) is severity:
            place = f" ({finding.file}:{finding.line})" if finding.line else ""
            fix = f"\nfix: {finding.fix}" if finding.fix else ""
            yield f"{result.rule}: {finding.message}{place}{fix}"


def _reasons(module: Any, expected: Expected | None) -> Mapping[str, str]:
    reasons = (expected(module) if callable(expected) else expected) or {}
    for rule, reason in reasons.items():
        nearest(rule, rule_files())
        if not isinstance(reason, str) or not reason.strip():
            raise UsageError(f"the expected failure of {rule!r} needs a reason: {{{rule!r}: 'why'}}")
    return reasons


def name_of(target: Any) -> str:
    """What the target is called in the id of a test."""
    return str(getattr(target, "__name__", type(target).__name__))
