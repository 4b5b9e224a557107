"""What a file gives to its losses: probabilities that go to a cross entropy are told, whatever else it does."""

from __future__ import annotations

from pathlib import Path

import pytest

import layersmith

MODEL = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Sequential(nn.Linear(6, 3), nn.Softmax(dim=-1))

    def forward(self, x, logits=False):
        return self.head[0](x) if logits else self.head(x)

"""
CRITERION = """
def train(loader):
    model, steps = Net().to("cpu"), 0
    net = Net().to("cpu")
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    for x, y in loader:
        output = net(x)
        loss = criterion(output, y)
"""
FUNCTION = """
def train(loader):
    net = Net()
    for x, y in loader:
        loss = nn.functional.cross_entropy(net(x), y)
"""
LOGARITHM = """
def train(loader):
    net = Net()
    criterion = nn.NLLLoss()
    for x, y in loader:
        loss = criterion(torch.log(net(x)), y)
"""
ANOTHER = """
def train(loader):
    net, other = Net(), nn.Linear(6, 3)
    criterion = nn.CrossEntropyLoss()
    for x, y in loader:
        output = other(x)
        loss = criterion(output, y)
"""
OPTION = """
def train(loader):
    net = Net()
    for x, y in loader:
        output = net(x, logits=True)
        loss = nn.functional.cross_entropy(output, y)
"""


@pytest.mark.parametrize(
    ("loop", "line"),
    [(CRITERION, 20), (FUNCTION, 17), (LOGARITHM, 0), (ANOTHER, 0), (OPTION, 0)],
    ids=lambda one: str(one)[-4:],
)
def test_an_output_of_probabilities_may_not_go_to_a_cross_entropy(
    tmp_path: Path, loop: str, line: int
) -> None:
    (tmp_path / "model.py").write_text(MODEL + loop)
    report = layersmith.check(str(tmp_path / "model.py"), select=["wrong-loss-input"])
    assert [finding.line for *_, finding in report.findings()] == ([line] if line else [])


def test_a_loop_in_another_file_of_the_project_counts(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("A project.")
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "train.py").write_text("from torch import nn\nfrom model import Net\n" + CRITERION)
    report = layersmith.check(str(tmp_path / "model.py"), select=["wrong-loss-input"])
    assert [(Path(finding.file).name, finding.line) for *_, finding in report.findings()] == [
        ("train.py", 10)
    ]
