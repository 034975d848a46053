"""Convolutions by products that read windows in place: values, sizes, what is merged."""

from __future__ import annotations

import ctypes
import itertools
import math
import re
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.ir.graph import Graph
from graphc.lower.driver import print_driver
from graphc.passes.canonical import expand_composites
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.program import Blocks, Gemm, walk_steps
from graphc.runtime import executable
from tests.image_samples import conv

NUMBER = ctypes.c_int64
SPAN = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, NUMBER, NUMBER)
SHARE = ctypes.CFUNCTYPE(None, SPAN, ctypes.c_void_p, NUMBER, NUMBER, NUMBER, NUMBER)

X = gc.placeholder("conv_x", ("n", "h", 6, 16))
W = gc.placeholder("conv_w", (3, 3, 16, 8))


def layer(**options: Any) -> gc.Tensor:
    return gc.conv(X, W, data_format="NHWC", **options)


def arrays(n: int, h: int) -> tuple[Any, Any]:
    random = np.random.default_rng(n + h)
    x = random.standard_normal((n, h, 6, 16)).astype("float32")
    return x, random.standard_normal((3, 3, 16, 8)).astype("float32")


def expected(x: Any, w: Any, stride: int, pad: int, dilation: int) -> Any:
    steps = (stride, stride), ((pad, pad), (pad, pad)), (dilation, dilation)
    return conv(x.transpose(0, 3, 1, 2), w.transpose(3, 2, 0, 1), *steps).transpose(0, 2, 3, 1)


def with_gradients(made: gc.Tensor) -> list[gc.Tensor]:
    return [made, *gc.grad(gc.sum(gc.tanh(made * 0.05)), [X, W])]


