"""R10: integers wrap and divide as NumPy's: every operation of two integers at all pairs of int8
and of uint8, and at the edges of the wider ones; interpreted and compiled."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

import graphc as gc
from graphc.errors import GraphcError
from graphc.ir.op import Fact, registry
from tests.op_samples import SAMPLES
from tests.properties.op_programs import Program, every
from tests.properties.planted import FAULTS
from tests.sampling import Array, Case, of_kinds
from tests.test_ops_complete import assert_same

from . import Budget, Result, Tally
from .special_values import differs, shown

INTEGERS = of_kinds("iu")


def values(dtype: str) -> Array:
    info = np.iinfo(dtype)
    if info.bits == 8:
        return np.arange(info.min, info.max + 1).astype(dtype)
    near = [-1000, -7, -3, -2, -1, 0, 1, 2, 3, 7, 10, 1000, 1 << (info.bits // 2)]
    near += [(1 << (info.bits // 2)) - 1, info.min, info.min + 1, info.max, info.max - 1]
    kept = sorted({v for v in near if info.min <= v <= info.max})
    return np.array(kept, dtype)


def binary(name: str) -> Case | None:
    """The op's case of two operands of one shape and one dtype, which may be any integers."""
    op = registry().get(name)
    if op is None or Fact.ELEMENTWISE not in op.facts:
        return None
    for case in SAMPLES[name].cases:
        same = all(d is None for d in case.dtypes) and not any(case.draws)
        if same and len(case.shapes) == 2 and len(set(case.shapes)) == 1:
            return case
    return None


def tasks() -> list[tuple[str, str]]:
    names = [name for name in sorted(SAMPLES) if binary(name) is not None]
    return [(n, d) for n, d in product(names, INTEGERS) if d in SAMPLES[n].takes]


def checked(task: tuple[str, str]) -> Tally:
    """An op at a dtype: all pairs of its values."""
    name, dtype = task
    case = binary(name)
    assert case is not None
    return compared(name, dtype, case)


def compared(name: str, dtype: str, found: Case) -> Tally:
    tally = Tally()
    a, b = (np.ascontiguousarray(v.reshape(-1)) for v in np.meshgrid(*[values(dtype)] * 2))
    case = Case(call=found.call, numpy=found.numpy, shapes=((a.size,),) * 2)
    samples = SAMPLES[name]
    try:
        program = Program(name, dtype, [case])
        (expected,) = program.by_numpy([[a, b]])
        meant = gc.evaluate(program.made[0][0], dict(zip(program.inputs[0], (a, b), strict=True)))
        assert_same(np.asarray(meant), expected, samples.ulp, samples.unit)
        (actual,) = program.run([[a, b]])
        assert actual.dtype == expected.dtype, (actual.dtype, expected.dtype)
        tally.counts["pairs"] += a.size
        wrong = differs(actual, np.asarray(meant))
        if wrong.any():
            tally.failures.append(f"{name} of {dtype}: {shown(wrong, actual, meant, [a, b])}")
    except (AssertionError, GraphcError) as error:
        tally.failures.append(f"{name} of {dtype}: {error}")
    return tally


class Integers:
    name = "R10"
    promise = "integers wrap and divide as NumPy's"

    def run(self, budget: Budget) -> Result:
        chosen = every(tasks(), budget.of(len(tasks())))
        tally = Tally.sum(budget.map(checked, chosen))
        reached = (
            f"{len(chosen)} ops and dtypes, {tally.counts['pairs']:,} pairs, "
            f"{len(tally.failures)} differ"
        )
        return Result(not tally.failures, reached, f"{len(chosen)}, 0", tally)

    def control(self) -> Result:
        """An int16 that is taken for an int8 is not converted."""
        (fault,) = (f for f in FAULTS if f.name == "an integer that is not converted back")

        def halved(x: Any, y: Any) -> Any:
            return (x.astype("int8") + y.astype("int8")) // np.int8(2)

        case = Case(call=halved, numpy=halved, shapes=((3,),) * 2)
        with fault.plant():
            tally = compared("add", "int16", case)
        return Result(not tally.failures, "; ".join(tally.failures)[:100], "red", tally)


ROW = Integers()
