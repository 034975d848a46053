"""Python numbers adapt: what is made of them alone is computed in float64, then converted to the
dtype of what it meets. And constants hold what they are given, or say that they cannot."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import sympy as sp

import graphc as gc
from graphc.errors import DTypeError
from graphc.ir.node import Tensor

Array = np.ndarray[Any, Any]
X = np.array([0.1, 0.7, -3.0])
C = np.array([True, False, True])
AT = np.array([2, 0, 1])
FLOATS = ("float32", "float64")

# What is made of Python numbers (and of conditions and positions), and the same by NumPy.
NUMBERS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "sqrt": (lambda c, i: gc.sqrt(2.0), lambda c, i: np.sqrt(2.0)),
    "of an int": (lambda c, i: gc.sqrt(3), lambda c, i: np.sqrt(3.0)),
    "log": (lambda c, i: gc.log(5.0), lambda c, i: np.log(5.0)),
    "power": (lambda c, i: gc.power(2.0, 0.3), lambda c, i: np.power(2.0, 0.3)),
    "maximum": (lambda c, i: gc.maximum(1 / 3, 0.1), lambda c, i: 1 / 3),
    "clip": (lambda c, i: gc.clip(1 / 3, 0.1, gc.sqrt(0.07)), lambda c, i: np.sqrt(0.07)),
    "reciprocal": (lambda c, i: gc.reciprocal(3), lambda c, i: 1 / 3),
    "full": (lambda c, i: gc.full((), 0.1), lambda c, i: 0.1),
    "full of a shape": (lambda c, i: gc.full((3,), 0.1), lambda c, i: np.full(3, 0.1)),
    "int": (lambda c, i: gc.full((3,), 7), lambda c, i: np.full(3, 7)),
    "where": (lambda c, i: gc.where(c, 1 / 3, 0.1), lambda c, i: np.where(c, 1 / 3, 0.1)),
    "list": (lambda c, i: gc.sin([0.1, 2, 1 / 3]), lambda c, i: np.sin([0.1, 2, 1 / 3])),
    "nested tuples": (
        lambda c, i: gc.matmul(((0.1, 0.7, 1), (2, True, 1 / 3), (1 / 7, 3, 0)), (0.3, 2, 1 / 9)),
        lambda c, i: np.array([(0.1, 0.7, 1), (2, 1, 1 / 3), (1 / 7, 3, 0)]) @ (0.3, 2, 1 / 9),
    ),
    "where of where": (
        lambda c, i: gc.where(c, gc.where(i > 1, 1 / 3, 0.1), gc.sqrt(2.0)),
        lambda c, i: np.where(c, np.where(i > 1, 1 / 3, 0.1), np.sqrt(2.0)),
    ),
    "stack": (lambda c, i: gc.stack([1 / 3, 0.1, 2]), lambda c, i: np.array([1 / 3, 0.1, 2])),
    "stack of bool": (lambda c, i: gc.stack([True, 0.1, 2]), lambda c, i: np.array([1, 0.1, 2])),
    "concat": (
        lambda c, i: gc.concat([gc.full((1,), 1 / 3), gc.full((2,), 0.1)]),
        lambda c, i: np.array([1 / 3, 0.1, 0.1]),
    ),
    "take": (
        lambda c, i: gc.take(gc.stack([1 / 3, 0.1, 0.7]), i),
        lambda c, i: np.array([1 / 3, 0.1, 0.7])[i],
    ),
    "mean": (
        lambda c, i: gc.mean(gc.stack([1 / 3, 0.1, 0.7])),
        lambda c, i: np.mean([1 / 3, 0.1, 0.7]),
    ),
    "cond": (
        lambda c, i: gc.cond(c[0], lambda: 1 / 3, lambda: gc.sqrt(0.1)), lambda c, i: 1 / 3
    ),
    "cond of operands": (
        lambda c, i: gc.cond(c[1], lambda a: a + 1, lambda a: a * 3, 0.1), lambda c, i: 0.1 * 3
    ),
    "scan": (
        lambda c, i: gc.scan(lambda s, _: (s * 0.1 + 1 / 3, None), 0.7, length=2)[0],
        lambda c, i: (0.7 * 0.1 + 1 / 3) * 0.1 + 1 / 3,
    ),
    "scan from an int": (
        lambda c, i: gc.scan(lambda s, _: (s + 0.1, s * 0.1), 1, length=3)[1],
        lambda c, i: np.array([1.0, 1.0 + 0.1, 1.0 + 0.1 + 0.1]) * 0.1,
    ),
    "checkpoint": (lambda c, i: gc.checkpoint(gc.sqrt)(2.0), lambda c, i: np.sqrt(2.0)),
    "sum of a product": (
        lambda c, i: gc.dot(gc.stack([0.1, 0.2]), gc.stack([0.3, 0.7])),
        lambda c, i: np.dot([0.1, 0.2], [0.3, 0.7]),
    ),
}  # fmt: skip


def _running(x: Array) -> Array:
    """Prefix sums from 1/3 on, in x's dtype."""
    return np.cumsum([x.dtype.type(1 / 3), *x], dtype=x.dtype)


