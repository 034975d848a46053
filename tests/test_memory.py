"""Memory that programs work in: parts of large pages that are one's own."""

from __future__ import annotations

import errno
import os
import weakref
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest

import graphc as gc
from graphc import memory
from graphc.machines import LINE

KINDS = pytest.mark.parametrize("large", [True, False], ids=["large pages", "none"])


@pytest.fixture
def pages(large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that has large pages, as far as one can know, or has none."""
    if not large:
        monkeypatch.delattr("mmap.MADV_HUGEPAGE", raising=False)
    elif not hasattr(memory.mmap, "MADV_HUGEPAGE"):
        pytest.skip("this system has none to ask for")


@KINDS
def test_no_two_arrays_meet(pages: None) -> None:
    random = np.random.default_rng(3)
    least, most = memory.LEAST, memory.MOST
    sizes = [0, 1, least - 1, least, least + 1, most - 1, most, *random.integers(0, most // 4, 40)]
    with ThreadPoolExecutor(4) as threads:
        arrays = list(threads.map(lambda size: memory.empty(int(size)), sizes))
    for i, array in enumerate(arrays):
        array[...] = i
    for i, (array, size) in enumerate(zip(arrays, sizes, strict=True)):
        assert array.dtype == np.uint8
        assert array.shape == (size,)
        assert (array == i).all()


def test_parts_of_large_pages_begin_on_lines() -> None:
    if not hasattr(memory.mmap, "MADV_HUGEPAGE"):
        pytest.skip("this system has none to ask for")
    parts = [memory.empty(memory.LEAST + i) for i in range(100)]
    assert all(part.ctypes.data % LINE == 0 for part in parts)
    near = sum(y.ctypes.data - x.ctypes.data < 2 * memory.LEAST for x, y in pairwise(parts))
    assert near > 90  # side by side: that is what large pages are for


def test_a_system_that_refuses_gives_memory_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.mmap, "MADV_HUGEPAGE", -1, raising=False)
    monkeypatch.setattr(memory, "_left", np.empty(0, np.uint8))
    array = memory.empty(memory.LEAST)
    array[...] = 7
    assert (array == 7).all()


def test_where_there_are_no_large_pages_left_a_smaller_array_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Or NumPy says that there is no memory, as it does for any array: no error of the system."""

    def full(*args: object, **options: object) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(memory.mmap, "mmap", full)
    monkeypatch.setattr(memory, "_left", np.empty(0, np.uint8))
    array = memory.empty(memory.LEAST)
    array[...] = 7
    assert (array == 7).all()


def test_memory_goes_back_when_all_in_it_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_left", np.empty(0, np.uint8))
    arrays = [memory.empty(memory.LEAST) for _ in range(3)]
    whole = arrays[0]
    while isinstance(whole.base, np.ndarray):
        whole = whole.base
    gone = weakref.ref(whole)
    memory._left = np.empty(0, np.uint8)
    del whole, arrays[:2]
    assert gone() is not None or not hasattr(memory.mmap, "MADV_HUGEPAGE")
    arrays.clear()
    assert gone() is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_what_a_forked_child_writes_is_its_own() -> None:
    w = gc.variable(np.zeros(memory.LEAST), "kept_by_the_parent", dtype="float64")
    child = os.fork()
    if child == 0:
        w.value = np.ones(memory.LEAST)
        os._exit(int(w.value.sum() != memory.LEAST))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not w.value.any()
