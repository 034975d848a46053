"""Decompositions and functions of matrices: NumPy's and SciPy's values, derivatives against
differences, what is determined where values are equal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg

import graphc as gc
from graphc.errors import ArgumentError, DTypeError, GradientError, LinAlgError, ShapeError

from .test_linalg import assert_gradient

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(3)


def symmetric(*shape: int) -> Array:
    a = RNG.normal(size=shape)
    return a + np.swapaxes(a, -1, -2) + 3 * np.diag(np.arange(shape[-1]))


# -- values ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_compiled_equals_numpy_at_all_sizes(dtype: str) -> None:
    """By LAPACK's addresses, of named sizes; the products of the factors are the matrix."""
    tall = gc.placeholder("dec_tall", ("db", "dm", "dn"), dtype)
    square = gc.placeholder("dec_square", ("db", "dn", "dn"), dtype)
    even = square + gc.matrix_transpose(square)
    linalg = gc.linalg
    outputs = [
        *linalg.svd(tall, full_matrices=False), *linalg.svd(tall), linalg.svdvals(tall),
        *linalg.qr(tall), *linalg.qr(tall, mode="complete"), *linalg.eigh(even),
        linalg.eigvalsh(even), linalg.pinv(tall), linalg.matrix_rank(tall), linalg.expm(square),
        linalg.matrix_norm(tall, ord="nuc"),
    ]  # fmt: skip
    function = gc.compile([tall, square], outputs)
    for b, m, n in ((2, 5, 3), (2, 3, 5), (1, 1, 1), (0, 2, 3), (2, 0, 3), (1, 3, 0), (1, 40, 30)):
        arrays = [RNG.normal(size=s).astype(dtype) for s in ((b, m, n), (b, n, n))]
        x, y = arrays
        found = function(*arrays)
        wanted = gc.evaluate(outputs, {tall: x, square: y})
        for got, expected in zip(found, wanted, strict=True):
            scale = np.abs(expected).max(initial=1.0) * max(m, n)
            np.testing.assert_allclose(got, expected, atol=300 * np.finfo(dtype).eps * scale)
        u, s, vh = found[:3]
        eps = np.finfo(dtype).eps * 50 * max(m, n)
        np.testing.assert_allclose((u * s[:, None, :]) @ vh, x, atol=eps)
        q, r = found[7:9]
        np.testing.assert_allclose(q @ r, x, atol=eps)
        whole = found[9].swapaxes(1, 2) @ found[9]
        np.testing.assert_allclose(whole, np.broadcast_to(np.eye(m), (b, m, m)), atol=eps)
        w, v = found[11:13]
        np.testing.assert_allclose((v * w[:, None, :]) @ v.swapaxes(1, 2), y + y.swapaxes(1, 2),
                                   atol=eps)  # fmt: skip


