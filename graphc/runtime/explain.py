"""What became of a graph: its steps, the user's lines that each is for, the rules that fired, and
why neighbouring kernels are two. Nothing is compiled to native code for it."""

from __future__ import annotations

import itertools
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from graphc.fusion.fuse import Border
from graphc.fusion.region import is_member
from graphc.ir import origin
from graphc.ir.dim import SIZE_HINT
from graphc.ir.graph import Graph, all_nodes, inline, rebuild
from graphc.ir.node import Node, Tensor
from graphc.ir.op import Kind
from graphc.ir.shape import show
from graphc.pipeline.options import Options
from graphc.pipeline.pipeline import Compiled, run_pipeline
from graphc.pipeline.stages import Stages
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
    walk_steps,
)
from graphc.runtime.kernels import distinct_kernels, dotted
from graphc.runtime.target import Target
from graphc.symbolic.plain import plain
from graphc.symbolic.recognize import is_convolution

INDENT = "  "


def explain(graph: Graph, options: Options, target: Target, markdown: bool = False) -> str:
    """The explanation of a graph's program, as text or as Markdown."""
    borders: list[Border] = []
    compiled = run_pipeline(graph, Stages(), borders, options, target.machine)
    kernels = distinct_kernels(compiled, target)
    lines = Lines(compiled, launch_shapes(options, target))
    steps = list(_steps(compiled.program.steps, lines, INDENT))
    products = sum("matrix product" in line for line in steps)
    calls = sum(len(kernel.calls) for kernel in kernels)
    head = (
        f"{graph.name}: nodes: {len(graph.nodes)}, matrix products: {products}, "
        f"kernels: {len(kernels)}, calls of kernels: {calls}"
    )
    parts: dict[str, Iterable[str]] = {"steps": steps}
    again = f"computed again, for a budget of {options.memory_budget or 0:,} bytes"
    parts[again] = _again(compiled, lines)
    parts["why neighbours are two kernels"] = dict.fromkeys(
        _border(border, lines.numbers) for border in borders
    )
    parts["rules that fired"] = _rules(compiled, lines)
    found = {title: list(part) for title, part in parts.items()}
    if not markdown:
        shown = (["", f"{title}:", *part] for title, part in found.items() if part)
        return "\n".join([head, *(line for part in shown for line in part)])
    equations = "\n\n".join(f"`{k.name}`\n\n$$\n{k.latex}\n$$" for k in kernels)
    sections = [
        f"## {title}\n\n```text\n{_block(part)}\n```" for title, part in found.items() if part
    ]
    sections.insert(1, f"## equations of the kernels\n\n{equations}" if kernels else "")
    return "\n\n".join(section for section in (f"# {head}", *sections) if section)


def launch_shapes(options: Options, target: Target) -> Callable[[Call], str]:
    """What says of a call the shapes of its launches on a card, at typical sizes."""
    typical: Mapping[str, int] = defaultdict(lambda: SIZE_HINT, options.sizes)
    return lambda call: target.launches(call.kernel, typical)


def _block(lines: Sequence[str]) -> str:
    """The lines of a section, without the indent that all have."""
    return "\n".join(line.removeprefix(INDENT) for line in lines)


