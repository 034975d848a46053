"""Ctrl-C while a program is compiled: it ends before the next stage or kernel, with nothing half
done. The signal is sent as a stage or a kernel begins."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.pipeline import progress
from graphc.runtime import cache
from graphc.runtime.compile import compile_statistics

A = np.linspace(-1, 1, 9)


class Watcher:
    """In place of the line on the terminal: notes what is said, and sends the signal once."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.stop = -1  # at which of what is said

    @contextmanager
    def __call__(self, name: str) -> Iterator[Callable[[str], None]]:
        def say(stage: str) -> None:
            self.said.append(stage)
            if len(self.said) - 1 == self.stop:
                os.kill(os.getpid(), signal.SIGINT)

        yield say


@pytest.fixture
def watcher(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Watcher]:
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path))
    found = Watcher()
    monkeypatch.setattr(progress, "progress", found)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield found
    signal.signal(signal.SIGINT, handler)


def program(number: float) -> Any:
    """Two kernels of its own for each power of two, which is in the code."""
    x = gc.placeholder("interrupted x", ("n",), "float64")
    y = gc.placeholder("interrupted y", ("m",), "float64")
    return gc.compile([x, y], [gc.cos(x) * number, gc.sum(y) + number])


def entries(directory: Path, kind: str) -> int:
    return len(list(directory.glob(f"*.{kind}")))


def test_ctrl_c_at_every_stage_and_kernel(watcher: Watcher, tmp_path: Path) -> None:
    program(0.25)
    stages = list(watcher.said)
    assert {"simplify", "numba, kernel1 of 2", "optimize, kernel1 of 2", "link"} <= set(stages)
    kernels, programs = entries(tmp_path, cache.KERNEL), entries(tmp_path, cache.PROGRAM)
    for stop, stage in enumerate(stages):
        if "kernel" not in stage and stop % 4:
            continue  # the others are as these
        watcher.said, watcher.stop = [], stop
        number = 2.0 ** (stop + 3)
        with pytest.raises(KeyboardInterrupt):
            program(number)
        assert watcher.said == stages[: stop + 1], stage
        assert not list(tmp_path.glob("tmp-*"))
        assert entries(tmp_path, cache.PROGRAM) == programs
        done = sum(s.startswith("optimize,") for s in watcher.said[:-1])
        assert entries(tmp_path, cache.KERNEL) == kernels + done, stage
        watcher.stop = -1
        before = compile_statistics()["kernels"]
        function = program(number)
        assert compile_statistics()["kernels"] - before == 2 - done, stage
        cosines, total = function(A, A)
        np.testing.assert_allclose(cosines, np.cos(A) * number, rtol=1e-15)
        assert abs(total - number) < 1e-12
        kernels, programs = kernels + 2, programs + 1


def test_a_jitted_function_is_compiled_at_its_next_call(watcher: Watcher) -> None:
    @gc.jit
    def twice(a: Any) -> Any:
        return gc.exp(a) * 2.5

    watcher.stop = 3
    with pytest.raises(KeyboardInterrupt):
        twice(A)
    watcher.stop = -1
    np.testing.assert_allclose(twice(A), np.exp(A) * 2.5, rtol=1e-15)
