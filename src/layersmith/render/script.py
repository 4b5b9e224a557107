"""The report as Python scripts: each failure shown without Layersmith."""

from __future__ import annotations

from typing import TextIO

from layersmith.report import Report


def write(report: Report, file: TextIO) -> None:
    """Write a script for every failing result, and a comment where there is none to write."""
    for subject in report.subjects:
        for result in subject.results:
            if not result.findings:
                continue
            place = f" ({subject.file}:{subject.line})" if subject.line else ""
            file.write(f"# {subject.name}{place}: {result.rule}: {result.findings[0].message}\n")
            file.write(f"{result.script or '# no script can be written for this'}\n")
    if not any(result.findings for subject in report.subjects for result in subject.results):
        skipped = [subject for subject in report.subjects if subject.why]
        whys = "".join(f"; {subject.name} {subject.status}: {subject.why}" for subject in skipped)
        file.write(f"# nothing failed: nothing to reproduce{whys}\n".replace("\n ", " "))
