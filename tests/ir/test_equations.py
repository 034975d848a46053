"""Equations of sizes: the solver against all small sizes, and what it may not conclude."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphc as gc
from graphc.errors import ShapeError
from graphc.ir.conditions import Condition, never_equal
from graphc.ir.dim import Size, dim, divide, evaluate, names
from graphc.ir.equations import NOTHING, solve
from graphc.ir.graph import Graph

NAMES = ("n", "m", "k")
SMALL = [dict(zip(NAMES, v, strict=True)) for v in itertools.product(range(7), repeat=3)]
FEW = settings(max_examples=200, deadline=None, derandomize=True)


def size(coefficients: tuple[int, int, int], constant: int) -> Size:
    return sum((c * dim(n) for c, n in zip(coefficients, NAMES, strict=True)), start=dim(0)) + (
        constant
    )


linear = st.builds(size, st.tuples(*[st.integers(0, 2)] * 3), st.integers(0, 3))
curved = st.sampled_from(
    ["n*m", "n*n", "n//2", "2*(m//2)", "max(n - 1, 0)", "n % 2 + 1", "min(n, 2) + m", "2*max(k, 2)"]
).map(dim)
sides = st.one_of(linear, linear, curved)
systems = st.lists(st.builds(lambda a, b: Condition(a, b), sides, sides), min_size=1, max_size=4)


def satisfying(equations: list[Condition]) -> list[dict[str, int]]:
    return [v for v in SMALL if all(e.holds(v) for e in equations)]


@FEW
@given(systems)
def test_the_solution_is_that_of_all_small_sizes(equations: list[Condition]) -> None:
    expected = satisfying(equations)
    try:
        solution = solve(equations, NAMES)
    except ShapeError:  # all are 0 at most
        assert not any(all(v[n] for n in NAMES) for v in expected)
        return
    assert set(solution.needed) <= set(equations)
    assert satisfying(list(solution.needed)) == expected
    for values in expected:
        for name, found in solution.sizes.items():
            assert evaluate(found, values) == values[name]
    for found in solution.sizes.values():
        assert not names(found) & solution.sizes.keys()


@FEW
@given(st.lists(st.tuples(st.sampled_from("nmk"), st.sampled_from("nmk"), st.integers(0, 2))))
def test_names_that_differ_by_constants_are_decided(parts: list[tuple[str, str, int]]) -> None:
    equations = [Condition(dim(a), dim(b) + c) for a, b, c in parts]
    moved = [{n: v + 20 for n, v in s.items()} for s in SMALL]
    possible = any(all(e.holds(values) for e in equations) for values in moved)
    if possible:
        solution = solve(equations, NAMES)
        joined = {frozenset((a, b)) for a, b, _ in parts if a != b}
        assert len(solution.sizes) == min(len(joined), len(solution.sizes))
        assert bool(solution.sizes) == bool(joined)
    else:
        with pytest.raises(ShapeError):
            solve(equations, NAMES)


@FEW
@given(linear, linear)
def test_never_equal_is_true_of_all_small_sizes(a: Size, b: Size) -> None:
    if never_equal(a, b):
        equal = [v for v in SMALL if evaluate(a, v) == evaluate(b, v)]
        assert not any(all(v.values()) for v in equal)
        used = names(a) | names(b)
        assert all(v[n] == 0 for v in equal for n in used if n in names(a - b))


@FEW
@given(linear, linear)
def test_a_product_divides(a: Size, b: Size) -> None:
    if b != 0:
        assert divide(a * b, b) == a


def test_earlier_names_stay() -> None:
    found = solve([Condition(dim("k"), dim("m")), Condition(dim("m"), dim("n"))], NAMES)
    assert found.sizes == {"k": dim("n"), "m": dim("n")}
    assert len(found.needed) == 2


def test_what_follows_is_not_needed() -> None:
    n, m = dim("n"), dim("m")
    first, twice = Condition(n, m), Condition(2 * n + 1, m + n + 1)
    assert solve([first, twice], NAMES).needed == (first,)
    assert solve([], NAMES) is NOTHING


@pytest.mark.parametrize(
    ("left", "right", "sizes"),
    [
        ("m", "2*n + 1", {"m": "2*n + 1"}),
        ("3*m", "3*n", {"m": "n"}),
        ("m", "n*k", {"m": "n*k"}),
        ("n", "5", {"n": "5"}),
        ("2*n", "3*m", {}),  # no name alone: checked at the call
        ("n", "2*(n//2)", {}),
        ("n*m", "6", {}),
        ("n", "1", {}),  # programs treat a static 1 in another way
        ("n + m", "k + 5", {}),  # no side is certainly a size
    ],
)
def test_one_equation(left: str, right: str, sizes: dict[str, str]) -> None:
    found = solve([Condition(dim(left), dim(right))], NAMES)
    assert found.sizes == {name: dim(text) for name, text in sizes.items()}
    assert len(found.needed) == 1


@pytest.mark.parametrize(
    "texts",
    [
        ["n = m", "n = m + 1"],
        ["n = m", "m = k", "k = n + 2"],
        ["2*n = 4*m + 1"],
        ["n = 5", "n = 6"],
        ["n = 5", "m = 6", "n = m"],
        ["n = m", "m = 2*n"],  # 0 only
        ["n + m + 1 = 0"],
        ["2*n = 3*m", "2*n = 3*m + 1"],
        ["n = m*k", "n = m*k + 1"],
        ["n = k - 5", "k = 3"],
    ],
)
def test_contradictions(texts: list[str]) -> None:
    pairs = [text.split(" = ") for text in texts]
    equations = [
        Condition(dim(a), dim(b), "=", "add", f"model.py:{i}") for i, (a, b) in enumerate(pairs)
    ]
    with pytest.raises(ShapeError, match="no sizes > 0") as caught:
        solve(equations, NAMES)
    for equation in equations:
        assert f"{equation}" in caught.value.message
        assert f"add at {equation.where}" in caught.value.message
    assert caught.value.where == equations[-1].where


def test_a_node_keeps_what_its_type_rule_assumed() -> None:
    n, m = dim("n"), dim("m")
    x, y = gc.placeholder("x", ("n",)), gc.placeholder("y", ("m",))
    assert (x + x).node.needs == ()
    assert (x + y).node.needs == (Condition(n, m),)
    assert (x + y).shape == (n,)
    assert (x + gc.zeros((5,))).shape == (5,)
    graph = Graph([x, y], [x + y, (x + y) * 2])
    assert graph.sizes.sizes == {"m": n}
    assert Graph([x], [x * 2]).sizes is NOTHING


@pytest.mark.parametrize(
    ("size", "possible", "impossible"),
    [
        ("min(n, 5)", (0, 3, 5), (6, 9)),
        ("max(n, 5)", (5, 8), (1, 4)),
        ("2*min(n, 5)", (2, 10), (12,)),
    ],
)
def test_sizes_beyond_a_bound_are_never_equal(
    size: str, possible: tuple[int, ...], impossible: tuple[int, ...]
) -> None:
    bounded = dim(size)
    values = {evaluate(bounded, {"n": n}) for n in range(20)}
    assert values >= set(possible)
    assert not values & set(impossible)
    assert not any(never_equal(bounded, other) for other in possible)
    assert all(never_equal(bounded, other) for other in impossible)
    assert all(never_equal(other, bounded + dim("n")) for other in impossible if "max" in size)


def test_a_slice_that_is_too_short_is_an_error_in_its_line() -> None:
    x = gc.placeholder("x", ("n",))
    with pytest.raises(ShapeError, match=r"sizes min\(n, 5\) and 6") as caught:
        x[:5] + gc.zeros(6)
    assert caught.value.where.startswith(__file__)
    assert (x[:5] + gc.zeros(4)).shape == (4,)
