"""Every kernel of random graphs keeps the invariants of loop IR, and means what its region means.

Between the interpreter of graphs and compiled code: a fault seen here is one of the kernel builder,
a fault seen in `test_compiled.py` only is one of the target or of the schedule.
"""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest

from graphc.checking import source
from graphc.errors import CompileError
from graphc.ir.dim import named
from graphc.ir.dtype import bool_, float32, int64
from graphc.loops.check import check_kernel
from graphc.loops.grammar import (
    Accumulate,
    Affine,
    Assign,
    Buffer,
    Const,
    Declare,
    Fail,
    For,
    Kernel,
    Let,
    Load,
    Number,
    Stmt,
    Store,
    Var,
    of,
)
from graphc.loops.interpret import interpret_kernel
from graphc.lower.numba_source import print_kernel
from tests.corpus import PROGRAMS

from .generator import SIZES_FROM
from .kernels import check_kernels
from .rows.bounds import bounds_of_corpus, check_refused

CHUNKS, IN_A_CHUNK = 6, 10  # graphs; row R2 of the scoreboard draws more


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_kernels_mean_what_their_regions_mean(chunk: int) -> None:
    seeds = range(chunk * IN_A_CHUNK, (chunk + 1) * IN_A_CHUNK)
    assert sum(map(check_kernels, seeds)) > 20


def test_the_source_that_is_shown_means_what_is_compiled() -> None:
    """Above, the text that Numba reads is run; here, for some of these, the one for people."""
    with mock.patch.object(source, "print_for_numba", print_kernel):
        assert sum(map(check_kernels, range(0, 60, 12))) > 20


@pytest.mark.parametrize("chunk", range(4))
def test_kernels_of_graphs_about_sizes_stay_inside(chunk: int) -> None:
    seeds = range(SIZES_FROM + chunk * 8, SIZES_FROM + (chunk + 1) * 8)
    assert sum(map(check_kernels, seeds)) > 20


def test_sizes_are_refused_before_anything_runs() -> None:
    assert sum(map(check_refused, range(SIZES_FROM, SIZES_FROM + 32))) > 10


@pytest.mark.parametrize("name", PROGRAMS)
def test_kernels_of_the_corpus_stay_inside(name: str) -> None:
    found = bounds_of_corpus(name)
    assert not found.failures, found.failures


# -- the checker: each invariant, broken -----------------------------------------------------------
X, Y = Buffer("x", float32, 4), Buffer("y", float32, 4)
AT, V, W, B, N = (
    Var("i", int64), Var("v", float32), Var("w", float32), Var("b", bool_), Var("n", int64),
)  # fmt: skip
ONE = Const(np.float32(1), float32)
LOAD = Load(V, X, of(AT))


def _loop(*body: Stmt) -> Kernel:
    return Kernel("k", (X, Y), [For(AT, 4, list(body))])


BROKEN: list[tuple[str, Kernel]] = [
    ("given twice", Kernel("k", (X, X), [])),
    ("no buffer of the kernel", _loop(Store(Buffer("z", float32, 4), of(AT), ONE))),
    ("defined twice", _loop(LOAD, Load(V, Y, of(AT)))),
    ("outside of its scope", _loop(Store(Y, of(AT), V))),
    ("outside of its scope", Kernel("k", (X, Y), [For(AT, 4, [LOAD]), Store(Y, Affine(), V)])),
    ("without a declaration", _loop(LOAD, Assign(V, ONE))),
    ("order is not free", _loop(Declare(V, ONE), Accumulate(V, "subtract", ONE))),
    ("not a primitive", _loop(LOAD, Let(W, "bitwise_and", (V, V)))),
    ("where f32 is needed", _loop(LOAD, Let(B, "add", (V, V)))),
    ("where i64 is needed", _loop(LOAD, Store(Y, of(V), ONE))),
    ("where bool is needed", _loop(LOAD, Load(W, Y, of(AT), V))),
    ("no parameters: m", _loop(Number(N, of(AT) * named("m")))),
    ("that a kernel can report", _loop(Let(B, "less", (ONE, ONE)), Fail(B, 64))),
]


@pytest.mark.parametrize(("what", "kernel"), BROKEN, ids=lambda x: x if isinstance(x, str) else "")
def test_a_broken_kernel_is_refused(what: str, kernel: Kernel) -> None:
    with pytest.raises(CompileError, match=what):
        check_kernel(kernel)


def test_a_kernel_is_interpreted() -> None:
    """y[i] = x[i] + 1 for i < n, backwards through a guard at the first element."""
    inside = [Let(B, "less", (Const(np.int64(0), int64), AT)), Load(V, X, of(AT), B)]
    work = [*inside, Let(W, "add", (V, ONE)), Store(Y, -of(AT) + 3, W), Fail(B, 2)]
    kernel = Kernel("k", (X, Y), [For(AT, named("s"), work)], {"s": named("n") + 1})
    check_kernel(kernel)
    memory = {X: np.arange(10, 14, dtype="float32"), Y: np.zeros(4, "float32")}
    assert interpret_kernel(kernel, memory, {"n": 3}) == 1 << 2
    np.testing.assert_array_equal(memory[Y], [14, 13, 12, 1])
    with pytest.raises(IndexError, match="element 4 of x"):
        interpret_kernel(kernel, memory, {"n": 4})
