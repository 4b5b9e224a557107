"""A rule's page in Markdown, made of the rule's file alone: nothing is imported."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from layersmith import registry


@dataclass(frozen=True, slots=True)
class Page:
    """What a rule's file says."""

    id: str
    group: str
    severity: str
    since: str
    doc: str
    examples: tuple[tuple[str, str], ...]  # (text that is reported, or "" if accepted; source of the class)

    @property
    def title(self) -> str:
        """The first line: what a good module does."""
        return self.doc.partition("\n")[0]

    def markdown(self) -> str:
        """The whole page."""
        title, _, rest = self.doc.partition("\n")
        lines = [
            f"# {self.id}",
            f"**{title}**",
            f"Group {self.group}, severity {self.severity}, since {self.since}.",
        ]
        lines.append(rest.strip())
        for expect, source in self.examples:
            heading = f'## Reported: "{expect}"' if expect else "## Accepted"
            lines += [heading, f"```python\n{source}\n```"]
        return "\n\n".join(lines) + "\n"


def pages(ids: Iterable[str]) -> list[Page]:
    """The pages of these rules, by group and name."""
    files = registry.rule_files()
    return sorted((read(files[id_]) for id_ in ids), key=lambda page: (page.group, page.id))


def index(pages: Iterable[Page], *, link: str = "{id}") -> str:
    """A table of rules in Markdown; `link` is how a name is written, such as "[{id}]({id}.md)"."""
    lines = ["| rule | group | severity | what a good module does |", "|---|---|---|---|"]
    lines += [
        f"| {link.format(id=page.id)} | {page.group} | {page.severity} | {page.title} |" for page in pages
    ]
    return "\n".join(lines) + "\n"


def read(path: Path) -> Page:
    """The page of the rule in that file."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    body = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == path.stem)
    keywords = _keywords(body)
    examples = [
        (_expected(decorator), _source(text, node))
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        for decorator in node.decorator_list
        if _is_example(decorator, path.stem)
    ]
    return Page(
        path.stem.replace("_", "-"),
        path.parent.name,
        keywords.get("severity", "").rpartition(".")[2].lower(),
        keywords.get("since", "").strip("'\""),
        inspect.cleandoc(ast.get_docstring(tree) or ""),
        tuple(examples),
    )


def _keywords(function: ast.FunctionDef) -> dict[str, str]:
    calls = [decorator for decorator in function.decorator_list if isinstance(decorator, ast.Call)]
    return {word.arg: ast.unparse(word.value) for call in calls for word in call.keywords if word.arg}


def _is_example(decorator: ast.expr, rule: str) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return isinstance(called, ast.Attribute) and ast.unparse(called.value) == rule


def _expected(decorator: ast.expr) -> str:
    arguments = decorator.args if isinstance(decorator, ast.Call) else []
    return str(ast.literal_eval(arguments[0])) if arguments else ""


def _source(text: str, node: ast.ClassDef) -> str:
    return "\n".join(text.splitlines()[node.lineno - 1 : node.end_lineno])
