"""Programs load in a process whose free addresses lie far apart."""

from __future__ import annotations

import subprocess
import sys

from graphc.runtime.near import one_place

# A page is free here and there, with gigabytes between; all else above them is in use.
PROGRAM = """
import mmap
import sys
import numpy as np
import graphc as gc
from graphc.runtime.near import _map, _system

x = gc.placeholder("x", ("n",))
kept = gc.compile([x], gc.softmax(x))
gap, count = 3 << 30, 16
low = _map(gap * count)
for size in (1 << 24, 1 << 20, 1 << 16, mmap.PAGESIZE):
    while _map(size) > low:
        pass
for i in range(count):
    assert _system().munmap(low + i * gap, int(sys.argv[1]) * mmap.PAGESIZE) == 0
for i in range(4):
    f = gc.compile([x], gc.softmax(gc.tanh(x) * (2.0 + i) + gc.exp(x)))
    assert abs(f(np.ones(3, "float32")).sum() - 1) < 1e-6
print("fine")
"""


def test_gaps_far_apart() -> None:
    """Else LLVM aborts the process: a gap of a page has room for one section, not for the next."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "1"], capture_output=True, text=True, timeout=600,
        check=False,
    )  # fmt: skip
    assert done.stdout == "fine\n", done.stderr[-2000:]


def test_what_was_filled_is_free_again() -> None:
    def mapped() -> int:
        with open("/proc/self/maps", encoding="utf-8") as file:
            return sum(line.split()[1] == "---p" for line in file)

    before = mapped()
    for _ in range(50):
        with one_place(100_000):
            pass
    assert mapped() <= before + 2
