"""A program for each rule of `fold` and `algebra`, and one that it must leave alone."""

from __future__ import annotations

from typing import Any

import graphc as gc
from graphc.ir.dtype import DType
from graphc.ir.node import Tensor, apply
from graphc.ir.op import registry
from graphc.ops.build import scalar_like
from graphc.rewrite.rules import algebra, fold

from .checking import Case


def a(d: Any) -> Tensor:
    return gc.placeholder("a", ("n",), d)


def b(d: Any) -> Tensor:
    return gc.placeholder("b", ("n",), d)


def c(d: Any) -> Tensor:
    return gc.placeholder("c", ("n",), "bool")


def matrix(d: Any) -> Tensor:
    return gc.placeholder("m", ("n", 3), d)


def raw(op: str, *operands: Tensor, **attrs: Any) -> Tensor:
    """A node as an importer makes it, past the functions that simplify."""
    return apply(registry()[op], operands, **attrs).output()


def number(value: float, d: DType) -> Tensor:
    return gc.constant(value, d)


_INTS = "i8 i16 i32 i64 u8 u16 u32 u64"

FOLD = (
    Case(
        fold.fold_constants,
        lambda d: a(d) + gc.exp(number(2.0, d)) * number(0.5, d),
        lambda d: a(d) + gc.evaluate(gc.exp(number(2.0, d)) * number(0.5, d)),
        lambda d: gc.exp(a(d)),
    ),
    Case(
        fold.fold_size,
        lambda d: a(d) + raw("size", size=7, dtype=d),
        lambda d: a(d) + number(7, d),
        lambda d: a(d) + gc.size(a(d), dtype=d),
    ),
    Case(
        fold.drop_weak,
        lambda d: raw("weak", a(d)) + b(d),
        lambda d: a(d) + b(d),
        lambda d: gc.stop_gradient(a(d)) + b(d),
    ),
    Case(
        fold.drop_stop_gradient,
        lambda d: gc.stop_gradient(a(d)) + b(d),
        lambda d: a(d) + b(d),
        lambda d: a(d) + b(d),
    ),
)

