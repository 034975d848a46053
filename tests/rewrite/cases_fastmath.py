"""A program for each rule of `fastmath`, and one that it must leave alone."""

from __future__ import annotations

import graphc as gc
from graphc.rewrite.rules import fastmath

from .cases_algebra import a, b
from .checking import Case

FASTMATH = (
    Case(
        fastmath.cancel_quotient,
        lambda d: a(d) / a(d) * b(d),
        lambda d: gc.ones(("n",), d) * b(d),
        lambda d: a(d) / b(d) * b(d),
    ),
    Case(
        fastmath.cancel_difference,
        lambda d: (a(d) - a(d)) * b(d),
        lambda d: gc.zeros(("n",), d) * b(d),
        lambda d: (a(d) - b(d)) * b(d),
    ),
    Case(
        fastmath.drop_multiply_zero,
        lambda d: a(d) * 0 + b(d),
        lambda d: gc.zeros(("n",), d) + b(d),
        lambda d: a(d) * 1 + b(d),
    ),
    Case(fastmath.drop_add_zero, lambda d: a(d) + 0, a, lambda d: a(d) + 1),
    Case(
        fastmath.cancel_factor,
        lambda d: (b(d) * a(d)) / b(d),
        a,
        lambda d: (b(d) + a(d)) / b(d),
    ),
    Case(
        fastmath.multiply_by_number,
        lambda d: a(d) / 3,
        lambda d: a(d) * gc.constant(1 / 3, d),
        lambda d: a(d) / 1e-40 if d is gc.float64 else a(d) / b(d),
    ),
    Case(
        fastmath.fold_pow_minus_half,
        lambda d: a(d) ** -0.5,
        lambda d: 1 / gc.sqrt(a(d)),
        lambda d: a(d) ** 0.5,
    ),
    Case(
        fastmath.fold_pow_three_halves,
        lambda d: a(d) ** 1.5,
        lambda d: a(d) * gc.sqrt(a(d)),
        lambda d: a(d) ** 2.5,
    ),
    Case(
        fastmath.fold_pow_four,
        lambda d: a(d) ** 4,
        lambda d: gc.square(gc.square(a(d))),
        lambda d: a(d) ** 5,
    ),
    Case(
        fastmath.merge_roots,
        lambda d: gc.sqrt(a(d)) * gc.sqrt(b(d)),
        lambda d: gc.sqrt(a(d) * b(d)),
        lambda d: gc.sqrt(a(d)) + gc.sqrt(b(d)),
    ),
    Case(
        fastmath.merge_exponentials,
        lambda d: gc.exp(a(d)) * gc.exp(b(d)),
        lambda d: gc.exp(a(d) + b(d)),
        lambda d: gc.exp(a(d)) + gc.exp(b(d)),
    ),
    Case(
        fastmath.merge_exponentials_of_quotient,
        lambda d: gc.exp(a(d)) / gc.exp(b(d)),
        lambda d: gc.exp(a(d) - b(d)),
        lambda d: gc.exp(a(d)) / b(d),
    ),
    Case(
        fastmath.split_log_of_product,
        lambda d: gc.log(b(d) * gc.exp(a(d))),
        lambda d: a(d) + gc.log(b(d)),
        lambda d: gc.log(a(d) * b(d)),
    ),
    Case(
        fastmath.split_log_of_quotient,
        lambda d: gc.log(gc.exp(a(d)) / b(d)),
        lambda d: a(d) - gc.log(b(d)),
        lambda d: gc.log(a(d) / b(d)),
    ),
    Case(
        fastmath.merge_logarithms,
        lambda d: gc.log(a(d)) + gc.log(b(d)),
        lambda d: gc.log(a(d) * b(d)),
        lambda d: gc.log(a(d)) + b(d),
    ),
    Case(
        fastmath.merge_logarithms_of_difference,
        lambda d: gc.log(a(d)) - gc.log(b(d)),
        lambda d: gc.log(a(d) / b(d)),
        lambda d: gc.log(a(d)) - gc.log1p(b(d)),
    ),
)
