"""Hints and the lock file, from the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.conftest import Ended

Layersmith = Callable[..., Ended]
Write = Callable[..., Path]
CLASSES = """
class Attention(nn.Module):
    def __init__(self, dim, heads=4):
        super().__init__()
        self.linear = nn.Linear(dim, dim)

    def forward(self, x, mask=None):
        return self.linear(x)

class Impossible(nn.Module):
    def __init__(self, thing):
        super().__init__()
        self.inner = thing.frob(3)["a"].x

    def forward(self, x):
        return self.inner(x)

class Hinted(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.linear = nn.Linear(n, n)

    def forward(self, x):
        return self.linear(x)

class Heavy(nn.Module):
    def forward(self, x):
        return x

class Two(nn.Module):
    @classmethod
    def example(cls):
        yield cls(3), torch.randn(2, 3)
        yield cls(4), torch.randn(2, 4)

    def __init__(self, n):
        super().__init__()
        self.n = n

    def forward(self, x):
        return 2 * x if self.n == 3 else 2 * x - x.mean(0)
"""
SETTINGS = """
[tool.layersmith.examples]
Hinted = "Hinted(6)(f32[2,6])"
"layers.py::Heavy" = { skip = "needs weights" }
"""


def test_what_was_inferred_is_replayed(layersmith: Layersmith, write: Write, tmp_path: Path) -> None:
    path = write(CLASSES)
    (tmp_path / "pyproject.toml").write_text(SETTINGS)
    lock = tmp_path / "layersmith.lock"
    assert layersmith("check", str(path), "--locked").code == 2

    ended = layersmith("infer", "layers.py")
    assert ended.code == 0, ended.err
    assert "+ layers.py::Attention: Attention(32)(f32[5,7,32])" in ended.out
    first = lock.read_text()
    assert "Hinted" not in first  # the settings say it
    layersmith("infer", ".")
    assert lock.read_text() == first

    options = "--select batch-leak --format json".split()
    ended = layersmith("check", ".", "--locked", *options)
    assert ended.code == 1, ended.err
    assert "from layersmith.lock" in ended.subject("Attention")["inferred_from"]
    assert "from [tool.layersmith.examples]" in ended.subject("Hinted")["inferred_from"]
    assert ended.subject("Heavy")["why"] == "needs weights"
    assert ended.subject("Impossible")["status"] == "skipped"
    assert "(in Two(4)(f32[2,4]) from example())" in str(ended.findings("Two")["batch-leak"])

    path.write_text(
        path.read_text().replace("heads=4", "heads=4, depth=1").replace("Linear(n, n)", "Linear(n, 2)")
    )
    (tmp_path / "pyproject.toml").write_text(SETTINGS.replace("f32[2,6]", "f32[2,7]"))
    ended = layersmith("check", ".", "--locked", *options)
    assert ended.code == 2
    assert "layers.py::Attention: its signature was (dim, heads=4)(x, mask=None)" in ended.err
    ended = layersmith("check", ".", *options)
    assert "from names" in ended.subject("Attention")["inferred_from"]
    stale = ended.subject("Hinted")
    assert stale["status"] == "stale"
    assert "2x7 and 6x2" in stale["why"]
    assert 'Hinted = "Hinted(' in stale["hint"]
