"""What a call promises: values from before the call, fresh results, any way to pass arrays."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

import graphc as gc
from tests.compiling import agree

rng = np.random.default_rng(0)
D = "float64"


def f64(*shape: int) -> np.ndarray[Any, Any]:
    return rng.normal(size=shape)


# -- updates ---------------------------------------------------------------------------------------
def test_outputs_and_updates_read_the_values_from_before() -> None:
    w, v = gc.variable(f64(3), name="w"), gc.variable(f64(3), name="v")
    a, b = w.value, v.value
    function = gc.compile([], [w, w + v], {w: v, v: w})
    old, total = function()
    np.testing.assert_array_equal((old, total), (a, a + b))
    np.testing.assert_array_equal((w.value, v.value), (b, a))
    np.testing.assert_array_equal(function()[0], b)
    np.testing.assert_array_equal((w.value, v.value), (a, b))


IN_PLACE = {
    "reversed": lambda w, v, b: {w: w[::-1]},
    "reversed, with work": lambda w, v, b: {w: w[::-1] * 2},
    "transposed": lambda w, v, b: {w: w.T},
    "plus its transpose": lambda w, v, b: {w: w + w.T},
    "its own product": lambda w, v, b: {w: w.T @ w},
    "crossed products": lambda w, v, b: {w: v @ w, v: w @ v},
    "minus its mean": lambda w, v, b: {w: w - gc.mean(w)},
    "minus its row means": lambda w, v, b: {w: w - gc.mean(w, axis=1, keepdims=True)},
    "minus its column means": lambda w, v, b: {w: w - gc.mean(w, axis=0)},
    "softmax of rows": lambda w, v, b: {w: gc.softmax(w, axis=1)},
    "softmax of columns": lambda w, v, b: {w: gc.softmax(w, axis=0)},
    "another's sum": lambda w, v, b: {b: gc.sum(w, axis=0), w: w + b},
    "a cycle": lambda w, v, b: {w: v + 1, v: w + 1},
    "a cycle, moved": lambda w, v, b: {w: v * 2, v: w[::-1], b: b + w[0]},
    "one value for two": lambda w, v, b: {w: gc.tanh(w), v: gc.tanh(w)},
    "a view of itself": lambda w, v, b: {w: gc.reshape(gc.reshape(w, (16,)) * 2, (4, 4))},
    "read twice": lambda w, v, b: {w: gc.reshape(gc.reshape(w, (2, 8))[::-1], (4, 4)) + w},
    "gathered": lambda w, v, b: {w: gc.take(w, [3, 2, 1, 0]), b: gc.take(b, [1, 1, 0, 0])},
    "shifted": lambda w, v, b: {w: gc.concat([w[1:], w[:1]]), b: gc.concat([b[1:], b[:1]])},
    "solved": lambda w, v, b: {w: gc.linalg.solve(w, v), v: gc.linalg.inv(w)},
    "a row": lambda w, v, b: {b: w[0], w: w * 0},
    "the other, and a constant": lambda w, v, b: {v: w, w: gc.constant(np.ones((4, 4)))},
    "from a loop": lambda w, v, b: dict(
        zip((b, w), gc.scan(lambda c, row: (c + row, c * row), b, w), strict=True)
    ),
    "where it is greatest": lambda w, v, b: {w: gc.where(w == gc.max(w, axis=1), 0.0, w)},
}


@pytest.mark.parametrize("case", IN_PLACE)
def test_variables_are_overwritten_only_when_they_have_been_read(case: str) -> None:
    w, v = gc.variable(f64(4, 4), name="w"), gc.variable(f64(4, 4), name="v")
    agree([], [], (), updates=IN_PLACE[case](w, v, gc.variable(f64(4), name="b")))


@pytest.mark.sweep
@pytest.mark.parametrize("case", IN_PLACE)
def test_variables_are_overwritten_only_when_outputs_have_read_them(case: str) -> None:
    w, v = gc.variable(f64(4, 4), name="w"), gc.variable(f64(4, 4), name="v")
    outputs = [w, w + 1, gc.reshape(w, (16,)), w.T, v @ w]
    agree([], outputs, (), updates=IN_PLACE[case](w, v, gc.variable(f64(4), name="b")))


def random_program(seed: int) -> tuple[list[gc.Tensor], dict[gc.Variable, gc.Tensor]]:
    """Outputs and updates over four variables that all read and overwrite each other."""
    draw = random.Random(seed)
    variables = [gc.variable(f64(3, 3), name=f"w{k}") for k in range(3)]
    variables.append(gc.variable(f64(3), name="b"))
    pool: list[gc.Tensor] = list(variables)
    steps = [
        lambda a, b: a + b,
        lambda a, b: a * b,
        lambda a, b: gc.tanh(a),
        lambda a, b: a[::-1],
        lambda a, b: a.T,
        lambda a, b: a @ b * 0.3,
        lambda a, b: a - gc.mean(a),
        lambda a, b: gc.sum(a, axis=-1),
        lambda a, b: gc.softmax(a, axis=-1),
        lambda a, b: gc.max(a, axis=0),
        lambda a, b: gc.reshape(gc.reshape(a, (-1,))[::-1], a.shape),
        lambda a, b: gc.where(a > b, a, b * 0.5),
    ]
    for _ in range(draw.randint(3, 9)):
        a, b = draw.choice(pool), draw.choice(pool)
        made = draw.choice(steps)(a, b) if a.ndim == 2 else a * 2 + b
        pool += [made] if made.ndim else []
    updates = {
        v: draw.choice([t for t in pool if t.shape == v.shape])
        for v in variables
        if draw.random() < 0.8
    }
    return [draw.choice(pool), pool[-1]], updates


@pytest.mark.parametrize("seed", range(16))
def test_random_updates(seed: int) -> None:
    outputs, updates = random_program(seed)
    agree([], outputs, (), updates=updates)


@pytest.mark.sweep
@pytest.mark.parametrize("seed", range(16, 400))
def test_more_random_updates(seed: int) -> None:
    test_random_updates(seed)


def test_a_failed_call_changes_nothing() -> None:
    w, s = gc.variable(f64(5, 3), name="w"), gc.variable(0.0, name="s", dtype=D)
    i = gc.placeholder("i", ("k",), "int64")
    calls = [([0, 1, 4],), ([],), ([-1, -5],), ([5],), ([0, -6],), ([2**62],), ([-(2**63)],)]
    picked = gc.take(w, i)
    agree([i], [picked, s], *calls, updates={w: w * 2, s: s + gc.sum(picked)})
    gradient = gc.grad(gc.sum(picked**2), w)
    agree([i], s, *calls, updates={w: w - 0.1 * gradient, s: s + 1})


def test_the_order_in_which_variables_are_met_does_not_matter() -> None:
    """It is another one in the optimised graph than in the user's."""
    v0, v1, v2, b = (gc.variable(f64(*s)) for s in ((3, 3), (3, 3), (3, 3), (3,)))
    weights, scale = gc.softmax(v0, axis=1), v1 @ b * 0.3
    updates = {v2: scale + weights, b: gc.max(weights, axis=0)}
    function = agree([], [v1, (scale * weights)[::-1]], (), updates=updates)
    orders = [[id(v) for v in g.variables] for g in (function.graph, function.optimized)]
    assert orders[0] != orders[1]  # or this test tests nothing


