"""`layersmith init` as a user runs it: what it shows, what it suggests, what it draws, what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.conftest import Ended

Layersmith = Callable[..., Ended]
Write = Callable[..., Path]
TUTORIAL = str(Path(__file__).parents[2] / "examples" / "tutorial.py")
SOUND = """
class Sound(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)
        self.scale = nn.Parameter(torch.full((8,), 1e-4))
        nn.init.zeros_(self.second.weight)

    def forward(self, x):
        return x + self.scale * self.second(torch.relu(self.first(x)))
"""


def test_the_tutorial_is_measured_diagnosed_and_repaired(layersmith: Layersmith) -> None:
    ended = layersmith(
        "init", f"{TUTORIAL}::CustomModel", "--format", "json", "--suggest", "--inputs", "f32[64,10]"
    )
    assert ended.code == 1, ended.err
    subject = ended.subject("CustomModel")
    finding = next(f for r in subject["results"] for f in r["findings"] if f["where"] == "layer1.weights")
    assert "multiplies its signal by" in finding["message"]
    assert "2.83 / sqrt(fan_in), the gain before what follows it: clamp mul" in finding["fix"]
    assert Path(finding["file"]).read_text().splitlines()[finding["line"] - 1].endswith("out_features))")
    assert "+        nn.init.normal_(self.layer1.weights, std=2.828 / " in subject["suggestion"]
    numbers = {(m["where"], m["name"]): m["value"] for m in subject["measurements"]}
    assert numbers["layer1", "predicted_std"] == pytest.approx(numbers["layer1", "std"], rel=0.3)
    assert numbers["activation", "repaired_std"] < numbers["activation", "std"]
    assert any(m["spread"] > 0 for m in subject["measurements"] if m["name"] == "std")


def test_the_terminal_shows_curves_and_fits_80_columns(layersmith: Layersmith) -> None:
    ended = layersmith("init", TUTORIAL)
    assert max(map(len, ended.out.splitlines())) <= 80
    assert "signal repaired" in ended.out
    assert "a signal survives about" in ended.out
    assert "--suggest prints a repair" in ended.out
    assert "+++" not in ended.out
    assert "+++ b/" in layersmith("init", TUTORIAL, "--suggest").out


def test_nothing_is_repaired_that_is_not_broken(layersmith: Layersmith, write: Write) -> None:
    ended = layersmith("init", str(write(SOUND)), "--format", "json", "--suggest")
    assert ended.code == 0, ended.out
    subject = ended.subject("Sound")
    assert subject["suggestion"] == ""
    assert not [m for m in subject["measurements"] if m["name"].startswith("repaired_")]


def test_the_plot_is_svg_with_two_panels_before_and_after(layersmith: Layersmith, tmp_path: Path) -> None:
    layersmith("init", f"{TUTORIAL}::CustomModel", "--plot", "start.svg")
    text = (tmp_path / "start.svg").read_text()
    words = [node.text for node in ET.fromstring(text).iter("{http://www.w3.org/2000/svg}text")]
    for word in ("CustomModel", "as it is", "repaired", "layer1"):
        assert word in words
    assert sum("after each submodule" in (word or "") for word in words) == 2
    assert "stroke-dasharray" in text  # not by colour alone


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--plot", "start.png"], "ends in .svg"),
        (["--inputs", "wrong["], "wrong["),
    ],
)
def test_a_wrong_request_is_refused(layersmith: Layersmith, arguments: list[str], why: str) -> None:
    ended = layersmith("init", f"{TUTORIAL}::CustomModel", *arguments)
    assert ended.code in {1, 2}
    assert why in ended.err + ended.out


def test_an_overflow_in_the_middle_is_named(layersmith: Layersmith, write: Write) -> None:
    path = write("""
class Overflows(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return self.second(torch.exp(1e5 + self.first(x)))
""")
    assert "the signal is not finite from second on" in layersmith("init", str(path)).out


def test_what_has_no_signal_still_gets_an_answer(layersmith: Layersmith, write: Write) -> None:
    path = write("""
class Counts(nn.Module):
    def forward(self, tokens: torch.LongTensor):
        return (tokens > 3).sum(-1)
""")
    ended = layersmith("init", str(path), "--inputs", "i64[2,5]")
    assert ended.code == 0, ended.err
    assert "Counts" in ended.out
