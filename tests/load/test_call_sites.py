"""What the places that build a class say of its arguments: options of parsers, names, arithmetic of these."""
# ruff: noqa: ANN001, ANN201, ANN204
# mypy: ignore-errors

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from layersmith.load.build import subject_of_class
from layersmith.load.constructor import callsites
from layersmith.load.importing import import_target
from layersmith.load.target import Target
from layersmith.load.unbuildable import Unbuildable

HEAD = "import torch\nfrom torch import nn\n"

pytestmark = pytest.mark.usefixtures("fresh_modules")


def of_project(folder: Path, name: str, source: str, **files: str) -> type:
    for path, text in {"README.md": "", f"{name}.py": HEAD + source, **files}.items():
        (folder / path).write_text(text)
    return import_target(Target(str(folder / f"{name}.py"))).Net


PAIRED = """
class Net(nn.Module):
    '''The width is that of its table, which no name tells.'''

    def __init__(self, alpha, beta, gain):
        super().__init__()
        table = {6: 24, 24: 6}
        self.first = nn.Linear(table[alpha], beta)
        self.gain = gain

    def forward(self, x):
        return self.first(x) * self.gain
"""
PARSER = """
import argparse
from MODULE import Net
parser = argparse.ArgumentParser()
parser.add_argument("--num-atoms", type=int, default=3)
parser.add_argument("--hidden", type=int, default=8)
parser.add_argument("--plain", action="store_true")
args = parser.parse_args()
"""


def told(folder: Path, name: str, call: str) -> list[dict]:
    text = PARSER.replace("MODULE", name) + call
    return callsites.farther(of_project(folder, name, PAIRED, **{"train.py": text}))


def test_options_of_a_parser_and_arithmetic_of_them_are_followed(tmp_path):
    found = told(
        tmp_path, "sites_a", "model = Net(args.num_atoms * 2, beta=args.hidden, gain=not args.plain)\n"
    )
    assert found == [{"alpha": 6, "beta": 8, "gain": True}]


def test_so_are_names_that_are_bound_once_and_parameters_that_are_options(tmp_path):
    call = """
class Engine:
    def __init__(self, num_atoms, width=None, hidden=5):
        self.twice = 2 * num_atoms
        wide = hidden
        self.model = Net(self.twice, wide, width)
"""
    assert told(tmp_path, "sites_b", call) == [{"alpha": 6, "beta": 5}]


def test_a_name_that_is_bound_twice_says_nothing(tmp_path):
    call = """
beta = args.hidden
beta = beta + unknown()
model = Net(args.num_atoms, beta, config())
"""
    assert told(tmp_path, "sites_c", call) == [{"alpha": 3}]


def test_of_several_values_of_a_name_the_last_before_the_call_counts(tmp_path):
    call = """
def build(size=7):
    h = size
    first = Net(h, h, 1)
    h = 2 * args.hidden
    second = Net(args.num_atoms, h, 2)
    h = 0
    if size:
        g = 3
    else:
        g = 4
    return Net(args.hidden, args.hidden, g)
"""
    found = told(tmp_path, "sites_k", call)
    assert found == [{"alpha": 7, "beta": 7, "gain": 1}, {"alpha": 3, "beta": 16, "gain": 2}]


def test_no_attribute_of_another_object_is_an_option(tmp_path):
    assert told(tmp_path, "sites_d", "model = Net(data.hidden, beta=args.hidden, gain=2)\n") == [
        {"beta": 8, "gain": 2}
    ]


def test_a_class_that_no_guess_builds_is_built_as_the_project_does(tmp_path):
    text = PARSER.replace("MODULE", "sites_e") + "model = Net(args.num_atoms * 2, args.hidden, 1.0)\n"
    subject = subject_of_class(of_project(tmp_path, "sites_e", PAIRED, **{"train.py": text}))
    assert subject.inferred_from.startswith("Net(6, 8, 1.0)(f32[5,24])")
    assert "from a call in the project" in subject.inferred_from


def test_an_accelerator_that_is_not_there_is_the_processor(tmp_path):
    call = 'device = "npu:0"\nmodel = Net(args.num_atoms, device, 1)\n'
    assert told(tmp_path, "sites_f", call) == [{"alpha": 3, "beta": "cpu", "gain": 1}]


SETTINGS = """
class Net(nn.Module):
    def __init__(self, args):
        super().__init__()
        known = {"d20w64": ""}
        self.url = known["d{}w{}".format(args.n_layers, args.n_feats)]
        self.ups = nn.ModuleList(nn.Upsample(scale_factor=int(s)) for s in args.scale)
        self.last = nn.Conv2d(args.n_feats, args.n_feats, 4 - args.scale[0], padding=(3 - args.scale[0]) // 2)

    def forward(self, x):
        return self.ups[0](self.last(x))
"""
OPTIONS = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--scale", type=str, default="1+2")
parser.add_argument("--n_layers", type=int, default=16)
parser.add_argument("--n_feats", type=int, default=64)
args = parser.parse_args()
if args.model == "Net":
    args.n_layers = 20
