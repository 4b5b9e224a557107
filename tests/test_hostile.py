"""Code that harms: whatever a file or class does, the others are checked, nothing outside is changed, nothing is left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import HEADER, Ended

SECONDS = 15  # for one class: what is honest needs a tenth of a second, some of the others have to be stopped
SLEEP = "96317"  # the argument of every `sleep` started here, to find those that are left
FORWARD = "    def forward(self, x):\n        return x * 2\n"


@dataclass(frozen=True, slots=True)
class Case:
    """A hostile file, and how its class Hostile, or else its import, may end."""

    code: str
    status: str
    said: str = ""


def forward(body: str) -> str:
    """A class whose forward does this."""
    return f"class Hostile(nn.Module):\n    def forward(self, x):\n        {body}\n        return x * 2\n"


def init(body: str) -> str:
    """A class whose constructor does this."""
    head = "class Hostile(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
    return f"{head}        {body}\n{FORWARD}"


def top(body: str) -> str:
    """A file that does this when it is imported."""
    return f"{body}\nclass Hostile(nn.Module):\n{FORWARD}"


def method(name: str, body: str) -> str:
    """A class with a special method that does this."""
    return f"class Hostile(nn.Module):\n    def {name}(self, *args):\n        {body}\n{FORWARD}"


CASES = {
    "loop_in_import": Case(top("import time\nwhile True: time.sleep(1)"), "checked", "does not end"),
    "loop_in_init": Case(init("import time\n        while True: time.sleep(1)"), "timeout", "took more than"),
    "loop_in_forward": Case(forward("while True: pass"), "timeout", "took more than"),
    "loop_in_repr": Case(method("__repr__", "while True: pass"), "checked timeout"),
    "loop_in_del": Case(method("__del__", "import time; time.sleep(1e6)"), "checked timeout"),
    "segfault": Case(forward("import ctypes; ctypes.string_at(0)"), "crashed", "SIGSEGV"),
    "one_terabyte": Case(forward("y = torch.empty(2**38)"), "skipped checked timeout"),
    "one_terabyte_in_init": Case(init("self.y = torch.empty(2**38)"), "skipped"),
    "wide_and_deep": Case(
        init("self.a = nn.ModuleList(nn.Linear(16384, 65536) for _ in range(80))"), "skipped timeout"
    ),
    "memory_eater": Case(forward("kept = [bytearray(1 << 34) for _ in range(100)]"), "skipped crashed checked"),
    "recursion": Case(forward("return self.forward(x)"), "skipped checked crashed"),
    "sys_exit": Case(forward("import sys; sys.exit(3)"), "crashed skipped", "sys.exit(3)"),
    "sys_exit_in_import": Case(top("import sys; sys.exit(3)"), "checked", "SystemExit: 3"),
    "os_exit": Case(forward("import os; os._exit(7)"), "crashed", "exit code 7"),
    "os_exit_in_import": Case(top("import os; os._exit(7)"), "crashed", "exit code 7"),
    "abort": Case(init("import os; os.abort()"), "crashed", "SIGABRT"),
    "base_exception": Case(forward("raise BaseException('no')"), "crashed skipped", "BaseException"),
    "keyboard_interrupt": Case(init("raise KeyboardInterrupt"), "crashed skipped", "KeyboardInterrupt"),
    "interrupts_itself": Case(
        forward("import os, signal; os.kill(os.getpid(), signal.SIGINT)"), "crashed skipped"
    ),
    "stops_itself": Case(forward("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"), "timeout"),
    "kills_its_parent": Case(forward("import os; os.kill(os.getppid(), 9)"), "skipped crashed"),
    "kills_its_group": Case(forward("import os; os.killpg(0, 9)"), "crashed", "SIGKILL"),
    "fork": Case(forward("import os; os.fork()"), "checked"),
    "fork_in_import": Case(top("import os; os.fork()"), "checked"),
    "orphan": Case(forward(f"import os; os.system('setsid sleep {SLEEP} &')"), "checked"),
    "orphan_in_import": Case(
        top(f"import subprocess; subprocess.Popen(['sleep', '{SLEEP}'], start_new_session=True)"), "checked"
    ),
    "double_orphan": Case(
        init(f"import os; os.system('setsid sh -c \"sleep {SLEEP} & sleep {SLEEP} &\" &')"), "checked"
    ),
    "thread": Case(
        init("import threading, time; threading.Thread(target=time.sleep, args=(1e6,)).start()"), "checked"
    ),
    "deletes_in_cwd": Case(init("import os; os.remove('canary')"), "skipped", "--unconfined"),
    "deletes_by_shell": Case(init("import os; os.system('rm -rf canary')"), "checked"),
    "writes_in_cwd": Case(init("open('written', 'w')"), "skipped", "--unconfined"),
    "writes_in_home": Case(
        init("import pathlib; (pathlib.Path.home() / 'layersmith-was-here').touch()"), "skipped"
    ),
    "writes_by_descriptor": Case(
        init("import os; [os.write(n, b'x' * 9) for n in range(3, 30) if os.path.exists(f'/dev/fd/{n}')]"),
        "checked crashed skipped",
    ),
    "network": Case(
        init("torch.hub.load_state_dict_from_url('https://example.org/weights.pth', model_dir='.')"),
        "checked",
    ),
    "network_by_socket": Case(
        init("import socket; socket.create_connection(('93.184.216.34', 80))"), "skipped", "network is off"
    ),
    "prints_100_mb": Case(forward("[print('x' * 10**6) for _ in range(100)]"), "checked timeout"),
    "closes_stdout": Case(forward("import sys; sys.stdout.close(); sys.stderr = None"), "checked skipped"),
    "closes_everything": Case(forward("import os; os.closerange(0, 99)"), "crashed"),
    "default_dtype": Case(forward("torch.set_default_dtype(torch.float64)"), "checked"),
    "default_device": Case(init("torch.set_default_device('meta')"), "checked skipped timeout"),
    "grad_mode": Case(forward("torch.set_grad_enabled(False)"), "checked"),
    "threads": Case(forward("torch.set_num_threads(3)"), "checked"),
    "seeds": Case(forward("import random; random.seed(0); torch.manual_seed(0)"), "checked"),
    "warnings": Case(top("import warnings; warnings.simplefilter('error')"), "checked"),
    "cwd": Case(init("import os; os.chdir('/')"), "checked"),
    "environment": Case(init("import os; os.environ.clear()"), "checked"),
    "sys_path": Case(top("import sys; sys.path.clear()"), "checked"),
    "monkeypatches_torch": Case(top("torch.allclose = torch.equal = lambda *a, **k: True"), "checked"),
    "breaks_torch": Case(top("nn.Module.__call__ = lambda self, *a: None"), "checked skipped"),
    "getattr_lies": Case(method("__getattr__", "return self"), "checked skipped crashed"),
    "getattribute_raises": Case(method("__getattribute__", "raise RuntimeError('no')"), "checked skipped crashed"),
    "metaclass": Case(
        "class Meta(type):\n    def __call__(cls, *a, **k): return 7\n    def __instancecheck__(cls, x): return True\n"
        f"class Hostile(nn.Module, metaclass=Meta):\n{FORWARD}",
        "checked skipped crashed",
    ),
    "no_main_guard": Case(top("model = nn.Linear(4, 4); loss = model(torch.ones(2, 4)).sum(); loss.backward()"),
                          "checked"),
    "arguments": Case(top("import argparse; argparse.ArgumentParser().parse_args()"), "checked crashed"),
    "needs_a_package": Case(top("import no_such_one as n\nn.go()"), "checked", "No module named"),
    "names_a_package": Case(top("import no_such_one"), "checked"),
    "signal_handlers": Case(
        top("import signal\nfor n in (15, 2): signal.signal(n, signal.SIG_IGN)"), "checked"
    ),
    "alarm": Case(init("import signal; signal.alarm(1); import time; time.sleep(3)"), "crashed", "SIGALRM"),
    "generator_forward": Case(forward("yield x"), "checked skipped"),
}  # fmt: skip
FILES = {
    "package/__init__.py": "",
    "package/parts.py": f"class Part(nn.Module):\n{FORWARD}",
    "package/relative.py": f"from .parts import Part\nclass Relative(nn.Module):\n{FORWARD}",
    "package/circle.py": f"from . import round\nclass Circle(nn.Module):\n{FORWARD}",
    "package/round.py": f"from . import circle\nclass Round(nn.Module):\n{FORWARD}",
    "twins.py": f"class Twin(nn.Module):\n{FORWARD}\nclass Twin(nn.Module):\n{FORWARD}",
    "exported.py": f"# coding: utf-8\n# In[1]:\n\nget_ipython = None\n# In[2]:\nclass Exported(nn.Module):\n{FORWARD}",
    "zz_good.py": f"class Good(nn.Module):\n{FORWARD}",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hostile")
    files = {f"h_{name}.py": case.code for name, case in CASES.items()} | FILES
    for name, code in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(HEADER + code)
    (root / "canary").write_text("alive")
    return root


@pytest.fixture(scope="module")
def report(folder: Path) -> Iterator[dict[str, Any]]:
    """One run over all of it."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "layersmith.cli.main", "check", ".", "--select", "forward-raises"),
            *f"--format json --timeout {SECONDS} --jobs 3".split(),
        ],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=500,
        check=False,
    )
    ended = Ended(done.returncode, done.stdout, done.stderr)
    assert ended.code == 1, ended.err
    yield ended.report
    assert not list(Path.home().glob("layersmith-was-here"))


