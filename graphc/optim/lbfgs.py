"""L-BFGS: steps by what the last gradients say of second derivatives, with a line search."""

from __future__ import annotations

import math
from typing import Any

from graphc.autodiff.derivatives import grad
from graphc.ir.node import Tensor
from graphc.ops.build import constant
from graphc.ops.elementwise import abs, logical_and, logical_not, logical_or, minimum, sqrt, where
from graphc.ops.reduce import sum
from graphc.ops.scan import scan
from graphc.ops.shape import concat, expand_dims
from graphc.ops.while_loop import while_loop
from graphc.optim.optimizer import Updates
from graphc.optim.whole import Problem, WholeOptimizer, dot

ENOUGH, FLAT = 1e-4, 0.9  # of the strong Wolfe conditions: c1 and c2
TRIALS = 25  # of a line search at most


class LBFGS(WholeOptimizer):
    """w <- w + a p: p = -H g, where H is made of the last `history` changes of parameters and
    gradients; a by a line search for the strong Wolfe conditions
    f(w + a p) <= f(w) + 1e-4 a g p and |g(w + a p) p| <= 0.9 |g p|.

    All of it is one native call: the trials of the line search, value and gradient each, run in a
    native loop. The loss is that of all data: batches would mix their noise into H.
    `learning_rate` is the first length that is tried, but for the first step's.
    Source: Nocedal and Wright, "Numerical Optimization" (2006), algorithms 7.4, 3.5 and 3.6.
    """

    def __init__(self, learning_rate: Any = 1.0, history: int = 10) -> None:
        super().__init__(learning_rate)
        self.history = int(self._number("history", history, math.inf))
        if self.history < 1:
            raise self._error("history is out of range", expected="an int >= 1", given=str(history))
        self._states: dict[tuple[Any, ...], dict[str, Any]] = {}

    @property
    def state(self) -> list[Any]:
        return [*super().state, *(v for own in self._states.values() for v in own.values())]

    def _state(self, problem: Problem) -> dict[str, Any]:
        key = tuple(problem.variables)
        if key not in self._states:
            n, m, dtype = problem.size, self.history, problem.dtype.name
            shapes = {
                "x": (n,), "gradient": (n,), "moves": (m, n), "changes": (m, n), "scales": (m,)
            }  # fmt: skip
            self._states[key] = {
                name: self.own(name, 0.0, shape, dtype)
                for name, shape in shapes.items()
            }
        return self._states[key]

    def move(self, problem: Problem, updates: Updates) -> Tensor:
        own, x, g = self._state(problem), problem.x, problem.gradient()
        is_first = self._count == 0
        s, y = x - own["x"], g - own["gradient"]
        curvature = dot(s, y)
        bends = curvature > 1e-10 * sqrt(dot(s, s) * dot(y, y))
        usable = logical_and(logical_not(is_first), bends)
        kept = {
            "moves": _pushed(own["moves"], s, usable),
            "changes": _pushed(own["changes"], y, usable),
            "scales": _pushed(own["scales"], 1 / where(usable, curvature, 1.0), usable),
        }
        p = -_times_inverse(g, **kept)
        p = where(dot(p, g) < 0, p, -g)
        length = where(is_first, minimum(1.0, 1 / _positive(sum(abs(g)))), self.rate(problem.dtype))
        a = strong_wolfe(problem, p, dot(g, p), length)
        updates |= {own[name]: value for name, value in kept.items()}
        updates |= {own["x"]: x, own["gradient"]: g}
        return x + a * p


def _positive(x: Tensor) -> Tensor:
    return where(x > 0, x, 1.0)


def _pushed(rows: Tensor, new: Tensor, usable: Tensor) -> Tensor:
    """The rows with a new last one, and without the first."""
    return where(usable, concat([rows[1:], expand_dims(new, 0)]), rows)


