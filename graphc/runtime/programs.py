"""The program of a graph: from the cache, from that of a graph with other numbers, or compiled.

A program is looked up by its graph before optimisation; then no pass runs. If it is not there the
rules run, and it is looked up by its form: what they made of the graph, with stand-ins for its
numbers. A program of that form is this one, but for the numbers in its table. Only if there is none
it is compiled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from graphc import config
from graphc.ir.graph import Graph, all_nodes
from graphc.ir.node import Node
from graphc.ir.text import key_text
from graphc.pipeline.options import Options
from graphc.pipeline.timings import Timings
from graphc.runtime import cache
from graphc.runtime.collector import resting
from graphc.runtime.target import Target

if TYPE_CHECKING:
    from graphc.passes.numbers import Apart
    from graphc.pipeline.optimize import Optimized
    from graphc.pipeline.stages import Stages
    from graphc.runtime.build import Compilation

Found = tuple[dict[str, Any], bytes]
FIXED = -1  # in place of a number's: one of kernels of its own
statistics = {"compilations": 0, "cache_hits": 0, "kernels": 0}  # of this process


@resting()
def load_program(graph: Graph, options: Options, target: Target, seconds: Timings) -> Any:
    """What calls the program of a graph. It is compiled if somebody looks at the stages, which a
    program from the cache does not pass through."""
    with seconds.stage("key"):
        key = program_key(graph, options, target)
    watched = config.print_stages() or config.dump_directory() or config.trace_topics()
    anew = bool(options.check or watched)
    with seconds.stage("cache"):
        found = None if anew else cache.load(key)
    if found is None:
        manifest, data = _made(key, graph, options, target, seconds, anew)
        with seconds.stage("cache"):
            cache.store(key, manifest, data)
    else:
        statistics["cache_hits"] += 1
        manifest, data = found
    with seconds.stage("load"):
        size = sum(manifest["objects"])
        return target.load(graph, manifest, data[:size], data[size:])


def _made(
    key: str, graph: Graph, options: Options, target: Target, seconds: Timings, anew: bool
) -> Found:
    """The program of a graph that has none under its key."""
    with seconds.stage("prepare"):
        from graphc.passes.numbers import find_numbers
        from graphc.pipeline.optimize import optimize
        from graphc.pipeline.progress import progress
        from graphc.pipeline.stages import Stages

    with progress(graph.name) as say:
        stages = Stages(options.check, seconds, say=say)
        optimized = optimize(graph, stages, options, target.machine)
        numbers, form = [], ""
        if target.gives_numbers and not anew:
            with seconds.stage("key"):
                numbers = find_numbers(optimized.graph)
                form = form_key(graph, optimized.graph, numbers, options, target)
        if numbers:
            with seconds.stage("cache"):
                found = _with_numbers(form, numbers)
            if found is not None:
                statistics["cache_hits"] += 1
                return found
        statistics["compilations"] += 1
        with seconds.stage("prepare"):
            from graphc.runtime.build import build_optimized

        made = None
        if numbers:
            made = _carrying(graph, optimized, numbers, options, target, stages)
            if made is not None:
                with seconds.stage("cache"):
                    cache.store(form, {"program": key}, b"", cache.FORM)
        if made is None:
            made = build_optimized(graph, optimized, options, target, stages, anew)
            statistics["kernels"] += made.compiled_kernels
    return made.manifest, b"".join([*made.object.objects, made.constants])


# -- numbers ---------------------------------------------------------------------------------------
def _carrying(
    graph: Graph,
    optimized: Optimized,
    numbers: Sequence[Node],
    options: Options,
    target: Target,
    stages: Stages,
) -> Compilation | None:
    """A program that was compiled for stand-ins and has its numbers in its table alone; None where
    one of them came elsewhere."""
    from graphc.passes.numbers import set_apart
    from graphc.pipeline.carried import only_carries
    from graphc.runtime.build import build_optimized

    apart = stages.run("set_apart", lambda: set_apart(optimized.graph, numbers))
    carried = optimized._replace(graph=apart.graph)
    made = build_optimized(graph, carried, options, target, stages)
    statistics["kernels"] += made.compiled_kernels
    if not only_carries(made.compiled, apart):
        return None
    made.manifest.update(_places(made.manifest["numbers"], apart))
    return made


def _places(table: Sequence[float], apart: Apart) -> dict[str, Any]:
    """The table of a program that was compiled for stand-ins: the numbers that they stand for, and
    which of the graph's number each is."""
    order = {stand_in: place for place, stand_in in enumerate(apart.numbers)}
    return {
        "numbers": [apart.numbers.get(number, number) for number in table],
        "places": [order.get(number, FIXED) for number in table],
    }


def _with_numbers(form: str, numbers: Sequence[Node]) -> Found | None:
    """A program of the form from the cache, with these numbers in its table."""
    entry = cache.load(form, cache.FORM)
    found = cache.load(entry[0]["program"]) if entry else None
    if found is None or "places" not in found[0]:
        return None
    manifest, data = found
    values = [float(node.attrs["value"].array.item()) for node in numbers]
    table = zip(manifest["places"], manifest["numbers"], strict=True)
    own = [number if place == FIXED else values[place] for place, number in table]
    return {**manifest, "numbers": own}, data


# -- keys ------------------------------------------------------------------------------------------
def program_key(graph: Graph, options: Options, target: Target) -> str:
    """The key of a graph's program."""
    return cache.make_key({**_parts(options, target), "graph": key_text(graph)})


def form_key(
    graph: Graph, optimized: Graph, numbers: Sequence[Node], options: Options, target: Target
) -> str:
    """The key of all programs of a form: of what the rules made of `graph`, but for its numbers.
    A manifest counts variables of `graph`, and its nodes where one can fail: these are in it."""
    from graphc.passes.numbers import form_text, order_text

    pure = all(node.op.is_pure for node in all_nodes(optimized))
    place = {v: i for i, v in enumerate(graph.variables)}
    return cache.make_key({
        **_parts(options, target),
        "form": form_text(optimized, numbers),
        "variables": str([place[v] for v in optimized.variables]),
        "nodes": "" if pure else order_text(graph),
    })  # fmt: skip


def _parts(options: Options, target: Target) -> dict[str, str]:
    return {
        **cache.environment_parts(),
        "flush_subnormals": str(options.flush_subnormals),
        "fastmath": str(options.fastmath),
        "memory_budget": str(options.memory_budget),
        "sizes": str(options.sizes),
        "tf32": str(options.tf32),
        "announces": str(options.announces),
        "target": target.name,
        **target.identity(),
    }
