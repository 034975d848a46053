"""The example, by two workers and a parameter server, and the picture of who holds what."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import graphc as gc
from graphc.errors import ArgumentError

from .problems import LABELS, OPTIONS, X, trainer

ROOT = Path(__file__).resolve().parents[2]


def test_digits_by_two_workers_and_a_server(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    pytest.importorskip("sklearn")
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples/digits_distributed.py")], cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=600,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = re.search(r"^test accuracy: (0\.\d+)$", done.stdout, re.MULTILINE)
    assert found is not None, done.stdout
    assert float(found[1]) >= 0.97
    assert "server 2 (process" in done.stdout
    assert "parameter server 1 of 1" in (tmp_path / "digits-placement.svg").read_text()


def test_placement() -> None:
    made: Any = trainer()
    with pytest.raises(ArgumentError, match="call fit first"):
        gc.draw(made, view="placement")
    made.fit(X, LABELS, **OPTIONS)
    text = gc.draw(made, view="placement").source
    assert "shards 1 to 2" in text
    for word in ("client", "master", "worker 1 of 1", "shared memory", "all variables"):
        assert word in text
    with pytest.raises(ArgumentError, match=r"expected: +a gc\.distributed\.Trainer"):
        gc.draw(made.model, view="placement")
