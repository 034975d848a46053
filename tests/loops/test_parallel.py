"""Loops that threads share: independent turns are shown from the indices, all others are refused.

The oracle of the random loops runs every pair of turns: which elements each writes and touches.
"""

from __future__ import annotations

import random

import numpy as np
import pytest

import graphc as gc
from graphc.errors import CompileError
from graphc.ir.dim import Size, dim, evaluate
from graphc.ir.dtype import float32, int64
from graphc.loops.check import check_kernel
from graphc.loops.grammar import (
    Accumulate,
    Affine,
    Buffer,
    Const,
    Declare,
    For,
    Kernel,
    Let,
    Load,
    Number,
    Stmt,
    Store,
    Var,
    of,
    statements,
)
from graphc.loops.parallel import shared
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.program import Call, walk_steps
from tests.corpus.programs import PROGRAMS

n, m = dim("n"), dim("m")
X, Y = Buffer("x", float32, n * m), Buffer("y", float32, n * m)
AT, J, K = (Var(name, int64) for name in "ijk")
V, W, AWAY = Var("v", float32), Var("w", float32), Var("at", int64)
ONE = Const(np.float32(1), float32)
SIZES = {"n": n, "m": m}


def kernel(extent: Size, *body: Stmt, before: tuple[Stmt, ...] = ()) -> Kernel:
    return Kernel("k", (X, Y), [*before, For(AT, extent, list(body), parallel=True)], SIZES)


def row(index: Affine, *more: Stmt) -> For:
    return For(J, m, [Load(V, X, index), *more, Store(Y, index, V)])


SHARED: list[tuple[str, Kernel]] = [
    ("turns are m elements apart", kernel(n, Load(V, X, of(AT)), Store(Y, of(AT) * m, V))),  # m = 0
    ("turns are 1 elements apart", kernel(n, Load(V, Y, of(AT)), Store(Y, of(AT) + 1, V))),
    ("turns are 1 elements apart", kernel(n, row(of(AT) + of(J)))),
    (
        "turns are 1 elements apart",
        kernel(n, Store(Y, of(AT), ONE), Store(Y, of(AT) + (n - 1), ONE)),
    ),
    ("turns are 0 elements apart", kernel(n, row(of(J)))),
    ("turns are m - 1 elements apart", kernel(n, row(of(AT) * (m - 1) + of(J)))),
    ("step by different sizes", kernel(n, Load(V, Y, of(AT) * 2), Store(Y, of(AT), V))),
    ("read from data", kernel(n, Let(AWAY, "add", (AT, AT)), Store(Y, of(AT) * m + of(AWAY), ONE))),
    ("unknown sign", kernel(n, row(of(AT) * (m * m) + of(J) * (m - 2)))),
    ("declared outside", kernel(n, Accumulate(V, "add", ONE), before=(Declare(V, ONE),))),
    ("an inner loop", Kernel("k", (X,), [For(AT, n, [For(J, m, [], parallel=True)])], SIZES)),
    (
        "start at different places",
        kernel(
            n,
            Load(V, Y, of(AT)),
            Store(Y, of(AT) + of(AWAY), V),
            before=(Number(AWAY, Affine((), m)),),
        ),
    ),
]


@pytest.mark.parametrize(("why", "given"), SHARED, ids=lambda x: x if isinstance(x, str) else "")
def test_turns_that_meet_are_refused(why: str, given: Kernel) -> None:
    with pytest.raises(CompileError, match=f"not parallel(.|\n)*{why}"):
        check_kernel(given)


def test_turns_with_blocks_of_their_own_are_accepted() -> None:
    """Rows, forward and backward, a row read that nobody writes, a place that all share, and two
    rows one behind the other."""
    backward = -(of(AT) * m) + -of(J) + (n * m - 1)
    start = Number(AWAY, Affine((), m))
    for given in (
        kernel(n, row(of(AT) * m + of(J))),
        kernel(n, row(backward)),
        kernel(n, Load(V, X, Affine()), Store(Y, of(AT) * (m + 1), V)),
        kernel(n, Store(Y, of(AT) + of(AWAY), ONE), before=(start,)),
        kernel(n, Store(Y, of(AT), ONE), Store(Y, of(AT) + n, ONE)),
        kernel(n, Declare(V, ONE), For(J, m, [Accumulate(V, "add", ONE)]), Store(Y, of(AT), V)),
    ):
        check_kernel(given)


def meets(loop: For, sizes: dict[str, int]) -> bool:
    """Whether a turn touches an element that another one writes, by running all of them."""
    touched: dict[int, set[int]] = {}
    written: dict[int, set[int]] = {}

    def visit(body: list[Stmt], at: dict[Var, int]) -> None:
        for stmt in body:
            if isinstance(stmt, For):
                for turn in range(evaluate(stmt.extent, sizes)):
                    visit(stmt.body, at | {stmt.var: turn})
            elif isinstance(stmt, (Load, Store)) and stmt.buffer is Y:
                index = stmt.index
                place = sum(at[v] * evaluate(s, sizes) for v, s in index.terms)
                place += evaluate(index.const, sizes)
                touched.setdefault(at[AT], set()).add(place)
                if isinstance(stmt, Store):
                    written.setdefault(at[AT], set()).add(place)

    visit([loop], {})
    return any(a != b and written[a] & touched[b] for a in written for b in touched)


def test_what_is_accepted_never_meets() -> None:
    """Random nests of two loops around a store and a load, tried at small sizes."""
    draw = random.Random(0)
    factors: list[Size] = [-1, 0, 1, 1, 2, m, m, 2 * m, n * m, -m, m - 1, m + 1]
    accepted = refused_rightly = 0
    for _ in range(1500):
        start = of(AT) * draw.choice(factors)
        write, other = (
            start + of(J) * draw.choice(factors) + of(K) * draw.choice(factors) for _ in range(2)
        )
        read = draw.choice([write, write, other])
        away = draw.choice([0, 0, 0, 1, n, n * m])
        body: list[Stmt] = [Load(V, Y, read + away), Store(Y, write, V)]
        inner = For(J, draw.choice([n, m, 2]), [For(K, draw.choice([m, 1, 2]), body)])
        loop = For(AT, n, [inner], parallel=True)
        met = any(meets(loop, {"n": a, "m": b}) for a in (0, 1, 2, 3) for b in (0, 1, 2, 3))
        if not shared(loop, SIZES):
            accepted += 1
            assert not met, loop
        refused_rightly += met
    assert accepted > 20
    assert refused_rightly > 500


def test_every_kernel_of_the_corpus_is_shown_to_be_what_it_says() -> None:
    parallel = 0
    for make in PROGRAMS.values():
        for step in walk_steps(run_pipeline(make().graph, Stages()).program.steps):
            if isinstance(step, Call):
                check_kernel(step.kernel)
                parallel += any(isinstance(s, For) and s.parallel for s in step.kernel.body)
    assert parallel > 40


def test_a_loop_that_accumulates_is_not_shared() -> None:
    x = gc.placeholder("x", ("n", "m"))
    compiled = run_pipeline(gc.Graph([x], [gc.sum(x, axis=0), gc.exp(x)]), Stages())
    calls = [s for s in walk_steps(compiled.program.steps) if isinstance(s, Call)]
    assert calls
    for call in calls:
        loops = [s for s in statements(call.kernel.body) if isinstance(s, For) and s.parallel]
        assert bool(loops) == (call.work is not None)
