"""Compiled functions: what they compute, at all sizes and for all values."""

from __future__ import annotations

import timeit
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.runtime.compile import compile_statistics
from tests.compiling import agree
from tests.counting import calls_of

rng = np.random.default_rng(0)
D = "float64"
CALLS = 40  # 33 now
INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")


def f64(*shape: int) -> np.ndarray[Any, Any]:
    return rng.normal(size=shape)


def mlp(*widths: int, dtype: str = "float32") -> Any:
    """Inputs, loss and parameters of a classifier."""
    x = gc.placeholder("x", ("batch", widths[0]), dtype)
    y = gc.placeholder("y", ("batch",), "int64")
    h, parameters = x, []
    for i, (a, b) in enumerate(pairwise(widths)):
        w = gc.variable(rng.normal(size=(a, b)).astype(dtype) * 0.3, name=f"w{i}")
        c = gc.variable(rng.normal(size=b).astype(dtype), name=f"b{i}")
        parameters += [w, c]
        h = h @ w + c
        h = gc.relu(h) if i < len(widths) - 2 else h
    return [x, y], gc.mean(gc.nn.losses.softmax_cross_entropy(h, y)), parameters


# -- speed and sizes -------------------------------------------------------------------------------
def test_a_call_calls_little() -> None:
    """Beside native code: a context, addresses, an array for the result."""
    x = gc.placeholder("x", ("n",))
    function, a = gc.compile([x], x + 1), np.ones(4, "f4")
    function(a)
    assert calls_of(lambda: function(a))[1] <= CALLS


@pytest.mark.timed
def test_a_call_takes_microseconds() -> None:
    x = gc.placeholder("x", ("n",))
    function, a = gc.compile([x], x + 1), np.ones(4, "f4")
    best = min(timeit.repeat(lambda: function(a), number=100, repeat=400)) / 100  # a busy machine
    assert best <= 5e-6, f"{best * 1e6:.2f} us"


def test_one_program_runs_every_batch() -> None:
    inputs, loss, parameters = mlp(5, 8, 3)
    updates = {p: p - 0.1 * g for p, g in zip(parameters, gc.grad(loss, parameters), strict=True)}
    before = compile_statistics()["compilations"]
    batches = (1, 7, 32, 1000)
    calls = [(rng.normal(size=(n, 5)), rng.integers(0, 3, n)) for n in batches]
    agree(inputs, loss, *calls, updates=updates)
    assert compile_statistics()["compilations"] == before + 1


def test_an_empty_batch() -> None:
    inputs, loss, parameters = mlp(5, 8, 3, dtype=D)
    total = loss * gc.size(inputs[0], 0, D)  # the mean of nothing is NaN
    calls = [(rng.normal(size=(n, 5)), rng.integers(0, 3, n)) for n in (0, 1, 7)]
    agree(inputs, [loss, total, *gc.grad(loss, parameters)], *calls)


def test_sizes_of_zero_and_one() -> None:
    x = gc.placeholder("x", ("n", "m"), D)
    z = gc.placeholder("z", (0, 3), D)
    k = gc.placeholder("k", ("n", 0), D)
    outputs = [
        gc.sum(x), gc.sum(x * 2, axis=1), gc.prod(x, axis=0), gc.softmax(x, axis=1), x.T,
        gc.mean(x), gc.any(x > 0, axis=1), gc.concat([x, x], axis=1), x[::-1], x[1:], gc.tanh(x),
        z + 1, gc.sum(z), gc.sum(z, axis=0), z.T @ z, z @ z.T, k @ k.T, k.T @ k, gc.sum(k, axis=1),
        gc.reshape(x, (-1,)), gc.all(z > 0, axis=0), gc.relu(k), x.T @ x, x @ x.T,
    ]  # fmt: skip
    sizes = ((3, 4), (1, 1), (5, 1), (1, 5), (0, 4), (4, 0), (0, 0))
    agree([x, z, k], outputs, *((f64(n, m), f64(0, 3), f64(n, 0)) for n, m in sizes))


