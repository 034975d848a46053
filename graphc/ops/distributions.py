"""Distributions made of uniform numbers, bits and normal ones: `gc.random.*`.

Where a formula leads from uniform numbers to a distribution, each element is computed alone.
Rejection is a native loop: in each turn all elements draw with a new key, and those that have no
number yet take what is accepted. Standard distributions have neither place nor scale: write
`place + scale * laplace(key, shape)`, which has derivatives by both.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.ir import dtype as dtypes
from graphc.ir import origin
from graphc.ir.dim import product as size_product
from graphc.ir.dtype import DType, default_dtype, float32, float64, int64, uint64
from graphc.ir.node import Tensor
from graphc.ir.shape import broadcast, normalize_axis, shape_of, show
from graphc.ops.build import cast, constant, settle, tensor
from graphc.ops.contract import matmul
from graphc.ops.elementwise import (
    abs,
    clip,
    exp,
    floor,
    greater,
    isfinite,
    less,
    log,
    log1p,
    logical_and,
    logical_not,
    logical_or,
    maximum,
    minimum,
    shift_right,
    sigmoid,
    sqrt,
    where,
)
from graphc.ops.gamma import lgamma
from graphc.ops.gather import take
from graphc.ops.index import strided_slice
from graphc.ops.linalg import cholesky
from graphc.ops.quantile import ndtr, ndtri
from graphc.ops.random_bits import bits_of, float_of, fold_in, normal, scaled, split, uniform
from graphc.ops.reduce import any as any_of
from graphc.ops.reduce import argmax
from graphc.ops.shape import broadcast_to, reshape
from graphc.ops.shuffling import random_order
from graphc.ops.sorting import argsort
from graphc.ops.while_loop import while_loop

LARGE = 10.0  # the mean of counts from which they are drawn by rejection, rather than one by one


# -- by a formula ----------------------------------------------------------------------------------
def exponential(key: Any, shape: Any = (), dtype: Any = None) -> Tensor:
    """Numbers of the exponential distribution of mean 1: -log(u), u uniform in (0, 1].

    Dtypes: the default dtype where none is given. The largest are 22 in float32, 37 in float64.
    Errors: `DTypeError` for no float.
    """
    to = float_of("random.exponential", dtype)
    return -log(_above_zero(key, shape, to))


def gumbel(key: Any, shape: Any = (), dtype: Any = None) -> Tensor:
    """Numbers of the Gumbel distribution, exp(-exp(-x)): -log(-log(1 - u)), u uniform in (0, 1).

    Dtypes, errors: as `exponential`.
    """
    to = float_of("random.gumbel", dtype)
    below_one = float(np.nextafter(to.numpy.type(1), to.numpy.type(0)))
    return -log(-log1p(-minimum(_above_zero(key, shape, to), below_one)))


def laplace(key: Any, shape: Any = (), dtype: Any = None) -> Tensor:
    """Numbers of the Laplace distribution, exp(-|x|) / 2.

    Dtypes, errors: as `exponential`.
    """
    to = float_of("random.laplace", dtype)
    size, side = split(key)
    drawn = -log(_above_zero(size, shape, to))
    return where(shift_right(bits_of(side, shape), 31) == 0, drawn, -drawn)


def _above_zero(key: Any, shape: Any, to: DType) -> Tensor:
    """Numbers uniform in (0, 1], fine near 0: multiples of 2^-32 or 2^-53, rounded."""
    if to is float32:
        return scaled(cast(bits_of(key, shape), to) + constant(1.0, to), -32)
    return constant(1.0, to) - uniform(key, shape, to)


def truncated_normal(
    key: Any, lower: Any, upper: Any, shape: Any = None, dtype: Any = None
) -> Tensor:
    """Standard normal numbers that are between `lower` and `upper`; NaN where none is.

    By the inverse of the distribution, from the side on which it is small, so that bounds far from
    0 cost no digits; there are derivatives by both bounds, which may be infinite.
    Shapes: the bounds broadcast to `shape`, or to each other where it is None. Dtypes: float, the
    bounds' where none is given. Errors: `ShapeError`, `DTypeError`.

    >>> import graphc as gc
    >>> x = gc.evaluate(gc.random.truncated_normal(gc.random.key(1), 2.0, 3.0, (100,)))
    >>> bool((2 <= x).all()) and bool((x <= 3).all())
    True
    """
    low, high = _parameters("truncated_normal", dtype, shape, lower, upper)
    turned = greater(low, -high)  # more of it is above 0
    first, last = where(turned, -high, low), where(turned, -low, high)
    u = maximum(uniform(key, low.shape, low.dtype), constant(2.0**-25, low.dtype))
    below, above = ndtr(first), ndtr(last)
    found = clip(ndtri(below + u * (above - below)), first, last)
    return where(less(low, high), where(turned, -found, found), float("nan"))


def randint(key: Any, shape: Any, low: int, high: int, dtype: Any = "int64") -> Tensor:
    """Ints uniform in low, ..., high - 1: parts of 2^64 words of equal size, but for 2^-32 of it.

    Dtypes: int64, or the integer dtype that is given.
    Errors: `ArgumentError` for an empty interval or one of more than 2^32 numbers, and for bounds
    that are no ints or not of the dtype; `DTypeError` for no integers.

    >>> import graphc as gc
    >>> rolls = gc.random.randint(gc.random.key(1), (1000,), 1, 7)
    >>> int(gc.evaluate(gc.min(rolls))), int(gc.evaluate(gc.max(rolls)))
    (1, 6)
    """
    to = dtypes.dtype(dtype)
    if not to.is_integer:
        raise DTypeError("only ints", op="random.randint", expected="ints", given=to.name)
    info = np.iinfo(to.numpy)
    for name, bound in (("low", low), ("high - 1", high)):
        inside = isinstance(bound, (int, np.integer)) and not isinstance(bound, bool)
        if not inside or not info.min <= bound - (name != "low") <= info.max:
            raise _error("randint", "a bound is no int of the dtype", f"{name} in {to.name}", bound)
    if not 0 < high - low <= 1 << 32:
        raise _error("randint", "an empty interval, or one too long", "1 to 2^32 ints", (low, high))
    count = constant(int(high) - int(low), uint64)
    first, second = (cast(bits_of(key, shape, word), uint64) for word in (0, 1))
    carried = shift_right(second * count, 32)  # of the lower word's product
    drawn = shift_right(first * count + carried, 32)
    return cast(cast(drawn, int64) + constant(int(low), int64), to) if low else cast(drawn, to)


def categorical(key: Any, logits: Any, shape: Any = (), axis: int = -1) -> Tensor:
    """Positions along `axis`, each with probability softmax(logits): where logits + gumbel is
    largest.

    Shapes: logits [..., classes, ...] -> [*shape, ...]. Dtypes: int64.
    Errors: `DTypeError` for logits that are no floats; `ShapeError` for a scalar.
    Source: Maddison, Tarlow, Minka, "A* Sampling" (2014), section 2.
    """
    given = _floats("categorical", logits)
    if not given.ndim:
        raise ShapeError(
            "no axis of classes", op="random.categorical", expected="[..., classes]",
            given=str(given.type), where=origin.where(),
        )  # fmt: skip
    place = normalize_axis("random.categorical", axis, given.ndim) - given.ndim
    noise = gumbel(key, (*shape_of(shape), *given.shape), given.dtype)
    return cast(argmax(given + noise, axis=place), int64)


def choice(
    key: Any, a: Any, shape: Any = (), p: Any = None, *, replace: bool = True
) -> Tensor:
    """Elements of `a` along its first axis, or of 0, ..., a - 1 for an int, drawn with replacement:
    equally likely, or with the probabilities `p`. Without `replace` each at most once; with `p`
    then one after another, each with the probabilities of those that are left.

    Shapes: a [n, ...], p [n] -> [*shape, ...]. Errors: `ArgumentError` for nothing to choose from;
    `ShapeError` for a scalar, for more than there are without `replace`, and for an axis that has
    no static size, where neither `p` nor `replace=False` is given.
    Source: without replacement the largest of log p + g, g from Gumbel's distribution: Efraimidis
    and Spirakis, Weighted random sampling with a reservoir, 2006.
    """
    is_count = isinstance(a, (int, np.integer)) and not isinstance(a, bool)
    pool = None if is_count else tensor(a, "random.choice")
    if pool is not None and not pool.ndim:
        raise ShapeError(
            "nothing to choose from", op="random.choice", expected="[n, ...], or an int",
            given=str(pool.type), where=origin.where(),
        )  # fmt: skip
    if not replace:
        places = _without_replacement(key, a if pool is None else pool.shape[0], shape, p)
    elif p is not None:
        places = categorical(key, log(_floats("choice", p)), shape)
    else:
        count = a if pool is None else pool.shape[0]
        if not isinstance(count, (int, np.integer)):
            raise ShapeError(
                "the count of what to choose from is symbolic", op="random.choice",
                expected="a static size", given=str(count), where=origin.where(),
                hint="give p, for example gc.full((n,), 1.0) / n",
            )  # fmt: skip
        if count < 1:
            raise _error("choice", "nothing to choose from", "at least one element", count)
        places = randint(key, shape, 0, int(count))
    return places if pool is None else take(pool, places, axis=0)


def _without_replacement(key: Any, count: Any, shape: Any, p: Any) -> Tensor:
    """So many different places below `count`, as the shape has elements."""
    sizes = shape_of(shape)
    if p is None:
        order = random_order(key, (count,))
    else:
        weights = log(_floats("choice", p))
        order = argsort(weights + gumbel(key, weights.shape, weights.dtype), descending=True)
    drawn = size_product(sizes)
    if isinstance(drawn, int) and isinstance(order.size, int) and drawn > order.size:
        raise ShapeError(
            f"{drawn} different ones of {order.size}", op="random.choice",
            expected=f"at most {order.size}", given=str(sizes), where=origin.where(),
        )  # fmt: skip
    return reshape(strided_slice(order, (0,), (drawn,), (1,)), sizes)


def multivariate_normal(key: Any, mean: Any, covariance: Any, shape: Any = ()) -> Tensor:
    """Vectors of a normal distribution: mean + L z, L the Cholesky factor of the covariance.

    Shapes: mean [n], covariance [n, n] -> [*shape, n]. Dtypes: float.
    Errors: those of `linalg.cholesky`, for a covariance that is not positive definite at the call;
    `ShapeError` for what does not fit.
    """
    centre = _floats("multivariate_normal", mean)
    factor = cholesky(cast(_floats("multivariate_normal", covariance), centre.dtype))
    if centre.ndim != 1 or factor.ndim != 2:
        raise ShapeError(
            "not a mean and a covariance", op="random.multivariate_normal",
            expected="[n] and [n, n]", given=f"{centre.type} and {factor.type}",
            where=origin.where(),
        )  # fmt: skip
    z = normal(key, (*shape_of(shape), *centre.shape), centre.dtype)
    return centre + matmul(z, factor.T)


# -- by rejection ----------------------------------------------------------------------------------
def gamma(key: Any, a: Any, shape: Any = None, dtype: Any = None) -> Tensor:
    """Numbers of the gamma distribution x^(a-1) exp(-x) / gamma(a); NaN for an a that is not > 0.

    Shapes: `shape`, or that of a, which broadcasts to it. Dtypes: that of a, for a number the
    default one. No derivative by a.
    Source: Marsaglia and Tsang, "A Simple Method for Generating Gamma Variables" (2000), with its
    section 6 for a < 1.
    """
    drawn, power = _gamma(key, *_parameters("gamma", dtype, shape, a))
    return drawn * exp(power)


def beta(key: Any, a: Any, b: Any, shape: Any = None, dtype: Any = None) -> Tensor:
    """Numbers of the beta distribution x^(a-1) (1-x)^(b-1) / B(a, b): g / (g + h) for g, h of the
    gamma distributions of a and b, by their logarithms.

    Shapes: `shape`, or that to which a and b broadcast. Dtypes, derivatives: as `gamma`.
    """
    first, second = _parameters("beta", dtype, shape, a, b)
    of_a, of_b = split(key)
    (g, p), (h, q) = _gamma(of_a, first), _gamma(of_b, second)
    return sigmoid(log(g) + p - log(h) - q)


def _gamma(key: Any, a: Tensor) -> tuple[Tensor, Tensor]:
    """x and y, of which x * exp(y) has the gamma distribution: y is far below 0 for small a."""
    draws, boost = split(key)
    small = a < 1
    d = where(small, a + 1, a) - 1 / 3
    c = 1 / sqrt(9 * d)
    valid = logical_and(a > 0, isfinite(a))

    def propose(key: Tensor) -> tuple[Tensor, Tensor]:
        first, second = split(key)
        x = normal(first, a.shape, a.dtype)
        u = _above_zero(second, a.shape, a.dtype)
        v = 1 + c * x
        v = v * v * v
        bound = 0.5 * x * x + d - d * v + d * log(where(v > 0, v, 1))
        return logical_and(v > 0, log(u) < bound), v

    v = _accepted(draws, logical_not(valid), cast(0 * d, a.dtype) + 1, propose)
    power = where(small, log(_above_zero(boost, a.shape, a.dtype)) / a, 0)
    return where(valid, d * v, where(a == math.inf, a, math.nan)), power


def poisson(key: Any, mean: Any, shape: Any = None, dtype: Any = "int64") -> Tensor:
    """Counts k with probability mean^k exp(-mean) / k!; -1 for a mean that is negative, NaN or
    above 2^53.

    Shapes: `shape`, or that of the mean, which broadcasts to it. Dtypes: int64, or the integer
    dtype that is given. No derivative.
    Source: below a mean of 10 products of uniform numbers (Knuth, "The Art of Computer
    Programming", volume 2, section 3.4.1); above, Hoermann, "The transformed rejection method for
    generating Poisson random variables" (1993), algorithm PTRS.
    """
    (m,) = _parameters("poisson", float64, shape, mean)
    valid = logical_and(m >= 0, m <= 2.0**53)
    few = logical_and(valid, m < LARGE)
    many = logical_and(valid, logical_not(few))
    of_few, of_many = split(key)
    count = where(few, _by_products(of_few, few, exp(-where(few, m, 0))), -1.0)
    mu = where(many, m, LARGE)
    b = 0.931 + 2.53 * sqrt(mu)
    a = -0.059 + 0.02483 * b

    def propose(key: Tensor) -> tuple[Tensor, Tensor]:
        u, v, us = _hat(key, mu)
        k = floor((2 * a / us + b) * u + mu + 0.43)
        quick = logical_and(us >= 0.07, v <= 0.9277 - 3.6224 / (b - 2))
        outside = logical_or(k < 0, logical_and(us < 0.013, v > us))
        scale = log(v * (1.1239 + 1.1328 / (b - 3.4)) / (a / (us * us) + b))
        slow = scale <= k * log(mu) - mu - lgamma(maximum(k, 0) + 1)
        return logical_or(quick, logical_and(logical_not(outside), slow)), k

    return cast(_accepted(of_many, logical_not(many), count, propose), _integers("poisson", dtype))


def binomial(key: Any, n: Any, p: Any, shape: Any = None, dtype: Any = "int64") -> Tensor:
    """Counts of n independent trials that succeed with probability p; -1 for an n that is negative
    or above 2^53, and a p outside of [0, 1].

    Shapes: `shape`, or that to which n and p broadcast. Dtypes: int64, or the integer dtype that is
    given. No derivative.
    Source: below a mean of 10 the waiting times between successes (Devroye, "Non-Uniform Random
    Variate Generation" (1986), section X.4.3); above, Hoermann, "The generation of binomial random
    variates" (1993), algorithm BTRS.
    """
    trials, chance = _parameters("binomial", float64, shape, n, p)
    valid = (trials >= 0) & (trials <= 2.0**53) & (chance >= 0) & (chance <= 1)
    q = where(valid, minimum(chance, 1 - chance), 0)  # of the rarer outcome
    total = where(valid, floor(trials), 0)
    few = logical_and(valid, total * q < LARGE)
    many = logical_and(valid, logical_not(few))
    of_few, of_many = split(key)
    rare = where(few, _by_waiting(of_few, logical_and(few, q > 0), total, q), -1.0)
    count, r = where(many, total, 40.0), where(many, q, 0.5)
    spread = sqrt(count * r * (1 - r))
    b = 1.15 + 2.53 * spread
    a = -0.0873 + 0.0248 * b + 0.01 * r
    mode = floor((count + 1) * r)
    top = lgamma(mode + 1) + lgamma(count - mode + 1)

    def propose(key: Tensor) -> tuple[Tensor, Tensor]:
        u, v, us = _hat(key, count)
        k = floor((2 * a / us + b) * u + count * r + 0.5)
        quick = logical_and(us >= 0.07, v <= 0.92 - 4.2 / b)
        inside = logical_and(k >= 0, k <= count)
        near = where(inside, k, mode)
        scale = log(v * (2.83 + 5.1 / b) * spread / (a / (us * us) + b))
        ratio = top - lgamma(near + 1) - lgamma(count - near + 1)
        slow = scale <= ratio + (near - mode) * (log(r) - log1p(-r))
        return logical_and(inside, logical_or(quick, slow)), k

    drawn = _accepted(of_many, logical_not(many), rare, propose)
    mirrored = where(logical_and(valid, chance > 0.5), total - drawn, drawn)
    return cast(mirrored, _integers("binomial", dtype))


def _accepted(
    key: Tensor,
    done: Tensor,
    first: Tensor,
    propose: Callable[[Tensor], tuple[Tensor, Tensor]],
) -> Tensor:
    """For each element that is not `done` the first proposal that is accepted, for the others that
    of `first`."""

    def turn(carry: Any) -> Any:
        count, done, found = carry
        accepted, drawn = propose(fold_in(key, count))
        return count + 1, done | accepted, where(done, found, where(accepted, drawn, found))

    start = constant(0, int64), done, first
    return while_loop(lambda carry: any_of(logical_not(carry[1])), turn, start)[2]  # type: ignore[no-any-return]


def _hat(key: Tensor, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """u in [-1/2, 1/2), v in (0, 1] and 1/2 - |u|, which is above 0."""
    first, second = split(key)
    u = uniform(first, like.shape, float64) - 0.5
    return u, _above_zero(second, like.shape, float64), maximum(0.5 - abs(u), 2.0**-54)


def _by_products(key: Tensor, wanted: Tensor, limit: Tensor) -> Tensor:
    """How many uniform numbers can be multiplied before the product is at most `limit`."""

    def turn(carry: Any) -> Any:
        count, found, product = carry
        product = product * _above_zero(fold_in(key, cast(count, int64)), limit.shape, float64)
        return count + 1, where(product > limit, found + 1, found), product

    start = constant(0, int64), 0 * limit, where(wanted, 1.0, 0.0)
    return while_loop(lambda carry: any_of(carry[2] > limit), turn, start)[1]  # type: ignore[no-any-return]


def _by_waiting(key: Tensor, wanted: Tensor, total: Tensor, p: Tensor) -> Tensor:
    """How many successes there are until trial `total`, from one to the next."""
    scale = log1p(-where(wanted, p, 0.5))

    def turn(carry: Any) -> Any:
        count, found, at = carry
        u = _above_zero(fold_in(key, cast(count, int64)), p.shape, float64)
        at = at + floor(log(u) / scale) + 1
        return count + 1, where(at <= total, found + 1, found), at

    start = constant(0, int64), 0 * p, where(wanted, 0.0, total + 1)
    return while_loop(lambda carry: any_of(carry[2] <= total), turn, start)[1]  # type: ignore[no-any-return]


# -- arguments -------------------------------------------------------------------------------------
def _parameters(op: str, dtype: Any, shape: Any, *values: Any) -> list[Tensor]:
    """Parameters as tensors of one float dtype and of the shape of what is drawn.

    Errors: `ShapeError` where they do not broadcast to `shape`; `DTypeError` for no float dtype.
    """
    given = [tensor(v, f"random.{op}") for v in values]
    floats = [t.dtype for t in given if t.dtype.is_float and not t.weak]
    if dtype is None:
        wide = any(t is float64 for t in floats)
        to = (float64 if wide else float32) if floats else default_dtype()
    else:
        to = float_of(f"random.{op}", dtype)
    common = broadcast(f"random.{op}", *(t.shape for t in given))
    wanted = common if shape is None else shape_of(shape)
    if broadcast(f"random.{op}", common, wanted) != wanted:
        raise ShapeError(
            "the parameters do not broadcast to the shape", op=f"random.{op}",
            expected=show(wanted), given=show(common), where=origin.where(),
        )  # fmt: skip
    return [broadcast_to(cast(t, to), wanted) for t in given]


def _floats(op: str, value: Any) -> Tensor:
    given = tensor(value, f"random.{op}")
    given = settle(given, default_dtype()) if given.weak and given.dtype.is_float else given
    if not given.dtype.is_float:
        raise DTypeError(
            "only floats", op=f"random.{op}", expected="a float dtype", given=str(given.type),
            where=origin.where(),
        )  # fmt: skip
    return given


def _integers(op: str, dtype: Any) -> DType:
    to = dtypes.dtype(dtype)
    if not to.is_integer:
        raise DTypeError("only ints", op=f"random.{op}", expected="ints", given=to.name)
    return to


def _error(op: str, message: str, expected: str, given: Any) -> ArgumentError:
    return ArgumentError(
        message, op=f"random.{op}", expected=expected, given=repr(given)[:80], where=origin.where()
    )
