"""What random graphs found: each miscompile and each failure to compile, shrunk, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc

from .checking import compiled, compiled_mismatch

_most = np.iinfo(np.int64).max


def _random(*shapes: tuple[int, ...]) -> list[Any]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=s).astype(np.float32) for s in shapes]


def iota_is_not_collapsed() -> tuple[Any, Any, Any]:
    """Two loops became one although the position along one of them was stored."""
    return [], [gc.iota((5, 2, 5), 2)], []


def concat_of_one_tensor_with_itself() -> tuple[Any, Any, Any]:
    """An element read under the guard of the first part was taken for the second part."""
    x, y = gc.placeholder("x", (4, 3)), gc.placeholder("y", (4, 3))
    return [x, y], [gc.stack([x, y, x, x], 1)], _random((4, 3), (4, 3))


def reduction_of_a_reduced_scalar() -> tuple[Any, Any, Any]:
    """A reduction that starts after the loops was finished before it had accumulated."""
    x = gc.placeholder("x", (5,), "int64")
    return [x], [gc.min(gc.reshape(gc.max(x), (1,)), 0) * 2], [np.full(5, -4)]


def int64_wraps_before_it_is_compared() -> tuple[Any, Any, Any]:
    """Numba's `+` told LLVM that signed ints never overflow, so `x + 7 > 0` became `x > -7`."""
    x = gc.placeholder("x", ("n",), "int64")
    outputs = [x + 7 > 0, x * 2 > 0, -x - 7 > 0, gc.sign(x + 7)]
    return [x], outputs, [np.array([_most, -_most - 1, 0, 3] * 9)]


def scatter_into_one_element() -> tuple[Any, Any, Any]:
    """The sum that a scatter makes in memory was read as if it were in a register."""
    x, at, g = gc.placeholder("x", (1,)), gc.constant(np.array([0, 0])), gc.placeholder("g", (2,))
    return [x, g], [gc.vjp(gc.take(x, at), x, g) + x], _random((1,), (2,))


def positions_as_a_factor() -> tuple[Any, Any, Any]:
    """Positions that the BLAS reads transposed were never written to memory."""
    x = gc.placeholder("x", (2, 3))
    return [x], [x @ gc.iota((4, 3), 0, "float32").T], _random((2, 3))


def softmax_over_an_empty_axis() -> tuple[Any, Any, Any]:
    """Its definition asked for the largest of no elements."""
    x = gc.placeholder("x", (2, 0))
    return [x], [gc.softmax(x), gc.log_softmax(x), gc.logsumexp(x, 1)], _random((2, 0))


def value_used_in_three_stages() -> tuple[Any, Any, Any]:
    """A value that later stages load from memory was not stored by the first."""
    x, g = gc.placeholder("x", (7, 3)), gc.placeholder("g", (7, 3))
    y = gc.exp(x)
    s = gc.softmax(y)
    centred = g - gc.sum(g * s, axis=1, keepdims=True)
    return [x, g], [(g + centred * s) * y], _random((7, 3), (7, 3))


def value_kept_where_another_is_written() -> tuple[Any, Any, Any]:
    """The exponentials were kept in the memory of an output that only their sum leads to."""
    x, g = gc.placeholder("x", (3,)), gc.placeholder("g", (3,))
    joined = gc.stack([g[0], gc.logsumexp(x), g[1]])
    return [x, g], [joined, g[2] * gc.softmax(x)], _random((3,), (3,))


def int_to_float_to_int_saturates() -> tuple[Any, Any, Any]:
    """Two conversions became one, which wraps."""
    x = gc.placeholder("x", (3,), "int16")
    return [x], [x.astype("float64").astype("uint16")], [np.array([-5, 0, 7], "int16")]


def size_that_its_dtype_cannot_hold() -> tuple[Any, Any, Any]:
    """The interpreter refused what a static size and a kernel convert."""
    x = gc.placeholder("x", ("n",))
    return [x], [gc.size(x, 0, "int8")], _random((200,))


def scalar_joined_from_an_empty_axis() -> tuple[Any, Any, Any]:
    """Of one element, part of it from the loop that it was stored in, which never ran."""
    x, y = gc.placeholder("x", (0,)), gc.placeholder("y", (1,))
    joined = gc.concat([gc.floor_divide(x, x), y])
    return [x, y], [gc.sin(gc.tanh(joined) * gc.sum(-x)), joined], _random((0,), (1,))


def cross_entropy_of_a_certain_prediction() -> tuple[Any, Any, Any]:
    """The interpreter gave -0, a kernel 0, and a quotient by it infinities of two signs."""
    z, labels = gc.placeholder("z", (2, 3)), gc.placeholder("labels", (2,), "int64")
    arrays = [np.array([[0, 200, 0], [1, 2, 3]], np.float32), np.array([1, 2])]
    return [z, labels], [1 / gc.softmax_cross_entropy(z, labels)], arrays


def transposed_product_in_a_chain() -> Any:
    """A rule made a transposed product part of a chain, and the order decides what is not finite:
    `inf * (2 * 0 + inf * -1)` is infinite, `inf * 2 * 0 + inf * inf * -1` is NaN."""
    a, b = (gc.placeholder(name, (2, 1), "float64") for name in "ab")
    g = gc.placeholder("g", (2, 2), "float64")
    outer = a @ b.T
    column = np.array([[2.0], [np.inf]])
    return [a, b, g], [outer @ g, outer.T @ g], [column, column, np.array([[0.0, 1], [-1, 1]])]


CASES: list[Callable[[], tuple[Any, Any, Any]]] = [
    iota_is_not_collapsed,
    concat_of_one_tensor_with_itself,
    reduction_of_a_reduced_scalar,
    int64_wraps_before_it_is_compared,
    scatter_into_one_element,
    positions_as_a_factor,
    softmax_over_an_empty_axis,
    value_used_in_three_stages,
    value_kept_where_another_is_written,
    int_to_float_to_int_saturates,
    size_that_its_dtype_cannot_hold,
    scalar_joined_from_an_empty_axis,
    cross_entropy_of_a_certain_prediction,
    transposed_product_in_a_chain,
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_fixed(case: Callable[[], tuple[Any, Any, Any]]) -> None:
    inputs, outputs, arrays = case()
    graph = gc.Graph(inputs, outputs, name=case.__name__)
    assert not compiled_mismatch(graph, arrays, compiled(graph))


def test_fusion_makes_no_cycle_through_two_loops() -> None:
    """A path from group to group left the span of positions that was searched, and came back."""
    x = gc.placeholder("x", (3,))
    late = gc.exp(x) + 1
    first, _ = gc.scan(lambda c, _: (gc.sin(c), None), late, length=2)
    early = gc.cos(x)
    second, _ = gc.scan(lambda c, _: (gc.tanh(c), None), early, length=2)
    outputs = [first * early, second * 2 + late, gc.exp(second) * late]
    graph = gc.Graph([x], outputs, name="cycle")
    assert not compiled_mismatch(graph, _random((3,)), compiled(graph))