def test_the_extremum_of_nothing_fails() -> None:
    x = gc.placeholder("x", ("n", "m"), D)
    for op in (gc.max, gc.min, gc.argmax, gc.argmin):
        agree([x], op(x, axis=1), (f64(3, 2),), (f64(0, 2),), (f64(3, 0),), (f64(0, 0),))


@pytest.mark.parametrize("op", ["sum", "max", "argmax", "all"])
def test_reductions_of_one_element_beside_loops(op: str) -> None:
    truth = op in ("any", "all")
    one, b = gc.placeholder("one", (1,), D), gc.placeholder("b", ("n",), D)
    x, y = gc.placeholder("x", ("n", 3), D), gc.placeholder("y", ("n", 1), D)

    def reduced(t: gc.Tensor, **axis: Any) -> gc.Tensor:
        return getattr(gc, op)(t > 0 if truth else t, **axis).astype(D)

    outputs = [
        reduced(one) + reduced(b * 2),
        reduced(one) * b,
        reduced(one) + reduced(x, axis=1),
        reduced(y, axis=1) + reduced(x, axis=1),
        reduced(y) + reduced(x),
        reduced(y, axis=1) * b,
    ]
    calls = [(f64(1), f64(n), f64(n, 3), f64(n, 1)) for n in ((3, 1, 0) if truth else (3, 1))]
    for output in outputs:
        agree([one, b, x, y], output, *calls)


# -- matrix products -------------------------------------------------------------------------------
VIEWS = {
    "whole": lambda x: x,
    "transposed": lambda x: x.T,
    "rows reversed": lambda x: x[::-1],
    "columns reversed": lambda x: x[:, ::-1],
    "rows": lambda x: x[1:],
    "columns": lambda x: x[:, 1:],
    "every other row": lambda x: x[::2],
    "every other column": lambda x: x[:, ::2],
    "one row, stretched": lambda x: gc.broadcast_to(x[0][None], x.shape),
    "one column, stretched": lambda x: gc.broadcast_to(x[:, 0][:, None], x.shape),
    "one column": lambda x: x[:, 0][:, None],
    "one row": lambda x: x[0][None],
    "columns, transposed": lambda x: x[:, 1:].T,
}


@pytest.mark.parametrize("view", VIEWS)
def test_products_of_views(view: str) -> None:
    x = gc.placeholder("x", ("n", "m"), D)
    a = VIEWS[view](x)
    outputs = [a @ a.T, a.T @ a]
    for other in VIEWS.values():
        b = other(x)
        outputs += [p @ q for p, q in ((a, b), (a, b.T), (a.T, b)) if p.shape[1] == q.shape[0]]
    agree([x], outputs, (f64(4, 3),), (f64(2, 5),), (f64(1, 4),), (f64(4, 1),), (f64(1, 1),))


def test_products_of_small_static_sizes() -> None:
    sizes = (0, 1, 2)
    inputs, outputs, arrays = [], [], []
    for n in sizes:
        for k in sizes:
            for m in sizes:
                a = gc.placeholder(f"a{n}{k}{m}", (n, k), D)
                b = gc.placeholder(f"b{n}{k}{m}", (k, m), D)
                inputs += [a, b]
                outputs += [a @ b, b.T @ a.T, *gc.grad(gc.sum((a @ b) ** 2), [a, b])]
                arrays += [f64(n, k), f64(k, m)]
    agree(inputs, outputs, arrays)