CALLS: dict[str, tuple[Callable[[Any], Any], Callable[[Array], Any], tuple[int, ...]]] = {
    "nuc": (lambda x: gc.linalg.matrix_norm(x, ord="nuc"),
            lambda x: np.linalg.norm(x, "nuc", (-2, -1)), (2, 3, 4)),
    "2": (lambda x: gc.linalg.norm(x, 2), lambda x: np.linalg.norm(x, 2), (3, 4)),
    "-2": (lambda x: gc.linalg.matrix_norm(x, ord=-2, keepdims=True),
           lambda x: np.linalg.norm(x, -2, (-2, -1), keepdims=True), (2, 3, 4)),
    "cond": (gc.linalg.cond, np.linalg.cond, (2, 4, 3)),
    "cond -2": (lambda x: gc.linalg.cond(x, -2), lambda x: np.linalg.cond(x, -2), (4, 3)),
    "cond 1": (lambda x: gc.linalg.cond(x, 1), lambda x: np.linalg.cond(x, 1), (2, 4, 4)),
    "cond fro": (lambda x: gc.linalg.cond(x, "fro"), lambda x: np.linalg.cond(x, "fro"), (4, 4)),
    "rank": (lambda x: gc.linalg.matrix_rank(x[..., :1] * x[..., :1, :]),
             lambda x: np.linalg.matrix_rank(x[..., :1] * x[..., :1, :]), (2, 4, 4)),
    "rank, rtol": (lambda x: gc.linalg.matrix_rank(x, rtol=0.9),
                   lambda x: np.linalg.matrix_rank(x, rtol=0.9), (4, 4)),
    "pinv, rtol": (lambda x: gc.linalg.pinv(x, rtol=0.5),
                   lambda x: np.linalg.pinv(x, rtol=0.5), (2, 4, 3)),
    "multi_dot": (lambda x: gc.linalg.multi_dot([x[0], x, x.T, x[:, 0]]),
                  lambda x: np.linalg.multi_dot([x[0], x, x.T, x[:, 0]]), (4, 4)),
    "expm": (lambda x: gc.linalg.expm(x * 9), lambda x: scipy.linalg.expm(x * 9), (2, 4, 4)),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_values(name: str) -> None:
    ours, numpys, shape = CALLS[name]
    values = RNG.normal(size=shape)
    x = gc.placeholder("values_x", shape, "float64")
    expected = numpys(values)
    found = gc.evaluate(ours(x), {x: values})
    assert found.dtype == np.asarray(expected).dtype
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12 * scale)
    np.testing.assert_allclose(gc.compile([x], ours(x))(values), expected, rtol=1e-11,
                               atol=1e-11 * scale)  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_eigenvalues_of_general_matrices(dtype: str) -> None:
    """Compiled, of named sizes: x v = v w, and the vectors have norm 1; the values are NumPy's, in
    some order."""
    x = gc.placeholder("general_x", ("gb", "gn", "gn"), dtype)
    function = gc.compile([x], list(gc.linalg.eig(x)))
    for shape in ((3, 6, 6), (1, 1, 1), (0, 2, 2), (2, 0, 0), (1, 25, 25)):
        at = RNG.normal(size=shape).astype(dtype)
        w, v = function(at)
        eps = 100 * np.finfo(dtype).eps * shape[-1]
        apart = np.abs(w[:, :, None] - np.linalg.eigvals(at)[:, None, :])
        assert (apart.min(1, initial=np.inf) < 10 * eps).all()
        assert (apart.min(2, initial=np.inf) < 10 * eps).all()
        np.testing.assert_allclose(at @ v, v * w[:, None, :], atol=eps)
        np.testing.assert_allclose(np.linalg.norm(v, axis=1), np.ones(shape[:2]), atol=eps)


def test_least_squares() -> None:
    """Of full rank, of less, with more unknowns than equations; of one right side and several."""
    for m, n, rank in ((6, 3, 3), (6, 3, 2), (3, 6, 3)):
        a = RNG.normal(size=(m, rank)) @ RNG.normal(size=(rank, n))
        for b in (RNG.normal(size=m), RNG.normal(size=(m, 2))):
            found = gc.linalg.lstsq(a, b)
            expected = np.linalg.lstsq(a, b, rcond=None)
            x, residuals, count, s = gc.evaluate(list(found))
            np.testing.assert_allclose(x, expected[0], atol=1e-12)
            squares = np.square(a @ expected[0] - b).sum(0, keepdims=b.ndim < 2)
            np.testing.assert_allclose(residuals, squares, atol=1e-12)
            assert count == expected[2]
            np.testing.assert_allclose(s, expected[3], atol=1e-12)


