"""A bias, relu and a max-pool of 2 x 2, one kernel: `python tests/benchmarks/pooling.py`.

Its time beside that of its bytes at the bandwidth that `gc.machine(again=True)` measures just
before, with the channels first and last. On a machine that does other things too, neither means
much; run it on a quiet one.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import graphc as gc

SHAPE = 16, 64, 112, 112  # 51 MB, beyond what caches hold
WANTED = 0.8  # of the bandwidth


def share(is_last: bool) -> float:
    """The share of this machine's bandwidth that the kernel reaches."""
    n, c, height, width = SHAPE
    shape = (n, height, width, c) if is_last else SHAPE
    x, b = gc.placeholder("x", shape), gc.placeholder("b", (c,))
    wide = b if is_last else gc.reshape(b, (c, 1, 1))
    data_format = "NHWC" if is_last else "NCHW"
    step = gc.compile([x, b], gc.max_pool(gc.relu(x + wide), 2, data_format=data_format))
    assert len(step.kernels) == 1
    arrays = [np.random.default_rng(0).standard_normal(s, "float32") for s in (shape, (c,))]
    (timed,) = [s for s in step.profile(arrays).steps if s.kind == "kernel"]
    return float(timed.bytes / timed.seconds / gc.machine().bandwidth)


def main() -> int:
    """Print both; 1 if one is below what is wanted."""
    speed = gc.machine(again=True)
    print(f"bandwidth {speed.bandwidth / 1e9:.1f} GB/s")
    missed = 0
    for name, is_last in (("channels first", False), ("channels last", True)):
        found = share(is_last)
        print(f"{name:15} {found:.2f} of it")
        missed += found < WANTED
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