def test_batched_products() -> None:
    a, b = gc.placeholder("a", ("b", 2, 3), D), gc.placeholder("b", ("b", 3, 4), D)
    c, v = gc.placeholder("c", (3, 4), D), gc.placeholder("v", (3,), D)
    d, e = gc.placeholder("d", (5, 1, 2, 3), D), gc.placeholder("e", (1, 6, 3, 2), D)
    q = gc.placeholder("q", ("b", 1, 3, 4), D)
    turn = gc.permute_dims
    outputs = [
        a @ b, a @ c, d @ e, a @ v, v @ b, v @ c, c.T @ v, d @ v, v @ v,
        gc.matrix_transpose(a) @ a, a[:, ::-1] @ b, turn(b, (1, 0, 2)) @ c.T, a[::-1] @ b,
        turn(a, (1, 0, 2)) @ c, turn(a, (2, 0, 1)) @ turn(a, (2, 1, 0)), q @ c.T,
        gc.broadcast_to(c, (7, 3, 4)) @ c.T, a[:, None] @ b[:, None],
    ]  # fmt: skip
    loss = sum(gc.sum(gc.tanh(o)) for o in outputs)
    inputs = [a, b, c, d, e, v, q]
    calls = [
        (f64(n, 2, 3), f64(n, 3, 4), f64(3, 4), f64(5, 1, 2, 3), f64(1, 6, 3, 2), f64(3),
         f64(n, 1, 3, 4))
        for n in (3, 0, 1)
    ]  # fmt: skip
    agree(inputs, [*outputs, *gc.grad(loss, inputs)], *calls)


def test_products_read_no_old_memory() -> None:
    """A sum of no products is 0, whatever was in memory before."""
    a, b = gc.placeholder("a", ("n", "k"), D), gc.placeholder("b", ("k", "m"), D)
    function = gc.compile([a, b], [a @ b, gc.tanh(a @ b) + 1])
    for n, k, m in ((3, 0, 2), (1, 0, 1), (1, 0, 5), (5, 0, 1), (2, 3, 1), (64, 0, 64), (1, 9, 9)):
        function(np.full((n, 9), np.nan), np.full((9, m), np.nan))
        for array in function(f64(n, k), f64(k, m)):
            assert np.isfinite(array).all()