if args.model == "Other":
    args.n_layers = 30
    args.n_feats = 512
args.scale = [int(x) for x in args.scale.split("+")]
"""


def test_settings_are_those_of_the_class_and_texts_of_numbers_are_taken_apart(tmp_path):
    subject = subject_of_class(of_project(tmp_path, "sites_g", SETTINGS, **{"option.py": OPTIONS}))
    assert "n_feats=64, n_layers=20, scale=[1, 2]" in subject.inferred_from


CONTAINS = """
class Net(nn.Module):
    def __init__(self, dim, suffix):
        super().__init__()
        self.kind = suffix
        if "_springs" in self.kind:
            self.steps = 1
        elif "_charged" in self.kind:
            self.steps = 2
        self.map = nn.Linear(dim, dim)

    def forward(self, x):
        for _ in range(self.steps):
            x = self.map(x)
        return x
"""


def test_a_text_that_is_looked_for_in_an_argument_is_such_a_text(tmp_path):
    assert "'_springs'" in subject_of_class(of_project(tmp_path, "sites_h", CONTAINS)).inferred_from


KEYS = """
class Net(nn.Module):
    def __init__(self, params, marks):
        super().__init__()
        self.map = nn.Linear(params["width"], params["width"])
        if "bias" in params:
            self.map.bias = None
        self.gains = nn.ParameterList(nn.Parameter(torch.ones(1) * len(str(one))) for one in marks)
        if "skip" in marks:
            self.gains = self.gains[1:]

    def forward(self, x):
        return self.map(x) * self.gains[0]
"""


def test_settings_that_are_asked_for_a_key_and_lists_stay_what_they_are(tmp_path):
    found = subject_of_class(of_project(tmp_path, "sites_i", KEYS)).inferred_from
    assert "dict(width=32)" in found
    assert "'skip'" not in found


class ByKind(nn.Module):
    """Settings that are read by methods of their kind, some with defaults; one is handed on."""

    def __init__(self, conf):
        super().__init__()
        self.use_gain = conf.get_bool("use_gain")
        self.map = nn.Linear(conf.get_int("width"), conf.get_int("out_width", 7))
        self.drop = make_drop(conf["dropping"])

    def forward(self, x):
        return self.drop(self.map(x)) * (2 if self.use_gain else 1)


def make_drop(conf):
    return nn.Dropout(conf.get_float("rate", 0.0))


def test_settings_that_are_read_by_kind_have_values_of_it():
    found = subject_of_class(ByKind)
    assert found.inferred_from.startswith("ByKind(dict(dropping=dict(), use_gain=False, width=32))")
    assert found.build(0).map.out_features == 7


CALLED = """
class Net(nn.Module):
    '''Its text is compared as if it were the only one.'''

    def __init__(self, plan):
        super().__init__()
        self.parts = nn.ModuleList()
        for name, sizes in plan:
            if name is 'linear':
                self.parts.append(nn.Linear(*sizes))
            elif name is 'tanh':
                self.parts.append(nn.Tanh())
            else:
                raise NotImplementedError

    def forward(self, x):
        for part in self.parts:
            x = part(x)
        return x
"""
CALLERS = """
import argparse
from sites_j import Net

class Engine:
    def __init__(self, args, plan):
        self.net = Net(plan)

def main(args):
    plan = [("linear", [6, args.ways]), ("tanh", []), ("linear", [args.ways, 2 * args.ways])]
    Engine(args, plan)

parser = argparse.ArgumentParser()
parser.add_argument("--ways", type=int, default=5)
main(parser.parse_args())
"""


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
def test_what_a_class_hands_on_is_what_its_own_callers_give_it(tmp_path):
    subject = subject_of_class(of_project(tmp_path, "sites_j", CALLED, **{"train.py": CALLERS}))
    plan = "[('linear', [6, 5]), ('tanh', []), ('linear', [5, 10])]"
    assert subject.inferred_from.startswith(f"Net({plan})(f32[5,6])")


class Listed(nn.Module):
    def __init__(self, blocks=None):
        super().__init__()
        assert isinstance(blocks, list), "blocks should be a list"
        self.map = nn.Linear(blocks[0].width, blocks[0].width)


def test_the_arguments_that_are_told_are_those_of_the_error():
    with pytest.raises(Unbuildable, match=r"Listed\(\) raised AssertionError: blocks should be a list"):
        subject_of_class(Listed)
