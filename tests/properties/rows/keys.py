"""R20: each part of what a program depends on, changed alone, is a miss in the cache; unchanged, in
a new process, it is a hit. So it is with its form, by which programs of other numbers are found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import graphc as gc
from graphc.ir.graph import Graph
from graphc.ir.text import key_text
from graphc.passes.numbers import find_numbers
from graphc.pipeline.optimize import optimize
from graphc.pipeline.options import Options
from graphc.pipeline.stages import Stages
from graphc.runtime import cache, programs
from graphc.runtime.target import TARGETS, Target

from . import Budget, Result, Tally

FIGURE = 20  # parts
ROOT = Path(__file__).parents[3]
CPU = TARGETS["cpu"]


def graph(
    *,
    dtype: str = "float64",
    size: Any = "n",
    first: str = "u",
    edges: str = "xy",
    op: Callable[[Any], Any] = gc.tanh,
    axis: int = 0,
    constant: float = 2.0,
    element: float = 1.0,
    table: str = "float64",
    swapped: bool = False,
    more: bool = False,
    written: str = "v",
    rank: int = 1,
) -> Graph:
    """A graph each argument of which is a part of it."""
    x, y = gc.placeholder(first, (size, 3), dtype), gc.placeholder("w", (size, 3), dtype)
    large = np.full(2_000, 0.1)  # which float32 has not
    large[1] = element
    values = gc.constant(large.astype(table))[:3].astype(dtype)
    operands = {"x": x, "y": y}
    left, right = (operands[name] for name in edges)
    z = gc.flip(op(left) * constant - right, axis) + values
    v, other = (gc.variable(np.zeros((3,) * rank), name) for name in "vo")
    outputs = [z, gc.sum(z)]
    if more:
        outputs.append(z * z)
    updates = [(v if written == "v" else other, v + other * 2.0)]
    return Graph([x, y], outputs[::-1] if swapped else outputs, updates, "keyed")


def form_key(graph: Graph, options: Options, target: Target) -> str:
    optimized = optimize(graph, Stages(), options, target.machine).graph
    return programs.form_key(graph, optimized, find_numbers(optimized), options, target)


def parts() -> Iterator[tuple[str, str]]:
    """The keys of a program, and those of its form, with each part changed alone; the first is the
    program's own."""
    yield from parts_of(programs.program_key)
    for name, key in parts_of(form_key):
        yield f"{name}, in the form", key


def parts_of(key: Callable[[Graph, Options, Target], str]) -> Iterator[tuple[str, str]]:
    """The keys of one kind. The program's own number is a power of two, and so in its code."""

    def of(**changed: Any) -> str:
        return key(graph(**changed), Options(), CPU)

    yield "nothing", of()
    yield "the operands' order (edges)", of(edges="yx")
    yield "one operand for another (edges)", of(edges="xx")
    yield "an operation", of(op=gc.sin)
    yield "an attribute", of(axis=1)
    yield "a number", of(constant=3.0)
    yield "a number's sign", of(constant=-2.0)
    yield "zero's sign", of(element=-0.0)
    yield "one element of a large constant", of(element=1.5)
    yield "an element that is zero", of(element=0.0)
    yield "the dtype of a constant", of(table="float32")
    yield "the dtype of inputs", of(dtype="float32")
    yield "a size", of(size=5)
    yield "another size", of(size=6)
    yield "the order of outputs", of(swapped=True)
    yield "the outputs", of(more=True)
    yield "the variable that is written", of(written="o")
    yield "the rank of variables", of(rank=2)
    for name, value in (
        ("flush_subnormals", True), ("fastmath", True), ("memory_budget", 1 << 20),
        ("sizes", {"n": 9}), ("tf32", True), ("announces", True),
    ):  # fmt: skip
        yield name, key(graph(), replace(Options(), **{name: value}), CPU)
    yield "the target's name", key(graph(), Options(), replace(CPU, name="other"))
    for name, value in CPU.identity().items():
        other = {**CPU.identity(), name: f"{value}x"}
        target = replace(CPU, identity=lambda other=other: other)
        yield f"the computer's {name}", key(graph(), Options(), target)
    for name, value in cache.environment_parts().items():
        other = {**cache.environment_parts(), name: f"{value}x"}
        with mock.patch.object(cache, "environment_parts", lambda other=other: other):
            yield f"who compiles: {name}", of()


def elsewhere(seed: int) -> dict[str, str]:
    """The same keys, made by a new process."""
    program = (
        "import json; from tests.properties.rows.keys import parts;print(json.dumps(dict(parts())))"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": str(seed)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def collisions() -> Tally:
    """Parts that, changed alone, leave the key as it was, or give that of another change."""
    tally = Tally()
    seen: dict[str, str] = {}
    for name, key in parts():
        tally.counts["parts"] += 1
        if key in seen:
            tally.failures.append(f"the same key: {name}, and {seen[key]}")
        seen[key] = name
    forms = {form_key(graph(constant=number), Options(), CPU) for number in (0.3, 0.7, -1e9)}
    if len(forms) != 1 or not forms <= seen.keys():  # as that of 3.0
        tally.failures.append("numbers of arithmetic are in the form")
    return tally


class Keys:
    name = "R20"
    promise = "every part of a program is in its key"

    def run(self, budget: Budget) -> Result:
        tally = collisions()
        here = dict(parts())
        for there in budget.map(elsewhere, range(1, 1 + budget.of(4))):
            tally.counts["processes"] += 1
            tally.failures += [f"another key elsewhere: {n}" for n in here if here[n] != there[n]]
        changed, processes = tally.counts["parts"] - 1, tally.counts["processes"]
        return Result(
            not tally.failures and changed >= FIGURE,
            f"{changed} parts, {processes} processes, {len(tally.failures)} failures",
            f"at least {FIGURE} parts, all misses; unchanged hits",
            tally,
        )

    def control(self) -> Result:
        """Edges are left out of the graph's text."""

        def without_edges(graph: Graph) -> str:
            return "".join(sorted(key_text(graph)))

        with mock.patch.object(programs, "key_text", without_edges):
            tally = collisions()
        return Result(not tally.failures, "; ".join(tally.failures)[:200], "red", tally)


ROW = Keys()
