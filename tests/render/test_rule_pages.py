"""The rules' pages: those in docs are the rules' own, and the lists can be filtered."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path

from layersmith.registry import rule_files
from tests.conftest import Ended

FOLDER = Path(__file__).parents[2] / "docs" / "rules"


def test_the_pages_in_docs_are_those_of_the_rules() -> None:
    written = runpy.run_path(str(FOLDER / "pages.py"))["written"]()
    found = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")}
    assert found == written, "run: python docs/rules/pages.py"


def test_rules_lists_all_or_a_group_or_a_severity(layersmith: Callable[..., Ended]) -> None:
    assert layersmith("rules", "--names").out.split() == [*sorted(rule_files(), key=_place)]
    registration = layersmith("rules", "registration", "--names").out.split()
    assert registration == sorted(id_ for id_ in rule_files() if _place(id_)[0] == "registration")
    errors = layersmith("rules", "registration", "--severity", "error").out
    assert "unregistered-parameter | registration | error" in errors
    assert "| warning |" not in errors


def test_a_wrong_filter_is_a_wrong_request(layersmith: Callable[..., Ended]) -> None:
    ended = layersmith("rules", "registraton")
    assert (ended.code, "did you mean 'registration'" in ended.err) == (2, True)


def _place(id_: str) -> tuple[str, str]:
    return rule_files()[id_].parent.name, id_
