"""Code and its constants in one place: what LLVM maps when it loads an object lies close together.

Code reaches its constants by offsets of 32 bits. LLVM maps the sections of an object one by one,
and the system puts each into the highest gap that has room for it. In a process that has mapped
some gigabytes, as the memory of a cluster, the gaps for two sections may be further apart than an
offset reaches, and then LLVM ends the process. So before an object is loaded all gaps are filled
that lie above one with room for all of it.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

_NO_RESERVE = 0x4000  # of Linux on x86-64: no memory is promised for it
_SLACK = 64  # pages, for sections that begin one each


@contextmanager
def one_place(count: int) -> Iterator[None]:
    """What is mapped meanwhile, objects of `count` bytes in all, is in one place if that can be."""
    filled: list[tuple[int, int]] = []
    if sys.platform == "linux":
        filled = _fill(2 * count + _SLACK * mmap.PAGESIZE)
    try:
        yield
    finally:
        for at, size in filled:
            _system().munmap(at, size)


def _fill(count: int) -> list[tuple[int, int]]:
    """Fill the gaps above a place that has room for `count` bytes, and leave that free."""
    count = -(-count // mmap.PAGESIZE) * mmap.PAGESIZE
    place = _map(count)
    filled: list[tuple[int, int]] = []
    part = count
    while place is not None and part > mmap.PAGESIZE:
        part = -(-part // 2 // mmap.PAGESIZE) * mmap.PAGESIZE
        while (at := _map(part)) is not None:
            if at < place:
                _system().munmap(at, part)
                break
            filled.append((at, part))
    if place is not None:
        _system().munmap(place, count)
    return filled


def _map(count: int) -> int | None:
    """So many bytes of addresses, with no memory behind them, where the system wants to."""
    kind = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE
    at = _system().mmap(None, count, 0, kind, -1, 0)
    return None if at == ctypes.c_void_p(-1).value else int(at)


@cache
def _system() -> Any:
    system = ctypes.CDLL(None)
    word, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    system.mmap.restype, system.munmap.restype = word, number
    system.mmap.argtypes = [word, size, number, number, number, ctypes.c_long]
    system.munmap.argtypes = [word, size]
    return system
