"""`gc.fft`: SciPy's values, sizes, gradients; a transform is a product by a matrix."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import scipy.fft

import graphc as gc

RNG = np.random.default_rng(3)
NORMS = ("backward", "ortho", "forward")


def numbers(*shape: int) -> Any:
    return RNG.normal(size=shape) + 1j * RNG.normal(size=shape)


# Name, whether it takes real numbers, and arguments beside them.
CALLS: tuple[tuple[str, bool, dict[str, Any]], ...] = tuple(
    (name, real, options | {"norm": norm})
    for norm, (name, real, options) in zip(
        NORMS * 12,
        (
            ("fft", False, {}), ("fft", True, {"n": 4, "axis": 0}), ("fft", False, {"n": 9}),
            ("ifft", False, {"axis": 1}), ("ifft", False, {"n": 3}), ("rfft", True, {}),
            ("rfft", True, {"n": 4, "axis": 0}), ("rfft", True, {"n": 9}), ("irfft", False, {}),
            ("irfft", False, {"n": 7}), ("irfft", False, {"n": 13, "axis": 1}),
            ("hfft", False, {}), ("hfft", False, {"n": 5, "axis": 0}), ("ihfft", True, {}),
            ("ihfft", True, {"n": 5}), ("fftn", False, {}), ("fftn", False, {"s": (3, 8)}),
            ("fftn", False, {"s": (3, 8), "axes": (2, 0)}), ("ifftn", False, {"axes": (0, 1)}),
            ("fft2", False, {}), ("ifft2", False, {"s": (4, 4)}), ("rfftn", True, {}),
            ("rfftn", True, {"s": (4, 3), "axes": (0, 2)}), ("rfftn", True, {"axes": (1,)}),
            ("irfftn", False, {}), ("irfftn", False, {"s": (4, 7), "axes": (2, 1)}),
            ("rfft2", True, {}), ("irfft2", False, {"s": (3, 5)}),
        ),
        strict=False,
    )
)  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equals_scipy_interpreted_and_compiled(dtype: str) -> None:
    """Of sizes that are known and that are not, with every way to divide."""
    part = gc.placeholder("fft_parts", (5, "m", 6), dtype)
    whole = gc.placeholder("fft_whole", (5, "m", 6), gc.complex(part, part).dtype)
    x, z = RNG.normal(size=(5, 4, 6)).astype(dtype), numbers(5, 4, 6).astype(whole.dtype.numpy)
    made, wanted = [], []
    for name, is_real, options in CALLS:
        made.append(getattr(gc.fft, name)(part if is_real else whole, **options))
        wanted.append(getattr(scipy.fft, name)(x if is_real else z, **options))
    eps = 50 * np.finfo(dtype).eps
    arrays = {part: x, whole: z}
    for found in (gc.evaluate(made, arrays), gc.compile([part, whole], made)(x, z)):
        for call, a, b in zip(CALLS, found, wanted, strict=True):
            assert (a.dtype, a.shape) == (b.dtype, b.shape), call
            near = eps * np.abs(b).max()
            np.testing.assert_allclose(a, b, rtol=eps, atol=near, err_msg=str(call))


def test_the_transform_is_a_product_by_its_matrix() -> None:
    for size, norm in zip((1, 2, 7, 12), (*NORMS, "backward"), strict=True):
        matrix = gc.fft.dft_matrix(size, norm=norm, dtype="complex128")
        z = gc.constant(numbers(3, size))
        product, transform = gc.evaluate([z @ matrix, gc.fft.fft(z, norm=norm)])
        np.testing.assert_allclose(product, transform, rtol=1e-12, atol=1e-12)
    named = gc.placeholder("fft_any", ("fft_size",), "complex128")
    made = gc.fft.dft_matrix(named.shape[0], dtype="complex128") @ named
    given = numbers(6)
    np.testing.assert_allclose(gc.evaluate(made, {named: given}), np.fft.fft(given), atol=1e-12)


def test_named_sizes() -> None:
    """Results have sizes in terms of those of the operands, cut and padded where it must be."""
    x = gc.placeholder("fft_named", ("n", "m"))
    half = gc.fft.rfft(x)
    assert str(half.type) == "c64[n,((m) // (2)) + 1]"
    step = gc.compile([x], [half, gc.fft.irfft(half, x.shape[1]), gc.fft.fft(x, n=4, axis=0)])
    for shape in ((1, 1), (3, 4), (5, 7), (4, 2)):
        given = RNG.normal(size=shape).astype("float32")
        found = step(given)
        expected = [scipy.fft.rfft(given), given, scipy.fft.fft(given, 4, axis=0)]
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    with pytest.raises(gc.errors.ShapeError):
        step(np.zeros((2, 0), "float32"))


def test_numpys_functions_take_tensors() -> None:
    x = gc.placeholder("fft_numpy", (4, 6), "float64")
    assert np.fft.fft(x, 5, 0) is gc.fft.fft(x, n=5, axis=0)
    assert np.fft.rfft2(x) is gc.fft.rfft2(x)
    assert np.fft.irfft(x) is gc.fft.irfft(x)
    given = np.arange(24.0).reshape(4, 6)
    shifted = gc.evaluate([np.fft.fftshift(x), np.fft.ifftshift(x, axes=(1,))], {x: given})
    np.testing.assert_array_equal(shifted[0], np.fft.fftshift(given))
    np.testing.assert_array_equal(shifted[1], np.fft.ifftshift(given, axes=(1,)))
    for n in (1, 2, 7, 8):
        found = [gc.fft.fftfreq(n, d=0.3), gc.fft.rfftfreq(n, d=0.3, dtype="float64")]
        made = gc.evaluate(found)
        np.testing.assert_array_equal(made[0], np.fft.fftfreq(n, 0.3).astype("float32"))
        np.testing.assert_allclose(made[1], np.fft.rfftfreq(n, 0.3), rtol=1e-15)


# -- derivatives -----------------------------------------------------------------------------------
@pytest.mark.parametrize("call", CALLS[::2], ids=lambda c: c[0])
def test_gradients(call: tuple[str, bool, dict[str, Any]]) -> None:
    """By differences along random directions, forwards and backwards, and a second time."""
    name, is_real, options = call
    dtype = "float64" if is_real else "complex128"
    x = gc.placeholder("fft_point", (2, 3, 4), dtype)
    at, moved = (RNG.normal(size=(2, 3, 4)) if is_real else numbers(2, 3, 4) for _ in range(2))
    y = getattr(gc.fft, name)(x, **options)
    loss = gc.sum(gc.abs(y * y + y) ** 2)
    g = gc.grad(loss, x)
    made = [loss, gc.jvp(loss, x, moved), g, gc.hvp(loss, x, moved)]
    step = 1e-5
    points = (at + step * moved, at - step * moved, at)
    ahead, behind, here = (gc.evaluate(made, {x: point}) for point in points)
    assert here[1] == pytest.approx((ahead[0] - behind[0]) / (2 * step), rel=1e-6)
    assert here[1] == pytest.approx(np.sum(here[2] * moved).real, rel=1e-10)
    np.testing.assert_allclose(
        here[3], (ahead[2] - behind[2]) / (2 * step), rtol=1e-5, atol=1e-5 * np.abs(here[3]).max()
    )


def test_a_convolution_by_transforms_is_one() -> None:
    """Value and gradients of a circular convolution, as the sum says it."""
    x, w = (gc.placeholder(f"fft_{name}", (6,), "float64") for name in ("signal", "weights"))
    by_transform = gc.fft.irfft(gc.fft.rfft(x) * gc.fft.rfft(w), 6)
    by_sum = gc.sum(gc.stack([gc.roll(w, k) * x[k] for k in range(6)]), axis=0)
    given = {x: RNG.normal(size=6), w: RNG.normal(size=6)}
    outputs = [[y, *gc.grad(gc.sum(y**3), [x, w])] for y in (by_transform, by_sum)]
    for a, b in zip(*gc.evaluate(outputs, given), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


def test_native_turns_of_a_loop_and_calls_of_other_sizes_and_threads() -> None:
    """What a call back into Python remembers of the last one is never that of another call."""
    z = gc.placeholder("z", ("n",), "complex128")
    step = gc.compile([z], gc.scan(lambda c, _: (gc.fft.fft(c) / 2, c), z, length=5))

    def wanted(v: Any) -> list[Any]:
        seen = [v]
        for _ in range(5):
            seen.append(scipy.fft.fft(seen[-1]) / 2)
        return seen

    given = [numbers(n) for n in (8, 3, 8, 1, 16, 8, 3)]
    with ThreadPoolExecutor(4) as pool:
        found = [*map(step, given), *pool.map(step, given * 4)]
    for v, (last, turns) in zip(given * 5, found, strict=True):
        seen = wanted(v)
        np.testing.assert_allclose(last, seen[-1], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(turns, seen[:-1], rtol=1e-12, atol=1e-12)


def test_vmap() -> None:
    z = gc.placeholder("fft_batch", (3, 4, 5), "complex128")
    x = gc.real(z)
    given = numbers(3, 4, 5)
    made = [
        gc.vmap(lambda row: gc.fft.fft2(row))(z),
        gc.vmap(lambda row: gc.fft.rfft(row, axis=0, n=6))(x),
        gc.vmap(lambda row: gc.fft.irfft(row, axis=0))(z),
    ]
    expected = [
        np.fft.fft2(given),
        np.fft.rfft(given.real, 6, axis=1),
        np.fft.irfft(given, axis=1),
    ]
    for a, b in zip(gc.evaluate(made, {z: given}), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


# -- bad input -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("error", "call"),
    [
        (gc.errors.DTypeError, lambda z: gc.fft.rfft(z)),
        (gc.errors.DTypeError, lambda z: gc.fft.rfftn(z)),
        (gc.errors.DTypeError, lambda z: gc.fft.dft_matrix(3, dtype="float32")),
        (gc.errors.ArgumentError, lambda z: gc.fft.fft(z, norm="unitary")),
        (gc.errors.ArgumentError, lambda z: gc.fft.fft(z, n=0)),
        (gc.errors.ArgumentError, lambda z: gc.fft.fft(z, n=2.5)),
        (gc.errors.ArgumentError, lambda z: gc.fft.fftfreq(0)),
        (gc.errors.OutOfRangeError, lambda z: gc.fft.ifft(z, axis=2)),
        (gc.errors.OutOfRangeError, lambda z: gc.fft.fftn(z, axes=(0, 5))),
        (gc.errors.ShapeError, lambda z: gc.fft.fftn(z, s=(2,), axes=(0, 1))),
        (gc.errors.ShapeError, lambda z: gc.fft.fft2(z, axes=(0, 0))),
        (gc.errors.ShapeError, lambda z: gc.fft.fftn(z, axes=())),
        (gc.errors.ShapeError, lambda z: gc.fft.irfft(z[:, :1])),
    ],
)
def test_bad_arguments(error: type[Exception], call: Callable[..., Any]) -> None:
    with pytest.raises(error):
        call(gc.placeholder("fft_bad", (3, 4), "complex64"))
