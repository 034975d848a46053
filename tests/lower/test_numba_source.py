"""A kernel's source, for people and for Numba."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc.loops.grammar import Kernel
from graphc.lower.numba_cpu import compile_kernel
from graphc.lower.numba_source import print_for_numba, print_kernel
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.program import Call, walk_steps


def kernel_of(y: gc.Tensor) -> Kernel:
    program = run_pipeline(gc.Graph([gc.placeholder("x", (3, 5, 7))], [y]), Stages()).program
    return next(s.kernel for s in walk_steps(program.steps) if isinstance(s, Call))


def test_what_numba_reads_counts_by_hand_and_says_each_thing_once() -> None:
    x = gc.placeholder("x", (3, 5, 7))
    kernel = kernel_of(gc.sum((x[:, :, 1:] * 2.0 + x[:, :, :-1]) * 2.0, axis=0))
    assert print_kernel(kernel) == """\
def kernel(b0, b1):
    for i0 in range(30):
        b1[i0] = f32(0.0)
    for i1 in range(3):
        for i2 in range(5):
            for i3 in range(6):
                v0 = b0[i1 * 35 + i2 * 7 + i3 + 1]
                v1 = v0 * f32(2.0)
                v2 = b0[i1 * 35 + i2 * 7 + i3]
                v3 = v1 + v2
                v4 = v3 * f32(2.0)
                v5 = b1[i2 * 6 + i3]
                v6 = v5 + v4
                b1[i2 * 6 + i3] = v6
"""
    assert print_for_numba(kernel) == """\
c0 = f32(0.0)
c1 = f32(2.0)
def kernel(b0, b1):
    i0 = 0
    while i0 < 30:
        b1[i0] = c0
        i0 = i0 + 1
    i1 = 0
    while i1 < 3:
        i2 = 0
        while i2 < 5:
            i3 = 0
            while i3 < 6:
                p1 = i1 * 35 + i2 * 7 + i3
                v0 = b0[p1 + 1]
                v1 = v0 * c1
                v2 = b0[p1]
                v3 = v1 + v2
                v4 = v3 * c1
                p2 = i2 * 6 + i3
                v5 = b1[p2]
                v6 = v5 + v4
                b1[p2] = v6
                i3 = i3 + 1
            i2 = i2 + 1
        i1 = i1 + 1
"""


def test_a_loop_is_a_few_lines_of_llvm_ir() -> None:
    """With a range and its iterator it is over 120 lines: what kernels took longest to compile."""
    x = gc.placeholder("x", (3, 5, 7))
    one = compile_kernel(kernel_of(x + 1), "one")
    three = compile_kernel(kernel_of(gc.permute_dims(x, (2, 1, 0)) + 1), "three")
    assert "range" not in one
    assert three.count("\n") - one.count("\n") < 2 * 45


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("largest", [True, False])
def test_the_extremum_of_what_a_mask_lets_through_is_a_vector(dtype: str, largest: bool) -> None:
    """LLVM makes a branch of a mask whose fill changes no extremum; then it goes one by one."""
    x, place = gc.placeholder("x_masked", ("n", 64), dtype), gc.arange(64)
    seen = (place % 3 != 0) & (place < 60)
    fill = -np.inf if largest else np.inf
    y = (gc.max if largest else gc.min)(gc.where(seen, x, fill), axis=1)
    f = gc.compile([x], y, name="masked")
    assert f"vector.reduce.f{'max' if largest else 'min'}imum" in f.llvm
    data = np.random.default_rng(0).standard_normal((5, 64)).astype(dtype)
    data[1, 4], data[2, 3], data[3, :] = np.nan, np.nan, fill
    with np.errstate(invalid="ignore"):
        chosen = np.where(np.arange(64) % 3 != 0, data, fill)[:, :60]
    expected = chosen.max(1) if largest else chosen.min(1)
    np.testing.assert_array_equal(f(data), expected)