# A tensor x beside Python numbers: by graphc, and by NumPy in x's dtype.
MET: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "stack": (
        lambda x, c: gc.stack([x[0], 1 / 3, gc.sqrt(2.0)]),
        lambda x, c: np.array([x[0], 1 / 3, np.sqrt(2.0)], x.dtype),
    ),
    "concat": (
        lambda x, c: gc.concat([x, gc.full((2,), 0.1)]),
        lambda x, c: np.array([*x, 0.1, 0.1], x.dtype),
    ),
    "where": (lambda x, c: gc.where(c, x, 1 / 3), lambda x, c: np.where(c, x, x.dtype.type(1 / 3))),
    "maximum": (lambda x, c: gc.maximum(x, gc.log(2.0)), lambda x, c: np.maximum(x, np.log(2.0))),
    "clip": (
        lambda x, c: gc.clip(x, 0.3, gc.sqrt(0.3)),
        lambda x, c: np.clip(x, x.dtype.type(0.3), x.dtype.type(np.sqrt(0.3))),
    ),
    "cond": (
        lambda x, c: gc.cond(c[1], lambda: x[0], lambda: gc.sqrt(0.1)),
        lambda x, c: x.dtype.type(np.sqrt(0.1)),
    ),
    "cond of a tree": (
        lambda x, c: gc.cond(c[0], lambda a: [1 / 3, a][0], lambda a: a, x[1]),
        lambda x, c: x.dtype.type(1 / 3),
    ),
    "scan": (
        lambda x, c: gc.scan(lambda s, r: (s + r, s), 1 / 3, x)[1], lambda x, c: _running(x)[:-1]
    ),
    "last of a scan": (
        lambda x, c: gc.scan(lambda s, r: (s + r, s * 0.1), 1 / 3, x)[0],
        lambda x, c: _running(x)[-1],
    ),
    "ys of a scan": (
        lambda x, c: gc.scan(lambda s, r: (s + r, s * 0.1), 1 / 3, x)[1],
        lambda x, c: _running(x)[:-1] * x.dtype.type(0.1),
    ),
    "carries that follow each other": (
        lambda x, c: gc.scan(lambda s, r: ((s[0] + r, s[0]), None), (1 / 3, 0.1), x)[0][1],
        lambda x, c: _running(x)[-2],
    ),
    "a carry that becomes a number": (
        lambda x, c: gc.scan(lambda s, r: (1 / 3, s), x[0], x)[1],
        lambda x, c: np.array([x[0], 1 / 3, 1 / 3], x.dtype),
    ),
    "product": (
        lambda x, c: gc.stack([gc.sqrt(2.0), 0.0, 0.0]) @ x,
        lambda x, c: x.dtype.type(np.sqrt(2.0)) * x[0],
    ),
    "einsum": (
        lambda x, c: gc.einsum("i,j->ij", gc.stack([1 / 3, 0.1]), x),
        lambda x, c: np.outer(np.array([1 / 3, 0.1], x.dtype), x),
    ),
}


def inputs(dtype: str) -> list[Tensor]:
    return [gc.placeholder("x", (3,), dtype), gc.placeholder("c", (3,), "bool"),
            gc.placeholder("i", (3,), "int64")]  # fmt: skip


def everything(x: Any, c: Any, i: Any) -> list[Tensor]:
    """Every expression as a product with x or as it is, and the gradients of their sums."""
    values = [
        *(make(c, i) * x for make, _ in NUMBERS.values()),
        *(make(x, c) for make, _ in MET.values()),
    ]
    return [*values, *(gc.grad(gc.sum(v), x) for v in values)]


