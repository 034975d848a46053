"""A program for each rule of `stable`, and one that it must leave alone."""

from __future__ import annotations

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
        stable.fold_scaled_softmax,
        lambda d: gc.exp(z(d)) * (a(d) / rows(d)).reshape("n", 1),
        lambda d: a(d).reshape("n", 1) * gc.softmax(z(d), axis=1),
        lambda d: gc.exp(z(d) + 1) * (a(d) / rows(d)).reshape("n", 1),
    ),
    Case(
        stable.fold_sigmoid_times_exp,
        lambda d: gc.sigmoid(-a(d)) * gc.exp(a(d)),
        lambda d: gc.sigmoid(a(d)),
        lambda d: gc.sigmoid(a(d)) * gc.exp(a(d)),
    ),
    Case(
        stable.fold_scaled_sigmoid_times_exp,
        lambda d: (b(d) * gc.sigmoid(a(d) * 2)) * gc.exp(a(d) * -2),
        lambda d: b(d) * gc.sigmoid(a(d) * -2),
        lambda d: (b(d) * gc.sigmoid(a(d) * 2)) * gc.exp(a(d) * -3),
    ),
    Case(
        stable.cancel_sigmoid,
        lambda d: (3 / gc.sigmoid(a(d))) * (gc.sigmoid(a(d)) * b(d)),
        lambda d: 3 * b(d),
        lambda d: (3 / gc.sigmoid(a(d))) * (gc.sigmoid(b(d)) * b(d)),
    ),
    Case(
        stable.cancel_softmax,
        lambda d: (z(d) / gc.softmax(z(d))) * gc.softmax(z(d)),
        z,
        lambda d: (z(d) / gc.softmax(z(d), axis=0)) * gc.softmax(z(d), axis=1),
    ),
    Case(
        stable.divide_softmax_by_itself,
        lambda d: gc.softmax(z(d), axis=0) / gc.softmax(z(d), axis=0) * z(d),
        lambda d: (gc.softmax(z(d), axis=0) * 0 + 1) * z(d),
        lambda d: gc.softmax(z(d), axis=0) / gc.softmax(z(d), axis=1) * z(d),
    ),
    Case(
        stable.distribute_softmax,
        lambda d: gc.softmax(z(d)) * (2 / gc.softmax(z(d)) - a(d).reshape("n", 1)),
        lambda d: 2 - gc.softmax(z(d)) * a(d).reshape("n", 1),
        lambda d: gc.softmax(z(d)) * (2 / gc.softmax(z(d)) + a(d).reshape("n", 1)),
    ),
    Case(
        stable.distribute_softmax_negated,
        lambda d: gc.softmax(z(d)) * (-(2 / gc.softmax(z(d))) - a(d).reshape("n", 1)),
        lambda d: -gc.constant(2, d) - gc.softmax(z(d)) * a(d).reshape("n", 1),
        lambda d: gc.softmax(z(d)) * (2 / gc.softmax(z(d)) - a(d).reshape("n", 1)),
    ),
)
