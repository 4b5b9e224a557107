"""`layersmith record`: the program runs as it would, its classes go to the lock file."""

from __future__ import annotations

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


def test_classes_are_found_by_their_dotted_path() -> None:
    recorded = {f"{__name__}.Block": ["Block()(f32[2])"], f"{__name__}.f.<locals>.Inner": ["Inner()(f32[2])"]}
    assert located(recorded, Lock(Path(__file__).parent / "layersmith.lock")) == {
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
