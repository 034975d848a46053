"""Memory for a card: no step waits for another one only because of where its result is."""

from __future__ import annotations

import dataclasses
from itertools import combinations

import graphc as gc
from graphc.ir.dim import evaluate
from graphc.ir.graph import Graph
from graphc.machines import CUDA, Machine
from graphc.pipeline.options import Options
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.check_memory import check_memory
from graphc.planning.program import Program, Step, Storage, touched, walk_steps
from tests.benchmarks import gpu_peers
from tests.properties.generator import random_graph

ALONE = dataclasses.replace(CUDA, apart=0)


def perceptron(rows: int = 32, width: int = 256) -> Graph:
    model, weights, data = gpu_peers.perceptron(rows, width)
    inputs = [gc.placeholder(f"beside{k}", a.shape, str(a.dtype)) for k, a in enumerate(data)]
    own = {name: gc.variable(w, f"beside_{name}") for name, w in weights.items()}
    loss = model.graphc(own, *inputs)
    steps = zip(own.values(), gc.grad(loss, list(own.values())), strict=True)
    return Graph(inputs, [loss], [(w, w - 0.1 * g) for w, g in steps])


def program(graph: Graph, machine: Machine = CUDA, budget: int | None = None) -> Program:
    options = Options(memory_budget=budget)
    return run_pipeline(graph, Stages(), options=options, machine=machine).program


def _used(step: Step) -> tuple[set[Storage], set[Storage]]:
    pairs = [touched(inner) for inner in walk_steps([step])]
    reads = {ref.storage for found, _ in pairs for ref in found}
    return reads, {ref.storage for _, found in pairs for ref in found}


def needed(program: Program, dims: dict[str, int], by_memory: bool) -> list[set[int]]:
    """The steps that each one needs, directly or not: for what is in a storage, or in memory."""

    def meet(one: Storage, other: Storage) -> bool:
        if one is other or not by_memory or not one.kind == other.kind == "temp":
            return one is other
        (a, b), (c, d) = (
            (start := evaluate(s.offset, dims), start + evaluate(s.size, dims) * s.dtype.itemsize)
            for s in (one, other)
        )
        return a < d and c < b

    used = [_used(step) for step in program.steps]
    found: list[set[int]] = []
    for number, (reads, writes) in enumerate(used):
        own: set[int] = set()
        for before in range(number):
            read, written = used[before]
            pairs = [(reads | writes, written), (writes, read)]
            if any(meet(x, y) for ours, theirs in pairs for x in ours for y in theirs):
                own |= {before} | found[before]
        found.append(own)
    return found


def waits_for_memory(program: Program, **dims: int) -> bool:
    return needed(program, dims, True) != needed(program, dims, False)


def test_updates_of_weights_are_beside_the_backward_pass() -> None:
    graph = perceptron()
    assert waits_for_memory(program(graph, ALONE))  # which is smaller
    assert not waits_for_memory(program(graph))


def test_steps_of_random_graphs() -> None:
    changed = 0
    for seed in range(12):
        graph = random_graph(seed).graph
        found = program(graph)
        dims = dict.fromkeys(graph.dims, 5)
        check_memory(found, dims)
        assert not waits_for_memory(found, **dims), seed
        changed += waits_for_memory(program(graph, ALONE), **dims)
    assert changed > 1


def test_a_chain_still_takes_two_buffers() -> None:
    x, w = gc.placeholder("beside_x", (64, 64)), gc.placeholder("beside_w", (64, 64))
    h = x
    for _ in range(10):
        h = gc.softmax(h @ w)
    found = program(Graph([x, w], [h]))
    places = {(s.offset, s.size) for s in found.temps}
    assert len(found.temps) == 19
    assert len(places) == 2


def test_large_arenas_and_budgets_are_for_those_who_wait() -> None:
    graph = perceptron()
    alone = evaluate(program(graph, ALONE).arena, {})
    apart = evaluate(program(graph).arena, {})
    assert apart > alone
    assert evaluate(program(graph, dataclasses.replace(CUDA, apart=apart - 1)).arena, {}) == alone
    assert evaluate(program(graph, budget=1 << 40).arena, {}) == alone


def test_pairs_that_meet_are_seen() -> None:
    """Control: temporaries of which one is moved over another."""
    found = program(perceptron())
    for one, other in combinations(found.temps, 2):
        if one.size == other.size:
            one.offset = other.offset
    assert waits_for_memory(found)
