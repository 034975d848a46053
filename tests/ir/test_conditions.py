"""What operations need of sizes: what is certain, what is noted, what follows from others."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphc as gc
from graphc.errors import ShapeError
from graphc.ir.bounds import certain, never
from graphc.ir.conditions import Condition, forget, needed_bounds, noted, require
from graphc.ir.dim import Size, difference, dim, evaluate, maximum, minimum
from graphc.ir.graph import Graph

NAMES = ("n", "m")
SMALL = [dict(zip(NAMES, v, strict=True)) for v in itertools.product(range(9), repeat=2)]
FEW = settings(max_examples=100, deadline=None, derandomize=True)

linear = st.builds(
    lambda a, b, c: a * dim("n") + b * dim("m") + c,
    st.integers(-2, 2), st.integers(-2, 2), st.integers(-4, 4),
)  # fmt: skip


def _nested(inner: st.SearchStrategy[Size]) -> st.SearchStrategy[Size]:
    return st.one_of(
        st.builds(maximum, inner, inner),
        st.builds(minimum, inner, inner),
        st.builds(lambda a, b, c: a + c * b, inner, inner, st.integers(-2, 2)),
        st.builds(lambda a, b: a // b, inner, st.integers(2, 3)),
        st.builds(lambda a, b: a % b, inner, st.integers(2, 3)),
    )


sizes = st.recursive(linear, _nested, max_leaves=4)


@FEW
@given(sizes)
def test_what_is_certain_holds_for_all_small_sizes(size: Size) -> None:
    values = [(v, evaluate(size, v)) for v in SMALL]
    if certain(size):
        assert all(found >= 0 for _, found in values)
    if never(size):
        assert not any(found >= 0 for v, found in values if all(v.values()))


@FEW
@given(sizes, sizes)
def test_the_larger_the_smaller_and_the_difference(a: Size, b: Size) -> None:
    found = maximum(a, b), minimum(a, b), difference(a, b)
    for v in SMALL:
        left, right = evaluate(a, v), evaluate(b, v)
        wanted = [max(left, right), min(left, right), left - right]
        assert [evaluate(f, v) for f in found] == wanted


@pytest.mark.parametrize(
    "text",
    [
        "n - min(n, 3)", "max(n - 3, 0) - n + 3", "n - min(2, n) - max(min(5, n) - 2, 0)",
        "n - 2*(n//2)", "n + 1 - 3*((n + 1)//3)", "3*((n + 2)//3) - n", "3 - n % 4", "n - n % m",
        "max(n, m) - m", "n*m - min(n, 2)*m", "n - (max(n - 2, 0) + 2)//3*3 + 3",
    ],
)  # fmt: skip
def test_what_slices_need_is_found_to_be_certain(text: str) -> None:
    assert certain(dim(text))


@pytest.mark.parametrize("text", ["n - 1", "n - m", "max(n - 2, m - 2)", "2 - n % 4", "n//2 - 1"])
def test_what_may_fail_is_not_certain(text: str) -> None:
    assert not certain(dim(text))
    assert not never(dim(text))


# -- what type rules note --------------------------------------------------------------------------
@FEW
@given(sizes)
def test_what_is_noted_holds_where_what_is_required_does(margin: Size) -> None:
    forget()
    try:
        require(margin, "out of range")
    except ShapeError:
        assert not any(evaluate(margin, v) >= 0 for v in SMALL if all(v.values()))
        return
    conditions = noted()
    for v in SMALL:
        assert all(c.holds(v) for c in conditions) == (evaluate(margin, v) >= 0)


@pytest.mark.parametrize(
    ("margin", "text"),
    [
        ("n - 4", "n >= 4"), ("2*n - 5", "n >= 3"), ("1 - n", "1 >= n"),
        ("n - m - 2", "n >= m + 2"), ("min(m - 1, n)", "m >= 1"),
        ("6*n - 4*m + 3", "3*n + 1 >= 2*m"), ("n//m", "m >= 1"), ("n % (m - 3)", "m >= 4"),
    ],
)  # fmt: skip
def test_bounds_have_one_form(margin: str, text: str) -> None:
    forget()
    require(dim(margin), "")
    assert list(map(str, noted())) == [text]


def test_a_node_keeps_what_it_needs() -> None:
    x = gc.placeholder("x", ("n",))
    assert (x * 2).node.needs == ()
    assert list(map(str, x[3].node.inputs[0].node.needs)) == ["n >= 4"]  # below the reshape
    with pytest.raises(ShapeError, match="negative") as caught:
        gc.zeros((-x.shape[0],))
    assert caught.value.where.startswith(__file__)


def test_no_tensor_has_more_bytes_than_can_be_counted() -> None:
    x = gc.placeholder("x", ("n", "m"))
    with pytest.raises(ShapeError, match="bytes"):
        gc.ones((2**33, 2**31))
    with pytest.raises(ShapeError, match="bytes"):
        gc.ones((0, 2**62))  # which NumPy refuses
    assert gc.ones((0, 2**60)).numpy().shape == (0, 2**60)
    with pytest.raises(ShapeError, match="bytes"):
        gc.broadcast_to(x[:, :, None, None], ("n", "m", 2**40, 2**40))
    wide = gc.broadcast_to(x[:, :, None], ("n", "m", 2**40))
    for counted, most in ((gc.size(wide), 2**23 - 1), (wide, 2**21 - 1)):  # elements, bytes
        (condition,) = Graph([x], [counted]).conditions
        assert condition.holds({"n": most, "m": 1})
        assert not condition.holds({"n": 1, "m": most + 1})
    f = gc.compile([x], gc.size(wide), target="reference")
    assert f(np.zeros((0, 3))) == 0


# -- what a graph needs ----------------------------------------------------------------------------
bounds = st.builds(lambda m: Condition(m, 0, ">="), linear)


@FEW
@given(st.lists(bounds, max_size=4), st.lists(bounds, max_size=2))
def test_what_is_needed_says_all_and_nothing_else(
    wanted: list[Condition], known: list[Condition]
) -> None:
    try:
        found = needed_bounds(wanted, known, {})
    except ShapeError:
        assert not any(all(c.holds(v) for c in wanted) for v in SMALL)
        return
    for v in SMALL:
        if all(c.holds(v) for c in known):
            assert all(c.holds(v) for c in found) == all(c.holds(v) for c in wanted)


def test_only_the_strongest_bound_is_needed_and_arrays_give_some() -> None:
    x, y = gc.placeholder("x", ("n",)), gc.placeholder("y", ("n - 2",))
    assert list(map(str, Graph([x], [x[0], x[3], x[1], x[-2]]).conditions)) == ["n >= 4"]
    assert Graph([x, y], [x[1], y]).conditions == ()  # y has n - 2 elements
    assert list(map(str, Graph([x, y], [x[1], y[0]]).conditions)) == ["n >= 3"]


def test_equations_decide_bounds_when_a_graph_is_made() -> None:
    x, y = gc.placeholder("x", ("n",)), gc.placeholder("y", ("m",))
    five = x + gc.ones((5,))
    graph = Graph([x], [five, x[3]])
    assert [c.relation for c in graph.conditions] == ["="]
    with pytest.raises(ShapeError, match="n >= 7") as caught:
        gc.compile([x, y], [five, x[6]])
    assert "n = 5" in caught.value.given
    assert caught.value.where.startswith(__file__)
    assert caught.value.message.count(f"at {__file__}:") == 2  # the line of the equation too


def test_bounds_that_contradict_are_found_when_a_graph_is_made() -> None:
    x = gc.placeholder("long_or_short", ("n",))
    long = x[6]
    short = gc.ones((3 - x.shape[0],))
    with pytest.raises(ShapeError, match="no sizes > 0") as caught:
        gc.compile([x], [long, short])
    for text in ("n >= 7", "3 >= n"):
        assert text in caught.value.message
    lines = [here for here in caught.value.message.split() if here.startswith(__file__)]
    assert len(set(lines)) == 2
