"""Optimisers with a rate for each element, by the squares of its gradients."""

from __future__ import annotations

import math
from typing import Any, Unpack

from graphc.ir.node import Tensor, Variable
from graphc.ops.elementwise import maximum, sqrt
from graphc.optim.optimizer import Optimizer, Options, Updates


class Adagrad(Optimizer):
    """a <- a + g^2; w <- w - rate * g / (sqrt(a) + epsilon), a from `initial_accumulator` on.

    Source: Duchi, Hazan, Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic
    Optimization" (2011), section 1.1, with the diagonal of its matrix.
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        initial_accumulator: float = 0.0,
        epsilon: float = 1e-10,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.initial = self._number("initial_accumulator", initial_accumulator, math.inf)
        self.epsilon = self._number("epsilon", epsilon, math.inf)

    def update(self, w: Variable, g: Tensor, updates: Updates) -> None:
        a = self.slot(w, "accumulator", self.initial)
        updates[a] = a + g * g
        updates[w] = w - self.rate(w.dtype) * g / (sqrt(updates[a]) + self.epsilon)


class RMSProp(Optimizer):
    """v <- rho * v + (1 - rho) * g^2; s = rate * g / (sqrt(v) + epsilon); w <- w - s.

    With `momentum`, u <- momentum * u + s and w <- w - u. With `centered`, the running mean of g is
    kept as well, and its square taken from v: a variance instead of a mean of squares.
    Source: Tieleman and Hinton, "Lecture 6.5: rmsprop" (2012); Graves, "Generating sequences with
    recurrent neural networks" (2013), equations 38 to 41, for the two options.
    """

    def __init__(
        self,
        learning_rate: Any = 1e-3,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.rho = self._number("rho", rho, 1.0)
        self.momentum = self._number("momentum", momentum, 1.0)
        self.epsilon = self._number("epsilon", epsilon, math.inf)
        self.centered = bool(centered)

    def update(self, w: Variable, g: Tensor, updates: Updates) -> None:
        v = self.slot(w, "mean_square")
        spread: Tensor = self.rho * v + (1 - self.rho) * g * g
        updates[v] = spread
        if self.centered:
            m = self.slot(w, "mean")
            mean = self.rho * m + (1 - self.rho) * g
            updates[m] = mean
            spread = maximum(spread - mean * mean, 0)  # by rounding it may be below
        step: Tensor = self.rate(w.dtype) * g / (sqrt(spread) + self.epsilon)
        if self.momentum:
            velocity = self.slot(w, "velocity")
            step = self.momentum * velocity + step
            updates[velocity] = step
        updates[w] = w - step


class Adadelta(Optimizer):
    """a <- rho * a + (1 - rho) * g^2; s = sqrt(d + epsilon) / sqrt(a + epsilon) * g;
    d <- rho * d + (1 - rho) * s^2; w <- w - rate * s.

    Source: Zeiler, "ADADELTA: An Adaptive Learning Rate Method" (2012), algorithm 1, where the rate
    is 1.
    """

    def __init__(
        self,
        learning_rate: Any = 1.0,
        rho: float = 0.95,
        epsilon: float = 1e-6,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.rho = self._number("rho", rho, 1.0)
        self.epsilon = self._number("epsilon", epsilon, math.inf)

    def update(self, w: Variable, g: Tensor, updates: Updates) -> None:
        a, d = self.slot(w, "mean_square"), self.slot(w, "mean_square_step")
        updates[a] = self.rho * a + (1 - self.rho) * g * g
        step = sqrt(d + self.epsilon) / sqrt(updates[a] + self.epsilon) * g
        updates[d] = self.rho * d + (1 - self.rho) * step * step
        updates[w] = w - self.rate(w.dtype) * step
