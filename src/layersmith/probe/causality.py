"""Whether a module means to be causal, and how far its earlier outputs move with later steps of its input."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from layersmith.probe import closeness, executed, reading, sequence, source, steps, tree
from layersmith.probe.inputs import Inputs
from layersmith.probe.sequence import LOUD, Layout, Run

FLAGS = frozenset({"causal", "is_causal", "autoregressive", "mask_future", "unidirectional"})
TRIANGLE = re.compile(
    r"\btri[lu]_?\(|square_subsequent_mask|subsequent_mask\(|is_causal\s*=\s*True|\bChomp1d\("
)
CAUSAL = re.compile(
    r"(?<!Non)(?<!Un)Causal(?![a-z])(?!Inference|Discovery|Effect|Graph|VAE|LM)|^GPT|GPT$|(?<=[a-z])GPT"
)
OPENED = re.compile(
    r"\b(\w+) = [^\n]*\btri[lu]_?\((?s:.*)\b\1\[[^\]\n]*:[^\]\n]*\] = (?:1|0|True|False|0\.0|1\.0)\b"
)
BY_TRIANGLE = re.compile(r"Decoder|Masked|GPT|Autoregressive|LanguageModel|CausalLM")
SUSPECT = r"\btri[lu]_?\(|subsequent_mask|is_causal|masked_fill|padding\s*=|\bpad\("
AUTOREGRESSIVE = re.compile(r"(?<!Non)(?<![a-z]non)Auto[rR]egressive(?![a-z]|.*(?:Flow|Wrapper))")
BEGINS = re.compile(
    r"\s*(?:an?\s+)?(?:causal|autoregressive)\b(?![ -](?:inference|discovery|effect|graph|flow))",
    re.IGNORECASE,
)
HERE, BELOW = "its source builds a triangular mask", "its parts build a triangular mask"
CALLED = ("__init__", "forward")  # by torch
UNUSED = "its source has a method that builds a triangular mask, which nothing calls"
NAMED, TOLD = "its name says so", "its name or the beginning of its documentation says so"


def declared_by(module: nn.Module, arguments: Mapping[str, Any], *, takes_mask: bool) -> str:
    """Why the module should be causal, in words: a flag, its name, a triangular mask; "" where nothing says so.

    Args:
        module: the module.
        arguments: what its constructor was given.
        takes_mask: whether forward accepts a mask, and was given none: then a name alone promises nothing.
    """
    cls: type = type(module)
    flags = {**_defaults(cls), **arguments}
    for name in FLAGS & flags.keys():
        return f"{name}=True" if flags[name] is True else ""
    if any(vars(module).get(name, True) is False for name in FLAGS):
        return ""
    if any(
        OPENED.search(_own_text(kind)) for kind in cls.__mro__
    ):  # `mask[:prefix, :prefix] = 1` after it: causal in part
        return ""
    if _is_triangle(_own_text(cls)):
        return HERE
    return "" if takes_mask else _said(module)


def _said(module: nn.Module) -> str:
    """The same by its name, by its documentation, or by a mask of its parts or its own."""
    cls: type = type(module)
    if CAUSAL.search(cls.__name__):
        return NAMED
    if AUTOREGRESSIVE.search(cls.__name__) or BEGINS.match(vars(cls).get("__doc__") or ""):
        return TOLD
    if _forgets_its_mask(cls):
        return UNUSED
    is_below = BY_TRIANGLE.search(cls.__name__) and any(
        _is_triangle(_own_text(kind)) for kind in {_class_of(part) for part in nn.Module.modules(module)}
    )
    return BELOW if is_below else ""


def _is_triangle(text: str) -> bool:
    """Whether code builds a mask of one side; of both, it is a band, as local attention has."""
    return TRIANGLE.search(text) is not None and not ("tril" in text and "triu" in text)


def is_passed_over(module: nn.Module, inputs: Inputs) -> bool:
    """Whether only forward builds the triangle, in a branch that this call does not take."""
    forward = source.unwrapped(source.forward(type(module)))
    node = source.function_node(forward)
    text = ast.unparse(node) if node is not None else ""
    if (
        node is None
        or not TRIANGLE.search(text)
        or TRIANGLE.search(_own_text(type(module)).replace(text, ""))
    ):
        return False
    run = executed.watched(module, inputs).run[forward.__code__]
    passed = "\n".join(map(ast.unparse, executed.passed_over(node, run)))
    return len(TRIANGLE.findall(passed)) == len(TRIANGLE.findall(text))


def is_explicit(why: str) -> bool:
    """Whether that reason is the author's own word, rather than a reading of the source."""
    return why not in (HERE, BELOW, UNUSED, TOLD)


