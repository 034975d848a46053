"""Activations by name: functions from a tensor to a tensor of the same shape.

A layer takes one as a name, a function, or None for `linear`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from graphc.elsewhere import finder
from graphc.ir.node import Tensor
from graphc.keywords import answer
from graphc.nn.named import find
from graphc.ops.activations import (
    celu,
    elu,
    gelu,
    gelu_tanh,
    hard_sigmoid,
    hard_swish,
    log_sigmoid,
    mish,
    relu6,
    selu,
    silu,
    softsign,
)
from graphc.ops.build import tensor
from graphc.ops.elementwise import leaky_relu, relu, sigmoid, softplus, tanh
from graphc.ops.softmax import log_softmax, softmax


def linear(x: Any) -> Tensor:
    """x itself."""
    return tensor(x, "linear")


ACTIVATIONS: dict[str, Callable[..., Tensor]] = {
    f.__name__: f
    for f in (
        celu, elu, gelu, gelu_tanh, hard_sigmoid, hard_swish, leaky_relu, linear, log_sigmoid,
        log_softmax, mish, relu, relu6, selu, sigmoid, silu, softmax, softplus, softsign, tanh,
    )
}  # fmt: skip
_ELSEWHERE = {  # as Keras, and configurations of published models, spell them
    "gelu_new": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "hard_silu": hard_swish,
    "hardsigmoid": hard_sigmoid,
    "hardswish": hard_swish,
    "swish": silu,
}


def get(activation: Any) -> Callable[..., Tensor]:
    """The activation for a name, a callable, or None (`linear`).

    Errors: `ArgumentError` with the known names.
    """
    if activation is None:
        return linear
    return find("activation", ACTIVATIONS | _ELSEWHERE, activation)


answer(globals(), ACTIVATIONS)


if not TYPE_CHECKING:  # a checker knows the names above, and so a misspelt one
    __getattr__ = finder(__name__, {name: f.__name__ for name, f in _ELSEWHERE.items()})
