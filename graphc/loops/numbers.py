"""The numbers of a kernel: constants that its code is given at each call.

A learning rate, a step of time, the coefficients of a formula: kernels that differ in them alone
are one piece of code, so a program in which a number was changed compiles no kernel again. Numbers
are operands of arithmetic only, where machine code reads a constant from memory anyway, and none by
which LLVM does something simpler: zeros, powers of two, infinities. Those stay in the code, as do
bounds of `maximum` and `minimum`, which are cheaper if they are known not to be NaN.
"""

from __future__ import annotations

import math

import numpy as np

from graphc.ir.dtype import DType
from graphc.loops.grammar import Const, Kernel, Let, Value, statements

_ARITHMETIC = frozenset({"add", "subtract", "multiply", "divide"})


def is_number(primitive: str, value: Value) -> bool:
    """Whether an operand of a primitive is a number that the kernel is given."""
    if not isinstance(value, Const) or primitive not in _ARITHMETIC:
        return False
    return is_plain(value.value, value.dtype)


def is_plain(value: np.generic, dtype: DType) -> bool:
    """Whether it is a float by which nothing is simpler than by others."""
    if not (dtype.is_float and dtype.is_computed):
        return False
    number = float(value.item())
    return math.isfinite(number) and abs(math.frexp(number)[0]) not in (0.0, 0.5)


def numbers(kernel: Kernel) -> dict[Const, int]:
    """The constants that are numbers, and the place of each among them: equal ones have one, in the
    order in which the kernel's statements have them."""
    places: dict[tuple[str, float], int] = {}
    found: dict[Const, int] = {}
    for stmt in statements(kernel.body):
        if isinstance(stmt, Let):
            for value in stmt.args:
                if is_number(stmt.primitive, value):
                    assert isinstance(value, Const)
                    key = (value.dtype.short, value.value.item())
                    found[value] = places.setdefault(key, len(places))
    return found


def given(kernel: Kernel) -> list[Const]:
    """What a call gives its kernel: each number once, in the order of their places."""
    return list({place: value for value, place in numbers(kernel).items()}.values())
