from __future__ import annotations

import inspect
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch  # noqa: F401 - here, so that it is not taken back and imported twice

from layersmith.errors import TargetError
from layersmith.load import importing
from layersmith.load.importing import import_target
from layersmith.load.parents import left_out
from layersmith.load.target import Target

MODULE = "from torch import nn\nclass Net(nn.Module):\n    def forward(self, x): return x\n"


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    modules, path = dict(sys.modules), list(sys.path)
    yield
    for name in set(sys.modules) - set(modules):
        del sys.modules[name]
    assert sys.path == path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_file_is_imported_so_that_pickle_and_getsource_work(tmp_path: Path) -> None:
    module = import_target(Target(str(write(tmp_path / "my_nets.py", MODULE))))
    net = module.Net()
    assert isinstance(pickle.loads(pickle.dumps(net)), module.Net)
    assert "class Net" in inspect.getsource(module.Net)


def test_what_a_constructor_imports_is_found_beside_its_file_in_a_process_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "own_cells.py", MODULE)
    late = "from torch import nn\nclass Late(nn.Module):\n    def __init__(self):\n        from own_cells import Net\n"
    path = write(tmp_path / "own_models.py", late + "        super().__init__()\n        self.net = Net()\n")
    with pytest.raises(ModuleNotFoundError):
        import_target(Target(path=str(path))).Late()
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(importing, "_this", importing._Process())
    importing.watch()
    assert import_target(Target(path=str(path))).Late().net is not None


def test_a_script_is_not_run_as_main(tmp_path: Path) -> None:
    text = MODULE + "if __name__ == '__main__':\n    raise SystemExit\n"
    assert import_target(Target(str(write(tmp_path / "script_of_mine.py", text)))).Net


def test_a_file_in_a_package_may_import_relatively(tmp_path: Path) -> None:
    write(tmp_path / "pack_a" / "__init__.py", "")
    write(tmp_path / "pack_a" / "parts.py", MODULE)
    file = write(tmp_path / "pack_a" / "models" / "net.py", "from ..parts import Net\n")
    write(tmp_path / "pack_a" / "models" / "__init__.py", "")
    assert import_target(Target(str(file))).Net.__module__ == "pack_a.parts"


def test_a_folder_whose_name_is_no_identifier_is_a_package_where_its_files_import_relatively(
    tmp_path: Path,
) -> None:
    write(tmp_path / "my-nets" / "parts.py", "WIDTH = 7\n")
    file = write(tmp_path / "my-nets" / "nets_with_parts.py", "from .parts import WIDTH\n" + MODULE)
    assert import_target(Target(str(file))).WIDTH == 7


def test_a_folder_whose_files_import_relatively_is_a_package_without_saying_so(tmp_path: Path) -> None:
    write(tmp_path / "space_of_nets" / "parts.py", MODULE)
    write(tmp_path / "space_of_nets" / "sizes.py", "WIDTH = 6\n")
    text = "from .parts import Net\nimport space_of_nets.sizes as sizes\n"
    module = import_target(Target(str(write(tmp_path / "space_of_nets" / "net.py", text))))
    assert (module.Net.__module__, module.sizes.WIDTH) == ("space_of_nets.parts", 6)
    other = write(
        tmp_path / "space_of_nets" / "other.py",
        "from .parts import Net\nimport no_such_package_of_all.go as go\ngo()\n",
    )
    with pytest.raises(TargetError, match="needs no_such_package_of_all, which is not installed"):
        import_target(Target(str(other)))


def test_a_file_may_import_its_neighbours_and_what_lies_at_the_root_of_its_project(tmp_path: Path) -> None:
    write(tmp_path / "nearby_parts.py", "A = 1\n")
    write(tmp_path / "shared_parts" / "b.py", "B = 2\n")
    write(tmp_path / "code" / "other_parts.py", "C = 3\n")
    text = "from nearby_parts import A\nfrom shared_parts.b import B\nfrom other_parts import C\n"
    module = import_target(Target(str(write(tmp_path / "code" / "uses_them.py", text))))
    assert (module.A, module.B, module.C) == (1, 2, 3)


def test_a_file_named_like_a_library_hides_nothing(tmp_path: Path) -> None:
    import random

    module = import_target(Target(str(write(tmp_path / "random.py", "Z = 1\n"))))
    assert module.Z == 1
    assert sys.modules["random"] is random


