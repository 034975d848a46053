"""Matrices that are read in place: only those that the BLAS can read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("n", [9, "n"])
def test_windows_as_matrices(stride: int, turned: bool, n: Any) -> None:
    """Their rows overlap unless the stride is large: an error of the BLAS, and no result."""
    x, w = gc.placeholder("overlapping", (n,)), gc.placeholder("weights", (3, 2))
    windows = gc.windows(x, (3,), stride=stride)
    made = w.T @ windows.T if turned else windows @ w
    f = gc.compile([x, w], made)
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal(9, np.float32), rng.standard_normal((3, 2), np.float32)
    expected = np.lib.stride_tricks.sliding_window_view(a, 3)[::stride] @ b
    for _ in range(2):
        np.testing.assert_allclose(f(a, b), expected.T if turned else expected, rtol=1e-5)


def test_dilated_windows_as_a_transposed_matrix() -> None:
    x, w = gc.placeholder("dilated", (1, 3, 1)), gc.placeholder("kernel", (2, 1, 2))
    y = gc.conv(x, w, padding=[(1, 1)], dilation=2, data_format="NHWC") * 0.25
    f = gc.compile([x, w], y)
    a = np.array([-1.8, -1.7, -0.2], np.float32).reshape(1, 3, 1)
    b = np.array([[1.75, 1.25], [-1.0, 0.25]], np.float32).reshape(2, 1, 2)
    padded = np.pad(a[0, :, 0], 1)
    expected = 0.25 * (padded[:3, None] * b[0, 0] + padded[2:, None] * b[1, 0])
    for _ in range(2):
        np.testing.assert_allclose(f(a, b)[0], expected, rtol=1e-5)
