"""A program for each rule of `contract`, and one that it must leave alone."""

from __future__ import annotations

from typing import Any

import graphc as gc
from graphc.ir.node import Tensor
from graphc.rewrite.rules import contract

from .checking import Case


def x(d: Any) -> Tensor:
    return gc.placeholder("x", ("n", 4), d)


def y(d: Any) -> Tensor:
    return gc.placeholder("y", (3, 4), d)


def batch(d: Any) -> Tensor:
    return gc.placeholder("batch", ("n", 4, 3), d)


def other(d: Any) -> Tensor:
    return gc.placeholder("other", ("n", 4, 5), d)


CONTRACT = (
    Case(
        contract.transpose_before_product,
        lambda d: (x(d) @ y(d).T).T,
        lambda d: y(d) @ x(d).T,
        lambda d: (x(d) @ gc.placeholder("z", (4, 5), d)).T,
    ),
    Case(
        contract.sum_batch_by_product,
        lambda d: gc.sum(gc.matrix_transpose(batch(d)) @ other(d), axis=0),
        lambda d: batch(d).reshape("4*n", 3).T @ other(d).reshape("4*n", 5),
        lambda d: gc.sum(gc.matrix_transpose(batch(d)) @ gc.placeholder("w", (4, 5), d), axis=0),
    ),
)
