"""Each function of NumPy's that graphc answers, against NumPy itself: values, shape, dtype.

Which these are is read from the registry: what answers by name can mean nothing else unseen.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special

import graphc as gc
from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.ir.operators import numpy_function
from tests.numpy_calls import ALL, FLOATS, Array, Sample, answered, answered_ufuncs, draw
from tests.numpy_samples import GUFUNCS, SAMPLES

UFUNCS = [f for f in answered_ufuncs() if f.signature is None]


def equal(found: Any, expected: Any, tolerance: float) -> None:
    """The same shape and dtype (float32 for float16, which graphc has not), and close values."""
    if isinstance(expected, (tuple, list)):
        assert len(found) == len(expected)
        for part, wanted in zip(found, expected, strict=True):
            equal(part, wanted, tolerance)
        return
    wanted = np.asarray(expected)
    if wanted.dtype == np.float16:
        wanted, tolerance = wanted.astype(np.float32), 2e-3
    elif wanted.dtype == np.float32:  # of small ints too
        tolerance = max(tolerance, 4e-7)
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance, strict=True)
    assert found.dtype == wanted.dtype


def agree(call: Callable[..., Any], arrays: list[Array]) -> None:
    tensors = [gc.placeholder(f"x{i}", a.shape, a.dtype) for i, a in enumerate(arrays)]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        expected = call(*arrays)
        built = call(*tensors)
    outputs = list(built) if isinstance(built, (tuple, list)) else built
    assert all(isinstance(t, gc.Tensor) for t in ([outputs] if outputs is built else outputs))
    found = gc.evaluate(outputs, dict(zip(tensors, arrays, strict=True)))
    single = any(a.dtype in (np.float32, np.complex64) for a in arrays)
    equal(found, expected, 1e-5 if single else 1e-12)


# -- functions -------------------------------------------------------------------------------------
def test_every_function_has_samples() -> None:
    assert set(answered()) == set(SAMPLES)
    assert {f.__name__ for f in answered_ufuncs() if f.signature is not None} == set(GUFUNCS)
    assert len(SAMPLES) > 40
    assert len(UFUNCS) > 40


def _agree_on(sample: Sample) -> None:
    for i, dtype in enumerate(sample.dtypes):
        rng = np.random.default_rng(i)
        agree(sample.call, [draw(rng, shape, dtype) for shape in sample.shapes])


@pytest.mark.parametrize("name", SAMPLES)
def test_a_function_is_numpys(name: str) -> None:
    for sample in SAMPLES[name]:
        _agree_on(sample)


@pytest.mark.parametrize("name", GUFUNCS)
def test_a_ufunc_of_axes_is_numpys(name: str) -> None:
    for sample in GUFUNCS[name]:
        _agree_on(sample)


def test_an_array_beside_a_tensor() -> None:
    x = np.arange(6.0).reshape(2, 3)
    y = np.arange(12.0).reshape(2, 3, 2)
    agree(lambda t: np.dot(x, t), [y])
    agree(lambda t: np.dot(t, y), [x])
    agree(lambda t: np.where(t > 1, t, x), [x])
    agree(lambda t: np.concatenate([x, t], axis=None), [y])


def test_what_is_known_of_a_tensor_is_no_tensor() -> None:
    x = gc.placeholder("x", (2, "n"), "complex64")
    assert np.ndim(x) == gc.ndim(x) == 2
    assert np.shape(x) == gc.shape(x) == x.shape
    assert np.iscomplexobj(x) is True
    assert np.isrealobj(x) is False
    assert gc.shape([[1, 2]]) == (1, 2)


# -- arguments -------------------------------------------------------------------------------------
OTHERS: dict[str, Any] = {"order": "F", "mode": "wrap", "casting": "unsafe", "decimals": 2}


def lacked() -> list[tuple[str, str]]:
    """The arguments of NumPy's functions that graphc's answers do not take."""
    found = []
    for name, function in answered().items():
        answer: Any = numpy_function(name)
        taken = inspect.signature(answer).parameters
        found += [
            (name, p.name)
            for p in inspect.signature(function).parameters.values()
            if p.default is not p.empty and p.name not in taken
        ]
    return found


@pytest.mark.parametrize(("name", "argument"), lacked())
def test_an_argument_that_graphc_lacks_is_named(name: str, argument: str) -> None:
    """It is never ignored. The call has one of NumPy's own samples' arguments."""
    x, i = gc.placeholder("x", (3, 3), "float64"), gc.placeholder("i", (2,), "int64")
    required: dict[str, tuple[Any, ...]] = {
        "astype": (x, "float32"), "broadcast_to": (x, (3, 3)), "concatenate": ([x, x],),
        "dot": (x, x), "einsum": ("ij->ji", x), "outer": (x, x), "pad": (x, 1),
        "reshape": (x, (9,)), "stack": ([x, x],), "take": (x, i), "full_like": (x, 1),
        "linspace": (x, 1), "take_along_axis": (x, i), "allclose": (x, x), "isclose": (x, x),
        "array_equal": (x, x), "cross": (x, x), "array_equiv": (x, x), "kron": (x, x),
        "hstack": ([x, x],), "vstack": ([x, x],), "partition": (x, 1), "argpartition": (x, 1),
        "quantile": (x, 0.5), "percentile": (x, 5), "nanquantile": (x, 0), "nanpercentile": (x, 0),
        "interp": (x, x[0], x[0]), "polyfit": (x[0], x[0], 1), "isin": (x, x),
        "delete": (x, 1), "insert": (x, 1, 0),
        "choose": (i, x), "resize": (x, 3), "logspace": (x, 1), "geomspace": (x, 1),
        "polyval": (x[0], x), "linalg.tensorsolve": (x, x[0]),
    }  # fmt: skip
    arguments = required.get(name, (x,))
    given = {argument: OTHERS.get(argument, np.zeros(1))}
    with pytest.raises(ArgumentError, match="no such argument") as caught:
        answered()[name](*arguments, **given)
    assert caught.value.op == f"numpy.{name}"
    assert f"{argument}=" in caught.value.given
    assert __file__ in caught.value.where


def test_every_optional_argument_has_numpys_default() -> None:
    for name, function in answered().items():
        answer: Any = numpy_function(name)
        theirs = inspect.signature(function).parameters
        for p in inspect.signature(answer).parameters.values():
            if p.default is p.empty or p.name not in theirs or (name, p.name) in _FREE:
                continue
            default = theirs[p.name].default
            unset = type(default).__name__ == "_NoValueType"
            assert default is theirs[p.name].empty or unset or default == p.default, (name, p.name)


_FREE = {("einsum", "optimize")}  # changes nothing


def test_positions_are_numpys() -> None:
    """The third argument of np.sum is the dtype, that of gc.sum is keepdims."""
    x = gc.placeholder("x", (2, 3))
    assert np.sum(x, 0, "float64").dtype is gc.float64
    assert np.sum(x, 0, None, None, True).shape == (1, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: np.where(x > 0), "a condition alone"),
        (lambda x: np.pad(x, 1, constant_values=(1, 2)), r"constant_values=\(1, 2\)"),
        (lambda x: np.pad(x, 1, mode="maximum"), "mode 'maximum'"),
        (lambda x: np.pad(x, 1, "reflect", reflect_type="odd"), "reflect_type"),
        (lambda x: np.einsum("ij->ji", x, dtype="float64"), "dtype="),
        (lambda x: np.clip(x, 0, 1, casting="unsafe"), "casting="),
        (lambda x: np.add(x, 1, dtype="float64"), "dtype="),
        (lambda x: np.add.reduce(x, dtype="float64"), r"add\.reduce"),
        (lambda x: np.add(x, 1, where=[True]), "where="),
    ],
)
def test_what_is_refused_is_named(call: Callable[..., Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        call(gc.placeholder("x", (2, 3)))


@pytest.mark.parametrize(
    "call", [lambda x: np.take(x, [0], axis=2), lambda x: np.concatenate([x, x], axis=3),
             lambda x: np.dot(x, np.zeros((2, 2, 2))), lambda x: np.linalg.outer(x, x)]
)  # fmt: skip
def test_errors_of_sizes_and_axes(call: Callable[..., Any]) -> None:
    with pytest.raises(ShapeError):
        call(gc.placeholder("x", (2, 3), "float64"))


@pytest.mark.parametrize("call", [np.matmul, np.dot, np.linalg.matmul])
def test_products_of_bool_matrices_are_refused(call: Callable[..., Any]) -> None:
    x = gc.placeholder("x", (2, 2), "bool")
    with pytest.raises(DTypeError, match="numeric"):
        call(x, x)


# -- ufuncs ----------------------------------------------------------------------------------------
# Where NumPy has an answer, graphc has none, and says so: of bools, whose sums NumPy gives as int8.
REFUSED = {
    "bool": {
        "absolute", "conjugate", "floor_divide", "isfinite", "isinf", "left_shift", "remainder",
        "right_shift", "square", "fmod", "gcd", "lcm", "spacing",
    },
    "int": {"spacing"},  # of their floats: small ints' are of float16 in NumPy
}  # fmt: skip


def ufunc_arguments(dtype: str, count: int) -> list[Array]:
    kind = np.dtype(dtype).kind
    if kind == "b":
        rows = [[[0, 1, 1], [0, 1, 0]], [[1, 1, 0], [0, 1, 0]]]
    elif kind == "u":
        rows = [[[7, 1, 2], [3, 200, 6]], [[1, 2, 3], [2, 1, 0]]]
    elif kind == "i":
        rows = [[[7, 1, -2], [3, -100, -1]], [[1, 2, 3], [2, 1, 0]]]
    else:
        rows = [[[0.0, -0.0, 1.5], [-2.5, np.inf, np.nan]], [[1.0, -1.0, 0.0], [2.0, 0.5, 3.0]]]
    return [np.array(r).astype(dtype) for r in rows[:count]]


@pytest.mark.parametrize("ufunc", UFUNCS, ids=lambda f: f.__name__)
def test_a_ufunc_is_numpys(ufunc: np.ufunc) -> None:
    for dtype in ALL:
        arrays = ufunc_arguments(dtype, ufunc.nin)
        kind = "int" if np.dtype(dtype).kind in "iu" else dtype
        tensors = [gc.placeholder(f"x{i}", a.shape, a.dtype) for i, a in enumerate(arrays)]
        try:
            with np.errstate(all="ignore"):
                ufunc(*arrays)
        except (TypeError, ValueError):
            refused = True  # by NumPy
        else:
            refused = ufunc.__name__ in REFUSED.get(kind, ())
        if refused:
            with pytest.raises(DTypeError):
                ufunc(*tensors)
        else:
            agree(ufunc, arrays)


@pytest.mark.parametrize(
    "name",
    [
        "erf", "erfc", "erfcx", "log_ndtr", "expit", "expm1", "log1p", "round", "gammaln", "gamma",
        "psi", "ndtr", "ndtri", "erfinv", "erfcinv", "logit", "i0e", "i1e", "j0", "j1",
    ],
)  # fmt: skip
def test_ufuncs_of_scipy(name: str) -> None:
    for dtype in ALL:
        agree(getattr(scipy.special, name), ufunc_arguments(dtype, 1))


@pytest.mark.parametrize(
    ("name", "count"),
    [("beta", 2), ("gammainc", 2), ("gammaincc", 2), ("betainc", 3), ("xlogy", 2), ("xlog1py", 2)],
)
def test_ufuncs_of_scipy_of_several_numbers(name: str, count: int) -> None:
    for dtype in ("int64", "uint8", *FLOATS):
        rng = np.random.default_rng(count)
        low, high = (1, 5) if dtype not in FLOATS else (0.1, 0.9)
        arrays = [rng.uniform(low, high, (2, 3)).astype(dtype) for _ in range(count)]
        arrays[-1] = arrays[-1] * (name != "betainc" or dtype in FLOATS)
        agree(getattr(scipy.special, name), arrays)


@pytest.mark.parametrize("name", ["i0", "i1"])
def test_ufuncs_of_scipy_but_at_infinities(name: str) -> None:
    """Where it has NaN for the limit."""
    for dtype in ALL:
        arrays = [np.where(np.isinf(a), 1, a) for a in ufunc_arguments(dtype, 1)]
        agree(getattr(scipy.special, name), [a.astype(dtype) for a in arrays])


def test_a_ufunc_of_someone_else_is_not_taken_for_numpys() -> None:
    other = np.frompyfunc(lambda x: x + 1, 1, 1)
    assert "vectorized" in other.__name__

    class Other:
        """As Numba's: a ufunc in all but its class, of any name."""

        __name__ = "tanh"

    x = gc.placeholder("x", (3,))
    for ufunc in (other, Other()):
        with pytest.raises(ArgumentError, match="no function of this name"):
            x.__array_ufunc__(ufunc, "__call__", x)
