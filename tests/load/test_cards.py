"""Code that goes to a graphics card, on a machine without one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from layersmith.load.build import subject_of_class
from layersmith.load.unbuildable import Unbuildable
from tests.conftest import Ended

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")

SOURCE = """
class StartsOnTheCard(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.cell = nn.GRUCell(dim, dim)

    def forward(self, x):
        return self.cell(x, torch.zeros(x.shape[0], x.shape[1]).cuda())


class MakesThereWhatItAdds(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.linear = nn.Linear(dim, dim)

    def forward(self, x):
        y = x.type(torch.cuda.FloatTensor)
        return self.linear(y) + torch.ones(1, device=torch.device("cuda")) + torch.rand(1).to("cuda:0") * 0


class GoesToACardByItsNumber(nn.Module):
    def __init__(self, dim: int, gpu_ids=[0]):
        super().__init__()
        self.linear = nn.Linear(dim, dim).to(gpu_ids[0])

    def forward(self, x):
        return self.linear(x.to(0, torch.float32).to(x.dtype))


class MakesThereByTheNumberOfItsInput(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.linear = nn.Linear(dim, dim)

    def forward(self, x):
        return self.linear(x) + torch.arange(x.size(-1), device=x.get_device())


class Follows(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.linear = nn.Linear(dim, dim)

    def forward(self, x):
        return self.linear(x.to(x.device))
"""


def test_the_processor_stands_in_and_what_goes_to_the_card_is_told(
    layersmith: Callable[..., Ended], write: Callable[..., Path]
) -> None:
    written = write(SOURCE)
    ended = layersmith("check", "layers.py", "--select", "hard-coded-device", "--format", "json")
    subjects = {one["name"]: one for one in ended.report["subjects"]}
    messages = {
        name: [finding["message"] for result in one["results"] for finding in result["findings"]]
        for name, one in subjects.items()
    }
    told = {
        name: [finding["line"] for result in one["results"] for finding in result["findings"]]
        for name, one in subjects.items()
    }
    lines = written.read_text().splitlines()
    assert {one["status"] for one in subjects.values()} == {"checked"}
    assert [".cuda()" in lines[line - 1] for line in told["StartsOnTheCard"]] == [True]
    assert len(told["MakesThereWhatItAdds"]) == 1
    assert "get_device() is -1" in messages["MakesThereByTheNumberOfItsInput"][0]
    assert "get_device" not in messages["StartsOnTheCard"][0]
    assert not told["Follows"]
    assert subjects["StartsOnTheCard"]["inferred_from"].endswith("with the processor for a card")
    assert "card" not in subjects["Follows"]["inferred_from"]

    layersmith("infer", "layers.py")
    ended = layersmith("check", "layers.py", "--locked", "--select", "forward-raises")
    assert "5 checked" in ended.out
    assert ended.code == 0


class GoesToTheCard(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.cuda()


def test_in_the_callers_own_process_torch_stays_as_it_is() -> None:
    before = (torch.zeros, Tensor.to, Tensor.cuda)
    with pytest.raises(Unbuildable, match=r"CUDA|NVIDIA"):
        subject_of_class(GoesToTheCard)
    assert (torch.zeros, Tensor.to, Tensor.cuda) == before
