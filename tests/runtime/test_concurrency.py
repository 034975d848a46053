"""Calls from many threads: updates are atomic, calls share nothing, the interpreter goes on."""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest

import graphc as gc
from graphc.errors import LinAlgError
from graphc.lower.processor import target_machine
from graphc.runtime import executable
from graphc.runtime.caller import hold

D = "float64"


def in_threads(count: int, work: Callable[[int], None]) -> None:
    """Run `work(0)`, ... at once. Errors: the first that one of them raised."""
    errors: list[BaseException] = []
    start = threading.Barrier(count)

    def run(i: int) -> None:
        start.wait()
        try:
            work(i)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@pytest.mark.parametrize(("target", "calls"), [("cpu", 1000), ("reference", 100)])
def test_updates_from_8_threads_are_all_counted(target: str, calls: int) -> None:
    w = gc.variable(np.zeros(4), name="w")
    step = gc.compile([], [], {w: w + 1}, target=target)

    def work(_: int) -> None:
        for _ in range(calls):
            step()

    in_threads(8, work)
    np.testing.assert_array_equal(w.value, np.full(4, 8.0 * calls))


def test_two_functions_over_two_variables_do_not_deadlock() -> None:
    a, b = gc.variable(0.0, name="a", dtype=D), gc.variable(0.0, name="b", dtype=D)
    up, down = gc.compile([], a + b, {a: a + 1, b: b - 1}), gc.compile([], [], {b: b - 1, a: a + 1})
    sums: list[float] = []

    def work(i: int) -> None:
        for _ in range(500):
            if i % 2:
                sums.append(float(up()))
            else:
                down()

    in_threads(6, work)
    assert (float(a.value), float(b.value)) == (3000, -3000)
    assert set(sums) == {0.0}  # nobody sees half of an update


def test_locks_that_are_held_together_are_all_held_or_none() -> None:
    first, second, last = (gc.variable(np.zeros(2), f"held{i}") for i in range(3))
    cells = [v.cell for v in (first, second, last)]

    def free() -> list[bool]:
        """Which of them another thread gets."""
        found: list[bool] = []

        def ask() -> None:
            for cell in cells:
                found.append(cell.lock.acquire(blocking=False))
                if found[-1]:
                    cell.lock.release()

        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        return found

    held = hold([last, first, second])
    with held, held:  # as calls inside of calls do
        assert free() == [False] * 3
    assert free() == [True] * 3

    class Interrupted:
        def acquire(self) -> None:
            raise KeyboardInterrupt

    cells[1].lock, lock = Interrupted(), cells[1].lock
    with pytest.raises(KeyboardInterrupt), hold([first, second, last]):
        pass
    cells[1].lock = lock
    assert free() == [True] * 3


def test_setting_a_value_waits_for_calls() -> None:
    w = gc.variable(np.zeros(1000), name="w")
    step = gc.compile([], w, {w: w + 1})

    def work(i: int) -> None:
        for _ in range(300):
            if i == 0:
                w.value = np.zeros(1000)
            else:
                assert np.ptp(step()) == 0
            assert np.ptp(w.value) == 0

    in_threads(4, work)


def test_calls_in_flight_share_no_memory() -> None:
    """Each thread has its own sizes and values; temporaries and results must not mix."""
    x, w = gc.placeholder("x", ("n", 8), D), gc.variable(np.ones((8, 8)), name="w")
    y = gc.tanh(x @ w) @ w
    function = gc.compile([x], [gc.sum(y, axis=1), y[::-1] + x])

    def work(i: int) -> None:
        a = np.full((i * 7 + 1, 8), 0.01 * (i + 1))
        expected = np.tanh(a @ np.ones((8, 8))) @ np.ones((8, 8))
        for _ in range(300):
            total, moved = function(a)
            np.testing.assert_allclose(total, expected.sum(axis=1), rtol=1e-12)
            np.testing.assert_allclose(moved, expected[::-1] + a, rtol=1e-12)

    in_threads(8, work)


def test_many_sizes_from_many_threads() -> None:
    x = gc.placeholder("x", ("n",), D)
    function = gc.compile([x], gc.sum(gc.tanh(x)[::-1] * gc.softmax(x)))

    def work(i: int) -> None:
        for n in range(1 + i, 1500, 2):
            np.testing.assert_allclose(function(np.ones(n)), np.tanh(1.0), rtol=1e-10)

    in_threads(4, work)


