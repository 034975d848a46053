"""What a worker runs, and what it leaves behind; that Numba leaves LLVM to it."""

from __future__ import annotations

import sys
import threading
from functools import partial
from unittest import mock

import pytest

import graphc as gc
from graphc.lower import numba_cpu
from graphc.runtime.worker import Worker


@pytest.mark.parametrize("alone", [False, True])
def test_each_job_runs_once_and_its_error_is_its_result(alone: bool) -> None:
    done: list[int] = []

    def job(i: int) -> int:
        done.append(i)
        return 10 // (i - 2)

    with Worker(alone) as worker:
        jobs = [worker.put(partial(job, i)) for i in range(50)]
        for i, given in enumerate(jobs):
            if i == 2:
                with pytest.raises(ZeroDivisionError):
                    given.result()
            else:
                assert given.result() == 10 // (i - 2)
    assert sorted(done) == list(range(50))


def test_who_waits_and_the_worker_share_the_jobs() -> None:
    """What the worker is at is waited for; what it has not begun is done by who wants it."""
    begun, go_on = threading.Event(), threading.Event()

    def first() -> int:
        begun.set()
        assert go_on.wait(600)
        return threading.get_ident()

    with Worker(alone=False) as worker:
        jobs = [worker.put(first), worker.put(threading.get_ident)]
        assert begun.wait(600)
        assert jobs[1].result() == threading.get_ident()
        go_on.set()
        assert jobs[0].result() != threading.get_ident()


def test_an_error_beside_it_drops_what_has_not_begun() -> None:
    done: list[int] = []
    begun, go_on = threading.Event(), threading.Event()

    def first() -> None:
        begun.set()
        assert go_on.wait(600)
        done.append(0)

    class Stopped(Worker):
        def __exit__(self, *raised: object) -> None:
            self._ended = True
            go_on.set()
            super().__exit__(*raised)

    def work() -> None:
        with Stopped(alone=False) as worker:
            worker.put(first)
            worker.put(lambda: done.append(1))
            assert begun.wait(600)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == [0]


def test_it_leaves_no_thread_and_python_as_it_was() -> None:
    before = sys.getswitchinterval(), threading.active_count()
    with Worker(alone=False) as one, Worker(alone=False) as other:
        assert sys.getswitchinterval() < before[0]
        one.put(lambda: None)
        other.put(lambda: None)
    assert (sys.getswitchinterval(), threading.active_count()) == before


def test_where_the_system_gives_no_thread_jobs_run_when_they_are_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """For want of memory, or since so many are all that a user may have."""

    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    before = sys.getswitchinterval()
    with Worker(alone=False) as worker:
        assert worker.put(threading.get_ident).result() == threading.get_ident()
    assert sys.getswitchinterval() == before


def test_numba_calls_nothing_of_llvm() -> None:
    """It would wait there until LLVM is done with another kernel."""
    x = gc.placeholder("worker_x", ("worker_n", 3))
    results = [gc.sum(gc.exp(x) ** 3, axis=0), gc.cumulative_sum(x, axis=0), gc.sort(x)]
    numba_cpu.prepare()
    from llvmlite.binding import ffi

    calls: list[str] = []
    call, to_llvm = ffi._lib_fn_wrapper.__call__, numba_cpu.to_llvm
    inside = threading.local()

    def noted(function: object, *args: object) -> object:
        name = function._cfn.__name__  # type: ignore[attr-defined]
        if getattr(inside, "numba", False) and "Dispose" not in name:  # what others left behind
            calls.append(name)
        return call(function, *args)

    def translate(*args: object) -> tuple[str, str]:
        inside.numba = True
        try:
            return to_llvm(*args)  # type: ignore[arg-type]
        finally:
            inside.numba = False

    with (
        mock.patch.object(numba_cpu, "to_llvm", translate),
        mock.patch.object(ffi._lib_fn_wrapper, "__call__", noted),
        mock.patch.dict("os.environ", GRAPHC_CACHE="0"),
    ):
        function = gc.compile([x], results)
    assert len(function.compilation.kernels) >= 2
    assert calls == []
