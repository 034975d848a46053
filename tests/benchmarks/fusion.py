"""Each program with its kernels fused, beside the same with every op in a kernel of its own:
`python tests/benchmarks/fusion.py`.

Both are compiled by graphc, on one thread, and timed in turn. A ratio above 1.05 fails.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter

os.environ |= {"GRAPHC_CACHE": "0", "GRAPHC_THREADS": "1"}
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import cases, mlp, models
from benchmarks.harness import Prepared

from graphc.fusion import fuse

PROGRAMS: dict[str, Callable[[str], Prepared]] = {
    "tanh-GELU, value and gradient": cases.gelu,
    "LayerNorm gradient": cases.layernorm_grad,
    "softmax cross-entropy, value and gradient": cases.softmax_xent,
    "Black-Scholes price": cases.black_scholes,
    "attention gradient": models.attention_grad,
    "LSTM gradient": models.lstm_grad,
    "MLP step 128": mlp.mlp_step_128,
}
SECONDS = 2.0  # of timing for each program
LIMIT = 1.05


@contextmanager
def unfused() -> Iterator[None]:
    """Programs compiled inside have a kernel for each op."""
    merge, inline = fuse._try_merge, fuse.inline_cheap
    fuse._try_merge = lambda *_: None
    fuse.inline_cheap = lambda *_: None
    try:
        yield
    finally:
        fuse._try_merge, fuse.inline_cheap = merge, inline


def compare(program: Callable[[str], Prepared]) -> tuple[float, float]:
    """The median seconds of a call, fused and not."""
    runs = [program("graphc").call]
    with unfused():
        runs.append(program("graphc").call)
    times: list[list[float]] = [[], []]
    end = perf_counter() + SECONDS
    while perf_counter() < end:
        for run, found in zip(runs, times, strict=True):
            start = perf_counter()
            run()
            found.append(perf_counter() - start)
    return median(times[0]), median(times[1])


def main() -> int:
    """Print the table; 1 if a fused program is slower."""
    print(f"{'program, one thread':44} {'fused':>10} {'not fused':>10} {'ratio':>6}")
    slower = 0
    for title, program in PROGRAMS.items():
        with_fusion, without = compare(program)
        slower += with_fusion > LIMIT * without
        ratio = with_fusion / without
        print(f"{title:44} {with_fusion * 1e6:7,.0f} us {without * 1e6:7,.0f} us {ratio:6.2f}")
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
