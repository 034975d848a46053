"""gc.jit: how many programs a function needs, and that each gives what NumPy gives."""

from __future__ import annotations

import functools
import threading
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, MemoryBudgetError, NonFiniteError, ShapeError

rng = np.random.default_rng(0)


def f64(*shape: int) -> np.ndarray[Any, Any]:
    return rng.normal(size=shape)


def test_one_program_serves_all_sizes() -> None:
    @gc.jit
    def f(a: Any, b: Any) -> Any:
        """The docstring stays."""
        return gc.tanh(a) @ b

    for n, k, m in ((2, 3, 4), (5, 6, 7), (0, 3, 2), (3, 0, 2), (40, 50, 60), (3, 3, 3)):
        a, b = f64(n, k), f64(k, m)
        np.testing.assert_allclose(f(a, b), np.tanh(a) @ b, rtol=1e-12, atol=1e-14)
    assert f.programs == 1
    assert (f.__name__, f.__doc__) == ("f", "The docstring stays.")
    assert len(f.functions[0].graph.dims) == 3


def test_what_an_array_is_stored_as_needs_no_program() -> None:
    """Byte orders, strides, subclasses and lists of no ones: what is read is the same."""
    @gc.jit
    def f(a: Any, b: Any = None) -> Any:
        return a * 2 if b is None else a * 2 + b

    a = np.arange(6.0)
    for given in (a, a.astype(">f8"), np.repeat(a, 2)[::2], a.view(type("Own", (np.ndarray,), {}))):
        np.testing.assert_array_equal(f(given), a * 2)
    assert f.programs == 1
    np.testing.assert_array_equal(f(a, b=a), a * 3)
    np.testing.assert_array_equal(f(a, a), a * 3)
    assert f.programs == 3  # by name and by place: other structures


def test_equal_sizes_are_assumed_and_checked() -> None:
    @gc.jit
    def f(a: Any, b: Any) -> Any:
        return gc.sum(a) + gc.sum(b * 2)

    def check(n: int, m: int, programs: int) -> None:
        a, b = f64(n), f64(m)
        np.testing.assert_allclose(f(a, b), a.sum() + 2 * b.sum(), rtol=1e-12)
        assert f.programs == programs

    check(3, 3, 1)
    check(5, 5, 1)
    check(3, 4, 2)  # differ: traced again
    check(4, 3, 2)
    check(6, 6, 2)  # both fit
    check(1, 3, 3)  # another pattern of ones
    check(1, 1, 4)


def test_each_trace_assumes_fewer_equalities() -> None:
    @gc.jit
    def f(a: Any, b: Any, c: Any) -> Any:
        return gc.sum(a) + gc.sum(b) + gc.sum(c)

    for sizes in ((2, 2, 2), (2, 2, 3), (2, 3, 3), (2, 3, 2), (7, 8, 9), (4, 4, 5)):
        arrays = [f64(n) for n in sizes]
        np.testing.assert_allclose(f(*arrays), sum(a.sum() for a in arrays), rtol=1e-11)
    assert f.programs == 3  # all equal; the first two equal; none


def test_sizes_of_one_broadcast_and_have_programs_of_their_own() -> None:
    @gc.jit
    def f(a: Any, b: Any) -> Any:
        return a * b

    shapes = ((3, 4), (3, 4)), ((3, 1), (1, 4)), ((1, 4), (3, 4)), ((5, 1), (1, 7)), ((), (2, 2))
    for x, y in shapes:
        a, b = f64(*x), f64(*y)
        np.testing.assert_array_equal(f(a, b), a * b)
    assert f.programs == 4


def test_rank_and_dtype_have_programs_of_their_own() -> None:
    @gc.jit
    def f(a: Any) -> Any:
        return a + a

    for array in (f64(3), f64(3).astype("f4"), f64(3, 2), np.arange(3), np.arange(3, dtype="u1")):
        result = f(array)
        np.testing.assert_array_equal(result, array + array)
        assert result.dtype == array.dtype
    assert f.programs == 5
    f(np.arange(4, dtype=">i8"))  # the order of bytes does not matter
    f(np.float64(2))
    assert f.programs == 6
    assert f(np.float64(3)) == 6.0
    assert f.programs == 6


