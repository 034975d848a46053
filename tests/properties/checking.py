"""The checks that tests apply to random graphs, and the report of one that fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest import mock

import numpy as np

import graphc as gc
from graphc.checking.stages import first_guilty_stage, stages_of
from graphc.errors import GraphcError, RuntimeFailure, ShapeError
from graphc.loops import shares
from graphc.lower import kernel_calls, products, rows
from graphc.planning import examples

from .comparing import differences, evaluate
from .generator import RandomGraph, random_graph
from .shrinking import script, shrink
from .values import Array


def compiled(graph: gc.Graph) -> Any:
    """`graph` as a compiled function."""
    return gc.compile(list(graph.inputs), list(graph.outputs), list(graph.updates))


@contextmanager
def tiny_blocks(depth: int = 2) -> Iterator[None]:
    """All products by our own routine, in parts of `depth` and blocks of two rows, reductions in
    parts, and all that threads can share shared: so small graphs take the ways of large ones."""
    limits = {"COLUMNS": (1, 512), "ROWS": 1, "DEPTH": depth, "CACHED_BYTES": 64}
    blocks = {"BLOCK_BYTES": 64, "BLOCK_ROWS": 2}
    parts = {"LEAST": 4, "EACH": 0, "PARTS": 3}
    with (
        mock.patch.multiple(products, **limits),
        mock.patch.multiple(rows, **blocks),
        mock.patch.object(kernel_calls, "PARALLEL_WORK", 0),
        mock.patch.multiple(shares, **parts),
    ):
        yield


@contextmanager
def every_chain() -> Iterator[None]:
    """Steps that treat examples one by one are a chain of such, however little each has to do."""
    with (
        mock.patch.object(examples._Chain, "pays", lambda chain, machine: len(chain.places) > 1),
        mock.patch.object(examples, "ROWS", 1),
        mock.patch.object(kernel_calls, "PARALLEL_WORK", 0),
    ):
        yield


def small(seed: int) -> Any:
    """How the small graph of a seed takes a way that large ones take."""
    ways = (every_chain, tiny_blocks, nullcontext, tiny_blocks)
    return ways[seed % 4]()


# -- compiled code ---------------------------------------------------------------------------------
def compiled_mismatch(
    graph: gc.Graph,
    arrays: Sequence[Array],
    function: Any,
    explained: Counter[str] | None = None,
) -> str:
    """How a call of the compiled `function` differs from the meaning of `graph`; '' if it does not.

    Also checked: inputs are left as they are, outputs share no memory with them, a failure is a
    failure of the meaning too and leaves the variables, and a second call gives the same bits.
    """
    before = [variable.value for variable, _ in graph.updates]
    copies = [a.copy() for a in arrays]
    expected, failure = _attempt(lambda: evaluate(graph, arrays))
    try:
        actual, error = _attempt(lambda: [np.asarray(a) for a in function(*arrays)])
        after = [variable.value for variable, _ in graph.updates]
        _restore(graph, before)
        if failure is not None or error is not None:
            kept = all(_identical(a, b) for a, b in zip(before, after, strict=True))
            return "" if kept and _same_error(error, failure) else f"{error!r}, not {failure!r}"
        found = differences(graph, arrays, expected, [*actual, *after], explained=explained)
        again = [np.asarray(a) for a in function(*arrays)]
        if not all(_identical(a, b) for a, b in zip(actual, again, strict=True)):
            found.append("a second call gives something else")
        if not all(_identical(a, b) for a, b in zip(arrays, copies, strict=True)):
            found.append("an input was changed")
        if any(np.shares_memory(a, b) for a in actual for b in arrays if a.size and b.size):
            found.append("an output shares memory with an input")
        return "\n".join(found)
    finally:
        _restore(graph, before)


def _attempt(run: Any) -> tuple[list[Array], GraphcError | None]:
    try:
        return run(), None
    except GraphcError as error:
        return [], error


def _same_error(error: GraphcError | None, failure: GraphcError | None) -> bool:
    """Whether a program failed as its meaning does; of sizes, in the same words."""
    if isinstance(failure, ShapeError) and isinstance(error, ShapeError):
        return (error.message, error.expected) == (failure.message, failure.expected)
    return isinstance(failure, RuntimeFailure) and isinstance(error, RuntimeFailure)


def _restore(graph: gc.Graph, values: Sequence[Array]) -> None:
    for (variable, _), value in zip(graph.updates, values, strict=True):
        variable.value = value


def _identical(a: Array, b: Array) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def check_compiled(seed: int, explained: Counter[str] | None = None) -> RandomGraph:
    """The random graph of a seed, after each of its calls compiled equals its meaning, and what
    refuses sizes refuses them both ways; three of four are compiled as large ones are.

    Errors: `AssertionError` with the seed, what differs, and a script of the shrunk graph.
    """
    made = random_graph(seed)
    with small(seed):
        function = compiled(made.graph)
    for call in range(len(made.sizes) + len(made.refused)):
        arrays = made.arrays(call)
        found = compiled_mismatch(made.graph, arrays, function, explained)
        if found:
            with small(seed):
                raise AssertionError(report(seed, call, found, *shrink(made.graph, arrays, _fails)))
    return made


def _fails(graph: gc.Graph, arrays: list[Array]) -> bool:
    return bool(compiled_mismatch(graph, arrays, compiled(graph)))


def report(seed: int, call: int, found: str, graph: gc.Graph, arrays: Sequence[Array]) -> str:
    """What a failing test prints."""
    return f"random_graph({seed}), call {call}:\n{found}\n\n{script(graph, arrays)}"


# -- passes ----------------------------------------------------------------------------------------
def check_stages(
    seed: int,
    wild: bool = False,
    explained: Counter[str] | None = None,
    one_call: bool = False,
) -> RandomGraph:
    """The random graph of a seed, after each stage of the pipeline kept its meaning; `wild`: on
    special values also where the graph is not drawn for them; `one_call`: at one of its inputs.

    Errors: `AssertionError` with the seed, the first guilty stage, and a script.
    """
    made = random_graph(seed)
    made.wild |= wild
    stages = stages_of(made.graph)
    calls = range(len(made.sizes))
    for call in [seed % len(calls)] if one_call else calls:
        arrays = made.arrays(call)
        stage, found, _ = first_guilty_stage(made.graph, arrays, stages, explained)
        if stage:
            small = shrink(made.graph, arrays, lambda g, a: bool(first_guilty_stage(g, a).stage))
            raise AssertionError(f"stage {stage!r}: " + report(seed, call, found, *small))
    return made