def test_numpys_own_functions_build_nodes() -> None:
    x = gc.placeholder("own_x", (4, 3), "float64")
    square = x[:3]
    assert np.linalg.svd(x).S is gc.linalg.svd(x).S
    assert np.linalg.qr(x).R is gc.linalg.qr(x).R
    assert np.linalg.eigh(square).eigenvalues is gc.linalg.eigh(square).eigenvalues
    assert np.linalg.svd(x, compute_uv=False) is gc.linalg.svdvals(x)
    assert np.linalg.qr(x, "r") is gc.linalg.qr(x).R
    upper = gc.evaluate(np.linalg.eigvalsh(square, "U"), {x: np.arange(12.0).reshape(4, 3)})
    np.testing.assert_allclose(
        upper, np.linalg.eigvalsh(np.arange(9.0).reshape(3, 3), "U"), atol=1e-13
    )


# -- derivatives -----------------------------------------------------------------------------------
def _reduced(x: Any) -> Any:
    return gc.linalg.svd(x, full_matrices=False)


GRADIENTS: dict[str, tuple[Callable[[Any], Any], Array]] = {
    "eigh": (lambda a: gc.concat([gc.linalg.eigh(a)[0][..., None, :], gc.linalg.eigh(a)[1]], -2),
             symmetric(2, 4, 4)),
    "eigvalsh": (lambda a: gc.linalg.eigvalsh(a), symmetric(4, 4)),
    "svd tall": (lambda x: gc.concat([*_reduced(x)[::2]], 0), RNG.normal(size=(5, 3))),
    "svd wide": (lambda x: gc.concat([_reduced(x)[0], _reduced(x)[2].T], 0),
                 RNG.normal(size=(3, 5))),
    "svd square": (lambda x: gc.linalg.svd(x)[0] + gc.linalg.svd(x)[2], RNG.normal(size=(3, 3))),
    "values of the full one": (lambda x: gc.linalg.svd(x)[1], RNG.normal(size=(2, 5, 3))),
    "svdvals": (lambda x: gc.linalg.svdvals(x), RNG.normal(size=(2, 3, 5))),
    "qr tall": (lambda x: gc.concat([*gc.linalg.qr(x)], -2), RNG.normal(size=(2, 5, 3))),
    "q wide": (lambda x: gc.linalg.qr(x)[0], RNG.normal(size=(3, 5))),
    "r wide": (lambda x: gc.linalg.qr(x)[1], RNG.normal(size=(2, 3, 5))),
    "pinv": (lambda x: gc.linalg.pinv(x), RNG.normal(size=(2, 5, 3))),
    "pinv wide": (lambda x: gc.linalg.pinv(x), RNG.normal(size=(3, 5))),
    "pinv of rank 2": (lambda x: gc.linalg.pinv(x @ x.T), RNG.normal(size=(4, 2))),
    "least squares": (lambda x: gc.linalg.lstsq(x, x[:, 0] ** 2)[0], RNG.normal(size=(5, 3))),
    "expm": (lambda x: gc.linalg.expm(x), RNG.normal(size=(2, 3, 3))),
    "cond": (lambda x: gc.linalg.cond(x), RNG.normal(size=(4, 3))),
    "nuc": (lambda x: gc.linalg.matrix_norm(x, ord="nuc"), RNG.normal(size=(2, 4, 3))),
    "eigvals": (lambda x: gc.concat([gc.real(gc.linalg.eigvals(x)) ** 2,
                                     gc.imag(gc.linalg.eigvals(x)) ** 3], -1),
                RNG.normal(size=(2, 4, 4))),
    "lu": (lambda x: gc.linalg.lu(x)[1] + gc.linalg.lu(x)[2], RNG.normal(size=(2, 4, 4))),
}  # fmt: skip


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients(name: str) -> None:
    function, at = GRADIENTS[name]
    if name in ("eigh", "eigvalsh"):  # one triangle is read
        original = function
        function = lambda a: original((a + gc.matrix_transpose(a)) / 2)  # noqa: E731
    assert_gradient(function, at)


