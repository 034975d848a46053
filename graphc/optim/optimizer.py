"""`Optimizer`: what all optimisers share.

An optimiser is graph to graph: `minimize` differentiates the loss and returns new values, for the
parameters and for its own state, as symbolic tensors. Nothing changes before a compiled function
with these updates is called.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.autodiff.derivatives import grad
from graphc.errors import ArgumentError, ShapeError
from graphc.ir import origin
from graphc.ir.copying import Unsaved
from graphc.ir.dtype import DType
from graphc.ir.node import Tensor, Variable
from graphc.ops.build import cast, constant, is_python_scalar
from graphc.ops.leaf import variable

Updates = dict[Variable, Tensor]


class Optimizer(Unsaved):
    """Base of the optimisers. `learning_rate` is a number, or a scalar float tensor or variable.

    One optimiser keeps one state (moments, step count) for each parameter, whatever the number of
    functions it is compiled into.
    """

    _instead = "[v.value for v in optimizer.state]"

    def __init__(self, learning_rate: Any) -> None:
        self.learning_rate = self._rate(learning_rate)
        self._slots: dict[tuple[Variable, str], Variable] = {}

    # -- what users call ---------------------------------------------------------------------------
    def minimize(self, loss: Tensor, variables: Sequence[Variable]) -> Updates:
        """Updates that make a step down the gradient of the scalar `loss`: {variable: new value}.

        Errors: `GradientError` if the loss is no float scalar or does not depend on a variable;
        `ArgumentError` as `apply`.
        """
        targets = self._checked(variables)
        return self.apply(grad(loss, targets), targets)

    def apply(self, grads: Sequence[Any], variables: Sequence[Variable]) -> Updates:
        """Updates for given gradients, one for each variable: {variable: new value}.

        Errors: `ArgumentError` for no variables, what is no float variable, one that is not
        trainable or given twice, and another number of gradients; `ShapeError` for a gradient of
        another shape.
        """
        targets, gradients = self._checked(variables), list(grads)
        if len(gradients) != len(targets):
            raise self._error(
                "one gradient for each variable",
                expected=f"{len(targets)} gradients",
                given=str(len(gradients)),
            )
        updates: Updates = {}
        with origin.scope(type(self).__name__.lower()):
            self.begin(updates)
            for w, g in zip(targets, gradients, strict=True):
                self.update(w, self._gradient(w, g), updates)
        return updates

    @property
    def state(self) -> list[Variable]:
        """The optimiser's own variables, in order of their making."""
        return list(self._slots.values())

    # -- what a subclass defines or uses -----------------------------------------------------------
    def begin(self, updates: Updates) -> None:
        """Add updates that the parameters share, such as the step count."""

    def update(self, w: Variable, g: Tensor, updates: Updates) -> None:
        """Add the new value of `w`, and of its state, for the gradient `g`."""
        raise NotImplementedError(f"{type(self).__name__} does not define update")

    def slot(self, w: Variable, name: str) -> Variable:
        """The state `name` of parameter `w`: zeros of its shape, made at first use."""
        if (w, name) not in self._slots:
            path = f"{type(self).__name__.lower()}/{w.name or 'variable'}/{name}"
            self._slots[w, name] = variable(np.zeros_like(w.value), path, trainable=False)
        return self._slots[w, name]

    def rate(self, dtype: DType) -> Tensor:
        """The learning rate as a scalar of the dtype."""
        rate = self.learning_rate
        return cast(rate, dtype) if isinstance(rate, Tensor) else constant(rate, dtype)

    # -- checks ------------------------------------------------------------------------------------
    def _rate(self, rate: Any) -> Any:
        if isinstance(rate, Tensor):
            if rate.shape != () or not rate.dtype.is_float:
                raise self._error(
                    "the learning rate is not a scalar",
                    expected="a scalar float tensor",
                    given=str(rate.type),
                )
            return rate
        return self._number("learning_rate", rate, math.inf)

    def _number(self, name: str, value: Any, below: float) -> float:
        """A finite number in [0, below)."""
        if isinstance(value, (np.floating, np.integer)):
            value = value.item()
        if not is_python_scalar(value) or isinstance(value, bool) or not 0 <= value < below:
            raise self._error(
                f"{name} is out of range",
                expected="a finite number >= 0" if below == math.inf else f"in [0, {below:g})",
                given=repr(value)[:80],
            )
        return float(value)

    def _checked(self, variables: Any) -> list[Variable]:
        found: dict[Variable, None] = {}
        for v in [variables] if isinstance(variables, Tensor) else variables:
            if not isinstance(v, Variable) or not v.dtype.is_float:
                raise self._error(
                    "not a float variable", expected="gc.variable(...)", given=repr(v)[:80]
                )
            if not v.trainable:
                raise self._error(
                    "a variable that is not trainable",
                    given=repr(v),
                    hint="leave it out, or set v.trainable = True",
                )
            if v in found:
                raise self._error("a variable is given twice", given=repr(v))
            found[v] = None
        if not found:
            raise self._error("no variables to minimize over", expected="at least one")
        return list(found)

    def _gradient(self, w: Variable, g: Any) -> Tensor:
        gradient = g if isinstance(g, Tensor) else constant(g, w.dtype)
        if gradient.shape != w.shape:
            raise self._error(
                f"the gradient does not fit {w.name!r}",
                kind=ShapeError,
                expected=str(w.type),
                given=str(gradient.type),
            )
        return cast(gradient, w.dtype)

    def _error(self, message: str, *, kind: Any = ArgumentError, **sides: str) -> Exception:
        result: Exception = kind(message, op=type(self).__name__, where=origin.where(), **sides)
        return result
