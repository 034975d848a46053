"""The text of launches is Python of `numba.cuda`: Numba's own `@cuda.jit` takes it, in its
simulator, and gives the bits that ours does."""

import os
import subprocess
import sys


def test_numbas_simulator_gives_the_same_bits() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.lower.numba_simulator"],
        env=os.environ | {"NUMBA_ENABLE_CUDASIM": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = done.stdout.splitlines()
    assert len(lines) == 5
    assert all(line.endswith(" 0") for line in lines), done.stdout
