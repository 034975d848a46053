"""Regions that are hard to put into loops: stages, kept values, accumulators inside and outside."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc.planning.program import Blocks, Call, walk_steps


def check(inputs: list[gc.Tensor], outputs: list[gc.Tensor], *arrays: np.ndarray) -> gc.Graph:
    function = gc.compile(inputs, outputs)
    expected = gc.evaluate(outputs, dict(zip(inputs, arrays, strict=True)))
    for a, b in zip(function(*arrays), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=3e-6, atol=1e-6)
    return function


def calls(function: object) -> list[Call]:
    program = function.compilation.compiled.program  # type: ignore[attr-defined]
    return [s for s in walk_steps(program.steps) if isinstance(s, Call)]


DATA = np.random.default_rng(0).standard_normal((6, 11)).astype("float32")
x = gc.placeholder("x", ("n", 11))


def test_softmax_keeps_its_exponentials_in_its_own_output() -> None:
    (call,) = calls(check([x], [gc.softmax(x)], DATA))
    assert len(call.buffers) == 2, "no scratch"


def test_a_kept_value_is_in_an_output_that_is_made_before_the_last_stage() -> None:
    """The weights and the gradient of attention: exponentials are where the weights will be, so
    that turns share nothing, and the product that gives `g` is taken up matrix by matrix."""
    q, k = (gc.placeholder(f"{n}_kept", ("heads", 16, 4)) for n in "qk")
    s = gc.placeholder("s_kept", ("heads", 16, 16))
    p = gc.softmax(s, axis=-1)
    g = q @ gc.matrix_transpose(k)
    ds = p * (g - gc.sum(g * p, axis=-1, keepdims=True))
    rng = np.random.default_rng(1)
    arrays = [rng.standard_normal((3, 16, n), "float32") for n in (4, 4, 16)]
    function = check([q, k, s], [p, ds], *arrays)
    (step,) = function.compilation.compiled.program.steps
    assert isinstance(step, Blocks)
    assert len(step.call.buffers) == 4, "no scratch"


def test_values_that_are_kept_one_after_the_other_share_an_output() -> None:
    a = gc.exp(x)
    b = gc.tanh(a / gc.sum(a, axis=1, keepdims=True))
    y = gc.sin(b * gc.sum(b, axis=1, keepdims=True))
    (call,) = calls(check([x], [y / gc.sum(y, axis=1, keepdims=True)], DATA))
    assert len(call.buffers) == 2, "no scratch"


def test_an_output_that_is_made_while_a_value_is_needed_is_no_room_for_it() -> None:
    a = gc.exp(x)
    p = a / gc.sum(a, axis=1, keepdims=True)
    t = gc.max(p, axis=1, keepdims=True)
    check([x], [p, gc.sum(a * t, axis=1)], DATA)


def test_a_value_first_needed_in_a_later_stage_is_kept_for_the_next() -> None:
    e = gc.exp(x)
    peak = gc.max(x, axis=1, keepdims=True)
    first = gc.sum(e * peak, axis=1, keepdims=True)
    (call,) = calls(check([x], [e * first, gc.sum(e * first, axis=1)], DATA))
    assert call.kernel is not None


def test_an_output_of_another_dtype_is_no_room_for_kept_values() -> None:
    e = gc.exp(x)
    total = gc.sum(e, axis=1, keepdims=True)
    check([x], [gc.greater(e / total, 0.1), gc.astype(e / total * 100, "int32")], DATA)


def test_two_kept_values_do_not_share_room() -> None:
    a, b = gc.exp(x), gc.tanh(x)
    s = gc.sum(a + b, axis=1, keepdims=True)
    t = gc.max(a * b + s, axis=1, keepdims=True)
    check([x], [a / t + b * s, a * s], DATA)


def test_four_stages() -> None:
    y = x
    for _ in range(3):
        y = gc.exp(y - gc.max(y, axis=1, keepdims=True))
        y = y / gc.sum(y, axis=1, keepdims=True)
    check([x], [y], DATA)


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1), (2,), (1, 2), (0, 2), (0, 1, 2)])
def test_reductions_over_all_axes_with_their_inputs_as_outputs(axes: tuple[int, ...]) -> None:
    z = gc.placeholder("z", ("n", 4, 5))
    y = gc.tanh(z)
    data = np.random.default_rng(1).standard_normal((3, 4, 5)).astype("float32")
    check([z], [y, gc.sum(y, axis=axes), gc.max(y * 2, axis=axes)], data)


def test_reductions_inside_and_outside_of_one_loop() -> None:
    row = gc.sum(x, axis=1, keepdims=True)
    y = x / (1 + row * row)
    outputs = [gc.sum(y), gc.sum(y, axis=0), gc.sum(y, axis=1), gc.max(row), y]
    check([x], outputs, DATA)


def test_a_reduction_of_rows_feeds_work_after_the_loops() -> None:
    rows = gc.logsumexp(x, axis=1)
    check([x], [gc.sqrt(gc.mean(rows * rows)), gc.softmax(x)], DATA)


@pytest.mark.parametrize("n", [0, 1])
def test_sizes_zero_and_one(n: int) -> None:
    row = gc.sum(x, axis=1, keepdims=True)
    check([x], [gc.softmax(x), gc.sum(x * row, axis=0), gc.sum(x)], DATA[:n])