# -- results ---------------------------------------------------------------------------------------
def test_results_are_fresh() -> None:
    x, y = gc.placeholder("x", ("n", 3), D), gc.placeholder("y", (2, 3), D)
    w = gc.variable(f64(2, 3), name="w")
    c, t = gc.constant(f64(2, 3)), gc.tanh(x)
    outputs = [
        x, x, gc.reshape(x, (-1,)), x[::-1], x[1:], y, y.T, gc.reshape(y, (3, 2)), c, c, c[0], w,
        w.T, t, t, gc.reshape(t, (-1,)), t.T, gc.constant(3.0), gc.broadcast_to(y[0], (4, 3)),
    ]  # fmt: skip
    function = agree([x, y], outputs, *((f64(n, 3), f64(2, 3)) for n in (4, 1, 0)))
    first = function(f64(4, 3), f64(2, 3))
    kept = [np.copy(r) for r in first]
    function(f64(4, 3), f64(2, 3))
    for result, copy in zip(first, kept, strict=True):
        np.testing.assert_array_equal(result, copy)  # not memory that is used again


def test_results_come_as_the_outputs_were_given() -> None:
    x = gc.placeholder("x", ("n",), D)
    a = f64(3)
    for outputs, expected in (
        (x + 1, a + 1),
        ([x, x + 1], [a, a + 1]),
        ((x, x + 1), (a, a + 1)),
        ({"z": x, "a": gc.sum(x)}, {"z": a, "a": a.sum()}),
        ([], []),
        ({}, {}),
        ((), ()),
    ):
        found = gc.compile([x], outputs)(a)
        assert type(found) is type(expected)
        if isinstance(expected, dict):
            assert list(found) == list(expected)
            found, expected = list(found.values()), list(expected.values())
        for given, value in zip(found, expected, strict=True):
            np.testing.assert_allclose(given, value, rtol=1e-12)
    total = gc.compile([x], gc.sum(x))(a)
    assert isinstance(total, np.float64)


# -- arguments -------------------------------------------------------------------------------------
def test_inputs_by_name_in_any_order() -> None:
    x, y = gc.placeholder("x", (), D), gc.placeholder("y", (), D)
    function = gc.compile([x, y], x - y)
    assert function(5.0, 3.0) == function(y=3.0, x=5.0) == function(5.0, y=3.0) == 2.0


