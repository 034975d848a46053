"""The native parallel for-loop, called by native code: right results, any callers, any fork."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest

from graphc.errors import ArgumentError
from graphc.runtime import pool, threads
from graphc.runtime.threads import num_threads, parallel_for_address

if os.name != "posix":
    pytest.skip("the pool is made of POSIX threads", allow_module_level=True)

SOURCE = """
declare i64 @pthread_self()

; y = 3 x + 1 over this chunk's part of n, and a count of the chunks that ran.
; data: x, y, n, chunks, count
define void @affine(ptr %args, ptr %dims, ptr %steps, ptr %data) {
  %number = load ptr, ptr %args
  %c = load i64, ptr %number
  %x = load ptr, ptr %data
  %y.at = getelementptr i64, ptr %data, i64 1
  %y = load ptr, ptr %y.at
  %n.at = getelementptr i64, ptr %data, i64 2
  %n = load i64, ptr %n.at
  %chunks.at = getelementptr i64, ptr %data, i64 3
  %chunks = load i64, ptr %chunks.at
  %count = getelementptr i64, ptr %data, i64 4
  %size = load i64, ptr %dims
  atomicrmw add ptr %count, i64 %size seq_cst
  %c.next = add i64 %c, 1
  %low.n = mul i64 %c, %n
  %low = sdiv i64 %low.n, %chunks
  %high.n = mul i64 %c.next, %n
  %high = sdiv i64 %high.n, %chunks
  br label %check
check:
  %i = phi i64 [ %low, %0 ], [ %i.next, %body ]
  %inside = icmp slt i64 %i, %high
  br i1 %inside, label %body, label %end
body:
  %from = getelementptr double, ptr %x, i64 %i
  %to = getelementptr double, ptr %y, i64 %i
  %v = load double, ptr %from
  %v3 = fmul double %v, 3.0
  %v31 = fadd double %v3, 1.0
  store double %v31, ptr %to
  %i.next = add i64 %i, 1
  br label %check
end:
  ret void
}

; Copies the word of the first array to the word of the second, after adding that of the third.
define void @add(ptr %args, ptr %dims, ptr %steps, ptr %data) {
  %a.at = load ptr, ptr %args
  %second = getelementptr ptr, ptr %args, i64 1
  %b.at = load ptr, ptr %second
  %third = getelementptr ptr, ptr %args, i64 2
  %c.at = load ptr, ptr %third
  %a = load i64, ptr %a.at
  %c = load i64, ptr %c.at
  %sum = add i64 %a, %c
  store i64 %sum, ptr %b.at
  ret void
}

; Meets another thread: adds itself to data[0], raises data[1] to the most that were inside at once,
; stays until data[2] are inside or its patience ends, and notes its thread in the first array.
define void @meet(ptr %args, ptr %dims, ptr %steps, ptr %data) {
  %slot = load ptr, ptr %args
  %self = call i64 @pthread_self()
  store i64 %self, ptr %slot
  %most = getelementptr i64, ptr %data, i64 1
  %wanted.at = getelementptr i64, ptr %data, i64 2
  %wanted = load i64, ptr %wanted.at
  %before = atomicrmw add ptr %data, i64 1 seq_cst
  %now = add i64 %before, 1
  atomicrmw max ptr %most, i64 %now seq_cst
  br label %look
look:
  %turn = phi i64 [ 0, %0 ], [ %turn.next, %stay ]
  %seen = load atomic i64, ptr %most seq_cst, align 8
  %met = icmp sge i64 %seen, %wanted
  %turn.next = add i64 %turn, 1
  %tired = icmp eq i64 %turn.next, 5000000000
  %go = or i1 %met, %tired
  br i1 %go, label %end, label %stay
stay:
  br label %look
end:
  atomicrmw sub ptr %data, i64 1 seq_cst
  ret void
}

; A worker that is itself parallel. data: parallel_for, args, dims, steps, data of the inner loop
define void @nest(ptr %args, ptr %dims, ptr %steps, ptr %data) {
  %for = load ptr, ptr %data
  %args.at = getelementptr ptr, ptr %data, i64 1
  %inner.args = load ptr, ptr %args.at
  %dims.at = getelementptr ptr, ptr %data, i64 2
  %inner.dims = load ptr, ptr %dims.at
  %steps.at = getelementptr ptr, ptr %data, i64 3
  %inner.steps = load ptr, ptr %steps.at
  %data.at = getelementptr ptr, ptr %data, i64 4
  %inner.data = load ptr, ptr %data.at
  call void %for(ptr @affine, ptr %inner.args, ptr %inner.dims, ptr %inner.steps, ptr %inner.data,
                 i64 0, i64 1, i32 4)
  ret void
}

