"""Adam and its kin: steps along the running mean of the gradient, scaled by that of its square."""

from __future__ import annotations

import math
from typing import Any, Unpack

from graphc.ir.node import Tensor, Variable
from graphc.ops.build import cast, constant
from graphc.ops.elementwise import exp, expm1, maximum, sqrt
from graphc.optim.optimizer import Optimizer, Options, Updates


class Adam(Optimizer):
    """m <- b1 * m + (1 - b1) * g; v <- b2 * v + (1 - b2) * g^2;
    w <- w - rate * (m / c1) / (sqrt(v / c2) + epsilon), where ci = 1 - bi^t in step t = 1, 2, ...

    Computed as w - a * m / (sqrt(v) + e) with the scalars a = rate * sqrt(c2) / c1 and
    e = epsilon * sqrt(c2): equal in exact arithmetic, and one division for each element.
    Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization" (2015), algorithm 1, and the
    end of its section 2 for the order of computation.
    """

    counts = True

    def __init__(
        self,
        learning_rate: Any = 1e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.beta_1 = self._number("beta_1", beta_1, 1.0)
        self.beta_2 = self._number("beta_2", beta_2, 1.0)
        self.epsilon = self._number("epsilon", epsilon, math.inf)

    def update(self, w: Variable, g: Tensor, updates: Updates) -> None:
        m, v = self.slot(w, "first_moment"), self.slot(w, "second_moment")
        updates[m] = self.beta_1 * m + (1 - self.beta_1) * g
        updates[v] = self.beta_2 * v + (1 - self.beta_2) * g * g
        # Scalars; interned, so that parameters of one dtype share them.
        t = self.steps(w.dtype, updates)
        root = sqrt(_one_minus_power(self.beta_2, t))
        scale = sqrt(self.spread(w, updates[v], updates)) + self.epsilon * root
        updates[w] = w - self.step(w, g, t, self.rate(w.dtype) * root, updates) / scale

    def spread(self, w: Variable, v: Tensor, updates: Updates) -> Tensor:
        """The new running mean of squares `v`, or what stands for it."""
        return v

    def step(self, w: Variable, g: Tensor, t: Tensor, rate: Tensor, updates: Updates) -> Tensor:
        """The step `t`, before it is divided by the root of the mean of squares."""
        return rate / _one_minus_power(self.beta_1, t) * updates[self.slot(w, "first_moment")]


class AdamW(Adam):
    """Adam with decoupled weight decay: w shrinks by rate * weight_decay * w as well, where
    `weight_decay` is 0.01 by default.

    Source: Loshchilov and Hutter, "Decoupled weight decay regularization" (2019), algorithm 2; the
    decay is multiplied by the rate, as Keras and PyTorch do.
    """

    def __init__(
        self,
        learning_rate: Any = 1e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        **options: Unpack[Options],
    ) -> None:
        options.setdefault("weight_decay", 0.01)
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **options)


class AMSGrad(Adam):
    """Adam that divides by the largest of all means of squares so far: u <- max(u, v), for v.

    Source: Reddi, Kale, Kumar, "On the Convergence of Adam and Beyond" (2018), algorithm 2, with
    Adam's corrections, which that leaves out.
    """

    def spread(self, w: Variable, v: Tensor, updates: Updates) -> Tensor:
        u = self.slot(w, "largest_second_moment")
        updates[u] = maximum(u, v)
        return updates[u]


class Nadam(Adam):
    """Adam with Nesterov's momentum: for m / c1 in step t,
    mu(t+1) * m / (1 - mu(1) ... mu(t+1)) + (1 - mu(t)) * g / (1 - mu(1) ... mu(t)),
    where mu(t) = b1 * (1 - 0.96^(0.004 t) / 2).

    Source: Dozat, "Incorporating Nesterov Momentum into Adam" (2016), algorithm 2, with the
    schedule of mu that its section 3 gives.
    """

    def __init__(
        self,
        learning_rate: Any = 1e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **options)
        self._product = self.own("momentum_product", 1.0)

    @property
    def state(self) -> list[Variable]:
        count, *rest = super().state
        return [count, self._product, *rest]

    def step(self, w: Variable, g: Tensor, t: Tensor, rate: Tensor, updates: Updates) -> Tensor:
        count = cast(updates[self.iterations], self._product.dtype)
        now, then = self._momentum(count), self._momentum(count + 1)
        updates[self._product] = done = self._product * now
        ahead, here = (cast(f, w.dtype) for f in (then / (1 - done * then), (1 - now) / (1 - done)))
        return rate * ahead * updates[self.slot(w, "first_moment")] + rate * here * g

    def _momentum(self, t: Tensor) -> Tensor:
        return self.beta_1 * (1 - 0.5 * exp(0.004 * math.log(0.96) * t))


def _one_minus_power(beta: float, t: Tensor) -> Tensor:
    """1 - beta^t as -expm1(t * log(beta)): in float32, 1 - 0.999 has only four good digits."""
    return -expm1(t * math.log(beta)) if beta else constant(1.0, t.dtype)
