"""A program for each rule of `stable`, and one that it must leave alone."""

from __future__ import annotations

import math
from typing import Any

import graphc as gc
from graphc.ir.node import Tensor
from graphc.rewrite.rules import stable

from .cases_algebra import a, b
from .checking import Case


def z(d: Any) -> Tensor:
    return gc.placeholder("z", ("n", 4), d)


def rows(d: Any) -> Tensor:
    return gc.sum(gc.exp(z(d)), axis=1)


def _log_cosh(x: Tensor) -> Tensor:
    size, near = gc.abs(x), gc.abs(x) < 1
    t = gc.expm1(gc.where(near, size, -2 * size))
    rest = gc.where(near, gc.square(t) / (2 + 2 * t), t * 0.5)
    return gc.where(near, 0, size) + gc.log1p(rest)


STABLE = (
    Case(
        stable.fold_softplus,
        lambda d: gc.log(gc.exp(a(d)) + 1),
        lambda d: gc.softplus(a(d)),
        lambda d: gc.log(gc.exp(a(d)) + 2),
    ),
    Case(
        stable.fold_softplus_of_log1p,
        lambda d: gc.log1p(gc.exp(a(d))),
        lambda d: gc.softplus(a(d)),
        lambda d: gc.log1p(a(d)),
    ),
    Case(
        stable.fold_sigmoid,
        lambda d: 1 / (1 + gc.exp(-a(d))),
        lambda d: gc.sigmoid(-(-a(d))),  # noqa: B002
        lambda d: 2 / (1 + gc.exp(-a(d))),
    ),
    Case(
        stable.fold_sigmoid_quotient,
        lambda d: gc.exp(a(d)) / (1 + gc.exp(a(d))),
        lambda d: gc.sigmoid(a(d)),
        lambda d: gc.exp(a(d)) / (1 + gc.exp(b(d))),
    ),
    Case(
        stable.fold_log_sigmoid,
        lambda d: gc.log(gc.sigmoid(a(d))),
        lambda d: -gc.softplus(-a(d)),
        lambda d: gc.log1p(gc.sigmoid(a(d))),
    ),
    Case(
        stable.fold_one_minus_sigmoid,
        lambda d: 1 - gc.sigmoid(a(d)),
        lambda d: gc.sigmoid(-a(d)),
        lambda d: gc.sigmoid(a(d)) - 1,
    ),
    Case(
        stable.fold_log1p,
        lambda d: gc.log(a(d) + 1),
        lambda d: gc.log1p(a(d)),
        lambda d: gc.log(a(d) - 1),
    ),
    Case(
        stable.fold_log1p_of_difference,
        lambda d: gc.log(1 - a(d)),
        lambda d: gc.log1p(-a(d)),
        lambda d: gc.log(a(d) - 1),
    ),
    Case(
        stable.fold_expm1,
        lambda d: gc.exp(a(d)) - 1,
        lambda d: gc.expm1(a(d)),
        lambda d: gc.exp(a(d)) - 2,
    ),
    Case(
        stable.fold_expm1_of_difference,
        lambda d: 1 - gc.exp(a(d)),
        lambda d: -gc.expm1(a(d)),
        lambda d: 2 - gc.exp(a(d)),
    ),
    Case(stable.drop_log_of_exp, lambda d: gc.log(gc.exp(a(d))), a, lambda d: gc.exp(gc.log(a(d)))),
    Case(
        stable.fold_sqrt_of_square,
        lambda d: gc.sqrt(gc.square(a(d))),
        lambda d: gc.abs(a(d)),
        lambda d: gc.square(gc.sqrt(a(d))),
    ),
    Case(
        stable.fold_logsumexp,
        lambda d: gc.log(gc.sum(gc.exp(z(d)), axis=1, keepdims=True)),
        lambda d: gc.logsumexp(z(d), axis=1, keepdims=True),
        lambda d: gc.log(gc.sum(z(d), axis=1)),
    ),
    Case(
        stable.fold_softmax,
        lambda d: gc.exp(z(d)) / gc.sum(gc.exp(z(d)), axis=1, keepdims=True),
        lambda d: gc.softmax(z(d), axis=1),
        lambda d: gc.exp(a(d)) / gc.sum(gc.exp(a(d).reshape("n", 1)), axis=1, keepdims=True),
    ),
    Case(
        stable.drop_shift_in_softmax,
        lambda d: gc.softmax(z(d) - gc.max(z(d), axis=1, keepdims=True), axis=1),
        lambda d: gc.softmax(z(d), axis=1),
        lambda d: gc.softmax(z(d) - gc.max(z(d), axis=1, keepdims=True), axis=0),
    ),
    Case(
        stable.drop_shift_in_log_softmax,
        lambda d: gc.log_softmax(z(d) - gc.max(z(d), axis=1, keepdims=True), axis=1),
        lambda d: gc.log_softmax(z(d), axis=1),
        lambda d: gc.log_softmax(z(d) - gc.min(z(d), axis=1, keepdims=True), axis=1),
    ),
    Case(
        stable.fold_log_softmax,
        lambda d: gc.log(gc.softmax(z(d), axis=0)),
        lambda d: gc.log_softmax(z(d), axis=0),
        lambda d: gc.log1p(gc.softmax(z(d), axis=0)),
    ),
    Case(
        stable.fold_log_softmax_difference,
        lambda d: z(d) - gc.logsumexp(z(d), axis=0),
        lambda d: gc.log_softmax(z(d), axis=0),
        lambda d: gc.logsumexp(z(d), axis=0) - z(d),
    ),
    Case(
        stable.fold_sinh,
        lambda d: gc.exp(a(d)) - gc.exp(-a(d)),
        lambda d: gc.expm1(a(d)) - gc.expm1(-a(d)),
        lambda d: gc.exp(a(d)) - gc.exp(-b(d)),
    ),
    Case(
        stable.fold_tanh_quotient,
        lambda d: (gc.expm1(a(d)) - gc.expm1(-a(d))) / (gc.exp(a(d)) + gc.exp(-a(d))),
        lambda d: gc.tanh(a(d)),
        lambda d: (gc.expm1(a(d)) - gc.expm1(-a(d))) / (gc.exp(a(d)) + gc.exp(-b(d))),
    ),
    Case(
        stable.fold_tanh_of_double,
        lambda d: gc.expm1(a(d)) / (gc.exp(a(d)) + 1),
        lambda d: gc.tanh(a(d) * 0.5),
        lambda d: gc.expm1(a(d)) / (gc.exp(b(d)) + 1),
    ),
    Case(
        stable.fold_tanh_of_sigmoid,
        lambda d: 2 * gc.sigmoid(a(d)) - 1,
        lambda d: gc.tanh(a(d) * 0.5),
        lambda d: 3 * gc.sigmoid(a(d)) - 1,
    ),
    Case(
        stable.fold_log_cosh,
        lambda d: gc.log((gc.exp(a(d)) + gc.exp(-a(d))) * 0.5),
        lambda d: _log_cosh(a(d)),
        lambda d: gc.log((gc.exp(a(d)) + gc.exp(-a(d))) * 0.25),
    ),
    Case(
        stable.fold_log_of_cosh,
        lambda d: gc.log(gc.cosh(a(d))),
        lambda d: _log_cosh(a(d)),
        lambda d: gc.log(gc.sinh(a(d))),
    ),
    Case(
        stable.fold_sigmoid_denominator,
        lambda d: b(d) / (gc.exp(a(d)) + 1),
        lambda d: b(d) * gc.sigmoid(-a(d)),
        lambda d: b(d) / (gc.exp(a(d)) + 2),
    ),
    Case(
        stable.fold_log_odds,
        lambda d: gc.log(gc.sigmoid(a(d)) / gc.sigmoid(-a(d))),
        a,
        lambda d: gc.log(gc.sigmoid(a(d)) / gc.sigmoid(-b(d))),
    ),
    Case(
        stable.fold_exp_of_log,
        lambda d: gc.exp(gc.log(a(d))),
        lambda d: gc.where(a(d) >= 0, a(d), math.nan),
        lambda d: gc.exp(gc.log1p(a(d))),
    ),
    Case(
        stable.fold_one_minus_cosine,
        lambda d: 1 - gc.cos(a(d)),
        lambda d: 2 * gc.square(gc.sin(a(d) * 0.5)),
        lambda d: gc.cos(a(d)) - 1,
    ),
    Case(
        stable.fold_square_of_sqrt,
        lambda d: gc.square(gc.sqrt(a(d))),
        lambda d: gc.where(a(d) >= 0, a(d), math.nan),
        lambda d: gc.sqrt(gc.sqrt(a(d))),
    ),
    Case(
        stable.fold_divide_by_sqrt,
        lambda d: a(d) / gc.sqrt(a(d)),
        lambda d: gc.where(gc.equal(a(d), 0), math.nan, gc.sqrt(a(d))),
        lambda d: b(d) / gc.sqrt(a(d)),
    ),
    Case(
        stable.fold_difference_of_roots,
        lambda d: gc.sqrt(a(d) + 3) - gc.sqrt(a(d)),
        lambda d: gc.constant(3, d) / (gc.sqrt(a(d) + 3) + gc.sqrt(a(d))),
        lambda d: gc.sqrt(a(d) + b(d)) - gc.sqrt(a(d)),
    ),
    Case(
        stable.fold_variance,
        lambda d: gc.mean(gc.square(z(d)), axis=1) - gc.square(gc.mean(z(d), axis=1)),
        lambda d: gc.variance(z(d), axis=1),
        lambda d: gc.mean(gc.square(z(d)), axis=1) - gc.square(gc.sum(z(d), axis=1) / 3),
    ),
    Case(
        stable.norm_in_double,
        lambda d: gc.sqrt(gc.sum(gc.square(z(d)), axis=1)),
        lambda d: gc.sqrt(gc.sum(gc.square(z(d).astype("float64")), axis=1)).astype("float32"),
        lambda d: gc.sqrt(gc.sum(gc.square(z(d)), axis=1) + gc.sum(z(d), axis=1)),
        "f32",
    ),
    Case(
        stable.fold_erfc,
        lambda d: 1 - gc.erf(a(d)),
        lambda d: gc.erfc(a(d)),
        lambda d: gc.erf(a(d)) - 1,
    ),
    Case(
        stable.fold_erfc_of_sum,
        lambda d: gc.erf(a(d)) + 1,
        lambda d: gc.erfc(-a(d)),
        lambda d: gc.erf(a(d)) + 2,
    ),
    Case(
        stable.fold_log_ndtr,
        lambda d: gc.log(0.5 * gc.erfc(-(a(d) * 0.7071067811865476))),
        lambda d: gc.log_ndtr(a(d)),
        lambda d: gc.log(0.25 * gc.erfc(a(d))),
    ),
    Case(
        stable.fold_log_erfc,
        lambda d: gc.log(gc.erfc(a(d))),
        lambda d: gc.where(
            a(d) < 1,
            gc.log1p(-gc.erf(a(d))),
            gc.log(gc.erfcx(a(d))) - gc.square(a(d)),
        ),
        lambda d: gc.log(gc.erfc(a(d)) + 1),
    ),
    Case(
        stable.fold_log1mexp,
        lambda d: gc.log(-gc.expm1(a(d))),
        lambda d: gc.log1mexp(-a(d)),
        lambda d: gc.log(gc.expm1(a(d))),
    ),
    Case(
        stable.fold_log1mexp_of_log1p,
        lambda d: gc.log1p(-gc.exp(a(d))),
        lambda d: gc.log1mexp(-a(d)),
        lambda d: gc.log1p(gc.expm1(a(d))),
    ),
    Case(
        stable.fold_logaddexp,
        lambda d: gc.log(gc.exp(a(d)) + gc.exp(b(d))),
        lambda d: gc.logaddexp(a(d), b(d)),
        lambda d: gc.log(gc.exp(a(d)) - gc.exp(b(d))),
    ),
    Case(
        stable.fold_softmax_of_two,
        lambda d: gc.exp(b(d)) / (gc.exp(a(d)) + gc.exp(b(d))),
        lambda d: gc.sigmoid(b(d) - a(d)),
        lambda d: gc.exp(a(d) + 1) / (gc.exp(a(d)) + gc.exp(b(d))),
    ),
    Case(
        stable.fold_log_of_scaled_sum,
        lambda d: gc.log(rows(d) / 3),
        lambda d: gc.logsumexp(z(d), axis=1) - gc.log(gc.constant(3, d)),
        lambda d: gc.log(3 / rows(d)),
    ),
    Case(
        stable.fold_log_of_weighted_sum,
        lambda d: gc.log(0.25 * rows(d)),
        lambda d: gc.logsumexp(z(d), axis=1) + gc.log(gc.constant(0.25, d)),
        lambda d: gc.log(0.25 + rows(d)),
    ),
    Case(
        stable.fold_log_of_softmax_quotient,
        lambda d: gc.log(gc.softmax(z(d), axis=0) / gc.softmax(z(d), axis=1)),
        lambda d: gc.log_softmax(z(d), axis=0) - gc.log_softmax(z(d), axis=1),
        lambda d: gc.log(gc.softmax(z(d)) / z(d)),
    ),
)