define void @drive(i64 %times, ptr %for, ptr %worker, ptr %args, ptr %dims, ptr %steps, ptr %data,
                   i64 %arrays, i32 %threads) {
  br label %loop
loop:
  %i = phi i64 [ 0, %0 ], [ %i.next, %loop ]
  call void %for(ptr %worker, ptr %args, ptr %dims, ptr %steps, ptr %data, i64 0, i64 %arrays,
                 i32 %threads)
  %i.next = add i64 %i, 1
  %more = icmp slt i64 %i.next, %times
  br i1 %more, label %loop, label %end
end:
  ret void
}
"""


class Native:
    """The workers above, and the native driver that calls `parallel_for` with them."""

    def __init__(self) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_default_triple().create_target_machine(opt=2)
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(SOURCE), machine)
        self._engine.finalize_object()
        pointer = ctypes.c_void_p
        prototype = ctypes.CFUNCTYPE(
            None, ctypes.c_int64, *([pointer] * 6), ctypes.c_int64, ctypes.c_int32
        )
        self._drive = prototype(self.address("drive"))

    def address(self, name: str) -> int:
        return int(self._engine.get_function_address(name))

    def run(
        self,
        worker: str,
        chunks: int,
        arrays: list[np.ndarray[Any, Any]],
        steps: list[int],
        data: np.ndarray[Any, Any],
        *,
        threads: int = 2,
        times: int = 1,
    ) -> None:
        args = np.array([a.ctypes.data for a in arrays], np.int64)
        dims, strides = np.array([chunks], np.int64), np.array(steps, np.int64)
        tables = (args.ctypes.data, dims.ctypes.data, strides.ctypes.data, data.ctypes.data)
        self._drive(
            times, parallel_for_address(), self.address(worker), *tables, len(arrays), threads
        )

    def affine(self, n: int, chunks: int, *, threads: int = 2, times: int = 1) -> None:
        """Run `affine` and check all of it: every element right, every chunk run exactly once."""
        x = np.random.default_rng(n).standard_normal(n)
        y = np.full(n, np.nan)
        data = np.array([x.ctypes.data, y.ctypes.data, n, chunks, 0], np.int64)
        self.run("affine", chunks, [np.arange(chunks)], [8], data, threads=threads, times=times)
        assert data[4] == chunks * times
        if chunks:
            np.testing.assert_array_equal(y, 3 * x + 1)


@pytest.fixture(scope="module")
def native() -> Native:
    return Native()


@pytest.fixture(autouse=True)
def _four_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four threads, whatever the machine has: every path runs, and helpers outnumber cores."""
    monkeypatch.setenv("GRAPHC_NUM_THREADS", "4")
    assert num_threads() == 4


