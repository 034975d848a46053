"""`fastmath=True`: its rules run only when asked for, and do what they are for."""

from __future__ import annotations

import math

import numpy as np
import pytest

import graphc as gc
from graphc.ir.node import Tensor
from graphc.rewrite.driver import apply_rules
from graphc.rewrite.rules import DEFAULT, LOWERED
from graphc.rewrite.rules.fastmath import fastmath
from graphc.rewrite.ruleset import Promise

from .cases_fastmath import FASTMATH
from .checking import Case, graph_of


def test_unsafe_rules_are_apart() -> None:
    assert all(rule.promise is Promise.UNSAFE for rule in fastmath)
    default = [rule for rules in (*DEFAULT, *LOWERED) for rule in rules]
    assert not any(rule.promise is Promise.UNSAFE for rule in default)


def test_what_was_asked_for_is_compiled_and_cached() -> None:
    """One graph, two programs: the key of the cache tells them apart."""
    x = gc.placeholder("x", ("n",))
    at = np.array([0.0, 2.0, np.inf], np.float32)
    for _ in range(2):
        np.testing.assert_array_equal(gc.compile([x], x / x)(at), [np.nan, 1, np.nan])
        np.testing.assert_array_equal(gc.compile([x], x / x, fastmath=True)(at), [1, 1, 1])


def test_the_log_of_a_density_survives() -> None:
    """log(exp(u) / c), which the stable rules leave alone, is u - log(c); its derivative is taken
    of the formula as written, and merged by the same rules."""
    x, s = gc.placeholder("x", ("n",)), gc.placeholder("s", ())
    density = gc.exp(-(x**2) / (2 * s**2)) / (s * math.sqrt(2 * math.pi))
    f = gc.compile([x, s], gc.log(density), fastmath=True)
    x_, s_ = np.array([0.0, 1.0, 100.0], np.float32), np.float32(0.5)
    truth = -(np.float64(x_) ** 2) / 0.5 - math.log(0.5 * math.sqrt(2 * math.pi))
    np.testing.assert_allclose(f(x_, s_), truth, rtol=1e-6)
    assert np.isneginf(gc.compile([x, s], gc.log(density))(x_, s_)[2])
    assert "fastmath.split_log_of_quotient" in f.explain()


@pytest.mark.parametrize("case", FASTMATH, ids=repr)
def test_all_rules_together_come_to_an_end(case: Case) -> None:
    for program in (case.before, case.not_this):
        before: Tensor = program(gc.float32)
        once = apply_rules(graph_of(before), *DEFAULT, fastmath)
        assert apply_rules(once, *DEFAULT, fastmath) is once
