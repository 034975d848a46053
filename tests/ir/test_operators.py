"""Operators, methods, NumPy's protocols and indexing, against NumPy on static and named dims."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, ShapeError
from graphc.ir.op import registry
from graphc.ir.operators import numpy_function

RANDOM = np.random.default_rng(7)
FLOATS = RANDOM.uniform(0.5, 3, (2, 4, 3)).astype(np.float32)
INTS = RANDOM.integers(1, 6, (4, 3)).astype(np.int32)


def agree(build: Callable[..., Any], *arrays: np.ndarray[Any, Any], named: bool = False) -> None:
    """`build` means the same for symbolic tensors as for the arrays themselves."""
    shapes = [tuple(f"d{s}" for s in a.shape) if named else a.shape for a in arrays]
    tensors = [
        gc.placeholder(f"x{i}", shape, a.dtype)
        for i, (a, shape) in enumerate(zip(arrays, shapes, strict=True))
    ]
    expected = np.asarray(build(*arrays))
    found = gc.evaluate(build(*tensors), dict(zip(tensors, arrays, strict=True)))
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=0, strict=True)


FLOAT_OPERATORS = [operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv,
                   operator.mod, operator.pow, operator.eq, operator.ne, operator.lt, operator.le,
                   operator.gt, operator.ge]  # fmt: skip
COMPARISONS = FLOAT_OPERATORS[7:]
INT_OPERATORS = [*FLOAT_OPERATORS, operator.and_, operator.or_, operator.xor, operator.lshift,
                 operator.rshift]  # fmt: skip


@pytest.mark.parametrize("apply", FLOAT_OPERATORS)
def test_binary_operators_of_floats(apply: Callable[..., Any]) -> None:
    agree(apply, FLOATS, FLOATS[::-1].copy())
    agree(lambda x: apply(x, 2.5), FLOATS)
    agree(lambda x: apply(2.5, x), FLOATS)
    agree(lambda x: apply(x, FLOATS[0]), FLOATS)
    agree(lambda x: apply(FLOATS[0], x), FLOATS)  # ndarray on the left


@pytest.mark.parametrize("apply", INT_OPERATORS)
def test_binary_operators_of_ints(apply: Callable[..., Any]) -> None:
    agree(lambda x: apply(x, 2), INTS)
    if apply is not operator.pow:  # NumPy's result would depend on the values
        agree(apply, INTS, INTS[::-1].copy())
        agree(lambda x: apply(2, x), INTS)


@pytest.mark.parametrize("compare", COMPARISONS)
@pytest.mark.parametrize("kind", ["bool", "int8", "uint8", "int64", "uint64"])
def test_comparisons_with_ints_that_the_dtype_does_not_hold(
    compare: Callable[..., Any], kind: str
) -> None:
    top = 1 if kind == "bool" else np.iinfo(kind).max
    array = np.array([0, 1, top], kind)
    for value in (300, -1, 127, 2**63, 2**64, -(2**70)):
        x = gc.placeholder("x", array.shape, kind)
        for found, expected in (
            (compare(x, value), [compare(v, value) for v in array.tolist()]),
            (compare(value, x), [compare(value, v) for v in array.tolist()]),
        ):
            assert gc.evaluate(found, {x: array}).tolist() == expected


@pytest.mark.parametrize(
    "apply", [operator.neg, operator.pos, operator.invert, abs, lambda x: x.T, lambda x: x @ x.T]
)
def test_unary_operators(apply: Callable[..., Any]) -> None:
    agree(apply, INTS)
    agree(apply, INTS, named=True)


METHODS: list[Callable[[Any], Any]] = [
    lambda x: x.sum(), lambda x: x.sum(axis=1), lambda x: x.sum(axis=(0, 2), keepdims=True),
    lambda x: x.mean(axis=-1), lambda x: x.prod(axis=0), lambda x: x.max(axis=1, keepdims=True),
    lambda x: x.min(), lambda x: x.argmax(axis=1), lambda x: x.argmin(), lambda x: x.astype("int8"),
    lambda x: x.argmax(axis=2, keepdims=True), lambda x: x.reshape(-1),
    lambda x: x.reshape((4, -1)), lambda x: x.reshape(2, 12),
    lambda x: x.transpose(), lambda x: x.transpose(1, 0, 2),
    lambda x: x.transpose((2, 0, 1)), lambda x: x[:1].squeeze(), lambda x: x[:, :1].squeeze(1),
]  # fmt: skip


@pytest.mark.parametrize("use", METHODS)
def test_methods(use: Callable[[Any], Any]) -> None:
    agree(use, FLOATS)


NUMPY: list[Callable[[Any], Any]] = [
    lambda x: np.tanh(x), lambda x: np.add(x, 1), lambda x: np.multiply(FLOATS[0], x),
    lambda x: np.maximum(x, 1), lambda x: np.abs(x), lambda x: np.fabs(x), lambda x: np.rint(x),
    lambda x: np.true_divide(x, 2), lambda x: np.sum(x, axis=1), lambda x: np.mean(x),
    lambda x: np.max(x, axis=0), lambda x: np.amin(x, axis=0), lambda x: np.transpose(x),
    lambda x: np.concatenate([x, FLOATS], axis=1), lambda x: np.stack([x, x], axis=1),
    lambda x: np.where(x > 1, x, 0), lambda x: np.reshape(x, (4, 6)), lambda x: np.squeeze(x[:1]),
    lambda x: np.expand_dims(x, 1), lambda x: np.matmul(x, FLOATS[0].T),
    lambda x: FLOATS[0].T @ x, lambda x: FLOATS[0] + x, lambda x: np.float32(2) * x,
    lambda x: np.flip(x, 1), lambda x: np.argmax(x, axis=1),
    lambda x: np.broadcast_to(x, (3, 2, 4, 3)), lambda x: np.around(x), lambda x: np.absolute(x),
    lambda x: np.fabs(x.astype("int64")), lambda x: np.left_shift(x.astype("int8"), 3),
    lambda x: np.invert(x.astype("int32")), lambda x: np.trace(x), lambda x: np.linalg.trace(x),
    lambda x: np.diagonal(x, 1), lambda x: np.linalg.diagonal(x, offset=1),
    lambda x: np.linalg.matrix_transpose(x), lambda x: np.linalg.vecdot(x, FLOATS[0]),
    lambda x: np.linalg.matmul(x, FLOATS[0].T), lambda x: np.linalg.det(x[:, :3]),
]  # fmt: skip


@pytest.mark.parametrize("use", NUMPY)
def test_numpy_functions_build_nodes(use: Callable[[Any], Any]) -> None:
    assert isinstance(use(gc.placeholder("x0", FLOATS.shape)), gc.Tensor)
    agree(use, FLOATS)


def test_a_ufunc_is_answered_by_the_op_that_equals_it() -> None:
    ufuncs = {op.numpy.__name__ for op in registry().values() if isinstance(op.numpy, np.ufunc)}
    assert {"absolute", "left_shift", "rint", "invert"} <= ufuncs
    for name in ufuncs:
        assert numpy_function(name) is not None, name


def test_a_function_of_a_module_is_not_found_by_its_last_name() -> None:
    assert numpy_function("variance") is inspect.unwrap(gc.variance)
    assert numpy_function("ma.variance") is None
    with pytest.raises(ArgumentError, match=r"numpy\.linalg\.eigvals"):
        np.linalg.eigvals(gc.placeholder("x", (3, 3)))


KEYS: list[Any] = [
    0, -1, (1, 2), (1, -1, 0), slice(None), slice(1, None), slice(None, -1), slice(1, 3),
    slice(-2, None), slice(None, None, 2), slice(1, None, 2), slice(None, None, -1),
    slice(5, 9), slice(3, 1), (slice(None), 1), (slice(1), slice(1, 3)), (..., 0), (0, ...),
    (..., slice(None, 2)), (slice(None), ..., 1), None, (None, 0), (slice(None), None, 1),
    (..., None), (0, None, slice(1, None), None), Ellipsis, (), (slice(None, None, -2), 1),
    (slice(-3, -1), slice(None), slice(0, 1)), [1, 0, 1], (slice(None), [0, 2, 2]),
    (..., [0, -1]), np.array([[0, 1], [1, 1]]), (1, [0, 1]), (slice(None, None, 3),) * 3,
    np.int64(1), (slice(np.int8(1), None), slice(None)), (slice(None), slice(100, None)),
]  # fmt: skip
# With a named size a slice that counts from the front to a bound backwards has no closed form.
STATIC_KEYS: list[Any] = [slice(None, 0, -1), slice(-1, 0, -2), (slice(2, None, -1), 0)]


@pytest.mark.parametrize("key", [*KEYS, *STATIC_KEYS], ids=repr)
def test_indexing_is_numpys(key: Any) -> None:
    agree(lambda x: x[key], FLOATS)


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_indexing_of_named_dims_is_numpys(key: Any) -> None:
    agree(lambda x: x[key], FLOATS, named=True)


def test_named_dims_of_every_small_size() -> None:
    x = gc.placeholder("x", ("n",))
    for key in (slice(1, None), slice(None, -1), slice(2, 5), slice(-3, None), slice(1, None, 2),
                slice(None, None, -2), slice(-2, 7, 3)):  # fmt: skip
        y = x[key]
        for n in range(7):
            array = np.arange(n, dtype=np.float32)
            np.testing.assert_array_equal(gc.evaluate(y, {x: array}), array[key])


def test_differences_of_neighbours_fit() -> None:
    x = gc.placeholder("x", ("n",))
    array = np.array([1, 4, 9, 16], np.float32)
    np.testing.assert_array_equal(gc.evaluate(x[1:] - x[:-1], {x: array}), np.diff(array))


def test_index_by_a_tensor() -> None:
    x, i = gc.placeholder("x", ("n", 3)), gc.placeholder("i", ("k",), "int64")
    feeds = {x: FLOATS[0], i: np.array([3, -1, 0])}
    np.testing.assert_array_equal(gc.evaluate(x[i], feeds), FLOATS[0][[3, -1, 0]])


@pytest.mark.parametrize("key", [(0, 0, 0, 0), 2, (0, -5), 1.0, "a", (..., ...), slice(0, 1.5)])
def test_other_indices_are_refused(key: Any) -> None:
    with pytest.raises((ShapeError, ArgumentError), match="getitem"):
        gc.placeholder("x", (2, 4, 3))[key]


def test_the_same_functions_stand_in_the_module() -> None:
    assert {"tanh", "sum", "matmul", "placeholder"} <= set(dir(gc))
    with pytest.raises(AttributeError, match="no attribute 'no_such_function'"):
        gc.no_such_function  # noqa: B018


FORMS: list[Callable[[Any, Any, Any], Any]] = [
    lambda x, y, k: x.round(1),
    lambda x, y, k: np.round(x, 2),
    lambda x, y, k: np.round(x * 100, -1),
    lambda x, y, k: np.around(k, 1),
    lambda x, y, k: divmod(x, y)[0] + divmod(x, 2.0)[1] + divmod(3.0, x)[0],
    lambda x, y, k: np.divmod(k, 4)[1],
    lambda x, y, k: x.conj() + x.real + x.imag,
    lambda x, y, k: (x * 1j).conj().imag,
    lambda x, y, k: np.fmax(x / (x > 0), y),
    lambda x, y, k: np.fmin(y, x / (x > 0)),
    lambda x, y, k: np.float_power(k, 2),
    lambda x, y, k: np.add.reduce(x),
    lambda x, y, k: np.multiply.reduce(k, axis=1, keepdims=True),
    lambda x, y, k: np.maximum.reduce(x, axis=(0, 1)),
    lambda x, y, k: np.logical_or.reduce(x > 1),
    lambda x, y, k: np.subtract.outer(x, y[0]),
    lambda x, y, k: np.power.outer(k, k),
]


@pytest.mark.filterwarnings("ignore:.* encountered:RuntimeWarning")
def test_methods_and_forms_of_numpys_functions() -> None:
    rng = np.random.default_rng(3)
    arrays = rng.normal(size=(3, 4)), rng.normal(size=(3, 4)), rng.integers(0, 6, (3, 4))
    tensors = [gc.placeholder(f"form{i}", a.shape, a.dtype) for i, a in enumerate(arrays)]
    found = gc.evaluate([f(*tensors) for f in FORMS], dict(zip(tensors, arrays, strict=True)))
    for i, (got, form) in enumerate(zip(found, FORMS, strict=True)):
        wanted = np.asarray(form(*arrays))
        assert got.dtype == wanted.dtype, i
        np.testing.assert_allclose(got, wanted, rtol=1e-14, err_msg=str(i))
