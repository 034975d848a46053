"""A thread beside the one that compiles: LLVM optimises a kernel there while Numba types the next.

Numba is Python and holds Python's lock; LLVM, once called, lets go of it. So they share two
processors well, provided that the thread that comes back from LLVM need not wait long for the lock:
as long as there is a worker, threads change places more often.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from graphc import locks

T = TypeVar("T")
_SWITCH = 1e-4  # seconds; Python's own are 5e-3, and a kernel takes some 60 calls of LLVM
_lock = locks.private()
_workers = 0
_usual = 0.0


class Job(Generic[T]):
    """A function that is called once: by the worker, or by who wants its result before."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function: Callable[[], T] | None = function
        self._lock = threading.Lock()
        self._error: BaseException | None = None
        self._result: T

    def run(self) -> None:
        with self._lock:
            function, self._function = self._function, None
            try:
                if function is not None:
                    self._result = function()
            except BaseException as error:
                self._error = error

    def result(self) -> T:
        """Errors: those of the function."""
        self.run()
        if self._error is not None:
            raise self._error
        return self._result


class Worker:
    """Runs jobs, in order, in a thread of its own. On one processor, and where the system gives no
    thread, there is none, and they run when their results are wanted. The `with` statement ends
    when nothing of them runs any more; what has not begun by then is dropped."""

    def __init__(self, alone: bool | None = None) -> None:
        self._jobs: SimpleQueue[Job[Any] | None] = SimpleQueue()
        self._ended = False
        shared = _processors() > 1 if alone is None else not alone
        self._thread = threading.Thread(target=self._work, daemon=True) if shared else None

    def __enter__(self) -> Worker:
        if self._thread is not None:
            try:
                self._thread.start()
            except RuntimeError:
                self._thread = None
                return self
            _change_places_more_often(1)
        return self

    def put(self, function: Callable[[], T]) -> Job[T]:
        job = Job(function)
        self._jobs.put(job)
        return job

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if not self._ended:
                job.run()

    def __exit__(self, *raised: object) -> None:
        if self._thread is None:
            return
        self._ended = True
        self._jobs.put(None)
        try:
            self._thread.join()
        finally:
            _change_places_more_often(-1)


def _change_places_more_often(workers: int) -> None:
    global _workers, _usual
    with _lock:
        if _workers == 0:
            _usual = sys.getswitchinterval()
        _workers += workers
        sys.setswitchinterval(min(_usual, _SWITCH) if _workers else _usual)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