@pytest.mark.parametrize("threads_", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("chunks", [0, 1, 2, 3, 7, 64, 1000])
def test_every_chunk_runs_once(native: Native, chunks: int, threads_: int) -> None:
    native.affine(10_007, chunks, threads=threads_, times=5)


@pytest.mark.parametrize("count", [0, -1])
def test_a_count_of_threads_below_one_is_one(native: Native, count: int) -> None:
    native.affine(100, 4, threads=count)


def test_arrays_advance_by_their_own_steps(native: Native) -> None:
    n = 100
    a, b, c = np.arange(2 * n), np.zeros(n, np.int64), np.array([1000])
    backwards = b[::-1]
    native.run("add", n, [a, backwards, c], [16, -8, 0], np.zeros(1), threads=4)
    np.testing.assert_array_equal(backwards, a[::2] + 1000)


def test_chunks_run_on_several_threads_at_once(native: Native) -> None:
    """Two chunks that wait for one another both end, so two threads ran them."""
    slots, data = np.zeros(2, np.int64), np.array([0, 0, 2], np.int64)
    native.run("meet", 2, [slots], [8], data, threads=2)
    assert data.tolist() == [0, 2, 2]
    assert slots[0] != slots[1]
    assert threading.get_ident() in slots.tolist(), "the caller does its share"


def test_no_more_threads_than_asked(native: Native) -> None:
    for asked in (1, 2, 3):
        slots, data = np.zeros(60, np.int64), np.array([0, 0, asked], np.int64)
        native.run("meet", 60, [slots], [8], data, threads=asked)
        assert data.tolist() == [0, asked, asked]
        assert len(set(slots.tolist())) <= 4


def test_python_threads_at_once(native: Native) -> None:
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            for step in range(60):
                native.affine(1000 + seed, 1 + (seed + step) % 9, threads=3, times=20)
        except BaseException as error:
            failures.append(error)

    callers = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(600)
    assert not any(caller.is_alive() for caller in callers)
    assert failures == []


def test_a_worker_may_be_parallel_itself(native: Native) -> None:
    """The inner loops run alone, each whole: all write the same values, each counts its chunks."""
    n, outer, inner = 1000, 6, 5
    x, y, numbers = np.arange(n, dtype=float), np.full(n, np.nan), np.arange(inner)
    affine = np.array([x.ctypes.data, y.ctypes.data, n, inner, 0], np.int64)
    args, dims, steps = (np.array([v], np.int64) for v in (numbers.ctypes.data, inner, 8))
    tables = [v.ctypes.data for v in (args, dims, steps, affine)]
    data = np.array([parallel_for_address(), *tables], np.int64)
    native.run("nest", outer, [np.arange(outer)], [8], data, threads=4)
    assert affine[4] == outer * inner
    np.testing.assert_array_equal(y, 3 * x + 1)


def test_helpers_sleep_and_wake(native: Native) -> None:
    """Loops with pauses between, some shorter than the helpers' spinning and some longer."""
    for pause in (0, 1e-6, 1e-5, 1e-4, 1e-3, 5e-3):
        for _ in range(20):
            native.affine(1000, 8, threads=4, times=3)
            time.sleep(pause)


def test_helpers_without_work_sleep() -> None:
    """They fall asleep some time after a loop, and nothing wakes them: none is scheduled again."""
    if not Path("/proc/self/task").is_dir():
        pytest.skip("needs /proc")
    script = f"""
import os, runpy, time
import llvmlite.binding, numpy
from graphc.runtime.threads import num_threads
native = runpy.run_path({__file__!r})["Native"]()
before = set(os.listdir("/proc/self/task"))
num_threads()
helpers = set(os.listdir("/proc/self/task")) - before
native.affine(1000, 8, threads=3, times=10)
def status():
    lines = [open(f"/proc/self/task/{{t}}/status").read() for t in sorted(helpers)]
    return [[l for l in s.splitlines() if l.startswith(("State", "vol", "nonvol"))] for s in lines]
while not all("S (sleeping)" in state for (state, *_) in status()):
    time.sleep(0.01)
asleep = status()
time.sleep(0.2)
assert status() == asleep, (asleep, status())
print(len(helpers))
"""
    assert run_script(script) == "2"


@pytest.mark.timed
def test_fork_and_join_are_quick(native: Native) -> None:
    """Some microseconds on a free machine; a hundred times that is a sign of a lost wake-up."""
    times = []
    for _ in range(20):
        start = time.perf_counter()
        native.affine(64, 2, threads=2, times=100)
        times.append((time.perf_counter() - start) / 100)
    assert min(times) < 2e-4


@pytest.mark.sweep
def test_many_loops(native: Native) -> None:
    random = np.random.default_rng(0)
    for _ in range(3000):
        n, chunks, threads_ = (int(v) for v in random.integers(1, (3000, 40, 5)))
        native.affine(n, chunks, threads=threads_, times=50)


def test_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    for wanted in (1, 2, 4, 6):
        monkeypatch.setenv("GRAPHC_NUM_THREADS", str(wanted))
        assert num_threads() == wanted
    monkeypatch.setenv("GRAPHC_NUM_THREADS", "none")
    with pytest.raises(ArgumentError, match="GRAPHC_NUM_THREADS"):
        num_threads()
    monkeypatch.delenv("GRAPHC_NUM_THREADS")
    assert 1 <= num_threads() <= (os.cpu_count() or 1)


def test_cores_are_counted_within_affinity_and_share(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    limits = tmp_path / "cpu.max"
    for text, share in (
        ("max 100000\n", sys.maxsize), ("200000 100000\n", 2), ("150000 100000\n", 2),
        ("5000 100000\n", 1), ("", sys.maxsize), ("1 0", sys.maxsize),
    ):  # fmt: skip
        limits.write_text(text)
        assert threads._share(str(limits)) == share
    assert threads._share(str(tmp_path / "none")) == sys.maxsize
    cases: list[tuple[set[int], Callable[[int], str], int, int]] = [
        ({0, 1, 2, 3}, lambda cpu: f"{cpu % 2},{cpu % 2 + 2}", sys.maxsize, 2),
        ({0, 1, 2, 3}, str, sys.maxsize, 4),
        ({5}, str, sys.maxsize, 1),
        ({0, 1, 2, 3}, str, 3, 3),
    ]
    for allowed, siblings, share, expected in cases:
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid, a=allowed: a, raising=False)
        monkeypatch.setattr(threads, "_siblings", siblings)
        monkeypatch.setattr(threads, "_share", lambda s=share: s)
        threads._cores.cache_clear()
        assert threads._cores() == expected
    threads._cores.cache_clear()


@pytest.mark.parametrize("processor", ["x86_64", "aarch64", "arm64", "riscv64"])
def test_the_pool_is_valid_for_every_processor(processor: str) -> None:
    llvm.parse_assembly(pool.pool_text(processor)).verify()


def run_script(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "GRAPHC_NUM_THREADS": "3"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("started", [True, False])
def test_a_forked_child_has_one_thread(started: bool) -> None:
    """Also its own child; and the parent goes on as before."""
    script = f"""
import os
from graphc.runtime.threads import num_threads, parallel_for_address
if {started}:
    assert num_threads() == 3
def check():
    assert (num_threads(), parallel_for_address()) == (1, 0)
child = os.fork()
if child == 0:
    check()
    grandchild = os.fork()
    if grandchild == 0:
        check()
        os._exit(7)
    os._exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]))
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert num_threads() == 3 and parallel_for_address()
"""
    run_script(script)


def test_helpers_take_no_signals() -> None:
    """A helper that took Ctrl-C would leave Python's main thread in its sleep."""
    if not Path("/proc/self/task").is_dir():
        pytest.skip("needs /proc")
    script = """
import os, signal
import llvmlite.binding, numpy
from graphc.runtime.threads import num_threads
before = set(os.listdir("/proc/self/task"))
mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
num_threads()
for task in set(os.listdir("/proc/self/task")) - before:
    status = open(f"/proc/self/task/{task}/status").read()
    blocked = int(status.split("SigBlk:")[1].split()[0], 16)
    assert blocked >> (signal.SIGINT - 1) & 1 and blocked >> (signal.SIGTERM - 1) & 1
    print(task)
assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask
"""
    assert len(run_script(script).split()) == 2


def test_helpers_keep_off_the_processor_of_their_caller() -> None:
    """A helper that wakes there runs milliseconds later. Nothing else changes: not the caller's
    processors, nor those of a child."""
    if not Path("/proc/self/task").is_dir() or len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs /proc and two processors")
    script = f"""
import os, runpy
import llvmlite.binding, numpy
from graphc.runtime.threads import num_threads
native = runpy.run_path({__file__!r})["Native"]()
mine = os.sched_getaffinity(0)
before = set(os.listdir("/proc/self/task"))
assert num_threads() == 3
helpers = [int(t) for t in set(os.listdir("/proc/self/task")) - before]
assert [os.sched_getaffinity(t) for t in helpers] == [mine, mine]
native.affine(1000, 8, threads=3, times=10)
first, second = (os.sched_getaffinity(t) for t in helpers)
assert first == second < mine and len(first) == len(mine) - 1, (mine, first, second)
assert os.sched_getaffinity(0) == mine
child = os.fork()
if child == 0:
    os._exit(7 if os.sched_getaffinity(0) == mine else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert run_script(script) == "7"


@pytest.mark.parametrize("pause", [0, 0.05])
def test_a_process_ends_while_helpers_spin_or_sleep(pause: float) -> None:
    script = f"""
import runpy, time
from graphc.runtime.threads import num_threads
native = runpy.run_path({__file__!r})["Native"]()
assert num_threads() == 3
native.affine(1000, 8, threads=3, times=1000)
time.sleep({pause})
"""
    for _ in range(3):
        run_script(script)


def test_import_is_light() -> None:
    script = (
        "import sys, graphc.runtime.threads as t; print([m for m in ('numba', 'llvmlite', 'sympy',"
        " 'scipy') if m in sys.modules]); t.num_threads(); print('numba' in sys.modules)"
    )
    assert run_script(script).split("\n") == ["[]", "False"]
