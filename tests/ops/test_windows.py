"""Windows, convolutions and pooling: named sizes, derivatives, what is refused, how they read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, DTypeError, GraphcError, ShapeError
from tests.image_samples import conv

X = gc.placeholder("win_x", ("n", 3, "h", "w"))
W = gc.placeholder("win_w", (4, 3, 3, 3))
RNG = np.random.default_rng(0)


def images(*shape: int) -> np.ndarray[Any, Any]:
    return RNG.standard_normal(shape).astype("float32")


@pytest.mark.parametrize("sizes", [(2, 5, 7), (1, 3, 3), (0, 4, 6), (3, 9, 4)])
def test_compiled_at_any_size(sizes: tuple[int, int, int]) -> None:
    n, h, w = sizes
    a, k = images(n, 3, h, w), images(4, 3, 3, 3)
    found = _layers()(a, k)
    expected = conv(a, k, (1, 1), ((1, 1), (1, 1)), (1, 1))
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-5)
    steps = conv(a, k, (2, 2), ((1, 1), (1, 1)), (1, 1))
    np.testing.assert_allclose(found[1], steps, rtol=1e-4, atol=1e-5)
    for value, wanted in zip(found, gc.evaluate(_results(), {X: a, W: k}), strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-4, atol=1e-4)


def _results() -> list[gc.Tensor]:
    same, strided = gc.conv(X, W, padding="same"), gc.conv(X, W, stride=2, padding=1)
    pooled = gc.max_pool(gc.tanh(same), 2, padding="same")
    total = gc.sum(pooled**2) + gc.sum(gc.avg_pool(strided, 2, padding=1) ** 2)
    return [same, strided, total, *gc.grad(total, [X, W])]


def _layers() -> Callable[..., Any]:
    if not hasattr(_layers, "made"):
        _layers.made = gc.compile([X, W], _results())  # type: ignore[attr-defined]
    made: Callable[..., Any] = _layers.made  # type: ignore[attr-defined]
    return made


def test_derivatives_of_any_order_are_of_the_family() -> None:
    """A convolution is linear in each operand; what is differentiated again is one of three."""
    x = gc.placeholder("win_a", (2, 2, 5), "float64")
    w = gc.placeholder("win_b", (3, 2, 2), "float64")
    a, b = RNG.standard_normal((2, 2, 5)), RNG.standard_normal((3, 2, 2))
    loss = gc.sum(gc.tanh(gc.conv(x, w, stride=2, padding=1)))
    (gx,) = gc.grad(loss, [x])
    second = gc.grad(gc.sum(gx * gx), [w])[0]
    found, step = gc.evaluate(second, {x: a, w: b}), 1e-6
    for at in np.ndindex(b.shape):
        moved = [b.copy(), b.copy()]
        moved[0][at] -= step
        moved[1][at] += step
        low, high = (gc.evaluate(gc.sum(gx * gx), {x: a, w: m}) for m in moved)
        np.testing.assert_allclose(found[at], (high - low) / (2 * step), rtol=1e-6, atol=1e-7)
    made = {n.op.name for n in gc.Graph([x, w], [second]).nodes}
    assert {"conv", "conv_by_input", "conv_by_kernel"} <= made


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_folding_is_the_transpose(size: int, stride: int) -> None:
    """<windows(x), g> = <x, fold(g)>, at gaps between windows too."""
    x = gc.placeholder("win_t", ("n", 7), "float64")
    cut = gc.windows(x, size, stride=stride)
    a = RNG.standard_normal((2, 7))
    g = RNG.standard_normal((2, (7 - size) // stride + 1, size))
    back = gc.fold_windows(gc.constant(g), 7, stride=stride)
    left, right = gc.evaluate([gc.sum(cut * gc.constant(g)), gc.sum(x * back)], {x: a})
    np.testing.assert_allclose(left, right, rtol=1e-12)


def test_same_padding_is_as_in_keras() -> None:
    """As many windows as size / stride, rounded up; of an odd number of zeros the larger part is
    behind."""
    x = gc.placeholder("win_s", (1, 1, 6))
    sums = gc.conv(x, gc.ones((1, 1, 3)), stride=2, padding="same")
    means = gc.avg_pool(x, 3, stride=2, padding="same")
    found = gc.evaluate([sums, means], {x: np.arange(6.0).reshape(1, 1, 6)})
    np.testing.assert_array_equal(found[0].ravel(), [3.0, 9.0, 9.0])
    np.testing.assert_array_equal(found[1].ravel(), [1.0, 3.0, 4.5])


def test_transposed_same_makes_size_times_stride() -> None:
    x, w = gc.placeholder("win_u", ("n", 4, "h", 5)), kernel(4, 2, 3, 3)
    assert gc.conv_transpose(x, w, stride=2, padding="same").shape[1:] == (2, 2 * gc.dim("h"), 10)


def test_channels_last_is_the_same_in_another_order() -> None:
    x, w = gc.placeholder("win_l", (2, 5, 6, 4)), gc.placeholder("win_k", (3, 2, 2, 6))
    a, k = images(2, 5, 6, 4), images(3, 2, 2, 6)
    options: dict[str, Any] = {"stride": 2, "padding": [(0, 1), 1], "groups": 2}
    y = gc.conv(x, w, data_format="NHWC", **options)
    z = gc.conv(a.transpose(0, 3, 1, 2), k.transpose(3, 2, 0, 1), **options)
    np.testing.assert_allclose(
        gc.evaluate(y, {x: a, w: k}), gc.evaluate(z, {}).transpose(0, 2, 3, 1), rtol=1e-5
    )
    assert gc.max_pool(x, (2, 3), data_format="channels_last").shape == (2, 2, 2, 4)


def test_ties_are_shared() -> None:
    x = gc.placeholder("win_e", (1, 1, 2, 4))
    a = np.array([[[[1.0, 2.0, 0.0, 0.0], [2.0, 2.0, 0.0, 5.0]]]], "float32")
    found = gc.evaluate(gc.grad(gc.sum(gc.max_pool(x, 2)), x), {x: a})
    np.testing.assert_allclose(found[0, 0], [[0, 1 / 3, 0, 0], [1 / 3, 1 / 3, 0, 1]], rtol=1e-6)


def test_named_sizes_are_resampled() -> None:
    """Padding beyond several borders, and images at another size, with the gradients."""
    x = gc.placeholder("win_r", ("n", 2, "h"))
    size = gc.dim("h") + 3
    made = [gc.pad(x, [(0, 0), (1, 0), (4, 5)], "reflect"), gc.interpolate(x, size, mode="linear")]
    wanted = [*made, *gc.grad(gc.sum(made[0] ** 2) + gc.sum(gc.tanh(made[1])), [x])]
    step = gc.compile([x], wanted)
    for n, h in ((1, 2), (2, 5), (0, 1), (1, 1)):
        a = images(n, 2, h)
        for value, expected in zip(step(a), gc.evaluate(wanted, {x: a}), strict=True):
            np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)
    a = images(1, 2, 5)
    np.testing.assert_array_equal(step(a)[0], np.pad(a, ((0, 0), (1, 0), (4, 5)), "reflect"))
    with pytest.raises(ShapeError):
        step(images(1, 2, 0))


# -- what is refused -------------------------------------------------------------------------------
K = gc.placeholder("win_k3", (4, 3, 3, 3))


def kernel(*shape: int) -> gc.Tensor:
    return gc.zeros(shape)


IMAGE = gc.placeholder("win_i", (2, 3, 8, 8))
REFUSED: tuple[tuple[type[GraphcError], str, Callable[[], Any]], ...] = (
    (ShapeError, r"channels do not fit 2 groups", lambda: gc.conv(IMAGE, K, groups=2)),
    (ShapeError, r"fit the kernel\n.*2 channels", lambda: gc.conv(IMAGE, kernel(4, 2, 3, 3))),
    (ShapeError, r"not fit 3 groups", lambda: gc.conv(IMAGE, kernel(4, 1, 3, 3), groups=3)),
    (ShapeError, r"a window of 9.*8 \+ 0 \+ 0.*// stride \+ 1",
     lambda: gc.conv(IMAGE, kernel(4, 3, 9, 3))),
    (ShapeError, r"a window of 9 \(dilation .*= 4 \* \(3 - 1\) \+ 1\)",
     lambda: gc.conv(IMAGE, K, dilation=4)),
    (ShapeError, r"axes", lambda: gc.conv(gc.zeros((3, 8, 8)), K)),
    (ShapeError, r"axes", lambda: gc.conv(gc.zeros((8, 8)), gc.zeros((2, 2)))),
    (ArgumentError, r"not a stride", lambda: gc.conv(IMAGE, K, stride=0)),
    (ArgumentError, r"not a stride", lambda: gc.conv(IMAGE, K, stride=(1, 2, 1))),
    (ArgumentError, r"not a dilation", lambda: gc.conv(IMAGE, K, dilation=0)),
    (ArgumentError, r"not a dilation", lambda: gc.conv(IMAGE, K, dilation=1.5)),
    (ArgumentError, r"unknown padding", lambda: gc.conv(IMAGE, K, padding="full")),
    (ArgumentError, r"unknown padding", lambda: gc.conv(IMAGE, K, padding=-1)),
    (ArgumentError, r"unknown padding", lambda: gc.conv(IMAGE, K, padding=[1, 2, 3])),
    (ArgumentError, r"unknown data format", lambda: gc.conv(IMAGE, K, data_format="CHWN")),
    (ArgumentError, r"groups", lambda: gc.conv(IMAGE, K, groups=0)),
    (DTypeError, r"one numeric dtype", lambda: gc.conv(IMAGE > 0, K > 0)),
    (ShapeError, r"window of 3", lambda: gc.windows(gc.zeros((2,)), 3)),
    (ArgumentError, r"size 0", lambda: gc.windows(gc.zeros((2,)), 0)),
    (ShapeError, r"given twice", lambda: gc.windows(gc.zeros((4, 4)), (2, 2), (0, 0))),
    (ShapeError, r"number of windows", lambda: gc.fold_windows(gc.zeros((3, 2)), 5)),
    (ArgumentError, r"nothing but padding", lambda: gc.max_pool(IMAGE, 2, padding=2)),
    (ArgumentError, r"not a size of a window", lambda: gc.max_pool(IMAGE, 0)),
    (ShapeError, r"max_pool: a window of 9.*8 \+ 0 \+ 0", lambda: gc.max_pool(IMAGE, 9)),
    (ShapeError, r"avg_pool: a window of 9.*8 \+ 0 \+ 0", lambda: gc.avg_pool(IMAGE, (2, 9))),
    (ArgumentError, r"conv_transpose: an output padding",
     lambda: gc.conv_transpose(IMAGE, kernel(3, 2, 3, 3), output_padding=1)),
    (ShapeError, r"conv_transpose: channels do not fit the kernel",
     lambda: gc.conv_transpose(IMAGE, kernel(4, 2, 3, 3))),
    (ShapeError, r"conv_transpose: channels do not fit 2 groups",
     lambda: gc.conv_transpose(IMAGE, kernel(3, 2, 3, 3), groups=2)),
    (DTypeError, r"not numbers", lambda: gc.max_pool(IMAGE > 0, 2)),
    (ArgumentError, r"unknown mode", lambda: gc.pad(IMAGE, 1, "mirror")),
    (ShapeError, r"without elements", lambda: gc.pad(gc.zeros((0,)), 1, "edge")),
    (ArgumentError, r"unknown mode", lambda: gc.interpolate(IMAGE, 4, mode="cubic")),
    (ArgumentError, r"size or a scale", lambda: gc.interpolate(IMAGE)),
    (ArgumentError, r"not a size for each", lambda: gc.interpolate(IMAGE, (4, 4, 4))),
)  # fmt: skip


@pytest.mark.parametrize("case", REFUSED, ids=lambda c: c[1])
def test_bad_input(case: tuple[type[GraphcError], str, Callable[[], Any]]) -> None:
    kind, message, call = case
    with pytest.raises(kind, match=message) as caught:
        call()
    assert caught.value.op
    assert "test_windows.py" in str(caught.value)


def test_a_named_size_that_is_too_small_is_an_error_at_the_call() -> None:
    with pytest.raises(ShapeError, match="h"):
        _layers_valid()(images(1, 3, 2, 5), images(4, 3, 3, 3))


def _layers_valid() -> Callable[..., Any]:
    return gc.compile([X, W], gc.conv(X, W), target="reference")


# -- how they read ---------------------------------------------------------------------------------
def test_it_reads_as_a_convolution() -> None:
    y = gc.conv(IMAGE, K)
    assert r"\ast" in gc.latex(y)
    assert "∗" in gc.draw(y).source
    assert "conv " in gc.print_graph(gc.Graph([IMAGE, K], [y])).replace("\n", " ")


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_pooling_takes_bias_and_activation_in(golden: Any, layout: str) -> None:
    """One kernel, in either layout: what is pooled is not stored."""
    last = layout == "NHWC"
    h = gc.placeholder("win_h", ("n", 8, 8, 16) if last else ("n", 16, 8, 8))
    b = gc.placeholder("win_bias", (16,) if last else (16, 1, 1))
    made = gc.compile([h, b], gc.max_pool(gc.relu(h + b), 2, data_format=layout))
    golden(f"kernels/max_pool_{layout.lower()}", made.source)
