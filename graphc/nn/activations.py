"""Activations by name: functions from a tensor to a tensor of the same shape.

A layer takes one as a name, a function, or None for `linear`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from graphc.ir.node import Tensor
from graphc.nn.named import find
from graphc.ops.build import tensor
from graphc.ops.elementwise import (
    abs,
    clip,
    erfc,
    expm1,
    leaky_relu,
    relu,
    sigmoid,
    softplus,
    tanh,
    where,
)
from graphc.ops.softmax import log_softmax, softmax

# Klambauer et al., "Self-Normalizing Neural Networks" (2017), equation 14.
_SELU_ALPHA = 1.6732632423543772
_SELU_SCALE = 1.0507009873554805


def linear(x: Any) -> Tensor:
    """x itself."""
    return tensor(x, "linear")


def elu(x: Any, alpha: float = 1.0) -> Tensor:
    """x where x > 0, else alpha * (exp(x) - 1).

    Source: Clevert et al., "Fast and Accurate Deep Network Learning by ELUs" (2015).
    """
    t = tensor(x, "elu")
    return where(t > 0, t, alpha * expm1(t))


def selu(x: Any) -> Tensor:
    """A scaled ELU that keeps mean 0 and variance 1 from layer to layer.

    Source: Klambauer et al., "Self-Normalizing Neural Networks" (2017).
    """
    return _SELU_SCALE * elu(x, _SELU_ALPHA)


def gelu(x: Any) -> Tensor:
    """x * P(Z <= x) = x * erfc(-x / sqrt 2) / 2 for a standard normal Z: 1 + erf has no digits left
    at -5.

    Source: Hendrycks and Gimpel, "Gaussian Error Linear Units" (2016); the exact form.
    """
    t = tensor(x, "gelu")
    return 0.5 * t * erfc(t * -math.sqrt(0.5))


def silu(x: Any) -> Tensor:
    """x * sigmoid(x), also called swish.

    Source: Elfwing et al., "Sigmoid-Weighted Linear Units" (2017).
    """
    t = tensor(x, "silu")
    return t * sigmoid(t)


def mish(x: Any) -> Tensor:
    """x * tanh(softplus(x)).

    Source: Misra, "Mish: A Self Regularized Non-Monotonic Activation Function" (2019).
    """
    t = tensor(x, "mish")
    return t * tanh(softplus(t))


def softsign(x: Any) -> Tensor:
    """x / (1 + |x|).

    Source: Turian et al., "Quadratic Features and Deep Architectures for Chunking" (2009).
    """
    t = tensor(x, "softsign")
    return t / (1 + abs(t))


def hard_sigmoid(x: Any) -> Tensor:
    """x / 6 + 1/2, limited to [0, 1].

    Source: Howard et al., "Searching for MobileNetV3" (2019).
    """
    return clip(tensor(x, "hard_sigmoid") * (1 / 6) + 0.5, 0, 1)


ACTIVATIONS: dict[str, Callable[..., Tensor]] = {
    f.__name__: f
    for f in (
        elu, gelu, hard_sigmoid, leaky_relu, linear, log_softmax, mish, relu, selu, sigmoid,
        silu, softmax, softplus, softsign, tanh,
    )
}  # fmt: skip


def get(activation: Any) -> Callable[..., Tensor]:
    """The activation for a name, a callable, or None (`linear`).

    Errors: `ArgumentError` with the known names.
    """
    return linear if activation is None else find("activation", ACTIVATIONS, activation)
