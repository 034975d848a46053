"""`gc.compile(..., check=...)`: what is guilty is named, and a failed check changes nothing."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import pytest

import graphc as gc
from graphc.checking.stages import first_guilty_stage
from graphc.errors import ArgumentError, CheckError, NonFiniteError, RuntimeFailure
from tests.properties.faults import Fault
from tests.properties.planted import FAULTS, planned


def here() -> int:
    return sys._getframe(1).f_lineno


def array(*values: float) -> Any:
    return np.array(values, "float32")


@pytest.fixture(autouse=True)
def no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CACHE", "0")


def fault(name: str) -> Fault:
    return next(f for f in FAULTS if f.name == name)


# -- the argument ----------------------------------------------------------------------------------
@pytest.mark.parametrize("check", ["everything", "", None, 2, ["all"], np.zeros(2)])
def test_an_unknown_check_is_refused(check: Any) -> None:
    x = gc.placeholder("x", (3,))
    with pytest.raises(ArgumentError, match="unknown check"):
        gc.compile([x], x, check=check)


def test_what_fastmath_changes_is_not_compared() -> None:
    x = gc.placeholder("x", (3,))
    with pytest.raises(ArgumentError, match="fastmath changes results"):
        gc.compile([x], x / x, check="all", fastmath=True)


@pytest.mark.parametrize("target", ["cpu", "reference"])
@pytest.mark.parametrize("check", [False, True, "all", "nan"])
def test_a_call_that_is_right_gives_what_it_gives_without_a_check(check: Any, target: str) -> None:
    x, w = gc.placeholder("x", ("n", 3)), gc.variable(array(1, 2, 3), name="w")
    y = gc.softmax(gc.tanh(x) * w, 1)
    step = gc.compile([x], {"y": y}, {w: w + gc.sum(y, 0)}, check=check, target=target)
    value = np.arange(6, dtype="float32").reshape(2, 3)
    z = np.tanh(value) * array(1, 2, 3)
    expected = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    np.testing.assert_allclose(step(value)["y"], expected, rtol=1e-5)
    np.testing.assert_allclose(w.value, array(1, 2, 3) + expected.sum(0), rtol=1e-5)


# -- check="all" -----------------------------------------------------------------------------------
def program(check: Any) -> tuple[Any, Any, int]:
    """A step whose stages, kernels, products and memory all matter, its variable, and a line."""
    x, w = gc.placeholder("x", (4, 3)), gc.variable(np.full(3, 2, "float32"), name="w")
    h = gc.exp(gc.where(gc.less(x, w), x - w, w * 0.5))
    t = gc.tanh(h @ gc.constant(np.tri(3, dtype="float32")) * 0.1)
    line = here() + 1
    out = gc.max(t, axis=1) - gc.sum(h[1:], axis=1)[0]
    step = gc.compile([x], [out, h], {w: w - gc.sum(h, 0)}, check=check)
    return step, w, line


VALUES = np.linspace(-3, 5, 12, dtype="float32").reshape(4, 3)


def test_nothing_is_reported_of_a_right_program() -> None:
    step, w, _ = program("all")
    plain, v, _ = program(False)
    for a, b in zip(step(VALUES), plain(VALUES), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(w.value, v.value)


@pytest.mark.parametrize(
    ("name", "guilty"),
    [
        ("x < y -> not x >= y", "stage 'simplify'"),
        ("a sum that starts at one", "kernel "),
        ("a slice off by one", "kernel "),
        ("operands of select swapped", "its loop IR"),
        ("operands swapped in print", "its source"),
    ],
)
def test_what_is_guilty_is_named(name: str, guilty: str) -> None:
    values = VALUES.copy()
    values[1, 1] = np.nan if "x < y" in name else values[1, 1]
    with fault(name).plant():
        step, w, _ = program("all")
        with pytest.raises(CheckError) as caught:
            step(values)
    assert guilty in str(caught.value)
    assert __file__ in str(caught.value)
    np.testing.assert_array_equal(w.value, array(2, 2, 2))


def test_machine_code_is_told_apart_from_the_program_around_it() -> None:
    """A kernel that is right as source and wrong when compiled."""
    from graphc.lower import numba_cpu

    right = numba_cpu.print_for_numba
    wrong = mock.patch.object(
        numba_cpu, "print_for_numba", lambda k: right(k).replace("exp(", "sin(")
    )
    with wrong:
        x = gc.placeholder("x", (3,))
        f = gc.compile([x], gc.exp(x) * 2, check="all")
        with pytest.raises(CheckError, match="the machine code of a kernel"):
            f(array(1, 2, 3))


def test_a_fault_of_the_program_around_the_kernels_is_told_too() -> None:
    with contextmanager(planned(lambda p: len(p.steps) > 1 and p.steps.pop()))():
        step, w, _ = program("all")
        with pytest.raises(CheckError, match="the program of them is not"):
            step(VALUES)
    np.testing.assert_array_equal(w.value, array(2, 2, 2))


def test_a_failure_stays_the_failure_that_it_is() -> None:
    x, at = gc.placeholder("x", (3,)), gc.placeholder("at", (2,), "int64")
    w = gc.variable(array(1), name="w")
    f = gc.compile([x, at], gc.take(x, at), {w: w + 1}, check="all")
    with pytest.raises(RuntimeFailure):
        f(array(1, 2, 3), np.array([0, 7]))
    assert w.value == 1
    np.testing.assert_array_equal(f(array(1, 2, 3), np.array([0, 2])), array(1, 3))


def test_the_guilty_stage_is_found_by_a_function() -> None:
    x = gc.placeholder("x", (3,))
    graph = gc.Graph([x], [gc.where(x < 1, 2.0, x)], name="g")
    arrays = [array(0, np.nan, 3)]
    assert first_guilty_stage(graph, arrays).stage == ""
    with fault("x < y -> not x >= y").plant():
        guilt = first_guilty_stage(graph, arrays)
    assert (guilt.stage, guilt.result) == ("simplify", 0)


# -- check="nan" -----------------------------------------------------------------------------------
def failing(make: Any, *values: Any) -> NonFiniteError:
    """The error of a call under check="nan"; an updated variable is as it was."""
    inputs = [gc.placeholder(f"x{i}", v.shape, v.dtype) for i, v in enumerate(values)]
    w = gc.variable(array(1, 2, 3), name="w")
    out = make(*inputs)
    f = gc.compile(inputs, out, {w: w + gc.sum(out)}, check="nan")
    with pytest.raises(NonFiniteError) as caught:
        f(*values)
    np.testing.assert_array_equal(w.value, array(1, 2, 3))
    return caught.value


def test_the_operation_and_its_line_are_named() -> None:
    def make(x: Any) -> Any:
        y = x - 2
        z = gc.log(y)  # the culprit
        return gc.sum(z * 3 + 1)

    error = failing(make, array(1, 2.5, 3))
    assert error.op == "log"
    assert error.where == f"{__file__}:{make.__code__.co_firstlineno + 2}"
    assert "1 NaN of 3 values" in error.message
    assert error.given == "float32[3] from -1.0 to 1.0"


def test_an_overflow_is_named() -> None:
    error = failing(lambda x: gc.exp(x * 50) - 1, array(1, 2, 3))
    assert error.op in ("exp", "expm1")
    assert "2 infinite of 3" in error.message


def test_a_sum_that_overflows_is_named() -> None:
    assert failing(lambda x: gc.sum(x) * 2, array(3e38, 3e38)).op == "sum"


def test_what_a_mask_removes_is_not_blamed() -> None:
    """log(0) is not taken; the division is what a result has."""

    def make(x: Any) -> Any:
        safe = gc.where(x > 0, gc.log(x), 0.0)
        return safe + 1 / (x - 2)

    assert failing(make, array(0, 1, 2)).op in ("divide", "reciprocal")


def test_infinities_of_operands_are_not_fresh_but_their_difference_is() -> None:
    assert failing(lambda x: x - gc.flip(x, 0), array(np.inf, 0, np.inf)).op == "subtract"


def test_the_operation_inside_a_loop_is_named() -> None:
    def make(x: Any) -> Any:
        return gc.scan(lambda c, r: (gc.sqrt(c - r), None), gc.sum(x), x)[0]

    error = failing(make, array(0, 5, 9))
    assert error.op == "sqrt"
    assert __file__ in error.where


def test_the_operation_inside_a_while_loop_and_a_switch_is_named() -> None:
    def loop(x: Any) -> Any:
        return gc.while_loop(lambda c: gc.sum(c) > -100, lambda c: gc.sqrt(c - 3) - 2, x)

    def chosen(x: Any) -> Any:
        return gc.switch(2, [gc.exp, gc.exp, lambda v: gc.log(v - 5)], x)

    for make, op in ((loop, "sqrt"), (chosen, "log")):
        error = failing(make, array(8, 5, 9) if op == "sqrt" else array(1, 2, 3))
        assert error.op == op
        assert __file__ in error.where


def test_values_that_came_in_so_are_passed_on() -> None:
    x = gc.placeholder("x", (3,))
    w = gc.variable(array(0), name="w")
    f = gc.compile([x], x * 2, {w: w + 1}, check="nan")
    np.testing.assert_array_equal(f(array(1, np.nan, np.inf)), array(2, np.nan, np.inf))
    assert w.value == 1


def test_a_variable_that_turns_infinite_is_reported() -> None:
    w = gc.variable(array(1e38), name="w")
    x = gc.placeholder("x", ())
    f = gc.compile([x], x + 1, {w: w * 3}, check="nan")
    f(np.float32(1))
    with pytest.raises(NonFiniteError, match="1 infinite of 1"):
        f(np.float32(1))
    assert w.value == np.float32(3e38)
