"""Activations that are formulas over elementwise ops. `relu`, `sigmoid` and `softplus` are ops."""

from __future__ import annotations

import math
from typing import Any

from graphc.errors import ArgumentError
from graphc.ir import origin
from graphc.ir.node import Tensor
from graphc.ops.build import cast, float_type, operands, scalar_like, tensor
from graphc.ops.elementwise import (
    abs,
    clip,
    erfc,
    expm1,
    greater,
    minimum,
    relu,
    sigmoid,
    softplus,
    tanh,
    where,
)
from graphc.ops.getitem import split
from graphc.ops.signs import heaviside

# Klambauer et al., "Self-Normalizing Neural Networks" (2017), equation 14.
_SELU_ALPHA = 1.6732632423543772
_SELU_SCALE = 1.0507009873554805
_EXACT, _BY_TANH = (False, "none"), (True, "tanh")


def _float(x: Any, name: str) -> Tensor:
    t = tensor(x, name)
    return cast(t, float_type(t.dtype))


def relu6(x: Any) -> Tensor:
    """min(max(x, 0), 6); the derivative is 0 at 0, and one half at 6.

    Source: Krizhevsky, "Convolutional Deep Belief Networks on CIFAR-10" (2010).
    """
    t = tensor(x, "relu6")
    return minimum(relu(t), scalar_like(6, t))


def elu(x: Any, alpha: float = 1.0) -> Tensor:
    """x where x > 0, else alpha * (exp(x) - 1).

    Source: Clevert et al., "Fast and Accurate Deep Network Learning by ELUs" (2015).
    """
    t = _float(x, "elu")
    return where(greater(t, scalar_like(0, t)), t, alpha * expm1(t))


def celu(x: Any, alpha: float = 1.0) -> Tensor:
    """x where x > 0, else alpha * (exp(x / alpha) - 1), whose derivative is 1 at 0.

    Source: Barron, "Continuously Differentiable Exponential Linear Units" (2017).
    """
    t = _float(x, "celu")
    return where(greater(t, scalar_like(0, t)), t, alpha * expm1(t / alpha))


def selu(x: Any) -> Tensor:
    """A scaled ELU that keeps mean 0 and variance 1 from layer to layer.

    Source: Klambauer et al., "Self-Normalizing Neural Networks" (2017).
    """
    return _SELU_SCALE * elu(x, _SELU_ALPHA)


def gelu(x: Any, approximate: Any = False) -> Tensor:
    """x * P(Z <= x) = x * erfc(-x / sqrt 2) / 2 for a standard normal Z: 1 + erf has no digits left
    at -5. With `approximate` it is x * (1 + tanh(u)) / 2, u = sqrt(2 / pi) * (x + 0.044715 * x^3).

    The form by tanh is computed as x * sigmoid(2 u), which keeps its digits below 0, and of |x| up
    to 30, from where on it is 0 or x to the last bit and a cube might overflow.
    `approximate` is a bool, as Keras and JAX have it (JAX's default is True), or "none" or "tanh",
    as torch. Errors: `ArgumentError` for anything else.
    Source: Hendrycks and Gimpel, "Gaussian Error Linear Units" (2016), section 2.

    >>> import graphc as gc
    >>> gc.evaluate([gc.gelu(-1.0), gc.gelu(-1.0, approximate="tanh")])
    [array(-0.15865525), array(-0.15880801)]
    """
    if not isinstance(approximate, (bool, str)) or approximate not in (*_EXACT, *_BY_TANH):
        raise ArgumentError(
            "not a form of gelu", op="gelu", expected="approximate=False, True, 'none' or 'tanh'",
            given=repr(approximate)[:80], where=origin.where(),
        )  # fmt: skip
    t = tensor(x, "gelu")
    if approximate in _EXACT:
        return 0.5 * t * erfc(t * -math.sqrt(0.5))
    near = clip(_float(t, "gelu"), -30, 30)
    return t * sigmoid(math.sqrt(8 / math.pi) * (near + 0.044715 * near**3))


def gelu_tanh(x: Any) -> Tensor:
    """`gelu` by tanh, as networks have it that were trained with that form."""
    return gelu(x, approximate=True)


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


def hard_swish(x: Any) -> Tensor:
    """x * hard_sigmoid(x).

    Source: Howard et al., "Searching for MobileNetV3" (2019).
    """
    t = tensor(x, "hard_swish")
    return t * hard_sigmoid(t)


def log_sigmoid(x: Any) -> Tensor:
    """log(sigmoid(x)) = -softplus(-x)."""
    return -softplus(-_float(x, "log_sigmoid"))


def step(x: Any) -> Tensor:
    """0 below 0, else 1: `heaviside(x, 1)`. No derivative flows through it."""
    return heaviside(x, 1)


def prelu(x: Any, slope: Any) -> Tensor:
    """x where x > 0, else `slope * x`: a slope for each element, or one for all.

    Source: He et al., "Delving Deep into Rectifiers" (2015).
    """
    t, s = operands("prelu", x, slope)
    return where(greater(t, scalar_like(0, t)), t, s * t)


def glu(x: Any, axis: int = -1) -> Tensor:
    """The first half of x along an axis, times the sigmoid of the second.

    Source: Dauphin et al., "Language Modeling with Gated Convolutional Networks" (2017).
    """
    first, second = split(tensor(x, "glu"), 2, axis)
    return first * sigmoid(second)


FUNCTIONS = {
    f.__name__: f
    for f in (
        relu6, elu, celu, selu, gelu, silu, mish, softsign, hard_sigmoid, hard_swish, log_sigmoid,
        step, prelu, glu,
    )
}  # fmt: skip
