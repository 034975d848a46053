"""What a report shows, gathered once: the program, its steps and kernels, and who made what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphc.fusion.fuse import Border
from graphc.fusion.region import is_member
from graphc.ir.graph import Graph
from graphc.ir.node import Node
from graphc.ir.shape import show
from graphc.pipeline.options import Options
from graphc.pipeline.pipeline import Compiled, run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.cost import Cost, StepCost, program_cost, step_cost
from graphc.planning.program import (
    Blocks,
    Branch,
    Call,
    Copy,
    Examples,
    Gemm,
    Host,
    Leave,
    Loop,
    Native,
    Passes,
    Step,
    working_steps,
)
from graphc.runtime.kernels import KernelInfo, distinct_kernels
from graphc.runtime.profile import Profile
from graphc.runtime.target import Target
from graphc.show.html import Html, tag, together


@dataclass(frozen=True)
class Facts:
    """`steps` are those that do work, each with its cost, its depth inside of loops and branches,
    and its name; `stages` the text after each pass; `texts` what the page has compressed, by name;
    `styles` those of the drawings; `all_dims` the sizes that numbers are for, with one turn of each
    while loop."""

    function: Any
    graph: Graph
    compiled: Compiled
    kernels: list[KernelInfo]
    borders: list[Border]
    stages: list[tuple[str, str]]
    steps: list[Step]
    costs: list[StepCost]
    depths: list[int]
    names: list[str]
    cost: Cost
    all_dims: Mapping[str, int]
    target: Target
    profile: Profile | None
    texts: dict[str, str]
    styles: list[str]

    def target_of(self, step: Step) -> str:
        """The id of the kernel that a step runs, or ''."""
        call = step.call if isinstance(step, Blocks) else step
        return call.name if isinstance(call, Call) else ""

    def link(self, step: Step) -> Html:
        """The name of a step, which leads to its kernel if it has one."""
        match step:
            case Call(name=name):
                return tag("a", name, href=f"#{name}")
            case Blocks():
                return together([self.link(step.product), ", ", self.link(step.call)])
            case Gemm():
                return tag("span", "product")
            case Copy():
                return tag("span", "copy")
            case Host(node=node):
                return tag("span", node.op.name)
            case _:
                return tag("span", "")

    def what(self, step: Step) -> str:
        """What a step does, in words."""
        match step:
            case Call(node=node):
                return region(node)
            case Blocks(part=part):
                return f"{self.what(step.product)}; then on {part}: {self.what(step.call)}"
            case Gemm():
                batch = "".join(f" for each of {size}" for size in step.batch)
                taps = "".join(f", summed over {size}" for size in step.taps)
                return f"{step.m} x {step.k} by {step.k} x {step.n}{batch}{taps}"
            case Copy():
                return f"{step.size} elements"
            case Host(native=None):
                return "a call of NumPy"
            case Host(native=Native(routine=routine)):
                return f"LAPACK's {routine.name}"
            case Host(node=node, native=Passes()):
                return f"NumPy's loop for {node.op.name}"
            case _:
                return ""


def gather(
    function: Any,
    options: Options,
    target: Target,
    dims: Mapping[str, int],
    profile: Profile | None,
) -> Facts:
    """All facts of a compiled function."""
    stages, borders = Stages(kept=[]), list[Border]()
    compiled = run_pipeline(function.graph, stages, borders, options, target.machine)
    kernels = distinct_kernels(compiled, target)
    steps = list(working_steps(compiled.program.steps))
    cost = program_cost(compiled.program)
    kept = stages.kept or []
    return Facts(
        function=function,
        graph=function.graph,
        compiled=compiled,
        kernels=kernels,
        borders=borders,
        stages=kept,
        steps=steps,
        costs=[step_cost(step) for step in steps],
        depths=list(_depths(compiled.program.steps, 0)),
        names=[step_cost(step).name for step in steps],
        cost=cost,
        all_dims={**dims, **{name: 1 for name, _ in cost.turns}},
        target=target,
        profile=profile,
        texts={f"stage{i}": text for i, (_, text) in enumerate(kept)},
        styles=[],
    )


def name_of(number: int) -> str:
    """The id of a step in the page."""
    return f"step{number}"


def _depths(steps: Sequence[Step], depth: int) -> Iterator[int]:
    """How many loops and branches are around each of the steps that `working_steps` gives."""
    for step in steps:
        if isinstance(step, (Loop, Examples)):
            yield from _depths(step.body, depth + 1)
        elif isinstance(step, Branch):
            for side in step.sides:
                yield from _depths(side, depth + 1)
        elif not isinstance(step, Leave):
            yield depth


def region(node: Node) -> str:
    """What a region computes: its operations with their numbers, and its loops."""
    counts = Counter(n.op.name for n in node.attrs["body"].nodes if is_member(n))
    names = (name if count == 1 else f"{count} {name}" for name, count in counts.items())
    return f"{', '.join(names) or 'moved elements'} over {show(node.attrs['space'])}"
