"""Memory that programs work in: of variables, of temporaries, of batches.

A processor finds the place of each page in tables, and what has to be found again and again is
slow; and which lines of its caches a page takes is chance, so that a program may be some per cent
slower in the next process. A large page of 2 MiB is found once, and its lines lie evenly. NumPy
asks the system for large pages where an array has 4 MiB or more. Smaller ones that are no trifle
get theirs here: some MiB that are asked for together, and go back to the system when all arrays in
them are gone.
"""

from __future__ import annotations

import mmap
from contextlib import suppress
from typing import Any

import numpy as np

from graphc import locks
from graphc.machines import LINE

LARGE_PAGE = 1 << 21
LEAST = 1 << 16  # bytes of an array that is in a large page, if it has fewer than `MOST`
MOST = 1 << 22  # from here on NumPy asks
_ASKED = 2 * LARGE_PAGE  # at once; a multiple of it is taken page by page, when it is written

_lock = locks.private()
_left = np.empty(0, np.uint8)  # of what was asked for last


def empty(size: int) -> np.ndarray[Any, Any]:
    """So many bytes, with whatever is in them. Errors: `MemoryError`.

    >>> len(empty(100_000))
    100000
    """
    if not LEAST <= size < MOST or not hasattr(mmap, "MADV_HUGEPAGE"):
        return np.empty(size, np.uint8)
    global _left
    with _lock:
        room = -(-size // LINE) * LINE
        if len(_left) < room:
            try:
                _left = _large_pages()
            except OSError:  # there is not so much memory
                return np.empty(size, np.uint8)
        found, _left = _left[:size], _left[room:]
    return found


def _large_pages() -> np.ndarray[Any, Any]:
    """Memory of this process alone, in large pages if the system has some to give."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS  # a forked child has a copy
    memory = mmap.mmap(-1, _ASKED + LARGE_PAGE, flags=flags)
    whole = np.frombuffer(memory, np.uint8)
    start = -whole.ctypes.data % LARGE_PAGE
    with suppress(OSError):  # of a system that has none
        memory.madvise(mmap.MADV_HUGEPAGE, start, _ASKED)
    return whole[start : start + _ASKED]