@pytest.mark.parametrize("own", [True, False])
def test_values_and_gradients(own: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """By our routine, and where the processor has none; of no images the gradient is zero."""
    if not own:
        monkeypatch.setattr(executable, "product_addresses", lambda bits: (0, 0))
    wanted = [t for s, p, d in ((1, 1, 1), (2, 1, 1), (1, 2, 2))
              for t in with_gradients(layer(stride=s, padding=p, dilation=d))]  # fmt: skip
    step = gc.compile([X, W], wanted, name="own" if own else "plain")
    for n, h in ((2, 5), (1, 3), (0, 4)):
        x, w = arrays(n, h)
        found = step(x, w)
        for i, options in enumerate(((1, 1, 1), (2, 1, 1), (1, 2, 2))):
            np.testing.assert_allclose(found[3 * i], expected(x, w, *options), rtol=1e-4, atol=1e-4)
        for value, meant in zip(found, gc.evaluate(wanted, {X: x, W: w}), strict=True):
            np.testing.assert_allclose(value, meant, rtol=1e-3, atol=1e-3)


def test_any_number_of_threads_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    x = gc.placeholder("conv_t", (4, 20, 20, 32))
    w = gc.placeholder("conv_u", (3, 3, 32, 32))
    made = gc.relu(gc.conv(x, w, padding=1, data_format="NHWC"))
    random = np.random.default_rng(0)
    a = random.standard_normal((4, 20, 20, 32)).astype("float32")
    b = random.standard_normal((3, 3, 32, 32)).astype("float32")
    found = []
    for threads in ("1", "2", "3"):  # chunks of rows that begin inside of a product
        monkeypatch.setenv("GRAPHC_NUM_THREADS", threads)
        step = gc.compile([x, w], [made, *gc.grad(gc.sum(made * made), [x, w])])
        found.append([np.asarray(v).tobytes() for v in step(a, b)])
    assert found[0] == found[1] == found[2]


def test_threads_share_the_convolution_and_both_gradients() -> None:
    """Each of the three sums of products is a range that the pool is given."""
    x, w = gc.placeholder("conv_t", (4, 20, 20, 32)), gc.placeholder("conv_u", (3, 3, 32, 32))
    g = gc.placeholder("conv_o", (4, 20, 20, 32))
    y = gc.conv(x, w, padding=1, data_format="NHWC")
    program = run_pipeline(Graph([x, w, g], [y, *gc.vjp(y, [x, w], g)]), Stages()).program
    sums = [s for s in walk_steps(program.steps) if isinstance(s, Gemm)]
    text = print_driver(program, 32).text
    assert len(sums) == 3
    assert len(set(re.findall(r"call void %v\d+\(ptr (@rows\d+), ptr %words", text))) == 3


def test_threads_cut_as_few_sums_as_they_can(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient by a kernel of 3 x 3 is three sums, of 96 rows here: what is begun inside of one
    reads all of its operands again."""
    units: dict[int, int] = {}

    @SHARE
    def share(span: Any, words: int, begin: int, end: int, unit: int, threads: int) -> None:
        if end - begin == 3 * 96:
            units[threads] = unit
        span(words, begin, end)

    address = ctypes.cast(share, ctypes.c_void_p).value
    monkeypatch.setattr("graphc.runtime.threads.share_address", lambda: address)
    x, w = gc.placeholder("conv_t", (4, 20, 20, 32)), gc.placeholder("conv_u", (3, 3, 32, 32))
    g = gc.placeholder("conv_o", (4, 20, 20, 32))
    by_kernel = gc.vjp(gc.conv(x, w, padding=1, data_format="NHWC"), w, g)
    random = np.random.default_rng(0)
    a, b = random.standard_normal((2, 4, 20, 20, 32)).astype("float32")
    found = []
    for threads in (2, 3, 4, 5):
        monkeypatch.setenv("GRAPHC_NUM_THREADS", str(threads))
        found.append(gc.compile([x, g], by_kernel)(a, b))
    assert units == {2: 48, 3: 96, 4: 24, 5: 8}
    np.testing.assert_allclose(found[0], gc.evaluate(by_kernel, {x: a, g: b}), rtol=1e-3, atol=1e-3)
    assert all(np.array_equal(found[0], other) for other in found)


# -- what is merged, and what is copied ------------------------------------------------------------
def steps_of(outputs: Any) -> list[Any]:
    made = outputs if isinstance(outputs, list) else [outputs]
    return list(walk_steps(run_pipeline(Graph([X, W], made), Stages()).program.steps))


def test_rows_of_windows_are_long_rows_and_nothing_is_copied() -> None:
    """A product for each row of the result, over the rows of a window; the kernel behind it runs on
    each. Of memory there is none but for the result."""
    (blocks, product, _) = steps_of(gc.relu(layer() + 1.0))
    assert isinstance(blocks, Blocks)
    assert (product.m, product.k, product.n, product.taps) == (4, 3 * 16, 8, (3,))
    assert [str(s) for s in product.batch] == ["n", "h - 2"]
    assert product.a.leading == 16  # the next window begins within this one


def test_a_dilated_window_has_gaps() -> None:
    (product,) = [s for s in steps_of(layer(dilation=2)) if isinstance(s, Gemm)]
    assert (product.k, product.taps) == (16, (3, 3))


def test_by_the_kernel_the_roles_are_exchanged() -> None:
    made = layer()
    (gradient,) = gc.grad(gc.sum(made * made), [W])
    product = [s for s in steps_of([gradient]) if isinstance(s, Gemm)][-1]
    assert (product.m, product.k, product.n) == (3 * 16, 4, 8)
    assert (product.batch, [str(s) for s in product.taps]) == ((3,), ["n", "h - 2"])


def test_few_channels_are_copied() -> None:
    x = gc.placeholder("conv_few", (2, 8, 8, 1))
    made = gc.conv(x, gc.ones((3, 3, 1, 8)), data_format="NHWC")
    steps = walk_steps(run_pipeline(Graph([x], [made]), Stages()).program.steps)
    assert not any(isinstance(s, Gemm) and s.taps for s in steps)


def test_where_windows_are_copied_the_product_is_a_convolution_too() -> None:
    x, w = gc.placeholder("conv_copied", ("n", 1, 8, 8)), gc.placeholder("conv_own", (8, 1, 3, 3))
    y = gc.tanh(gc.conv(x, w, padding=1))
    step = gc.compile([x, w], [y, gc.grad(gc.sum(y), w)])
    products = [s.name for s in step.cost().steps if s.kind.startswith("product")]
    assert [name.partition(",")[0] for name in products] == ["convolution"] * 2
    assert str(step.explain()).count("  convolution, matrix product, ") == 2
    other = gc.compile([x], gc.reshape(x, ("n", 64)) @ gc.ones((64, 3)))
    assert [s.name for s in other.cost().steps if s.kind == "product"] == ["matmul"]


def test_a_step_says_that_it_is_a_convolution() -> None:
    step = gc.compile([X, W], gc.conv(X, W, data_format="NHWC"))
    (cost,) = step.cost().steps
    assert (cost.name, cost.kind) == ("convolution", "product")
    assert str(cost.flops) == str(2 * 3 * 3 * 16 * 8 * 4 * gc.dim("n") * (gc.dim("h") - 2))
    assert "  convolution, 3 x a matrix product, " in str(step.explain())


@pytest.mark.parametrize(("stride", "made"), [(1, 4), (2, 4), (1, 8)])
def test_depthwise(stride: int, made: int) -> None:
    """Channels apart: no product of matrices, and the gradients of all of them."""
    x, w = gc.placeholder("conv_d", ("n", 5, 6, 4)), gc.placeholder("conv_e", (3, 2, 1, made))
    y = gc.conv(x, w, groups=4, padding="same", stride=stride, data_format="NHWC")
    wanted = [y, *gc.grad(gc.sum(gc.tanh(y)), [x, w])]
    step = gc.compile([x, w], wanted)
    assert all(s.kind == "kernel" for s in step.cost().steps)
    random = np.random.default_rng(0)
    b = random.standard_normal((3, 2, 1, made)).astype("float32")
    for n in (2, 0):
        a = random.standard_normal((n, 5, 6, 4)).astype("float32")
        for value, meant in zip(step(a, b), gc.evaluate(wanted, {x: a, w: b}), strict=True):
            np.testing.assert_allclose(value, meant, rtol=1e-4, atol=1e-4)


def test_distances_within_windows_are_in_the_code() -> None:
    """So one pointer reaches all places of a window. What reads an element at a time takes sizes
    that are longer as parameters, and is one kernel for all of them."""
    x, w = gc.placeholder("conv_v", ("n", 9, 9, 80)), gc.placeholder("conv_j", (3, 3, 1, 80))
    y = gc.conv(x, w, groups=80, padding="same", data_format="NHWC")
    step = gc.compile([x, w], [y, *gc.grad(gc.sum(y * y), [x, w])])
    heads = {k.source.splitlines()[0]: k.source for k in step.kernels}
    windows = [source for source in heads.values() if source.count("= b0[") >= 9]
    assert windows
    read = [line for source in windows for line in source.splitlines() if "= b0[" in line]
    assert all("* s" not in line for line in read)
    assert any("s0" in head for head in heads)


@pytest.mark.parametrize("stride", [1, 2])
def test_groups_are_read_in_place(stride: int) -> None:
    """Each group is a sum of products, forward and by both operands."""
    x, w = gc.placeholder("conv_r", ("n", 7, 6, 24)), gc.placeholder("conv_s", (3, 3, 8, 48))
    y = gc.conv(x, w, groups=3, padding=1, stride=stride, data_format="NHWC")
    wanted = [y, *gc.grad(gc.sum(gc.tanh(y * 0.05)), [x, w])]
    step = gc.compile([x, w], wanted)
    products = {s.name for s in step.cost().steps if s.kind == "product"}
    assert products == {"convolution"}
    random = np.random.default_rng(0)
    a = random.standard_normal((2, 7, 6, 24)).astype("float32")
    b = random.standard_normal((3, 3, 8, 48)).astype("float32")
    found = step(a, b)
    steps = (stride, stride), ((1, 1), (1, 1)), (1, 1)
    meant = conv(a.transpose(0, 3, 1, 2), b.transpose(3, 2, 0, 1), *steps, groups=3)
    np.testing.assert_allclose(found[0], meant.transpose(0, 2, 3, 1), rtol=1e-4, atol=1e-4)
    for value, exact in zip(found, gc.evaluate(wanted, {x: a, w: b}), strict=True):
        np.testing.assert_allclose(value, exact, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("window", "options"),
    [((3, 3), {"stride": 2, "padding": 1}), ((3, 2), {"stride": 3}), ((1, 1), {"stride": 2}),
     ((2, 2), {"padding": 3})],
)  # fmt: skip
def test_by_the_image_in_phases(window: tuple[int, int], options: dict[str, Any]) -> None:
    """Windows some places apart: each remainder of places is a convolution of its own; where the
    padding is wider than windows, there is one."""
    x, w = gc.placeholder("conv_p", (2, "h", 7, 16)), gc.placeholder("conv_q", (*window, 16, 32))
    y = gc.conv(x, w, data_format="NHWC", **options)
    g = gc.placeholder("conv_g", y.shape)
    back = gc.vjp(y, x, g)
    step = gc.compile([x, w, g], back)
    names = [s.name for s in step.cost().steps if s.kind == "product"]
    assert set(names) == {"convolution"}
    random = np.random.default_rng(0)
    for h in (6, 5):
        a = random.standard_normal((2, h, 7, 16)).astype("float32")
        b = random.standard_normal((*window, 16, 32)).astype("float32")
        shape = gc.evaluate(y, {x: a, w: b}).shape
        c = random.standard_normal(shape).astype("float32")
        meant = gc.evaluate(back, {x: a, w: b, g: c})
        np.testing.assert_allclose(step(a, b, c), meant, rtol=1e-3, atol=1e-3)


def test_phases_are_those_of_the_image() -> None:
    """Interpreted, at all small sizes, padding wider than windows too; and of known sizes no place
    is computed that is cut off."""
    random = np.random.default_rng(0)
    cases = itertools.product((1, 2, 5, 6), (1, 2, 3), (2, 3), (0, 1, 4), (0, 3))
    for size, window, stride, before, after in cases:
        if before + size + after < window:
            continue
        x = gc.placeholder("conv_h", (2, size, 3, 8))
        w = gc.placeholder("conv_w1", (window, 1, 8, 32))
        pads = ((before, after), (0, 0))
        y = gc.conv(x, w, stride=(stride, 1), padding=pads, data_format="NHWC")
        g = gc.placeholder("conv_g1", y.shape)
        back = gc.vjp(y, x, g)
        (expanded,) = expand_composites(Graph([g, w], [back])).outputs
        arrays = {t: random.standard_normal(t.shape).astype("float32") for t in (g, w)}  # type: ignore[arg-type]
        meant = gc.evaluate(back, {**arrays, x: np.zeros((2, size, 3, 8), "float32")})
        np.testing.assert_allclose(gc.evaluate(expanded, arrays), meant, rtol=1e-4, atol=1e-4)
    x, w = gc.placeholder("conv_h", (2, 28, 28, 16)), gc.placeholder("conv_w3", (3, 3, 16, 32))
    y = gc.conv(x, w, stride=2, padding=1, data_format="NHWC")
    program = run_pipeline(Graph([x, w], [gc.vjp(y, x, gc.ones(y.shape))]), Stages()).program
    products = [s for s in walk_steps(program.steps) if isinstance(s, Gemm)]
    assert [math.prod((s.m, *s.batch)) for s in products] == [2 * 14 * 14] * 4
