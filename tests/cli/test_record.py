"""`layersmith record`: the program runs as it would, its classes go to the lock file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from layersmith.load.lock import Entry, Lock
from layersmith.load.recorded_run import located
from tests.conftest import Ended


class Block:
    """Stands for a module class: `located` asks only where it is."""

    def forward(self, x: object) -> object:
        return x


def test_classes_are_kept_by_the_target_that_finds_them() -> None:
    class Inner(Block):
        """Out of reach of `check`."""

    recorded = {"Block": ["Block()(f32[2])"], "Inner": ["Inner()(f32[2])"]}
    classes = {"Block": Block, "Inner": Inner}
    assert located(recorded, classes, Lock(Path(__file__).parent / "layersmith.lock")) == {
        "test_record.py::Block": Entry(("Block()(f32[2])",), "recorded", "(*args, **kwargs)(x)")
    }


@pytest.mark.parametrize(
    "command", [[], ["--"], ["--", "make"], ["--", "python", "-m"], ["--", "python", "-c"]]
)
def test_a_command_that_is_no_program_is_a_wrong_request(
    layersmith: Callable[..., Ended], command: list[str]
) -> None:
    ended = layersmith("record", *command)
    assert (ended.code, "layersmith record -- python train.py" in ended.err) == (2, True)


SCRIPT = """
class Block(nn.Module):
    def __init__(self, dim, heads=2):
        super().__init__()
        self.linear, self.heads = nn.Linear(dim, dim), heads

    def forward(self, x):
        return x + self.linear(x) / self.heads


if __name__ == "__main__":
    Block(16, heads=4)(torch.randn(3, 16))
"""


def test_the_classes_of_the_program_itself_are_recorded(
    layersmith: Callable[..., Ended], write: Callable[..., Path]
) -> None:
    path = write(SCRIPT, "train.py")
    ended = layersmith("record", "--", sys.executable, path.name)
    assert ended.code == 0, ended.err
    lock = (path.parent / "layersmith.lock").read_text()
    assert '["train.py::Block"]' in lock
    assert "Block(16, heads=4)(f32[3,16])" in lock
