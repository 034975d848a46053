"""The command line: what each command prints, and how it ends where it cannot."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from graphc.cli import main

MODEL = '''\
import numpy as np
import graphc as gc

x = gc.placeholder("x", ("n", 3))
w = gc.variable(np.ones(3, "float32"), "w")
loss = gc.mean(gc.square(x @ w))
both = {"loss": loss, "parts": [gc.tanh(x)]}
graph = gc.Graph([x], [loss], name="mean_square")
step = gc.compile([x], loss, updates={w: w - 0.1 * gc.grad(loss, w)}, name="step")
number = 3

class names:
    inner = loss

@gc.jit
def called(a):
    return gc.exp(a) * 2

called(np.ones(2))

@gc.jit
def not_called(a):
    return a
'''


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "its_model.py").write_text(MODEL)
    monkeypatch.delitem(sys.modules, "its_model", raising=False)
    return "its_model.py"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(arguments)
    told = capsys.readouterr()
    return status, told.out, told.err


def test_drawings(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("loss", "both", "graph", "step", "called", "names.inner"):
        status, out, err = run(capsys, "draw", f"{model}:{name}", "-o", "picture.dot")
        assert (status, out, err) == (0, "picture.dot\n", "")
        assert Path("picture.dot").read_text().count("digraph") == 1
    status, out, _ = run(capsys, "draw", f"{model}:loss", "--view", "kernels", "-o", "kernels.dot")
    assert status == 0
    assert "cluster" in Path("kernels.dot").read_text()
    status, _, _ = run(capsys, "draw", f"{model}:loss", "--level", "full", "-o", "full.dot")
    assert status == 0
    assert Path("full.dot").read_text() != Path("picture.dot").read_text()
    assert run(capsys, "draw", "its_model:loss", "--direction", "LR")[:2] == (0, "loss.svg\n")
    assert "<svg" in Path("loss.svg").read_text()


def test_text(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = {
        ("emit", "graph", "--text"): "graph mean_square(%x: f32[n,3])",
        ("emit", "step", "--source"): "def kernel",
        ("emit", "loss", "--source"): "def kernel",
        ("emit", "called", "--llvm"): "define",
        ("emit", "step", "--asm"): ".globl",
        ("explain", "step"): "its_model.py:6",
        ("latex", "loss"): r"x w",
        ("latex", "both"): r"\tanh",
    }
    for (command, name, *rest), text in wanted.items():
        status, out, err = run(capsys, command, f"{model}:{name}", *rest)
        assert (status, err) == (0, "")
        assert text in out
        assert out.endswith("\n")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("loss", "FILE:OBJECT"),
        ("its_model.py:", "FILE:OBJECT"),
        ("none.py:loss", "no such file"),
        ("no_such_module:loss", "cannot be imported"),
        ("its_model.py:lost", "there is no 'lost' in it"),
        ("its_model.py:loss.lost", "there is no 'lost' in it"),
        ("its_model.py:number", "not something that graphc compiles"),
        ("its_model.py:not_called", "was not called yet"),
        ("broken.py:loss", "ZeroDivisionError"),
        ("wrong.py:loss", "expected"),
    ],
)
def test_mistakes(name: str, text: str, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("broken.py").write_text("1 / 0\n")
    Path("wrong.py").write_text("import graphc as gc\ngc.placeholder('x', (-1,))\n")
    status, out, err = run(capsys, "explain", name)
    assert (status, out) == (1, "")
    assert err.startswith("graphc: ")
    assert text in err
    assert "Traceback" not in err


def test_only_lines_of_the_users_are_told(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An error in the file says where; one of the command line has no line to mend."""
    Path("wrong.py").write_text("import graphc as gc\n\ngc.placeholder('x', (3,)) @ gc.eye(2)\n")
    status, _, err = run(capsys, "draw", "wrong.py:x")
    assert status == 1
    assert "wrong.py:3" in err
    for command in (["demo", "--epochs", "0"], ["demo", "-o", f"{model}/x"]):
        status, _, err = run(capsys, *command)
        assert (status, err.count("\n  at: ")) == (1, 0), err
    Path("ends.py").write_text("import sys\nsys.exit(3)\n")
    status, _, err = run(capsys, "draw", "ends.py:x")
    assert (status, "SystemExit: 3" in err) == (1, True)