def test_structures_go_in_and_out() -> None:
    @gc.jit
    def f(batch: Any, *, scale: Any) -> Any:
        x, (y, nothing) = batch["x"], batch["rest"]
        assert nothing is None
        return {"sum": x + y, "parts": [x * scale, (y, None)], "one": 1}

    x, y = f64(3), f64(3)
    found = f({"x": x, "rest": (y, None)}, scale=2.0)
    np.testing.assert_array_equal(found["sum"], x + y)
    np.testing.assert_array_equal(found["parts"][0], x * 2)
    np.testing.assert_array_equal(found["parts"][1][0], y)
    assert found["parts"][1][1] is None
    assert isinstance(found["parts"], list)
    assert isinstance(found["parts"][1], tuple)
    assert found["one"] == 1
    f({"rest": (y, None), "x": x}, scale=2.0)
    assert f.programs == 1
    f({"x": x, "rest": [y, None]}, scale=2.0)
    assert f.programs == 2


def test_python_values_are_static() -> None:
    seen: list[Any] = []

    @gc.jit
    def f(a: Any, n: Any, mode: Any = "plus") -> Any:
        seen.append((n, mode))
        for _ in range(int(n)):
            a = a + 1 if mode == "plus" else a * 2
        return a

    a = f64(3).astype("f4")
    assert f(a, 2).dtype == np.float32  # scalars are weak
    np.testing.assert_array_equal(f(a, 2), a + 1 + 1)
    np.testing.assert_array_equal(f(a, 3, "times"), a * 8)
    f(a, 1), f(a, True)  # equal for Python
    assert seen == [(2, "plus"), (3, "times"), (1, "plus"), (True, "plus")]
    assert [type(n) for n, _ in seen[2:]] == [int, bool]
    assert f.programs == 4


def test_floats_are_weak_operands() -> None:
    @gc.jit
    def f(x: Any, y: Any, p: Any) -> Any:
        return gc.sin(x) * p + 1, y / (p + 1), gc.exp(p), {"p": p}

    x, y = np.linspace(-1, 1, 5, dtype="f4"), f64(3)
    for p in (0.3, -0.0, 1e-7, 2.0, 600.0):
        a, b, c, d = f(x, y, p)
        np.testing.assert_allclose(a, np.sin(x) * np.float32(p) + np.float32(1), rtol=1e-6)
        np.testing.assert_allclose(b, y / (p + 1), rtol=1e-15)
        np.testing.assert_allclose(c, np.exp(p), rtol=1e-15)
        assert (a.dtype, b.dtype, c.dtype) == ("f4", "f8", "f8")
        np.testing.assert_array_equal(d["p"], p)
    assert f.programs == 1
    assert f(x, x, np.float32(2))[2].dtype == "f4"  # an array of a dtype
    assert f.programs == 2


def test_a_float_that_the_function_needs_is_static() -> None:
    @gc.jit
    def branch(x: Any, p: float, q: float) -> Any:
        return x * q if p > 0 else x + q

    @gc.jit
    def exponent(x: Any, p: float, q: float) -> Any:
        return x ** (2 * p) * q

    @gc.jit
    def number(x: Any, p: float, q: float) -> Any:
        return x * round(p) + q

    x = np.array([1.0, 2.0, 3.0])
    for p in (1.5, -1.5, 1.5):
        for q in (2.0, 3.0):
            np.testing.assert_array_equal(branch(x, p, q), x * q if p > 0 else x + q)
            np.testing.assert_allclose(exponent(x, p, q), x ** (2 * p) * q, rtol=1e-15)
            np.testing.assert_array_equal(number(x, p, q), x * round(p) + q)
    assert (branch.programs, exponent.programs, number.programs) == (2, 2, 2)


def test_floats_and_sizes_that_the_function_needs() -> None:
    @gc.jit
    def f(x: Any, p: float, q: float) -> Any:
        total = q
        for i in range(x.shape[0]):
            total = total + (x[i] if p > i else x[i] * q)
        return total

    for n, p, q in ((2, 1.0, 0.5), (2, 1.0, 0.25), (3, 1.0, 0.5), (3, 0.0, 0.5), (2, 1.0, 2.0)):
        x = np.arange(1.0, n + 1)
        expected = q + sum(x[i] if p > i else x[i] * q for i in range(n))
        np.testing.assert_allclose(f(x, p, q), expected, rtol=1e-15)
    assert f.programs == 3


