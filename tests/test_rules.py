"""Every rule reports its bad examples, accepts its good ones, and no good example troubles any rule."""

from __future__ import annotations

from dataclasses import replace

import pytest
from torch import nn

from layersmith import runner
from layersmith.finding import Outcome, Result
from layersmith.promises import Contract, Promise
from layersmith.registry import all_rules, load, rule_files, with_prerequisites
from layersmith.render import rule_page
from layersmith.rule import Example, Rule
from layersmith.subject import Subject

HEADINGS = ("## Why it matters", "## How it is tested", "## How to fix it", "## How to reproduce it")
RULES = all_rules()
BAD = [pytest.param(r, e, id=f"{r.id}-{e.subject.name}") for r in RULES for e in r.examples if e.expect]
GOOD = [pytest.param(e, id=f"{r.id}-{e.subject.name}") for r in RULES for e in r.examples if not e.expect]


def results(subject: Subject, rules: tuple[Rule, ...] = RULES) -> dict[str, Result]:
    return {result.rule: result for result in runner.run(subject, rules)}


def messages(found: dict[str, Result]) -> str:
    return "\n".join(finding.message for result in found.values() for finding in result.findings)


@pytest.mark.parametrize(("rule", "example"), BAD)
def test_a_bad_example_is_reported_with_its_text(rule: Rule, example: Example) -> None:
    result = results(example.subject, with_prerequisites([rule.id]))[rule.id]
    assert result.outcome is Outcome.FAIL, result.why
    assert any(example.expect in finding.message for finding in result.findings), result.findings


@pytest.mark.parametrize(("rule", "example"), BAD)
def test_a_bad_example_is_not_caught_once_its_rule_is_silent(rule: Rule, example: Example) -> None:
    # Rules that need this one first may see the same cause once it no longer stops them. Those that compile, which
    # takes long, say nothing that another group says.
    others = (
        r for r in RULES if rule.id not in r.after and (r.group != "compile" or rule.group == "compile")
    )
    silent = tuple(replace(other, body=lambda _: ()) if other is rule else other for other in others)
    found = results(example.subject, silent)
    assert found[rule.id].outcome is not Outcome.FAIL
    assert example.expect not in messages(found)


@pytest.mark.parametrize("example", GOOD)
def test_a_good_example_passes_every_rule(example: Example) -> None:
    found = results(example.subject)
    assert not messages(found)
    assert {r.outcome for r in found.values()} <= {Outcome.PASS, Outcome.SKIP}, found


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_rule_is_complete(rule: Rule) -> None:
    assert rule.id == rule.body.__name__.replace("_", "-")
    assert all(heading in rule.doc for heading in HEADINGS)
    assert sum(bool(example.expect) for example in rule.examples) >= 2, "needs two bad examples"
    assert any(not example.expect for example in rule.examples), "needs a good example"
    assert rule.title.endswith(".")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_the_page_read_from_the_file_agrees_with_the_rule(rule: Rule) -> None:
    page = rule_page.read(rule_files()[rule.id])
    assert (page.id, page.group, page.severity, page.since) == (
        rule.id,
        rule.group,
        rule.severity,
        rule.since,
    )
    assert page.doc == rule.doc
    assert [expect for expect, _ in page.examples] == [example.expect for example in rule.examples]


def crashes(case: object) -> list[object]:
    raise ZeroDivisionError("on purpose")


def test_a_rule_that_crashes_is_broken_not_failed() -> None:
    broken = replace(load("input-modified"), body=crashes)  # type: ignore[arg-type]
    result = results(broken.examples[-1].subject, (broken,))[broken.id]
    assert result.outcome is Outcome.BROKEN
    assert "on purpose" in result.why


def test_a_rule_that_runs_out_of_memory_is_skipped_and_says_so() -> None:
    def eats(_case: object) -> None:
        raise RuntimeError(
            "DefaultCPUAllocator: can't allocate memory: you tried to allocate 4624220160 bytes"
        )

    hungry = replace(load("input-modified"), body=eats)  # type: ignore[arg-type]
    result = results(hungry.examples[-1].subject, (hungry,))[hungry.id]
    assert (result.outcome, result.why) == (Outcome.SKIP, "it needs more memory than there is")


def test_when_forward_raises_the_rules_after_it_are_skipped() -> None:
    found = results(load("forward-raises").examples[0].subject)
    assert found.pop("forward-raises").outcome is Outcome.FAIL
    after = {rule.id for rule in RULES if "forward-raises" in rule.after}
    assert len(after) > len(RULES) // 2
    assert {found[id_].outcome for id_ in after} == {Outcome.SKIP}
    assert {found[id_].why for id_ in after} == {
        "after forward-raises failed"
    }  # and not: after what it skipped


@pytest.mark.parametrize("name", ["batch-leak", Promise.INDEPENDENT_ROWS])
def test_a_waived_failure_is_a_skip_with_its_reason(name: str) -> None:
    rule = load("batch-leak")
    subject = replace(rule.examples[0].subject, contract=Contract({name: "compares rows"}))
    result = results(subject)[rule.id]
    assert (result.outcome, result.why) == (Outcome.SKIP, "waived: compares rows")


def test_a_waiver_that_is_no_longer_needed_is_said() -> None:
    good = next(example for example in load("batch-leak").examples if not example.expect)
    result = results(replace(good.subject, contract=Contract({"batch-leak": "why not"})))["batch-leak"]
    assert (result.outcome, result.why) == (Outcome.PASS, runner.STALE_WAIVER)


def test_rules_come_after_what_they_need() -> None:
    seen: set[str] = set()
    for rule in RULES:
        assert set(rule.after) <= seen
        seen.add(rule.id)


def test_the_first_twelve_are_there() -> None:
    assert set(rule_files()) >= {
        "forward-raises",
        "exploding-signal",
        "wrong-gradient",
        "batch-leak",
        "unregistered-parameter",
        "unregistered-buffer",
        "unused-parameter",
        "input-modified",
        "nondeterministic-eval",
        "hard-coded-dtype",
        "state-dict-loss",
        "graph-break",
    }


def test_examples_are_modules() -> None:
    assert all(isinstance(e.subject.build(0), nn.Module) for rule in RULES for e in rule.examples)
