"""Compiled and jitted functions: pickled, copied, and as methods."""

from __future__ import annotations

import copy
import functools
import gc as collector
import inspect
import operator
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, NonFiniteError

x = gc.placeholder("x", ("n",), "float64")


@gc.jit
def double(a: Any) -> Any:
    return a * 2


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


@pytest.mark.parametrize("target", ["cpu", "reference"])
def test_a_function_comes_back_with_its_variables_results_and_options(target: str) -> None:
    w = gc.variable(np.array([1.0]), "w")
    outputs = {"scaled": x * w, "sum": gc.sum(x)}
    f = gc.compile([x], outputs, {w: w + 1}, target=target, name="step", sizes={"n": 9})
    for again in (pickled, copy.deepcopy):
        w.value = [1.0]
        g, v = again([f, w])
        assert v is not w
        assert g.graph.variables == (v,)
        for step in (1, 2):
            given = g(x=np.arange(3.0))
            np.testing.assert_array_equal(given["scaled"], np.arange(3.0) * step)
            assert given["sum"] == 3
        assert (v.value.tolist(), w.value.tolist()) == ([3], [1])
        assert (g._given, repr(g)) == (f._given, repr(f))
    assert copy.copy(f) is f


def test_checks_come_back() -> None:
    f = gc.compile([x], 1 / x, target="reference", check="nan")
    with pytest.raises(NonFiniteError):
        pickled(f)(np.zeros(1))


def test_a_function_is_found_in_the_cache_by_another_process(tmp_path: Path) -> None:
    f = gc.compile([x], [gc.tanh(x) + 1.25])
    (tmp_path / "f").write_bytes(pickle.dumps(f))
    code = f"""
import pickle, sys, numpy as np
f = pickle.load(open({str(tmp_path / "f")!r}, "rb"))
from graphc.runtime.compile import compile_statistics
print(f(np.zeros(2))[0].tolist(), compile_statistics()["cache_hits"], "numba" in sys.modules)
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert (done.stdout, done.stderr) == ("[1.25, 1.25] 1 False\n", "")


# -- jit -------------------------------------------------------------------------------------------
def test_a_jitted_function_is_pickled_by_name() -> None:
    assert pickled(double) is copy.copy(double) is copy.deepcopy(double) is double

    @gc.jit
    def local(a: Any) -> Any:
        return a

    with pytest.raises(ArgumentError, match="by its name") as caught:
        pickle.dumps(local)
    assert "local" in caught.value.expected
    assert "gc.compile" in caught.value.hint
    assert copy.deepcopy({"f": local})["f"] is local


class Model:
    def __init__(self, factor: float) -> None:
        self.factor = factor
        self.shift = gc.variable(np.array(0.0))

    @gc.jit(target="reference")
    def scaled(self, a: Any, *, plus: float = 0) -> Any:
        """The docstring stays."""
        return a * self.factor + self.shift + plus

    @staticmethod
    @gc.jit(target="reference")
    def halved(a: Any) -> Any:
        return a / 2


def test_a_method_has_programs_for_each_object() -> None:
    one, two = Model(2.0), Model(3.0)
    for model, factor in ((one, 2), (two, 3)):
        for size in (2, 5):
            a = np.arange(float(size))
            np.testing.assert_array_equal(model.scaled(a), a * factor)
        model.shift.value = 1.0
        np.testing.assert_array_equal(model.scaled(a, plus=1.0), a * factor + 2)
        assert model.scaled.programs == 2
    np.testing.assert_array_equal(Model.halved(np.ones(2)), [0.5, 0.5])
    scaled: Any = Model.scaled
    assert one.scaled.__doc__ == scaled.__doc__ == "The docstring stays."
    assert list(inspect.signature(scaled).parameters) == ["self", "a", "plus"]
    assert list(inspect.signature(one.scaled).parameters) == ["a", "plus"]
    np.testing.assert_array_equal(gc.evaluate(one.scaled(x), {x: [1.0]}), [3])  # inside others


def test_what_python_would_not_bind_is_no_method() -> None:
    times = Model(3.0).scaled

    class Holder:
        @gc.jit(target="reference")
        @staticmethod
        def halved(a: Any) -> Any:
            return a / 2

        tripled = gc.jit(functools.partial(operator.mul, 3), target="reference")
        bound = gc.jit(times, target="reference")
        nested = gc.jit(gc.jit(lambda self, a: a + self.one), target="reference")
        one = 1

    a = np.arange(3.0)
    np.testing.assert_array_equal(Holder().halved(a), a / 2)
    np.testing.assert_array_equal(Holder().tripled(a), a * 3)
    np.testing.assert_array_equal(Holder().bound(a), a * 3)
    np.testing.assert_array_equal(Holder().nested(a), a + 1)


def test_copies_of_an_object_trace_anew() -> None:
    one = Model(2.0)
    one.scaled(np.ones(1))
    for two in (copy.deepcopy(one), pickled(one)):
        two.factor, two.shift.value = 5.0, 1.0
        np.testing.assert_array_equal(two.scaled(np.ones(1)), [6])
        np.testing.assert_array_equal(pickled(two.scaled)(np.ones(1)), [6])
    np.testing.assert_array_equal(one.scaled(np.ones(1)), [2])


def test_programs_of_a_method_go_with_the_object() -> None:
    scaled: Any = Model.scaled
    collector.collect()  # the objects of other tests, some in circles
    before = len(scaled._methods)
    model = Model(2.0)
    model.scaled(np.ones(1))
    assert len(scaled._methods) == before + 1
    del model
    collector.collect()
    assert len(scaled._methods) == before


def test_a_method_of_an_object_without_weak_references() -> None:
    class Slotted:
        __slots__ = ()

        @gc.jit
        def twice(self, a: Any) -> Any:
            return a * 2

    with pytest.raises(ArgumentError, match="weakly") as caught:
        Slotted().twice(np.ones(1))
    assert "__weakref__" in caught.value.hint
