"""The report as JSON, schema 1."""

from __future__ import annotations

import json
from typing import TextIO

from layersmith.report import Report


def write(report: Report, file: TextIO) -> None:
    """Write the report as indented JSON: strict, so without NaN or infinity."""
    json.dump(report.to_dict(), file, indent=2, allow_nan=False)
    file.write("\n")
