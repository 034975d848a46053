"""What a compiled program leaves in memory when nobody holds it any more: next to nothing.

Bytes are counted by the C library, whose memory is Python's, NumPy's and LLVM's too.
"""

from __future__ import annotations

import ctypes
import gc as collector

import numpy as np
import pytest

import graphc as gc

_FIELDS = [
    "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks",
    "keepcost",
]  # fmt: skip


class _Usage(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in _FIELDS]


_usage = getattr(ctypes.CDLL(None), "mallinfo2", None)
if _usage is not None:
    _usage.restype = _Usage


def used() -> int:
    collector.collect()
    found = _usage()
    return int(found.uordblks + found.hblkhd)


@pytest.mark.skipif(_usage is None, reason="the C library does not count")
def test_a_dropped_program_keeps_at_most_20_kb(monkeypatch: pytest.MonkeyPatch) -> None:
    """LLVM's pass managers kept 130 KB of each that was compiled."""
    x = gc.placeholder("x", ("n",), "float64")

    def make(factor: float) -> None:
        gc.compile([x], gc.sum(gc.tanh(x * factor) + gc.exp(x)))(np.ones(8))

    programs = 12
    for cached in (False, True):
        monkeypatch.setenv("GRAPHC_CACHE", str(int(cached)))
        for k in range(8 + programs * cached):
            make(k + 0.25)  # what is compiled for the first time, and the cache
        before = used()
        for k in range(programs):
            make(8 + k + 0.25)
        assert (used() - before) / programs <= 20_000
