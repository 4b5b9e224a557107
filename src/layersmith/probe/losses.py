"""What loss functions are given: probabilities where they take scores or logarithms, scores for logarithms."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from layersmith.probe import source, tree
from layersmith.probe.inputs import Inputs
from layersmith.probe.steps import caller
from layersmith.probe.surroundings import preserved

SCORES, LOGARITHMS = "scores (it has a softmax inside)", "logarithms of probabilities"
TAKES: Mapping[str, str] = {
    "cross_entropy": SCORES,
    "nll_loss": LOGARITHMS,
    "kl_div": LOGARITHMS,
    "binary_cross_entropy_with_logits": "scores (it has a sigmoid inside)",
    "exp": "the loss of each sample, for the probability of its class,",
}
FIX: Mapping[str, str] = {
    "cross_entropy": "give it what the softmax got, or take nll_loss of its logarithm",
    "nll_loss": "take log_softmax before it",
    "kl_div": "take log_softmax of its first argument",
    "binary_cross_entropy_with_logits": "give it what the sigmoid got, or take binary_cross_entropy",
    "exp": 'take the loss with reduction="none", and the mean of what is weighted',
}
SCORED = ("cross_entropy", "nll_loss", "binary_cross_entropy_with_logits", "binary_cross_entropy")
MEAN = "the mean over classes as well as rows"  # what `kl_div` takes where nothing is said
SWAPPED = "the teacher's"  # what `kl_div` gets first where a student is taught
LESSON, OTHER_WAY = re.compile(r"(?i)student.*teacher|teacher.*student", re.DOTALL), re.compile(r"(?i)revers")
CALLS = r"(?i)cross_?entropy|nll_?loss|kl_?div|with_?logits"
NEAR = 1e-3  # how near one the sums of probabilities are
ABOVE = 0.1  # no logarithm of a probability, however rounded


@dataclass(frozen=True, slots=True)
class Misfit:
    """One loss, and what it is given where it takes something else."""

    function: str
    given: str
    file: str
    line: int


def misfits(module: nn.Module, inputs: Inputs) -> list[Misfit]:
    """Every such call of one forward; what a caller gave is the caller's own."""
    is_lesson = _is_lesson(type(module))
    with preserved(seed=0), torch.enable_grad():
        copied = inputs.clone().map(_carrying) if is_lesson else inputs.clone()
    watch = _Watch({tree.place(tensor) for tensor in copied.tensors()}, is_lesson=is_lesson)
    with preserved(seed=0), watch:
        module(*copied.args, **copied.kwargs)
    return watch.found


def _carrying(tensor: Tensor) -> Tensor:
    """The same values with a gradient, as they come from a network; no leaf, so that they may be changed in place."""
    return tensor.requires_grad_() * 1 if tensor.is_floating_point() else tensor


def _is_lesson(cls: type) -> bool:
    """Whether a student is taught by a teacher, and nothing is said of a reversed divergence."""
    text = source.text_of(cls)
    return bool(LESSON.search(text)) and not OTHER_WAY.search(text)


def _is_swapped(input: Tensor, target: Tensor, **_: Any) -> bool:  # noqa: A002 - as kl_div names it
    """Whether it is the target that learns, from what has no gradient: KL(student || teacher)."""
    return target.requires_grad and not input.requires_grad


class _Watch(TorchFunctionMode):
    def __init__(self, given: set[Any], *, is_lesson: bool = False) -> None:
        super().__init__()
        self.given, self.is_lesson = given, is_lesson
        self.squashed: dict[Any, Tensor] = {}  # results of sigmoids, kept so that no other takes their place
        self.means: dict[Any, Tensor] = {}  # losses of several samples, and their negatives; kept as those
        self.found: list[Misfit] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Look at what a loss is given, and do the operation."""
        name = getattr(func, "__name__", "")
        first = args[0] if args else (kwargs or {}).get("input")
        if name in TAKES and isinstance(first, Tensor) and (said := self._wrong(name, first.detach())):
            self.found.append(Misfit(name, said, *caller()))
        elif name == "kl_div" and isinstance(first, Tensor) and first.ndim > 1 and _is_left_open(*caller()):
            self.found.append(Misfit(name, MEAN, *caller()))
        elif name == "kl_div" and self.is_lesson and _is_swapped(*args[:2], **(kwargs or {})):
            self.found.append(Misfit(name, SWAPPED, *caller()))
        result = func(*args, **(kwargs or {}))
        if name.strip("_") == "sigmoid" and isinstance(result, Tensor):
            self.squashed[tree.place(result)] = result
        is_mean = name in SCORED and isinstance(first, Tensor) and len(first) > 1 and result.ndim == 0
        is_negative = (
            name in ("neg", "negative") and isinstance(first, Tensor) and tree.place(first) in self.means
        )
        if is_mean or is_negative:
            self.means[tree.place(result)] = result
        return result

    def _wrong(self, name: str, given: Tensor) -> str:
        if name == "exp":
            return "the mean of all" if tree.place(given) in self.means and bool(given <= 0) else ""
        if tree.place(given) in self.given:
            return ""
        if name == "binary_cross_entropy_with_logits":
            return "what a sigmoid gave" if tree.place(given) in self.squashed else ""
        axes = range(given.ndim) if name == "kl_div" else [min(1, given.ndim - 1)]
        if are_probabilities(given, axes):
            return "probabilities"
        is_score = TAKES[name] == LOGARITHMS and bool((given > ABOVE).any()) and bool((given < -ABOVE).any())
        return "scores, some of them positive" if is_score else ""


def _is_left_open(file: str, line: int) -> bool:
    """Whether `kl_div(x, y)` stands there, and says nothing of a reduction."""
    calls = [node for node in ast.walk(source.tree_of(file)) if isinstance(node, ast.Call)]
    here = [one for one in calls if one.lineno <= line <= (one.end_lineno or 0)]
    asked = [one for one in here if ast.unparse(one.func).rpartition(".")[2] == "kl_div"]
    return bool(asked) and all(
        len(one.args) <= 2 and {key.arg for key in one.keywords} <= {"log_target", "input", "target"}  # noqa: PLR2004
        for one in asked
    )


def are_probabilities(given: Tensor, axes: Iterable[int]) -> bool:
    """Whether along one of these axes its numbers are positive and sum to one."""
    if not given.numel() or not given.is_floating_point() or bool((given < 0).any()):
        return False
    sums = (given.float().sum(axis) for axis in axes if given.shape[axis] > 1)
    return any(bool(((one - 1).abs() < NEAR).all()) for one in sums)