def layouts() -> dict[str, Any]:
    a = np.arange(12.0).reshape(3, 4)
    shifted = np.empty(a.nbytes + 1, np.uint8)[1:].view(np.uint8)
    misaligned = np.frombuffer(shifted.data, dtype=D).reshape(3, 4)
    misaligned[...] = a
    frozen = a.copy()
    frozen.flags.writeable = False
    return {
        "plain": a,
        "Fortran": np.asfortranarray(a),
        "not contiguous": np.repeat(a, 2, axis=1)[:, ::2],
        "reversed": a[::-1, ::-1].copy()[::-1, ::-1],
        "transposed": a.T.copy().T,
        "read-only": frozen,
        "other byte order": a.astype(">f8"),
        "misaligned": misaligned,
        "nested lists": a.tolist(),
        "lists of arrays": list(a),
        "float32": a.astype("float32"),
        "int8": a.astype("int8"),
        "bool": (a > 5),
        "subclass": a.view(type("Sub", (np.ndarray,), {})),
        "stretched": np.broadcast_to(a[0], (3, 4)),
        "stretched both": np.broadcast_to(np.float64(3), (3, 4)),
        "no rows": a[:0],
        "memoryview": memoryview(a),
        "in a larger buffer": np.arange(100.0)[10:22].reshape(3, 4),
    }


@pytest.mark.parametrize("layout", layouts())
def test_every_layout_works(layout: str) -> None:
    given = layouts()[layout]
    expected = np.asarray(given).astype(D)
    x = gc.placeholder("x", ("n", 4), D)
    function = gc.compile([x], [x * 2, x, x.T @ x, gc.sum(x, axis=0)])
    before = np.array(given, copy=True)
    doubled, same, gram, total = function(given)
    np.testing.assert_array_equal(doubled, expected * 2)
    np.testing.assert_array_equal(same, expected)
    np.testing.assert_allclose(gram, expected.T @ expected)
    np.testing.assert_allclose(total, expected.sum(axis=0))
    same += 1  # results are the caller's
    np.testing.assert_array_equal(np.asarray(given), before)


def test_the_same_array_for_two_inputs() -> None:
    x, y = gc.placeholder("x", ("n",), D), gc.placeholder("y", ("n",), D)
    a = np.arange(10.0)
    function = gc.compile([x, y], [x + y, x * 2, y * 2])
    np.testing.assert_array_equal(function(a, a)[0], 2 * a)
    np.testing.assert_array_equal(function(a[1:], a[:-1])[0], a[1:] + a[:-1])


def test_empty_lists_have_the_inputs_dtype() -> None:
    i = gc.placeholder("i", ("n",), "int64")
    assert gc.compile([i], i + 1)([]).dtype == np.int64


# -- names -----------------------------------------------------------------------------------------
NAMES = [
    "exp", "import", "lambda", "None", "a.b", "a'b", 'a"b', "a\nb", "a\x00b", "a b", "é",
    "__import__", "a0", "b0", "n0", "s0", "caller", "entry", "%0", "@w", "}", "\\", "x" * 10_000,
    "‮x", "pool",
    "return 1", '"""', "f64", "range", "{n}", "<b>", "../x", "i0", "v0", "context", "self",
    "arrays", "canary",
]  # fmt: skip


def test_names_change_nothing() -> None:
    a, b = f64(3), f64(3)
    expected = np.tanh(a * b) + b
    for name in NAMES:
        x, w = gc.placeholder(name, (3,), D), gc.variable(b, name=name)
        y = gc.tanh(x * w) + w
        function = gc.compile([x], {name: y, "loss": gc.grad(gc.sum(y), w)}, {w: y}, name=name)
        found = function(a)
        np.testing.assert_allclose(found[name], expected, rtol=1e-12)
        np.testing.assert_allclose(w.value, expected, rtol=1e-12)
        np.testing.assert_array_equal(gc.compile([x], x, name=name)(**{name: a}), a)
    assert "canary" not in function.source + function.llvm


@pytest.mark.parametrize("name", ["x", "min", "max", "s0", "start", "b0", "range", "failures"])
def test_dims_of_any_name(name: str) -> None:
    x, y = gc.placeholder("x", (name,), D), gc.placeholder("y", (f"{name} + 1", name), D)
    agree([x, y], [x + 1, y @ x, gc.size(x), y[1:] + x[:, None]], (f64(3), f64(4, 3)))


def test_names_in_a_scope_and_of_unequal_inputs_stay_distinct() -> None:
    x, y = gc.placeholder("a.b", (), D), gc.placeholder("a_b", (), D)
    assert gc.compile([x, y], x - y)(**{"a_b": 1.0, "a.b": 3.0}) == 2.0
