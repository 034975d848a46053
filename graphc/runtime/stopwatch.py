"""Measures a profile: how long each step of a program takes, inside of it.

The program is linked again with a driver that reads a clock before and behind each step
(`lower/clocks.py`); its kernels are the same code, and the program that is called otherwise has no
clock. Reading it takes some 25 ns, twice for each step. The values of variables are as before when
all runs are done.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from graphc.errors import ArgumentError
from graphc.ir.dim import evaluate
from graphc.ir.evaluate import bind_dims
from graphc.lower.clocks import WORDS
from graphc.pipeline.options import Options
from graphc.planning.cost import step_cost
from graphc.planning.program import Step, in_examples, working_steps
from graphc.runtime.arguments import as_input
from graphc.runtime.caller import Caller, hold
from graphc.runtime.profile import REST, Profile, StepTime
from graphc.runtime.speed import machine
from graphc.runtime.target import Target


def profile(
    compiled: Any, inputs: Sequence[Any], runs: int, target: Target, options: Options
) -> Profile:
    """The profile of a compiled function that was made for a target; `inputs` are in its order.
    Errors: `ArgumentError` for a number of runs that is none, or a program without clocks."""
    if isinstance(runs, bool) or not isinstance(runs, (int, np.integer)) or runs < 1:
        raise ArgumentError(
            "not a number of runs", op="profile", expected="an int above 0", given=repr(runs)[:80]
        )
    if compiled.caller is None:
        raise ArgumentError(
            "only programs of this processor have clocks",
            op="profile",
            expected='gc.compile(..., target="cpu"), without check="all" or check="nan"',
            given=repr(compiled)[:80],
        )
    graph = compiled.graph
    arrays = [as_input(a, t, graph.name) for a, t in zip(inputs, graph.inputs, strict=True)]
    caller = _timed(compiled, target, options)
    program = compiled.compilation.compiled.program
    steps = list(working_steps(program.steps))
    first, count = caller.manifest["clocks"], WORDS * (1 + len(steps))
    words = np.array(_runs(caller, arrays, first, count, int(runs)), np.float64)
    quick = words[np.argsort(words[:, 0], kind="stable")[: (len(words) + 1) // 2]]
    whole, *each = quick.mean(axis=0).reshape(-1, WORDS)
    dims = bind_dims(graph, arrays)
    shares = {id(step) for step in in_examples(program.steps)}
    timed = _times(steps, each, float(whole[0]), dims, shares)
    return Profile(tuple(timed), float(whole[0]) / 1e9, int(runs), dims, program)


def _timed(compiled: Any, target: Target, options: Options) -> Caller:
    """The program of a function with clocks in its driver."""
    made = compiled.compilation
    driver = target.print_driver(made.compiled.program, replace(options, timed=True))
    linked = target.link(driver.text, made.pieces.code, made.pieces.functions)
    manifest = {**made.manifest, "table": driver.table, **driver.facts}
    manifest["objects"] = [len(data) for data in linked.objects]
    code = b"".join(linked.objects)
    caller: Caller = target.load(compiled.graph, manifest, code, made.constants)
    return caller


def _runs(
    caller: Caller, arrays: Sequence[Any], first: int, count: int, runs: int
) -> list[list[int]]:
    """The words of the clocks after each run but a first one. Nobody else sees the values that
    variables have meanwhile."""
    found = []
    with hold(caller.written):
        before = [variable.value for variable in caller.written]
        try:
            caller.call(*arrays)
            (context,) = caller.pool
            for _ in range(runs):
                context.words[first : first + count] = [0] * count
                caller.call(*arrays)
                found.append(context.words[first : first + count])
        finally:
            for variable, value in zip(caller.written, before, strict=True):
                variable.value = value
    return found


def _times(
    steps: Sequence[Step],
    each: Sequence[Any],
    whole: float,
    dims: Mapping[str, int],
    shares: Collection[int],
) -> Iterator[StepTime]:
    """The times of steps of which each took so many nanoseconds in so many calls, of a `whole`.
    `shares`: the identities of those whose calls make up what their nodes are."""
    speed = machine()
    left = 1.0
    for step, (taken, calls) in zip(steps, each, strict=True):
        cost = step_cost(step)
        parts = max(float(calls), 1.0) if id(step) in shares else 1.0
        flops, moved = (evaluate(size, dims) / parts for size in (cost.flops, cost.bytes))
        share = float(taken) / max(whole, 1.0)
        left -= share
        yield StepTime(
            name=cost.name,
            kind=cost.kind,
            calls=float(calls),
            seconds=float(taken) / 1e9,
            share=share,
            flops=float(flops * calls),
            bytes=float(moved * calls),
            of_limit=float(speed.seconds(flops, moved) * calls * 1e9 / taken) if taken else 0.0,
            line=cost.line,
        )
    yield StepTime(REST, "", 0.0, left * whole / 1e9, left, 0.0, 0.0, 0.0, "")
