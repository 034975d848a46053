"""What operations need of sizes, checked before anything runs: symbolic bounds of slices, places on
named axes, sizes that are computed, extrema of nothing. Against NumPy, at all small sizes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import GraphError, ShapeError

D = "float64"
X, Y = gc.placeholder("x", ("n",), D), gc.placeholder("y", ("m",), D)
A = gc.placeholder("a", ("n", "m"), D)
N, M = X.shape[0], Y.shape[0]
Array = np.ndarray[Any, Any]


# -- NumPy, with positions that are counted from the start -----------------------------------------
def cut(a: Array, low: int, high: int, step: int = 1) -> Array:
    """`a[low:high:step]` for bounds that never count from the end."""
    if low < 0 or high < 0:
        raise IndexError
    return a[low:high:step]


def at(a: Array, place: int) -> Any:
    if place < 0:
        raise IndexError
    return a[place]



def zeros(n: int) -> Array:
    return np.zeros(n)  # ValueError where that is negative


def split(a: Array, place: int) -> Array:
    return np.concatenate([cut(a, place, len(a)), cut(a, 0, place)])


# what is built of x [n], y [m] and a [n, m], and the same by NumPy from arrays and the sizes
CASES: dict[str, tuple[Callable[[], Any], Callable[..., Any]]] = {
    "up to n-2": (lambda: X[: N - 2], lambda x, y, a, n, m: cut(x, 0, n - 2)),
    "inner": (lambda: X[1 : N - 1], lambda x, y, a, n, m: cut(x, 1, n - 1)),
    "the last two": (lambda: X[N - 2 :], lambda x, y, a, n, m: cut(x, n - 2, n)),
    "up to m-1": (lambda: X[: M - 1], lambda x, y, a, n, m: cut(x, 0, m - 1)),
    "up to n-m": (lambda: X[: N - M], lambda x, y, a, n, m: cut(x, 0, n - m)),
    "from m": (lambda: X[M:], lambda x, y, a, n, m: cut(x, m, n)),
    "between": (lambda: X[N - 3 : N - 1], lambda x, y, a, n, m: cut(x, n - 3, n - 1)),
    "every other": (lambda: X[: N - 1 : 2], lambda x, y, a, n, m: cut(x, 0, n - 1, 2)),
    "of both": (lambda: X[M - 1 : N - 1 : 3], lambda x, y, a, n, m: cut(x, m - 1, n - 1, 3)),
    "from 1-n": (lambda: X[-N + 1 :], lambda x, y, a, n, m: cut(x, 1 - n, n)),
    "half": (lambda: X[N // 2 : N // 2 + 2], lambda x, y, a, n, m: cut(x, n // 2, n // 2 + 2)),
    "a quotient": (lambda: X[: N // M], lambda x, y, a, n, m: cut(x, 0, n // m)),
    "a sum of a quotient": (
        lambda: X * gc.sum(X[: N // M]), lambda x, y, a, n, m: x * cut(x, 0, n // m).sum()),
    "from the end": (lambda: X[-3:], lambda x, y, a, n, m: x[-3:]),
    "both from the end": (lambda: X[-4:-1:2], lambda x, y, a, n, m: x[-4:-1:2]),
    "one from the end": (
        lambda: X[-3 : M + 1], lambda x, y, a, n, m: cut(x, max(n - 3, 0), m + 1)),
    "beyond the end": (lambda: X[2:50], lambda x, y, a, n, m: x[2:50]),
    "columns": (
        lambda: A[1:, : M - 2], lambda x, y, a, n, m: cut(a[1:].T, 0, m - 2).T),
    "split": (lambda: gc.concat(gc.split(X, [N - 2])[::-1]), lambda x, y, a, n, m: split(x, n - 2)),
    "split at m": (lambda: gc.concat(gc.split(X, [M])[::-1]), lambda x, y, a, n, m: split(x, m)),
    "an element": (lambda: X[3], lambda x, y, a, n, m: at(x, 3)),
    "the last": (lambda: X[-1], lambda x, y, a, n, m: x[-1]),
    "the last by n": (lambda: X[N - 1], lambda x, y, a, n, m: at(x, n - 1)),
    "at m": (lambda: X[M], lambda x, y, a, n, m: at(x, m)),
    "a column": (lambda: A[:, 2], lambda x, y, a, n, m: a[:, 2]),
    "a corner": (lambda: A[-2, 1], lambda x, y, a, n, m: a[-2, 1]),
    "a part of a part": (lambda: X[2:][1], lambda x, y, a, n, m: x[2:][1]),
    "shorter": (
        lambda: gc.concat([X, gc.zeros((N - 3,), D)]),
        lambda x, y, a, n, m: np.concatenate([x, zeros(n - 3)])),
    "a sum of less": (
        lambda: X * gc.sum(gc.ones((N - M,), D)), lambda x, y, a, n, m: x * len(zeros(n - m))),
    "padded": (
        lambda: gc.pad(X, [(N - 2, 1)]), lambda x, y, a, n, m: np.pad(x, (len(zeros(n - 2)), 1))),
    "a product": (
        lambda: gc.ones((3, N - 2), D) @ gc.broadcast_to(X[2:, None], (N - 2, 3)),
        lambda x, y, a, n, m: np.ones((3, n - 2)) @ np.broadcast_to(x[2:, None], (n - 2, 3))),
    "stencil": (
        lambda: X[: N - 2] - 2 * X[1:-1] + X[2:],
        lambda x, y, a, n, m: cut(x, 0, n - 2) - 2 * x[1:-1] + x[2:]),
    "largest": (lambda: gc.max(A, axis=1), lambda x, y, a, n, m: a.max(axis=1)),
    "smallest of all": (lambda: gc.min(A), lambda x, y, a, n, m: a.min()),
    "a step": (
        lambda: gc.scan(lambda c, r: (c + r[1], c * r[M - 2]), X[0], A)[1],
        lambda x, y, a, n, m: (x[0] + np.cumsum([0, *a[:, 1]])[:-1]) * at(a.T, m - 2)),
    "one of three": (
        lambda: gc.switch(gc.sum(X).astype("int64") % 3, [lambda: X[1], lambda: Y[N - 2]]),
        lambda x, y, a, n, m: np.where(int(x.sum()) % 3 == 0, x[1], at(y, n - 2))),
    "a branch": (
        lambda: gc.cond(gc.sum(X) > 0, lambda: X[1], lambda: Y[N - 2]),
        lambda x, y, a, n, m: np.where(x.sum() > 0, x[1], at(y, n - 2))),
}  # fmt: skip
LEAVES = [X, Y, A]


def arrays(n: int, m: int) -> list[Array]:
    rng = np.random.default_rng((n, m))
    return [rng.uniform(1, 2, n), rng.uniform(1, 2, m), rng.uniform(1, 2, (n, m))]


def expected(numpy: Callable[..., Any], given: list[Array], n: int, m: int) -> Any:
    try:
        return np.asarray(numpy(*given, n, m))
    except (IndexError, ValueError, ZeroDivisionError):
        return None


def slope(numpy: Callable[..., Any], given: list[Array], which: int, n: int, m: int) -> Array:
    """The gradient of the sum of squares, by central differences, which are exact for it."""
    found = np.zeros_like(given[which])
    for place in np.ndindex(found.shape):
        sides = []
        for step in (1e-6, -1e-6):
            moved = [a.copy() for a in given]
            moved[which][place] += step
            sides.append((np.asarray(numpy(*moved, n, m)) ** 2).sum())
        found[place] = (sides[0] - sides[1]) / 2e-6
    return found


@pytest.mark.parametrize("case", CASES)
def test_values_gradients_and_errors_at_all_small_sizes(case: str) -> None:
    build, numpy = CASES[case]
    out = build()
    nodes = gc.Graph(LEAVES, [out]).nodes
    used = [i for i, t in enumerate(LEAVES) if t.node in nodes]
    outputs = [out, *gc.grad(gc.sum(out**2), [LEAVES[i] for i in used])]
    functions = [gc.compile(LEAVES, outputs, target=target) for target in ("cpu", "reference")]
    for n, m in itertools.product(range(6), range(5)):
        given = arrays(n, m)
        wanted = expected(numpy, given, n, m)
        for f in functions:
            if wanted is None:
                with pytest.raises(ShapeError) as caught:
                    f(*given)
                assert caught.value.where.startswith(__file__)
                assert "input" in caught.value.given
                assert __file__ in caught.value.hint  # where the inputs are made
                continue
            value, *gradients = f(*given)
            assert value.shape == wanted.shape
            np.testing.assert_allclose(value, wanted, rtol=1e-12)
            if n + m in (6, 7):
                for i, g in zip(used, gradients, strict=True):
                    right = slope(numpy, given, i, n, m)
                    np.testing.assert_allclose(g, right, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("position", [gc.argmax, gc.argmin])
@pytest.mark.parametrize("axis", [0, 1, None])
def test_there_is_no_position_in_nothing(position: Any, axis: int | None) -> None:
    graph = gc.Graph([A], [position(A, axis=axis)])
    numpy = getattr(np, position.__name__)
    for n, m in itertools.product(range(3), range(3)):
        a = np.zeros((n, m))
        try:
            wanted = numpy(a, axis=axis)
        except ValueError:
            with pytest.raises(ShapeError, match="out of bounds"):
                gc.evaluate(graph.outputs[0], {A: a})
        else:
            np.testing.assert_array_equal(gc.evaluate(graph.outputs[0], {A: a}), wanted)


def test_any_and_all_of_nothing_have_an_answer() -> None:
    truths = gc.placeholder("t", ("n",), "bool")
    f = gc.compile([truths], [gc.any(truths), gc.all(truths)])
    assert [bool(v) for v in f(np.zeros(0, bool))] == [False, True]


def test_the_error_has_both_lines_and_the_next_call_runs() -> None:
    v = gc.variable(np.zeros(2), name="v")
    f = gc.compile([X], X[: N - 2], updates={v: v + 1})
    with pytest.raises(ShapeError) as caught:
        f(np.ones(1))
    assert caught.value.message == "a size of an input is out of bounds"
    assert caught.value.expected.startswith("n >= 2, for slice at ")
    assert caught.value.given == "n = 1 (axis 0 of input 'x')"
    assert v.value.tolist() == [0, 0]
    assert f(np.ones(3)).shape == (1,)
    assert v.value.tolist() == [1, 1]


def test_a_program_from_the_cache_checks_too(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path))
    for _ in range(2):
        f = gc.compile([X], gc.sum(X[1 : N - 1]))
        assert f(np.arange(6.0)) == 10
        with pytest.raises(ShapeError) as caught:
            f(np.zeros(0))
        assert caught.value.where.startswith(__file__)


def test_jit_checks_and_traces_again() -> None:
    @gc.jit
    def f(a: Any) -> Any:
        return a[3] + a[-1]

    assert f(np.arange(5.0)) == 7
    assert f(np.arange(6.0)) == 8
    assert f.programs == 1
    with pytest.raises(ShapeError) as caught:
        f(np.ones(2))
    assert caught.value.where.startswith(__file__)
    assert f(np.arange(4.0)) == 6
    assert f.programs == 1


def test_what_no_call_can_have_is_an_error_at_once() -> None:
    with pytest.raises(ShapeError, match="counted from the start") as caught:
        X[-N:]
    assert "literal" in caught.value.hint
    with pytest.raises(ShapeError, match="not on an axis"):
        X[N]
    with pytest.raises(GraphError, match="not determined"):
        gc.compile([X], X[gc.dim("k")])


def test_sizes_that_may_be_negative_compile_and_multiply() -> None:
    x, y = gc.placeholder("x", (2, "n-1"), D), gc.placeholder("y", ("n-1", 2), D)
    f = gc.compile([x, y], [x @ y, y @ x, *gc.grad(gc.sum((x @ y) ** 2), [x, y])])
    for k in (0, 1, 4):
        a, b = np.arange(2.0 * k).reshape(2, k), np.ones((k, 2))
        g = 2 * (a @ b)
        for found, wanted in zip(f(a, b), [a @ b, b @ a, g @ b.T, a.T @ g], strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_an_index_into_an_axis_without_elements_is_refused_before_anything_runs() -> None:
    """A kernel brings an index that is out of range to an element, so that there must be one. This
    ended the process."""
    x, i = gc.placeholder("nothing", ("n",)), gc.placeholder("places", ("k",), "int64")
    picked = {
        "take": gc.take(x, i),
        "of a kernel": gc.take(x * 2, i),
        "gradient": gc.grad(gc.sum(gc.take(x, i)), x),
        "several": gc.stack([x, x], 1)[i, i % 2],
        "assigned": x.at[i].set(1.0),
        "added": (x * 2).at[i].add(1.0),
    }
    none, one = np.zeros(0, np.int64), np.zeros(1, np.int64)
    for name, t in picked.items():
        f = gc.compile([x, i], t)
        assert f(np.zeros(0, np.float32), none).shape == (0,), name
        assert f(np.ones(2, np.float32), one).size, name
        with pytest.raises(ShapeError, match=r"n >= min\(k, 1\)"):
            f(np.zeros(0, np.float32), one)
        with pytest.raises(ShapeError, match=r"n >= min\(k, 1\)"):
            gc.evaluate(t, {x: np.zeros(0, np.float32), i: one})
    with pytest.raises(ShapeError, match="an axis without elements"):
        gc.take(gc.zeros((0, 3)), gc.constant([0]))
