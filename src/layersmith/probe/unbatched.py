"""Whether a class says that it takes one sample: a sequence, a graph or a cloud of points, without a batch."""

from __future__ import annotations

import ast
import functools
import re

from layersmith.probe import source

WORD = re.compile(
    r"\bunbatched\b|\b(?:no|without an?y?) batch\b|\bnot batched\b|\bper[- ]sample (?:module|model)",
    re.IGNORECASE,
)
SIZED = re.compile(
    r"\bof (?P<size>[A-Za-z]) (?:[<>=]+ ?\d+ )?(?:nodes|atoms|points|vertices|elements|steps|tokens|residues|particles)\b"
)
SHAPE = re.compile(r"(?<!\w)\(\s*(\w+)\s*,\s*[\w ,*+-]*\)")
STEPS = re.compile(r"\bself\.\w+\(\s*\w+\.view\(len\(\w+\), 1, -1\)")  # the axis of the batch is of one
RECURRENT = re.compile(r"\b(?:LSTM|GRU|RNN)\(")
BATCH = re.compile(r"^(?:b|bs|bsz|batch\w*)$", re.IGNORECASE)


@functools.cache
def is_unbatched(cls: type) -> bool:
    """Whether its docstrings say so: "one unbatched sequence", or "graph of N nodes" with features `(N, dim)`.

    Or its code: `self.lstm(x.view(len(x), 1, -1))` takes the steps of one sentence.
    """
    node = source.class_node(cls)
    documented = [node, *node.body] if node is not None else []
    said = "\n".join(
        ast.get_docstring(one) or "" for one in documented if isinstance(one, ast.ClassDef | ast.FunctionDef)
    )
    first = [shape[1] for shape in SHAPE.finditer(said)]
    if first and BATCH.match(first[0]):
        return False
    text = source.text_of(cls)
    if RECURRENT.search(text) and STEPS.search(text) and "batch_first=True" not in text:
        return True
    sizes = {sized["size"] for sized in SIZED.finditer(said)}
    return WORD.search(said) is not None or bool(sizes & set(first))