@pytest.mark.parametrize(
    "name", ["eigvalsh", "svd tall", "qr tall", "r wide", "pinv", "expm", "lu"]
)
def test_second_derivatives(name: str) -> None:
    function, at = GRADIENTS[name]
    weights = RNG.normal(size=at.shape)

    def first(x: Any) -> Any:
        even = (x + gc.matrix_transpose(x)) / 2 if name == "eigvalsh" else x
        return gc.grad(gc.sum(gc.sin(function(even))), x) * weights

    assert_gradient(first, at)


@pytest.mark.parametrize("name", ["eigh", "svd wide", "qr tall", "pinv", "expm"])
def test_forward_is_the_transpose_of_reverse(name: str) -> None:
    function, at = GRADIENTS[name]
    x, t = (gc.placeholder(n, at.shape, "float64") for n in ("fwd_x", "fwd_t"))
    y = function(x)
    weights = RNG.normal(size=[int(s) for s in y.shape])
    forward = gc.sum(gc.jvp(y, x, t) * weights)
    reverse = gc.sum(gc.grad(gc.sum(y * weights), x) * t)
    a, b = gc.evaluate([forward, reverse], {x: at, t: RNG.normal(size=at.shape)})
    np.testing.assert_allclose(a, b, rtol=1e-11)


def test_equal_eigenvalues_have_finite_derivatives_and_right_sums() -> None:
    """The sum of squares of the eigenvalues is that of the elements, whatever the vectors are."""
    a = gc.placeholder("equal_a", (4, 4), "float64")
    values, vectors = gc.linalg.eigh(a)
    first = gc.grad(gc.sum(values**2), a)
    np.testing.assert_allclose(gc.evaluate(first, {a: np.eye(4) * 3}), 6 * np.eye(4), atol=1e-13)
    assert np.isfinite(gc.evaluate(gc.grad(gc.sum(vectors), a), {a: np.eye(4)})).all()
    x = gc.placeholder("equal_x", (3, 4), "float64")
    u, s, vh = _reduced(x)
    finite = gc.grad(gc.sum(u) + gc.sum(s) + gc.sum(vh), x)
    for at in (np.zeros((3, 4)), np.eye(3, 4)):
        assert np.isfinite(gc.evaluate(finite, {x: at})).all()


def test_vmap_is_the_stack() -> None:
    x = gc.placeholder("vmap_x", ("vb", 3, 4), "float64")
    at = RNG.normal(size=(3, 3, 4))
    for f in (lambda m: tuple(_reduced(m)), lambda m: tuple(gc.linalg.qr(m)),
              lambda m: gc.linalg.pinv(m), lambda m: gc.linalg.expm(m[:, :3])):  # fmt: skip
        made = gc.vmap(f)(x)
        found = gc.evaluate(list(made) if isinstance(made, tuple) else [made], {x: at})
        one = gc.placeholder("vmap_one", (3, 4), "float64")
        single = f(one)
        parts = list(single) if isinstance(single, tuple) else [single]
        each = [gc.evaluate(parts, {one: m}) for m in at]
        for got, *expected in zip(found, *each, strict=True):
            np.testing.assert_allclose(got, np.stack(expected), atol=1e-13)


# -- what is wrong ---------------------------------------------------------------------------------
S, R, WHOLE = (gc.placeholder(f"wrong_{n}", s, d) for n, s, d in (
    ("s", (3, 3), "float64"), ("r", (3, 4), "float64"), ("i", (3, 3), "int64")))  # fmt: skip
