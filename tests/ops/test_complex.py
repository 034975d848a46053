"""Complex numbers: NumPy's values, interpreted and compiled, JAX's gradients, what refuses them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(5)
SPECIAL = np.array([0, 1, -1, 1j, -1j, 2 - 3j, -2.5 + 0.5j, 1e-3j, 30 + 40j, -7, 0.5 + 2j])


def numbers(*shape: int) -> Array:
    return RNG.normal(size=shape) + 1j * RNG.normal(size=shape)


def placeholders(dtype: str) -> tuple[gc.Tensor, gc.Tensor, gc.Tensor]:
    z, w = (gc.placeholder(f"complex_{name}", ("n",), dtype) for name in "zw")
    return z, w, gc.placeholder("complex_x", ("n",), z.dtype.part)


# Each function of a namespace and of z, w (complex) and x (real).
ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "add": lambda np, z, w, x: z + w,
    "add_real": lambda np, z, w, x: 2.5 + z - x,
    "subtract": lambda np, z, w, x: x - z,
    "multiply": lambda np, z, w, x: z * w,
    "multiply_number": lambda np, z, w, x: (2 - 1j) * z * x,
    "multiply_imaginary": lambda np, z, w, x: 1j * z,
    "divide": lambda np, z, w, x: z / (w + 3),
    "divide_real": lambda np, z, w, x: z / (x + 3) + x / (w + 3),
    "reciprocal": lambda np, z, w, x: np.reciprocal(z + 0.25),
    "negative": lambda np, z, w, x: -z,
    "square": lambda np, z, w, x: np.square(z),
    "power": lambda np, z, w, x: z**3 + (z + 0.25) ** -2 + z**0,
    "exp": lambda np, z, w, x: np.exp(z * 0.1),
    "exp_imaginary": lambda np, z, w, x: np.exp(1j * x),
    "log": lambda np, z, w, x: np.log(z + 0.25),
    "sqrt": lambda np, z, w, x: np.sqrt(z),
    "conj": lambda np, z, w, x: np.conj(z),
    "where": lambda np, z, w, x: np.where(x > 0, z, w),
    "where_real": lambda np, z, w, x: np.where(x > 0, z, x),
    "abs": lambda np, z, w, x: np.abs(z),
    "real": lambda np, z, w, x: np.real(z),
    "imag": lambda np, z, w, x: np.imag(z) + np.imag(x),
    "equal": lambda np, z, w, x: z == w,
    "not_equal": lambda np, z, w, x: z != w,
    "equal_real": lambda np, z, w, x: z == x,
    "isfinite": lambda np, z, w, x: np.isfinite(z),
    "isnan": lambda np, z, w, x: np.isnan(z),
    "isinf": lambda np, z, w, x: np.isinf(z / 0),
    "isclose": lambda np, z, w, x: np.isclose(z, w),
    "logical_not": lambda np, z, w, x: np.logical_not(z),
}
OF_PLANE: dict[str, Callable[..., Any]] = {
    "sin": lambda np, z, w, x: np.sin(z * 0.2),
    "cos": lambda np, z, w, x: np.cos(z * 0.2),
    "tan": lambda np, z, w, x: np.tan(z * 0.8),
    "sinh": lambda np, z, w, x: np.sinh(z * 0.2),
    "cosh": lambda np, z, w, x: np.cosh(z * 0.2),
    "tanh": lambda np, z, w, x: np.tanh(z * 0.8),
    "asin": lambda np, z, w, x: np.asin(z),
    "acos": lambda np, z, w, x: np.acos(z),
    "atan": lambda np, z, w, x: np.atan(z + 0.25),
    "asinh": lambda np, z, w, x: np.asinh(z),
    "acosh": lambda np, z, w, x: np.acosh(z),
    "atanh": lambda np, z, w, x: np.atanh(z + 0.25),
    "expm1": lambda np, z, w, x: np.expm1(z * 0.1),
    "log1p": lambda np, z, w, x: np.log1p(z + 0.25),
    "log2": lambda np, z, w, x: np.log2(z + 0.25),
    "log10": lambda np, z, w, x: np.log10(z + 0.25),
    "sign": lambda np, z, w, x: np.sign(z),
    "powers": lambda np, z, w, x: (z + 0.25) ** 0.5 + (z + 0.25) ** (w / 8) + 2.0 ** (z / 8),
}
REDUCED: dict[str, Callable[..., Any]] = {
    "sum": lambda np, z, w, x: np.sum(z),
    "mean": lambda np, z, w, x: np.mean(z * x),
    "var": lambda np, z, w, x: np.var(z),
    "std": lambda np, z, w, x: np.std(z),
    "all": lambda np, z, w, x: np.all(z),
    "vdot": lambda np, z, w, x: np.vdot(z, w),
    "norm": lambda np, z, w, x: np.linalg.norm(z),
    "norm1": lambda np, z, w, x: np.linalg.norm(z, 1),
    "cumsum": lambda np, z, w, x: np.cumsum(z * w),
    "nancumsum": lambda np, z, w, x: np.nancumsum(z / (z != 0)),
    "nansum": lambda np, z, w, x: np.nansum(z / (z != 0)),
    "average": lambda np, z, w, x: np.average(z, weights=x * x),
    "dot": lambda np, z, w, x: np.dot(z, w),
}
MOVED: dict[str, Callable[..., Any]] = {
    "reshape": lambda np, z, w, x: np.reshape(z, (-1, 1)),
    "flip": lambda np, z, w, x: np.flip(z * w),
    "slice": lambda np, z, w, x: z[1::2] * w[::2][:5],
    "concat": lambda np, z, w, x: np.concatenate([z, w * 1j, z[:2]]),
    "stack": lambda np, z, w, x: np.stack([z, w]),
    "roll": lambda np, z, w, x: np.roll(z, 3),
    "transpose": lambda np, z, w, x: (np.outer(z, w).T * np.outer(w, x).T).T,
    "outer": lambda np, z, w, x: np.outer(z, w),
    "take": lambda np, z, w, x: np.take(z, [3, 0, 3]),
    "broadcast": lambda np, z, w, x: np.broadcast_to(z, (2, 11)) + w,
    "matmul": lambda np, z, w, x: np.stack([z, w]) @ np.stack([w, z], 1),
    "matmul_real": lambda np, z, w, x: np.stack([z, w]) @ np.stack([x, x], 1),
    "einsum": lambda np, z, w, x: np.einsum("i,j->ij", z, w),
    "pad": lambda np, z, w, x: np.pad(z, 2),
    "tril": lambda np, z, w, x: np.tril(np.outer(z, w)),
    "astype": lambda np, z, w, x: z.astype("complex64") * 1j,
}


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_equals_numpy_interpreted_and_compiled(dtype: str) -> None:
    """All functions in one program, at the corners of the plane and elsewhere. Those whose formulas
    are long are compiled for one dtype."""
    given = placeholders(dtype)
    z = SPECIAL.astype(dtype)
    w = np.where(np.arange(11) % 3 == 0, z, numbers(11)).astype(dtype)
    x = RNG.normal(size=11).astype(z.real.dtype)
    table = ELEMENTWISE | REDUCED | MOVED | OF_PLANE
    with np.errstate(all="ignore"):
        wanted = {name: np.asarray(f(np, z, w, x)) for name, f in table.items()}
    made = {name: f(np, *given) for name, f in table.items()}
    eps = 64 * np.finfo(dtype).eps
    arrays = dict(zip(given, (z, w, x), strict=True))
    short = made if dtype == "complex64" else {n: t for n, t in made.items() if n not in OF_PLANE}
    for found in (gc.evaluate(made, arrays), gc.compile(given, short)(z, w, x)):
        for name, value in found.items():
            assert value.dtype == wanted[name].dtype, name
            np.testing.assert_allclose(value, wanted[name], rtol=eps, atol=eps, err_msg=name)


def test_results_are_the_users_types() -> None:
    """A scalar is a NumPy number, in and out; arrays may be strided, lists or real."""
    z = gc.placeholder("complex_scalar", (), "complex64")
    m = gc.placeholder("complex_matrix", ("n", 2), "complex64")
    f = gc.compile([z, m], [z * 2, m * z, m])
    given = numbers(3, 4).astype("complex64")
    for number in (1 + 2j, np.complex64(1 + 2j), np.array(1 + 2j, "complex64"), 3, 2.5):
        twice, product, same = f(number, given[:, ::2])
        assert type(twice) is np.complex64
        assert twice == 2 * np.complex64(number)
        np.testing.assert_allclose(product, given[:, ::2] * np.complex64(number), rtol=1e-6)
        assert np.array_equal(same, given[:, ::2])
        assert same.base is None
    assert f(1j, [[1, 2.5]])[1].tolist() == [[1j, 2.5j]]
    with pytest.raises(gc.errors.DTypeError, match="real ones"):
        gc.compile([x := gc.placeholder("complex_to_real")], x)(1j)
    with pytest.raises(gc.errors.DTypeError):
        gc.compile([m], m)(given.astype("complex128")[:, :2] * 1e300)


def test_python_numbers_adapt() -> None:
    z, _, x = placeholders("complex64")
    assert (x * 1j).dtype is gc.complex64
    assert (z * 2.0).dtype is gc.complex64
    assert (z.astype("complex128") + 1j).dtype is gc.complex128
    assert gc.result_type("float64", 1j) is gc.complex128
    assert gc.result_type("complex64", "float64") is gc.complex128
    assert gc.result_type("int32", "complex64") is gc.complex128
    assert gc.constant([1j, 2]).dtype is gc.complex64
    assert gc.evaluate(gc.exp(1j)).dtype == complex
    root = gc.exp(1j * 0.3)  # all digits, rounded once
    assert root.weak
    assert (root * x).dtype is gc.complex64
    exact = gc.evaluate(root * x.astype("float64"), {x: np.ones(1, "float32")})
    np.testing.assert_allclose(exact, [np.exp(0.3j)], rtol=1e-15)


# -- derivatives -----------------------------------------------------------------------------------
LOSSES: dict[str, Callable[..., Any]] = {
    "real": lambda z: gc.sum(gc.real(z * z * (1 + 2j))),
    "imag": lambda z: gc.sum(gc.imag(gc.exp(z) / (z + 3))),
    "abs": lambda z: gc.sum(gc.abs(z) ** 3),
    "angle": lambda z: gc.sum(gc.angle(z) * 2),
    "conj": lambda z: gc.sum(gc.real(gc.conj(z) * z)) + gc.imag(gc.sum(z) ** 2),
    "log": lambda z: gc.real(gc.mean(gc.log(z) * gc.sqrt(z))),
    "matmul": lambda z: gc.sum(gc.abs(gc.reshape(z, (2, 2)) @ gc.reshape(z, (2, 2))) ** 2),
    "choice": lambda z: gc.sum(gc.abs(gc.where(gc.real(z) > 0, z * 1j, z * z))),
    "parts": lambda z: gc.sum(gc.abs(gc.complex(gc.imag(z) ** 2, gc.real(z)))),
    "moved": lambda z: gc.real(gc.sum(z[[0, 2, 2]] * gc.flip(z)[:3] * gc.roll(z, 1)[1:])),
    "scan": lambda z: gc.sum(gc.abs(gc.scan(lambda c, v: (c * v + z[0], c - v), z[1], z)[1])),
    "branch": lambda z: gc.abs(
        gc.cond(gc.real(z[0]) > 0, lambda z: gc.sum(z * z), lambda z: gc.exp(gc.sum(z)), z)
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients(name: str) -> None:
    """The derivative by the real part, minus i times that by the imaginary one; forward mode is
    the same linear map."""
    z = gc.placeholder("complex_point", (4,), "complex128")
    at, moved = numbers(4), numbers(4)
    loss = LOSSES[name](z)
    step = 1e-6

    def slope(direction: Array) -> Any:
        ahead, behind = (gc.evaluate(loss, {z: at + h * direction}) for h in (step, -step))
        return (ahead - behind) / (2 * step)

    expected = [slope(e) - 1j * slope(1j * e) for e in np.eye(4)]
    found, forward = gc.evaluate([gc.grad(loss, z), gc.jvp(loss, z, moved)], {z: at})
    np.testing.assert_allclose(found, expected, rtol=2e-7, atol=2e-7)
    np.testing.assert_allclose(forward, np.sum(found * moved).real, rtol=1e-12)


def test_holomorphic_functions_have_their_complex_derivative() -> None:
    """vjp multiplies by f'(z), without conjugates, and so does jvp."""
    z = gc.placeholder("complex_at", (3,), "complex128")
    at, g = numbers(3), numbers(3)
    for made, derivative in (
        (z * z * 1j, 2j * at),
        (gc.exp(z), np.exp(at)),
        (1 / z, -1 / at**2),
        (gc.sqrt(z), 0.5 / np.sqrt(at)),
        (gc.log(z), 1 / at),
    ):
        found = gc.evaluate([gc.vjp(made, z, g), gc.jvp(made, z, g)], {z: at})
        np.testing.assert_allclose(found, [g * derivative] * 2, rtol=1e-12)