class Lines:
    """How nodes and the user's lines are called: numbers of regions, names of values, and paths
    from the folder that all files have in common."""

    def __init__(self, compiled: Compiled, shape: Callable[[Call], str]) -> None:
        graph, self._shape = compiled.optimized, shape
        self.numbers: dict[Node, int] = {}
        self._names: dict[Tensor, str] = {}
        steps = walk_steps(compiled.program.steps)
        self._steps = {step.node for step in steps if isinstance(step, Call)}
        self._fresh = map("v{}".format, itertools.count(1))
        origins = [o for node in all_nodes(graph) for o in node.origins]
        files = {origin.called(o.file) for o in origins} | {
            firing.where.rpartition(":")[0] for firing in compiled.report.firings if firing.where
        }
        self._folder = _common_folder(files)
        leaves = {t.name for t in (*graph.inputs, *graph.variables)}
        marks = [str(i) for i in range(1, len(graph.outputs) + 1)] if graph.outputs[1:] else [""]
        words = ("y", "out", "result", "_result")
        free = (w for w in words if leaves.isdisjoint(w + m for m in marks))
        word = next(free, words[-1])
        for mark, t in zip(marks, graph.outputs, strict=True):
            self._names.setdefault(t, f"{word}{mark}")
        for variable, value in graph.updates:
            self._names.setdefault(value, f"new {dotted(variable.name)}")

    def name(self, t: Tensor) -> str:
        """A leaf's name, a number, or a name for a value between steps; what merely moves elements
        of one is written out."""
        t = t if t in self._names else self._moved(t)
        if t in self._names:
            return self._names[t]
        if t.name:
            return dotted(t.name)
        if _lists_rows(t.node):
            return self.name(t.node.inputs[0])
        if not _is_view(t.node) and (t.node.inputs or t.ndim):
            self._names[t] = next(self._fresh)
            return self._names[t]
        named = {x: self.name(x) for x in _seen_through(t)}
        return plain([("", t)], named)[0].removeprefix(" = ")

    def _moved(self, t: Tensor) -> Tensor:
        """`t` as views of what is in memory: a region that is no step only moves elements, and the
        product before it puts them where they go."""
        node = t.node
        if node.op.kind is Kind.REGION and node not in self._steps:
            return self._moved(inline(node.attrs["body"], node.inputs)[t.index])
        if not _is_view(node):
            return t
        return rebuild(node, [self._moved(x) for x in node.inputs]).output()

    def equations(self, node: Node) -> list[str]:
        """What a region or a product computes."""
        body = node.attrs.get("body")
        inside = node if body is None else body
        inputs, outputs = inside.inputs, inside.outputs
        named = {x: self.name(t) for x, t in zip(inputs, node.inputs, strict=True)}
        results = [(self.name(t), y) for t, y in zip(node.outputs, outputs, strict=True)]
        return plain(results, named, self._fresh.__next__)

    def launches(self, call: Call) -> str:
        """The shapes of a call's launches on a card."""
        shape = self._shape(call)
        return f" [{shape}]" if shape else ""

    def short(self, place: str) -> str:
        return place.removeprefix(self._folder)

    def of(self, node: Node) -> str:
        """The user's lines that a node is for, each once."""
        places = dict.fromkeys(self.short(str(o)) for o in node.origins)
        return f"  # {'; '.join(places)}" if places else ""


def _is_view(node: Node) -> bool:
    return node.op.only_moves and bool(node.inputs)


def _lists_rows(node: Node) -> bool:
    """Whether it has the same rows as its operand, in a list, or in a list of lists: a product
    takes each by itself, and so does what a person writes."""
    if node.op.kind is not Kind.VIEW:
        return False
    before, after = node.inputs[0].shape, node.types[0].shape
    return before != after and before[-1:] == after[-1:]


def _seen_through(t: Tensor) -> list[Tensor]:
    """The tensors that `t` has the elements of, and on the way those that list the rows of one."""
    found, pending = list[Tensor](), [*t.node.inputs]
    while pending:
        x = pending.pop()
        if _is_view(x.node) and not _lists_rows(x.node) and not x.name:
            pending += x.node.inputs
        else:
            found.append(x)
    return found


def _common_folder(files: Iterable[str]) -> str:
    """What is cut off from the paths of files: the folder that all are in."""
    paths = [f for f in files if os.path.isabs(f)]
    if not paths:
        return ""
    folder = os.path.commonpath([os.path.dirname(f) for f in paths])
    return folder.rstrip(os.sep) + os.sep


