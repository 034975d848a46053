"""Layers of images: where channels are, first values, refusals. Numbers are in `test_torch.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, ShapeError

RNG = np.random.default_rng(9)


@pytest.mark.parametrize(
    "layer",
    [
        gc.nn.Conv2D(4, 3, 2, "same", "relu", seed=0),
        gc.nn.Conv2D(4, (2, 3), groups=2, dilation=(1, 2), seed=0),
        gc.nn.DepthwiseConv2D(2, multiplier=2, seed=0),
        gc.nn.Conv2DTranspose(2, 3, strides=2, seed=0),
        gc.nn.MaxPool2D(2),
        gc.nn.AvgPool2D(3, 1, "same"),
        gc.nn.GlobalAvgPool(),
        gc.nn.GlobalMaxPool(),
        gc.nn.ZeroPad2D(((1, 0), 2)),
        gc.nn.UpSampling2D((2, 3)),
        gc.nn.UpSampling2D(2, "bilinear"),
    ],
    ids=lambda layer: layer.name,
)
def test_formats_are_the_same_but_for_the_axes(layer: Any) -> None:
    x, y = gc.placeholder("x", ("n", 2, 6, 5)), gc.placeholder("y", ("n", 6, 5, 2))
    value = RNG.normal(size=(2, 2, 6, 5)).astype("float32")
    first = gc.evaluate(layer(x), {x: value})
    layer.data_format = "NHWC"
    last = gc.evaluate(layer(y), {y: value.transpose(0, 2, 3, 1)})
    expected = first if first.ndim == 2 else first.transpose(0, 2, 3, 1)
    np.testing.assert_allclose(last, expected, rtol=1e-5, atol=1e-6)


def test_causal_results_do_not_see_later_times() -> None:
    x = gc.placeholder("x", (1, 7, 2), "float64")
    layer = gc.nn.Conv1D(3, 3, padding="causal", dilation=2, data_format="NHWC", seed=0)
    y = layer(x)
    assert y.shape == (1, 7, 3)
    slope = gc.evaluate(gc.grad(gc.sum(y[:, 4]), x), {x: RNG.normal(size=(1, 7, 2))})
    assert (np.abs(slope[0]).sum(axis=1) > 0).tolist() == [
        True,
        False,
        True,
        False,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("layer", "fan_in", "fan_out"),
    [
        (gc.nn.Conv2D(64, 5, seed=0), 8 * 25, 64 * 25),
        (gc.nn.Conv2D(64, 5, groups=4, seed=0), 2 * 25, 16 * 25),
        (gc.nn.DepthwiseConv2D(9, multiplier=8, seed=0), 81, 8 * 81),
        (gc.nn.Conv2DTranspose(64, 5, seed=0), 8 * 25, 64 * 25),
        (gc.nn.Conv1D(64, 25, seed=0), 8 * 25, 64 * 25),
    ],
    ids=lambda v: getattr(v, "name", None),
)
def test_first_values_have_the_variance_of_their_fans(
    layer: Any, fan_in: int, fan_out: int
) -> None:
    size = 1 if layer.rank == 1 else 2
    kernel = layer.init(("n", 8, *(60,) * size)).kernel.value
    limit = np.sqrt(6 / (fan_in + fan_out))
    assert 0.99 * limit < np.abs(kernel).max() <= limit
    assert kernel.std() == pytest.approx(limit / np.sqrt(3), rel=0.03)


def test_kernels_as_arrays() -> None:
    array = RNG.normal(size=(2, 3, 2, 2)).astype("float32")
    for layer in (
        gc.nn.Conv2D(2, 2, kernel_initializer=array),
        gc.nn.Conv2DTranspose(3, 2, kernel_initializer=array),
    ):
        channels = 3 if isinstance(layer, gc.nn.Conv2D) else 2
        np.testing.assert_array_equal(layer.init(("n", channels, 4, 4)).kernel.value, array)


def test_a_small_network_trains() -> None:
    """Kernels tell bars that are upright from flat ones, with batch statistics in the step."""
    images = np.zeros((16, 1, 6, 6), "float32")
    for i in range(8):
        images[i, 0, :, i % 6] = 1
        images[8 + i, 0, i % 6, :] = 1
    labels = np.repeat([0, 1], 8)
    gc.nn.seed(0)
    model = gc.nn.Sequential(
        [
            gc.nn.Conv2D(4, 3),
            gc.nn.BatchNorm(momentum=0.5),
            gc.relu,
            gc.nn.GlobalMaxPool(),
            gc.nn.Dense(2),
        ]
    )
    x, y = gc.placeholder("x", ("n", 1, 6, 6)), gc.placeholder("y", ("n",), "int64")
    loss = gc.mean(gc.nn.losses.softmax_cross_entropy(model(x, training=True), y))
    step = gc.compile([x, y], loss, updates=gc.optim.Adam(0.05).minimize(loss, model))
    for _ in range(60):
        step(images, labels)
    found = gc.evaluate(gc.argmax(model(x), axis=-1), {x: images})
    assert (found == labels).all()


@pytest.mark.parametrize(
    ("wrong", "kind", "message"),
    [
        (lambda: gc.nn.Conv2D(0, 3), ArgumentError, "positive int"),
        (lambda: gc.nn.Conv2D(3, (3, 3, 3)), ArgumentError, "than axes of space"),
        (lambda: gc.nn.Conv2D(3, 3, data_format="CHWN"), ArgumentError, "unknown data format"),
        (lambda: gc.nn.Conv2D(3, 3, groups=2).init(("n", 4, 8, 8)), ArgumentError, "do not divide"),
        (lambda: gc.nn.Conv2D(3, 3).init(("n", 4, 8)), ShapeError, "no batch of images"),
        (lambda: gc.nn.Conv2D(3, 3).init((4, 8, 8)), ShapeError, r"x\[None\]"),
        (lambda: gc.nn.Conv2D(3, 3).init(("n", "c", 8, 8)), ShapeError, "static size"),
        (lambda: gc.nn.Conv2D(3, 9).init(("n", 4, 8, 8)), ShapeError, "larger than"),
        (
            lambda: gc.nn.Conv2D(3, 3, padding="causal").init(("n", 4, 8, 8)),
            ArgumentError,
            "padding",
        ),
        (lambda: gc.nn.MaxPool2D(2).init(("n", 8, 8)), ShapeError, "no batch of images"),
        (lambda: gc.nn.GlobalAvgPool().init(("n", 8)), ShapeError, "no batch of images"),
        (lambda: gc.nn.ZeroPad2D(-1), ArgumentError, "not a padding"),
        (lambda: gc.nn.UpSampling2D(2, "cubic"), ArgumentError, "unknown mode"),
    ],
)
def test_refusals(wrong: Any, kind: Any, message: str) -> None:
    with pytest.raises(kind, match=message):
        wrong()
