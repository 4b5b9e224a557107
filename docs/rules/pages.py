"""Writes the pages of this folder from the rules' own files: `python docs/rules/pages.py`."""

from __future__ import annotations

from pathlib import Path

from layersmith import registry
from layersmith.render import rule_page

FOLDER = Path(__file__).parent
INTRODUCTION = """\
# Rules

What `layersmith check` asks of a module: an *error* is a broken promise, a *warning* almost surely a bug, a *note* worth
knowing. These pages are made from the rules' files; `layersmith explain RULE` shows the same.

"""


def written() -> dict[str, str]:
    """Every page by its file name."""
    pages = rule_page.pages(registry.rule_files())
    table = rule_page.index(pages, link="[{id}]({id}.md)")
    return {"README.md": INTRODUCTION + table} | {f"{page.id}.md": page.markdown() for page in pages}


if __name__ == "__main__":
    for stale in FOLDER.glob("*.md"):
        stale.unlink()
    for name, text in written().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
