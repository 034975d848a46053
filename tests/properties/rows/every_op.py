"""R5: every op equals NumPy, for each dtype that it takes and each class of shapes, interpreted and
compiled; every other dtype is an error that names the op and what it was given."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

import graphc as gc
from graphc.checking.values import differences
from graphc.errors import GraphcError
from graphc.ir.node import apply
from graphc.ir.op import registry
from graphc.ir.shape import TensorType
from tests.op_samples import SAMPLES
from tests.properties.op_programs import Program, every, pairs
from tests.sampling import Case
from tests.test_ops_complete import assert_same, test_other_dtypes_are_errors_that_name_the_op

from . import Budget, Result, Tally

FIGURE = len(pairs())
# SciPy's lose digits near their zeros and poles, where ours do not; and of half the least number,
# which is as near to 0, they make that number.
LOSSES = {"digamma": 1e-12, "lgamma": 1e-12, "polygamma": 1e-12, "i1": 1e-15, "i1e": 1e-15}
# Vectors of which the opposite is as good: NumPy calls another routine than we do.
OF_ANY_SIGN = ("eigh", "eigh_by_columns", "svd", "svd_by_columns", "eig", "eig_by_columns", "qr")


def checked(task: tuple[str, str]) -> Tally:
    """An op at a dtype: all its cases."""
    name, tested = task
    tally = Tally()
    try:
        check(Program(name, tested), tally)
        if tested == SAMPLES[name].takes[0] and name in registry():
            test_other_dtypes_are_errors_that_name_the_op(name)
            tally.counts["refusals"] += 1
    except (AssertionError, GraphcError) as error:
        tally.failures.append(f"{name} of {tested}: {error}")
    return tally


def check(program: Program, tally: Tally) -> None:
    """Interpreted, as NumPy to the bit or the declared distance; compiled, as interpreted."""
    samples = SAMPLES.get(program.name)
    ulp, unit, wild = (samples.ulp, samples.unit, samples.wild) if samples else (0, 1e-30, True)
    # A partial product that underflows, beside an infinity, is NaN in one order and not in another.
    for arrays in program.arrays(wild and "prod" not in program.name):
        flat = [a for case in arrays for a in case]
        meant = gc.evaluate(
            [t for made in program.made for t in made],
            dict(zip(program.graph.inputs, flat, strict=True)),
        )
        for ours, theirs in zip(meant, program.by_numpy(arrays), strict=True):
            assert_same(ours, theirs, ulp, unit)
        results = program.run(arrays)
        if (loss := LOSSES.get(program.name)) is not None:
            for ours, theirs in zip(results, meant, strict=True):
                finite = np.isfinite(theirs)  # its lgamma overflows at subnormals
                least = np.finfo(theirs.dtype)
                near = {"rtol": max(loss, least.eps), "atol": least.smallest_subnormal}
                np.testing.assert_allclose(ours[finite], theirs[finite], **near)
            tally.explained["SciPy's digits"] += 1
            continue
        if program.name in OF_ANY_SIGN:
            for ours, theirs in zip(results, meant, strict=True):
                near = 1e3 * np.finfo(theirs.dtype).eps
                np.testing.assert_allclose(abs(ours), abs(theirs), rtol=near, atol=near)
            tally.explained["LAPACK's signs"] += 1
            continue
        found = differences(program.graph, flat, meant, results, explained=tally.explained)
        assert not found, found[0]
        tally.counts["results"] += len(meant)


class EveryOp:
    name = "R5"
    promise = "every op equals NumPy, at every dtype"

    def run(self, budget: Budget) -> Result:
        tasks = every(pairs(), budget.of(FIGURE))
        tally = Tally.sum(budget.map(checked, tasks))
        reached = (
            f"{len({n for n, _ in tasks})} of {len(SAMPLES)} ops, {len(tasks):,} programs, "
            f"{tally.counts['results']:,} results, {len(tally.failures)} differ"
        )
        return Result(not tally.failures, reached, f"{budget.of(FIGURE):,} programs, 0", tally)

    def control(self) -> Result:
        """Sums of int32 and int64 that are said to be int32."""

        def first(x: TensorType, y: TensorType) -> tuple[TensorType, ...]:
            return (TensorType(x.dtype, x.shape),)

        wrong = replace(registry()["add"], infer=first)

        def call(x: Any, y: Any) -> Any:
            return apply(wrong, (x, y)).output()

        case = Case(call=call, numpy=np.add, shapes=((3,), (3,)), dtypes=("int32", "int64"))
        tally = Tally()
        try:
            check(Program("a wrong dtype", "int32", [case]), tally)
        except (AssertionError, GraphcError) as error:
            tally.failures.append(str(error))
        seen = tally.failures[0].strip().splitlines()[0] if tally.failures else ""
        return Result(not tally.failures, seen, "red", tally)


ROW = EveryOp()
