"""Gradients of graphs against central differences."""

from __future__ import annotations

from typing import Any

import numpy as np

import graphc as gc


def assert_gradient(y: gc.Tensor, feeds: dict[gc.Tensor, Any], tolerance: float = 1e-6) -> None:
    """The gradient of y for every float feed equals central differences in a random direction."""
    rng = np.random.default_rng(5)
    feeds = {x: np.asarray(a, x.dtype.numpy) for x, a in feeds.items()}
    wrt = [x for x in feeds if x.dtype.is_float]
    for x, g in zip(wrt, gc.evaluate(gc.grad(y, wrt), feeds), strict=True):
        direction = rng.normal(size=feeds[x].shape)
        ends = [
            gc.evaluate(y, feeds | {x: feeds[x] + step * direction}) for step in (1e-6, -1e-6)
        ]
        numeric = (ends[0] - ends[1]) / 2e-6
        assert abs((g * direction).sum() - numeric) <= tolerance * max(1.0, abs(numeric)), x
