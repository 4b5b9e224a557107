"""`layersmith check` as a user runs it: what it finds, what it prints, how it ends."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Ended

Layersmith = Callable[..., Ended]
Write = Callable[..., Path]
TUTORIAL = str(Path(__file__).parents[2] / "examples" / "tutorial.py")
GOOD = """
class Good(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.linear = nn.Linear(dim, dim)

    def forward(self, x):
        return x + self.linear(x)
"""


def test_the_tutorial_needs_no_hint_and_only_true_things_are_said(layersmith: Layersmith) -> None:
    ended = layersmith("check", TUTORIAL, "--format", "json")
    assert ended.code == 1, ended.err
    assert [subject["status"] for subject in ended.report["subjects"]] == ["checked"] * 3
    assert not ended.findings("CustomReLU")
    for name in ("CustomLinearLayer", "CustomModel"):
        assert set(ended.findings(name)) == {"exploding-signal"}
    result = next(r for r in ended.subject("CustomLinearLayer")["results"] if r["rule"] == "exploding-signal")
    finding = result["findings"][0]
    assert (finding["where"], finding["severity"]) == ("weights", "error")
    assert "torch.randn(in_features" in Path(finding["file"]).read_text().splitlines()[finding["line"] - 1]
    assert finding["numbers"]["std"] == pytest.approx(1.0, abs=0.1)
    assert finding["numbers"]["wanted_std"] == pytest.approx(finding["numbers"]["fan_in"] ** -0.5, rel=0.1)


def test_our_own_layers_have_no_findings(layersmith: Layersmith) -> None:
    ended = layersmith("check", "layersmith.nn", "--format", "json")
    assert ended.code == 0, ended.out
    assert {s["name"] for s in ended.report["subjects"]} == {"Linear", "ScaledReLU", "FeedForward"}
    summary = ended.report["summary"]
    assert (summary["errors"], summary["warnings"], summary["notes"], summary["rules_broken"]) == (0, 0, 0, 0)
    assert summary["rules_run"] > 150


def test_the_terminal_report_fits_80_columns_and_shows_failures_first(layersmith: Layersmith) -> None:
    ended = layersmith("check", TUTORIAL, "--ignore", "compile")
    lines = ended.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "CustomLinearLayer" in lines[0]
    assert "tutorial.py:" in ended.out
    assert "fix:" in ended.out
    assert ended.out.index("CustomReLU") > ended.out.index("CustomModel")
    assert lines[-1].startswith("3 classes, 3 checked")
    assert "\x1b[" not in ended.out


def test_one_class_can_be_named(layersmith: Layersmith) -> None:
    ended = layersmith("check", f"{TUTORIAL}::CustomReLU", "--ignore", "compile", "--format", "json")
    assert (ended.code, [s["name"] for s in ended.report["subjects"]]) == (0, ["CustomReLU"])


def test_an_import_path_with_a_class_works(layersmith: Layersmith) -> None:
    ended = layersmith("check", "torch.nn:Linear", "--select", "forward", "--format", "json")
    assert (ended.code, [s["name"] for s in ended.report["subjects"]]) == (0, ["Linear"])


def test_a_folder_is_searched_and_one_bad_file_costs_only_itself(
    layersmith: Layersmith, write: Write
) -> None:
    write(GOOD, "pkg/good.py")
    write("class Bad(nn.Module):\n    raise ValueError('at import')\n", "pkg/bad.py")
    ended = layersmith("check", "pkg", "--ignore", "compile", "--format", "json")
    assert ended.code == 1, ended.err
    assert ended.subject("Good")["status"] == "checked"
    assert "ValueError" in ended.subject("pkg/bad.py")["why"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.py"], "no such file"),
        (["nowhere.package"], "no module named nowhere"),
        (["syntax.py"], "syntax.py:3: syntax error"),
        (["empty.py"], "nn.Module"),
        (["good.py::Missing"], "Missing"),
        (["good.py", "--select", "batch-lek"], "did you mean 'batch-leak'"),
        (["good.py", "--inputs", "f32[2,"], "f32["),
        (["good.py", "--timeout", "-1"], "positive number of seconds, not -1"),
        (["exits.py"], "sys.exit(3)"),
        (["raises.py"], "raises.py:3"),
        (["needs.py"], "needs no_such_package"),
    ],
)
def test_a_wrong_request_is_exit_code_2_with_a_clear_error(
    layersmith: Layersmith, write: Write, arguments: list[str], said: str
) -> None:
    write(GOOD, "good.py")
    write("x = 1\n", "empty.py")
    write("def f(:\n", "syntax.py")
    write("import sys; print('bye'); sys.exit(3)\n", "exits.py")
    write("raise ValueError('no')\n", "raises.py")
    write("import no_such_package as n\nn.go()\n", "needs.py")
    ended = layersmith("check", *arguments)
    assert ended.code == 2, ended.out
    assert said in ended.err
    assert "Traceback" not in ended.err
    assert ended.out == ""


HOSTILE = """
import os, sys, time

class Prints(nn.Module):
    def __init__(self):
        super().__init__()
        print("constructed")
    def forward(self, x):
        print("called")
        return x * 2

class ConstructorRaises(nn.Module):
    def __init__(self, dim):
        raise ValueError("no such thing")
    def forward(self, x):
        return x

class ForwardRaises(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.linear = nn.Linear(dim, dim)
    def forward(self, x):
        return self.liner(x)

class ExitsInForward(nn.Module):
    def forward(self, x):
        sys.exit(7)

class Dies(nn.Module):
    def forward(self, x):
        os._exit(9)

class Hangs(nn.Module):
    def forward(self, x):
        while True:
            time.sleep(0.1)

class EatsMemory(nn.Module):
    def forward(self, x):
        return torch.empty(10**14) + x

class SeedsAndSwitches(nn.Module):
    def forward(self, x):
        torch.manual_seed(0)
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        return x * 2

class Good(nn.Module):
    def forward(self, x):
        return x * 2
"""


def test_whatever_one_class_does_the_others_are_checked(layersmith: Layersmith, write: Write) -> None:
    path = write(HOSTILE)
    ended = layersmith("check", str(path), "--ignore", "compile", "--timeout", "15", "--format", "json")
    assert ended.code == 1, ended.err
    status = {s["name"]: s["status"] for s in ended.report["subjects"]}
    assert status["Good"] == status["Prints"] == status["SeedsAndSwitches"] == "checked"
    assert status["Dies"] == "crashed"
    assert "exit code 9" in ended.subject("Dies")["why"]
    assert status["Hangs"] in {"timeout", "skipped"}
    assert "no such thing" in ended.subject("ConstructorRaises")["why"]
    assert "called" in ended.subject("Prints")["output"]
    assert "liner" in str(ended.findings("ForwardRaises"))
    assert not ended.findings("Good")
    assert all(s["why"] for s in ended.report["subjects"] if s["status"] != "checked")


def test_waivers_come_from_the_class_and_from_pyproject(layersmith: Layersmith, write: Write) -> None:
    write(
        """
import layersmith

@layersmith.contract(waive={"batch-leak": "compares rows"})
class Contrast(nn.Module):
    def forward(self, x):
        return x - x.mean(0)

class Centre(nn.Module):
    def forward(self, x):
        return x - x.mean(0)

class Leaks(nn.Module):
    def forward(self, x):
        return x - x.mean(0)
"""
    )
    Path(write("", "pyproject.toml", header="")).write_text(
        '[tool.layersmith]\nignore = ["compile"]\n[tool.layersmith.waive]\nCentre = { batch-leak = "on purpose" }\n'
    )
    ended = layersmith("check", "layers.py", "--format", "json")
    assert ended.code == 1
    why = {s["name"]: {r["rule"]: r["why"] for r in s["results"]} for s in ended.report["subjects"]}
    assert why["Contrast"]["batch-leak"] == "waived: compares rows"
    assert why["Centre"]["batch-leak"] == "waived: on purpose"
    assert "batch-leak" in ended.findings("Leaks")
    assert "graph-break" not in why["Leaks"]


def test_a_waiver_of_an_unknown_rule_is_an_error(layersmith: Layersmith, write: Write) -> None:
    write(GOOD)
    Path(write("", "pyproject.toml", header="")).write_text(
        '[tool.layersmith.waive]\nGood = { batch-leek = "x" }\n'
    )
    ended = layersmith("check", "layers.py")
    assert ended.code == 2
    assert "batch-leak" in ended.err


def test_inputs_can_be_said(layersmith: Layersmith, write: Write) -> None:
    path = write(GOOD)
    ended = layersmith(
        "check", f"{path}::Good", "--inputs", "f32[3,8]", "--ignore", "compile", "--format", "json"
    )
    assert (
        "f32[3,8]" in ended.subject("Good")["inferred_from"] or ended.subject("Good")["status"] == "skipped"
    )


def test_the_report_can_go_to_a_file(layersmith: Layersmith, write: Write, tmp_path: Path) -> None:
    path = write(GOOD)
    ended = layersmith(
        "check", str(path), "--ignore", "compile", "--format", "json", "--output", "report.json"
    )
    assert (ended.code, ended.out) == (0, "")
    assert '"schema": 1' in (tmp_path / "report.json").read_text()


def test_progress_goes_to_a_terminal_only(write: Write) -> None:
    path = write(GOOD)
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "layersmith.cli.main", "check", str(path), "--ignore", "compile"],
        stdout=subprocess.DEVNULL,
        stderr=slave,
    )
    os.close(slave)
    shown = b"".join(iter(lambda: _read(master), b"")).decode(errors="replace")
    assert process.wait(timeout=60) == 0
    assert "check" in shown


def _read(terminal: int) -> bytes:
    """What is there to be read; nothing once the other end is closed."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""


SLEEP = "98123"  # seconds: an argument to find the process by
HANGS = f"""
class Hangs(nn.Module):
    def forward(self, x):
        import os
        os.system("setsid sleep {SLEEP}")
        return x
"""


def test_ctrl_c_keeps_what_there_is_and_leaves_no_process(write: Write, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    path = write(GOOD + HANGS)
    with out.open("w") as file:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "layersmith.cli.main", "check", str(path)),
                *"--select input-modified --timeout 300 --format json --jobs 1".split(),
            ],
            stdout=file,
            start_new_session=True,
        )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not _sleeping():
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
    assert '"interrupted": true' in out.read_text()
    assert '"Good"' in out.read_text()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and _sleeping():
        time.sleep(0.1)
    assert not _sleeping()