def test_second_derivatives_and_zero() -> None:
    x = gc.placeholder("complex_real_point", (2,), "float64")
    y = gc.sum(gc.abs(gc.exp(1j * x) + x) ** 2)
    second = gc.evaluate(gc.hessian(y, x), {x: np.array([0.4, -1.2])})
    expected = 2 + 2 * (-2 * np.sin([0.4, -1.2]) - np.array([0.4, -1.2]) * np.cos([0.4, -1.2]))
    np.testing.assert_allclose(second, np.diag(expected), rtol=1e-12, atol=1e-12)
    z = gc.placeholder("complex_origin", (), "complex128")
    assert gc.evaluate(gc.grad(gc.abs(z), z), {z: 0j}) == 0


def test_gradients_of_complex_variables_update_them() -> None:
    """Descent goes along the conjugate of the gradient."""
    v = gc.variable(np.array([1 + 1j, -2j]), name="complex_variable")
    target = np.array([0.5 - 1j, 2 + 0j])
    loss = gc.sum(gc.abs(v - target) ** 2)
    step = gc.compile([], loss, updates={v: v - 0.5 * gc.conj(gc.grad(loss, v))})
    step()
    np.testing.assert_allclose(v.value, target, atol=1e-12)


# -- forms -----------------------------------------------------------------------------------------
def test_text_pickles_and_keys() -> None:
    import pickle

    z, _, _ = placeholders("complex64")
    odd = np.array([complex(-0.0, np.inf), complex(np.nan, -0.0)], "complex64")
    long = numbers(20).astype("complex64")
    quiet = np.array(np.nan, "float32").view("u4") | 1
    strange = gc.constant(np.array(quiet.view("float32") + 0j, "complex64"))
    sums = gc.sum(gc.constant(long)) + strange
    made = [z * gc.constant(odd)[0], sums, z * (1 - 2j), gc.fft.fft(z)]
    graph = gc.Graph([z], made)
    text = gc.print_graph(graph)
    assert gc.parse_graph(text) is graph
    assert pickle.loads(pickle.dumps(made[0])) is made[0]
    (read,) = gc.parse_graph("graph g() {\n  return c64([1.0, -2.0])\n}").outputs
    assert read is gc.constant(1 - 2j, "complex64")