def expected(x: Array, c: Array, i: Array) -> list[Array]:
    factors = [np.asarray(make(c, i), np.float64).astype(x.dtype) for _, make in NUMBERS.values()]
    values = [factor * x for factor in factors]
    values += [np.asarray(make(x, c), x.dtype) for _, make in MET.values()]
    third, tenth = (x.dtype.type(v) for v in (1 / 3, 0.1))
    zero, one, last = np.zeros(3), np.ones(3), np.array([1, 1, 0])
    gradients = [np.broadcast_to(factor, 3) for factor in factors]
    gradients += [
        [1, 0, 0], one, c, x > np.log(2.0), (x > 0.3) & (x < np.sqrt(0.3)), zero, zero,
        [2, 1, 0], one, [2 * tenth, tenth, 0], last, [1, 0, 0],
        [x.dtype.type(np.sqrt(2.0)), 0, 0], one * (third + tenth),
    ]  # fmt: skip
    return [*values, *(np.asarray(g, x.dtype) for g in gradients)]


def assert_equal(names: list[str], actual: list[Array], wanted: list[Array]) -> None:
    for name, a, w in zip(names, actual, wanted, strict=True):
        assert a.dtype == w.dtype, name
        np.testing.assert_array_equal(a, w, name)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("how", ["evaluate", "compile", "jit"])
def test_numbers_are_rounded_once_to_the_dtype_that_they_meet(how: str, dtype: str) -> None:
    names = [f"{what}{name}" for what in ("", "gradient of ") for name in (*NUMBERS, *MET)]
    arrays = [X.astype(dtype), C, AT]
    x, c, i = inputs(dtype)
    if how == "evaluate":
        actual = gc.evaluate(everything(x, c, i), dict(zip((x, c, i), arrays, strict=True)))
    elif how == "compile":
        actual = gc.compile([x, c, i], everything(x, c, i))(*arrays)
    else:
        actual = gc.jit(everything, target="reference")(*arrays)
    assert_equal(names, actual, expected(*arrays))


@pytest.mark.parametrize("name", NUMBERS)
def test_alone_they_are_float64_or_int64(name: str) -> None:
    _, c, i = inputs("float32")
    made, numpy = NUMBERS[name]
    result = made(c, i)
    assert result.weak
    wanted = np.asarray(numpy(C, AT))
    actual = gc.evaluate(result, {c: C, i: AT})
    assert actual.dtype == wanted.dtype
    np.testing.assert_array_equal(actual, wanted)


def test_results_that_are_numbers_alone_are_float64() -> None:
    f = gc.compile([], [gc.log(5.0), gc.add(2, 3), gc.full((2,), 0.1)])
    assert [np.asarray(v).dtype.name for v in f()] == ["float64", "int64", "float64"]
    assert f()[0] == np.log(5.0)
    assert gc.jit(lambda a: (a, 0.1))(np.ones(1, "float32"))[1] == np.float64(0.1)


@pytest.mark.filterwarnings("ignore:.*gives float64:graphc.errors.DTypeWarning")
def test_what_is_given_a_dtype_keeps_it() -> None:
    x = gc.placeholder("x", (2,), "float32")
    for strong in (
        gc.constant(0.1), gc.constant([0.1, 0.2]), gc.full((2,), 0.1, "float32"), gc.zeros((2,)),
        gc.sqrt(2.0).astype("float32"), gc.variable(0.1), gc.full((2,), np.float32(0.1)),
    ):  # fmt: skip
        assert not strong.weak
        assert strong.dtype is gc.float32
        assert (strong * x.astype("float64")).dtype is gc.float64
    for strong in (
        gc.sqrt(2.0).astype("float64"), gc.astype(0.1, "float64"), gc.full((), 0.1, "float64"),
        gc.constant(np.float64(0.1)), gc.where(x > 0, np.float64(0.1), 1),
    ):  # fmt: skip
        assert not strong.weak
        assert (strong * x).dtype is gc.float64


def test_beside_integers_and_truth_values_they_are_as_in_numpy() -> None:
    c, i = gc.placeholder("c", (3,), "bool"), gc.placeholder("i", (3,), "uint8")
    for make, numpy in (
        (lambda m, c, i: m.where(c, 1, 200) + i, np.uint8),
        (lambda m, c, i: m.where(c, 1, 2) * c, np.int64),
        (lambda m, c, i: m.sqrt(2.0) * i, np.float64),
        (lambda m, c, i: m.where(c, 0.1, 1) + c, np.float64),
    ):
        arrays = {c: C, i: np.array([1, 2, 3], np.uint8)}
        made = gc.evaluate(make(gc, c, i), arrays)
        assert made.dtype == numpy
        np.testing.assert_array_equal(made, make(np, *arrays.values()).astype(numpy))


