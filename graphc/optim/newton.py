"""Steps by second derivatives: Newton's, along conjugate gradients, and for sums of squares."""

from __future__ import annotations

import math
from typing import Any

from graphc.autodiff.jacobians import hessian, jacobian
from graphc.ir.node import Tensor
from graphc.ops.build import cast, constant
from graphc.ops.create import eye, zeros_like
from graphc.ops.diagonal import diagonal
from graphc.ops.elementwise import logical_and, logical_not, minimum, sqrt, where
from graphc.ops.linalg import solve
from graphc.ops.reduce import sum
from graphc.ops.shape import concat, matrix_transpose, reshape
from graphc.ops.while_loop import while_loop
from graphc.optim.optimizer import Updates
from graphc.optim.whole import Problem, WholeOptimizer, dot

BACKWARD = 30  # halvings of a step at most


class Newton(WholeOptimizer):
    """w <- w - rate * (H + damping * 1)^-1 g, H the matrix of second derivatives, g the gradient.

    For few parameters: a step makes and solves a matrix of their number squared. Away from a
    minimum H may lead uphill, which `damping` prevents.
    Errors: at the call a `LinAlgError` for a singular matrix.
    Source: Nocedal and Wright, "Numerical Optimization" (2006), equation 3.30.

    >>> import graphc as gc
    >>> w = gc.variable([3.0, 1.0], "w", dtype="float64")
    >>> step = gc.compile([], w, updates=gc.optim.Newton().minimize(gc.sum((w - 1) ** 2), [w]))
    >>> step(), step()
    (array([3., 1.]), array([1., 1.]))
    """

    def __init__(self, learning_rate: Any = 1.0, damping: float = 0.0) -> None:
        super().__init__(learning_rate)
        self.damping = self._number("damping", damping, math.inf)

    def move(self, problem: Problem, updates: Updates) -> Tensor:
        matrix = _square(problem, hessian(problem.value, problem.variables))
        if self.damping:
            matrix = matrix + self.damping * eye(problem.size, dtype=problem.dtype)
        return problem.x - self.rate(problem.dtype) * solve(matrix, problem.gradient())


class ConjugateGradient(WholeOptimizer):
    """w <- w + a p, where H p = -g is solved by conjugate gradients, and a is 1, 1/2, 1/4, ...
    until the loss decreases enough: f(w + a p) <= f(w) + 1e-4 a g p.

    H is never made: a turn of the loop takes one product of it with a vector, in native code. The
    loop ends where |H p + g| <= min(1/2, sqrt|g|) |g|, after `iterations` turns, or where H has no
    positive curvature, which is never gone along.
    Source: Nocedal and Wright, "Numerical Optimization" (2006), algorithms 7.1 and 3.1.
    """

    def __init__(self, learning_rate: Any = 1.0, iterations: int = 50) -> None:
        super().__init__(learning_rate)
        self.iterations_inside = int(self._number("iterations", iterations, math.inf))

    def move(self, problem: Problem, updates: Updates) -> Tensor:
        g = problem.gradient()
        p = self.direction(problem, g)
        return problem.x + backtracked(problem, g, p, self.rate(problem.dtype)) * p

    def direction(self, problem: Problem, g: Tensor) -> Tensor:
        """About -H^-1 g."""
        size = sqrt(dot(g, g))
        enough = minimum(0.5, sqrt(size)) * size
        most = self.iterations_inside

        def going_on(c: Any) -> Any:
            return logical_and(c["turn"] < most, logical_not(c["done"]))

        def turn(c: Any) -> Any:
            d, r = c["d"], c["r"]
            product = problem.along(d)
            curvature, square = dot(d, product), dot(r, r)
            convex = curvature > 0
            a = square / where(convex, curvature, 1.0)
            after = r + a * product
            first = c["turn"] == 0
            z = where(convex, c["z"] + a * d, where(first, -g, c["z"]))
            left = dot(after, after)
            done = logical_not(logical_and(convex, sqrt(left) > enough))
            ahead = left / where(square > 0, square, 1.0) * d - after
            return {"turn": c["turn"] + 1, "z": z, "r": after, "d": ahead, "done": done}

        start = {
            "turn": constant(0, "int64"), "z": zeros_like(g), "r": g, "d": -g,
            "done": constant(False),
        }  # fmt: skip
        found: Tensor = while_loop(going_on, turn, start)["z"]
        return found