def test_vmap_is_the_stack_of_calls() -> None:
    z = gc.placeholder("complex_rows", (3, 4), "complex128")

    def f(row: gc.Tensor) -> gc.Tensor:
        return gc.fft.fft(row * row) / gc.sum(gc.abs(row))

    given = numbers(3, 4)
    found = gc.evaluate(gc.vmap(f)(z), {z: given})
    np.testing.assert_allclose(
        found, [np.fft.fft(r * r) / np.abs(r).sum() for r in given], rtol=1e-12
    )


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_loops_and_branches_carry_them(dtype: str) -> None:
    """As carries, along the first axis, as results of steps, and from outside."""
    z, w, _ = placeholders(dtype)
    last, seen = gc.scan(lambda c, v: (0.5 * c + v * w[0], gc.conj(c) * v), z[0], z)
    spiral, turns = gc.while_loop(
        lambda c: gc.abs(c[0]) < 100, lambda c: (c[0] * w[1] * 2, c[1] + 1), (z[1] + 1, 0)
    )
    chosen = [gc.cond(p, lambda z: z * w[0], gc.conj, z) for p in (gc.imag(z[0]) > 0, turns > 0)]
    at, by = (numbers(6).astype(dtype) for _ in "zw")
    by[1] = 0.6 + 0.9j
    total, expected, turned, count = at[0], [], at[1] + 1, 0
    for v in at:
        expected.append(np.conj(total) * v)
        total = 0.5 * total + v * by[0]
    while abs(turned) < 100:
        turned, count = turned * by[1] * 2, count + 1
    both = [at * by[0] if p else np.conj(at) for p in (at[0].imag > 0, True)]
    outputs = [last, gc.stack([seen, *chosen]), spiral, turns]
    rtol = 1e-4 if dtype == "complex64" else 1e-12
    for found in (gc.evaluate(outputs, {z: at, w: by}), gc.compile([z, w], outputs)(at, by)):
        np.testing.assert_allclose(found[0], total, rtol=rtol)
        np.testing.assert_allclose(found[1], [expected, *both], rtol=rtol)
        np.testing.assert_allclose(found[2], turned, rtol=rtol)
        assert found[3] == count


