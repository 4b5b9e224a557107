"""What really runs is recorded: constructions, calls, and the submodules of a model on their real inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import repositories as r  # type: ignore[import-not-found]
import torch
from torch import Tensor, nn

import layersmith
from layersmith.load.record import entries, record
from layersmith.load.submodules import calls_of_submodules, subjects_of_submodules
from layersmith.probe import tree
from layersmith.probe.inputs import Inputs


class Cache:
    """Keys and values of the steps so far."""

    def __init__(self) -> None:
        self.keys: list[Tensor] = []


class CachedAttention(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.kv, self.q = nn.Linear(dim, dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor, cache: Cache) -> Tensor:
        assert len(cache.keys) < 2, "a replay must see the cache as it was"
        cache.keys.append(self.kv(x))
        keys = torch.cat(cache.keys, 1)
        return (self.q(x) @ keys.transpose(1, 2)).softmax(-1) @ keys


class Decoder(nn.Module):
    def __init__(self, vocabulary: int = 50, dim: int = 16) -> None:
        super().__init__()
        self.embed, self.attend = nn.Embedding(vocabulary, dim), CachedAttention(dim)
        self.head = nn.Linear(dim, vocabulary)

    def forward(self, ids: Tensor) -> Tensor:
        cache = Cache()
        logits = self.head(self.attend(self.embed(ids), cache))
        return torch.cat([logits, self.head(self.attend(self.embed(logits[:, -1:].argmax(-1)), cache))], 1)


FAMILIES: list[tuple[Any, Any]] = [
    (lambda: r.ResNet(r.BasicBlock, [1, 1, 1]), torch.randn(2, 3, 32, 32)),
    (lambda: r.MaskedEncoder(50, 16, 4, 2), (torch.randint(50, (2, 7)), torch.zeros(2, 7, dtype=torch.bool))),
    (Decoder, torch.randint(50, (2, 7))),
    (r.DiffusionUNet, (torch.randn(2, 3, 16, 16), torch.rand(2))),
    (
        lambda: r.Seq2Seq(r.EncoderRNN(50, 16), r.DecoderStep(50, 8, 16)),
        (torch.randint(50, (2, 7)), torch.randint(50, (2, 5))),
    ),
]


@pytest.mark.parametrize(("build", "batch"), FAMILIES, ids=["cnn", "encoder", "decoder", "unet", "recurrent"])
def test_every_submodule_that_was_called_gives_the_same_again(build: Any, batch: Any) -> None:
    model = build().eval()
    outputs: dict[int, Any] = {}
    for part in model.modules():
        part.register_forward_hook(lambda m, _, out: outputs.setdefault(id(m), tree.clone(out)))
    calls = list(calls_of_submodules(model, Inputs.of(batch)))
    assert calls
    with torch.no_grad():
        replayed = [seen.inputs.call(seen.module) for _, seen in calls]
    for (path, seen), output in zip(calls, replayed, strict=True):
        for one, other in zip(tree.tensors(output), tree.tensors(outputs[id(seen.module)]), strict=True):
            torch.testing.assert_close(one, other, msg=path)


def test_check_examines_the_submodules_on_their_inputs() -> None:
    report = layersmith.check(Decoder(), torch.randint(50, (2, 7)), select=["registration"], submodules=True)
    assert [subject.name for subject in report.subjects] == ["Decoder", "attend: CachedAttention"]
    assert report.ok


def test_equal_submodules_are_examined_once() -> None:
    model = r.GPT(r.GPTConfig(block_size=16, vocab_size=50, n_layer=3, n_head=2, n_embd=16))
    subjects = subjects_of_submodules(model, Inputs.of(torch.randint(50, (2, 7))))
    assert [subject.name for subject in subjects] == ["h.0: CausalSelfAttention"]
    subjects[0].case().run()


def test_what_was_built_inside_is_recorded_with_its_arguments() -> None:
    with record() as recording:
        model = r.TCN(4, [8, 8])
        model(torch.randn(2, 4, 20))
    assert entries(recording) == {
        "repositories.TCN": ["TCN(4, [8, 8])(f32[2,4,20])"],
        "repositories.TemporalBlock": [
            "TemporalBlock(4, 8, 2, stride=1, dilation=1, padding=1)(f32[2,4,20])",
            "TemporalBlock(8, 8, 2, stride=1, dilation=2, padding=2)(f32[2,8,20])",
        ],
    }


def test_the_arguments_of_what_was_built_before_are_solved_for() -> None:
    model = r.BasicBlock(8, 16)
    with record() as recording:
        model(torch.randn(2, 8, 9, 9))
    assert entries(recording) == {"repositories.BasicBlock": ["BasicBlock(8, 16)(f32[2,8,9,9])"]}


def test_record_writes_the_lock_file(tmp_path: Path) -> None:
    with layersmith.record(tmp_path / "layersmith.lock"):
        r.ActorCritic(6, 3)(torch.randn(4, 6))
    text = (tmp_path / "layersmith.lock").read_text()
    assert "ActorCritic(6, 3)(f32[4,6])" in text


def test_nothing_stays_patched() -> None:
    call, initialise = nn.Module.__call__, nn.Module.__init__
    with pytest.raises(RuntimeError), record():
        raise RuntimeError
    assert nn.Module.__call__ is call
    assert nn.Module.__init__ is initialise
