"""The base of everything here that watches ATen operations: a dispatch mode that does not import the compiler."""

from __future__ import annotations

from torch.utils._python_dispatch import TorchDispatchMode


class Operations(TorchDispatchMode):
    """A context whose `__torch_dispatch__` sees every operation that reaches a kernel.

    torch guards such a method against being compiled, which nobody does here, and imports the compiler for
    it, which takes more than a second.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False
