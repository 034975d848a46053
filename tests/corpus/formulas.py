"""Formulas as textbooks write them: they overflow, cancel, or divide 0 by 0, and so do the
derivatives that autodiff makes of them.

`FORMULAS` maps a name to a `Formula`: a function of tensors, and points for each operand at which
it is tried, ordinary and extreme. The truth is the same formula (and the derivative made of it) in
extended precision.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import graphc as gc
from graphc.autodiff.reverse import pull_back
from graphc.ir.graph import Graph
from graphc.ir.node import Tensor

Array = np.ndarray[Any, Any]

NEGATIVE = [-1000.0, -100.0, -20.0, -3.0, -1.0, -0.5, -1e-3, -1e-8]
REAL = [*NEGATIVE, *(-v for v in reversed(NEGATIVE))]
SMALL = [-0.9, -0.5, -1e-3, -1e-6, -1e-8, 1e-8, 1e-6, 1e-3, 0.5, 3.0, 1e4, 1e8]  # above -1
POSITIVE = [1e-8, 1e-3, 0.5, 1.0, 3.0, 100.0, 1e4, 1e8]
ANGLE = [-3.0, -0.5, -1e-3, -1e-8, 1e-8, 1e-4, 0.1, 1.0, 2.0, 6.0]
LABEL = [0.0, 0.25, 1.0]
ROWS = [
    [1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 0.0], [1e-8, -1e-8, 1e-3, 0.0], [20.0, 0.0, -20.0, 5.0],
    [100.0, -100.0, 50.0, 99.0], [1000.0, 999.0, -1000.0, 0.0], [-1000.0, -999.0, -998.0, -997.0],
]  # fmt: skip
CLASSES = [[0.0, 1.0, 0.0, 0.0]] * 4 + [[0.25, 0.25, 0.25, 0.25]] * 3

TINY = (64, 64)  # sigmoid(-100) is subnormal in float32: half a unit of it is a hundredth


class Formula(NamedTuple):
    """`value` of tensors, the points of each operand by name, and the largest errors allowed of
    the value and of its derivative: in units in the last place; of 1 where the result is smaller,
    if `absolute` names it (`v`, `d`, or both)."""

    value: Callable[..., Tensor]
    points: dict[str, Any]
    ulps: tuple[float, float]
    absolute: str

    def arrays(self, dtype: str) -> list[Array]:
        """Points for each operand: rows as they are, of numbers every combination."""
        given = [np.array(p, dtype) for p in self.points.values()]
        if given[0].ndim == 1:
            given = [a.ravel() for a in np.meshgrid(*given, indexing="ij")]
        return given

    def operands(self, dtype: str) -> list[Tensor]:
        """Placeholders for the operands; the derivative is that with respect to the first."""
        first = np.array(next(iter(self.points.values())))
        shape = ("n", *first.shape[1:])
        return [gc.placeholder(name, shape, dtype) for name in self.points]


FORMULAS: dict[str, Formula] = {}


def formula(
    ulps: tuple[float, float] = (4, 8), absolute: str = "", **points: Any
) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    def define(value: Callable[..., Tensor]) -> Callable[..., Tensor]:
        FORMULAS[value.__name__] = Formula(value, points, ulps, absolute)
        return value

    return define


def value_graph(name: str, dtype: str) -> Graph:
    """The formula as written."""
    operands = FORMULAS[name].operands(dtype)
    return Graph(operands, [FORMULAS[name].value(*operands)], name=name)


def derivative_graph(name: str, dtype: str, as_written: bool = False) -> Graph:
    """The derivative for any cotangent, which is the last input: what `gc.vjp` gives, or what the
    chain rule makes of the formula as it is written."""
    operands = FORMULAS[name].operands(dtype)
    value = FORMULAS[name].value(*operands)
    g = gc.placeholder("g", value.shape, dtype)
    if not as_written:
        return Graph([*operands, g], [gc.vjp(value, operands[0], g)], name=name)
    (found,) = pull_back([value], [g], operands[:1])
    assert found is not None
    return Graph([*operands, g], [found], name=name)


# -- near one and zero -----------------------------------------------------------------------------
@formula(x=SMALL)
def log_of_one_plus(x: Tensor) -> Tensor:
    return gc.log(1 + x)


@formula(x=[v for v in SMALL if v < 1])
def log_of_one_minus(x: Tensor) -> Tensor:
    return gc.log(1 - x)


@formula(x=REAL)
def exp_minus_one(x: Tensor) -> Tensor:
    return gc.exp(x) - 1


@formula(x=REAL)
def one_minus_exp(x: Tensor) -> Tensor:
    return 1 - gc.exp(-x)


@formula(x=REAL)
def log_of_exp(x: Tensor) -> Tensor:
    return gc.log(gc.exp(x))


@formula(x=POSITIVE)
def exp_of_log(x: Tensor) -> Tensor:
    return gc.exp(gc.log(x))


@formula(x=REAL)
def root_of_square(x: Tensor) -> Tensor:
    return gc.sqrt(x**2)


@formula(x=POSITIVE)
def root_by_root(x: Tensor) -> Tensor:
    return gc.sqrt(x) * gc.sqrt(x)


@formula(x=POSITIVE)
def over_its_root(x: Tensor) -> Tensor:
    return x / gc.sqrt(x)


@formula(x=POSITIVE)
def difference_of_roots(x: Tensor) -> Tensor:
    return gc.sqrt(x + 1) - gc.sqrt(x)


@formula(x=ANGLE)
def one_minus_cosine(x: Tensor) -> Tensor:
    return 1 - gc.cos(x)


@formula(x=[1e-8, 1e-3, 0.3, 0.7, 1.0, 3.0, 20.0, 100.0])
def log_of_one_minus_exp(x: Tensor) -> Tensor:
    return gc.log(1 - gc.exp(-x))


@formula(x=[1e-8, 1e-3, 0.3, 0.7, 1.0, 3.0, 20.0, 100.0])
def log_of_one_minus_exp_by_log1p(x: Tensor) -> Tensor:
    return gc.log1p(-gc.exp(-x))


# -- tails of the normal distribution --------------------------------------------------------------
TAILS = [-30.0, -6.0, -3.0, -1.0, -0.3, -1e-4, 1e-4, 0.3, 0.9, 1.0, 3.0, 6.0, 30.0]
SQUARES = (1000, 1000)  # exponents -x * x, and x / sqrt(2), are rounded: a unit for each of x * x


@formula(ulps=SQUARES, absolute="d", x=TAILS)
def complement_of_erf(x: Tensor) -> Tensor:
    return 1 - gc.erf(x)


@formula(ulps=SQUARES, absolute="d", x=TAILS)
def log_of_complement_of_erf(x: Tensor) -> Tensor:
    return gc.log(1 - gc.erf(x))


@formula(ulps=SQUARES, absolute="d", x=TAILS[:-1])
def log_of_normal_distribution(x: Tensor) -> Tensor:
    return gc.log(0.5 * (1 + gc.erf(x / math.sqrt(2))))


@formula(ulps=SQUARES, absolute="d", x=TAILS)
def gelu_by_erf(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + gc.erf(x / math.sqrt(2)))


# -- hyperbolic functions by exponentials ----------------------------------------------------------
@formula(absolute="d", x=REAL)
def tanh_by_quotient(x: Tensor) -> Tensor:
    return (gc.exp(x) - gc.exp(-x)) / (gc.exp(x) + gc.exp(-x))


@formula(absolute="d", x=REAL)
def tanh_by_decay(x: Tensor) -> Tensor:
    return (1 - gc.exp(-2 * x)) / (1 + gc.exp(-2 * x))


@formula(absolute="d", x=REAL)
def tanh_by_growth(x: Tensor) -> Tensor:
    return (gc.exp(2 * x) - 1) / (gc.exp(2 * x) + 1)


@formula(absolute="d", x=REAL)
def tanh_by_sigmoid(x: Tensor) -> Tensor:
    return 2 * gc.sigmoid(2 * x) - 1


@formula(x=[v for v in REAL if abs(v) < 1000])
def sinh_by_exponentials(x: Tensor) -> Tensor:
    return (gc.exp(x) - gc.exp(-x)) / 2


@formula(x=REAL)
def log_cosh(x: Tensor) -> Tensor:
    return gc.log((gc.exp(x) + gc.exp(-x)) / 2)


# -- the logistic function -------------------------------------------------------------------------
@formula(x=REAL)
def logistic(x: Tensor) -> Tensor:
    return 1 / (1 + gc.exp(-x))


@formula(x=REAL)
def logistic_by_growth(x: Tensor) -> Tensor:
    return gc.exp(x) / (1 + gc.exp(x))


@formula(x=REAL)
def logistic_complement(x: Tensor) -> Tensor:
    return 1 - 1 / (1 + gc.exp(-x))


@formula(x=REAL)
def softplus_as_written(x: Tensor) -> Tensor:
    return gc.log(1 + gc.exp(x))


@formula(x=REAL)
def log_of_logistic(x: Tensor) -> Tensor:
    return gc.log(1 / (1 + gc.exp(-x)))


@formula(x=REAL)
def log_of_sigmoid(x: Tensor) -> Tensor:
    return gc.log(gc.sigmoid(x))


@formula(x=REAL)
def log_of_one_minus_sigmoid(x: Tensor) -> Tensor:
    return gc.log(1 - gc.sigmoid(x))


@formula(x=REAL)
def log_odds_of_sigmoid(x: Tensor) -> Tensor:
    p = gc.sigmoid(x)
    return gc.log(p / (1 - p))


@formula(x=REAL, y=[-1.0, 1.0])
def margin_loss(x: Tensor, y: Tensor) -> Tensor:
    return gc.log(1 + gc.exp(-y * x))


@formula(ulps=(4, 16), x=REAL, y=LABEL)  # the two terms of the derivative nearly cancel
def binary_cross_entropy(x: Tensor, y: Tensor) -> Tensor:
    p = gc.sigmoid(x)
    return -(y * gc.log(p) + (1 - y) * gc.log(1 - p))


@formula(ulps=(4, 16), x=REAL, y=LABEL)
def binary_cross_entropy_by_exp(x: Tensor, y: Tensor) -> Tensor:
    p = 1 / (1 + gc.exp(-x))
    return -(y * gc.log(p) + (1 - y) * gc.log(1 - p))


@formula(ulps=TINY, absolute="d", x=REAL)
def binary_entropy(x: Tensor) -> Tensor:
    p = gc.sigmoid(x)
    return -(p * gc.log(p) + (1 - p) * gc.log(1 - p))


@formula(x=REAL)
def focal_loss(x: Tensor) -> Tensor:
    p = gc.sigmoid(x)
    return -((1 - p) ** 2) * gc.log(p)


@formula(ulps=TINY, x=REAL)
def swish(x: Tensor) -> Tensor:
    return x / (1 + gc.exp(-x))


@formula(ulps=TINY, x=REAL)
def mish(x: Tensor) -> Tensor:
    return x * gc.tanh(gc.log(1 + gc.exp(x)))


# -- sums of exponentials --------------------------------------------------------------------------
@formula(absolute="vd", x=REAL, y=[-1000.0, -1.0, 0.0, 3.0, 1000.0])
def log_of_two_exponentials(x: Tensor, y: Tensor) -> Tensor:
    return gc.log(gc.exp(x) + gc.exp(y))


@formula(absolute="vd", x=REAL, y=[-1000.0, -1.0, 0.0, 3.0, 1000.0])
def softmax_of_two(x: Tensor, y: Tensor) -> Tensor:
    return gc.exp(x) / (gc.exp(x) + gc.exp(y))


@formula(absolute="vd", z=ROWS)
def log_sum_exp(z: Tensor) -> Tensor:
    return gc.log(gc.sum(gc.exp(z), axis=1))


@formula(absolute="vd", z=ROWS)
def log_mean_exp(z: Tensor) -> Tensor:
    return gc.log(gc.mean(gc.exp(z), axis=1))


@formula(absolute="vd", z=[row[:3] for row in ROWS])
def log_mean_exp_of_three(z: Tensor) -> Tensor:
    return gc.log(gc.mean(gc.exp(z), axis=1))


@formula(absolute="vd", z=ROWS)
def softmax_as_written(z: Tensor) -> Tensor:
    return gc.exp(z) / gc.sum(gc.exp(z), axis=1, keepdims=True)


@formula(absolute="vd", z=ROWS)
def softmax_of_shifted(z: Tensor) -> Tensor:
    shifted = z - gc.max(z, axis=1, keepdims=True)
    return gc.exp(shifted) / gc.sum(gc.exp(shifted), axis=1, keepdims=True)


@formula(absolute="vd", z=ROWS)
def log_of_probabilities(z: Tensor) -> Tensor:
    return gc.log(gc.softmax(z))


@formula(absolute="vd", z=ROWS)
def log_of_quotient(z: Tensor) -> Tensor:
    return gc.log(gc.exp(z) / gc.sum(gc.exp(z), axis=1, keepdims=True))


@formula(absolute="vd", z=ROWS, y=CLASSES)
def categorical_cross_entropy(z: Tensor, y: Tensor) -> Tensor:
    return -gc.sum(y * gc.log(gc.softmax(z)), axis=1)


@formula(absolute="vd", z=ROWS, y=CLASSES)
def categorical_cross_entropy_by_exp(z: Tensor, y: Tensor) -> Tensor:
    p = gc.exp(z) / gc.sum(gc.exp(z), axis=1, keepdims=True)
    return -gc.sum(y * gc.log(p), axis=1)


@formula(absolute="vd", z=ROWS)
def entropy(z: Tensor) -> Tensor:
    p = gc.softmax(z)
    return -gc.sum(p * gc.log(p), axis=1)


@formula(ulps=(4, 16), absolute="vd", z=ROWS, q=ROWS[::-1])
def relative_entropy(z: Tensor, q: Tensor) -> Tensor:
    p = gc.softmax(z)
    return gc.sum(p * gc.log(p / gc.softmax(q)), axis=1)


# -- moments and densities -------------------------------------------------------------------------
OFFSET = [[1.0, 2.0, 3.0, 4.0], [1000.0, 1001.0, 1002.0, 1003.0], [1e4, 1e4 + 1, 1e4 - 1, 1e4]]


WIDE = [[3e-30, 4e-30, 0.0, 1e-31], [3e25, -4e25, 1e24, 0.0], [1.0, 2.0, -3.0, 4.0]]


@formula(x=WIDE)
def norm(x: Tensor) -> Tensor:
    return gc.sqrt(gc.sum(x * x, axis=1))


@formula(x=WIDE)
def unit_vectors(x: Tensor) -> Tensor:
    return x / gc.sqrt(gc.sum(x**2, axis=1, keepdims=True))


@formula(absolute="vd", x=OFFSET)
def variance_of_moments(x: Tensor) -> Tensor:
    return gc.mean(x**2, axis=1) - gc.mean(x, axis=1) ** 2
