"""Building a program: pipeline, kernels, driver, link. Loaded only when something is compiled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from graphc.ir.graph import Graph
from graphc.lower.numba_source import print_kernel
from graphc.pipeline.options import Options
from graphc.pipeline.pipeline import Compiled, run_pipeline
from graphc.pipeline.progress import progress
from graphc.pipeline.stages import Stages
from graphc.pipeline.timings import Timings
from graphc.planning.program import Call, walk_steps
from graphc.runtime.manifest import make_manifest
from graphc.runtime.target import Target


@dataclass
class KernelInfo:
    """One kernel of a program: its name, Python source, and how many calls use it."""

    name: str
    source: str
    calls: list[Call]


@dataclass(frozen=True)
class Compilation:
    """All that compiling made."""

    compiled: Compiled
    kernels: list[KernelInfo]
    object: Any  # what the target links
    manifest: dict[str, Any]
    constants: bytes

    @property
    def optimized(self) -> Graph:
        return self.compiled.optimized


def build(
    graph: Graph, options: Options, target: Target, seconds: Timings | None = None
) -> Compilation:
    """Compile a graph to an object of the target's. `seconds` is given what each stage took."""
    with progress(graph.name) as say:
        stages = Stages(options.check, Timings() if seconds is None else seconds, say=say)
        return _build(graph, options, target, stages)


def _build(graph: Graph, options: Options, target: Target, stages: Stages) -> Compilation:
    compiled = run_pipeline(graph, stages, options=options, machine=target.machine)
    program = compiled.program
    stages.run("prepare", target.prepare)
    kernels = stages.run("print_kernels", lambda: distinct_kernels(compiled))
    texts = stages.run(
        "numba",
        lambda: [_compiled(k, len(kernels), target, stages) for k in kernels],
        lambda _: "\n".join(f"# {k.name}\n{k.source}" for k in kernels),
    )
    driver = stages.run(
        "driver",
        lambda: target.print_driver(program, options.flush_subnormals),
        lambda driver: driver.text,
    )
    linked = stages.run("link", lambda: target.link(driver.text, texts))
    stages.finish()
    blob = b"".join(c.node.attrs["value"].data for c in program.constants.values())
    manifest = make_manifest(graph, program, driver.table, len(linked.data))
    return Compilation(compiled, kernels, linked, manifest, blob)


def _compiled(kernel: KernelInfo, count: int, target: Target, stages: Stages) -> str:
    stages.say(f"{kernel.name} of {count}")
    return target.compile_kernel(kernel.calls[0].kernel, kernel.name)


def distinct_kernels(compiled: Compiled) -> list[KernelInfo]:
    """Each kernel once, by its source and the types of its buffers; calls are given its name."""
    found: dict[tuple[str, ...], KernelInfo] = {}
    for step in walk_steps(compiled.program.steps):
        if isinstance(step, Call):
            source = print_kernel(step.kernel)
            key = (source, *(b.dtype.short for b in step.kernel.buffers))
            if key not in found:
                found[key] = KernelInfo(f"kernel{len(found)}", source, [])
            step.name = found[key].name
            found[key].calls.append(step)
    return list(found.values())
