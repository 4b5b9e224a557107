"""The report as JSON, schema 1."""

from __future__ import annotations

import json
from typing import TextIO

from layersmith.render import overview
from layersmith.report import Report


def write(report: Report, file: TextIO) -> None:
    """Write the report as indented JSON: strict, so without NaN or infinity."""
    found = report.to_dict()
    subjects = found.pop("subjects")
    told = {**found, "overview": overview.plain(report), "subjects": subjects}
    json.dump(told, file, indent=2, allow_nan=False)
    file.write("\n")