def _sleeping() -> bool:
    """Whether there is a `sleep` of that many seconds."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes() == f"sleep\0{SLEEP}\0".encode():
                return True
        except OSError:
            continue
    return False


def test_a_folder_with_a_file_that_cannot_be_imported_is_not_fine(
    layersmith: Layersmith, write: Write
) -> None:
    write(GOOD, "pkg/good.py")
    write("class Broken(nn.Module):\n    size = 1 / 0\n", "pkg/broken.py")
    write("import no_such_package as n\nclass Needy(n.Base):\n    pass\n", "pkg/needy.py")
    ended = layersmith("check", "pkg", "--select", "forward", "--format", "json")
    assert ended.code == 1
    assert ended.subject("pkg/broken.py")["status"] == "crashed"
    assert ended.subject("pkg/needy.py")["status"] == "skipped"
    assert ended.subject("pkg/needy.py")["why"].startswith("needs no_such_package")


def test_a_folders_files_without_a_class_are_passed_over(layersmith: Layersmith, write: Write) -> None:
    write(GOOD, "pkg/good.py")
    write("class Vocabulary(object):\n    pass\n", "pkg/vocabulary.py")
    write("from torch import nn\nclass Base(nn.Module):\n    pass\n", "pkg/base.py")
    ended = layersmith("check", "pkg", "--select", "mode", "--format", "json")
    assert ended.code == 0
    assert {one["name"]: one["status"] for one in ended.report["subjects"]} == {
        "Good": "checked",
        "pkg/base.py": "skipped",
    }


def test_a_report_that_cannot_be_written_is_a_wrong_request(layersmith: Layersmith, write: Write) -> None:
    ended = layersmith("check", str(write(GOOD)), "--select", "mode", "--output", "no/such/folder/x.txt")
    assert ended.code == 2
    assert "no/such/folder/x.txt" in ended.err


def test_a_poor_encoding_costs_marks_not_the_report(layersmith: Layersmith, write: Write) -> None:
    path = write(GOOD)
    done = subprocess.run(
        [sys.executable, "-m", "layersmith.cli.main", "check", str(path), "--select", "mode"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        check=False,
    )
    assert done.returncode == 0
    assert b"Good" in done.stdout


DOUBLES = """
class OnlyInFloat32(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, gradient):
        return gradient * (3 if gradient.dtype is torch.float32 else 2)

class Doubles(nn.Module):
    def forward(self, x):
        return OnlyInFloat32.apply(x)
"""


def test_full_examination_of_gradients_can_be_asked_for(layersmith: Layersmith, write: Write) -> None:
    path = write(DOUBLES)
    common = (str(path), "--select", "wrong-gradient", "--format", "json")
    assert not layersmith("check", *common).findings("Doubles")
    assert set(layersmith("check", *common, "--gradients", "full").findings("Doubles")) == {"wrong-gradient"}