def _steps(steps: Iterable[Step], lines: Lines, indent: str) -> Iterable[str]:
    """A line for each step; regions are given numbers, and their equations follow."""
    for step in steps:
        match step:
            case Call(name=name, spared=True):
                yield f"{indent}{name}: the same, where the library does not{lines.launches(step)}"
            case Call(node=node):
                number = lines.numbers[node] = len(lines.numbers) + 1
                launches = lines.launches(step)
                yield f"{indent}({number}) {step.name}: {_region(node)}{launches}{lines.of(node)}"
                yield from _indented(lines.equations(node), indent)
            case Gemm(node=node, epilogue=epilogue):
                batch = "".join(f" for each of {size}" for size in step.batch)
                sizes = f"{step.m} x {step.k} by {step.k} x {step.n}"
                more, also = "", epilogue.node if epilogue else None
                if also is not None:
                    number = lines.numbers[also] = len(lines.numbers) + 1
                    more = f", with ({number}) {_region(also)}"
                if epilogue and epilogue.keeps is not None:
                    more += ", which keeps where it is positive"
                if epilogue and epilogue.sums is not None:
                    more += ", which adds up the columns of what is on its right"
                several = "".join(f"{size} x " for size in step.taps)
                kind = f"{several}a matrix product" if several else "matrix product"
                kind = f"convolution, {kind}" if is_convolution(node) else kind
                yield f"{indent}{kind}, {sizes}{batch}{more}{lines.of(node)}"
                for what in (node, *([] if also is None else [also])):
                    yield from _indented(lines.equations(what), indent)
            case Blocks(part=part):
                yield from _steps([step.product], lines, indent)
                behind = f"{indent}{INDENT}then on {part}: "
                first, *equations = _steps([step.call], lines, "")
                yield behind + first
                yield from (f"{indent}{equation}" for equation in equations)
            case Copy():
                yield f"{indent}copy of {step.size} elements"
            case Host(node=node, native=None):
                yield f"{indent}call of NumPy for {node.op.name}{lines.of(node)}"
            case Host(node=node, native=Native(routine=routine)):
                yield f"{indent}LAPACK's {routine.name} for {node.op.name}{lines.of(node)}"
            case Host(node=node, native=Passes(loops=loops)):
                passes = f", {len(loops)} passes" if len(loops) > 1 else ""
                yield f"{indent}NumPy's loop for {node.op.name}{passes}{lines.of(node)}"
            case Loop(node=node):
                times = "again and again" if step.extent is None else f"{step.extent} times"
                yield f"{indent}{times}:{lines.of(node)}"
                yield from _steps(step.body, lines, indent + INDENT)
            case Examples():
                yield f"{indent}{step.extent} times, for one example after the other:"
                yield from _steps(step.body, lines, indent + INDENT)
            case Leave():
                yield f"{indent}end of the loop, unless the condition holds"
            case Branch(node=node):
                noun = "the condition holds" if step.is_by_truth else "the index"
                places = lines.of(node)
                for word, side in step.cases():
                    yield f"{indent}{word.format(noun)}:{places}"
                    yield from _steps(side, lines, indent + INDENT)
                    places = ""


def _indented(equations: Iterable[str], indent: str) -> Iterable[str]:
    return (f"{indent}{INDENT * 3}{equation}" for equation in equations)


def _region(node: Node) -> str:
    """What a region computes: its ops with their numbers, and its loops."""
    counts = Counter(n.op.name for n in node.attrs["body"].nodes if is_member(n))
    if not counts:
        return f"moved elements over {show(node.attrs['space'])}"
    names = (name if count == 1 else f"{count} {name}" for name, count in counts.items())
    return f"{', '.join(names)} over {show(node.attrs['space'])}"


def _again(compiled: Compiled, lines: Lines) -> Iterable[str]:
    """A line for each kind of value that is computed again: how often, and what it gains and costs
    each time."""
    times = Counter(
        (f"{a.tensor.type}", a.bytes, a.work, lines.of(a.tensor.node)) for a in compiled.again
    )
    for (type, size, work, places), count in times.items():
        cost = f"frees {size:,} bytes, takes {work:,} operations and bytes moved"
        yield f"{INDENT}{type} x {count}: {cost}{places}"


def _border(border: Border, numbers: dict[Node, int]) -> str:
    before, after = numbers[border.producer], numbers[border.consumer]
    return f"{INDENT}({before}) and ({after}): {border.reason}"


def _rules(compiled: Compiled, lines: Lines) -> Iterable[str]:
    """A line for each rule: how often it fired, and from which lines."""
    found: dict[str, dict[str, None]] = {}
    for firing in compiled.report.firings:
        found.setdefault(firing.rule, {})[lines.short(firing.where)] = None
    for rule, count in compiled.report.hits.most_common():
        places = [place for place in found[rule] if place][: origin.CAP]
        yield f"{INDENT}{rule} x {count}" + (f"  # {'; '.join(places)}" if places else "")
