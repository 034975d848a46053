"""What statements of kernels are over: scalars, literals, indices, memory.

Ops say with these how they read, so they are loaded with the ops; the statements, in `grammar.py`,
are loaded with what builds kernels of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from graphc.ir.dim import Size
from graphc.ir.dtype import DType


@dataclass(frozen=True, eq=False, slots=True)
class Var:
    """A scalar of the kernel; equality is identity."""

    name: str
    dtype: DType

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, eq=False, slots=True)
class Const:
    """A literal; `value` is a NumPy scalar of the dtype."""

    value: np.generic
    dtype: DType

    def __str__(self) -> str:
        return f"{self.dtype.short}({self.value.item()!r})"


Value: TypeAlias = "Var | Const"


@dataclass(frozen=True, slots=True)
class Affine:
    """An index: the sum of `size * var` over `terms`, plus `const`. Terms with size 0 are absent.

    A term's variable is a loop's, or an i64 computed by the kernel (an index read from data).
    """

    terms: tuple[tuple[Var, Size], ...] = ()
    const: Size = 0

    def __add__(self, other: Affine | Size) -> Affine:
        if not isinstance(other, Affine):
            return Affine(self.terms, self.const + other)
        sums: dict[Var, Size] = dict(self.terms)
        for var, size in other.terms:
            sums[var] = sums[var] + size if var in sums else size
        return Affine(tuple((v, s) for v, s in sums.items() if s != 0), self.const + other.const)

    def __mul__(self, factor: Size) -> Affine:
        if factor == 0:
            return Affine()
        return Affine(tuple((v, s * factor) for v, s in self.terms), self.const * factor)

    def __neg__(self) -> Affine:
        return self * -1

    def coefficient(self, var: Var) -> Size:
        return next((s for v, s in self.terms if v is var), 0)

    @property
    def is_zero(self) -> bool:
        return not self.terms and self.const == 0

    def __str__(self) -> str:
        parts = [v.name if s == 1 else f"({s})*{v.name}" for v, s in self.terms]
        if self.const != 0 or not parts:
            parts.append(str(self.const))
        return " + ".join(parts)


def of(var: Var) -> Affine:
    """The index that is just `var`."""
    return Affine(((var, 1),))


@dataclass(frozen=True, eq=False, slots=True)
class Buffer:
    """A flat array of `size` elements. `private`: scratch memory, of which each turn of the outer
    loops reads only what it has written. `part`: if not 0, turn i of a parallel loop that writes
    here touches only the elements from `part * i` to `part * (i + 1)`: the place in a part may be
    read from data, which is why this is said and not shown."""

    name: str
    dtype: DType
    size: Size
    private: bool = False
    part: Size = 0
