"""Penalties of parameters: functions of a variable whose result, a scalar, is added to the loss.

A layer takes one as a name or a function, for the kernel and the bias by themselves:
`Dense(10, kernel_regularizer="l2")` penalises the kernel only. `minimize` adds the penalties of
what it minimises over to the loss, unless they are part of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from graphc.elsewhere import finder
from graphc.ir.node import Tensor
from graphc.keywords import answer, answering
from graphc.nn.named import find, given_number
from graphc.ops.elementwise import abs, square
from graphc.ops.reduce import sum


def l1(strength: float = 0.01) -> Callable[[Tensor], Tensor]:
    """strength * sum(|w|): drives what is little needed to 0.

    Errors: `ArgumentError` for a strength that is no finite number >= 0.
    Source: Tibshirani, "Regression Shrinkage and Selection via the Lasso" (1996).

    >>> import graphc as gc
    >>> gc.evaluate(l1(0.1)(gc.constant([1.0, -2.0]))).round(3)
    np.float32(0.3)
    """
    return l1_l2(strength, 0.0)


def l2(strength: float = 0.01) -> Callable[[Tensor], Tensor]:
    """strength * sum(w^2), as Keras has it: its gradient is 2 * strength * w.

    Errors: as `l1`. Source: Hoerl and Kennard, "Ridge Regression" (1970).
    """
    return l1_l2(0.0, strength)


def l1_l2(l1: float = 0.01, l2: float = 0.01) -> Callable[[Tensor], Tensor]:
    """l1 * sum(|w|) + l2 * sum(w^2).

    Errors: as `l1`. Source: Zou and Hastie, "Regularization and variable selection via the elastic
    net" (2005).
    """
    first = given_number("regularizer", "l1", l1, 0.0)
    second = given_number("regularizer", "l2", l2, 0.0)

    def penalty(w: Tensor) -> Tensor:
        parts = [s * sum(f(w)) for s, f in ((first, abs), (second, square)) if s]
        return parts[0] + parts[1] if len(parts) == 2 else parts[0] if parts else sum(w) * 0

    return penalty


answer(globals())

REGULARIZERS: dict[str, Callable[..., Any]] = {"l1": l1(), "l2": l2(), "l1_l2": l1_l2()}


@answering
def get(regularizer: Any) -> Callable[[Any], Tensor] | None:
    """The regulariser for a name (0.01 strong), a function, or None.

    Errors: `ArgumentError` with the known names.
    """
    return None if regularizer is None else find("regularizer", REGULARIZERS, regularizer)


if not TYPE_CHECKING:  # a checker knows the names above, and so a misspelt one
    __getattr__ = finder(__name__)
