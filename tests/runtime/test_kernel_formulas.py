"""`kernel.formula`: the SymPy expression of an element is what the kernel computes."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
import sympy as sp

import graphc as gc
from graphc.errors import ArgumentError
from graphc.pipeline.options import DEFAULTS
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.runtime.explain import explain
from graphc.runtime.kernels import distinct_kernels
from graphc.runtime.target import TARGETS
from tests.corpus.programs import PROGRAMS

X = gc.placeholder("x", ("n", 3), "float64")
V = gc.placeholder("v", (3,), "float64")
RNG = np.random.default_rng(1)


def value(e: Any, arrays: dict[str, np.ndarray[Any, Any]], at: dict[str, int]) -> float:
    """An expression at an index, its sums and extrema carried out: by SymPy alone."""
    sizes = {sp.Symbol("n", integer=True, nonnegative=True): len(arrays["x"])}

    def run(x: Any, index: dict[Any, int]) -> Any:
        if isinstance(x, (sp.Sum, sp.Product)) or x.func.__name__ in ("max", "min"):
            (k, low, high), *others = x.args[1:]
            inner = x.func(x.args[0], *others) if others else x.args[0]
            ks = range(int(low), int(high.subs(sizes)) + 1)
            values = [run(inner, index | {k: i}) for i in ks]
            ways: dict[Any, Any] = {"Sum": sum, "Product": np.prod, "max": max, "min": min}
            return ways[x.func.__name__](values)
        if isinstance(x, sp.Indexed):
            places = tuple(int(i.subs(index).subs(sizes)) for i in x.indices)
            return sp.Float(arrays[str(x.base)][places])
        return x.func(*(run(a, index) for a in x.args)) if x.args else x.subs(index).subs(sizes)

    return float(run(e, {sp.Symbol(k, integer=True): i for k, i in at.items()}))


CASES = {
    "elementwise": gc.tanh(X * V) + 2,
    "moved": gc.exp(X[:, ::-1])[1:] - X[:-1],
    "where": gc.where(X > 0, X, X * V),
    "softmax": gc.softmax(X),
    "columns": X - gc.max(X, axis=0) * gc.sum(X * X),
    "product": gc.prod(X, axis=1),
    "mean": gc.mean(X, axis=1, keepdims=True) + X,
}


@pytest.mark.parametrize("name", CASES)
def test_is_what_the_kernel_computes(name: str) -> None:
    y = CASES[name]
    (*_, kernel) = gc.compile([X, V], y, target="cpu").kernels
    arrays = {"x": RNG.normal(size=(4, 3)), "v": RNG.normal(size=3)}
    expected = gc.evaluate(y, {X: arrays["x"], V: arrays["v"]})
    if name == "columns":  # two kernels: what the first one leaves is an operand of the second
        assert kernel.formula.has(sp.Indexed)
        return
    for place in ((0, 0), (2, 1), (1, 2)):
        at = dict(zip("ij", place, strict=True))
        found = value(kernel.formula, arrays, at)
        assert found == pytest.approx(expected[place[: expected.ndim]], rel=1e-12)


def test_how_it_reads() -> None:
    v = gc.placeholder("v", ("n",), "float64")
    assert str(gc.compile([v], gc.exp(v) * 2).kernels[0].formula) == "2*exp(v[i])"
    two = gc.compile([v], [gc.sin(v), gc.cos(v)]).kernels[0].formula
    assert list(map(str, two)) == ["sin(v[i])", "cos(v[i])"]
    scalar = gc.placeholder("s", (), "float64")
    assert gc.compile([scalar], scalar**2 + 1).kernels[0].formula == sp.sympify("s**2 + 1").subs(
        sp.Symbol("s"), sp.Symbol("s", real=True)
    )


@pytest.mark.parametrize("name", [*PROGRAMS][::3])
def test_kernels_of_the_corpus(name: str) -> None:
    """Each has equations; a formula, or an error that names what has none."""
    graph = PROGRAMS[name]().graph
    explained = explain(graph, DEFAULTS, TARGETS["cpu"])
    for kernel in distinct_kernels(run_pipeline(graph, Stages())):
        assert kernel.latex.startswith(r"\begin{aligned}")
        assert all(" = " in line for line in kernel.text)
        assert kernel.name in explained
        with contextlib.suppress(ArgumentError):
            assert kernel.formula is not None


def test_truth_values_are_conditions() -> None:
    m = gc.placeholder("m", (3,), "bool")
    kernel = gc.compile([m, V], gc.where(m, V, 0.0) + m.astype("float64")).kernels[0]
    assert str(kernel.formula) == (
        "Piecewise((1, Ne(m[i], 0)), (0, True)) + Piecewise((v[i], Ne(m[i], 0)), (0, True))"
    )


def test_what_goes_in_order_is_named() -> None:
    (kernel,) = gc.compile([V], gc.cumsum(V)).kernels
    with pytest.raises(ArgumentError, match="cumulative_sum"):
        _ = kernel.formula
    assert "cumulative" in kernel.latex
    assert kernel.text[0].startswith("y = cumulative_sum(v")
