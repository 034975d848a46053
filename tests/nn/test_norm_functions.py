"""Normalisations as functions: by NumPy's formulas; and what batch norm's training step becomes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, DTypeError, ShapeError
from tests.ops.gradients import assert_gradient

RNG = np.random.default_rng(12)


def by_numpy(x: Any, axes: tuple[int, ...], epsilon: float) -> Any:
    spread = x.var(axis=axes, keepdims=True)
    return (x - x.mean(axis=axes, keepdims=True)) / np.sqrt(spread + epsilon)


def grouped(x: Any, groups: int, epsilon: float) -> Any:
    """Of images [n, c, h, w], group by group."""
    parts = np.split(x, groups, axis=1)
    return np.concatenate([by_numpy(part, (1, 2, 3), epsilon) for part in parts], axis=1)


def column(v: Any) -> Any:
    return v[:, None, None]


X, GAMMA, BETA = RNG.normal(1, 2, (3, 4, 2, 5)), RNG.normal(size=4), RNG.normal(size=4)
ROW, SHIFT = RNG.normal(size=5), RNG.normal(size=5)
MEAN, VARIANCE = RNG.normal(size=4), RNG.uniform(0.5, 2, 4)
AFFINE = (column(GAMMA), column(BETA))

CASES: list[tuple[Callable[..., Any], tuple[Any, ...], Callable[[Any], Any]]] = [
    (
        lambda x, g, b: gc.nn.layer_norm(x, g, b),
        (ROW, SHIFT),
        lambda x: by_numpy(x, (3,), 1e-5) * ROW + SHIFT,
    ),
    (
        lambda x, g: gc.nn.layer_norm(x, g, axis=1, epsilon=0.1),
        (GAMMA,),
        lambda x: by_numpy(x, (1,), 0.1) * AFFINE[0],
    ),
    (
        lambda x, g: gc.nn.rms_norm(x, g, epsilon=0.2),
        (ROW,),
        lambda x: x / np.sqrt((x * x).mean(-1, keepdims=True) + 0.2) * ROW,
    ),
    (
        lambda x, g, b: gc.nn.group_norm(x, 2, g, b),
        (GAMMA, BETA),
        lambda x: grouped(x, 2, 1e-5) * AFFINE[0] + AFFINE[1],
    ),
    (lambda x: gc.nn.instance_norm(x), (), lambda x: by_numpy(x, (2, 3), 1e-5)),
    (
        lambda x, g, b: gc.nn.batch_norm(x, g, b, epsilon=0.01),
        (GAMMA, BETA),
        lambda x: by_numpy(x, (0, 2, 3), 0.01) * AFFINE[0] + AFFINE[1],
    ),
    (
        lambda x, m, v: gc.nn.batch_norm(x, mean=m, variance=v),
        (MEAN, VARIANCE),
        lambda x: (x - column(MEAN)) / np.sqrt(column(VARIANCE) + 1e-5),
    ),
    (
        lambda x: gc.stack(gc.nn.batch_statistics(x, axis=1)),
        (),
        lambda x: np.stack([x.mean((0, 2, 3)), x.var((0, 2, 3))]),
    ),
]


@pytest.mark.parametrize("case", range(len(CASES)))
def test_values_and_gradients(case: int) -> None:
    call, values, meant = CASES[case]
    x = gc.placeholder("normed", ("n", 4, "h", 5), "float64")
    given = [gc.placeholder(f"of_norm{i}", v.shape, "float64") for i, v in enumerate(values)]
    y = call(x, *given)
    feeds = dict(zip([x, *given], [X, *values], strict=True))
    np.testing.assert_allclose(gc.evaluate(y, feeds), meant(X), rtol=1e-12)
    assert_gradient(gc.sum(gc.tanh(y) * y), feeds, 1e-5)


def test_layers_are_these_functions() -> None:
    x = gc.placeholder("of_layers", (3, 4, 2, 2))
    layers = [gc.nn.GroupNorm(2), gc.nn.InstanceNorm(), gc.nn.BatchNorm(), gc.nn.LayerNorm()]
    made = [layer(x, training=True) for layer in layers]
    group, instance, batch, row = (tuple(layer.parameters()) for layer in layers)
    assert made[0] is gc.nn.group_norm(x, 2, *group)
    assert made[1] is gc.nn.instance_norm(x, *instance)
    assert made[2] is gc.nn.batch_norm(x, *batch, epsilon=1e-3)
    assert made[3] is gc.nn.layer_norm(x, *row)


def test_kernels_of_a_training_step_of_batch_norm(golden: Callable[[str, str], None]) -> None:
    """Forward, backward and the moving statistics."""
    x, r = (gc.placeholder(f"batch_{c}", ("n", 8, "h", "w")) for c in "xr")
    model = gc.nn.Sequential([gc.nn.BatchNorm()])
    y = model(x, training=True)
    wanted = gc.grad(gc.sum(y * r), [x, *model.parameters()])
    step = gc.compile([x, r], [y, *wanted], updates=model.updates(y), name="batch_norm_step")
    golden("kernels/batch_norm_step", step.source)


IMAGES, SIX = gc.placeholder("norm_images", (2, 6, 3, 3)), np.ones(6, "float32")


@pytest.mark.parametrize(
    ("wrong", "kind", "message"),
    [
        (lambda: gc.nn.group_norm(IMAGES, 4), ArgumentError, "a multiple of 4 channels"),
        (lambda: gc.nn.group_norm(IMAGES, 0), ArgumentError, "positive int"),
        (lambda: gc.nn.layer_norm(IMAGES, SIX), ShapeError, "gamma does not fit axis 3"),
        (lambda: gc.nn.layer_norm(IMAGES, axis=4), ShapeError, "axis"),
        (lambda: gc.nn.layer_norm(IMAGES, epsilon=-1), ArgumentError, "epsilon"),
        (lambda: gc.nn.batch_norm(IMAGES, mean=SIX), ArgumentError, "belong together"),
        (lambda: gc.nn.batch_norm(IMAGES, axis=0), ArgumentError, "axis of channels"),
        (lambda: gc.nn.rms_norm(gc.astype(IMAGES, "int32")), DTypeError, "rms_norm"),
    ],
)
def test_refusals(wrong: Any, kind: Any, message: str) -> None:
    with pytest.raises(kind, match=message):
        wrong()
