"""pytest's `--layersmith TARGET`: one test a class and rule, without writing any; imports nothing until asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from layersmith.testing import Check


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("layersmith", "Layersmith's rules as tests")
    group.addoption(
        "--layersmith",
        action="append",
        default=[],
        metavar="TARGET",
        help="ask every rule about the classes of file.py, file.py::Class or package.module:Class",
    )
    group.addoption("--layersmith-select", default="", metavar="RULES", help="only these rules or groups")
    group.addoption("--layersmith-ignore", default="", metavar="RULES", help="not these rules or groups")


def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Append a test for every class and rule that was asked for."""
    if texts := config.getoption("--layersmith"):
        items.extend(_items(session, config, texts))


def _items(session: pytest.Session, config: pytest.Config, texts: list[str]) -> Iterator[pytest.Item]:
    from layersmith import registry, testing  # noqa: PLC0415 - costs nothing when unused
    from layersmith.errors import LayersmithError  # noqa: PLC0415 - as above
    from layersmith.load import discovery, importing, target  # noqa: PLC0415 - as above

    try:
        rules = registry.chosen(
            select=config.getoption("--layersmith-select"), ignore=config.getoption("--layersmith-ignore")
        )
        for one in (found for text in texts for found in target.parse(text)):
            for cls in discovery.classes(importing.import_target(one), one.name):
                about = testing.Module(cls)
                for rule in rules:
                    check = testing.Check(rule, about)
                    yield _Item.from_parent(session, name=f"{testing.name_of(cls)}-{rule}", check=check)
    except LayersmithError as error:
        raise pytest.UsageError(str(error)) from error


class _Item(pytest.Item):
    """One rule on one class."""

    def __init__(self, *, check: Check, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.check = check

    def runtest(self) -> None:
        self.check(self.check.about.target)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> str:
        del style  # it is ours: the module's own frames say nothing
        return str(excinfo.value)

    def reportinfo(self) -> tuple[str, int | None, str]:
        return "layersmith", None, self.name