def test_latex_reads() -> None:
    z, _, x = placeholders("complex64")
    assert gc.latex(gc.complex(1.0, x)) == r"1 + \mathrm{complex}_{x} \mathrm{i}"
    assert gc.latex(gc.imag(z)) == r"\operatorname{Im}\left(\mathrm{complex}_{z}\right)"
    assert gc.latex(gc.constant(1 - 2j)) == r"1 + \left(-2\right) \mathrm{i}"


# -- refusals --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("op", "call"),
    [
        ("less", lambda z: z < 1),
        ("max", gc.max),
        ("max_and_argmax", gc.argmax),
        ("floor", gc.floor),
        ("sigmoid", gc.sigmoid),
        ("prod", gc.prod),
        ("softmax", gc.softmax),
        ("clip", lambda z: gc.clip(z, 0, 1)),
        ("round", gc.round),
        ("astype", lambda z: z.astype("float32")),
        ("relu", gc.relu),
        ("logsumexp", gc.logsumexp),
        ("solve", lambda z: gc.linalg.solve(gc.outer(z, z), z)),
        ("bitwise_and", lambda z: z & z),
    ],
)
def test_other_operations_refuse_by_name(op: str, call: Callable[..., Any]) -> None:
    z = gc.placeholder("complex_refused", (3,), "complex64")
    with pytest.raises(gc.errors.DTypeError) as raised:
        call(z)
    text = str(raised.value)
    assert "test_complex.py" in text
    assert "gc.real" in text or "dtype" in text, text


def test_a_complex_loss_has_no_gradient() -> None:
    z = gc.placeholder("complex_loss", (), "complex64")
    with pytest.raises(gc.errors.GradientError, match="complex number"):
        gc.grad(z * z, z)
    with pytest.raises(gc.errors.GradientError):
        gc.jacobian(z * z, z)
