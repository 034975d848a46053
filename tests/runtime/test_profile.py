"""profile(): a line for each step, shares of one whole, and nothing that stays behind."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, GraphcError, RuntimeFailure
from graphc.planning.program import working_steps

RNG = np.random.default_rng(0)
SHAPES = (20, 30), (30, 5)


def network(**options: Any) -> tuple[Any, list[gc.Variable]]:
    """Two layers, a loss and its updates."""
    x = gc.placeholder("profiled x", ("n", 20))
    w = [gc.variable(RNG.standard_normal(s).astype("f4"), name=f"w{s}") for s in SHAPES]
    loss = gc.mean(gc.square(gc.tanh(gc.tanh(x @ w[0]) @ w[1])))
    updates = {v: v - 0.1 * g for v, g in zip(w, gc.grad(loss, w), strict=True)}
    return gc.compile([x], loss, updates, name="profiled", **options), w


def data(n: int = 6) -> np.ndarray[Any, Any]:
    return RNG.standard_normal((n, 20)).astype("float32")


def test_a_line_for_each_step_and_shares_of_one_whole() -> None:
    step, weights = network()
    before = [w.value for w in weights]
    profile = step.profile([data()], runs=3)
    assert all(np.array_equal(w.value, b) for w, b in zip(weights, before, strict=True))
    steps = list(working_steps(step.compilation.compiled.program.steps))
    assert len(profile.steps) == len(steps) + 1
    assert math.isclose(sum(s.share for s in profile.steps), 1.0, abs_tol=1e-9)
    assert math.isclose(sum(s.seconds for s in profile.steps), profile.seconds, abs_tol=1e-12)
    assert all(s.seconds >= 0 and s.share >= 0 for s in profile.steps)
    assert [s.calls for s in profile.steps[:-1]] == [1.0] * len(steps)
    assert profile.steps[-1].name == "between steps"
    assert sum(s.flops for s in profile.steps) == step.cost().at(n=6).flops
    assert sum(s.bytes for s in profile.steps) == step.cost().at(n=6).bytes
    assert (profile.runs, profile.dims) == (3, {"n": 6})
    records = profile.records()
    assert records[0]["share"] == profile.steps[0].share
    text = str(profile)
    assert text.splitlines()[0].split()[:5] == ["step", "kind", "calls", "time", "share"]
    assert "3 runs, n=6" in text
    assert "test_profile.py:" in text


def test_the_normal_program_has_no_clock_and_results_are_the_same() -> None:
    step, weights = network()
    twin, others = network()
    for a, b in zip(weights, others, strict=True):
        b.value = a.value
    step.profile([data()], runs=2)
    given = data()
    np.testing.assert_array_equal(step(given), twin(given))
    for a, b in zip(weights, others, strict=True):
        np.testing.assert_array_equal(a.value, b.value)
    assert "clock" not in step.llvm


def test_steps_of_loops_are_counted_and_branches_run_one_side() -> None:
    x = gc.placeholder("profiled xs", ("t", 4))
    h, _ = gc.scan(lambda h, v: (gc.tanh(h + v), h), gc.zeros((4,)), x)
    chosen = gc.cond(gc.sum(h) > 0, lambda a: gc.exp(a), lambda a: gc.sin(a) * 2, h)
    step = gc.compile([x], chosen)
    profile = step.profile([np.ones((9, 4), "float32")], runs=2)
    assert 9.0 in [s.calls for s in profile.steps]
    assert {s.calls for s in profile.steps[:-1]} >= {0.0, 1.0, 9.0}
    inside = next(s for s in profile.steps if s.calls == 9)
    assert inside.flops == 9 * 17 * 4  # an addition and a tanh of 4 elements, at each turn
    assert math.isclose(sum(s.share for s in profile.steps), 1.0, abs_tol=1e-9)


def test_arrays_by_name_alone_and_of_no_inputs() -> None:
    step, _ = network(flush_subnormals=True)
    given = data()
    names = [s.name for s in step.profile([given], runs=1).steps]
    assert [s.name for s in step.profile({"profiled x": given}, runs=1).steps] == names
    assert [s.name for s in step.profile(given, runs=1).steps] == names
    nothing = gc.compile([], gc.iota((3,)) * 2).profile()
    assert math.isclose(sum(s.share for s in nothing.steps), 1.0)


def test_a_call_that_fails_leaves_the_variables() -> None:
    v = gc.variable(np.float32(1), name="v")
    x = gc.placeholder("x", (3,))
    value = gc.ensure(x, gc.all(x > 0), "not positive")
    step = gc.compile([x], gc.sum(value), {v: v + 1})
    with pytest.raises(RuntimeFailure, match="not positive"):
        step.profile([-np.ones(3, "float32")])
    assert v.value == 1


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (lambda: network()[0].profile([data()], runs=0), ArgumentError),
        (lambda: network()[0].profile([data()], runs=1.5), ArgumentError),
        (lambda: network()[0].profile([]), ArgumentError),
        (lambda: network()[0].profile([data(), data()]), ArgumentError),
        (lambda: network()[0].profile({"y": data()}), ArgumentError),
        (lambda: network()[0].profile([np.ones((3, 4), "f4")]), GraphcError),
        (lambda: network(target="reference")[0].profile([data()]), ArgumentError),
        (lambda: network(check="nan")[0].profile([data()]), ArgumentError),
    ],
)
def test_bad_input(given: Any, kind: type[GraphcError]) -> None:
    with pytest.raises(kind) as error:
        given()
    assert error.value.op
