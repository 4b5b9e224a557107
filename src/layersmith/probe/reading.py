"""What a forward's own source says about its axes, its containers and what it builds: hints, never proof."""

from __future__ import annotations

import ast
import functools
import linecache
import re
from collections.abc import Iterator

from torch import nn

from layersmith.probe import source

TIME = r"(?:t|l|s|w|seq\w*|src_len|tgt_len|time\w*|steps?|length|max_len|win_len|num_steps)"
BATCH = r"(?:b|n|bs|bsz|batch\w*)"
TIME_FIRST = re.compile(rf"[\[(]\s*{TIME}\s*[,x*]\s*{BATCH}\s*[,x*\])]", re.IGNORECASE)
BATCH_FIRST = re.compile(rf"[\[(]\s*{BATCH}\s*[,x*]\s*{TIME}\s*[,x*\])]", re.IGNORECASE)
BATCH_COMES_FIRST = r"[\[(]\s*(?i:b|bs|bsz|batch\w*)\s*,"  # as a docstring gives a shape
FILLING = r"(?:init\.\w|\.data\b|_\()"  # how a parameter is given values: nn.init, `.data = `, `.fill_(`
QUICK = 100_000  # numbers drawn in a few milliseconds
BATCH_SIZE = re.compile(r"^(?:b|bs|bsz|bz|batch|batch_size|n_batch|nbatch)$", re.IGNORECASE)
FIRST_SIZE = re.compile(r"\.size\((?:dim=)?0\)$|\.shape\[0\]$|^len\(")
SECOND_SIZE = re.compile(r"\.size\((?:dim=)?1\)$|\.shape\[1\]$")
POSITIONS_SECOND = re.compile(
    r"\barange\((?:0, *)?\w+\.(?:shape\[1\]|size\(1\))|\[:, *:\w+\.(?:shape\[1\]|size\(1\))\]"
)
PAIR = re.compile(r"\b(\w+)\[0\].*\b\1\[1\]")  # cosines and sines in one tensor


@functools.lru_cache(maxsize=512)
def axis_hint(cls: type) -> str:
    """What a class says of its input's first axis: "batch", "time", or "" when it says nothing or both.

    Read from comments and docstrings such as `(T, B, D)`, from `batch_size = x.size(0)`, from `out[:, -1]`
    (the last step of a batch-first output), from positions counted along the second axis (`arange(x.shape[1])`), and
    from loops over the input, which go over time. What a docstring says goes before what stands in the code.
    """
    node = source.class_node(cls)
    if node is None:
        return ""
    documented = (one for one in (node, *_methods(node)) if isinstance(one, ast.ClassDef | ast.FunctionDef))
    said = "\n".join(ast.get_docstring(one) or "" for one in documented)
    rows, steps = BATCH_FIRST.search(said), TIME_FIRST.search(said)
    if steps and (not rows or steps.start() < rows.start()):  # inputs come first, before masks and outputs
        return "time"
    if not steps and (rows or re.search(BATCH_COMES_FIRST, said)):
        return "batch"
    text = source.text_of(cls)
    batch = bool(BATCH_FIRST.search(text) or POSITIONS_SECOND.search(text)) or any(
        _says_batch(part) for part in ast.walk(node)
    )
    time = bool(TIME_FIRST.search(text)) or _loops_over_input(node) or any(map(_says_time, ast.walk(node)))
    return "" if batch == time else "batch" if batch else "time"


def batch_first(part: nn.Module) -> bool | None:
    """Its attribute of that name, which a class may keep as 0 or 1; None where it has none."""
    value = getattr(part, "batch_first", None)
    return bool(value) if isinstance(value, int) else None


def has_batch_of_graphs(module: nn.Module, ranks: list[int]) -> bool:
    """Whether it says that a batch comes first, as in `x: (batch, nodes, features)`, and all inputs have axes for it."""
    return min(ranks, default=0) >= 3 and says(module, BATCH_COMES_FIRST)  # noqa: PLR2004 - those three


