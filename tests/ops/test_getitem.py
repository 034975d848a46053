"""`x[key]` and `x.at[key]` for every form of key, against NumPy; their gradients and errors.

All keys are read and written in one compiled program, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, DTypeError, OutOfRangeError, RuntimeFailure, ShapeError
from graphc.ir.graph import walk
from graphc.ir.op import Kind

Array = np.ndarray[Any, Any]
SHAPE = (4, 3, 5)
I = np.array([1, -1, 0])  # noqa: E741
J = np.array([[2], [0]])
MASK = np.array([True, False, True, True])
MASK2 = np.arange(12).reshape(4, 3) % 5 < 2

BASIC: dict[str, Any] = {
    "an int": 1, "ints": (-1, 2), "all ints": (3, 0, -5), "a slice": slice(1, 3),
    "an end": slice(-2, None), "a step": (slice(None, None, 2), slice(None), slice(3, None, -2)),
    "reversed": (..., slice(None, None, -1)), "None": (None, 1, ..., None, slice(1, 4)),
    "dots": ..., "nothing": slice(2, 2), "all": slice(None),
}  # fmt: skip
ADVANCED: dict[str, Any] = {
    "an array": I, "a list": [0, 2, 0], "second axis": (slice(None), I), "last axis": (..., I),
    "a scalar": (np.array(2),), "two": (I, I), "broadcast": (J, I), "all three": (J, I, 4),
    "scalars": (np.array(1), np.array(-1), 2), "scalars apart": (np.array(1), slice(1, 3), 2),
    "int and array": (2, I), "array and int": (I, 0), "apart": (I, slice(1, 3), I),
    "int apart": (0, slice(None), I), "after a slice": (slice(1, 3), J, I),
    "dots between": (J, ..., I), "None between": (I, None, I), "None before": (None, I, I),
    "beside a step": (slice(3, 0, -2), I),
    "small ints": (I.astype(np.int8), np.array([0, 1, 2], np.uint8)), "empty": [],
    "a mask": MASK, "a mask of two axes": MASK2, "a mask and an int": (MASK, 1),
    "a mask and an array": (MASK, np.array([0, 2, 2])),
    "a mask behind": (slice(None), np.array([True, False, True])),
    "twice the same": [1, 1, 1],
}  # fmt: skip
KEYS = BASIC | ADVANCED
UPDATES: dict[str, Callable[[Any, Any, Any], None]] = {
    "set": lambda x, key, v: _set(x, key, v),
    "add": np.add.at,
    "multiply": np.multiply.at,
    "min": np.minimum.at,
    "max": np.maximum.at,
}


def _set(x: Array, key: Any, value: Any) -> None:
    """One element after another, so that the last one stays."""
    places = np.arange(x.size).reshape(x.shape)[key]
    for place, v in zip(places.flat, np.broadcast_to(value, places.shape).flat, strict=True):
        x.flat[place] = v


def numbers(shape: Any, seed: int, dtype: str = "float32") -> Array:
    return np.random.default_rng(seed).integers(-3, 4, shape).astype(dtype)


def updated(x: Array, how: str, key: Any, value: Any) -> Array:
    result = x.copy()
    UPDATES[how](result, key, value)
    return result


# -- values ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", KEYS)
def test_what_is_read_is_numpys(name: str) -> None:
    a = numbers(SHAPE, 0)
    x = gc.placeholder("gi", SHAPE)
    y = x[KEYS[name]]
    found = gc.evaluate(y, {x: a})
    np.testing.assert_array_equal(found, a[KEYS[name]])
    assert y.shape == a[KEYS[name]].shape


@pytest.mark.parametrize("name", KEYS)
def test_what_is_written_is_numpys(name: str) -> None:
    key = KEYS[name]
    for dtype in ("float32", "int8"):
        a = numbers(SHAPE, 0, dtype)
        b = numbers(a[key].shape, 1, dtype)
        x = gc.placeholder("gi", a.shape, dtype)
        v = gc.placeholder("gv", b.shape, dtype)
        made = [getattr(x.at[key], how)(v) for how in UPDATES]
        for how, found in zip(UPDATES, gc.evaluate(made, {x: a, v: b}), strict=True):
            np.testing.assert_array_equal(found, updated(a, how, key, b), err_msg=how)
            assert found.dtype == a.dtype
        found = gc.evaluate(x.at[key].set(2), {x: a})
        np.testing.assert_array_equal(found, updated(a, "set", key, 2))


@pytest.mark.parametrize("size", [0, 1, 4])
def test_named_sizes(size: int) -> None:
    a, i = numbers((size, 3), 0), np.arange(size)[::-1]
    x, places = gc.placeholder("gn", ("gsize", 3)), gc.placeholder("gp", ("gsize",), "int64")
    j = np.arange(size) % 3
    feeds = {x: a, places: i}
    outputs = [
        x[places], x[places, gc.arange(x.shape[0]) % 3], x.at[places].add(1), x.at[1:].set(0),
        x.at[places, 0].set(gc.arange(x.shape[0]).astype("float32")),
    ]  # fmt: skip
    found = gc.evaluate(outputs, feeds)
    sliced, last = a.copy(), a.copy()
    sliced[1:], last[i, 0] = 0, np.arange(size)
    for got, wanted in zip(found, [a[i], a[i, j], a + 1, sliced, last], strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_keys_in_one_program() -> None:
    """Half of the keys: values and updates, and for some of them gradients by both sides."""
    a, x = numbers(SHAPE, 0), gc.placeholder("gi", SHAPE)
    inputs, arrays, outputs = [x], [a], []
    for number, key in enumerate(list(KEYS.values())[::2]):
        how = list(UPDATES)[number % len(UPDATES)]
        b = numbers(a[key].shape, number)
        v = gc.placeholder(f"gv{number}", b.shape)
        y = x[key]
        z = getattr(x.at[key], how)(v)
        inputs, arrays = [*inputs, v], [*arrays, b]
        outputs += [y, z]
        if number % 2:
            outputs += gc.grad(gc.sum(y * v) + gc.sum(z * z * z), [x, v])
    expected = gc.evaluate(outputs, dict(zip(inputs, arrays, strict=True)))
    for found, wanted in zip(gc.compile(inputs, outputs)(*arrays), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


# -- gradients -------------------------------------------------------------------------------------
@pytest.mark.parametrize("how", UPDATES)
@pytest.mark.parametrize("name", ["a step", "twice the same", "apart", "broadcast", "a mask"])
def test_gradients_are_difference_quotients(how: str, name: str) -> None:
    rng = np.random.default_rng(3)
    key = KEYS[name]
    a = rng.permutation(np.arange(60.0)).reshape(SHAPE) / 7 - 4
    b = rng.permutation(np.arange(a[key].size)).reshape(a[key].shape) / 5 - 1.03
    x, v = gc.placeholder("gx64", SHAPE, "float64"), gc.placeholder("gv64", b.shape, "float64")
    r = rng.normal(size=SHAPE)
    y = gc.sum(getattr(x.at[key], how)(v) * r)
    dx, dv = rng.normal(size=a.shape), rng.normal(size=b.shape)
    slope = gc.evaluate([gc.sum(g * d) for g, d in zip(gc.grad(y, [x, v]), (dx, dv), strict=True)],
                        {x: a, v: b})  # fmt: skip
    step = 1e-6
    high, low = (
        float(gc.evaluate(y, {x: a + s * dx, v: b + s * dv})) for s in (step, -step)
    )
    assert abs(sum(map(float, slope)) - (high - low) / (2 * step)) < 1e-5


def test_products_with_zeros_have_gradients() -> None:
    x, v = gc.placeholder("gx64", (3,), "float64"), gc.placeholder("gz", (4,), "float64")
    i = [0, 0, 1, 1]
    gx, gv = gc.grad(gc.sum(x.at[i].multiply(v)), [x, v])
    found = gc.evaluate([gx, gv], {x: [2.0, 3.0, 5.0], v: [0.0, 7.0, 0.0, 0.0]})
    np.testing.assert_array_equal(found[0], [0, 0, 1])
    np.testing.assert_array_equal(found[1], [14, 0, 0, 0])


# -- slices between tensors, masks -----------------------------------------------------------------
def test_slices_that_begin_at_a_tensor() -> None:
    a = numbers((7, 4), 0)
    x, i = gc.placeholder("gs", (7, 4)), gc.placeholder("gstart", (), "int64")
    outputs = [
        x[i : i + 3], x[i - 1 : i + 1, 1:], x[::-1, 1][i : i + 2], x.at[i : i + 3, :2].add(1),
        x.at[i : i + 3].set(0), gc.grad(gc.sum(x[i : i + 3] ** 2), x),
        gc.dynamic_slice(x, [i, 9], (2, 3)), gc.dynamic_update_slice(x, [[7.0]], (i, 3)),
    ]  # fmt: skip
    run = gc.compile([x, i], outputs)
    for start in (1, 2, 4):
        added, zeroed, slope, put = a.copy(), a.copy(), np.zeros_like(a), a.copy()
        added[start : start + 3, :2] += 1
        zeroed[start : start + 3] = 0
        slope[start : start + 3] = 2 * a[start : start + 3]
        put[start, 3] = 7
        expected = [
            a[start : start + 3], a[start - 1 : start + 1, 1:], a[::-1, 1][start : start + 2],
            added, zeroed, slope, a[start : start + 2, 1:4], put,
        ]  # fmt: skip
        for run_or_evaluated in (run(a, start), gc.evaluate(outputs, {x: a, i: start})):
            for found, wanted in zip(run_or_evaluated, expected, strict=True):
                np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(gc.evaluate(x[i : i + 3], {x: a, i: -3}), a[4:])
    clamped = gc.dynamic_slice(x, [i, 0], (3, 4))
    for start, first in ((-2, 4), (9, 4), (-20, 0)):
        np.testing.assert_array_equal(gc.evaluate(clamped, {x: a, i: start}), a[first : first + 3])


@pytest.mark.parametrize("start", [5, -8, 100])
def test_a_slice_beyond_the_end_fails(start: int) -> None:
    x, i = gc.placeholder("gs", (7, 4)), gc.placeholder("gstart", (), "int64")
    part = x[i : i + 3]
    for run in (gc.compile([x, i], part), lambda a, s: gc.evaluate(part, {x: a, i: s})):
        with pytest.raises(RuntimeFailure, match="3 elements from there on are not on an axis"):
            run(numbers((7, 4), 0), np.int64(start))


def test_masks_that_are_tensors() -> None:
    a = numbers((4, 3), 0)
    x = gc.placeholder("gm", (4, 3))
    m = a > 0
    row = np.array([10.0, 20.0, 30.0], "float32")
    chosen = x[x > 0]
    made = [
        chosen.sum(), chosen.mean(), chosen.prod(), chosen.max(), chosen.min(), chosen.var(),
        chosen.std(ddof=1), chosen.count(), np.sum(x[x > 0]), np.mean(x[x > 0]),
        x.at[x > 0].set(9), x.at[x > 0].add(1), x.at[x[:, 0] > 0].set(row),
        x.at[x > 0].multiply(2), x[x[:, 0] > 0].sum(), x[x > 5].sum(), (x > 0)[x < 1].any(),
    ]  # fmt: skip
    inside = a[m]
    sets, adds, rows = a.copy(), a.copy(), a.copy()
    sets[m], rows[a[:, 0] > 0] = 9, row
    adds[m] += 1
    expected = [
        inside.sum(), inside.mean(), inside.prod(), inside.max(), inside.min(), inside.var(),
        inside.std(ddof=1), inside.size, inside.sum(), inside.mean(), sets, adds, rows,
        np.where(m, 2 * a, a), a[a[:, 0] > 0].sum(), 0, m[a < 1].any(),
    ]  # fmt: skip
    for found, wanted in zip(gc.evaluate(made, {x: a}), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
    refused: list[Callable[[], Any]] = [
        lambda: chosen + 1, lambda: chosen.shape, lambda: gc.tanh(chosen), lambda: chosen[0]
    ]
    for call in refused:
        with pytest.raises(ArgumentError, match="how many elements a mask selects"):
            call()


# -- along an axis, and where elements are ---------------------------------------------------------
def test_positions_of_what_is_not_zero() -> None:
    a = np.array([[0, 3, 0], [1, 0, 2]])
    x = gc.placeholder("gnz", (2, 3), "int64")
    rows, columns = gc.nonzero(x, size=4, fill_value=-7)
    outputs = [rows, columns, gc.flatnonzero(x, size=2), x.nonzero(size=3)[1]]
    expected = [[0, 1, 1, -7], [1, 0, 2, -7], [1, 3], [1, 0, 2]]
    for found in (gc.evaluate(outputs, {x: a}), gc.compile([x], outputs)(a)):
        for got, wanted in zip(found, expected, strict=True):
            np.testing.assert_array_equal(got, wanted)
    with pytest.raises(ArgumentError, match="size="):
        np.nonzero(x)
    with pytest.raises(ShapeError, match="scalar"):
        gc.nonzero(gc.sum(x), size=1)


def test_values_put_along_an_axis() -> None:
    a, i = numbers((3, 4), 0), np.array([[1, 1], [0, -1], [2, 3]])
    v = numbers((3, 2), 1)
    expected = a.copy()
    for row in range(3):
        for place, value in zip(i[row], v[row], strict=True):
            expected[row, place] = value
    np.testing.assert_array_equal(gc.evaluate(gc.put_along_axis(a, i, v, 1)), expected)
    flat = gc.put_along_axis(a, [0, 11], 5, axis=None)
    np.testing.assert_array_equal(gc.evaluate(flat).ravel()[[0, 11]], [5, 5])


def test_one_place_is_no_scatter() -> None:
    """A row that is written at each turn of a loop is written as a slice."""
    x, i = gc.placeholder("gone", ("gn", 8)), gc.placeholder("gwhere", (), "int32")
    y = x.at[i].set(gc.tanh(x[0])) * 2
    assert not [node for node in walk([y]) if node.op.kind is Kind.REDUCE]
    program = gc.compile([x, i], y)
    a = numbers((4, 8), 0)
    for at in (0, 3, -1):
        expected = a.copy()
        expected[at] = np.tanh(a[0])
        np.testing.assert_allclose(program(a, np.int32(at)), expected * 2, rtol=1e-6)
    xs = gc.scan(lambda c, v: (c.at[v].add(1.0), None), gc.zeros((5,)), gc.asarray([1, 1, 4]))[0]
    np.testing.assert_array_equal(gc.evaluate(xs), [0, 2, 0, 0, 1])


# -- errors ----------------------------------------------------------------------------------------
X = gc.placeholder("ge", SHAPE)
T = gc.placeholder("gt", (), "int64")
WRONG: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: X[4], OutOfRangeError, "-4 <= index < 4"),
    (lambda: X[0, 0, 0, 0], OutOfRangeError, "too many"),
    (lambda: X[MASK2, 0, 0], OutOfRangeError, "too many"),
    (lambda: X[..., ...], ArgumentError, "only one"),
    (lambda: X["a"], ArgumentError, "index by this"),
    (lambda: X[MASK[:2]], OutOfRangeError, "4 on axis 0"),
    (lambda: X[..., MASK], OutOfRangeError, "5 on axis 2"),
    (lambda: gc.placeholder("gnm", ("gq",))[MASK], OutOfRangeError, "gq on axis 0"),
    (lambda: X[True, 0], ArgumentError, "index by this"),
    (lambda: X[1.5], ArgumentError, "index by this"),
    (lambda: X[[0.5, 1.5]], DTypeError, "integers"),
    (lambda: X[I, np.array([0, 1])], ShapeError, "broadcast"),
    (lambda: X[X > 0, 0], ArgumentError, "stands alone"),
    (lambda: X[T : T * 2], ArgumentError, "has to be known"),
    (lambda: X[T : T + 9], ShapeError, "9 elements"),
    (lambda: X[T:], ArgumentError, "has to be known"),
    (lambda: X[1:T], ArgumentError, "has to be known"),
    (lambda: X[0.5:], ArgumentError, "slice bound"),
    (lambda: X.at[0].set(np.zeros((4, 4))), ShapeError, "broadcast"),
    (lambda: X.astype("int32").at[0].set(0.5), DTypeError, "astype"),
    (lambda: X.astype("int8").at[0].set(300), DTypeError, "300"),
    (lambda: (X > 0).at[0].add(True), DTypeError, "numbers"),
    (lambda: X.at[X > 0].set(np.zeros(60)), ShapeError, "where a mask holds"),
    (lambda: gc.take_along_axis(X, I, 0), ShapeError, "as many axes"),
    (lambda: gc.dynamic_slice(X, [0], (1, 1, 1)), ShapeError, "each axis"),
    (lambda: gc.dynamic_slice(X, [0, 0, 0.5], (1, 1, 1)), DTypeError, "scalar"),
    (lambda: gc.dynamic_slice(X, [0, 0, 0], (5, 1, 1)), ShapeError, "5 elements"),
]  # fmt: skip


def test_one_truth_value_is_a_mask_of_everything() -> None:
    x, a = gc.placeholder("truth_of", (2, 3), "float64"), np.arange(6.0).reshape(2, 3)
    for key in (True, False, np.True_, np.array(False)):
        written = a.copy()
        written[key] = 9.0
        found = gc.evaluate([x[key], x.at[key].set(9.0), x[gc.constant(key)].sum()], {x: a})
        for got, wanted in zip(found, (a[key], written, a[key].sum()), strict=True):
            np.testing.assert_array_equal(got, wanted)
            assert got.shape == np.shape(wanted)


@pytest.mark.parametrize("position", range(len(WRONG)))
def test_what_is_wrong_is_named(position: int) -> None:
    call, kind, message = WRONG[position]
    with pytest.raises(kind, match=message) as caught:
        call()
    assert __file__ in str(caught.value)


def test_indices_out_of_range_fail_at_the_call() -> None:
    x, i = gc.placeholder("gs", (7, 4)), gc.placeholder("gi2", (2,), "int64")
    calls: list[Any] = [
        x[i], x[i, i], x.at[i, 0].set(1), x.at[i].add(1), x.at[gc.sum(i)].set(1),
        x.at[gc.sum(i), 1].add(1),
        gc.take_along_axis(x, gc.expand_dims(i, 1), 0),
    ]  # fmt: skip
    a = numbers((7, 4), 0)
    for made in calls:
        run = gc.compile([x, i], made)
        for bad in ([0, 7], [-8, 0], [2**40, 0]):
            with pytest.raises(RuntimeFailure, match=r"out of (range|bounds)"):
                run(a, np.array(bad))
            with pytest.raises(RuntimeFailure, match=r"out of (range|bounds)"):
                gc.evaluate(made, {x: a, i: np.array(bad)})
