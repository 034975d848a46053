"""A program for each rule of `layout`, and one that it must leave alone."""

from __future__ import annotations

from typing import Any

import graphc as gc
from graphc.ir.node import Tensor
from graphc.rewrite.rules import layout

from .cases_shape import k, m, raw
from .checking import Case


def turned(d: Any) -> Tensor:
    """`k` with its last axis in front: [4, 2, 3]."""
    return k(d).transpose(2, 0, 1)


def u(d: Any) -> Tensor:
    return gc.placeholder("u423", (4, 2, 3), d)


LAYOUT = (
    Case(
        layout.permute_after_elementwise,
        lambda d: (
            gc.sum(gc.exp(m(d).T * 2) + gc.sin(m(d).T))
            + turned(d) * gc.placeholder("v3", (3,), d) * gc.placeholder("v4", (4, 2, 1), d)
        ),
        lambda d: (
            gc.sum((gc.exp(m(d) * 2) + gc.sin(m(d))).T)
            + k(d)
            * gc.placeholder("v3", (3,), d).reshape(1, 3, 1)
            * gc.placeholder("v4", (4, 2, 1), d).transpose(1, 2, 0)
        ).transpose(2, 0, 1),
        lambda d: turned(d) * u(d) + gc.sum(m(d).T * gc.placeholder("u41", (4, 1), d)),
    ),
    Case(
        layout.permute_in_product,
        lambda d: (
            gc.matmul(
                gc.tanh(m(d).T * gc.placeholder("vn", ("n",), d)) * 2
                + gc.placeholder("u41", (4, 1), d),
                m(d),
            )
        ),
        lambda d: gc.matmul(
            (
                gc.tanh(m(d) * gc.placeholder("vn", ("n",), d).reshape(1, "n").T) * 2
                + gc.placeholder("u41", (4, 1), d).T
            ).T,
            m(d),
        ),
        lambda d: (
            gc.matmul(m(d).T * gc.placeholder("u4n", (4, "n"), d), m(d))
            + gc.matmul(
                gc.exp(raw("permute_dims", gc.placeholder("q", (4, 4), d), axes=(0, 1))),
                gc.placeholder("q", (4, 4), d).T,
            )
        ),
    ),
    Case(
        layout.permute_after_moves,
        lambda d: gc.flip(gc.pad(turned(d), [(1, 0), (0, 2), (0, 0)], "edge")[1:, ::2], (0, 2)),
        lambda d: gc.flip(
            gc.pad(k(d), [(0, 2), (0, 0), (1, 0)], "edge")[::2, :, 1:], (1, 2)
        ).transpose(2, 0, 1),
        lambda d: gc.pad(k(d), 1)[1:].transpose(2, 0, 1),
    ),
    Case(
        layout.permute_after_concat,
        lambda d: gc.concat([turned(d), gc.exp(k(d)).transpose(2, 0, 1)], 0),
        lambda d: gc.concat([k(d), gc.exp(k(d))], 2).transpose(2, 0, 1),
        lambda d: gc.concat([turned(d), u(d)], 0),
    ),
    Case(
        layout.permute_after_windows,
        lambda d: gc.windows(turned(d), 2, 0),
        lambda d: gc.windows(k(d), 2, 2).transpose(2, 0, 1, 3),
        lambda d: gc.windows(k(d), 2).transpose(2, 0, 1, 3),
    ),
    Case(
        layout.permute_after_fold,
        lambda d: gc.fold_windows(gc.placeholder("g352", (3, 5, 2), d).transpose(1, 0, 2), 4),
        lambda d: gc.fold_windows(gc.placeholder("g352", (3, 5, 2), d), 4, 0).T,
        lambda d: gc.fold_windows(gc.placeholder("g523", (5, 2, 3), d).transpose(0, 2, 1), 4),
    ),
    Case(
        layout.permute_after_extremum,
        lambda d: gc.sum(gc.max(turned(d), axis=1)) + gc.min(turned(d), axis=(0, 2)),
        lambda d: gc.sum(gc.max(k(d), axis=0).T) + gc.min(k(d), axis=(1, 2)),
        lambda d: gc.max(k(d), axis=0).T,
    ),
    Case(
        layout.permute_after_sum,
        lambda d: gc.sum(turned(d), axis=1),
        lambda d: gc.sum(k(d), axis=0).T,
        lambda d: gc.sum(gc.flip(k(d)), axis=0).T,
    ),
    Case(
        layout.permute_after_unit_axes,
        lambda d: gc.expand_dims(turned(d), 1),
        lambda d: gc.reshape(k(d), (1, 2, 3, 4)).transpose(3, 0, 1, 2),
        lambda d: turned(d).reshape(8, 3),
    ),
    Case(
        layout.permute_after_broadcast,
        lambda d: gc.broadcast_to(turned(d), (5, 4, 2, 3)),
        lambda d: gc.broadcast_to(k(d), (5, 2, 3, 4)).transpose(0, 3, 1, 2),
        lambda d: gc.broadcast_to(k(d), (5, 2, 3, 4)),
    ),
    Case(
        layout.fold_side_by_side,
        lambda d: gc.fold_windows(gc.placeholder("g532", (5, 3, 2), d), 7, stride=2),
        lambda d: gc.pad(gc.placeholder("g532", (5, 3, 2), d).reshape(5, 6), [(0, 0), (0, 1)]),
        lambda d: gc.fold_windows(gc.placeholder("g532", (5, 3, 2), d), 4),
    ),
)
