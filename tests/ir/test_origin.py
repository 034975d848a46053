"""Where nodes come from: the user's line, scopes, what is inherited, the warning once a line."""

from __future__ import annotations

import inspect
import warnings

import numpy as np
import pytest

import graphc as gc
from graphc.errors import DTypeWarning, SymbolicValueError
from graphc.ir import origin
from graphc.ir.graph import walk


def line() -> int:
    """The line of the caller."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


def test_a_node_knows_the_users_line_and_scope() -> None:
    x = gc.placeholder("origin_x", (3,))
    with gc.scope("mlp"), gc.scope("dense1"):
        y, here = gc.tanh(x), line()
    assert y.node.origins == (origin.Origin(__file__, here, "mlp/dense1"),)
    assert str(y.node.origins[0]) == f"{__file__}:{here}"


def test_a_node_made_twice_has_both_lines_and_at_most_cap() -> None:
    x = gc.placeholder("origin_y", (3,))
    y, first = gc.tanh(x), line()
    again, second = gc.tanh(x), line()
    assert again is y
    assert [o.line for o in y.node.origins] == [first, second]
    places = tuple(origin.Origin("f", i) for i in range(10))
    assert origin.merge((), places) == places[: origin.CAP]
    assert origin.merge(places[:2], places[1:3]) == places[:3]
    assert origin.merge(places[:1], places[:1]) == places[:1]


def test_functions_of_numpy_are_not_the_users() -> None:
    x = gc.placeholder("origin_n", (3,))
    here = line()
    with pytest.raises(SymbolicValueError) as caught:
        np.sum([x, x])
    assert caught.value.where == f"{__file__}:{here + 2}"


def test_origins_are_not_identity() -> None:
    x = gc.placeholder("origin_z", (3,))
    with gc.scope("a"):
        first = gc.exp(x)
    with gc.scope("b"):
        second = gc.exp(x)
    assert first is second
    assert [o.scope for o in first.node.origins] == ["a", "b"]


def test_derivatives_inherit_the_line_of_what_they_derive() -> None:
    x = gc.placeholder("origin_d", ())
    y, here = gc.sin(x), line()
    g = gc.grad(y, x)
    made = [n for n in walk([g]) if n.op.name == "cos"]
    assert made[0].origins[0].line == here


def test_inherit_and_scope_end_also_after_an_error() -> None:
    place = (origin.Origin("elsewhere.py", 7),)

    def fail() -> None:
        with origin.inherit(place), gc.scope("s"):
            assert origin.here() == place
            assert origin.where() == "elsewhere.py:7"
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert origin.here()[0].scope == ""
    assert origin.here()[0].file == __file__


def test_one_warning_for_each_line_that_widens() -> None:
    x, i = gc.placeholder("w", (3,)), gc.placeholder("i", (3,), "int32")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        here = line() + 2
        for _ in range(3):
            x + i
        x * 2
    assert [(w.category, w.filename, w.lineno) for w in caught] == [(DTypeWarning, __file__, here)]
    assert "float32 beside int32 gives float64" in str(caught[0].message)