WRONG: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: gc.linalg.eigh(R), ShapeError, "square"),
    (lambda: gc.linalg.eigvalsh(WHOLE), DTypeError, "int64"),
    (lambda: gc.linalg.svd(S[0]), ShapeError, r"\(3,\)"),
    (lambda: gc.linalg.qr(WHOLE), DTypeError, "int64"),
    (lambda: gc.linalg.qr(S, mode="raw"), ArgumentError, "'raw'"),
    (lambda: gc.linalg.pinv(S, rtol="a"), ArgumentError, "'a'"),
    (lambda: gc.linalg.matrix_rank(S[0]), ShapeError, r"\(3,\)"),
    (lambda: gc.linalg.cond(R, 1), ShapeError, "square"),
    (lambda: gc.linalg.lstsq(R, np.ones(4)), ShapeError, r"\(4,\)"),
    (lambda: gc.linalg.expm(R), ShapeError, "square"),
    (lambda: gc.linalg.multi_dot([S]), ArgumentError, "1"),
    (lambda: gc.linalg.multi_dot([S, S[0], S]), ShapeError, "number 2 of 3"),
    (lambda: gc.linalg.lu(S[0]), ShapeError, r"\(3,\)"),
    (lambda: gc.linalg.solve(S, S, assume_a="odd"), ArgumentError, "'odd'"),
    (lambda: gc.linalg.cho_solve(S, S), ArgumentError, "Tensor"),
    (lambda: gc.grad(gc.sum(gc.linalg.svd(R)[0]), R), GradientError, "full_matrices=False"),
    (lambda: gc.grad(gc.sum(gc.real(gc.linalg.eig(S)[1])), S), GradientError, "eig"),
    (lambda: gc.linalg.eig(R), ShapeError, "square"),
    (lambda: gc.grad(gc.sum(gc.linalg.qr(R.T, mode="complete")[0]), R), GradientError, "reduced"),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_wrong_operands(number: int) -> None:
    call, error, given = WRONG[number]
    with pytest.raises(error, match=given) as caught:
        call()
    assert caught.value.op  # type: ignore[attr-defined]


def test_what_does_not_converge_has_its_name(capfd: pytest.CaptureFixture[str]) -> None:
    """And LAPACK prints nothing."""
    a = gc.placeholder("nan_a", (4, 4), "float64")
    for f in (gc.linalg.eigvalsh, gc.linalg.svdvals):
        function = gc.compile([a], f(a))
        try:
            getattr(np.linalg, f.__name__)(np.full((4, 4), np.nan))
        except np.linalg.LinAlgError:
            with pytest.raises(LinAlgError, match=f"{f.__name__}: .*converge"):
                function(np.full((4, 4), np.nan))
        else:
            assert np.isnan(function(np.full((4, 4), np.nan))).all()
    for f in (gc.linalg.eigvals, lambda a: gc.linalg.eig(a)[1]):
        function = gc.compile([a], f(a))
        for wrong in (np.nan, np.inf):
            with pytest.raises(LinAlgError, match="not finite"):
                function(np.full((4, 4), wrong))
            with pytest.raises(LinAlgError, match="not finite"):
                gc.evaluate(f(a), {a: np.full((4, 4), wrong)})
    assert capfd.readouterr() == ("", "")


def test_a_tolerance_may_be_a_tensor() -> None:
    """One for each matrix, and known at the call only."""
    a = gc.placeholder("cut_off", (2, 3, 3), "float64")
    ratio = gc.placeholder("cut_off_ratio", (2,), "float64")
    outputs = [gc.linalg.pinv(a, rtol=ratio), gc.linalg.matrix_rank(a, rtol=ratio)]
    outputs.append(gc.grad(gc.sum(outputs[0] ** 2), a))
    given = np.stack([np.diag([1.0, 0.2, 0.01])] * 2) @ np.linalg.qr(np.eye(3) + 0.3)[0]
    ratios = np.array([0.1, 1e-3])
    wanted = [np.linalg.pinv(given, rtol=ratios), np.linalg.matrix_rank(given, rtol=ratios)]
    fixed = [gc.linalg.pinv(a[i], rtol=float(r)) for i, r in enumerate(ratios)]
    wanted.append(gc.evaluate(gc.grad(gc.sum(gc.stack(fixed) ** 2), a), {a: given}))
    found = gc.evaluate(outputs, {a: given, ratio: ratios})
    for each in (found, gc.compile([a, ratio], outputs)(given, ratios)):
        for got, expected in zip(each, wanted, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)
