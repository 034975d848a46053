"""Sizes: arithmetic against Python's and SymPy's, text, solving, and refusals."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

import graphc as gc
from graphc.errors import ArgumentError, ShapeError, SymbolicValueError
from graphc.ir import dim as dims

NAMES = ("n", "m", "k")
FEW = settings(max_examples=150, deadline=None, derandomize=True)

# An expression is a tree of tuples, given its meaning three times: as Dim, in Python, in SymPy.
leaf = st.one_of(st.sampled_from(NAMES), st.integers(0, 6))


def trees(operators: tuple[str, ...]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaf, lambda inner: st.tuples(st.sampled_from(operators), inner, inner), max_leaves=8
    )


polynomials = trees(("+", "-", "*"))
expressions = trees(("+", "-", "*", "//", "%", "max", "min"))
sizes = st.fixed_dictionaries({name: st.integers(0, 9) for name in NAMES})


def as_dim(tree: Any) -> Any:
    if not isinstance(tree, tuple):
        return dims.dim(tree)
    a, b = as_dim(tree[1]), as_dim(tree[2])
    match tree[0]:
        case "+":
            return a + b
        case "-":
            return a - b
        case "*":
            return a * b
        case "//":
            return dims.floordiv(a, b * b + 1)  # never zero
        case "%":
            return dims.mod(a, b * b + 1)
        case "max":
            return dims.maximum(a, b)
    return dims.minimum(a, b)


def as_int(tree: Any, values: dict[str, int]) -> int:
    if not isinstance(tree, tuple):
        return values.get(tree, tree)
    a, b = as_int(tree[1], values), as_int(tree[2], values)
    match tree[0]:
        case "+":
            return a + b
        case "-":
            return a - b
        case "*":
            return a * b
        case "//":
            return a // (b * b + 1)
        case "%":
            return a % (b * b + 1)
        case "max":
            return max(a, b)
    return min(a, b)


def as_sympy(tree: Any) -> Any:
    if not isinstance(tree, tuple):
        return sympy.Symbol(tree) if isinstance(tree, str) else sympy.Integer(tree)
    a, b = as_sympy(tree[1]), as_sympy(tree[2])
    return {"+": a + b, "-": a - b, "*": a * b}[tree[0]]


@FEW
@given(expressions, sizes)
def test_value_is_pythons(tree: Any, values: dict[str, int]) -> None:
    assert dims.evaluate(as_dim(tree), values) == as_int(tree, values)


@FEW
@given(polynomials, polynomials)
def test_equal_polynomials_are_equal_values(first: Any, second: Any) -> None:
    a, b = as_dim(first), as_dim(second)
    same = sympy.expand(as_sympy(first) - as_sympy(second)) == 0
    assert (a == b) is same
    if same:
        assert hash(a) == hash(b)
        assert str(a) == str(b)
    expanded = sympy.expand(as_sympy(first))
    assert sympy.expand(sympy.sympify(str(a), {n: sympy.Symbol(n) for n in NAMES})) == expanded


@FEW
@given(expressions)
def test_text_reads_back(tree: Any) -> None:
    size = as_dim(tree)
    if isinstance(size, int):
        return
    again = dims.dim(str(size))
    assert again == size
    assert str(again) == str(size)


@FEW
@given(expressions, sizes, sizes)
def test_substitute_then_evaluate(tree: Any, inner: dict[str, int], values: dict[str, int]) -> None:
    n = dims.named("n")
    replaced = dims.substitute(as_dim(tree), {"n": n + inner["n"], "m": inner["m"]})
    moved = {"n": values["n"] + inner["n"], "m": inner["m"], "k": values["k"]}
    assert dims.evaluate(replaced, values) == as_int(tree, moved)


@FEW
@given(expressions, sizes)
def test_what_is_called_nonnegative_is(tree: Any, values: dict[str, int]) -> None:
    if dims.is_nonnegative(as_dim(tree)):
        assert as_int(tree, values) >= 0


def test_normal_form() -> None:
    n, m = dims.named("n"), dims.named("m")
    assert n - n == 0
    assert isinstance(n - n, int)
    assert (n + 1) * (n - 1) == n * n - 1
    assert (2 * n) // 2 == n
    assert (n * m) // n == m
    assert (6 * n) % 3 == 0
    assert str(2 * n * m + 3 - n) == "2*m*n - n + 3"
    assert dims.names((n + 1) // (m + 2)) == {"n", "m"}
    assert dims.maximum(n + 1, n) == n + 1
    assert dims.minimum(n, 0) == 0
    assert dims.product([n, 2, m]) == 2 * n * m
    assert 5 - n == -(n - 5)


def test_bind_solves_for_the_unknown() -> None:
    n = dims.named("n")
    values: dict[str, int] = {}
    dims.bind(2 * n + 1, 7, values)
    assert values == {"n": 3}
    dims.bind(n * n, 9, values)
    with pytest.raises(ShapeError, match="the size n is 3 here, not 4"):
        dims.bind(n, 4, values)
    with pytest.raises(ShapeError, match="no m >= 0"):
        dims.bind(2 * dims.named("m"), 5, {})
    with pytest.raises(ShapeError, match="no m >= 0"):
        dims.bind(dims.named("m") + 3, 2, {})
    several: dict[str, int] = {}
    dims.bind(n * dims.named("m"), 6, several)
    assert several == {}


def test_bind_where_a_size_is_divided_by_a_name() -> None:
    quotient, values = dims.dim("n // m"), {"n": 6}
    dims.bind(quotient, 3, values)
    assert values == {"n": 6}  # m is left for a later call
    with pytest.raises(ShapeError, match="divides by 0"):
        dims.bind(quotient, 3, {"n": 6, "m": 0})


@pytest.mark.parametrize(
    "spec",
    [-1, "-3", True, 1.5, None, "", "a b", "n.m", "n**2", "f32", "3//0", "n % 0", "max(n)", "True",
     "n if m else k", "__import__('os')", "(" * 300 + "n" + ")" * 300, "ñ", b"n"],
)  # fmt: skip
def test_what_is_no_size_is_refused(spec: Any) -> None:
    with pytest.raises(ArgumentError, match="dim") as caught:
        gc.dim(spec)
    assert __file__ in str(caught.value)


def test_numpy_ints_are_ints() -> None:
    n = dims.named("n")
    for result in (n * np.int64(2), np.int64(2) * n, n + n * np.int8(1)):
        assert result == 2 * n
        assert str(result) == "2*n"
    assert gc.placeholder("x", (n + np.int32(3),)).shape == (n + 3,)


@pytest.mark.parametrize("other", [1.5, "a", None, np.ones(2, np.float32)])
def test_arithmetic_with_what_is_no_size_is_refused(other: Any) -> None:
    with pytest.raises(TypeError):
        dims.named("n") // other


def test_arithmetic_with_a_tensor_names_the_way_out() -> None:
    with pytest.raises(ArgumentError, match=r"gc.size\(x, axis\)"):
        dims.named("n") * gc.placeholder("x", ("n",))


@pytest.mark.parametrize("use", [bool, int, float, range, lambda n: n < 3, lambda n: [0] * n])
def test_a_symbolic_size_has_no_value(use: Any) -> None:
    with pytest.raises(SymbolicValueError, match=r"no value while .* built") as caught:
        use(dims.named("n"))
    assert __file__ in str(caught.value)


@pytest.mark.parametrize("choose", [dims.minimum, dims.maximum])
def test_a_choice_has_one_form_in_whatever_order(choose: Any) -> None:
    sizes = [dims.named("n"), dims.named("m") + 1, 2 * dims.named("k"), 3]
    found = {
        choose(choose(a, b), choose(c, d)) for a, b, c, d in itertools.permutations(sizes)
    } | {choose(a, choose(choose(b, c), d)) for a, b, c, d in itertools.permutations(sizes)}
    assert len(found) == 1
    assert len({str(size) for size in found}) == 1
    assert choose(*sizes[:2]) - choose(*sizes[1::-1]) == 0