def test_integers_that_do_not_fit_are_errors() -> None:
    c, i = gc.placeholder("c", (3,), "bool"), gc.placeholder("i", (3,), "uint8")
    for make in (
        lambda: i + 300, lambda: i + gc.where(c, 1, 300), lambda: gc.stack([i[0], 300]),
        lambda: gc.concat([i, gc.full((2,), -1)]), lambda: gc.cond(c[0], lambda: i[0], lambda: 300),
        lambda: gc.scan(lambda s, r: (s + r, None), 300, i),
    ):  # fmt: skip
        with pytest.raises(DTypeError, match="does not fit") as caught:
            make()
        assert caught.value.given in ("300", "-1")
        assert __file__ in str(caught.value)


def test_a_number_and_its_conversion_are_one_constant_of_a_kernel() -> None:
    x, c, _ = inputs("float32")
    f = gc.compile([x, c], [x * gc.sqrt(2.0), x * gc.where(c, 1 / 3, gc.where(x > 0, 0.1, 7))])
    text = str(f.optimized)
    assert "f64" not in text
    assert "astype" not in text
    assert str(np.sqrt(np.float64(2)).astype("float32")) in text
    same = gc.compile([x], x * np.sqrt(2.0).astype("float32"))
    assert str(gc.compile([x], x * gc.sqrt(2.0)).optimized) == str(same.optimized)


def test_the_text_of_a_graph_keeps_what_is_weak() -> None:
    x, c, i = inputs("float32")
    made = gc.where(c, 1 / 3, gc.sqrt(2.0))
    graph = gc.Graph([x, c, i], [made, made * x])
    back = gc.parse_graph(gc.print_graph(graph))
    assert [t.weak for t in back.outputs] == [True, False]
    assert back is graph
    assert "weak" in repr(made)
    assert gc.constant(2.0, "float64").node is not gc.full((), 2.0).node


def test_positions_and_conditions_do_not_decide() -> None:
    x, c, i = inputs("float32")
    assert not any(t.weak for t in (x > 0, gc.where(c, x, 0.1), gc.size(x), gc.iota((3,)), c * 0.1))
    assert gc.take(gc.stack([0.1, 0.2, 0.3]), i).weak
    key = gc.random.key(0)
    assert not gc.random.uniform(key, (3,)).weak
    drawn = gc.random.bernoulli(key, 0.5, (3,))
    assert drawn is gc.random.bernoulli(key, gc.constant(0.5), (3,))  # of the default dtype


@pytest.mark.parametrize("dtype", FLOATS)
def test_cotangents_and_inputs_of_layers_adapt_too(dtype: str) -> None:
    x = gc.placeholder("x", (3,), dtype)
    pulled, array = gc.vjp(gc.sin(x), x, gc.full((3,), 1 / 3)), X.astype(dtype)
    wanted = np.cos(array) * array.dtype.type(1 / 3)
    assert_equal(["vjp"], [gc.evaluate(pulled, {x: array})], [wanted])
    with gc.set_default_dtype(dtype):
        layer = gc.nn.Dense(2)
        assert layer(gc.full((4, 3), 0.1)).dtype is layer.kernel.dtype is gc.default_dtype()


# -- exactly what is given -------------------------------------------------------------------------
BIG = 2**63 + 1


@pytest.mark.parametrize("make", [gc.constant, lambda v, d: gc.variable(v, dtype=d)])
def test_integers_are_read_exactly(make: Callable[..., Tensor]) -> None:
    for value, dtype in (([1, BIG], "uint64"), ([1, BIG], None), ([[2**64 - 1]], None),
                         ([-1, 2**63 - 1], None), (BIG, "uint64"), ([BIG, 0], "uint64"),
                         ([True, BIG], "uint64")):  # fmt: skip
        t = make(value, dtype)
        assert t.dtype is (gc.int64 if value == [-1, 2**63 - 1] else gc.uint64)
        assert gc.evaluate(t, {}).tolist() == np.asarray(value, object).tolist()
    assert float(gc.evaluate(make([2**70, 1], "float64"), {})[0]) == 2.0**70


