"""The notebook in docs/ runs, and has the outputs that its cells give."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_first_course(tmp_path: Path) -> None:
    """In a process of its own, as the pages."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.notebooks",
         str(ROOT / "docs" / "first_course.ipynb")],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-6000:]
    assert int(done.stdout.split()[1]) > 10
