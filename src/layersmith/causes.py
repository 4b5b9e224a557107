"""One cause, one finding: what several rules saw of the same thing is told once, by the rule nearest to its cause."""

from __future__ import annotations

import dataclasses
import linecache
from collections.abc import Iterable, Iterator

from layersmith.finding import Finding, Outcome, Result, Severity

# The groups from cause to consequence: a tensor that is not registered is lost by the checkpoint, not the reverse.
NEARNESS = (
    "registration mode random arguments forward gradients dtype state sequence promises initialisation compile code"
).split()
DEFINITIONS = ("def ", "async def ", "class ", "@")  # lines that stand for a whole function: no shared cause


def grouped(results: Iterable[Result]) -> tuple[Result, ...]:
    """The results with every finding that shares its cause with a graver or nearer one moved under that one.

    Two findings of different rules share their cause when they blame the same line, or the same parameter, buffer
    or submodule without two lines that differ. A result that keeps no finding of its own is skipped, and says so.
    """
    ordered = tuple(results)
    heads: list[tuple[Result, Finding]] = []
    under: dict[int, list[tuple[Result, Finding]]] = {}
    for result, finding in sorted(_pairs(ordered), key=_rank):
        head = next((i for i, kept in enumerate(heads) if _is_one_cause(kept, (result, finding))), None)
        if head is None:
            heads.append((result, finding))
        else:
            under.setdefault(head, []).append((result, finding))
    told = {id(finding): _telling(finding, under.get(i, [])) for i, (_, finding) in enumerate(heads)}
    causes = {id(finding): heads[i][0].rule for i, pairs in under.items() for _, finding in pairs}
    return tuple(_kept(result, told, causes) for result in ordered)


def _pairs(results: Iterable[Result]) -> Iterator[tuple[Result, Finding]]:
    for result in results:
        yield from ((result, finding) for finding in result.findings)


def _rank(pair: tuple[Result, Finding]) -> tuple[int, int]:
    result, finding = pair
    nearness = NEARNESS.index(result.group) if result.group in NEARNESS else len(NEARNESS)
    return [*Severity].index(result.severity_of(finding)), nearness


def _is_one_cause(one: tuple[Result, Finding], other: tuple[Result, Finding]) -> bool:
    (a_result, a), (b_result, b) = one, other
    if a_result.rule == b_result.rule:
        return False
    if a.line and b.line:
        return (a.file, a.line) == (b.file, b.line) and not _is_definition(a.file, a.line)
    return a.where == b.where and _is_a_part(a.where)


def _is_a_part(where: str) -> bool:
    """Whether this names a parameter, buffer or submodule, rather than an output or an input."""
    return bool(where) and not where.startswith(("output", "input"))


def _is_definition(file: str, line: int) -> bool:
    return linecache.getline(file, line).lstrip().startswith(DEFINITIONS)


def _telling(finding: Finding, others: list[tuple[Result, Finding]]) -> Finding:
    also = (*finding.also_seen_as, *(f"{result.rule}: {other.message}" for result, other in others))
    return dataclasses.replace(finding, also_seen_as=also)


def _kept(result: Result, told: dict[int, Finding], causes: dict[int, str]) -> Result:
    findings = tuple(told[id(finding)] for finding in result.findings if id(finding) in told)
    if findings or not result.findings:
        return dataclasses.replace(result, findings=findings)
    names = dict.fromkeys(causes[id(finding)] for finding in result.findings)
    return dataclasses.replace(
        result, outcome=Outcome.SKIP, findings=(), why=f"same cause as {', '.join(names)}"
    )
