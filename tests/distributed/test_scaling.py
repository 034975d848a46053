"""Predicted times of steps: the numbers of the formulas, written down again; no clock is asked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError
from graphc.machines import Speed

K, M = 300, 20
SPEED = Speed(flops=1e9, bandwidth=1e12, cache_bandwidth=1e12)  # operations take the time


@pytest.fixture(scope="module")
def step() -> Any:
    """A product forwards and one for its gradient, of [n, K] and [K, M]."""
    x = gc.placeholder("scaling_x", ("n", K))
    w = gc.variable(np.zeros((K, M), np.float32), name="scaling_w")
    loss = gc.sum(x @ w)
    return gc.compile([x], loss, updates=[(w, w - 0.1 * gc.grad(gc.sum((x @ w) ** 2), w))])


def test_a_ring(step: Any) -> None:
    network = gc.distributed.Network(latency=2e-6, bandwidth=1e8)
    found = gc.distributed.predict_scaling(step, SPEED, network, (1, 4), batch=1024)
    bytes_moved = 4 * K * M
    assert found.gradients == bytes_moved
    one, four = found.points
    assert one.communicate == 0
    assert four.communicate == pytest.approx(6 * (2e-6 + bytes_moved / 4 / 1e8), rel=1e-12)
    for point in found.points:
        products = 2 * 2 * point.rows * K * M / 1e9
        assert products <= point.compute < 1.05 * products
        assert point.seconds == point.compute + point.communicate
    assert (one.rows, four.rows) == (1024, 256)
    assert one.speedup == 1
    assert four.speedup == pytest.approx(one.seconds / four.seconds, rel=1e-12)
    assert four.efficiency == four.speedup / 4


def test_bytes_take_the_time_where_they_are_many(step: Any) -> None:
    slow = Speed(flops=1e15, bandwidth=1e9, cache_bandwidth=1e9)
    network = gc.distributed.Network(0.0, 1e9)
    (point,) = gc.distributed.predict_scaling(step, slow, network, [1], rows=512).points
    assert point.compute == pytest.approx(step.cost().at(n=512).bytes / 1e9, rel=1e-12)


def test_rows_of_each_worker(step: Any) -> None:
    """With as many rows for each, only communication is between W workers and W times as many
    examples."""
    network = gc.distributed.Network(1e-6, 1e8)
    one, many = gc.distributed.predict_scaling(step, SPEED, network, (1, 64), rows=128).points
    assert many.rows == 128
    assert many.hidden == 0
    assert many.seconds == pytest.approx(one.seconds + many.communicate, rel=1e-12)
    assert many.speedup == pytest.approx(64 * one.seconds / many.seconds, rel=1e-12)


def _wide(buckets: int) -> Any:
    """A trainer of three layers of 8 * 256, 256 * 256 and 256 * 4 weights."""
    sizes = ((256, "tanh"), (256, "tanh"), (4, None))
    layers = [gc.nn.Dense(n, activation, seed=0) for n, activation in sizes]
    made = gc.distributed.Trainer(
        gc.nn.Sequential(layers, name="scaling"), loss="mse", optimizer="sgd", workers=0,
        strategy=gc.distributed.DataParallel(bucket_bytes=buckets),
    )  # fmt: skip
    made.step(np.zeros((4, 8), np.float32), np.zeros((4, 4), np.float32))
    return made


def test_buckets_move_while_the_next_ones_are_computed() -> None:
    """What the second and third layer have moves while the gradient of the second layer's input is
    computed, a product of 2 * n * 256 * 256 operations, and what comes behind it; what the first
    layer has does not. In one bucket nothing does."""
    n, last = 512, 4 * 8 * 256
    first = 4 * (256 * 256 + 256 * 4)  # and biases, which are few
    product = 2 * n * 256 * 256 / SPEED.flops
    predict = gc.distributed.predict_scaling
    whole, parts = _wide(1 << 30), _wide(256 * 256 * 4)
    for bandwidth in (1e8, 1e6):  # it takes a part of the product's time, or much longer
        network = gc.distributed.Network(0.0, bandwidth)
        for made, hides in ((whole, False), (parts, True)):
            (point,) = predict(made, SPEED, network, [2], rows=n).points
            expected = 0.0
            if hides:
                expected = min(first / bandwidth, product)
            assert point.hidden == pytest.approx(expected, rel=0.1, abs=1e-9)
            total = (first + last) / bandwidth
            assert point.communicate == pytest.approx(total, rel=0.05)
            computing = point.seconds - (point.communicate - point.hidden)
            assert computing == pytest.approx(point.compute, rel=1e-12)
    memory = gc.distributed.SharedMemory(0.0, 1e8)
    (point,) = predict(parts, SPEED, memory, [2], rows=n).points
    assert point.hidden == 0
    assert point.seconds == point.compute + point.communicate


def test_shared_memory(step: Any) -> None:
    memory = gc.distributed.SharedMemory(latency=1e-5, bandwidth=1e10)
    for point in gc.distributed.predict_scaling(step, SPEED, memory, (1, 2), batch=512).points:
        w = point.workers
        moved = w * (1 + 1 / w) * 4 * K * M / 1e10
        assert point.communicate == pytest.approx(2 * (w - 1) * 1e-5 + moved, rel=1e-12)


def test_the_table_and_the_curve(step: Any, tmp_path: Path) -> None:
    network = gc.distributed.Network(1e-6, 1e8)
    found = gc.distributed.predict_scaling(step, SPEED, network, batch=65536)
    assert [p.workers for p in found.points] == [1 << i for i in range(11)]
    speedups = [p.speedup for p in found.points]
    assert all(s <= p.workers * 1.000001 for s, p in zip(speedups, found.points, strict=True))
    lines = str(found).splitlines()
    assert lines[0].split()[:2] == ["workers", "rows"]
    assert lines[-1].split()[:2] == ["1024", "64"]
    text = found.draw(tmp_path / "a.svg", {1: 1.0, 2: 0.5}).read_text()
    assert "measured: 2 by 2 workers" in text
    (curve,) = re.findall(r'points="([^"]*)" fill="none" stroke="#0072b2"', text)
    assert len(curve.split()) == 11
    assert "<circle" not in found._repr_svg_()


def test_bad_arguments(step: Any, tmp_path: Path) -> None:
    network, predict = gc.distributed.Network(0.0, 1.0), gc.distributed.predict_scaling
    for wrong in ((-1.0, 1.0), (0.0, 0.0), (float("nan"), 1.0)):
        with pytest.raises(ArgumentError, match="no network"):
            gc.distributed.Network(*wrong)
    with pytest.raises(ArgumentError, match="at most 4 workers"):
        predict(step, SPEED, network, (1, 8), batch=4)
    for sizes in ({}, {"batch": 8, "rows": 8}):
        with pytest.raises(ArgumentError, match="the size of a step"):
            predict(step, SPEED, network, (1,), **sizes)
    x = gc.placeholder("scaling_y", ("n",))
    for other in (gc.compile([x], x + 1), "step"):
        with pytest.raises(ArgumentError, match="not a training step"):
            predict(other, SPEED, network, (1,), batch=8)
    unseen = gc.distributed.Trainer(gc.nn.Dense(1), loss="mse", optimizer="sgd", workers=0)
    with pytest.raises(ArgumentError, match="before the first training step"):
        predict(unseen, SPEED, network, (1,), batch=8)
    found = predict(step, SPEED, network, (1, 2), batch=8)
    with pytest.raises(ArgumentError, match="1 among them"):
        found.draw(tmp_path / "a.svg", {2: 1.0})
    with pytest.raises(ArgumentError, match="drawn as SVG"):
        found.draw(tmp_path / "a.png")
