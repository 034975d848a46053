"""R30: kernels for cards, without one. Each op and random graphs, with gradients, as launches in a
simulator of threads and as machine code of this processor; programs of every kind of kernel at
sizes around those of a warp and of a block; all that a card is asked, assembled for three."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from unittest import mock

import graphc as gc
from graphc.checking import simulator
from graphc.errors import GraphcError
from graphc.ir.graph import Graph
from graphc.ir.op import registry
from graphc.loops.grammar import Kernel
from graphc.lower.gpu_source import print_launches
from graphc.lower.launches import Launches
from tests.lower.assembler import assembled, kernels_of, programs
from tests.lower.assembler import why_not as no_assembler
from tests.op_samples import SAMPLES, arrays_of
from tests.properties.generator import random_graph
from tests.properties.launches import (
    NATIVE,
    PROGRAMS,
    SIMULATED,
    SIZES,
    STEPS,
    calls_at,
    check_launches,
    optimised,
)
from tests.runtime.cuda_stub.on_this_processor import run_programs, run_with_stub, why_not

from . import Budget, Result, Tally, chunks

FIGURE, FIRST = 700, 10_000  # graphs; seeds from FIRST on
EVERY = 10  # one of so many is compiled for this processor, since that takes a second
WIDTHS = (1, 5, 33)  # of rows
LONG = 60_000  # statements of a kernel that is run at a size of its own
COMPILED = 3  # calls of a program that are run as machine code where the share is small


def launches_of_graphs(seeds: range) -> Tally:
    tally = Tally()
    for seed in seeds:
        try:
            made = random_graph(seed)
            graph = optimised(made.graph)
            calls = [made.arrays(call) for call in range(len(made.sizes))]
            tally.counts += check_launches(graph, calls, f"random_graph({seed})")
            if seed % EVERY == 0:
                found = check_launches(graph, calls[:1], f"random_graph({seed})", NATIVE)
                tally.counts["as machine code"] += found.total()
        except (AssertionError, GraphcError) as error:
            tally.failures.append(f"random_graph({seed}): {error}")
        tally.counts["graphs"] += 1
    return _told(tally)


def launches_of_program(task: tuple[str, bool]) -> Tally:
    """A program at all sizes: simulated where it is small, as machine code everywhere if `whole`,
    which compiles it again for each region."""
    name, whole = task
    tally = Tally()
    program = next(p for p in PROGRAMS if p.__name__ == name)
    graph = program()
    compiled = optimised(graph)
    try:
        calls = calls_at(graph, SIZES, WIDTHS)
        tally.counts += check_launches(compiled, calls, name, SIMULATED, LONG)
        native = calls if whole else calls[:: len(calls) // COMPILED]
        found = check_launches(compiled, native, name, NATIVE, None)
        tally.counts["as machine code"] += found.total()
    except (AssertionError, GraphcError) as error:
        tally.failures.append(f"{name}: {error}")
    tally.counts["programs"] += 1
    return _told(tally)


def launches_of_op(name: str) -> Tally:
    """An op and its gradient, simulated and as machine code."""
    tally, samples = Tally(), SAMPLES[name]
    case, tested = samples.cases[0], samples.takes[-1]
    inputs = case.placeholders(tested)
    made = case.call(*inputs)
    outputs = list(made) if isinstance(made, tuple) else [made]
    floats = [x for x in inputs if x.dtype.is_float]
    sums = [gc.sum(y * y) for y in outputs if y.dtype.is_float]
    try:
        outputs += gc.grad(sum(sums, gc.constant(0.0)), floats) if floats and sums else []
    except GraphcError:
        tally.counts["ops without a gradient"] += 1
    graph = optimised(Graph(inputs, outputs))
    *_, arrays = arrays_of(name, tested, case, wild=False)
    try:
        for ways, limit in ((SIMULATED, STEPS), (NATIVE, None)):
            found = check_launches(graph, [arrays], name, ways, limit)
            tally.counts["kernels of ops"] += found.total()
    except AssertionError as error:
        tally.failures.append(f"{name}: {error}")
    tally.counts["ops"] += 1
    return tally


def programs_on_a_stub(module: str) -> Tally:
    """Whole programs, through cuda-bindings, on a driver whose card is this processor; and all that
    a card would be asked by a module of benchmarks."""
    tally = Tally()
    if why_not():
        tally.skipped[f"programs on a stub: {why_not()}"] += 1
        return tally
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        asked = "-m", module, "--stub", "--out", str(place / "gpu.jsonl")
        for done in (run_programs(place), run_with_stub(place, *asked)):
            counted = re.search(r"(\d+) (passed|questions)", done.stdout)
            if counted:
                tally.counts[f"{counted[2]} on a stub"] += int(counted[1])
            if done.returncode:
                tally.failures.append(done.stdout[-6000:] + done.stderr[-2000:])
    return tally


def launches_assembled(name: str) -> Tally:
    """A program's kernels by NVIDIA's assembler, for three architectures."""
    tally = Tally()
    for kernel in kernels_of(programs()[name]()):
        for launch, architecture, used in assembled(kernel):
            tally.counts["launches assembled"] += 1
            if used.spilled or used.stack:
                tally.failures.append(f"{name}, {launch} for {architecture}: {used}")
    return tally


def _told(tally: Tally) -> Tally:
    long = tally.counts.pop("too long", 0)
    if long:
        tally.skipped["kernels too long to be simulated"] += long
    return tally


# -- faults ----------------------------------------------------------------------------------------
FAULTS: dict[str, tuple[str, str]] = {
    "a barrier that some threads miss": (" = group_add", " = f32(0) if lane == 1 else group_add"),
    "a guard that is off by one": ("while t < bound:", "while t <= bound:"),
    "a second writer": ("if bitwise_and(active, lane == 0):", "if active:"),
}


def seen(fault: str) -> str:
    """What the check says of launches whose text was changed."""
    before, after = FAULTS[fault]

    def changed(kernel: Kernel) -> Launches:
        made = print_launches(kernel)
        launches = (replace(x, source=x.source.replace(before, after)) for x in made.launches)
        return replace(made, launches=tuple(launches))

    with mock.patch.object(simulator, "print_launches", changed):
        tally = launches_of_program(("cross_entropy", False))
    return tally.failures[0] if tally.failures else ""


class Cuda:
    name = "R30"
    promise = "kernels for cards give what NumPy gives, without races"

    def run(self, budget: Budget) -> Result:
        graphs, whole = budget.of(FIGURE, least=4), budget.share >= 1
        tally = Tally.sum(budget.map(launches_of_graphs, chunks(FIRST, graphs, 5)))
        ops = [name for name in SAMPLES if name in registry()]
        tally += Tally.sum(budget.map(launches_of_op, ops[:: len(ops) // budget.of(len(ops))]))
        tasks = [(program.__name__, whole) for program in PROGRAMS]
        tally += Tally.sum(budget.map(launches_of_program, tasks))
        if reason := no_assembler():
            tally.skipped[f"launches assembled: {reason}"] += 1
        else:
            tally += Tally.sum(budget.map(launches_assembled, list(programs())))
        tally += Tally.sum(budget.map(programs_on_a_stub, ["tests.benchmarks.gpu"]))
        kinds: Counter[str] = Counter({k: tally.counts[k] for k in KINDS})
        reached = f"{tally.counts['graphs']:,} graphs, {kinds.total():,} kernels simulated"
        holds = tally.counts["graphs"] >= graphs and not tally.failures and all(kinds.values())
        notes = (f"kinds: {', '.join(f'{v:,} {k}' for k, v in kinds.items())}",)
        seeds = f"{FIRST}..{FIRST + graphs - 1}"
        return Result(holds, reached, f"{graphs:,} graphs, 0 differ", tally, seeds, notes)

    def control(self) -> Result:
        """A barrier that some threads miss, a guard that is off by one, a second writer."""
        missed = [fault for fault in FAULTS if not seen(fault)]
        if missed:
            return Result(True, f"not seen: {', '.join(missed)}", "0 differ")
        return Result(False, f"{len(FAULTS)} faults seen", "0 differ")


KINDS = ("map", "row", "column", "scatter")
ROW = Cuda()
