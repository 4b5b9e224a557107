"""The commands of README.md and docs/ do what the text says they do, or at least run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from layersmith.cli.main import verbs
from tests.conftest import Ended

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line.partition("#")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("layersmith ")
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_runs(layersmith: Callable[..., Ended], command: str) -> None:
    ended = layersmith(*shlex.split(command)[1:], cwd=ROOT)
    assert ended.code in {0, 1}, ended.err
    assert ended.out
    assert "Traceback" not in ended.err


def test_the_readme_names_every_verb_and_no_other() -> None:
    assert set(re.findall(r"\| `layersmith (\w+) \w+` \|", README)) == set(verbs())


def test_relative_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
