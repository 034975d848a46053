"""Every example runs alone, in a directory of its own, and does what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def _run(name: str, directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(EXAMPLES.parent)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_digits_learns(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    done = _run("digits.py", tmp_path, "--no-draw")
    found = re.search(r"^test accuracy: (0\.\d+)$", done.stdout, re.MULTILINE)
    assert found is not None, done.stdout
    assert float(found[1]) >= 0.97
    nodes = re.search(r"^nodes: (\d+), optimised: (\d+)$", done.stdout, re.MULTILINE)
    assert nodes is not None, done.stdout
    assert int(nodes[2]) < int(nodes[1])
    assert re.search(r"^kernels: [1-9]\d*$", done.stdout, re.MULTILINE)
    assert re.search(r"^time per step: [1-9]\d* us", done.stdout, re.MULTILINE)
    assert "epoch 30/30" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("model", "epochs", "floor"), [("cnn", 20, 0.97), ("lstm", 40, 0.96)])
def test_digits_by_other_models(model: str, epochs: int, floor: float, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    done = _run("digits.py", tmp_path, "--model", model, "--no-draw")
    found = re.search(r"^test accuracy: (0\.\d+)$", done.stdout, re.MULTILINE)
    assert found is not None, done.stdout
    assert float(found[1]) >= floor
    assert f"epoch {epochs}/{epochs}" in done.stderr


def test_digits_draws(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    done = _run("digits.py", tmp_path, "--epochs", "1", "--seed", "3")
    assert "epoch 1/1" in done.stderr
    for drawing in ("digits-graph.svg", "digits-kernels.svg"):
        assert "<svg" in (tmp_path / drawing).read_text(encoding="utf-8")