def leaks(layout: Layout, inputs: Inputs, run: Run) -> Iterator[tuple[int, closeness.Gap]]:
    """For several steps: the gap of the outputs before that step when the input from there on is another."""
    before = run(inputs)
    last = layout.steps - 1
    for cut in sorted({1, layout.steps // 2, last}):
        for seed, loud in enumerate((1.0, LOUD)):
            after = run(layout.scrambled(inputs, range(cut, layout.steps), seed=seed, loud=loud))
            yield from ((cut, one) for one in _apart(layout, before, after, range(cut)))


def in_another(module: nn.Module, layout: Layout, inputs: Inputs, run: Run) -> bool:
    """Whether another input than that of the layout is a sequence in which the outputs are causal."""
    for path, _ in inputs.named_tensors():
        other = sequence.layout(module, inputs, run, path=path) if path not in layout.names else None
        if other is None:
            continue
        gaps = [gap for _, gap in leaks(other, inputs, run)]
        if gaps and not any(gap.is_open for gap in gaps) and past(other, inputs, run):
            return True
    return False


def past(layout: Layout, inputs: Inputs, run: Run) -> bool:
    """Whether the last output depends on any step before it."""
    last = layout.steps - 1
    after = run(layout.scrambled(inputs, range(last), seed=0, loud=LOUD))
    return any(one.is_open for one in _apart(layout, run(inputs), after, [last]))


def growth(layout: Layout, inputs: Inputs, run: Run) -> closeness.Gap | None:
    """The gap of the output of a prefix to the prefix of the output; None where a prefix does not run."""
    count = max(1, layout.steps // 2)
    try:
        part = dict(tree.named_tensors(run(layout.prefix(inputs, count)), name="output"))
    except Exception:  # noqa: BLE001 - a module of fixed length promises nothing of shorter inputs
        return None
    whole = dict(layout.at(run(inputs), range(count)))
    pairs = ((path, whole[path], part[path]) for path in whole if path in part)
    found = [closeness.gap(a, b, where=path) for path, a, b in pairs if a.shape == b.shape]
    return max(found, key=lambda one: one.max_abs - one.limit, default=None)


def _apart(layout: Layout, before: object, after: object, places: Any) -> Iterator[closeness.Gap]:
    others = dict(layout.at(after, places))
    for path, tensor in layout.at(before, places):
        if path in others and bool(tensor.isfinite().all()):
            pair = (_among_themselves(layout, one, places) for one in (tensor, others[path]))
            yield closeness.gap(*pair, where=path)


def _among_themselves(layout: Layout, tensor: Tensor, places: Any) -> Tensor:
    """Of steps against steps, as scores are, what these have of each other: row 1, column 6 is of step 6 by right."""
    if places != range(len(places)):
        return tensor
    for axis, size in enumerate(tensor.shape):
        more = size - layout.steps  # one, where a null key comes first
        if more in (0, 1) and axis != layout.batch:
            tensor = tensor.narrow(axis, 0, len(places) + more)
    return tensor


def _defaults(cls: type) -> dict[str, Any]:
    try:
        parameters = inspect.signature(cls).parameters.values()
    except (TypeError, ValueError):
        return {}
    return {one.name: one.default for one in parameters if one.default is not inspect.Parameter.empty}


def _class_of(part: nn.Module) -> type:
    return type(part)


def _own_text(cls: type) -> str:
    """The code of `__init__`, of `forward` and of the methods that these call; torch's own classes say nothing."""
    node = source.class_node(cls) if not cls.__module__.startswith("torch.") else None
    methods = {child.name: child for child in node.body if isinstance(child, ast.FunctionDef)} if node else {}
    texts = {name: ast.unparse(method) for name, method in methods.items()}
    main = "\n".join(texts.get(name, "") for name in CALLED)
    called = [text for name, text in texts.items() if name not in CALLED and f".{name}(" in main]
    return "\n".join([main, *called])


def _forgets_its_mask(cls: type) -> bool:
    """Whether a method builds a triangular mask, and nothing in the file names it."""
    node = source.class_node(cls) if not source.is_torchs(cls.__module__) else None
    makers = [
        child.name
        for child in (node.body if node is not None else ())
        if isinstance(child, ast.FunctionDef)
        and child.name not in CALLED
        and _is_triangle(ast.unparse(child))
    ]
    file = [*ast.walk(source.tree_of(source.file_of(cls)))] if makers else []
    named = {part.attr for part in file if isinstance(part, ast.Attribute)}
    return any(name not in named for name in makers)


def origin(module: nn.Module, layout: Layout, inputs: Inputs, cut: int) -> tuple[str, int]:
    """The line that masks or pads, else the first operation whose earlier steps move, else the class."""
    suspect = reading.line_with(module, SUSPECT)
    if suspect != source.class_line(type(module)):
        return suspect
    note = partial(_earlier, layout=layout, cut=cut)
    changed = layout.scrambled(inputs, range(cut, layout.steps), seed=1, loud=LOUD)
    step = steps.first_apart(*(steps.watched(module, call, note) for call in (inputs, changed)))
    return (step.file, step.line) if step is not None and not source.is_machinery(step.file) else suspect


def _earlier(result: object, *, layout: Layout, cut: int) -> list[Tensor]:
    found = [tensor.detach() for tensor in tree.tensors(result) if tree.is_differentiable(tensor)][:1]
    return [
        tensor.narrow(axis, 0, cut).clone()
        for tensor in found
        for axis in range(tensor.ndim)
        if tensor.shape[axis] == layout.steps
    ]
