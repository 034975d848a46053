"""R8: how far the scalar functions are off: float32 swept, each within its bound of the truth.

    python -m tests.properties.rows.accuracy

prints the table of docs/accuracy.md: the largest errors found, in units in the last place. The
figure is every float32; a share of it is every n-th, each function at the same ones. Functions of
two operands are compared at as many pairs.
"""

from __future__ import annotations

import sys
from functools import cache

import mpmath
import numpy as np

from graphc.lower import vector_math
from tests.lower.scalar_functions import (
    BOUND32,
    IN_80_BITS,
    MPMATH,
    Array,
    Loops,
    errors,
    extended,
    float32_every,
    float64_sample,
    loop_over,
    naive,
    pairs,
)

from . import Budget, Result, Tally

FIGURE = 2**32
CONTROL = 20_011  # every so many float32
PART = 2**22  # numbers that are compared at a time


@cache
def inline() -> Loops:
    """All functions over float32 and float64, compiled once in a process."""
    every = [(name, bits) for name in vector_math.FUNCTIONS for bits in (32, 64)]
    return Loops("".join(loop_over(*pair) for pair in every), vector_math.definitions(every))


def worst_of(name: str, operands: list[Array], bias: bool = False) -> tuple[float, str]:
    """The largest error of a function of float32, and where; `bias` moves results by one unit."""
    found = inline()(name, *operands)
    if bias:
        found = np.nextafter(found, np.float32(np.inf))
    with np.errstate(invalid="ignore"):  # signalling NaN
        exact = naive(name, *(x.astype(np.float64) for x in operands))
        error = errors(found, exact)
    at = int(error.argmax())
    where = ", ".join(repr(x[at]) for x in operands)
    return float(error[at]), f"{name}({where}) = {found[at]!r}, exactly {exact[at]!r}"


def swept(task: tuple[str, int, bool]) -> Tally:
    """A function at every so many float32."""
    name, stride, bias = task
    tally, largest = Tally(), 0.0
    parts = max(1, FIGURE // (stride * PART))
    for part in range(parts):
        operands = [float32_every(stride * parts, stride * part)]
        if name in vector_math.BINARY:
            operands = list(pairs(np.dtype(np.float32), 2 * (operands[0].size // 2), part))
        error, where = worst_of(name, operands, bias)
        tally.counts["numbers"] += operands[0].size
        largest = max(largest, error)
        if error > BOUND32[name]:
            tally.failures.append(f"{error:.4g} units, more than {BOUND32[name]}: {where}")
            break
    tally.explained[f"{name} {largest:.2f}"] = 1
    return tally


class Accuracy:
    name = "R8"
    promise = "scalar functions are within their bounds"

    def run(self, budget: Budget) -> Result:
        stride = max(1, FIGURE // budget.of(FIGURE))
        tasks = [(name, stride, False) for name in vector_math.FUNCTIONS]
        return result(Tally.sum(budget.map(swept, tasks)), stride)

    def control(self) -> Result:
        """Every result moved by one unit in the last place."""
        tasks = [(name, CONTROL, True) for name in ("exp", "tan", "lgamma")]
        return result(Tally.sum(map(swept, tasks)), CONTROL)


def result(tally: Tally, stride: int) -> Result:
    count, tally.explained = len(tally.explained), tally.explained.copy()
    reached = (
        f"{count} functions, {tally.counts['numbers']:,} numbers, {len(tally.failures)} too far"
    )
    wanted = f"every {stride:,}th float32, 0" if stride > 1 else "every float32, 0"
    notes = ("largest errors: " + ", ".join(tally.explained),)
    tally.explained.clear()
    return Result(not tally.failures, reached, wanted, tally, notes=notes)


ROW = Accuracy()


# -- the table of the page -------------------------------------------------------------------------
def by_mpmath(name: str) -> float:
    """The largest error of float64 at some numbers, positive ones of lgamma and digamma."""
    random = np.random.default_rng(8)
    x = np.concatenate([random.uniform(-6, 6, 800), np.exp(random.uniform(-30, 3.5, 400))])
    if name in ("erfinv", "erfcinv", "ndtri"):
        x = np.concatenate([random.random(800), np.exp(-random.uniform(0.1, 700, 400))])
    if name in ("lgamma", "digamma"):
        x = np.abs(x)
    function, largest = MPMATH.get(name) or getattr(mpmath, name), 0.0
    with mpmath.workprec(200):
        for argument, got in zip(x, inline()(name, x), strict=True):
            exact = function(mpmath.mpf(float(argument)))
            unit = np.spacing(abs(float(exact)))
            largest = max(largest, float(abs(mpmath.mpf(float(got)) - exact) / unit))
    return largest


def of_float64(name: str) -> float:
    if name in vector_math.BINARY:
        operands = list(pairs(np.dtype(np.float64), 200_000))
        exact = naive(name, *(x.astype(np.longdouble) for x in operands))
    elif name in IN_80_BITS:
        operands = [float64_sample()]
        exact = extended(name, *operands)
    else:
        return by_mpmath(name)
    return float(errors(inline()(name, *operands), exact).max())


def table() -> str:
    """float32 at every 61st number."""
    lines = ["| function | float32 | float64 |", "|---|---|---|"]
    for name in vector_math.FUNCTIONS:
        (single,) = swept((name, 61, False)).explained
        lines.append(f"| `{name}` | {single.split()[1]} | {of_float64(name):.2f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table())
