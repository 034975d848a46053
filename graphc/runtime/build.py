"""Building a program: pipeline, kernels, driver, link. Loaded only when something is compiled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from graphc.ir.graph import Graph
from graphc.pipeline.optimize import Optimized, optimize
from graphc.pipeline.options import Options
from graphc.pipeline.pipeline import Compiled, plan
from graphc.pipeline.progress import progress
from graphc.pipeline.stages import Stages
from graphc.pipeline.timings import Timings
from graphc.runtime.kernels import KernelInfo, Pieces, compile_kernels
from graphc.runtime.manifest import make_manifest
from graphc.runtime.target import Target


@dataclass(frozen=True)
class Compilation:
    """All that compiling made."""

    compiled: Compiled
    pieces: Pieces
    object: Any  # what the target links
    manifest: dict[str, Any]
    constants: bytes

    @property
    def kernels(self) -> list[KernelInfo]:
        return self.pieces.kernels

    @property
    def compiled_kernels(self) -> int:
        """How many were not in the cache."""
        return self.pieces.compiled

    @property
    def optimized(self) -> Graph:
        return self.compiled.optimized


def build(
    graph: Graph,
    options: Options,
    target: Target,
    seconds: Timings | None = None,
    anew: bool = False,
) -> Compilation:
    """Compile a graph to an object of the target's. `seconds` is given what each stage took;
    `anew`: with all kernels, whatever the cache has."""
    with progress(graph.name) as say:
        stages = Stages(options.check, Timings() if seconds is None else seconds, say=say)
        optimized = optimize(graph, stages, options, target.machine)
        return build_optimized(graph, optimized, options, target, stages, anew)


def build_optimized(
    graph: Graph,
    optimized: Optimized,
    options: Options,
    target: Target,
    stages: Stages,
    anew: bool = False,
) -> Compilation:
    """The rest, from what `optimize` made of a graph."""
    compiled = plan(optimized, stages, options=options, machine=target.machine)
    program = compiled.program
    pieces = compile_kernels(compiled, target, stages, anew)
    driver = stages.run(
        "driver",
        lambda: target.print_driver(program, options),
        lambda driver: driver.text,
    )
    linked = stages.run("link", lambda: target.link(driver.text, pieces.code, pieces.functions))
    stages.finish()
    blob = b"".join(c.node.attrs["value"].data for c in program.constants.values())
    manifest = make_manifest(graph, program, driver.table, [len(o) for o in linked.objects])
    manifest |= driver.facts
    return Compilation(compiled, pieces, linked, manifest, blob)
