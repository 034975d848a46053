"""What optimisers share that look at a whole problem: all parameters as one vector.

The loss is a graph, so that it can be computed anywhere: `Problem.at` is the same graph over other
parameters, inside the same native step. Nothing of Python runs between the trials of a line search.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence
from typing import Any, NoReturn

from graphc.autodiff.derivatives import grad, hvp
from graphc.errors import ShapeError
from graphc.ir import origin
from graphc.ir.graph import transform
from graphc.ir.node import Tensor, Variable
from graphc.ops.build import cast
from graphc.ops.reduce import sum
from graphc.ops.shape import concat, reshape
from graphc.optim.optimizer import Optimizer, Trained, Updates


class Problem:
    """A value, a scalar or residuals, as a function of one vector of all parameters."""

    def __init__(self, value: Tensor, variables: Sequence[Variable]) -> None:
        self.value, self.variables = value, list(variables)
        self.sizes = [math.prod(int(s) for s in v.shape) for v in self.variables]
        self.size = functools.reduce(operator.add, self.sizes)
        self.dtype = self.variables[0].dtype

    @property
    def x(self) -> Tensor:
        """The parameters as they are."""
        return self.flat(self.variables)

    def flat(self, parts: Sequence[Tensor]) -> Tensor:
        """Tensors of the shapes of the parameters as one vector."""
        return concat([reshape(p, (n,)) for p, n in zip(parts, self.sizes, strict=True)])

    def parts(self, vector: Tensor) -> list[Tensor]:
        """A vector as tensors of the shapes of the parameters."""
        found, start = [], 0
        for v, n in zip(self.variables, self.sizes, strict=True):
            found.append(reshape(vector[start : start + n], v.shape))
            start += n
        return found

    def at(self, vector: Tensor) -> Tensor:
        """The value for other parameters."""
        stands: dict[Tensor, Tensor] = {}
        stands.update(zip(self.variables, self.parts(vector), strict=True))
        return transform([self.value], replace=stands)[0]

    def gradient(self) -> Tensor:
        """The gradient of the value at the parameters."""
        return self.flat(grad(self.value, self.variables))

    def along(self, vector: Tensor) -> Tensor:
        """The Hessian of the value times a vector."""
        return self.flat(hvp(self.value, self.variables, self.parts(vector)))


class WholeOptimizer(Optimizer):
    """Base of optimisers that see the loss itself. They take no gradients, and no other options."""

    counts = True
    residuals = False  # whether what is minimised are residuals, whose squares count

    def __init__(self, learning_rate: Any) -> None:
        super().__init__(learning_rate)

    def minimize(self, loss: Tensor, variables: Trained) -> Updates:
        """Updates that make one step: {variable: new value}. Parameters are of one dtype.

        Errors: `GradientError` if the loss is no float scalar; `ArgumentError` as `apply` of other
        optimisers; `ShapeError` for parameters of several dtypes.
        """
        targets, state, added = self._trained(loss, variables)
        if len({w.dtype for w in targets}) > 1:
            raise self._error(
                "parameters of several dtypes", kind=ShapeError, expected="one",
                given=", ".join(dict.fromkeys(w.dtype.name for w in targets)),
            )  # fmt: skip
        if not isinstance(loss, Tensor) or (not self.residuals and loss.shape != ()):
            given = str(getattr(loss, "type", loss))[:80]
            raise self._error("not a loss", expected="a scalar tensor", given=given)
        if self.residuals and loss.shape == () and (len(targets) > 1 or targets[0].shape != ()):
            raise self._error(
                "a scalar is one residual, which several parameters make zero in many ways",
                expected="residuals, such as predictions - targets", given=str(loss.type),
                hint="optimizer.minimize(residuals, variables) squares and adds them itself",
            )  # fmt: skip
        if not self.residuals:
            loss = self._whole(loss, targets, added)
        with origin.scope(self._name):
            problem = Problem(cast(loss, targets[0].dtype), targets)
            updates: Updates = {self._count: self._count + 1}
            new = problem.parts(self.move(problem, updates))
            moved = {w: w.constrained(n) for w, n in zip(targets, new, strict=True)}
            return updates | moved | state

    def apply(self, grads: Any, variables: Any) -> NoReturn:
        """Errors: `ArgumentError`: a gradient is not enough."""
        raise self._error(
            "it needs the loss, not its gradient", hint="optimizer.minimize(loss, variables)"
        )

    def move(self, problem: Problem, updates: Updates) -> Tensor:
        """The new parameters as a vector; the new state goes to `updates`."""
        raise NotImplementedError(f"{type(self).__name__} does not define move")


def dot(a: Tensor, b: Tensor) -> Tensor:
    """The scalar product of two vectors."""
    return sum(a * b)
