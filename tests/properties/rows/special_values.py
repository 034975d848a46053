"""R9: special values as in NumPy: every elementwise op at every tuple of 25 of them (signed zeros,
subnormals, the least and the largest numbers, infinities, NaN), interpreted and compiled. NaN where
NumPy has NaN, the same infinities, the same sign of every zero."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np

import graphc as gc
from graphc.errors import GraphcError
from graphc.ir.op import Fact, registry
from tests.op_samples import SAMPLES
from tests.properties.op_programs import Program, every
from tests.sampling import FLOATS, Array, Case
from tests.test_ops_complete import assert_same

from . import Budget, Result, Tally

# Where native functions and NumPy's or SciPy's differ, and why; the operands for which that holds.
DECLARED: dict[str, tuple[str, Callable[..., Any]]] = {
    **{
        name: ("an odd function is -0 at -0; SciPy's is 0", lambda x: x == 0)
        for name in ("erfinv", "i1", "i1e")
    },
    "erfcinv": ("erfcinv(1) is 0; SciPy's is -0", lambda x: x == 1),
    **{
        name: ("NumPy's zero is of either sign, by the length", lambda x, y: (x == 0) & (y == 0))
        for name in ("maximum", "minimum")
    },
    "lgamma": ("SciPy's overflows at subnormals", lambda x: (x != 0) & (abs(x) < 1e-300)),
    "digamma": ("SciPy's loses digits near a zero", lambda x: abs(x + 1.57) < 0.01),
}
MOST = 3  # operands: 15,625 tuples
ROUNDED = 16  # units in the last place that native functions may be away


def values(dtype: str) -> Array:
    info = np.finfo(dtype)
    sizes = [0, info.smallest_subnormal, info.tiny, info.eps, 0.5, 1, 1.5, np.pi / 2, 3, 100]
    found = np.array([*sizes, info.max, np.inf], dtype)
    return np.concatenate([found, -found, np.array([np.nan], dtype)])


def tuples(dtype: str, arity: int) -> list[Array]:
    """An array for each operand: together every tuple."""
    grid = np.meshgrid(*[values(dtype)] * arity, indexing="ij")
    return [np.ascontiguousarray(a.reshape(-1)) for a in grid]


def elementwise(name: str) -> Case | None:
    """The op's case of operands of one shape and dtype, if it has one that may be any number."""
    op, samples = registry().get(name), SAMPLES[name]
    if op is None or Fact.ELEMENTWISE not in op.facts or not samples.wild:
        return None
    for case in samples.cases:
        same = all(d is None for d in case.dtypes) and not any(case.draws)
        if same and 1 <= len(case.shapes) <= MOST and len(set(case.shapes)) == 1:
            return case
    return None


def tasks() -> list[tuple[str, str]]:
    names = [name for name in sorted(SAMPLES) if elementwise(name) is not None]
    return [(n, d) for n, d in product(names, FLOATS) if d in SAMPLES[n].takes]


def checked(task: tuple[str, str], **options: Any) -> Tally:
    """An op at a dtype: all tuples."""
    name, dtype = task
    case = elementwise(name)
    assert case is not None
    return compared(name, dtype, case, **options)


def compared(name: str, dtype: str, case: Case, **options: Any) -> Tally:
    tally, arrays = Tally(), tuples(dtype, len(case.shapes))
    shapes = ((arrays[0].size,),) * len(arrays)
    case = Case(call=case.call, numpy=case.numpy, shapes=shapes)
    samples = SAMPLES.get(name)
    ulp, unit = (samples.ulp, samples.unit) if samples else (0, 1e-30)
    try:
        program = Program(name, dtype, [case], **options)
        feeds = dict(zip(program.inputs[0], arrays, strict=True))
        meant = gc.evaluate(list(program.made[0]), feeds)
        for i, expected in enumerate(program.by_numpy([arrays])):
            assert_same(meant[i], expected, ulp, unit)
        for ours, theirs in zip(program.run([arrays]), meant, strict=True):
            tally.counts["values"] += ours.size
            reason, where = DECLARED.get(name, ("", None))
            declared = where(*arrays) if where else np.zeros(ours.shape, bool)
            wrong = differs(ours, theirs)
            tally.explained[reason] += int((wrong & declared).sum())
            if (wrong := wrong & ~declared).any():
                tally.failures.append(f"{name} of {dtype}: {shown(wrong, ours, theirs, arrays)}")
    except (AssertionError, GraphcError) as error:
        tally.failures.append(f"{name} of {dtype}: {error}")
    return tally


def differs(actual: Array, expected: Array) -> Array:
    """Which elements are of another kind: NaN, an infinity, a zero of a sign; or too far away."""
    if actual.dtype.kind == "c":
        return differs(actual.real, expected.real) | differs(actual.imag, expected.imag)
    if actual.dtype.kind != "f":
        return np.asarray(actual != expected)
    nan, exact = np.isnan(expected), np.isinf(expected) | (expected == 0)
    with np.errstate(all="ignore"):
        far = np.abs(actual - expected) > ROUNDED * np.spacing(np.abs(expected))
    other = (actual != expected) | (np.signbit(actual) != np.signbit(expected))
    return np.asarray((np.isnan(actual) != nan) | exact & other | ~(nan | exact) & far)


def shown(wrong: Array, actual: Array, expected: Array, operands: list[Array]) -> str:
    at = int(wrong.argmax())
    given = ", ".join(repr(a[at]) for a in operands)
    values = f"({given}) gives {actual[at]!r}, NumPy {expected[at]!r}"
    return f"{int(wrong.sum())} of {wrong.size}: {values}"


class SpecialValues:
    name = "R9"
    promise = "special values are as in NumPy"

    def run(self, budget: Budget) -> Result:
        chosen = every(tasks(), budget.of(len(tasks())))
        tally = Tally.sum(budget.map(checked, chosen))
        reached = (
            f"{len(chosen)} ops and dtypes, {tally.counts['values']:,} values, "
            f"{len(tally.failures)} differ"
        )
        return Result(not tally.failures, reached, f"{len(chosen)}, 0 undeclared", tally)

    def control(self) -> Result:
        """What holds of real numbers only: `x - x` is 0, `0 x` is 0, `x + 0` is x."""
        calls = (lambda x: x - x, lambda x: x * 0, lambda x: x + 0.0)
        tally = Tally()
        for call in calls:
            case = Case(call=call, numpy=call, shapes=(("n",),))
            tally += compared("add", "float64", case, fastmath=True)
        return Result(not tally.failures, "; ".join(tally.failures)[:100], "red", tally)


ROW = SpecialValues()
