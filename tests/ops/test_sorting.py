"""Sorts, searches and orders, compiled: of every dtype, few elements and many, beside NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, OutOfRangeError, RuntimeFailure, ShapeError
from graphc.fusion.kernel import build_kernel
from graphc.ir.op import Kind
from graphc.loops.grammar import statements as statements_of
from graphc.loops.interpret import interpret_kernel
from graphc.ops.network import FEW, LANES, MANY
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.program import Call

Array = np.ndarray[Any, Any]
SIZES = (*range(FEW + 3), 300)


def drawn(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    """Numbers of which many are equal; of floats, zeros of both signs, infinities and NaN."""
    if dtype == "bool":
        return rng.random(shape) < 0.5
    if np.dtype(dtype).kind in "iu":
        info = np.iinfo(dtype)
        edges = np.array([info.min, info.max, 0, 1, info.max // 2], dtype)
        near = rng.integers(0, 9, shape).astype(dtype)
        return np.where(rng.random(shape) < 0.4, rng.choice(edges, shape), near)
    edges = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan, 1e-40, -1e-40], dtype)
    ordinary = rng.normal(size=shape)
    return np.where(rng.random(shape) < 0.4, rng.choice(edges, shape), ordinary).astype(dtype)


def descending(x: Array, axis: int) -> Array:
    """The stable descending order: that of the reversed elements, reversed."""
    order = np.argsort(np.flip(x, axis), axis=axis, kind="stable")
    result: Array = np.flip(x.shape[axis] - 1 - order, axis)
    return result


def same(found: Array, expected: Array) -> None:
    np.testing.assert_array_equal(found, expected)
    if found.dtype.kind == "f":
        known = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(found)[known], np.signbit(expected)[known])


# -- sorts -----------------------------------------------------------------------------------------
def test_every_kind_and_width_of_numbers() -> None:
    """Values and places of one kernel, and either alone, in descending order."""
    dtypes = ("bool", "int8", "uint16", "int32", "uint64", "float32", "float64")
    xs = [gc.placeholder(f"sorted_{d}", ("sorted_n", 2), d) for d in dtypes]
    both = [[gc.sort(x, 0), gc.argsort(x, 0)] for x in xs]
    turned = [gc.sort(xs[-2], 0, descending=True), gc.argsort(xs[3], 0, descending=True)]
    program = gc.compile(xs, [both, turned])
    rng = np.random.default_rng(0)
    for n in SIZES:
        arrays = [drawn(rng, (n, 2), d) for d in dtypes]
        found, (values, places) = program(*arrays)
        for x, (in_order, where) in zip(arrays, found, strict=True):
            order = np.argsort(x, axis=0, kind="stable")
            same(in_order, np.take_along_axis(x, order, 0))
            same(where, order)
        same(values, np.take_along_axis(arrays[-2], descending(arrays[-2], 0), 0))
        same(places, descending(arrays[3], 0))


def test_rows_of_few_elements_are_sorted_in_lanes() -> None:
    """Of known sizes, along either axis, fewer rows than lanes and more; in both orders."""
    shapes = [(LANES + 1, 3), (1, 9), (2 * LANES, 16), (3, 40, 2), (2, 3, FEW - 3)]
    shapes.append((LANES + 2, MANY - 5))
    xs = [gc.placeholder(f"lanes_{i}", shape) for i, shape in enumerate(shapes)]
    rows = gc.placeholder("lanes_rows", ("lanes_n", 5), "int64")
    axes = (1, 1, 0, 1, 2, 1)
    program = gc.compile(
        [*xs, rows],
        [
            [gc.sort(x, axis) for x, axis in zip(xs, axes, strict=True)],
            [gc.argsort(x, axis, descending=True) for x, axis in zip(xs[:3], axes, strict=False)],
            gc.sort(rows, 1),
        ],
    )
    rng = np.random.default_rng(12)
    arrays = [drawn(rng, shape, "float32") for shape in shapes]
    for n in (0, 1, LANES, LANES + 1):
        last = drawn(rng, (n, 5), "int64")
        up, down, of_rows = program(*arrays, last)
        same(of_rows, np.sort(last, 1))
        for a, axis, values in zip(arrays, axes, up, strict=True):
            same(values, np.take_along_axis(a, np.argsort(a, axis, kind="stable"), axis))
        for a, axis, places in zip(arrays, axes, down, strict=False):
            same(places, descending(a, axis))


def test_one_row_with_places_has_no_network() -> None:
    """Digits are faster at all sizes, so a named one needs no kernel of both."""
    one, several = gc.placeholder("alone_x", ("alone_n",)), gc.placeholder("rows_x", (9, "rows_n"))

    def statements(t: gc.Tensor) -> int:
        program = run_pipeline(gc.Graph([t], [gc.argsort(t)]), Stages()).program
        (call,) = (s for s in program.steps if isinstance(s, Call))
        return sum(1 for _ in statements_of(call.kernel.body))

    assert statements(one) < 60 < 300 < statements(several)


def test_networks_order_all_zeros_and_ones() -> None:
    """What sorts these sorts everything (Knuth, volume 3, 5.3.4, theorem Z): all of 12 places, and
    of the most that a network sorts those whose halves are in order."""
    few = (np.arange(1 << 12)[:, None] >> np.arange(12)) & 1
    halves = np.arange(FEW // 2) < np.arange(FEW // 2 + 1)[:, None]
    many = np.concatenate([np.repeat(halves, len(halves), 0), np.tile(halves, (len(halves), 1))], 1)
    cases = [few.astype("uint8"), many.astype("uint8")]
    xs = [gc.placeholder(f"ones_{i}", a.shape, "uint8") for i, a in enumerate(cases)]
    program = gc.compile(xs, [gc.sort(x, 1) for x in xs])
    for found, a in zip(program(*cases), cases, strict=True):
        np.testing.assert_array_equal(found, np.sort(a, 1))


def test_the_kernel_of_a_sort_stays_inside_its_memory() -> None:
    """Interpreted, where each access is checked, by a network and by digits; of a named size."""
    x = gc.placeholder("kernel_of_sort", ("kernel_n",), "float64")
    program = gc.compile([x], [gc.sort(x), gc.argsort(x)])
    (region,) = [n for n in program.optimized.nodes if n.op.kind is Kind.REGION]
    built = build_kernel(**region.attrs)
    rng = np.random.default_rng(1)
    for n in (0, 1, 7, FEW + 1):
        dims = {"kernel_n": n}
        given = drawn(rng, (n,), "float64")
        memory = {
            b: np.full(gc.ir.dim.evaluate(b.size, dims), 7).astype(b.dtype.numpy)
            for b in built.kernel.buffers
        }
        memory[built.inputs[0]][...] = given
        interpret_kernel(built.kernel, memory, dims)
        order = np.argsort(given, kind="stable")
        same(memory[built.outputs[0]], given[order])
        same(memory[built.outputs[1]], order)


def test_a_sort_reads_through_what_comes_before_it() -> None:
    """A transposition and elementwise work are part of its kernel; what comes behind is not."""
    x = gc.placeholder("read_through", (70, 3), "float64")
    program = gc.compile([x], gc.exp(gc.sort(gc.abs(x.T) * 2)))
    assert len(program.kernels) == 2
    a = np.random.default_rng(2).normal(size=(70, 3))
    np.testing.assert_allclose(program(a), np.exp(np.sort(np.abs(a.T) * 2)), rtol=1e-13)


def test_a_variable_is_sorted_into_itself() -> None:
    v = gc.variable(np.array([3.0, 1.0, 2.0]), name="sorted_into_itself")
    step = gc.compile([], gc.sum(v), updates={v: gc.sort(v)})
    assert step() == 6
    np.testing.assert_array_equal(v.value, [1, 2, 3])


def test_inside_loops_and_branches() -> None:
    x = gc.placeholder("in_a_loop", (4, 5), "float64")
    _, ys = gc.scan(lambda _, row: (None, gc.sort(row)), None, x)
    y = gc.cond(gc.sum(x) > 0, lambda: gc.argsort(x, 1), lambda: gc.argsort(-x, 1))
    a = np.random.default_rng(3).normal(size=(4, 5))
    found = gc.compile([x], [ys, y])(a)
    same(found[0], np.sort(a, 1))
    same(found[1], np.argsort(a if a.sum() > 0 else -a, 1))


def test_gradients_go_back_to_where_elements_were() -> None:
    """Of a named size, and of each row; of the other direction, by forward mode."""
    x, w = gc.placeholder("back_x", ("back_n", 3)), gc.placeholder("back_w", ("back_n", 3))
    y = gc.sum(gc.sort(x, 0) * w) + 2 * gc.sum(gc.topk(x, 2, 1).values)
    program = gc.compile([x, w], [gc.grad(y, x), gc.jvp(gc.sort(x, 0), x, w)])
    rng = np.random.default_rng(4)
    for n in (1, 5, FEW + 6):
        a, b = (rng.normal(size=(n, 3)).astype("float32") for _ in range(2))
        slope, moved = program(a, b)
        order = np.argsort(a, 0)
        expected, of_the_largest = np.empty_like(a), np.full_like(a, 2)
        np.put_along_axis(expected, order, b, 0)
        np.put_along_axis(of_the_largest, a.argmin(1)[:, None], 0, 1)
        np.testing.assert_allclose(slope, expected + of_the_largest, rtol=1e-6)
        same(moved, np.take_along_axis(b, order, 0))


def test_both_results_are_of_one_sort() -> None:
    x = gc.placeholder("one_sort", ("one_n",))
    program = gc.compile([x], [gc.sort(x), gc.argsort(x), gc.grad(gc.sum(gc.sort(x) ** 2), x)])
    bodies = [n.attrs["body"] for n in program.optimized.nodes if n.op.kind is Kind.REGION]
    assert sum(m.op.kind is Kind.KERNEL for body in bodies for m in body.nodes) == 1


def test_the_largest_are_those_of_a_sort() -> None:
    """A few of many, many of more, and of several rows; of equal ones the first; gradients."""
    x, y = gc.placeholder("most_x", ("most_n",)), gc.placeholder("most_y", (2, 700), "int16")
    few, many = gc.topk(x, 5), gc.topk(y, FEW + 6, axis=1, largest=False)
    slope = gc.grad(gc.sum(few.values * np.arange(1, 6, dtype="float32")), x)
    program = gc.compile([x, y], [*few, *many, slope])
    rng = np.random.default_rng(8)
    b = drawn(rng, (2, 700), "int16")
    for n in (5, 6, 300):
        a = drawn(rng, (n,), "float32")
        values, places, least, where, back = program(a, b)
        same(places, descending(a, 0)[:5])
        same(values, a[places])
        np.testing.assert_array_equal(np.sort(back)[-5:], [1, 2, 3, 4, 5])
        np.testing.assert_array_equal(back[places], [1, 2, 3, 4, 5])
        order = np.argsort(b, axis=1, kind="stable")[:, : FEW + 6]
        same(where, order)
        same(least, np.take_along_axis(b, order, 1))
    with pytest.raises(ShapeError):
        program(a[:4], b)


# -- orders ----------------------------------------------------------------------------------------
def test_searches_of_named_sizes() -> None:
    x, v = gc.placeholder("searched", ("searched_n",)), gc.placeholder("sought", ("sought_n",))
    program = gc.compile([x, v], [gc.searchsorted(x, v), gc.searchsorted(x, v, side="right")])
    rng = np.random.default_rng(5)
    for n in (*range(18), 1000, 1023, 1024, 1025):
        a, b = (drawn(rng, (k,), "float32") for k in (n, 50))
        a.sort()
        b[: min(n, 25)] = a[:25]
        found = program(a, b)
        same(found[0], np.searchsorted(a, b))
        same(found[1], np.searchsorted(a, b, "right"))


def test_a_vector_in_no_order_is_searched_inside_of_it() -> None:
    x = gc.placeholder("no_order", ("no_order_n",))
    found = gc.compile([x], gc.searchsorted(x, x))
    a = drawn(np.random.default_rng(6), (99,), "float32")
    assert ((found(a) >= 0) & (found(a) <= 99)).all()


def test_quantiles_of_rows_with_and_without_nan() -> None:
    x, q = gc.placeholder("rows", ("rows_n", "rows_m"), "float64"), gc.placeholder("q", (2,))
    outputs = [gc.median(x, 1), gc.nanmedian(x, 0), gc.quantile(x, q, 0), gc.nanquantile(x, q, 1)]
    program = gc.compile([x, q], outputs)
    rng = np.random.default_rng(7)
    for shape in ((1, 1), (2, 5), (7, 4)):
        a = rng.normal(size=shape)
        a[rng.random(shape) < 0.15] = np.nan
        share = np.array([0.25, 1.0], "float32")
        expected = [np.median(a, 1), np.nanmedian(a, 0)]
        expected += [np.quantile(a, share, 0), np.nanquantile(a, share, 1)]
        for found, wanted in zip(program(a, share), expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_the_gradient_of_a_quantile() -> None:
    """Of its two elements by their shares, and of q by their distance times the number of gaps."""
    x, q = gc.placeholder("slope_x", (5,), "float64"), gc.placeholder("slope_q", (), "float64")
    dx, dq = gc.grad(gc.quantile(x, q), [x, q])
    a = np.array([4.0, 1.0, 8.0, 2.0, 16.0])
    found = gc.evaluate([dx, dq], {x: a, q: np.array(0.55)})
    np.testing.assert_allclose(found[0], [0.8, 0, 0.2, 0, 0])
    np.testing.assert_allclose(found[1], (8 - 4) * 4)


def test_different_elements() -> None:
    x = gc.placeholder("different", ("different_n",))
    program = gc.compile([x], list(gc.unique_all(x, size=4, fill_value=-1)))
    nan = np.nan
    for given, values, first, which, counts in (
        ([3, 1, 3, 2], [1, 2, 3, -1], [1, 3, 0, -1], [2, 0, 2, 1], [1, 1, 2, 0]),
        ([nan, 5, nan], [5, nan, nan, -1], [1, 0, 2, -1], [1, 0, 2], [1, 1, 1, 0]),
        ([9, 7, 5, 3, 1, 9], [1, 3, 5, 7], [4, 3, 2, 1], [3, 3, 2, 1, 0, 3], [1, 1, 1, 1]),
    ):
        found = program(np.array(given, "float32"))
        for a, b in zip(found, (values, first, which, counts), strict=True):
            np.testing.assert_array_equal(a, b)
    assert gc.evaluate(gc.unique([nan, nan, 1.0], size=2)).tolist()[0] == 1


# -- random orders ---------------------------------------------------------------------------------
def test_random_orders_are_permutations_and_equally_likely() -> None:
    keys = gc.random.split(gc.random.key(11), 6000)
    orders = gc.compile([], gc.vmap(lambda k: gc.random.permutation(k, 3))(keys))()
    assert (np.sort(orders, 1) == [0, 1, 2]).all()
    counts = np.bincount(orders @ [9, 3, 1], minlength=27)
    counts = counts[counts > 0]
    assert len(counts) == 6
    assert ((counts - 1000) ** 2 / 1000).sum() < 20.5  # chi-squared of 5: beyond it 1 in 1000


def test_the_same_order_on_every_target() -> None:
    k = gc.random.key(5)
    x = gc.constant(np.arange(12.0).reshape(3, 4))
    results = [
        gc.random.permutation(k, 100), gc.random.shuffle(k, x, 1),
        gc.random.permutation(k, x, 1, independent=True),
        gc.random.choice(k, 50, (3, 4), replace=False),
        gc.random.choice(k, x, (2,), [0.0, 0.5, 0.5], replace=False),
    ]  # fmt: skip
    compiled, evaluated = gc.compile([], results)(), gc.evaluate(results)
    for a, b in zip(compiled, evaluated, strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(np.unique(compiled[3])) == 12
    np.testing.assert_array_equal(np.sort(compiled[1], 1), np.arange(12.0).reshape(3, 4))
    assert not (compiled[4] == x.node.attrs["value"].array[0]).all(1).any()  # its share is 0


# -- errors ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("error", "call"),
    [
        (ShapeError, lambda x: gc.sort(x[0, 0])),
        (OutOfRangeError, lambda x: gc.argsort(x, 2)),
        (ShapeError, lambda x: gc.topk(x, 5)),
        (ArgumentError, lambda x: gc.topk(x, -1)),
        (ArgumentError, lambda x: gc.lexsort(())),
        (ShapeError, lambda x: gc.searchsorted(x, 1.0)),
        (ArgumentError, lambda x: gc.searchsorted(x[0], 1.0, side="middle")),
        (ArgumentError, lambda x: gc.digitize(x, [1, 3, 2])),
        (ArgumentError, lambda x: gc.quantile(x, 1.5)),
        (ArgumentError, lambda x: gc.percentile(x, [50, 101])),
        (ArgumentError, lambda x: gc.quantile(x, 0.5, method="median")),
        (ShapeError, lambda x: gc.median(x[:0], 0)),
        (ArgumentError, lambda x: gc.unique(x)),
        (ArgumentError, lambda x: np.unique(x)),
        (ArgumentError, lambda x: gc.random.permutation(gc.random.key(0), -1)),
        (ShapeError, lambda x: gc.random.permutation(gc.random.key(0), x[0, 0])),
        (ShapeError, lambda x: gc.random.choice(gc.random.key(0), 3, 4, replace=False)),
    ],
)
def test_what_is_refused_names_the_op_and_the_line(error: Any, call: Any) -> None:
    x = gc.placeholder("refused", (3, 4))
    with pytest.raises(error) as caught:
        call(x)
    assert caught.value.op
    assert caught.value.given or caught.value.expected
    assert __file__ in caught.value.where


def test_a_share_that_is_none_is_refused_at_the_call() -> None:
    x, q = gc.placeholder("shares_x", (3,)), gc.placeholder("shares_q", ())
    program = gc.compile([x, q], gc.quantile(x, q))
    with pytest.raises(RuntimeFailure, match="outside"):
        program(np.zeros(3, "float32"), np.float32(1.5))


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint8"])
def test_short_rows_of_a_named_number(dtype: str, descending: bool) -> None:
    """Several at once, by a network: also where lanes have no row of their own, and negative."""
    rng = np.random.default_rng(0)
    x, y = (gc.placeholder(f"short_rows_{dtype}_{n}_{descending}", ("n", n), dtype) for n in (3, 5))
    f = gc.compile([x, y], [gc.sort(z, axis=-1, descending=descending) for z in (x, y)])
    for n in (1, 2, 7, 8, 9, 20):
        arrays = [(rng.normal(size=(n, k)) * 50).astype(dtype) for k in (3, 5)]
        for found, array in zip(f(*arrays), arrays, strict=True):
            expected = np.sort(array, axis=-1)
            np.testing.assert_array_equal(found, expected[:, ::-1] if descending else expected)
