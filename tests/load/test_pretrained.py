"""Weights that cannot be had where classes are examined: no network, and files that lie elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.conftest import Ended

SOURCE = """
from torch.utils import model_zoo


class Layers(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)

    def forward(self, x):
        return self.conv(x).relu()


class Downloads(Layers):
    def __init__(self):
        super().__init__()
        found = model_zoo.load_url("https://example.invalid/layers.pth")
        del found["conv.weight"]
        self.load_state_dict(found)


class PicksFromAFile(Layers):
    def __init__(self):
        super().__init__()
        own = self.state_dict()
        self.load_state_dict({name: value for name, value in torch.load("own.pt")["model"].items() if name in own})


class LooksWhatIsMissing(Layers):
    def __init__(self):
        super().__init__()
        found = self.load_state_dict(model_zoo.load_url("https://example.invalid/layers.pth"), strict=False)
        assert not found.missing_keys


class MayDownload(Layers):
    def __init__(self, pretrained: bool = True):
        super().__init__()
        if pretrained:
            self.load_state_dict(torch.load("own.pt"))
"""


def test_a_class_that_cannot_do_without_weights_is_built_without(
    layersmith: Callable[..., Ended], write: Callable[..., Path]
) -> None:
    write(SOURCE)
    ended = layersmith("check", "layers.py", "--ignore", "compile", "--format", "json")
    assert ended.code == 0, ended.out
    said = {one["name"]: one["inferred_from"] for one in ended.report["subjects"]}
    assert {one["status"] for one in ended.report["subjects"]} == {"checked"}
    assert said["Downloads"].endswith("; without the weights layers.pth")
    assert said["PicksFromAFile"].endswith("; without the weights own.pt")
    assert "without" not in said["MayDownload"]
    assert "pretrained=False" in said["MayDownload"]


def test_the_lock_file_brings_such_a_class_back(
    layersmith: Callable[..., Ended], write: Callable[..., Path]
) -> None:
    write(SOURCE)
    assert layersmith("infer", "layers.py").code == 0
    ended = layersmith("check", "layers.py", "--locked", "--select", "forward-raises", "--format", "json")
    assert ended.code == 0, ended.err
    said = {one["name"]: one["inferred_from"] for one in ended.report["subjects"]}
    assert said["Downloads"].count("without the weights") == 1