@pytest.mark.parametrize("start", [["-m", "graphc"], ["graphc"]])
def test_however_it_is_started(start: list[str], tmp_path: Path) -> None:
    """As a module, and as a script by a path with dots in it."""
    script = tmp_path / "bin" / "graphc"
    script.parent.mkdir()
    script.write_text("import sys\nfrom graphc.cli import main\nsys.exit(main())\n")
    path = os.path.join(tmp_path, "bin", "..", "bin", "graphc")
    command = [sys.executable, *(start if start[0] == "-m" else [path]), "draw", "none.py:step"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "graphc: there is no such file"
    assert "at: " not in done.stderr


def test_a_profile_is_drawn(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "draw", f"{model}:step", "--view", "profile")
    assert (status, "times are those of a call" in err) == (1, True)
    with Path(model).open("a") as file:
        file.write("times = step.profile([np.ones((5, 3), 'float32')], runs=1)\n")
    found = run(capsys, "draw", f"{model}:times", "-o", "times.dot")
    assert found == (0, "times.dot\n", "")
    assert "of the limit" in Path("times.dot").read_text()


def test_a_report(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "report", f"{model}:step")
    assert (status, out, err) == (0, "step.html\n", "")
    assert "kernel0" in Path("step.html").read_text(encoding="utf-8")
    status, out, err = run(capsys, "report", f"{model}:step", "-o", "none/step.html")
    assert (status, out) == (1, "")
    assert "cannot be written" in err


def test_the_demo(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, out, _ = run(capsys, "demo", "-o", str(tmp_path / "shown"), "--epochs", "2")
    assert status == 0
    accuracy = re.search(r"accuracy on \d+ digits that it has not seen: ([\d.]+)%", out)
    assert accuracy
    assert float(accuracy[1]) > 80
    for name in ("graph.svg", "kernels.svg", "report.html"):
        assert str(tmp_path / "shown" / name) in out
        assert (tmp_path / "shown" / name).stat().st_size > 1000
    (tmp_path / "file").touch()
    for arguments, text in (
        (["-o", str(tmp_path / "file")], "the folder cannot be made"),
        (["--epochs", "0"], "not a number of epochs"),
    ):
        status, _, err = run(capsys, "demo", *arguments)
        assert status == 1
        assert text in err
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    status, _, err = run(capsys, "demo")
    assert status == 1
    assert "graphc[examples]" in err


def test_a_wrong_command_line_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["emit", "a.py:b"], ["draw", "a.py:b", "--view", "none"], ["lost"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "examples:" in capsys.readouterr().out


def test_the_cache(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(store))
    assert run(capsys, "cache", "verify")[:2] == (
        0, "0 entries, 0 of them damaged (they are made anew)\n"
    )  # fmt: skip
    import graphc as gc

    x = gc.placeholder("x", ("cli", 3))
    gc.compile([x], gc.cos(x) * 3.25)
    (store / "not-ours.txt").write_text("kept")
    status, out, _ = run(capsys, "cache", "info")
    assert status == 0
    assert f"directory  {store}" in out
    assert "programs   1\n" in out
    program = next(store.glob("*.graphc"))
    program.write_bytes(program.read_bytes()[:-1])
    status, out, _ = run(capsys, "cache", "verify")
    assert status == 1
    assert f"damaged: {program}" in out
    status, out, _ = run(capsys, "cache", "clear")
    assert status == 0
    assert [p.name for p in store.iterdir()] == ["not-ours.txt"]


def test_info_in_a_process_of_its_own() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "graphc", "info"],
        capture_output=True, text=True, timeout=600, env=os.environ,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("graphc", "python", "numpy", "numba", "processor", "blas", "threads", "cache"):
        assert f"\n{name} " in f"\n{done.stdout}"