def test_each_thread_gets_its_own_failure() -> None:
    a = gc.placeholder("a", (2, 2), D)
    function = gc.compile([a], gc.linalg.inv(a))

    def work(i: int) -> None:
        for _ in range(200):
            if i % 2:
                with pytest.raises(LinAlgError):
                    function(np.zeros((2, 2)))
            else:
                np.testing.assert_array_equal(function(np.eye(2) * 2), np.eye(2) / 2)

    in_threads(6, work)


def test_compiling_in_many_threads() -> None:
    x = gc.placeholder("x", ("n",), D)

    def work(i: int) -> None:
        for k in range(3):
            function = gc.compile([x], gc.sum(gc.tanh(x) * float(i % 2 + k)))
            np.testing.assert_allclose(function(np.ones(3)), 3 * np.tanh(1) * (i % 2 + k))

    in_threads(6, work)


# -- what runs while native code does --------------------------------------------------------------
# Stands in for a program: counts itself in words[0], stays until words[0] is 2 (or its patience
# ends, which only a wait without end meets), and then counts itself in words[1].
MEETING = """
define i32 @entry(ptr %context) {{
  %words = inttoptr i64 {words} to ptr
  %met.at = getelementptr i64, ptr %words, i64 1
  %before = atomicrmw add ptr %words, i64 1 seq_cst
  br label %look
look:
  %turn = phi i64 [ 0, %0 ], [ %turn.next, %stay ]
  %inside = load atomic i64, ptr %words seq_cst, align 8
  %met = icmp eq i64 %inside, 2
  br i1 %met, label %leave, label %stay
stay:
  %turn.next = add i64 %turn, 1
  %tired = icmp eq i64 %turn.next, 30000000000
  br i1 %tired, label %end, label %look
leave:
  %left = atomicrmw add ptr %met.at, i64 1 seq_cst
  br label %end
end:
  ret i32 0
}}
"""


@pytest.fixture
def meeting(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Callable[[], Any], Any]]:
    """A compiled function whose native code is that above, and its two words."""
    words = (ctypes.c_int64 * 2)()
    source = MEETING.format(words=ctypes.addressof(words))
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(source), target_machine())
    engine.finalize_object()
    called = executable._ENTRY  # as the package calls native code
    address = engine.get_function_address("entry")
    x = gc.placeholder("x", (3,))
    with monkeypatch.context() as patch:
        patch.setattr(executable, "_ENTRY", lambda _: called(address))
        function = gc.compile([x], gc.tanh(x) * 0.3125)
    yield lambda: function(np.ones(3, "float32")), words
    engine.close()


def test_the_interpreter_goes_on_while_a_program_runs(meeting: Any) -> None:
    """Another thread sees that the program has begun, and lets it end."""
    call, words = meeting

    def free() -> None:
        while words[0] != 1:
            time.sleep(0)
        words[0] = 2

    in_threads(2, lambda i: call() if i else free())
    assert list(words) == [2, 1]


def test_two_programs_run_at_the_same_time(meeting: Any) -> None:
    """Two calls of one function are in native code at once: neither leaves before both are in."""
    call, words = meeting
    in_threads(2, lambda _: call())
    assert list(words) == [2, 2]


def heavy(size: int) -> Callable[[], Any]:
    x = gc.placeholder("x", ("n",))
    function = gc.compile([x], gc.sum(gc.exp(gc.tanh(gc.sin(x) * 2) * 3)))
    a = np.linspace(0, 1, size, dtype="float32")
    return lambda: function(a)


@pytest.mark.timed
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_two_threads_take_less_than_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The best of several."""

    def seconds(run: Callable[[], Any]) -> float:
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    monkeypatch.setenv("GRAPHC_NUM_THREADS", "1")
    call = heavy(200_000)

    def work(_: int) -> None:
        for _ in range(10):
            call()

    work(0)
    ratios: list[float] = []
    while len(ratios) < 300:
        alone = seconds(lambda: [work(i) for i in range(2)])
        ratios.append(seconds(lambda: in_threads(2, work)) / alone)
        if ratios[-1] < 0.9:
            return
    pytest.fail(f"two threads take at least {min(ratios):.2f} of the time of one after the other")