def test_the_derivative_by_a_float() -> None:
    slope = gc.jit(lambda a, x: gc.grad(gc.sum(gc.sin(a * x)), a))
    x = f64(4)
    for a in (0.5, 2.0):
        np.testing.assert_allclose(slope(a, x), np.sum(x * np.cos(a * x)), rtol=1e-14)
    assert slope.programs == 1


def test_static_by_name() -> None:
    @functools.partial(gc.jit, static_argnames=("p", "way"))
    def f(x: Any, p: Any, *, way: Any = gc.sin, shift: float = 0.0) -> Any:
        assert isinstance(p, (float, tuple))
        return way(x) * (p if isinstance(p, float) else p[0]) + shift

    x = f64(3)
    for shift in (0.0, 1.0):
        np.testing.assert_allclose(f(x, 2.0, shift=shift), np.sin(x) * 2 + shift, rtol=1e-15)
    np.testing.assert_allclose(f(x, p=3.0, way=gc.cos), np.cos(x) * 3, rtol=1e-15)
    np.testing.assert_allclose(f(x, (3.0, "of a tuple")), np.sin(x) * 3, rtol=1e-15)
    assert np.signbit(f(np.ones(1), -0.0, shift=-0.0)).all()
    assert not np.signbit(f(np.ones(1), 0.0, shift=-0.0)).any()
    assert f.programs == 5
    with pytest.raises(ArgumentError, match="static argument 'p' cannot be hashed"):
        f(x, np.ones(3))
    with pytest.raises(ArgumentError, match="names of parameters"):
        gc.jit(lambda x: x, static_argnames="y")


def test_floats_are_told_apart_by_their_bits() -> None:
    @gc.jit
    def f(a: Any, c: float) -> Any:
        return a * c

    one = np.ones(2)
    assert np.signbit(f(one, -0.0)).all()
    assert not np.signbit(f(one, 0.0)).any()
    assert np.isnan(f(one, float("nan"))).all()
    assert f.programs == 1


def test_variables_are_read_at_each_call() -> None:
    w = gc.variable(np.ones(3), name="w")

    @gc.jit
    def f(a: Any) -> Any:
        return a * w

    a = f64(3)
    np.testing.assert_array_equal(f(a), a)
    w.value = np.full(3, 2.0)
    np.testing.assert_array_equal(f(a), a * 2)
    assert f.programs == 1


def test_gradients_and_jitted_functions_inside() -> None:
    @gc.jit
    def square(a: Any) -> Any:
        return gc.sum(a * a)

    @gc.jit
    def slope(a: Any) -> Any:
        return square(a), gc.grad(square(a), a)

    a = f64(4)
    value, gradient = slope(a)
    np.testing.assert_allclose(value, a @ a, rtol=1e-12)
    np.testing.assert_array_equal(gradient, 2 * a)
    assert (square.programs, slope.programs) == (0, 1)


def test_results_are_fresh() -> None:
    f = gc.jit(lambda a: (a, a.T, gc.constant([1.0, 2.0])))
    a = f64(3, 3)
    for _ in range(2):
        same, turned, fixed = f(a)
        np.testing.assert_array_equal(same, a)
        np.testing.assert_array_equal(turned, a.T)
        np.testing.assert_array_equal(fixed, [1, 2])
        for array in (same, turned, fixed):
            assert not np.shares_memory(array, a)
            array[...] = 0


def test_no_arrays_and_no_results() -> None:
    assert gc.jit(lambda: None)() is None
    assert gc.jit(lambda n: gc.constant(1.5) * n)(2) == 3.0


def test_the_reference_target() -> None:
    @gc.jit(target="reference")
    def f(a: Any) -> Any:
        return gc.tanh(a)

    a = f64(3)
    np.testing.assert_array_equal(f(a), np.tanh(a))
    assert f.programs == 1


