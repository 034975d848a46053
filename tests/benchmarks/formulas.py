"""An expression of SymPy: its value, gradient and Hessian at one point and at 10,000.

Each contender gets the same expression, compiles it as it does best, and is called with one array.
It gives one array, or views of one. NumPy's side is written by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np

from .cases import FloatArray
from .harness import Answers, NotOfferedError, Prepared, case

BODIES, POINTS = 4, 10_000
VARIABLES = 3 * BODIES
PAIRS = list(combinations(range(BODIES), 2))
# Of each pair: a well's depth, its width, its place, and the product of the charges.
NUMBERS = np.random.default_rng(5).uniform((0.5, 0.8, 0.9, -1.0), (1.5, 1.2, 1.1, 1.0), (6, 4))


@cache
def energy() -> tuple[list[Any], Any]:
    """Twelve symbols, the places of four bodies, and the sum over pairs of wells (Morse, 1929) and
    charges (Coulomb): D (exp(-2 a (r - s)) - 2 exp(-a (r - s))) + q / r."""
    import sympy as sp

    x = sp.symbols(f"x:{VARIABLES}")
    total = sp.Integer(0)
    for (i, j), (depth, width, place, charge) in zip(PAIRS, NUMBERS.tolist(), strict=True):
        r = sp.sqrt(sum((x[3 * i + c] - x[3 * j + c]) ** 2 for c in range(3)))
        near = sp.exp(-width * (r - place))
        total += depth * (near**2 - 2 * near) + charge / r
    return list(x), total


def by_hand(x: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """x: [n, 12] -> [n], [n, 12], [n, 12, 12]. A pair's part of the Hessian is a I + b d d', with
    a = e'(r) / r and b = (e''(r) - a) / r^2."""
    n = len(x)
    places = x.reshape(n, BODIES, 3)
    value, slope = np.zeros(n), np.zeros((n, BODIES, 3))
    second = np.zeros((n, BODIES, 3, BODIES, 3))
    for (i, j), (depth, width, place, charge) in zip(PAIRS, NUMBERS, strict=True):
        d = places[:, i] - places[:, j]
        r = np.sqrt(np.sum(d * d, axis=1))
        near = np.exp(-width * (r - place))
        value += depth * (near**2 - 2 * near) + charge / r
        e1 = 2 * depth * width * (near - near**2) - charge / r**2
        e2 = 2 * depth * width**2 * (2 * near**2 - near) + 2 * charge / r**3
        a = (e1 / r)[:, None, None]
        b = ((e2 - e1 / r) / r**2)[:, None, None]
        block = a * np.eye(3) + b * d[:, :, None] * d[:, None, :]
        slope[:, i] += a[:, 0] * d
        slope[:, j] -= a[:, 0] * d
        for k, m, sign in ((i, i, 1), (j, j, 1), (i, j, -1), (j, i, -1)):
            second[:, k, :, m] += sign * block
    return value, slope.reshape(n, -1), second.reshape(n, VARIABLES, VARIABLES)


def answers(value: Any, slope: Any, second: Any) -> Answers:
    """Results of one point or of many, under their names."""
    shape = (-1, VARIABLES)
    return {
        "value": np.ravel(value),
        "gradient": np.reshape(slope, shape),
        "hessian": np.reshape(second, (*shape, VARIABLES)),
    }


def split(found: Any) -> Answers:
    """Results that are one array, each point's after the other's."""
    rows = np.reshape(found, (-1, 1 + VARIABLES + VARIABLES**2))
    return answers(rows[:, 0], rows[:, 1 : 1 + VARIABLES], rows[:, 1 + VARIABLES :])


def prepared(contender: str, points: int | None) -> Prepared:
    """A contender's side at so many points; None: at one, which has no axis of points."""
    grid = np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]).ravel()
    x = grid + np.random.default_rng(6).uniform(-0.2, 0.2, (points or 1, VARIABLES))
    call: Callable[[], Any]
    match contender:
        case "numpy":
            return Prepared(lambda: by_hand(x), answers(*by_hand(x)))
        case "graphc":
            import graphc as gc

            symbols, formula = energy()
            function = gc.lambdify([symbols], formula, gradient=True, hessian=True)
            given = x[0] if points is None else np.ascontiguousarray(x.T)
            return Prepared(lambda: function(given), answers(*function(given)))
        case "jax":
            import jax
            import sympy as sp

            symbols, formula = energy()
            single = sp.lambdify([symbols], formula, "jax", cse=True)
            with jax.enable_x64(True):
                value_of = jax.value_and_grad(single)
                second_of = jax.hessian(single)

                def all_of(x: Any) -> Any:
                    return *value_of(x), second_of(x)

                compiled = jax.jit(all_of if points is None else jax.vmap(all_of))
                placed = jax.device_put(x[0] if points is None else x)
                found = jax.block_until_ready(compiled(placed))

            def call() -> Any:
                with jax.enable_x64(True):
                    return jax.block_until_ready(compiled(placed))

            return Prepared(call, answers(*map(np.asarray, found)))
        case "symengine":
            import symengine

            symbols, formula = energy()
            v, e = symengine.symbols(f"x:{VARIABLES}"), symengine.sympify(formula)
            slope = [e.diff(s) for s in v]
            rows = [e, *slope, *(d.diff(s) for d in slope for s in v)]
            compiled = symengine.Lambdify(v, rows, backend="llvm")
            given = x[0] if points is None else x
            return Prepared(lambda: compiled(given), split(compiled(given)))
        case "casadi":
            import casadi
            import sympy as sp

            symbols, formula = energy()
            v = casadi.SX.sym("x", VARIABLES)
            names = {"sqrt": casadi.sqrt, "exp": casadi.exp}
            e = sp.lambdify([symbols], formula, [names, "math"])(casadi.vertsplit(v))
            second, slope = casadi.hessian(e, v)
            row = casadi.vertcat(e, slope, casadi.reshape(casadi.densify(second), -1, 1))
            one = casadi.Function("energy", [v], [row])
            many = one if points is None else one.map(points)
            given = casadi.DM(x.T)
            return Prepared(lambda: many(given), split(many(given).full().T))
    raise NotOfferedError(contender)


@case("a formula of 12 variables: value, gradient and Hessian at a point", rtol=1e-9, atol=1e-9)
def formula_point(contender: str) -> Prepared:
    return prepared(contender, None)


@case("the same formula at 10,000 points", rtol=1e-9, atol=1e-9)
def formula_points(contender: str) -> Prepared:
    return prepared(contender, POINTS)
