"""What an op says of the routine of LAPACK that computes it, matrix by matrix.

A routine has the Fortran interface: its matrices are stored by columns, every argument is a
pointer, and the last one, `info`, is not 0 where it failed. An op states the arguments before that
as records; sizes may be symbolic. Nothing here, and nothing that reads it, knows a routine by name.

>>> # x of a triangular u with u x = b: trtrs(uplo, trans, diag, n, k, u, lda, b, ldb, info)
>>> n, k = 3, 2
>>> Routine("trtrs", (2, 2), (2,), (Flag("U"), Flag("N"), Flag("N"), Count(n), Count(k), Operand(0),
...     Count(n), Result(0, copy=1), Count(n)), work=n * n * k).name
'trtrs'
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from graphc.ir.dim import Size


class Flag(NamedTuple):
    """One letter."""

    letter: str


class Count(NamedTuple):
    """An integer."""

    size: Size


class Leading(NamedTuple):
    """The distance between columns, which is never below 1."""

    size: Size


class Operand(NamedTuple):
    """The op's operand at `position`, which is only read; of integers, as the library has them."""

    position: int


class Result(NamedTuple):
    """The op's result at `position`; with `copy` it begins as a copy of that operand."""

    position: int
    copy: int | None = None


class Work(NamedTuple):
    """Memory for the routine's own use: `size` elements of the op's floats, or of integers; with
    `copy` it begins as a copy of that operand."""

    size: Size
    integers: bool = False
    copy: int | None = None


Argument: TypeAlias = "Flag | Count | Leading | Operand | Result | Work"


class Routine(NamedTuple):
    """A routine: its name without the letter for the dtype, how many of the last axes of each
    operand and of each result it takes at once, its arguments but `info`, and about how many
    multiply-adds it does. Axes before these are a batch; operands may lack some of them.

    `failure`: what is the matter if `info` is above 0. Without it, the results say so.
    """

    name: str
    operands: tuple[int, ...]
    results: tuple[int, ...]
    arguments: tuple[Argument, ...]
    work: Size
    failure: str = ""
