"""A parallel for-loop that native code calls by address, and the number of threads for it.

You hand `parallel_for_address()` to compiled code, which calls

    void parallel_for(worker, args, dims, steps, data, 0, array_count, i32 num_threads)

and gets `dims[0]` chunks run on at most num_threads threads, its own among them; for chunk c

    void worker(char **args', intp *dims', intp *steps, void *data)
        args'[j] = args[j] + c * steps[j] for j < array_count, dims'[0] = 1

With one array that holds 0, 1, 2, ... and a step of 8 a worker reads which chunk is its own. (This
is the convention of NumPy's and Numba's loops.) The call returns when all chunks have run, and
their writes are seen by the caller. Chunks go to whichever thread is free, so that a thread that
the system has put aside delays nobody: make more chunks than threads where they differ in work,
and let a result depend on the chunk, never on the thread.

`share_address()` is the same for ranges of functions that `lower/driver.py` prints:

    void share(span, words, begin, end, unit, threads)
        span(words, first, last) for chunks [first, last) of [begin, end), multiples of `unit`;
        they differ by one unit at most, so that few turns are shared as evenly as they can be

Helpers take subnormal numbers as their caller does. Any number of Python threads may call it. The
helpers serve one caller at a time; another one, and a worker that itself calls it, runs its chunks
alone, since the cores are busy then.

A helper that wakes on the core of its caller runs when the system has moved it, after milliseconds,
and a step of a training takes less. So on Linux helpers may run where their caller may, but for the
processor that it is on: looked up at each job, and said to the system when it has changed.

Why not an OpenMP runtime: its idle threads spin for a millisecond, as do those of OpenBLAS behind a
product, and the two pools take each other's cores: on two cores a product of 256 x 256 behind an
OpenMP loop took 4 ms instead of 0.15. The helpers here spin for some microseconds, then sleep.
Nor does GNU OpenMP survive a `fork`.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import threading
from pathlib import Path

from graphc import config
from graphc.runtime.near import one_place
from graphc.runtime.pool import pool_text


def parallel_for_address() -> int:
    """The address of `parallel_for`; 0 where there is none: in a forked child, without POSIX."""
    pool = None if _forked or os.name != "posix" else _pool()
    return pool.parallel_for if pool else 0


def share_address() -> int:
    """The address of `share`; 0 where there is none."""
    pool = None if _forked or os.name != "posix" else _pool()
    return pool.share if pool else 0


def num_threads() -> int:
    """How many threads a program that is made now may use: `GRAPHC_NUM_THREADS`, else one per core;
    1 in a fork.

    The first answer above 1 compiles the pool and starts the helpers, in some 10 ms.

    Errors: ArgumentError for a bad value of the variable.
    """
    wanted = config.num_threads() or _cores()
    if wanted == 1 or not parallel_for_address():
        return 1
    return 1 + _pool().helpers(wanted - 1)


class _Pool:
    """The native code of the pool and the helpers that run in it, for the life of the process."""

    def __init__(self) -> None:
        import llvmlite.binding as llvm

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        # Unoptimised: it is compiled in 5 ms instead of 18, at a start, and runs as well.
        machine = llvm.Target.from_default_triple().create_target_machine(opt=0, reloc="pic")
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(pool_text()), machine)
        with one_place(1 << 16):
            engine.finalize_object()
        self.parallel_for = int(engine.get_function_address("parallel_for"))
        self.share = int(engine.get_function_address("share"))
        self._add_helper = ctypes.CFUNCTYPE(ctypes.c_int)(engine.get_function_address("add_helper"))
        ctypes.CFUNCTYPE(None)(engine.get_function_address("initialise"))()
        self.stay_alone = ctypes.CFUNCTYPE(None)(engine.get_function_address("stay_alone"))
        # The helpers run this code until the process ends, so nothing may free it before.
        engine.detach()
        self._started = 0
        self._lock = threading.Lock()

    def helpers(self, wanted: int) -> int:
        """Start helpers until there are `wanted`, if the system gives so many; how many of them."""
        if self._started < wanted:
            with self._lock:
                self._start(wanted)
        return min(wanted, self._started)

    def _start(self, wanted: int) -> None:
        import signal

        # A signal is for a thread that runs Python, or it would not interrupt what waits there.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            while self._started < wanted and self._add_helper() == 0:
                self._started += 1
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


_creation = threading.Lock()


@functools.cache
def _created() -> _Pool:
    return _Pool()


def _pool() -> _Pool:
    with _creation:
        return _created()


@functools.cache
def _cores() -> int:
    """The physical cores this process may run on, and no more than its container's share of them.

    Two hardware threads of one core gain little in a loop that keeps its arithmetic units busy.
    """
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    cores = {_siblings(cpu) for cpu in os.sched_getaffinity(0)}
    return max(1, min(len(cores), _share()))


def _siblings(cpu: int) -> str:
    """The processors that share a core with this one, as Linux writes them; else itself."""
    try:
        return Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text()
    except OSError:
        return str(cpu)


def _share(limits: str = "/sys/fs/cgroup/cpu.max") -> int:
    """How many processors' worth of time the container may use, rounded up: `quota period`."""
    try:
        quota, period = Path(limits).read_text().split()
        return -(-int(quota) // int(period))
    except (OSError, ValueError, ZeroDivisionError):  # no container, or "max": no limit
        return sys.maxsize


_forked = False


def _after_fork() -> None:
    # The helpers are gone in the child, and whatever they held is held for ever. Programs that were
    # made for them find them busy.
    global _forked
    _forked = True
    if _created.cache_info().currsize:
        _created().stay_alone()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
