"""What the project says of its settings: config files, parsers, config classes, dicts, and assignments to `cfg.x`."""

from __future__ import annotations

import ast
import functools
import importlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from layersmith.load import project
from layersmith.probe import source

_FILES = (".json", ".yaml", ".yml")
_CONFIG = re.compile(r"config|conf$|cfg|args|arg$|opt|param|setting|^C$|namespace|dict", re.IGNORECASE)
_PLAIN = (int, float, str, bool, list, tuple)
_DEEPEST = 4  # how far sections of a file may nest
_FEWEST = 2  # how many of the wanted settings one place has at least

Settings = Mapping[str, Any]


def told(names: Iterable[str], cls: type) -> dict[str, Any]:
    """The values that one place in the project gives to most of these settings; nothing where none has two of them."""
    wanted = frozenset(names)
    file = Path(source.file_of(cls)).resolve()
    folder = project.folder_of(file)
    if folder is None or len(wanted) < _FEWEST:
        return {}
    paths = [file, *project.files_of(folder, (".py",)), *project.files_of(folder, _FILES)]
    best: dict[str, Any] = {}
    for path in dict.fromkeys(paths):
        words = set(re.findall(r"\w+", project.text_of(path))) if len(best) < len(wanted) else set()
        if len(wanted & words) <= max(len(best), _FEWEST - 1):
            continue
        for place in _places(path):
            known = {name: place[name] for name in wanted if isinstance(place.get(name), _PLAIN)}
            best = known if len(known) > len(best) else best
    return best if len(best) >= _FEWEST else {}


def structured(said: Settings, guessed: Settings) -> dict[str, Any]:
    """The lists and texts of what is said, as they belong together, if one of them is of another form than its guess."""
    shared = {name: value for name, value in said.items() if name in guessed}
    if all(_form(value) == _form(guessed[name]) for name, value in shared.items()):
        return {}
    return {name: value for name, value in shared.items() if isinstance(value, list | tuple | str)}


def _form(value: Any) -> Any:
    """What tells a list of lists, a text and a number apart."""
    if isinstance(value, list | tuple):
        return len(value), _form(value[0]) if value else None
    return isinstance(value, str)


@functools.lru_cache(maxsize=64)
def defaults_of_parser(path: Path) -> dict[str, Any]:
    """`{"embed_dim": 300}` of `parser.add_argument("--embed_dim", default=300)`, for all parsers of a file."""
    found: dict[str, Any] = {}
    for call in (node for node in ast.walk(source.tree_of(str(path))) if isinstance(node, ast.Call)):
        words = {word.arg: word.value for word in call.keywords if word.arg}
        if getattr(call.func, "attr", "") != "add_argument" or "default" not in words:
            continue
        options = [one.value for one in call.args if isinstance(one, ast.Constant)]
        longest = max((str(option) for option in options), key=len, default="")
        found |= dict(_literals([(longest.lstrip("-").replace("-", "_"), words["default"])]))
    return found


def _places(path: Path) -> Iterator[Settings]:
    """Every place of a file that gives values to settings."""
    if path.suffix == ".py":
        yield from _of_source(path)
    else:
        yield from _sections(_parsed(path), 0)


def _parsed(path: Path) -> Any:
    text = project.text_of(path)
    try:
        if path.suffix == ".json":
            return json.loads(text)
        yaml: Any = importlib.import_module("yaml")  # not everyone has it

        return yaml.safe_load(text)
    except Exception:  # noqa: BLE001 - no file of settings, or no reader of it
        return None


def _sections(node: Any, depth: int) -> Iterator[Settings]:
    if not isinstance(node, dict) or depth > _DEEPEST:
        return
    inner = [section for value in node.values() for section in _sections(value, depth + 1)]
    own = {str(key): value for key, value in node.items() if not isinstance(value, dict)}
    together: dict[str, Any] = {}
    for section in inner:
        together = {**section, **together}
    yield from [{**together, **own}, *inner]


def _of_source(path: Path) -> Iterator[Settings]:
    yield defaults_of_parser(path)
    tree = source.tree_of(str(path))
    assigned: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    yield dict(_assigned(tree.body))
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and _CONFIG.search(node.name):
            yield dict(_assigned([part for part in ast.walk(node) if isinstance(part, ast.stmt)]))
        elif isinstance(node, ast.Dict):
            keys = [getattr(key, "value", None) for key in node.keys]
            yield dict(_literals(zip(map(str, keys), node.values, strict=True)))
        elif isinstance(node, ast.Call) and _CONFIG.search(ast.unparse(node.func)):
            yield dict(_literals((word.arg or "", word.value) for word in node.keywords))
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
            owner = ast.unparse(node.targets[0].value)
            assigned[owner] |= dict(_literals([(node.targets[0].attr, node.value)]))
    yield from (found for owner, found in assigned.items() if _CONFIG.search(owner))


def _assigned(body: Iterable[ast.stmt]) -> Iterator[tuple[str, Any]]:
    """`width = 64`, `width: int = 64` and `self.width = 64`."""
    for node in body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        name = getattr(target, "attr", getattr(target, "id", ""))
        value = getattr(node, "value", None)
        if name and isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(value, ast.expr):
            yield from _literals([(name, value)])


def _literals(pairs: Iterable[tuple[str, ast.expr]]) -> Iterator[tuple[str, Any]]:
    for name, node in pairs:
        try:
            yield name, ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError):
            continue
