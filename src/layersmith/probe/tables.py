"""Tables of vectors whose gradient is not the derivative, as torch documents it."""

from __future__ import annotations

from torch import nn


def with_own_gradient(module: nn.Module) -> set[str]:
    """The names of the weights of tables that scale their rows in forward, or their gradients by how often they occur."""
    return {
        f"{path}.weight".lstrip(".")
        for path, part in nn.Module.named_modules(module)
        if isinstance(part, nn.Embedding | nn.EmbeddingBag)
        and (part.max_norm is not None or part.scale_grad_by_freq)
    }
