"""Loops that threads share: equal to one thread's, whatever the number, also after a fork."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import graphc as gc
from graphc.ir.dim import Size, evaluate
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.program import Call, walk_steps
from tests.compiling import printed_on_threads

_PROGRAM = """
import os
import numpy as np
import graphc as gc

x = gc.placeholder("x", ("n",))
f = gc.compile([x], [gc.tanh(x) * 2 + x, x + 1])
m = gc.placeholder("m", ("n", 300))
g = gc.compile([m], gc.softmax(m))
data = np.linspace(-3, 3, 300_007).astype("float32")
rows = np.linspace(-3, 3, 3_001 * 300).astype("float32").reshape(-1, 300)
i = gc.placeholder("i", ("n",), "int64")
s = gc.exp(m)
h = gc.compile([m], [s, gc.sum(s), gc.mean(m, axis=0), gc.max(s, axis=0)])
k = gc.compile([x, i], [gc.segment_sum(x, i, 50), gc.take(x, i), gc.bincount(i, minlength=50)])
places = np.arange(300_007) * 7919 % 50

def digest():
    results = [*f(data), g(rows), *f(data[:3]), *f(data[:0]), *h(rows), *k(data, places)]
    return [a.tobytes() for a in results]

first = digest()
assert all(digest() == first for _ in range(20))
child = os.fork()
if child == 0:
    os._exit(0 if digest() == first else 1)
assert os.waitpid(child, 0)[1] == 0
import hashlib
print(hashlib.sha256(b"".join(first)).hexdigest())
"""


def work_of(*outputs: gc.Tensor, inputs: list[gc.Tensor]) -> list[Size | None]:
    program = run_pipeline(gc.Graph(inputs, outputs), Stages()).program
    return [s.work for s in walk_steps(program.steps) if isinstance(s, Call)]


def test_only_loops_whose_turns_are_independent_are_shared() -> None:
    x = gc.placeholder("x", ("n", 50))
    i = gc.placeholder("i", ("n",), "int64")
    assert work_of(gc.tanh(x), inputs=[x]) != [None]
    assert work_of(gc.softmax(x), inputs=[x]) != [None]
    assert work_of(gc.take(x, i), inputs=[x, i]) != [None]
    assert work_of(gc.sum(x, axis=0), inputs=[x]) != [None]
    assert work_of(gc.sum(x), inputs=[x]) != [None]
    assert work_of(gc.cumsum(x, axis=0), inputs=[x]) == [None]
    assert work_of(gc.argmax(x), inputs=[x]) == [None]


def test_short_rows_of_unknown_length_are_little_work() -> None:
    """A loop in runs has no more turns than numbers."""
    x, known = gc.placeholder("x", ("n", "m")), gc.placeholder("known", ("n", 10))
    (work,) = work_of(gc.softmax(x), inputs=[x])
    (expected,) = work_of(gc.softmax(known), inputs=[known])
    assert work is not None
    assert expected is not None
    at = {"n": 1000, "m": 10}
    assert evaluate(work, at) < 2 * evaluate(expected, at)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_every_number_of_threads_gives_the_same_bits(tmp_path: Path) -> None:
    assert len(printed_on_threads(_PROGRAM, tmp_path, (1, 2, 3, 7, 300))) == 1


def test_updates_in_place_are_shared_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_NUM_THREADS", "2")
    start = np.random.default_rng(0).standard_normal((700, 700)).astype("float32")
    w = gc.variable(start)
    g = gc.placeholder("g", (700, 700))
    step = gc.compile([g], [], {w: w * 0.5 + gc.tanh(g)})
    step(start)
    np.testing.assert_allclose(w.value, start * 0.5 + np.tanh(start), rtol=1e-6, atol=1e-6)


def test_turns_of_a_part_are_written_out_several_at_a_time() -> None:
    """The number of turns of a part costs LLVM more than that of a whole loop, where it may not
    spend enough on it the turns stay one by one."""
    x = gc.placeholder("counted", ("n",), "int64")
    code = gc.compile([x], gc.bincount(x, minlength=1000)).llvm
    assert code.count(", 999\n") >= 8  # whether a number is too large, once for each turn
