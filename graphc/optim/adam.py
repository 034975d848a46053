"""Adam: steps scaled by running moments of the gradient."""

from __future__ import annotations

import math
from typing import Any

from graphc.ir.node import Tensor, Variable
from graphc.ops.build import cast
from graphc.ops.elementwise import expm1, sqrt
from graphc.ops.leaf import variable
from graphc.optim.optimizer import Optimizer, Updates


class Adam(Optimizer):
    """m <- b1 * m + (1 - b1) * g; v <- b2 * v + (1 - b2) * g^2;
    w <- w - rate * (m / c1) / (sqrt(v / c2) + epsilon), where ci = 1 - bi^t in step t = 1, 2, ...

    Computed as w - a * m / (sqrt(v) + e) with the scalars a = rate * sqrt(c2) / c1 and
    e = epsilon * sqrt(c2): equal in exact arithmetic, and one division for each element.
    Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization" (2015), algorithm 1, and the
    end of its section 2 for the order of computation.
    """

    def __init__(
        self,
        learning_rate: Any = 1e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
    ) -> None:
        super().__init__(learning_rate)
        self.beta_1 = self._number("beta_1", beta_1, 1.0)
        self.beta_2 = self._number("beta_2", beta_2, 1.0)
        self.epsilon = self._number("epsilon", epsilon, math.inf)
        self.iterations = variable(0, "adam/iterations", trainable=False, dtype="int64")

    @property
    def state(self) -> list[Variable]:
        return [self.iterations, *super().state]

    def begin(self, updates: Updates) -> None:
        updates[self.iterations] = self.iterations + 1

    def update(self, w: Variable, g: Tensor, updates: Updates) -> None:
        m, v = self.slot(w, "first_moment"), self.slot(w, "second_moment")
        new_m = self.beta_1 * m + (1 - self.beta_1) * g
        new_v = self.beta_2 * v + (1 - self.beta_2) * g * g
        # Scalars; interned, so that parameters of one dtype share them.
        t = cast(updates[self.iterations], w.dtype)
        root = sqrt(_one_minus_power(self.beta_2, t))
        rate = self.rate(w.dtype) * root / _one_minus_power(self.beta_1, t)
        updates[m], updates[v] = new_m, new_v
        updates[w] = w - rate * new_m / (sqrt(new_v) + self.epsilon * root)


def _one_minus_power(beta: float, t: Tensor) -> Tensor:
    """1 - beta^t as -expm1(t * log(beta)): in float32, 1 - 0.999 has only four good digits."""
    return -expm1(t * math.log(beta)) if beta else (t * 0 + 1)