def test_many_threads_trace_once() -> None:
    f = gc.jit(lambda a: gc.sum(a * 3))
    results: list[Any] = []
    threads = [
        threading.Thread(target=lambda n=n: results.append(f(np.ones(n)) / n)) for n in range(2, 10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [3.0] * 8
    assert f.programs == 1


@pytest.mark.parametrize("bad", [object(), {1, 2}, np.array(["a"]), b"bytes"])
def test_bad_arguments(bad: Any) -> None:
    @gc.jit
    def taker(a: Any) -> Any:
        return a

    with pytest.raises(ArgumentError, match=r"taker.*neither an array.*(\n.*)*test_jit\.py"):
        taker(bad)
    assert taker.programs == 0


def test_not_a_function() -> None:
    with pytest.raises(ArgumentError, match="not a function"):
        gc.jit(3)  # type: ignore[call-overload]


def test_shapes_that_do_not_fit_name_the_users_line() -> None:
    f = gc.jit(lambda a, b: a + b)
    f(f64(3), f64(3))
    with pytest.raises(ShapeError, match=r"add.*sizes 3 and 4(\n.*)*test_jit\.py"):
        f(f64(3), f64(4))
    np.testing.assert_array_equal(f(np.ones(5), np.ones(5)), np.full(5, 2.0))
    assert f.programs == 1


def test_sizes_that_the_function_needs_are_static() -> None:
    w = gc.variable(f64(3, 4), name="w")

    @gc.jit
    def layer(x: Any) -> Any:
        return x @ w

    @gc.jit
    def rows(x: Any) -> Any:
        return gc.sum(gc.stack([gc.sum(row) ** (i + 1) for i, row in enumerate(x)]))

    for n in (3, 5, 0, 1):  # the first is as long as the static size; the last is a pattern
        np.testing.assert_allclose(layer(x := f64(n, 3)), x @ w.value, rtol=1e-12, atol=1e-14)
    assert [str(f.graph.inputs[0].type) for f in layer.functions] == [
        "f64[d0,d0]", "f64[d0,d1]", "f64[1,d0]",
    ]  # fmt: skip
    for shape in ((2, 5), (2, 6), (3, 5)):
        x = f64(*shape)
        expected = sum(row.sum() ** (i + 1) for i, row in enumerate(x))
        np.testing.assert_allclose(rows(x), expected, rtol=1e-11)
    assert [str(f.graph.inputs[0].type) for f in rows.functions] == ["f64[2,d1]", "f64[3,d1]"]
    with pytest.raises(ShapeError, match=r"(?s)matmul.*\(5, 4\)"):
        layer(f64(5, 4))


def test_the_options_are_those_of_compile() -> None:
    @gc.jit(fastmath=True, target="cpu")
    def ratio(x: Any) -> Any:
        return x / x

    np.testing.assert_array_equal(ratio(np.zeros(3)), [1, 1, 1])

    @gc.jit(check="nan")
    def root(x: Any) -> Any:
        return gc.sqrt(x)

    with pytest.raises(NonFiniteError, match="sqrt"):
        root(np.array([-1.0]))

    @gc.jit(memory_budget=100_000)
    def mixed(x: Any) -> Any:
        return gc.tanh(x @ x) @ gc.softmax(x @ x)

    assert mixed(f64(50, 50)).shape == (50, 50)  # 20 kB each
    with pytest.raises(MemoryBudgetError, match="100,000"):
        gc.jit(mixed.__wrapped__, memory_budget=100_000)(f64(150, 150))


@pytest.mark.parametrize("kind", [RuntimeError, TypeError, ValueError])
def test_an_array_of_another_library_that_refuses(kind: type[Exception]) -> None:
    """As one of PyTorch's that has a gradient, or is of a dtype that NumPy has not."""

    class Other:
        shape, dtype = (2,), "other"

        def __array__(self, *given: Any, **options: Any) -> Any:
            raise kind("use detach() before")

    x = gc.placeholder("refused", (2,))
    for call in (gc.jit(lambda x: x + 1), gc.compile([x], x + 1)):
        with pytest.raises(ArgumentError, match=r"not an array: use detach\(\) before") as caught:
            call(Other())
        assert "Other" in caught.value.given
        assert "test_jit.py:" in caught.value.where
