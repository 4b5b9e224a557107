"""What forward takes for a part of it must be handed on to that part.

## Why it matters
`forward(x, attn_mask=None)` that calls `self.attention(x)` accepts every mask and attends to everything. Nothing raises:
the argument has its default one call deeper, and the model learns from what it should not see.

## How it is tested
The source is read. Reported is an argument of forward that it never reads, but to bring it into another form, while a
method or submodule that it calls takes an argument of the same name and is not given it. Calls with `*args` or
`**kwargs` are not judged, nor classes that say that something is ignored, deprecated, or there for an interface.

## How to fix it
`self.attention(x, attn_mask=attn_mask)`; or remove it from the signature.

## How to reproduce it
    import ast, inspect, textwrap
    tree = ast.parse(textwrap.dedent(inspect.getsource(type(module).forward)))
    given = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not where or any(f"{where}=" in call or f", {where}" in call for call in given), f"{where} ends here"
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import source
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case

MEANT = re.compile(
    r"(?i)(?<!type: )\bignore[sd]?\b|unused|not used|no longer|deprecat|interface|compatib|exchang"
)


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.PLAIN_CODE, after=())
def argument_not_handed_on(case: Case) -> Iterator[Finding]:
    """Read forward, and the signatures of what it calls."""
    cls: type = type(case.module)
    forward = source.function_node(source.forward(cls))
    if forward is None:
        return
    for name in (one for one in _unread(forward) if not _is_meant(cls, forward, one)):
        for call in (node for node in ast.walk(forward) if isinstance(node, ast.Call)):
            callee = _callee(case.module, call)
            if callee is not None and _lacks(call, callee, name):
                said = ast.unparse(call.func)
                yield Finding(
                    f"{name} is taken by forward and not handed on to {said}(), which takes it",
                    where=name,
                    file=source.file_of(cls),
                    line=call.lineno,
                    fix=f"{said}(..., {name}={name})",
                )
                break


def _is_meant(cls: type, forward: source.Function, name: str) -> bool:
    """Whether a docstring, or a line with the name, says that something is taken for others' sake."""
    documented = (ast.get_docstring(one) for one in (forward, source.class_node(cls)) if one is not None)
    lines = (line for line in source.text_of(cls).splitlines() if re.search(rf"\b{name}\b", line))
    return any(MEANT.search(text or "") for text in (*documented, *lines))


def _unread(forward: source.Function) -> list[str]:
    """The arguments that are read nowhere but to be assigned anew."""
    names = [one.arg for one in (*forward.args.args[1:], *forward.args.kwonlyargs)]
    return [name for name in names if not name.startswith("_") and not _reads(forward, name)]


def _reads(node: ast.AST, name: str) -> bool:
    """Whether a value goes anywhere but into the name itself, or a question whether it is None."""
    if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [name]:
        return False
    if isinstance(node, ast.If | ast.Assert) and _refuses(node):
        return any(isinstance(one, ast.Name) and one.id == name for one in ast.walk(node))
    if isinstance(node, ast.Compare) and ast.unparse(node.left) == name:
        return not (len(node.ops) == 1 and ast.unparse(node.comparators[0]) == "None")
    if isinstance(node, ast.Name):
        return node.id == name
    return any(_reads(child, name) for child in ast.iter_child_nodes(node))


def _refuses(node: ast.If | ast.Assert) -> bool:
    """Whether it is there to say that something is not taken."""
    text = ast.unparse(node)
    return isinstance(node, ast.Assert) or "raise " in text or "warn" in text


def _callee(module: nn.Module, call: ast.Call) -> Any:
    """The method of the module, or the forward of its submodule, that `self.part(...)` calls."""
    is_own = isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == "self"
    found = getattr(module, call.func.attr, None) if is_own and isinstance(call.func, ast.Attribute) else None
    return found.forward if isinstance(found, nn.Module) else found


def _lacks(call: ast.Call, callee: Any, name: str) -> bool:
    """Whether it takes an argument of that name, and the call gives none there."""
    is_open = any(isinstance(one, ast.Starred) for one in call.args) or any(
        keyword.arg is None for keyword in call.keywords
    )
    try:
        names = [*inspect.signature(callee).parameters]
    except (TypeError, ValueError):  # no callable, or one without a signature
        return False
    is_given = any(keyword.arg == name for keyword in call.keywords)
    return name in names and not is_open and not is_given and names.index(name) >= len(call.args)


class _Attention(nn.Module):
    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        scores = self.linear(x) @ x.mT
        scores = scores if attn_mask is None else scores + attn_mask
        return scores.softmax(-1) @ x


class _Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = _Attention()


@argument_not_handed_on.bad("attn_mask is taken by forward", inputs=lambda: torch.randn(2, 5, 6))
class KeepsTheMaskToItself(_Layer):
    def forward(self, x: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        if attn_mask is not None:
            attn_mask = attn_mask.to(x.dtype)
        return x + self.attention(x)


@argument_not_handed_on.bad(
    "bias is taken by forward and not handed on to self.logits()",
    inputs=lambda: (torch.randn(4, 6), torch.randn(4, 6)),
)
class ForgetsItsBias(nn.Module):
    def logits(self, a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
        found = a @ b.T
        return found if bias is None else found + bias

    def forward(self, a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
        return self.logits(a, b).logsumexp(-1).mean()


@argument_not_handed_on.good(inputs=lambda: torch.randn(2, 5, 6))
class HandsTheMaskOn(_Layer):
    def forward(self, x: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        return x + self.attention(x, attn_mask)
