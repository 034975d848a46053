"""`step.profile(inputs)`: how long each step of a program takes, measured inside of it.

The program is linked again with a driver that reads a clock before and behind each step
(`lower/clocks.py`); its kernels are the same code, and the program that is called otherwise has no
clock. Reading it takes some 25 ns, twice for each step. The values of variables are as before when
all runs are done.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from graphc.errors import ArgumentError
from graphc.ir.dim import evaluate
from graphc.ir.evaluate import bind_dims
from graphc.lower.clocks import WORDS
from graphc.pipeline.options import Options
from graphc.planning.cost import step_cost
from graphc.planning.program import Step, working_steps
from graphc.planning.show import columns
from graphc.runtime.arguments import as_input
from graphc.runtime.caller import Caller, hold
from graphc.runtime.speed import machine
from graphc.runtime.target import Target

REST = "between steps"


@dataclass(frozen=True, slots=True)
class StepTime:
    """What one step took of a call. `seconds` is for all its `calls`, inside of loops; `share` is
    of the whole call; `flops` and `bytes` are those of its cost, for all its calls; `of_limit` is
    the least time that they can take on this machine (`gc.machine()`) by the time that they
    took."""

    name: str
    kind: str
    calls: float
    seconds: float
    share: float
    flops: float
    bytes: float
    of_limit: float
    line: str


@dataclass(frozen=True)
class Profile:
    """The times of a program's steps, in order, and what is left between them at the end: calls of
    the clock, loops, branches, looks for signals. The shares of all add up to 1.

    `seconds` is what a call took inside of the native program: the mean over the quicker half of
    the runs. What Python adds (checking arrays, making results) is not in it.
    """

    steps: tuple[StepTime, ...]
    seconds: float
    runs: int
    dims: Mapping[str, int]

    def records(self) -> list[dict[str, Any]]:
        """A dict for each step, as a data frame takes them."""
        return [asdict(step) for step in self.steps]

    def table(self) -> str:
        """A line for each step, and one for the whole call."""
        head = ("step", "kind", "calls", "time", "share", "Gflop/s", "GB/s", "of limit", "line")
        lines = columns([head, *map(_row, self.steps)], numbers=range(2, 8))
        sizes = "".join(f", {name}={size}" for name, size in self.dims.items())
        return "\n".join([*lines, f"a call: {duration(self.seconds)}, {self.runs} runs{sizes}"])

    __str__ = table


def _row(step: StepTime) -> tuple[str, ...]:
    rates = [f"{amount / step.seconds / 1e9:.1f}" if step.seconds and amount else ""
             for amount in (step.flops, step.bytes)]  # fmt: skip
    limit = f"{step.of_limit:.0%}" if step.of_limit else ""
    calls = f"{step.calls:g}" if step.calls else ""
    share = f"{step.share:.1%}"
    return (step.name, step.kind, calls, duration(step.seconds), share, *rates, limit, step.line)


def duration(seconds: float) -> str:
    """Seconds in the unit that leaves a number of up to three digits.

    >>> duration(0.0000125), duration(0.25), duration(3.0)
    ('12.5 us', '250 ms', '3 s')
    """
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def profile(
    function: Any, inputs: Sequence[Any], runs: int, target: Target, options: Options
) -> Profile:
    """The profile of a compiled function that was made for a target; `inputs` are in its order.
    Errors: `ArgumentError` for a number of runs that is none, or a program without clocks."""
    if isinstance(runs, bool) or not isinstance(runs, (int, np.integer)) or runs < 1:
        raise ArgumentError(
            "not a number of runs", op="profile", expected="an int above 0", given=repr(runs)[:80]
        )
    if function.caller is None:
        raise ArgumentError(
            "only programs of this processor have clocks",
            op="profile",
            expected='gc.compile(..., target="cpu"), without check="all" or check="nan"',
            given=repr(function)[:80],
        )
    graph = function.graph
    arrays = [as_input(a, t, graph.name) for a, t in zip(inputs, graph.inputs, strict=True)]
    caller = _timed(function, target, options)
    steps = list(working_steps(function.compilation.compiled.program.steps))
    first, count = caller.manifest["clocks"], WORDS * (1 + len(steps))
    words = np.array(_runs(caller, arrays, first, count, int(runs)), np.float64)
    quick = words[np.argsort(words[:, 0], kind="stable")[: (len(words) + 1) // 2]]
    whole, *each = quick.mean(axis=0).reshape(-1, WORDS)
    dims = bind_dims(graph, arrays)
    timed = _times(steps, each, float(whole[0]), dims)
    return Profile(tuple(timed), float(whole[0]) / 1e9, int(runs), dims)


def _timed(function: Any, target: Target, options: Options) -> Caller:
    """The program of a function with clocks in its driver."""
    made = function.compilation
    driver = target.print_driver(made.compiled.program, replace(options, timed=True))
    linked = target.link(driver.text, made.pieces.code, made.pieces.functions)
    manifest = {**made.manifest, "table": driver.table, **driver.facts}
    manifest["objects"] = [len(data) for data in linked.objects]
    code = b"".join(linked.objects)
    caller: Caller = target.load(function.graph, manifest, code, made.constants)
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
    steps: Sequence[Step], each: Sequence[Any], whole: float, dims: Mapping[str, int]
) -> Iterator[StepTime]:
    """The times of steps of which each took so many nanoseconds in so many calls, of a `whole`."""
    speed = machine()
    left = 1.0
    for step, (taken, calls) in zip(steps, each, strict=True):
        cost = step_cost(step)
        flops, moved = (evaluate(size, dims) for size in (cost.flops, cost.bytes))
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
