"""What became of a graph: its steps, the user's lines that each is for, the rules that fired, and
why neighbouring kernels are two. Nothing is compiled to native code for it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping

from graphc.fusion.fuse import Border
from graphc.fusion.region import is_member
from graphc.ir import origin
from graphc.ir.dim import SIZE_HINT
from graphc.ir.graph import Graph
from graphc.ir.node import Node
from graphc.ir.shape import show
from graphc.pipeline.options import Options
from graphc.pipeline.pipeline import Compiled, run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.program import (
    Blocks,
    Branch,
    Call,
    Copy,
    Gemm,
    Host,
    Leave,
    Loop,
    Native,
    Step,
)
from graphc.runtime.kernels import distinct_kernels
from graphc.runtime.target import Target

INDENT = "  "


def explain(graph: Graph, options: Options, target: Target) -> str:
    """The explanation of a graph's program, as text."""
    borders: list[Border] = []
    compiled = run_pipeline(graph, Stages(), borders, options, target.machine)
    kernels = distinct_kernels(compiled, target)
    numbers: dict[Node, int] = {}
    steps = list(_steps(compiled.program.steps, numbers, INDENT, launch_shapes(options, target)))
    products = sum("matrix product" in line for line in steps)
    calls = sum(len(kernel.calls) for kernel in kernels)
    text = [
        f"{graph.name}: nodes: {len(graph.nodes)}, matrix products: {products}, "
        f"kernels: {len(kernels)}, calls of kernels: {calls}",
        "",
        "steps:",
        *steps,
    ]
    if compiled.again:
        text += ["", f"computed again, for a budget of {options.memory_budget:,} bytes:"]
        text += _again(compiled)
    if borders:
        text += ["", "why neighbours are two kernels:"]
        text += dict.fromkeys(_border(border, numbers) for border in borders)
    if compiled.report.firings:
        text += ["", "rules that fired:", *_rules(compiled)]
    return "\n".join(text)


def launch_shapes(options: Options, target: Target) -> Callable[[Call], str]:
    """What says of a call the shapes of its launches on a card, at typical sizes."""
    typical: Mapping[str, int] = defaultdict(lambda: SIZE_HINT, options.sizes)
    return lambda call: target.launches(call.kernel, typical)


def _steps(
    steps: Iterable[Step], numbers: dict[Node, int], indent: str, shape: Callable[[Call], str]
) -> Iterable[str]:
    """A line for each step; regions are given numbers."""
    for step in steps:
        match step:
            case Call(node=node):
                numbers[node] = len(numbers) + 1
                launches = f" [{said}]" if (said := shape(step)) else ""
                head = f"{indent}({numbers[node]}) {step.name}: {_region(node)}"
                yield f"{head}{launches}{_lines(node)}"
            case Gemm(node=node):
                batch = "".join(f" for each of {size}" for size in step.batch)
                sizes = f"{step.m} x {step.k} by {step.k} x {step.n}"
                yield f"{indent}matrix product, {sizes}{batch}{_lines(node)}"
            case Blocks():
                yield from _steps([step.product], numbers, indent, shape)
                part = "matrix" if step.product.batch else "block of rows"
                behind = f"{indent}{INDENT}then on each {part}, while it is in cache: "
                (line,) = _steps([step.call], numbers, "", shape)
                yield behind + line
            case Copy():
                yield f"{indent}copy of {step.size} elements"
            case Host(node=node, native=None):
                yield f"{indent}call of NumPy for {node.op.name}{_lines(node)}"
            case Host(node=node, native=Native(routine=routine)):
                yield f"{indent}LAPACK's {routine.name} for {node.op.name}{_lines(node)}"
            case Loop(node=node):
                times = "again and again" if step.extent is None else f"{step.extent} times"
                yield f"{indent}{times}:{_lines(node)}"
                yield from _steps(step.body, numbers, indent + INDENT, shape)
            case Leave():
                yield f"{indent}end of the loop, unless the condition holds"
            case Branch(node=node):
                noun = "the condition holds" if step.is_by_truth else "the index"
                lines = _lines(node)
                for word, side in step.cases():
                    yield f"{indent}{word.format(noun)}:{lines}"
                    yield from _steps(side, numbers, indent + INDENT, shape)
                    lines = ""


def _region(node: Node) -> str:
    """What a region computes: its ops with their numbers, and its loops."""
    counts = Counter(n.op.name for n in node.attrs["body"].nodes if is_member(n))
    if not counts:
        return f"moved elements over {show(node.attrs['space'])}"
    names = (name if count == 1 else f"{count} {name}" for name, count in counts.items())
    return f"{', '.join(names)} over {show(node.attrs['space'])}"


def _lines(node: Node) -> str:
    """The user's lines that a node is for."""
    return f"  # {'; '.join(map(str, node.origins))}" if node.origins else ""


def _again(compiled: Compiled) -> Iterable[str]:
    """A line for each kind of value that is computed again: how often, and what it gains and costs
    each time."""
    times = Counter(
        (f"{a.tensor.type}", a.bytes, a.work, _lines(a.tensor.node)) for a in compiled.again
    )
    for (type, size, work, lines), count in times.items():
        cost = f"frees {size:,} bytes, takes {work:,} operations and bytes moved"
        yield f"{INDENT}{type} x {count}: {cost}{lines}"


def _border(border: Border, numbers: dict[Node, int]) -> str:
    before, after = numbers[border.producer], numbers[border.consumer]
    return f"{INDENT}({before}) and ({after}): {border.reason}"


def _rules(compiled: Compiled) -> Iterable[str]:
    """A line for each rule: how often it fired, and from which lines."""
    lines: dict[str, dict[str, None]] = {}
    for firing in compiled.report.firings:
        lines.setdefault(firing.rule, {})[firing.where] = None
    for rule, count in compiled.report.hits.most_common():
        places = [place for place in lines[rule] if place][: origin.CAP]
        yield f"{INDENT}{rule} x {count}" + (f"  # {'; '.join(places)}" if places else "")
