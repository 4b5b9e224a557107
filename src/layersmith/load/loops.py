"""What a project's training loops do with what a class returns."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

from layersmith.load.constructor import sites
from layersmith.probe import source

Place = tuple[str, int]


def trained_by_scores(cls: type) -> Place | None:
    """Where, in its file or one that imports it, a cross entropy of torch gets what an object of the class returned."""
    files = dict.fromkeys([source.file_of(cls), *(site.file for site in sites.elsewhere(cls))])
    found = ((file, line) for file in files for line in _lines(cls.__name__, source.tree_of(file)))
    return next(found, None)


def _lines(name: str, tree: ast.Module) -> Iterator[int]:
    made = [(ast.unparse(node.targets[0]), node.value) for node in _assignments(tree)]
    models = _only(made, lambda value: name in _called(value))
    criteria = _only(made, lambda value: "CrossEntropyLoss" in _called(value))
    outputs = _only(made, lambda value: _is_plain_call(value, models))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            function, first = ast.unparse(node.func), node.args[0]
            is_scored = function in criteria or function.endswith("cross_entropy")
            if is_scored and (_is_plain_call(first, models) or ast.unparse(first) in outputs):
                yield node.lineno


def _is_plain_call(node: ast.expr, models: set[str]) -> bool:
    """Whether it calls one of them and chooses nothing: `net(x, return_logits=True)` may return something else."""
    if not isinstance(node, ast.Call) or ast.unparse(node.func) not in models:
        return False
    given = (*node.args, *(word.value for word in node.keywords))
    return not any(isinstance(one, ast.Constant) for one in given)


def _assignments(tree: ast.Module) -> Iterator[ast.Assign]:
    return (one for one in ast.walk(tree) if isinstance(one, ast.Assign) and len(one.targets) == 1)


def _only(made: list[tuple[str, ast.expr]], is_wanted: Callable[[ast.expr], bool]) -> set[str]:
    """The names that are given nothing but what is wanted."""
    names = {name for name, value in made if is_wanted(value)}
    return names - {name for name, value in made if not is_wanted(value)}


def _called(node: ast.expr) -> set[str]:
    """The names of what is called in `Net(3).to(device)`."""
    calls = [one.func for one in ast.walk(node) if isinstance(one, ast.Call)]
    return {getattr(one, "attr", getattr(one, "id", "")) for one in calls}
