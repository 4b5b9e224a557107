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
_FLAGS = re.compile(r"^(self\.)?_?(FLAGS|flags|hps?|hyp)$")
_SWITCHES = {"store_true": False, "store_false": True}
UNKNOWN = object()  # what nothing says
Settings = Mapping[str, Any]


def told(names: Iterable[str], cls: type, *, fewest: int = 2) -> dict[str, Any]:
    """The values that one place in the project gives to most of these settings; nothing where none has `fewest`."""
    wanted = frozenset(names)
    file = Path(source.file_of(cls)).resolve()
    folder = project.folder_of(file)
    if folder is None or len(wanted) < fewest:
        return {}
    paths = [file, *project.files_of(folder, (".py",)), *project.files_of(folder, _FILES)]
    best: dict[str, Any] = {}
    for path in dict.fromkeys(paths):
        words = _words(path) if len(best) < len(wanted) else frozenset()
        if len(wanted & words) <= max(len(best), fewest - 1):
            continue
        for place in sorted(_places(path), key=len):  # the one that says the least beside it
            known = {name: place[name] for name in wanted if isinstance(place.get(name), _PLAIN)}
            best = known if len(known) > len(best) else best
    if len(best) < fewest:
        return {}
    return best | {name: value for name, value in _of_class(folder, cls.__name__).items() if name in wanted}


@functools.lru_cache(maxsize=64)
def _of_class(folder: Path, name: str) -> dict[str, Any]:
    """What is set for one class alone: `if args.model == "Net": args.depth = 20`."""
    found: dict[str, Any] = {}
    for path in project.files_of(folder, (".py",)):
        text = project.text_of(path)
        if f"'{name}'" not in text and f'"{name}"' not in text:
            continue
        for node in ast.walk(source.tree_of(str(path))):
            asked = [*ast.walk(node.test)] if isinstance(node, ast.If) else []
            if isinstance(node, ast.If) and any(getattr(part, "value", None) == name for part in asked):
                of_settings = [part for part in node.body if isinstance(part, ast.Assign) and _sets(part)]
                found |= dict(_assigned(of_settings))
    return found


def _sets(node: ast.Assign) -> bool:
    target = node.targets[0]
    return isinstance(target, ast.Attribute) and is_of_settings(target.value)


@functools.lru_cache(maxsize=512)
def option(name: str, file: Path) -> Any:
    """What a parser or another place of settings gives to one of them, that of a file itself first; UNKNOWN if none."""
    folder = project.folder_of(file)
    paths = (
        [file, *project.files_of(folder, (".py",)), *project.files_of(folder, _FILES)] if folder else [file]
    )
    for path in dict.fromkeys(paths):
        if name not in _words(path):
            continue
        for place in _places(path):
            if isinstance(place.get(name), _PLAIN):
                return place[name]
    return UNKNOWN


def is_of_settings(node: ast.expr) -> bool:
    """Whether an expression names an object of settings: `args`, `self.opt`, `FLAGS`, `config["model"]`."""
    return bool(_CONFIG.search(ast.unparse(node)) or _FLAGS.search(ast.unparse(node)))


@functools.lru_cache(maxsize=512)
def _words(path: Path) -> frozenset[str]:
    """The words of a file; those of options as attributes: `num_atoms` of `--num-atoms`."""
    text = project.text_of(path)
    return frozenset(re.findall(r"\w+", text)) | {
        option.replace("-", "_") for option in re.findall(r"--([a-zA-Z][\w\-]*)", text)
    }


def structured(said: Settings, guessed: Settings) -> dict[str, Any]:
    """The lists and texts of what is said, as they belong together, if one of them is of another form than its guess."""
    shared = {name: value for name, value in said.items() if name in guessed}
    if all(_form(value) == _form(guessed[name]) for name, value in shared.items()):
        return {}
    kinds = (list, tuple, str)
    return {
        n: value for n, value in shared.items() if isinstance(value, kinds) or isinstance(guessed[n], str)
    }


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
        action = getattr(words.get("action"), "value", "")
        if action in _SWITCHES:
            words.setdefault("default", ast.Constant(_SWITCHES[action]))
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
