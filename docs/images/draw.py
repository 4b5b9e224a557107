"""Draw docs/images/check.svg: what `layersmith check examples/tutorial.py` prints, as it looks in a terminal.

python docs/images/draw.py
"""

from __future__ import annotations

import io
import re
from pathlib import Path

from rich.console import Console

import layersmith

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Check the tutorial and keep the terminal's picture."""
    console = Console(
        record=True, width=80, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print("[bold]$ layersmith check examples/tutorial.py[/bold]\n", highlight=False)
    console.print(layersmith.check("examples/tutorial.py"))
    svg = console.export_svg(title="layersmith")
    # The fonts that rich would fetch from the web are left out: any monospaced one will do.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    (ROOT / "docs" / "images" / "check.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
