"""Turns of a loop together: what neighbouring windows share is loaded once, and values stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.fusion.turns import LENGTH
from graphc.ir.graph import Graph
from graphc.loops.grammar import For, Kernel, Load, Store, statements
from graphc.lower.numba_source import print_for_numba, print_kernel
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.program import Call, walk_steps
from tests.image_samples import conv
from tests.properties.kernels import check_program

Array = np.ndarray[Any, Any]


def arrays(*shapes: tuple[int, ...]) -> list[Array]:
    random = np.random.default_rng(0)
    return [random.standard_normal(s).astype("float32") for s in shapes]


def depthwise(width: int, stride: int = 1) -> tuple[list[gc.Tensor], gc.Tensor]:
    x, w = gc.placeholder("turns_x", ("n", 6, width, 16)), gc.placeholder("turns_w", (3, 3, 1, 16))
    y = gc.conv(x, w, groups=16, padding=1, stride=stride, data_format="NHWC")
    return [x, w], y


def kernels(inputs: list[gc.Tensor], outputs: Any) -> list[Kernel]:
    made = outputs if isinstance(outputs, list) else [outputs]
    steps = walk_steps(run_pipeline(Graph(inputs, made), Stages()).program.steps)
    return [s.kernel for s in steps if isinstance(s, Call)]


def loads(kernel: Kernel) -> int:
    return sum(isinstance(s, Load) for s in statements(kernel.body))


def innermost(kernel: Kernel) -> For:
    """The loop that reads most."""
    loops = [s for s in statements(kernel.body) if isinstance(s, For)]
    return max(loops, key=lambda loop: sum(isinstance(s, Load) for s in loop.body))


def extents(kernel: Kernel) -> list[str]:
    return [str(s.extent) for s in statements(kernel.body) if isinstance(s, For)]


# Widths of what is made, and how many of its places are together.
@pytest.mark.parametrize(("width", "together"), [(4, 4), (7, 1), (10, 5), (28, 4)])
def test_places_of_a_row_are_together_that_divide_it(width: int, together: int) -> None:
    """Of four places, 18 elements of the image are loaded, and 9 of the kernel."""
    inputs, y = depthwise(width)
    (kernel,) = [k for k in kernels(inputs, y) if loads(k) > 1]
    if together == 1:
        assert extents(kernel)[1:] == ["6", "7", "16"], "its window is written out"
    else:
        assert extents(kernel)[2:] == [str(width // together), "16"]
        assert loads(kernel) in (3 * (together + 2) + 9, 3 * (together + 2) + 8)


@pytest.mark.parametrize(("width", "stride"), [(6, 1), (8, 2)])
def test_depthwise_values_and_gradients(width: int, stride: int) -> None:
    """Against the convolution by hand in NumPy, which is linear in each operand."""
    inputs, y = depthwise(width, stride)
    a, b = arrays((2, 6, width, 16), (3, 3, 1, 16))
    g = gc.placeholder("turns_g", y.shape)
    step = gc.compile([*inputs, g], [y, *gc.vjp(y, inputs, g)])

    def by_hand(x: Array, w: Array) -> Array:
        steps = (stride, stride), ((1, 1), (1, 1)), (1, 1)
        wide = x.astype("float64").transpose(0, 3, 1, 2), w.astype("float64").transpose(3, 2, 0, 1)
        return np.asarray(conv(*wide, *steps, groups=16)).transpose(0, 2, 3, 1)

    meant = by_hand(a, b)
    c = np.random.default_rng(1).standard_normal(meant.shape).astype("float32")
    made, by_x, by_w = step(a, b, c)
    np.testing.assert_allclose(made, meant, rtol=1e-4, atol=1e-4)
    (d,), (e,) = arrays(a.shape), arrays(b.shape)
    d, e = d[::-1], e[::-1]
    assert (by_x * d).sum() == pytest.approx((c * by_hand(d, b)).sum(), rel=1e-4)
    assert (by_w * e).sum() == pytest.approx((c * by_hand(a, e)).sum(), rel=1e-4)


def test_sums_over_a_row_are_added_up_before_they_go_to_memory() -> None:
    """By the kernel there are nine sums for each channel: of four places they get one number."""
    inputs, y = depthwise(8)
    (gradient,) = gc.grad(gc.sum(y * y), inputs[1:])
    (kernel,) = [k for k in kernels(inputs, gradient) if loads(k) > 20]
    assert sum(isinstance(s, Store) for s in innermost(kernel).body) == 9


def test_a_stencil_of_slices() -> None:
    """Nothing is known of convolutions: it is the places that are read."""
    x = gc.placeholder("turns_s", ("n", 10, 12))
    parts = [x[:, 1 + i : 9 + i, 2 + j : 10 + j] for i in (-1, 0, 1) for j in (-2, 0, 2)]
    y = gc.tanh(sum(parts[1:], parts[0]) * 0.1)
    (kernel,) = kernels([x], y)
    assert extents(kernel)[1:] == ["1", "8"]
    assert loads(kernel) == 3 * (8 + 2)
    (a,) = arrays((3, 10, 12))
    np.testing.assert_allclose(gc.compile([x], y)(a), gc.evaluate(y, {x: a}), rtol=1e-5, atol=1e-6)


def test_what_follows_a_window_and_sums_of_it() -> None:
    """Stages: a bias and an activation behind each place, and a sum over all of them."""
    inputs, y = depthwise(4)
    z = gc.relu(y + gc.mean(inputs[1], axis=(0, 1, 2)))
    outputs = [z, gc.sum(z, axis=(0, 1, 2)), gc.max(z, axis=(1, 2))]
    a, b = arrays((2, 6, 4, 16), (3, 3, 1, 16))
    feeds = dict(zip(inputs, (a, b), strict=True))
    for found, meant in zip(
        gc.compile(inputs, outputs)(a, b), gc.evaluate(outputs, feeds), strict=True
    ):
        np.testing.assert_allclose(found, meant, rtol=1e-4, atol=1e-4)


def test_the_loop_ir_and_its_source_mean_the_same() -> None:
    x, w = gc.placeholder("turns_i", (1, 3, 4, 2)), gc.placeholder("turns_k", (3, 3, 1, 2))
    y = gc.conv(x, w, groups=2, padding=1, data_format="NHWC")
    graph = Graph([x, w], [y, *gc.grad(gc.sum(y * y), [x, w])])
    assert check_program(graph, [arrays((1, 3, 4, 2), (3, 3, 1, 2))], "turns") > 2


def test_kernels_stay_short() -> None:
    """With 5 x 5 places two are together, and with 7 x 7 none."""
    for window in (5, 7):
        x = gc.placeholder("turns_l", ("n", 12, 12, 16))
        w = gc.placeholder(f"turns_{window}", (window, window, 1, 16))
        y = gc.conv(x, w, groups=16, padding="same", data_format="NHWC")
        for kernel in kernels([x, w], y):
            assert sum(1 for _ in statements(kernel.body)) <= LENGTH


# -- borders ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("width", [7, 8])
def test_a_border_is_a_row_of_zeros(width: int) -> None:
    """Nothing is copied to put it around the image, and no loop over channels has a condition."""
    inputs, y = depthwise(width)
    (kernel,) = kernels(inputs, y)
    text = print_for_numba(kernel)
    assert " if " in print_kernel(kernel)
    assert " if " not in text
    assert text.count("= row(") >= 6
    a, b = arrays((2, 6, width, 16), (3, 3, 1, 16))
    a[0, 0, 0], a[1, 5, -1], a[1, 3, 3] = np.nan, np.inf, -np.inf
    meant = gc.evaluate(y, dict(zip(inputs, (a, b), strict=True)))
    np.testing.assert_allclose(gc.compile(inputs, y)(a, b), meant, rtol=1e-4, atol=1e-4)


def test_rows_that_are_long_or_of_named_sizes_are_copied_with_their_border() -> None:
    """There are so many zeros only; and a loop that asks at each turn is no vector."""
    for channels in (1040, "c"):
        x = gc.placeholder("turns_c", ("n", 6, 6, channels))
        w = gc.placeholder("turns_d", (3, 3, channels))
        wide = gc.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        y = sum((wide[:, i : i + 6, j : j + 6] * w[i, j] for i in range(3) for j in range(3)), 0)
        assert len(kernels([x, w], y)) == 2


def test_a_border_along_rows_is_copied() -> None:
    x = gc.placeholder("turns_r", ("n", 6, 10))
    wide = gc.pad(x, ((0, 0), (1, 1), (2, 2)))
    y = sum((wide[:, i : i + 6, j : j + 10] for i in range(3) for j in range(5)), 0)
    assert len(kernels([x], gc.tanh(y))) == 2