def construction_line(module: nn.Module) -> tuple[str, int]:
    """Where a method other than `__init__` makes a layer or parameter of torch.nn; the class's own line otherwise."""
    for part in nn.Module.modules(module):
        cls: type = type(part)
        node = source.class_node(cls) if not _is_torchs(cls) else None
        for method in _methods(node) if node is not None else ():
            lines = [
                part.lineno for part in ast.walk(method) if isinstance(part, ast.Call) and _makes_layer(part)
            ]
            if lines and method.name != "__init__":
                return source.file_of(cls), min(lines)
    return source.class_line(type(module))


def line_with(module: nn.Module, pattern: str) -> tuple[str, int]:
    """The first line of a method other than `__init__` that matches, in any class of the tree; else the class's."""
    for part in nn.Module.modules(module):
        cls: type = type(part)
        node = source.class_node(cls) if not _is_torchs(cls) else None
        for method in _methods(node) if node is not None else ():
            for line in range(method.lineno, (method.end_lineno or 0) + 1):
                if method.name != "__init__" and re.search(
                    pattern, linecache.getline(source.file_of(cls), line)
                ):
                    return source.file_of(cls), line
    return source.class_line(type(module))


def line_matching(
    module: nn.Module, pattern: str, *, default: tuple[str, int] | None = None
) -> tuple[str, int]:
    """The first line of code that matches: in a class of the tree, else elsewhere in their files; else `default`.

    Lines of imports do not count. Without a default it is the line of the module's class.
    """
    for file, span in _spans(module):
        for line in span:
            code = linecache.getline(file, line).partition("#")[0]
            if not code.lstrip().startswith(("import ", "from ", "def ", "class ")) and re.search(
                pattern, code
            ):
                return file, line
    return default or source.class_line(type(module))


def drawn_line(root: nn.Module, path: str) -> tuple[str, int]:
    """Where the user's own code gives a parameter its first values, else where it makes it."""
    *_, holder, leaf = ["", *path.split(".")]
    place = source.parameter_line(root, path)
    for name in (rf"{holder}\.{leaf}\b", rf"self\.{leaf}\b", rf"\.{leaf}\b"):
        found = line_matching(root, rf"{name}.*{FILLING}|{FILLING}.*{name}", default=("", 0))
        if found[1] and found[0] == (place[0] or found[0]):
            return found
    return place


def spelled(path: str) -> str:
    """`layers.0.weight` as code in a class writes it: `self.layers[0].weight`."""
    text = "self"
    for part in path.split("."):
        text += f".{part}" if part.isidentifier() else f"[{part}]" if part.isdigit() else f'["{part}"]'
    return text


def mentions(module: nn.Module, pattern: str) -> bool:
    """Whether the file of any class of the tree, torch's own left aside, has a match."""
    files = {source.file_of(cls) for cls in _own(module)} - {""}
    return any(file_mentions(file, pattern) for file in files)


def says(module: nn.Module, pattern: str) -> bool:
    """Whether the source of any class of the tree itself, torch's own left aside, has a match."""
    return any(re.search(pattern, source.text_of(cls)) for cls in _own(module))


def is_quick(module: nn.Module) -> bool:
    """Whether building it again takes no time that matters, by its numbers."""
    return sum(parameter.numel() for parameter in module.parameters()) <= QUICK


def setting_line(
    owner: type, attribute: str, root: nn.Module | None = None, path: str = ""
) -> tuple[str, int]:
    """Where a method other than `__init__` sets `self.<attribute>`, or fills it; else where `__init__` does.

    Of a torch module, where the user's code makes it: given the root, and its path there.
    """
    if root is not None and _is_torchs(owner):
        return source.parameter_line(root, path)
    node = source.class_node(owner)
    fills = re.compile(
        rf"self\.{re.escape(attribute)}(\[.*\])?\s*[-+*/]?=(?!=)|self\.{re.escape(attribute)}\.\w+_?\("
    )
    for method in _methods(node) if node is not None else ():
        for line in range(method.lineno, (method.end_lineno or 0) + 1):
            if method.name != "__init__" and fills.search(linecache.getline(source.file_of(owner), line)):
                return source.file_of(owner), line
    return source.attribute_line(owner, attribute)