# -- values ----------------------------------------------------------------------------------------
SPECIAL = np.array(
    [0.0, -0.0, 1, -1, 0.5, -0.5, 2, -3, np.inf, -np.inf, np.nan, 1e-40, -1e-45, 3.4e38, 7.5, -7.5]
)
EXACT = [
    "add", "subtract", "multiply", "divide", "floor_divide", "remainder", "equal", "not_equal",
    "less", "less_equal", "greater", "greater_equal",
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", D])
def test_special_values(dtype: str) -> None:
    with np.errstate(all="ignore"):
        a, b = (m.ravel().astype(dtype) for m in np.meshgrid(SPECIAL, SPECIAL, indexing="ij"))
    x, y = gc.placeholder("x", ("n",), dtype), gc.placeholder("y", ("n",), dtype)
    agree([x, y], [getattr(gc, op)(x, y) for op in EXACT], (a, b), exact=True)
    # Of 0 and -0 either is the greater, as for NumPy, which depends on the processor.
    agree([x, y], [gc.maximum(x, y), gc.minimum(x, y), gc.power(x, y)], (a, b))
    unary = ["abs", "negative", "sign", "floor", "ceil", "round", "sqrt", "relu", "isnan", "isinf"]
    agree([x, y], [getattr(gc, op)(x) for op in unary], (a, b), exact=True)
    smooth = ["exp", "log", "tanh", "sigmoid", "log1p", "expm1", "sin"]
    agree([x, y], [getattr(gc, op)(x) for op in smooth], (a, b))
    powers = [x**2, x**3, x**0.5, x**-1, x**0, 2.0**x, x // 2, x % 2, x // 0.0, x % 0.0]
    agree([x, y], powers, (a, b))


def test_nan_and_inf_go_through_reductions() -> None:
    nan, inf = np.nan, np.inf
    rows = [
        [1, nan, 3, 3], [5, 5, 5, 5], [-inf, inf, inf, 0], [0.0, -0.0, 0, -0.0], [nan, nan, 1, 2],
        [-inf, -inf, -inf, -inf], [inf, 1, 2, 3],
    ]  # fmt: skip
    a = np.array(rows, "float32")
    x = gc.placeholder("x", ("n", "m"))
    outputs = [
        f(x, axis=axis)
        for f in (gc.argmax, gc.argmin, gc.max, gc.min, gc.sum, gc.softmax, gc.mean)
        for axis in (0, 1)
    ]
    outputs += [gc.relu(x), gc.exp(x), gc.maximum(x, 0), gc.clip(x, -1, 1), gc.sum(x), gc.max(x)]
    agree([x], outputs, (a,), (a[1:4],), (a[::-1].copy(),), (a[:, :1],))
    function = gc.compile([x], [gc.max(x, axis=1), gc.sum(x, axis=1), gc.relu(x)])
    most, total, relu = function(a)
    np.testing.assert_array_equal(most, a.max(axis=1))
    np.testing.assert_array_equal(relu, np.maximum(a, 0))
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(total, a.sum(axis=1))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_wrap_and_divide_as_numpys(dtype: str) -> None:
    info = np.iinfo(dtype)
    edges = {info.min, info.min + 1, info.max, info.max - 1, info.max // 2, 0, 1, 2, 3, 7}
    values = np.array(sorted(edges | ({-1, -2, -3, -7} if info.min else set())), dtype)
    a, b = (m.ravel() for m in np.meshgrid(values, values, indexing="ij"))
    x, y = gc.placeholder("x", ("n",), dtype), gc.placeholder("y", ("n",), dtype)
    binary = [
        "add", "subtract", "multiply", "floor_divide", "remainder", "maximum", "minimum", "divide",
        "bitwise_and", "bitwise_or", "bitwise_xor", "equal", "less", "greater_equal",
    ]  # fmt: skip
    unary = ["abs", "negative", "sign", "bitwise_invert", "sum", "prod", "max", "min", "argmax"]
    outputs = [getattr(gc, op)(x, y) for op in binary]
    outputs += [getattr(gc, op)(x) for op in unary if info.min or op != "negative"]
    outputs += [x.astype(to) for to in (*INTEGERS, "bool", "float32", D)]
    outputs += [x**2, x**3, gc.reshape(x, (1, -1)) @ gc.reshape(y, (-1, 1))]
    agree([x, y], outputs, (a, b))


def test_sums_of_small_integers_are_wide() -> None:
    x = gc.placeholder("x", ("n",), "int8")
    total = gc.compile([x], gc.sum(x))(np.full(1000, 127, "int8"))
    assert (total, total.dtype) == (127000, np.sum(np.zeros(1, "int8")).dtype)


def test_truth_values() -> None:
    b = gc.placeholder("b", ("n", "m"), "bool")
    outputs = [
        gc.any(b), gc.all(b), gc.any(b, axis=0), gc.all(b, axis=1), gc.sum(b), gc.sum(b, axis=1),
        gc.mean(b), gc.argmax(b, axis=1), gc.logical_not(b), b & b[::-1], gc.where(b, 1.0, 2.0),
        gc.any(b, axis=0, keepdims=True), b.astype("int8"),
    ]  # fmt: skip
    agree([b], outputs, (rng.random((5, 4)) > 0.5,), (np.ones((1, 1), bool),), (np.zeros((3, 2)),))


# -- losses ----------------------------------------------------------------------------------------
def test_cross_entropy_and_its_gradient_are_one_kernel(golden: Any) -> None:
    z, y = gc.placeholder("z", ("n", 10)), gc.placeholder("y", ("n",), "int64")
    loss = gc.mean(gc.nn.losses.softmax_cross_entropy(z, y))
    function = gc.compile([z, y], [loss, gc.grad(loss, z)])
    assert [k.name for k in function.kernels] == ["kernel0"]
    golden("optimized/softmax_cross_entropy", str(function.optimized))
    logits = np.where(rng.random((6, 10)) > 0.5, 1e4, -1e4).astype("float32")
    logits[0] = 0
    labels = rng.integers(0, 10, 6)
    value, gradient = function(logits, labels)
    shifted = logits.astype(D) - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    hot = np.eye(10)[labels]
    np.testing.assert_allclose(value, -(log_p * hot).sum(axis=1).mean(), rtol=1e-6)
    np.testing.assert_allclose(gradient, (np.exp(log_p) - hot) / 6, rtol=1e-6, atol=1e-7)
    assert np.isfinite(gradient).all()
