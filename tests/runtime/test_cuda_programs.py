"""Programs for a card on a driver whose card is this processor, through the real cuda-bindings: the
quick ones. Row R30 of the scoreboard runs all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runtime.cuda_stub.on_this_processor import run_programs, why_not

QUICK = "homes or lost or fork or devices or own_their_memory or where_it_is or out_of_memory"


@pytest.mark.skipif(why_not() != "", reason=why_not())
def test_programs_on_the_stub(tmp_path: Path) -> None:
    done = run_programs(tmp_path, "-k", QUICK)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


@pytest.mark.skipif(why_not() != "", reason=why_not())
def test_no_driver() -> None:
    code = (
        "import numpy as np, graphc as gc\n"
        "x = gc.placeholder('x', (3,)); one = np.ones(3, 'float32')\n"
        "try: gc.compile([x], x + 1.0, target='cuda')(one)\n"
        "except gc.errors.DeviceError as error: print(error.given)\n"
        "print(gc.compile([x], x + 1.0, target='auto')(one)[0])\n"
    )
    env = {k: v for k, v in os.environ.items() if k != "LD_LIBRARY_PATH"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    said, answer = done.stdout.splitlines()[0], done.stdout.splitlines()[-1]
    if os.path.exists("/proc/driver/nvidia"):
        pytest.skip("there is a driver")
    assert said.startswith("no driver"), done.stdout
    assert answer == "2.0"