def line_anywhere(module: nn.Module, pattern: str) -> tuple[str, int]:
    """The first line of any method, `__init__` too, that matches; else the class's."""
    for part in nn.Module.modules(module):
        cls: type = type(part)
        node = source.class_node(cls) if not _is_torchs(cls) else None
        for method in _methods(node) if node is not None else ():
            for line in range(method.lineno + 1, (method.end_lineno or 0) + 1):
                if re.search(pattern, linecache.getline(source.file_of(cls), line)):
                    return source.file_of(cls), line
    return source.class_line(type(module))


def _own(module: nn.Module) -> list[type]:
    kinds: dict[type, None] = {type(part): None for part in nn.Module.modules(module)}
    return [kind for kind in kinds if not _is_torchs(kind)]


def _spans(module: nn.Module) -> Iterator[tuple[str, range]]:
    files: dict[str, None] = {}
    for kind in _own(module):
        node, file = source.class_node(kind), source.file_of(kind)
        files[file] = None
        if node is not None:
            yield file, range(node.lineno, (node.end_lineno or 0) + 1)
    for file in files:
        yield file, range(1, len(linecache.getlines(file)) + 1 if file else 1)


@functools.lru_cache(maxsize=512)
def file_mentions(file: str, pattern: str) -> bool:
    """Whether the text of a file matches a pattern anywhere."""
    return re.search(pattern, "".join(linecache.getlines(file))) is not None


def _methods(node: ast.ClassDef) -> Iterator[ast.FunctionDef]:
    return (child for child in node.body if isinstance(child, ast.FunctionDef))


def _says_batch(node: ast.AST) -> bool:
    """`batch_size = x.size(0)`, `x.shape[0]`; and `out[:, -1]`."""
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return bool(BATCH_SIZE.match(node.targets[0].id)) and bool(FIRST_SIZE.search(ast.unparse(node.value)))
    if not isinstance(node, ast.Subscript) or not isinstance(node.slice, ast.Tuple):
        return False
    first, second, *_ = [*node.slice.elts, None, None]
    return (
        isinstance(first, ast.Slice) and first.lower is None and first.upper is None and _is_minus_one(second)
    )


def _says_time(node: ast.AST) -> bool:
    """`batch_size = x.size(1)`, also as one of several: `steps, batch_size = x.size(0), x.size(1)`."""
    target, value = (node.targets[0], node.value) if isinstance(node, ast.Assign) else (None, None)
    pairs = [(target, value)]
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        pairs = [*zip(target.elts, value.elts, strict=False)]
    return any(
        isinstance(name, ast.Name) and BATCH_SIZE.match(name.id) and SECOND_SIZE.search(ast.unparse(size))
        for name, size in pairs
        if size is not None
    )


def _is_minus_one(node: ast.expr | None) -> bool:
    return node is not None and ast.unparse(node) == "-1"


def _loops_over_input(node: ast.ClassDef) -> bool:
    """Whether forward goes through an argument's first axis: `for step in x`, `x[t]` for a loop's t."""
    forward = next((method for method in _methods(node) if method.name == "forward"), None)
    if forward is None:
        return False
    arguments = {argument.arg for argument in forward.args.args} - {"self"}
    return any(_goes_through(loop, arguments) for loop in ast.walk(forward) if isinstance(loop, ast.For))


def _goes_through(loop: ast.For, arguments: set[str]) -> bool:
    over = loop.iter.args[0] if isinstance(loop.iter, ast.Call) and loop.iter.args else loop.iter
    if isinstance(over, ast.Name) and over.id in arguments:
        return True
    return isinstance(loop.target, ast.Name) and any(
        isinstance(part, ast.Subscript)
        and isinstance(part.value, ast.Name)
        and part.value.id in arguments
        and isinstance(part.slice, ast.Name)
        and part.slice.id == loop.target.id
        for part in ast.walk(loop)
    )


def _makes_layer(call: ast.Call) -> bool:
    name = ast.unparse(call.func).rpartition(".")[2]
    return isinstance(getattr(nn, name, None), type)


def _is_torchs(cls: type) -> bool:
    return cls.__module__.partition(".")[0] == "torch"


def takes_apart(file: str, line: int) -> bool:
    """Whether a line uses both parts of a pair along axis 0: `t * freqs[0] + turned(t) * freqs[1]`."""
    return bool(line) and PAIR.search(linecache.getline(file, line)) is not None
