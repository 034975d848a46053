"""How a range is cut into chunks that threads take: every turn once, no chunk much longer."""

from __future__ import annotations

import ctypes

import pytest

from graphc.runtime.threads import share_address

NUMBER = ctypes.c_int64
SPAN = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, NUMBER, NUMBER)
SHARE = ctypes.CFUNCTYPE(None, SPAN, ctypes.c_void_p, NUMBER, NUMBER, NUMBER, NUMBER)


def chunks(extent: int, threads: int, unit: int, begin: int) -> list[tuple[int, int]]:
    """The ranges that threads are given, in order; the words that they were given with."""
    found: list[tuple[int, int]] = []

    @SPAN
    def note(words: int, first: int, last: int) -> int:
        assert words == 1234
        found.append((first, last))
        return 0

    SHARE(share_address())(note, 1234, begin, begin + extent, unit, threads)
    return sorted((a, b) for a, b in found if a < b)


@pytest.mark.parametrize("unit", [1, 8])
@pytest.mark.parametrize("begin", [0, 3])
def test_native_turns_are_dealt_evenly(unit: int, begin: int) -> None:
    for extent, threads in [(0, 2), (1, 2), (5, 2), (6, 2), (9, 2), (72, 2), (41, 3), (19, 300)]:
        whole = extent * unit - (extent > 1) * (unit // 2)
        found = chunks(whole, threads, unit, begin)
        turns = [t for a, b in found for t in range(a, b)]
        assert turns == list(range(begin, begin + whole))
        sizes = [-(-(b - a) // unit) for a, b in found]
        assert not sizes or max(sizes) - min(sizes) <= 1
        assert sizes == sorted(sizes, reverse=True), "longer ones first"
        assert all((b - a) % unit == 0 for a, b in found[:-1]), "cut between units"
