"""Reductions in parts: which loops are cut, and that they mean what they meant, at all sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.checking import source
from graphc.ir.dim import evaluate
from graphc.loops import shares
from graphc.loops.check import check_kernel
from graphc.loops.grammar import Kernel, is_splittable, parallel_loops
from graphc.lower.numba_source import print_kernel
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.program import Call, walk_steps
from tests.properties.kernels import check_kernels, check_program

Array = np.ndarray[Any, Any]
X = gc.placeholder("parts_x", ("n", 3))
I = gc.placeholder("parts_i", ("n",), "int64")  # noqa: E741
S, W = gc.placeholder("parts_s", ()), gc.placeholder("parts_w", (3, 3))
INPUTS = [X, I, S, W]
REDUCED: dict[str, Callable[[], list[gc.Tensor]]] = {
    "sum": lambda: [gc.sum(X)],
    "columns": lambda: [gc.sum(X, axis=0)],
    "beside a map": lambda: [gc.exp(X), gc.sum(X * X, axis=0), gc.mean(X)],
    "several": lambda: [gc.max(X), gc.sum(X), gc.prod(X, axis=0), gc.min(X, axis=0)],
    "of a scalar before": lambda: [gc.sum(X * gc.sqrt(S)), gc.exp(S)],
    "truth": lambda: [gc.any(X > 1), gc.all(X > 0, axis=0)],
    "of ints": lambda: [gc.sum(I), gc.max(I * 2), gc.sum(gc.astype(X, "int32"), axis=0)],
    "scatter": lambda: [gc.segment_sum(X, I, 3), gc.segment_max(X, I, 3)],
    "count": lambda: [gc.bincount(I, minlength=3)],
    "the gradient of a gather": lambda: [gc.grad(gc.sum(gc.take(W, I, axis=0) ** 2), W)],
}


def kernels(*outputs: gc.Tensor) -> list[Kernel]:
    graph = gc.Graph([t for t in INPUTS if _needs(outputs, t)], outputs)
    steps = walk_steps(run_pipeline(graph, Stages()).program.steps)
    return [s.kernel for s in steps if isinstance(s, Call)]


def _needs(outputs: Any, tensor: gc.Tensor) -> bool:
    return tensor.node in gc.Graph(INPUTS, outputs).nodes


def given(rows: int, columns: int) -> list[Array]:
    draw = np.random.default_rng(rows * 10 + columns)
    x = draw.standard_normal((rows, columns)).astype("float32")
    w = draw.standard_normal((3, 3)).astype("float32")
    return [x, draw.integers(0, 3, rows), np.asarray(2, "float32"), w]


@pytest.fixture
def many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few numbers are several parts."""
    monkeypatch.setattr(shares, "LEAST", 4)
    monkeypatch.setattr(shares, "EACH", 0)
    monkeypatch.setattr(shares, "PARTS", 3)


@pytest.mark.usefixtures("many_parts")
@pytest.mark.parametrize("what", REDUCED)
def test_parts_mean_the_same(what: str) -> None:
    """By the interpreter, which refuses what is outside of its buffer, and of its part."""
    outputs = REDUCED[what]()
    cut = [len(parallel_loops(k)) == 2 for k in kernels(*outputs)]
    assert any(cut)
    graph = gc.Graph([t for t in INPUTS if _needs(outputs, t)], outputs)
    sizes = [(0, 3), (1, 3), (2, 3), (7, 3), (17, 3)]
    calls = [
        [a for a, t in zip(given(*size), INPUTS, strict=True) if _needs(outputs, t)]
        for size in sizes
        if min(size) > 0 or what not in ("several", "of ints")  # no extremum of nothing
    ]
    assert check_program(graph, calls, what) >= len(calls)


@pytest.mark.usefixtures("many_parts")
def test_random_kernels_in_parts_mean_the_same() -> None:
    assert sum(map(check_kernels, range(710, 716))) > 10


@pytest.mark.usefixtures("many_parts")
def test_turns_are_counted_through_from_loop_to_loop() -> None:
    """A call for each turn gives what one call for all of them gives: so does any cut."""
    (kernel,) = kernels(gc.sum(X, axis=0))
    check_kernel(kernel)
    dims = {"n": 17}
    x = given(17, 3)[0].ravel()
    scope = source.stand_ins()
    exec(print_kernel(kernel), scope)
    sizes = [np.int64(evaluate(size, dims)) for size in kernel.sizes.values()]
    turns = sum(evaluate(loop.extent, dims) for loop in parallel_loops(kernel))
    assert turns == 4
    memory = {b: np.full(evaluate(b.size, dims), 9, b.dtype.numpy) for b in kernel.buffers[1:]}
    for turn in np.arange(turns):
        scope["kernel"](x, *memory.values(), *sizes, turn, turn + 1)
    result = memory[kernel.buffers[1]]
    np.testing.assert_allclose(result, x.reshape(17, 3).sum(axis=0), rtol=1e-6)


def test_what_is_known_to_be_short_stays_one_loop() -> None:
    short, long = gc.placeholder("short", (1000, 100)), gc.placeholder("long", (100_000, 16))
    for x, loops in ((short, 0), (long, 2)):
        for result in (gc.sum(x), gc.max(x), gc.sum(x, axis=0)):
            program = run_pipeline(gc.Graph([x], [result]), Stages()).program
            (call,) = [s for s in walk_steps(program.steps) if isinstance(s, Call)]
            assert len(parallel_loops(call.kernel)) == loops
            assert is_splittable(call.kernel) == (loops > 0)


def test_a_scatter_into_much_memory_is_one_part() -> None:
    """Each part would fill it, and add it up again."""
    at = gc.placeholder("at", (1 << 20,), "int64")
    for length, loops in ((1000, 2), (1 << 20, 0)):
        result = gc.bincount(at, minlength=length)
        program = run_pipeline(gc.Graph([at], [result]), Stages()).program
        call = [s for s in walk_steps(program.steps) if isinstance(s, Call)][-1]
        assert len(parallel_loops(call.kernel)) == loops


@pytest.mark.usefixtures("many_parts")
def test_turns_that_wait_for_each_other_are_not_cut() -> None:
    """Running sums, positions, and the last of several values for one place."""
    last = gc.zeros((3,)).at[I].set(X[:, 0])
    for result in (gc.cumsum(X, axis=0), gc.argmax(X), last):
        for kernel in kernels(result):
            assert len(parallel_loops(kernel)) < 2