@pytest.fixture(scope="module")
def by_file(report: dict[str, Any], folder: Path) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for subject in report["subjects"]:
        name = os.path.relpath(folder / subject["file"], folder)
        found.setdefault(name, []).append(subject)
    return found


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_file_costs_only_itself(by_file: dict[str, list[dict[str, Any]]], name: str) -> None:
    [subject] = by_file[f"h_{name}.py"]
    case = CASES[name]
    assert subject["status"] in case.status.split(), subject["why"]
    told = json.dumps([subject[key] for key in ("why", "hint", "inferred_from", "results")])
    assert case.said in told
    assert ("without the weights" in subject["inferred_from"]) is (name == "network")


@pytest.mark.parametrize("name", [name for name in FILES if not name.endswith("__init__.py")])
def test_odd_but_honest_files_are_checked(by_file: dict[str, list[dict[str, Any]]], name: str) -> None:
    [subject] = by_file[name]
    assert subject["status"] == "checked", subject["why"]


def test_nothing_outside_is_changed(report: dict[str, Any], folder: Path) -> None:
    assert (folder / "canary").read_text() == "alive"
    assert {path.name for path in folder.iterdir()} == {
        "canary", "package", *(f"h_{name}.py" for name in CASES), *(n for n in FILES if "/" not in n),
    }  # fmt: skip


def test_no_process_is_left(report: dict[str, Any]) -> None:
    deadline = time.monotonic() + 20
    while left := _sleeping():
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def test_the_report_is_in_the_order_of_files(report: dict[str, Any]) -> None:
    files = [subject["file"] for subject in report["subjects"] if subject["line"]]
    assert files == sorted(files, key=lambda file: ("/package/" in file, file))


def _sleeping() -> list[str]:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_text(errors="replace"))
        except OSError:
            continue
    return [line for line in lines if SLEEP in line and "sleep" in line]