ALGEBRA = (
    Case(algebra.drop_multiply_one, lambda d: a(d) * 1, a, lambda d: a(d) * -1),
    Case(algebra.drop_divide_one, lambda d: a(d) / 1, a, lambda d: 1 / a(d)),
    Case(
        algebra.fold_pow_zero,
        lambda d: a(d) ** 0,
        lambda d: gc.ones_like(a(d)),
        lambda d: a(d) ** 2,
    ),
    Case(algebra.drop_power_one, lambda d: a(d) ** 1, a, lambda d: a(d) ** 1.5),
    Case(algebra.drop_subtract_zero, lambda d: a(d) - 0.0, a, lambda d: a(d) - (-0.0)),
    Case(algebra.drop_add_negative_zero, lambda d: -0.0 + a(d), a, lambda d: a(d) + 0.0),
    Case(algebra.drop_add_zero, lambda d: 0 + a(d), a, lambda d: a(d) + 1, _INTS),
    Case(algebra.drop_double_negative, lambda d: -(-a(d)), a, lambda d: -a(d)),  # noqa: B002
    Case(
        algebra.subtract_negative,
        lambda d: a(d) - (-b(d)),
        lambda d: a(d) + b(d),
        lambda d: (-a(d)) - b(d),
    ),
    Case(
        algebra.add_negative,
        lambda d: (-a(d)) + b(d),
        lambda d: b(d) - a(d),
        lambda d: -(a(d) + b(d)),
    ),
    Case(
        algebra.pull_negative_from_product,
        lambda d: a(d) * (-b(d)),
        lambda d: -(b(d) * a(d)),
        lambda d: a(d) * b(d),
    ),
    Case(
        algebra.pull_negative_from_numerator,
        lambda d: (-a(d)) / b(d),
        lambda d: -(a(d) / b(d)),
        lambda d: a(d) / (-b(d)),
    ),
    Case(
        algebra.pull_negative_from_denominator,
        lambda d: a(d) / (-b(d)),
        lambda d: -(a(d) / b(d)),
        lambda d: (-a(d)) / b(d),
    ),
    Case(
        algebra.drop_sign_in_abs,
        lambda d: gc.abs(-a(d)),
        lambda d: gc.abs(a(d)),
        lambda d: -gc.abs(a(d)),
    ),
    Case(
        algebra.drop_sign_in_square,
        lambda d: gc.square(-a(d)),
        lambda d: gc.square(a(d)),
        lambda d: -gc.square(a(d)),
    ),
    Case(algebra.fold_factor_minus_one, lambda d: -1 * a(d), lambda d: -a(d), lambda d: a(d) * 1),
    Case(
        algebra.merge_negative_into_factor,
        lambda d: -(a(d) * 3),
        lambda d: a(d) * -3,
        lambda d: -(a(d) * b(d)),
    ),
    Case(
        algebra.fold_pow_two,
        lambda d: a(d) ** 2,
        lambda d: gc.square(a(d)),
        lambda d: 2 ** a(d),
    ),
    Case(
        algebra.fold_self_product,
        lambda d: a(d) * a(d),
        lambda d: gc.square(a(d)),
        lambda d: a(d) * b(d),
    ),
    Case(
        algebra.fold_pow_half,
        lambda d: a(d) ** 0.5,
        lambda d: gc.sqrt(a(d)),
        lambda d: a(d) ** -0.5,
    ),
    Case(
        algebra.fold_pow_three,
        lambda d: a(d) ** 3,
        lambda d: a(d) * gc.square(a(d)),
        lambda d: a(d) ** 5,
    ),
    Case(
        algebra.fold_pow_minus_one, lambda d: a(d) ** -1, lambda d: 1 / a(d), lambda d: a(d) ** -2
    ),
    Case(
        algebra.fold_self_sum, lambda d: a(d) + a(d), lambda d: 2 * a(d), lambda d: a(d) + b(d)
    ),
    Case(
        algebra.multiply_by_reciprocal,
        lambda d: a(d) / 8,
        lambda d: a(d) * 0.125,
        lambda d: a(d) / 3 + a(d) / 0 + b(d) / number(2.0 ** (127 if d.bits == 32 else 1023), d),
    ),
    Case(
        algebra.fold_reciprocal_factor,
        lambda d: (1 / a(d)) * b(d),
        lambda d: b(d) / a(d),
        lambda d: matrix(d) * (1 / gc.sum(matrix(d), axis=1, keepdims=True)),
    ),
    Case(
        algebra.merge_factors,
        lambda d: (a(d) * 3) * 0.5,
        lambda d: a(d) * 1.5,
        lambda d: (a(d) * 0.1) * 0.1,
    ),
    Case(
        algebra.drop_choice_of_equals,
        lambda d: gc.where(c(d), a(d), a(d)),
        a,
        lambda d: gc.where(c(d), a(d), b(d)),
    ),
    Case(
        algebra.choose_first,
        lambda d: gc.where(gc.constant(True), a(d), b(d)),
        a,
        lambda d: gc.where(gc.constant([True, False]), a(d)[0], 2),
    ),
    Case(
        algebra.choose_second,
        lambda d: gc.where(gc.constant(False), a(d), b(d)),
        b,
        lambda d: gc.where(gc.constant(True), a(d), b(d)),
    ),
    Case(
        algebra.swap_negated_choice,
        lambda d: gc.where(gc.logical_not(c(d)), a(d), b(d)),
        lambda d: gc.where(c(d), b(d), a(d)),
        lambda d: gc.where(c(d), a(d), b(d)),
    ),
    Case(
        algebra.drop_choice_decided_above,
        lambda d: gc.where(c(d), gc.where(c(d), a(d), b(d)), 1),
        lambda d: gc.where(c(d), a(d), 1),
        lambda d: gc.where(c(d), 1, gc.where(c(d), a(d), b(d))),
    ),
    Case(
        algebra.drop_choice_decided_below,
        lambda d: gc.where(c(d), 1, gc.where(c(d), a(d), b(d))),
        lambda d: gc.where(c(d), 1, b(d)),
        lambda d: gc.where(c(d), gc.where(c(d), a(d), b(d)), 1),
    ),
    Case(
        algebra.see_root,
        lambda d: gc.linalg.vector_norm(a(d), axis=0),
        lambda d: gc.sqrt(gc.sum(gc.square(a(d)), axis=0)),
        lambda d: gc.cbrt(a(d)),
    ),
    Case(
        algebra.drop_double_not,
        lambda d: gc.logical_not(gc.logical_not(c(d))),
        c,
        lambda d: gc.logical_not(c(d)),
        "bool",
    ),
    Case(algebra.drop_double_invert, lambda d: ~~a(d), a, lambda d: ~a(d), _INTS),
    Case(
        algebra.drop_and_with_itself,
        lambda d: gc.logical_and(a(d), a(d)),
        a,
        lambda d: gc.logical_and(a(d), b(d)),
        "bool",
    ),
    Case(
        algebra.drop_or_with_itself,
        lambda d: gc.logical_or(a(d), a(d)),
        a,
        lambda d: gc.logical_or(a(d), b(d)),
        "bool",
    ),
    Case(
        algebra.drop_minimum_of_equals,
        lambda d: gc.minimum(a(d), a(d)),
        a,
        lambda d: gc.minimum(a(d), b(d)),
    ),
    Case(
        algebra.drop_maximum_of_equals,
        lambda d: gc.maximum(a(d), a(d)),
        a,
        lambda d: gc.maximum(a(d), b(d)),
    ),
    Case(
        algebra.fold_maximum_with_zero,
        lambda d: gc.maximum(0, a(d)),
        lambda d: gc.relu(a(d)),
        lambda d: gc.maximum(a(d), scalar_like(-0.0, a(d))),
    ),
    Case(
        algebra.drop_repeated_idempotent,
        lambda d: gc.floor(gc.floor(a(d))) + gc.relu(gc.relu(b(d))),
        lambda d: gc.floor(a(d)) + gc.relu(b(d)),
        lambda d: gc.floor(gc.ceil(a(d))),
    ),
    Case(
        algebra.take_real_part,
        lambda d: raw("real", gc.complex(a(d), b(d))),
        a,
        lambda d: gc.imag(a("complex64")) + gc.real(a("complex64")),
    ),
    Case(
        algebra.take_imaginary_part,
        lambda d: raw("imag", gc.complex(a(d), b(d))),
        b,
        lambda d: gc.imag(a("complex64")),
    ),
    Case(
        algebra.join_parts,
        lambda d: gc.complex(gc.real(a("complex64")), gc.imag(a("complex64"))),
        lambda d: a("complex64"),
        lambda d: gc.complex(gc.imag(a("complex64")), gc.real(a("complex64"))),
    ),
    Case(
        algebra.drop_same_conversion,
        lambda d: raw("astype", a(d), dtype=d),
        a,
        lambda d: a("int16").astype(d),
    ),
    Case(
        algebra.convert_chosen_number,
        lambda d: gc.where(c(d), gc.full((), 1 / 3, "float64"), b("float64")).astype("float32"),
        lambda d: gc.where(c(d), gc.full((), 1 / 3, "float32"), b("float64").astype("float32")),
        lambda d: gc.where(c(d), a("float64"), b("float64")).astype("float32"),
    ),
    Case(
        algebra.merge_conversions,
        lambda d: a("int16").astype(d).astype("int16"),
        lambda d: a("int16"),
        lambda d: a("int64").astype(d).astype("int64"),
    ),
)
