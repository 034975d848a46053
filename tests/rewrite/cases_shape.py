"""A program for each rule of `shape`, and one that it must leave alone."""

from __future__ import annotations

from typing import Any

import graphc as gc
from graphc.ir.node import Tensor
from graphc.ops.index import strided_slice
from graphc.rewrite.rules import shape

from .cases_algebra import a, b, raw
from .checking import Case


def m(d: Any) -> Tensor:
    return gc.placeholder("m", ("n", 4), d)


def k(d: Any) -> Tensor:
    return gc.placeholder("k", (2, 3, 4), d)


def s(d: Any) -> Tensor:
    return gc.placeholder("s", (), d)


SHAPE = (
    Case(
        shape.drop_identity,
        lambda d: gc.exp(raw("permute_dims", raw("reshape", m(d), shape=m(d).shape), axes=(0, 1))),
        lambda d: gc.exp(m(d)),
        lambda d: raw("permute_dims", gc.placeholder("q", (4, 4), d), axes=(1, 0)),
    ),
    Case(
        shape.merge_reshapes,
        lambda d: k(d).reshape(6, 4).reshape(3, 8),
        lambda d: k(d).reshape(3, 8),
        lambda d: gc.exp(k(d).reshape(6, 4)).reshape(3, 8),
    ),
    Case(
        shape.merge_permutations,
        lambda d: k(d).transpose(1, 2, 0).transpose(1, 0, 2),
        lambda d: k(d).transpose(2, 1, 0),
        lambda d: gc.flip(k(d).transpose(1, 2, 0)).transpose(1, 0, 2),
    ),
    Case(
        shape.merge_flips,
        lambda d: gc.flip(gc.flip(k(d), (0, 1)), (1, 2)),
        lambda d: gc.flip(k(d), (0, 2)),
        lambda d: gc.flip(k(d), 1),
    ),
    Case(
        shape.merge_broadcasts,
        lambda d: (
            gc.broadcast_to(gc.broadcast_to(s(d), (4,)), (3, 4)).reshape(12)
            + gc.broadcast_to(gc.constant([[2]], d), (3, 4)).reshape(12)
        ),
        lambda d: (
            gc.broadcast_to(s(d), (3, 4)).reshape(12)
            + gc.broadcast_to(gc.constant(2, d), (3, 4)).reshape(12)
        ),
        lambda d: gc.broadcast_to(gc.flip(gc.broadcast_to(s(d), (4,))), (3, 4)),
    ),
    Case(
        shape.merge_slices,
        lambda d: gc.placeholder("l", (3, 12), d)[1:, 1::2][1:, 1::2],
        lambda d: gc.placeholder("l", (3, 12), d)[2:, 3::4],
        lambda d: gc.exp(k(d)[:, 1:])[:, 1:],
    ),
    Case(
        shape.merge_concats,
        lambda d: gc.concat([gc.concat([m(d), m(d) + 1]), m(d) + 2]),
        lambda d: gc.concat([m(d), m(d) + 1, m(d) + 2]),
        lambda d: gc.concat([gc.concat([m(d), m(d) + 1], 0), gc.concat([m(d), m(d)], 0)], 1),
    ),
    Case(
        shape.broadcast_after_elementwise,
        lambda d: (gc.exp(gc.broadcast_to(a(d), (3, "n"))) * gc.broadcast_to(s(d), (3, "n")))
        - gc.constant([[3]], d),
        lambda d: gc.broadcast_to(gc.exp(a(d)) * s(d) - 3, (3, "n")),
        lambda d: gc.exp(a(d)) * s(d),
    ),
    Case(
        shape.move_before_broadcast,
        lambda d: gc.flip(gc.broadcast_to(s(d), (6, 4)).reshape(8, 3).T[1:]),
        lambda d: gc.broadcast_to(s(d), (2, 8)),
        lambda d: gc.broadcast_to(a(d), (4, "n")).T,
    ),
    Case(
        shape.reshape_before_broadcast,
        lambda d: gc.broadcast_to(a(d), (4, "n")).reshape(4, 1, "n", 1),
        lambda d: gc.broadcast_to(a(d).reshape(1, 1, "n", 1), (4, 1, "n", 1)),
        lambda d: gc.broadcast_to(a(d), (4, "n")).reshape("n", 4),
    ),
    Case(
        shape.drop_leading_ones,
        lambda d: gc.broadcast_to(a(d).reshape(1, 1, "n"), (3, 2, "n")),
        lambda d: gc.broadcast_to(a(d), (3, 2, "n")),
        lambda d: gc.broadcast_to(a(d).reshape(1, "n", 1), (3, "n", 2)),
    ),
    Case(
        shape.multiply_instead_of_sum,
        lambda d: gc.sum(gc.broadcast_to(a(d), (3, "n")), axis=0),
        lambda d: a(d) * 3,
        lambda d: gc.sum(gc.broadcast_to(s(d), ("n",)), axis=0),
    ),
    Case(
        shape.merge_sums,
        lambda d: gc.sum(gc.sum(k(d), axis=1), axis=1),
        lambda d: gc.sum(k(d), axis=(1, 2)),
        lambda d: gc.sum(gc.exp(gc.sum(k(d), axis=1)), axis=1),
    ),
    Case(
        shape.take_part_of_concat,
        lambda d: gc.concat([m(d), m(d) + 1])[m(d).shape[0] :],
        lambda d: m(d) + 1,
        lambda d: gc.concat([m(d), m(d) + 1])[:, 1:],
    ),
    Case(
        shape.take_what_was_padded,
        lambda d: strided_slice(gc.pad(a(d), [(2, 3)]), (2,), a(d).shape, (1,)),
        a,
        lambda d: strided_slice(gc.pad(a(d), [(2, 3)]), (1,), a(d).shape, (1,)),
    ),
    Case(
        shape.concat_padded_parts,
        lambda d: (
            gc.pad(b(d), [("2*n", 2)]) + gc.pad(a(d), [(0, "2*n + 2")])
            + gc.pad(-a(d), [("n", "n + 2")])
        ),
        lambda d: gc.pad(gc.concat([a(d), -a(d), b(d)]), [(0, 2)]),
        lambda d: gc.pad(b(d), [("n + 1", 1)]) + gc.pad(a(d), [(0, "n + 2")]),
    ),
)