@pytest.mark.parametrize("make", [gc.constant, lambda v, d: gc.variable(v, dtype=d)])
def test_values_that_no_dtype_holds_are_errors(make: Callable[..., Tensor]) -> None:
    for value, dtype, given in (
        (2**64, None, str(2**64)), ([-1, BIG], None, f"-1 to {BIG}"), ([1, BIG], "int64", BIG),
        ([300, 1], "uint8", "1 to 300"), (-1, "uint64", "-1"), (np.array([300]), "uint8", "300"),
        (float("nan"), "int64", "nan"), ([1e20], "int64", "1e+20"), (10**400, "float64", "1000"),
    ):  # fmt: skip
        with pytest.raises(DTypeError) as caught:
            make(value, dtype)
        assert str(given) in caught.value.given
        assert __file__ in str(caught.value)


def test_a_large_integer_beside_floats_is_a_float() -> None:
    x = gc.placeholder("x", (1,), "float64")
    assert gc.evaluate(x * 2**70, {x: [0.5]}) == 2.0**69
    with pytest.raises(DTypeError, match="no integer dtype holds"):
        gc.sqrt(2**70)


# -- numbers of other libraries --------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_objects_that_are_numbers_adapt_as_python_s(dtype: str) -> None:
    x = gc.placeholder("number_x", (), dtype)
    made = {
        (x * sp.pi, np.pi * 3), (sp.sqrt(2) * x, np.sqrt(2) * 3), (sp.Rational(1, 3) - x, -8 / 3),
        (x / Fraction(1, 4), 12), (x + Decimal("0.1"), 3.1), (2 / x + sp.Integer(2), 2 + 2 / 3),
        (gc.where(x > sp.E, sp.Float(0.5), x), 0.5),
    }  # fmt: skip
    for t, wanted in made:
        assert t.dtype.name == dtype
        np.testing.assert_allclose(gc.evaluate(t, {x: 3.0}), wanted, rtol=1e-7)
    assert (x * sp.I).dtype.is_complex
    i = gc.placeholder("number_i", (), "int64")
    assert (i * sp.Integer(2)).dtype is gc.int64
    assert (i * sp.S.Half).dtype.is_float


def test_objects_that_are_numbers_are_constants_and_arguments() -> None:
    assert gc.evaluate(gc.constant(sp.Matrix([[1, 2], [3, 4]]))).tolist() == [[1, 2], [3, 4]]
    halves = gc.constant([Fraction(1, 2), 1], "float64")
    assert gc.evaluate(halves).tolist() == [0.5, 1.0]
    x = gc.placeholder("number_x", ("n",), "float64")
    f = gc.compile([x], x * 2, target="reference")
    np.testing.assert_array_equal(f([sp.pi, Fraction(1, 4)]), [2 * np.pi, 0.5])


def test_symbols_are_no_numbers_and_the_way_is_named() -> None:
    x, s = gc.placeholder("number_x", ()), sp.Symbol("s")
    for ask in (lambda: x * s, lambda: s * x, lambda: gc.sin(s + 1), lambda: gc.constant([s, 1])):
        with pytest.raises(DTypeError, match=r"gc\.from_sympy"):
            ask()


LISTS = {
    "arrays": ([np.zeros(2), np.ones(2)], "float64"),
    "an array in an array's place": ([[np.zeros(2, "float32")]], "float32"),
    "scalars of two dtypes": ([[np.float32(1)], [np.float64(2)]], "float64"),
    "a scalar beside Python's numbers": ([np.float64(1), 2.0, 3], "float64"),
    "a single one beside them": ((np.float32(1), 2.0), "float32"),
    "ints beside Python's floats": ([np.int32(1), 2.0], "float32"),
    "complex beside Python's": ([np.complex64(1), 2j], "complex64"),
    "floats beside Python's complex": ([np.float64(1), 2j], "complex128"),
    "Python's alone": ([[1.0, 2], [3, 4]], "float32"),
}


@pytest.mark.parametrize("make", [gc.constant, gc.variable, gc.asarray])
@pytest.mark.parametrize("name", LISTS)
def test_floats_of_numpy_in_lists_keep_their_dtype(name: str, make: Callable[..., Tensor]) -> None:
    values, dtype = LISTS[name]
    found = make(values)
    assert str(np.dtype(found.dtype.numpy)) == dtype
    np.testing.assert_array_equal(gc.evaluate(found), np.asarray(values).astype(dtype))