def backtracked(problem: Problem, g: Tensor, p: Tensor, first: Tensor) -> Tensor:
    """A step length along p: the first one, or a half of it, a quarter, ... that decreases the
    value enough; 0 if none does."""
    value, slope, x = problem.value, dot(g, p), problem.x

    def fails(a: Any) -> Any:
        return logical_not(problem.at(x + a * p) <= value + 1e-4 * a * slope)

    def going_on(c: Any) -> Any:
        return logical_and(c["fails"], c["turn"] < BACKWARD)

    def halve(c: Any) -> Any:
        a = c["a"] / 2
        return {"turn": c["turn"] + 1, "a": a, "fails": fails(a)}

    start = {"turn": constant(0, "int64"), "a": first, "fails": fails(first)}
    found = while_loop(going_on, halve, start)
    return where(found["fails"], 0.0, found["a"])


class GaussNewton(WholeOptimizer):
    """w <- w - rate * (J' J)^-1 J' r: the sum of squares of the residuals r is minimised, as if
    they were linear; J is their Jacobian.

    `minimize(residuals, variables)` takes a tensor of residuals of any shape, not a loss.
    Errors: at the call a `LinAlgError` where J' J is singular.
    Source: Nocedal and Wright, "Numerical Optimization" (2006), equation 10.23.
    """

    residuals = True

    def __init__(self, learning_rate: Any = 1.0) -> None:
        super().__init__(learning_rate)

    def move(self, problem: Problem, updates: Updates) -> Tensor:
        matrix, vector = normal_equations(problem)
        return problem.x - self.rate(problem.dtype) * solve(matrix, vector)


class LevenbergMarquardt(WholeOptimizer):
    """w <- w - (J' J + d D)^-1 J' r, D the diagonal of J' J: between Gauss-Newton and descent.

    A step that makes the sum of squares smaller is taken, and d divided by `factor`; one that does
    not is left out, and d multiplied by it. d starts at `damping`.
    `minimize(residuals, variables)` takes a tensor of residuals of any shape, not a loss.
    Source: Marquardt, "An Algorithm for Least-Squares Estimation of Nonlinear Parameters" (1963).
    """

    residuals = True

    def __init__(self, damping: float = 1e-3, factor: float = 10.0) -> None:
        super().__init__(1.0)
        first = self._number("damping", damping, math.inf)
        self.factor = self._number("factor", factor, math.inf)
        if self.factor <= 1:
            raise self._error("factor is out of range", expected="> 1", given=repr(factor))
        self._damping = self.own("damping", first)

    @property
    def state(self) -> list[Any]:
        return [*super().state, self._damping]

    def move(self, problem: Problem, updates: Updates) -> Tensor:
        matrix, vector = normal_equations(problem)
        diagonals = diagonal(matrix)
        spread = where(diagonals > 0, diagonals, 1.0)
        damping = cast(self._damping, problem.dtype)
        identity = eye(problem.size, dtype=problem.dtype)
        new = problem.x - solve(matrix + damping * spread * identity, vector)
        before, after = (sum(r * r) for r in (problem.value, problem.at(new)))
        better = after < before
        change = where(better, 1 / self.factor, self.factor)
        updates[self._damping] = self._damping * cast(change, self._damping.dtype)
        return where(better, new, problem.x)


def normal_equations(problem: Problem) -> tuple[Tensor, Tensor]:
    """J' J and J' r."""
    blocks = jacobian(problem.value, problem.variables)
    rows = math.prod(problem.value.shape)
    r = reshape(problem.value, (rows,))
    wide = zip(blocks, problem.sizes, strict=True)
    j = concat([reshape(block, (rows, n)) for block, n in wide], axis=1)
    return matrix_transpose(j) @ j, matrix_transpose(j) @ r


def _square(problem: Problem, blocks: Any) -> Tensor:
    """The blocks of a Hessian as one matrix."""
    sizes = problem.sizes
    rows = [
        concat([reshape(b, (m, n)) for b, n in zip(row, sizes, strict=True)], axis=1)
        for row, m in zip(blocks, sizes, strict=True)
    ]
    return concat(rows)
