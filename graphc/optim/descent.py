"""Gradient descent, plain and with momentum."""

from __future__ import annotations

from typing import Any, Unpack

from graphc.ir.node import Tensor, Variable
from graphc.optim.optimizer import Optimizer, Options, Updates


class SGD(Optimizer):
    """w <- w - rate * g.

    Source: Robbins and Monro, "A Stochastic Approximation Method" (1951).
    """

    def __init__(self, learning_rate: Any = 0.01, **options: Unpack[Options]) -> None:
        super().__init__(learning_rate, **options)

    def update(self, w: Variable, g: Tensor, updates: Updates) -> None:
        updates[w] = w - self.rate(w.dtype) * g


class Momentum(Optimizer):
    """v <- momentum * v - rate * g; w <- w + v, or w + momentum * v - rate * g with `nesterov`.

    Source: Polyak, "Some methods of speeding up the convergence of iteration methods" (1964);
    Sutskever et al., "On the importance of initialization and momentum in deep learning" (2013),
    equations 3 and 4, in the form of Bengio et al. (2013) for Nesterov's, where the gradient is
    taken at w.
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.9,
        nesterov: bool = False,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.momentum, self.nesterov = self._number("momentum", momentum, 1.0), bool(nesterov)

    def update(self, w: Variable, g: Tensor, updates: Updates) -> None:
        velocity = self.slot(w, "velocity")
        step = self.rate(w.dtype) * g
        new = self.momentum * velocity - step
        updates[velocity] = new
        updates[w] = w + (self.momentum * new - step if self.nesterov else new)


class Nesterov(Momentum):
    """Momentum that looks ahead: `Momentum(..., nesterov=True)`."""

    def __init__(
        self, learning_rate: Any = 0.01, momentum: float = 0.9, **options: Unpack[Options]
    ) -> None:
        super().__init__(learning_rate, momentum, nesterov=True, **options)
