"""fuse: which ops become one kernel. Goldens show whole graphs; tests count regions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.ir.op import Kind
from tests.compiling import agree

D = "float64"
rng = np.random.default_rng(0)


def mlp_step() -> Any:
    """A training step with momentum: inputs, loss, updates."""
    x, y = gc.placeholder("x", ("n", 6)), gc.placeholder("y", ("n",), "int64")
    w1, b1, w2 = (
        gc.variable(np.ones(s, "f4"), name=name)
        for name, s in (("w1", (6, 8)), ("b1", (8,)), ("w2", (8, 4)))
    )
    h = gc.relu(x @ w1 + b1)
    loss = gc.mean(gc.nn.losses.softmax_cross_entropy(h @ w2, y))
    updates = {}
    for w, g in zip((w1, b1, w2), gc.grad(loss, [w1, b1, w2]), strict=True):
        m = gc.variable(np.zeros(w.shape, "f4"), name=f"m_{w.name}")
        step = 0.9 * m + g
        updates |= {m: step, w: w - 0.1 * step}
    return [x, y], loss, updates


def regions(function: Any) -> list[Any]:
    return [n for n in function.optimized.nodes if n.op.kind is Kind.REGION]


def test_a_training_step(golden: Any) -> None:
    golden("fuse/mlp_step", str(gc.compile(*mlp_step(), name="step").optimized))


X, V = gc.placeholder("x", ("n", 5), D), gc.placeholder("v", (5,), D)
ROW = gc.placeholder("r", ("n",), D)
CASES: dict[str, tuple[int, Any]] = {
    "elementwise chain": (1, lambda: gc.tanh(X * 2 + V) - gc.exp(X)),
    "several outputs of one space": (1, lambda: [gc.tanh(X), gc.exp(X) * V]),
    "softmax": (1, lambda: gc.softmax(X, axis=1)),
    "layer norm": (
        1,
        lambda: (
            (X - gc.mean(X, axis=1, keepdims=True)) / gc.sqrt(gc.var(X, axis=1, keepdims=True) + 1)
        ),
    ),
    "sum of rows, then of all": (1, lambda: gc.mean(gc.sum(X * X, axis=1))),
    "moved elements are read through": (1, lambda: X.T + gc.broadcast_to(ROW, (5, "n"))),
    "a sum over the first axis": (1, lambda: gc.sum(gc.tanh(X), axis=0)),
    "one use elsewhere is computed there": (1, lambda: gc.tanh(X)[::-1] + gc.exp(X)),
    "two uses elsewhere wait": (2, lambda: gc.tanh(X)[::-1] + gc.tanh(X)[:, ::-1]),
    "a sum over rows used over columns": (2, lambda: X - gc.sum(gc.tanh(X), axis=0)),
    "a product between": (2, lambda: gc.tanh(gc.tanh(X) @ gc.constant(np.eye(5, 4), D))),
    "a product with a vector is a loop": (1, lambda: gc.tanh(gc.tanh(X) @ gc.reshape(V, (5, 1)))),
    "nothing to compute": (1, lambda: X.T),
    "an input": (0, lambda: X),
}


@pytest.mark.parametrize("case", CASES)
def test_regions(case: str) -> None:
    count, build = CASES[case]
    calls = [(rng.normal(size=(n, 5)), rng.normal(size=5), rng.normal(size=n)) for n in (3, 1, 0)]
    function = agree([X, V, ROW], build(), *calls)
    assert len(regions(function)) == count, str(function.optimized)


def test_a_cheap_value_is_computed_by_its_readers_wherever_they_read_it() -> None:
    """`b * 0.5` is copied into a region in which `b` is read along the inner loop only."""
    v2, b = gc.variable(rng.normal(size=(3, 3))), gc.variable(rng.normal(size=3))
    v0, v1 = gc.variable(np.zeros((3, 3))), gc.variable(np.zeros((3, 3)))
    chosen = gc.where(v2 > b, v2, b * 0.5)
    updates = {v0: v1, v1: chosen, b: gc.sum(chosen - gc.mean(chosen), axis=1)}
    agree([], [v2, gc.softmax(b)], (), updates=updates)


def test_scalars_are_computed_although_no_loop_turns() -> None:
    s, x = gc.placeholder("s", (), D), gc.placeholder("x", ("n",), D)
    t = gc.tanh(s)
    for outputs in ([t, t + gc.sum(x)], [t, t + gc.sum(x * t), x * t]):
        agree([s, x], outputs, (2.0, rng.normal(size=3)), (2.0, np.zeros(0)))