def _times_inverse(g: Tensor, moves: Tensor, changes: Tensor, scales: Tensor) -> Tensor:
    """H g, by the two loops. A row whose scale is 0 is empty, and changes nothing."""

    def back(q: Any, row: Any) -> Any:
        s, y, scale = row
        part = scale * dot(s, q)
        return q - part * y, part

    def ahead(q: Any, row: Any) -> Any:
        s, y, scale, part = row
        return q + (part - scale * dot(y, q)) * s, None

    q, parts = scan(back, g, (moves, changes, scales), reverse=True)
    last = changes[-1]
    squares = dot(last, last)
    gamma = where(squares > 0, dot(moves[-1], last) / _positive(squares), 1.0)
    found: Tensor = scan(ahead, gamma * q, (moves, changes, scales, parts))[0]
    return found


def strong_wolfe(problem: Problem, p: Tensor, slope: Tensor, first: Tensor) -> Tensor:
    """A length along p that fulfils both conditions, or after `TRIALS` trials the best one that
    decreases the value; 0 if there is none.

    A trial is either one of lengths that double, until some interval holds what is sought, or one
    inside of it: the minimum of the cubic through both ends, kept off them by a tenth.
    """
    x, value = problem.x, problem.value

    def look(a: Any) -> tuple[Tensor, Tensor]:
        here = x + a * p
        f = problem.at(here)
        return f, dot(grad(f, here, unconnected="zero"), p)

    def going_on(c: Any) -> Any:
        return logical_and(logical_not(c["done"]), c["trial"] < TRIALS)

    def trial(c: Any) -> Any:
        a, inside = c["a"], c["inside"]
        f, d = look(a)
        high = logical_not(f <= value + ENOUGH * a * slope)  # also where it is no number
        worse = logical_or(high, logical_and(f >= c["low_f"], c["trial"] > 0))
        done = logical_and(logical_not(worse), abs(d) <= -FLAT * slope)
        # Where the slope points back from here, the other end is the one before.
        outwards = where(inside, c["high"] - c["low"], 1.0)
        turns = logical_and(logical_not(worse), d * outwards >= 0)
        end = logical_or(worse, turns)
        low, low_f, low_d = (
            where(worse, c[k], v) for k, v in (("low", a), ("low_f", f), ("low_d", d))
        )
        high_at = where(worse, a, where(turns, c["low"], c["high"]))
        high_f = where(worse, f, where(turns, c["low_f"], c["high_f"]))
        high_d = where(worse, d, where(turns, c["low_d"], c["high_d"]))
        between = logical_or(inside, end)
        ahead = where(between, _cubic(low, low_f, low_d, high_at, high_f, high_d), 2 * a)
        return {
            "trial": c["trial"] + 1, "a": where(done, a, ahead), "inside": between, "done": done,
            "low": low, "low_f": low_f, "low_d": low_d,
            "high": high_at, "high_f": high_f, "high_d": high_d,
        }  # fmt: skip

    nothing = first * 0
    start = {
        "trial": constant(0, "int64"), "a": first, "inside": constant(False),
        "done": constant(False), "low": nothing, "low_f": value, "low_d": slope,
        "high": nothing, "high_f": value, "high_d": slope,
    }  # fmt: skip
    found = while_loop(going_on, trial, start)
    return where(found["done"], found["a"], found["low"])


def _cubic(a: Tensor, f: Tensor, d: Tensor, b: Tensor, g: Tensor, e: Tensor) -> Tensor:
    """The minimum of the cubic of values f, g and slopes d, e at a and b; the middle where there is
    none, and never nearer to an end than a tenth."""
    apart = b - a
    d1 = d + e - 3 * (f - g) / where(apart == 0, 1.0, a - b)
    square = d1 * d1 - d * e
    fits = square >= 0  # not where something is no number
    d2 = sqrt(where(fits, square, 0.0)) * where(apart < 0, -1.0, 1.0)
    below = e - d + 2 * d2
    part = 1 - (e + d2 - d1) / where(below == 0, 1.0, below)  # of the way from a to b
    sound = logical_and(logical_and(fits, below != 0), logical_and(part > 0.1, part < 0.9))
    return a + apart * where(sound, part, 0.5)
