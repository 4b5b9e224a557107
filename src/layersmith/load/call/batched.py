"""Whether a call gives a layer of torch one item without a batch: it takes that, but nobody trains so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name that everyone knows
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from layersmith.load.attempt import Deadline
from layersmith.load.call.callee import Callee, State
from layersmith.load.call.run import output_of

_CONVOLUTIONS = {
    *(torch.conv1d, torch.conv2d, torch.conv3d),
    *(torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d),
}
_MATRIX = 2  # the rank of one sequence


def ranks_without_batch(callee: Callee, state: State, deadline: Deadline) -> set[int]:
    """The ranks in which convolutions, attention and recurrent layers were given a single item."""
    watch = _Watch()
    recurrent = [part for part in nn.Module.modules(callee.module) if isinstance(part, nn.RNNBase)]
    hooks = [part.register_forward_pre_hook(watch.before) for part in recurrent]
    try:
        with watch:
            output_of(callee, state, deadline)
    finally:
        for hook in hooks:
            hook.remove()
    return watch.ranks


class _Watch(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.ranks: set[int] = set()

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        given = args[0] if args and isinstance(args[0], Tensor) else None
        if given is not None and function in _CONVOLUTIONS and given.dim() == args[1].dim() - 1:
            self.ranks.add(given.dim())
        if given is not None and function is F.multi_head_attention_forward and given.dim() == _MATRIX:
            self.ranks.add(_MATRIX)
        return function(*args, **(kwargs or {}))

    def before(self, _module: nn.Module, args: tuple[Any, ...]) -> None:
        """A recurrent layer is about to be called."""
        if args and isinstance(args[0], Tensor) and args[0].dim() == _MATRIX:
            self.ranks.add(_MATRIX)
