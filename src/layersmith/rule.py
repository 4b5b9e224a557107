"""A rule: one question asked of a Case, with its page, its examples and what it needs first."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar, overload

import torch
from torch import nn

from layersmith.finding import Finding, Severity
from layersmith.load.constructor.search import construct
from layersmith.probe.inputs import Inputs
from layersmith.promises import Promise, contract_of
from layersmith.subject import Case, Construction, Subject

Body = Callable[[Case], Iterable[Finding]]
Reading = Callable[[type], Iterable[Finding]]
M = TypeVar("M", bound=type[nn.Module])


def _rows_of_features() -> object:
    return torch.randn(4, 6)


NOT_PROMISED = "not promised"


class NotApplicable(Exception):  # noqa: N818 - nothing went wrong
    """Raised by a rule that has nothing to ask of this module; its text says why, and the result is SKIP."""


def promised(case: Case, name: str, *, is_of_one: bool = True) -> Any:
    """What the contract of the case states under that keyword.

    Args:
        case: of the module.
        name: the keyword.
        is_of_one: what stands in words is asked of one input only.

    Raises:
        NotApplicable: if it states nothing.
    """
    contract = case.subject.contract
    if name not in contract.declared:
        raise NotApplicable(NOT_PROMISED)
    if name in contract.stated and is_of_one and not _is_of_one_input(case):
        raise NotApplicable(
            "what a docstring states in words is asked where one input is all that is known to vary"
        )
    return contract.declared[name]


def _is_of_one_input(case: Case) -> bool:
    tensors = [*case.inputs.tensors()]
    return not case.subject.doubt and len(tensors) == 1 and tensors[0].is_floating_point()


@dataclass(frozen=True, slots=True)
class Example:
    """A module that a rule must accept (`expect` is "") or must report with that text."""

    subject: Subject
    expect: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """One question, and everything that is known about it."""

    id: str
    group: str
    doc: str
    severity: Severity
    since: str
    promise: Promise
    after: tuple[str, ...]  # rules that must not have failed: one cause, one finding
    body: Body
    examples: list[Example] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)  # what the source alone says, by class

    def by_source(self, reading: Reading) -> Reading:
        """Function decorator: what to say of a class that there was no way to build or to call."""
        self.readings.append(reading)
        return reading

    @property
    def title(self) -> str:
        """What a good module does: the first line of the rule's page."""
        return self.doc.partition("\n")[0]

    def bad(self, expect: str, *, inputs: Callable[[], object] = _rows_of_features) -> Callable[[M], M]:
        """Class decorator: this rule must report the class, with `expect` in a message."""
        return lambda cls: self._keep(cls, inputs, expect)

    @overload
    def good(self, cls: M) -> M: ...
    @overload
    def good(self, *, inputs: Callable[[], object] = ...) -> Callable[[M], M]: ...
    def good(self, cls: Any = None, *, inputs: Callable[[], object] = _rows_of_features) -> Any:
        """Class decorator: this rule, and every other, must accept the class."""
        return self._keep(cls, inputs, "") if cls else lambda later: self._keep(later, inputs, "")

    def _keep(self, cls: M, inputs: Callable[[], object], expect: str) -> M:
        home = sys.modules[cls.__module__]
        frame = inspect.currentframe()  # its caller knows the line, for which inspect would read the file
        while frame is not None and frame.f_globals is not vars(home):
            frame = frame.f_back
        subject = Subject(
            cls.__name__,
            lambda _: construct(cls, {}),
            lambda _: Inputs.of(inputs()),
            home.__file__ or "",
            frame.f_lineno if frame is not None else 0,
            contract_of(cls),
            construction=Construction(cls, {}, construct, f"{cls.__name__}()"),
        )
        self.examples.append(Example(subject, expect))
        return cls


def rule(
    *,
    severity: Severity,
    since: str,
    promise: Promise,
    after: tuple[str, ...] = ("forward-raises",),
) -> Callable[[Body], Rule]:
    """Make a rule of a function; its id, group and page come from its file.

    Args:
        severity: of its findings, unless a finding says otherwise.
        since: the version of Layersmith that first had it.
        promise: what a module breaks by failing it.
        after: ids of the rules that must not have failed, or this one is skipped.
    """

    def make(body: Body) -> Rule:
        *_, group, stem = body.__module__.split(".")
        doc = inspect.cleandoc(sys.modules[body.__module__].__doc__ or "")
        return Rule(stem.replace("_", "-"), group, doc, severity, since, promise, after, body)

    return make
