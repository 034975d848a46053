"""Optimisers by name, with their default rates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphc import optim
from graphc.elsewhere import hint
from graphc.errors import ArgumentError
from graphc.ir import origin

OPTIMIZERS: dict[str, Callable[[], optim.Optimizer]] = {
    cls.__name__.lower(): cls
    for cls in (
        optim.SGD, optim.Momentum, optim.Nesterov, optim.Adagrad, optim.Adadelta, optim.RMSProp,
        optim.Adam, optim.AdamW, optim.AMSGrad, optim.Nadam, optim.LBFGS, optim.Newton,
    )
}  # fmt: skip


def optimizer(given: Any) -> Any:
    """The optimiser of that name, in whatever case; what is no string stays as it is.

    Errors: `ArgumentError` with the known names.

    >>> optimizer("adam").learning_rate
    0.001
    """
    if not isinstance(given, str):
        return given
    name = given.lower()
    if name not in OPTIMIZERS:
        raise ArgumentError(
            "unknown name", op="optimizer", expected=f"one of {', '.join(sorted(OPTIMIZERS))}",
            given=repr(given)[:80], where=origin.where(), hint=hint(name, OPTIMIZERS),
        )  # fmt: skip
    return OPTIMIZERS[name]()