def test_two_files_of_one_name_are_two_modules(tmp_path: Path) -> None:
    first = import_target(Target(str(write(tmp_path / "a" / "net_of_two.py", "V = 1\n"))))
    second = import_target(Target(str(write(tmp_path / "b" / "net_of_two.py", "V = 2\n"))))
    assert (first.V, second.V) == (1, 2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1\nraise ValueError('no data')\n", r"raised ValueError at .*bad.py:2: no data"),
        ("import sys\nsys.exit(3)\n", r"called sys.exit\(3\) at .*bad.py:2"),
        ("raise KeyboardInterrupt\n", r"raised KeyboardInterrupt at .*bad.py:1"),
        ("x = 1\nimport no_such_one as a\na.go()\n", r"skipped: needs no_such_one.*bad.py:2"),
        ("class Net(:\n", r"bad.py:1: syntax error"),
    ],
)
def test_whatever_an_import_raises_is_a_target_error_with_its_line(
    tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(TargetError, match=words):
        import_target(Target(str(write(tmp_path / "bad.py", text))))
    assert "bad" not in sys.modules


def test_an_import_sees_no_command_line_of_ours(tmp_path: Path) -> None:
    module = import_target(
        Target(str(write(tmp_path / "reads_argv.py", "import sys\nARGV = list(sys.argv)\n")))
    )
    assert len(module.ARGV) == 1
    assert module.ARGV[0].endswith("reads_argv.py")


def test_an_import_path_is_imported() -> None:
    assert import_target(Target("", "layersmith.errors")).TargetError is TargetError


def test_a_file_is_imported_although_a_neighbour_needs_what_is_not_installed(tmp_path: Path) -> None:
    write(
        tmp_path / "pack_n" / "__init__.py", "from .base import Net\nfrom .data import load\nPLACE = 'last'\n"
    )
    write(tmp_path / "pack_n" / "base.py", MODULE)
    write(tmp_path / "pack_n" / "data.py", "import no_such_package_of_all as a\na.go()\n")
    file = write(tmp_path / "pack_n" / "vae.py", "from pack_n import Net\nclass Vae(Net): pass\n")
    module = import_target(Target(str(file)))
    assert issubclass(module.Vae, sys.modules["pack_n"].Net)
    assert sys.modules["pack_n"].PLACE == "last"
    assert "no_such_package_of_all" in left_out(module.__name__)


def test_a_file_that_itself_uses_what_is_not_installed_is_still_refused(tmp_path: Path) -> None:
    write(tmp_path / "pack_m" / "__init__.py", "from .data import load\n")
    file = write(tmp_path / "pack_m" / "data.py", "import no_such_package_of_all as a\na.go()\n")
    with pytest.raises(TargetError, match="needs no_such_package_of_all"):
        import_target(Target(str(file)))


def test_what_a_launcher_puts_on_the_path_is_found_in_the_project(tmp_path: Path) -> None:
    write(tmp_path / "proj" / "README.md", "")
    write(tmp_path / "proj" / "src" / "__init__.py", "")
    write(tmp_path / "proj" / "src" / "tools" / "__init__.py", "")
    write(tmp_path / "proj" / "src" / "tools" / "tools.py", "A = 1\n")
    write(tmp_path / "proj" / "src" / "nets" / "__init__.py", "")
    file = write(tmp_path / "proj" / "src" / "nets" / "net_of_tools.py", "from tools import A\n" + MODULE)
    assert import_target(Target(str(file))).A == 1


def test_a_file_may_import_the_folder_in_which_it_lies(tmp_path: Path) -> None:
    folder = tmp_path / "home_of_nets" / "folder_of_nets"
    write(folder / "parts_of_nets.py", MODULE)
    file = write(folder / "net_of_parts.py", "from folder_of_nets.parts_of_nets import Net\n")
    assert import_target(Target(str(file))).Net.__module__ == "folder_of_nets.parts_of_nets"


def test_a_file_of_the_name_of_its_folder_does_not_stand_for_it(tmp_path: Path) -> None:
    write(tmp_path / "tools_of_mine" / "tools_of_mine.py", MODULE)
    text = "from .tools_of_mine import Net\n"
    module = import_target(Target(str(write(tmp_path / "tools_of_mine" / "net_again.py", text))))
    assert module.Net.__module__ == "tools_of_mine.tools_of_mine"


def test_a_neighbour_does_not_hide_the_package_that_is_imported_from(tmp_path: Path) -> None:
    """`layers/utils.py`, beside a file that needs `utils/masking.py`: run from the root, it is no hindrance."""
    for name, text in (
        ("utils/masking.py", "FOUND = 1"),
        ("layers/utils.py", "FOUND = 2"),
        ("layers/attention.py", "from utils.masking import FOUND"),
        ("layers/encoder.py", "from layers.attention import FOUND"),
        ("main.py", ""),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    for name in ("attention", "encoder"):
        module = import_target(Target(str(tmp_path / "layers" / f"{name}.py")))
        assert module.FOUND == 1


def test_globals_that_only_a_script_sets_are_set_and_nothing_else_of_its_start_is_run(tmp_path: Path) -> None:
    text = f"""{MODULE}
class Uses(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.rate = nn.Embedding(n_words, width), args.rate

def heavy(): raise SystemExit

def reads(): return path

if __name__ == "__main__":
    import argparse
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float, default=0.5)
    args = parser.parse_args()
    asking = argparse.ArgumentParser()
    asking.add_argument("file")
    path = asking.parse_args().file
    sentences = ["a b", "b c"]
    words = " ".join(sentences).split()
    n_words = len(set(words))
    width = 4
    other = 5
    model = Uses()
    print("started")
    raise SystemExit
"""
    module = import_target(Target(str(write(tmp_path / "script_of_globals.py", text))))
    uses = module.Uses()
    assert (uses.embed.weight.shape, uses.rate) == ((3, 4), 0.5)
    assert not {"other", "model"} & set(vars(module))
