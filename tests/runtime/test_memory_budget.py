"""gc.compile(memory_budget=...): the same values from less memory, and true costs."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.checking import stages as check_stages
from graphc.errors import ArgumentError, CompileError, MemoryBudgetError
from graphc.ir.dim import evaluate
from graphc.pipeline.options import DEFAULTS
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.runtime.compile import compile_statistics

LAYERS, WIDTH, ROWS = 9, 32, 128


def network(dtype: str = "float32") -> tuple[Any, list[Any], Any]:
    """(input, weights, loss) of a deep net with dropout."""
    rng = np.random.default_rng(0)
    x = gc.placeholder("x", ("n", WIDTH), dtype)
    weights = [
        gc.variable((rng.standard_normal((WIDTH, WIDTH)) / WIDTH**0.5).astype(dtype), name=f"w{i}")
        for i in range(LAYERS)
    ]
    h = x
    for i, w in enumerate(weights):
        h = gc.tanh(h @ w)
        if i % 5 == 2:
            drawn = gc.random.uniform(gc.random.key(i), h.shape, dtype=dtype)
            h = gc.where(drawn < 0.9, h, 0.0)
    return x, weights, gc.mean(h * h)


def training_step(percent: int | None) -> tuple[Any, list[Any]]:
    """A step with momentum, for a share of the memory that it has without a budget."""
    x, weights, loss = network()
    updates = dict(gc.optim.Momentum(0.5).minimize(loss, weights))
    sizes = {"n": ROWS}
    step = gc.compile([x], loss, updates, sizes=sizes)
    if percent is not None:
        budget = peak(step.graph) * percent // 100
        step = gc.compile([x], loss, updates, memory_budget=budget, sizes=sizes)
    return step, [v for v, _ in step.graph.updates]


def peak(graph: gc.Graph) -> int:
    """The bytes of temporaries without a budget."""
    options = replace(DEFAULTS, sizes={"n": ROWS})
    return evaluate(run_pipeline(graph, Stages(), options=options).program.arena, {"n": ROWS})


DATA = np.random.default_rng(1).standard_normal((6, ROWS, WIDTH)).astype("float32")


# -- the same values -------------------------------------------------------------------------------
@pytest.mark.parametrize("percent", [60, 35])
def test_several_steps_give_the_same_values(percent: int) -> None:
    """Also at other sizes than the typical ones; updates are seen by the next step."""
    found, rows = [], (128, 128, 1, 50, 0, 128)
    for share in (None, percent):
        step, state = training_step(share)
        losses = [step(data[:count]) for data, count in zip(DATA, rows, strict=True)]
        found.append([*losses, *(v.value for v in state)])
    assert not np.allclose(found[0][0], found[0][1], rtol=1e-3)
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_gradients_equal_finite_differences() -> None:
    x, weights, loss = network("float64")
    outputs = [loss, gc.grad(loss, weights[3])]
    most = peak(gc.Graph([x], outputs))
    run = gc.compile([x], outputs, memory_budget=most // 2, sizes={"n": ROWS}, check=True)
    data = DATA[0].astype("float64")
    _, gradient = run(data)
    start = weights[3].value
    for i, j in ((0, 0), (5, 17), (31, 2)):
        losses = []
        for step in (1e-5, -1e-5):
            changed = start.copy()
            changed[i, j] += step
            weights[3].value = changed
            losses.append(run(data)[0])
        weights[3].value = start
        np.testing.assert_allclose(gradient[i, j], (losses[0] - losses[1]) / 2e-5, rtol=1e-5)


def test_old_values_are_read_although_an_update_is_made_before() -> None:
    """`big` is computed again from w after w has its new value; NumPy says what is right."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 64, 64)).astype("float32") / 8
    start = rng.standard_normal(64).astype("float32")
    x, w = gc.placeholder("x", (512,)), gc.variable(start, name="w")
    big = gc.tanh(x[:, None] * w) @ a
    new = w - 0.1 * gc.mean(big, axis=0)
    other = gc.tanh(gc.tanh(x[:, None] * new) @ b) @ a
    out = gc.mean(big * gc.mean(other * other, axis=0) * new, axis=0)
    budget = peak(gc.Graph([x], [out], [(w, new)])) * 7 // 10
    step = gc.compile([x], out, {w: new}, memory_budget=budget)
    assert "x 1: frees 131,072 bytes" in step.explain()
    value = start
    for _ in range(4):
        data = rng.standard_normal(512).astype("float32")
        large = np.tanh(data[:, None] * value) @ a
        value, before = value - np.float32(0.1) * large.mean(axis=0), value
        second = np.tanh(np.tanh(data[:, None] * value) @ b) @ a
        expected = (large * (second * second).mean(axis=0) * value).mean(axis=0)
        np.testing.assert_allclose(step(data), expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(w.value, value, rtol=1e-5, atol=1e-6)
        assert not np.allclose(value, before)


# -- what is said about it -------------------------------------------------------------------------
def test_costs_are_those_of_the_program_that_computes_again() -> None:
    step, _ = training_step(60)
    plain, saved = training_step(None)[0].cost(), step.cost()
    assert saved.at(n=ROWS).peak_bytes <= peak(step.graph) * 60 // 100 + 4  # the loss
    assert len(saved.steps) > len(plain.steps)
    assert plain.at(n=ROWS).flops < saved.at(n=ROWS).flops < 1.4 * plain.at(n=ROWS).flops
    assert saved.at(n=4 * ROWS).peak_bytes < 0.65 * plain.at(n=4 * ROWS).peak_bytes


def test_explain_says_what_is_computed_again_and_for_how_much() -> None:
    step, _ = training_step(60)
    text = step.explain()
    (budget,) = re.findall(r"computed again, for a budget of ([\d,]+) bytes:", text)
    assert int(budget.replace(",", "")) == peak(step.graph) * 60 // 100
    lines = re.findall(r"f32\[n,32\] x (\d+): frees ([\d,]+) bytes, takes ([\d,]+) .*# (.*)", text)
    assert lines
    for times, size, work, place in lines:
        assert int(times) > 0
        assert size == f"{ROWS * WIDTH * 4:,}"
        assert int(work.replace(",", "")) > ROWS * WIDTH * 2
        assert "test_memory_budget.py:" in place
    assert "computed again" not in training_step(None)[0].explain()


def test_a_budget_larger_than_the_peak_gives_the_same_program() -> None:
    x, weights, loss = network()
    outputs = [loss, *gc.grad(loss, weights)]
    plain = gc.compile([x], outputs)
    same = gc.compile([x], outputs, memory_budget=1 << 40)
    assert same.compilation.object.objects == plain.compilation.object.objects
    assert same.compilation.manifest == plain.compilation.manifest


# -- the cache and the checks ----------------------------------------------------------------------
def test_programs_of_other_budgets_are_other_entries() -> None:
    x, weights, loss = network()
    given: list[dict[str, Any]] = [{}, {"sizes": {"n": 256}}]
    given += [{"memory_budget": b, "sizes": {"n": 256}} for b in (250_000, 300_000)]
    before = compile_statistics()["compilations"]
    for options in given * 2:
        gc.compile([x], [loss, *gc.grad(loss, weights)], name="budgets", **options)
    assert compile_statistics()["compilations"] == before + len(given)


def test_check_all_looks_at_what_is_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    stages_of, seen = check_stages.stages_of, []

    def recorded(*arguments: Any) -> Any:
        seen.extend(stages_of(*arguments))
        return seen

    monkeypatch.setattr(check_stages, "stages_of", recorded)
    x = gc.placeholder("x", (16, 4))
    w = gc.variable(np.full((4, 4), 0.3, "float32"), name="w")
    h = x
    for _ in range(6):
        h = gc.tanh(h @ w)
    loss = gc.mean(h * h)
    outputs = [loss, gc.grad(loss, w)]
    budget = peak(gc.Graph([x], outputs)) * 8 // 10
    run = gc.compile([x], outputs, memory_budget=budget, check="all")
    expected = gc.compile([x], outputs)(DATA[0, :16, :4])
    for a, b in zip(run(DATA[0, :16, :4]), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    (*_, (_, before), (name, after)) = seen
    assert name == "fit_budget"
    assert len(after.nodes) > len(before.nodes)


# -- errors ----------------------------------------------------------------------------------------
X = gc.placeholder("given", ("n", 8))
BAD: list[tuple[dict[str, Any], str]] = [
    ({"memory_budget": 0}, "a number of bytes"),
    ({"memory_budget": -1}, "a number of bytes"),
    ({"memory_budget": 1e6}, "a number of bytes"),
    ({"memory_budget": True}, "a number of bytes"),
    ({"memory_budget": "1 MB"}, "a number of bytes"),
    ({"sizes": {"m": 3}}, "a dim that no input has"),
    ({"sizes": {0: 3}}, "a dim that no input has"),
    ({"sizes": {"n": -1}}, "not a size of 'n'"),
    ({"sizes": {"n": 2.0}}, "not a size of 'n'"),
    ({"sizes": {"n": True}}, "not a size of 'n'"),
    ({"sizes": [("n", 3)]}, "not sizes"),
]


@pytest.mark.parametrize("target", ["cpu", "reference"])
@pytest.mark.parametrize(("options", "message"), BAD)
def test_bad_options(options: dict[str, Any], message: str, target: str) -> None:
    with pytest.raises(ArgumentError, match=message) as error:
        gc.compile([X], gc.tanh(X), target=target, **options)
    assert error.value.expected
    assert error.value.given
    assert "test_memory_budget.py:" in error.value.where


def test_a_budget_that_cannot_be_met() -> None:
    x, weights, loss = network()
    with pytest.raises(MemoryBudgetError, match="at most 1,000 bytes at n = 256") as error:
        gc.compile([x], gc.grad(loss, weights), memory_budget=1000, sizes={"n": 256})
    assert isinstance(error.value, CompileError)
    assert "test_memory_budget.py:" in error.value.given
    assert error.value.hint


def test_integers_of_numpy_and_the_interpreter() -> None:
    run = gc.compile([X], gc.tanh(X), memory_budget=np.int64(4096), sizes={"n": np.int32(3)})
    interpreted = gc.compile([X], gc.tanh(X), memory_budget=1, target="reference")
    data = np.ones((2, 8), "float32")
    np.testing.assert_allclose(run(data), interpreted(data), rtol=1e-6)
