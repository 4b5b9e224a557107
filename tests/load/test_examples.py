"""`[tool.layersmith.examples]`: the most exact name counts, mistakes are named."""

from __future__ import annotations

import pytest

from layersmith.errors import UsageError
from layersmith.load import examples
from layersmith.load.examples import Example


def test_the_most_exact_name_counts() -> None:
    table = {
        "Block": "Block(1)(f32[1])",
        "pkg.attn.Block": ["Block(2)(f32[2])", "Block(3)(f32[3])"],
        "other/attn.py::Block": {"skip": "needs weights"},
    }
    found = examples.parse(table, source="pyproject.toml")
    assert examples.of(found, file="x.py", module="x", name="Block") == Example(("Block(1)(f32[1])",))
    assert len(examples.of(found, file="attn.py", module="pkg.attn", name="Block").calls) == 2  # type: ignore[union-attr]
    assert examples.of(found, file="/a/other/attn.py", module="attn", name="Block") == Example(
        skip="needs weights"
    )
    assert examples.of(found, file="another/attn.py", module="x", name="Other") is None


@pytest.mark.parametrize(
    ("value", "said"),
    [(3, "must be"), ([], "must be"), ({"skip": " "}, "needs a reason"), ({"skp": "x"}, "must be")],
)
def test_a_mistake_names_the_class(value: object, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        examples.parse({"Block": value}, source="pyproject.toml")
    assert "pyproject.toml: example of 'Block'" in str(caught.value)
