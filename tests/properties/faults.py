"""What a planted miscompile is, and some of the checks that see one.

`FAULTS` lists them with the check that must see each of them and the seeds it is given. A fault is
caught where the check fails: by an assertion, an error of graphc, or an element out of its buffer.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import graphc as gc
from graphc.checking.kernels import check_region, regions_of
from graphc.errors import GraphcError
from graphc.ir.evaluate import evaluate_graph
from graphc.ir.graph import map_graph
from graphc.ir.node import ArrayValue, apply
from graphc.ops.closure import in_bodies
from graphc.passes.numbers import find_numbers
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages

from .checking import check_stages, compiled, compiled_mismatch
from .generator import random_graph
from .shrinking import unread
from .twins import disagreement, twins

Check = Callable[[int], Any]
Plant = Callable[[], AbstractContextManager[Any]]
CAUGHT = (AssertionError, IndexError, GraphcError)


@dataclass(frozen=True)
class Fault:
    """One miscompile: where it is, how it is planted, and what must see it."""

    room: str
    name: str
    plant: Plant
    check: Check
    seeds: Sequence[int] = range(60)

    def __str__(self) -> str:
        return f"{self.room}: {self.name}"


FAULTS: list[Fault] = []


def caught_by(fault: Fault) -> int | None:
    """The first seed whose check fails with the fault planted, or None."""
    with mock.patch.dict("os.environ", {"GRAPHC_CACHE": "0"}), unread(), fault.plant():
        for seed in fault.seeds:
            try:
                fault.check(seed)
            except CAUGHT:
                return seed
    return None


def fault(
    room: str, name: str, check: Check, seeds: Sequence[int] = range(60)
) -> Callable[[Callable[[], Iterator[Any]]], None]:
    """Lists a generator function that plants a fault, yields, and takes it out again."""

    def add(plant: Callable[[], Iterator[Any]]) -> None:
        FAULTS.append(Fault(room, name, contextmanager(plant), check, seeds))

    return add


def patched(
    room: str, name: str, check: Check, target: Any, attribute: str, new: Any,
    seeds: Sequence[int] = range(60),
) -> None:  # fmt: skip
    """Lists a fault that replaces one function."""
    plant = lambda: mock.patch.object(target, attribute, new)  # noqa: E731
    FAULTS.append(Fault(room, name, plant, check, seeds))


# -- what sees them --------------------------------------------------------------------------------
def check_wild(seed: int) -> None:
    """Every stage keeps its meaning, on special values."""
    check_stages(seed, wild=True)


def check_twins(seed: int) -> None:
    """Twins agree, by the interpreter: what is asked is whether the two graphs mean the same."""
    pair = twins(seed)
    found = disagreement(pair, evaluate_graph)
    assert not found, f"twins({seed}), {pair.name}: {found}"


def check_failures(seed: int) -> None:
    """A program that fails where it should, and only there: in the branch that is taken."""
    x, at = gc.placeholder("x", (4,)), gc.placeholder("at", (3,), "int64")
    taken = gc.cond(x[0] > 0, lambda: gc.sum(gc.take(x, at)), lambda: gc.sum(x))
    safe = gc.take(gc.pad(gc.take(x, gc.clip(at, 0, 3)), [(1, 1)]), gc.clip(at, 0, 4))
    outputs = [[gc.take(x, at) * 2], [taken], [safe, gc.concat([gc.take(x, at), x])]][seed % 3]
    graph = gc.Graph([x, at], outputs, name="failing")
    for first in (1.0, -1.0):
        for last in (3, 4, -5):
            arrays = [np.array([first, 2, 3, 4], "float32"), np.array([0, 1, last])]
            found = compiled_mismatch(graph, arrays, compiled(graph))
            assert not found, found


def check_kept(seed: int) -> None:
    """A kernel of two stages: the second reads a value of the first, and writes before that what
    does not depend on it."""
    x = gc.placeholder("x", ("n", 5), "float64")
    value = gc.tanh(gc.sin(x))
    total = gc.sum(value, axis=1, keepdims=True)
    compiled = run_pipeline(gc.Graph([x], [x * total, value - total]), Stages())
    array = np.random.default_rng(seed).normal(size=(3, 5))
    (region,) = regions_of(compiled.optimized, [array])
    found = check_region(region)
    assert found == "", found


def check_cache(seed: int) -> None:
    """The random graph of a seed, and its twins with other constants, other edges and other
    numbers, all from one cache."""
    made = random_graph(seed)
    arrays = made.arrays(0)[: len(made.forward.inputs)]
    with tempfile.TemporaryDirectory() as directory:
        cache = {"GRAPHC_CACHE": "1", "GRAPHC_CACHE_DIR": str(Path(directory))}
        with mock.patch.dict("os.environ", cache):
            changed = (map_graph(made.forward, change) for change in (_next_constant, _swapped))
            for graph in (made.forward, *changed, scaled(made.forward, 1.1)):
                assert not compiled_mismatch(graph, arrays, compiled(graph))


def scaled(graph: gc.Graph, by: float) -> gc.Graph:
    """The graph with all of its numbers scaled, those in bodies too."""
    replace: dict[gc.Tensor, gc.Tensor] = {}
    for node in find_numbers(graph):
        value = node.attrs["value"].array
        changed = ArrayValue((value * value.dtype.type(by)).astype(value.dtype))
        replace[node.output()] = apply(node.op, value=changed).output()

    def replaced(graph: gc.Graph) -> gc.Graph:
        return map_graph(in_bodies(graph, replaced), replace=replace)

    return replaced(graph)


def _next_constant(node: Any, inputs: Any) -> Any:
    """Every scalar constant, one larger."""
    if node.op.name != "constant" or node.types[0].shape or node.types[0].dtype.kind == "b":
        return None
    value = node.attrs["value"].array
    return (gc.constant(value + value.dtype.type(1)),)


def _swapped(node: Any, inputs: Any) -> Any:
    """x - y -> y - x, where that has the same type."""
    if node.op.name != "subtract" or inputs[0].type != inputs[1].type:
        return None
    return (inputs[1] - inputs[0],)
