"""R12: where an array's elements lie does not matter: every op with operands in nine layouts gives
the same bits; what the caller gave keeps its bytes, and what comes back is in memory of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

import numpy as np

from graphc.errors import GraphcError
from graphc.runtime import caller
from tests.op_samples import SAMPLES
from tests.properties.op_programs import Program, every
from tests.sampling import Array

from . import Budget, Result, Tally


def _spread(a: Array) -> Array:
    wide = np.zeros((*a.shape, 2), a.dtype)
    wide[..., 0] = a
    return wide[..., 0]


def _backwards(a: Array) -> Array:
    turned = (slice(None, None, -1),) * a.ndim
    return np.array(a[turned])[turned]


def _read_only(a: Array) -> Array:
    frozen = np.array(a)
    frozen.flags.writeable = False
    return frozen


def _misaligned(a: Array) -> Array:
    raw = np.empty(a.nbytes + 1, np.uint8)
    moved = raw[1:].view(a.dtype) if a.nbytes else np.empty(0, a.dtype)
    moved = moved.reshape(a.shape)
    moved[...] = a
    return moved


def _overlapping(a: Array) -> Array:
    """In one block of memory with others that begin before and end behind it."""
    around = np.zeros((3, *a.shape), a.dtype)
    around[1] = a
    return around[1]


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "C": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "transposed": lambda a: np.ascontiguousarray(a.T).T,
    "strided": _spread,
    "negative strides": _backwards,
    "read-only": _read_only,
    "misaligned": _misaligned,
    "inside another": _overlapping,
    "stretched": lambda a: np.broadcast_to(a[:1], a.shape) if a.ndim and len(a) else a,
}
KINDS = ("float64", "float32", "int32", "bool")


def tasks() -> list[tuple[str, str]]:
    """Each op with one dtype of each kind that it takes."""
    return [
        (name, tested)
        for name in sorted(SAMPLES)
        for tested in KINDS
        if tested in SAMPLES[name].takes
    ]


def checked(task: tuple[str, str]) -> Tally:
    tally = Tally()
    try:
        program = Program(*task)
        for arrays in list(program.arrays(wild=False))[-1:]:
            for layout, placed in LAYOUTS.items():
                tally.counts["calls"] += 1
                tally.failures += [
                    f"{task[0]} of {task[1]}, {layout}: {text}"
                    for text in faults(program, arrays, placed)
                ]
    except GraphcError as error:
        tally.failures.append(f"{task[0]} of {task[1]}: {error}")
    return tally


def faults(
    program: Program, arrays: Sequence[Sequence[Array]], placed: Callable[[Array], Array]
) -> list[str]:
    """What a layout changes."""
    given = [[placed(a) for a in case] for case in arrays]
    flat = [a for case in given for a in case]
    plain = [[np.array(a, order="C") for a in case] for case in given]
    kept = [a.copy() for case in plain for a in case]
    try:
        expected: Any = program.run(plain)
    except GraphcError as error:  # values that a stretched array repeats may be refused
        expected = type(error)
    try:
        found = program.run(given)
    except GraphcError as error:
        return [] if expected is type(error) else [f"{error}"]
    wrong = []
    pairs = zip(found, expected, strict=True)
    if any(a.tobytes() != b.tobytes() or a.dtype != b.dtype for a, b in pairs):
        wrong.append("other bits")
    if any(np.may_share_memory(r, a) for r in found for a in flat if r.size and a.size):
        wrong.append("a result in the caller's memory")
    for r in found:
        if r.flags.writeable and r.size:
            r[...] = 0  # the caller's to change
    if any(a.tobytes() != b.tobytes() for a, b in zip(flat, kept, strict=True)):
        wrong.append("an operand has other bytes")
    return wrong


class Layouts:
    name = "R12"
    promise = "layouts do not matter"

    def run(self, budget: Budget) -> Result:
        chosen = every(tasks(), budget.of(len(tasks())))
        tally = Tally.sum(budget.map(checked, chosen))
        reached = (
            f"{len(chosen)} ops and dtypes, {tally.counts['calls']:,} calls in {len(LAYOUTS)} "
            f"layouts, {len(tally.failures)} differ"
        )
        return Result(not tally.failures, reached, f"{len(chosen)}, 0", tally)

    def control(self) -> Result:
        """Operands are taken to lie in C order, however they do."""
        program = Program("add", "float64", SAMPLES["add"].cases[4:5])  # [3, 4] and [3, 4]
        (arrays,) = program.arrays(wild=False)
        with mock.patch.object(caller, "as_input", lambda value, *_: np.asarray(value)):
            found = faults(program, arrays, LAYOUTS["Fortran"])
        return Result(not found, "; ".join(found), "red", Tally(failures=found))


ROW = Layouts()
