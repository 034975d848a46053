"""`cut`: the graph of a computation in stages, each for a process of its own.

What a stage reads of others is computed by earlier ones. Of all cuts whose largest stage has at
most a tenth more operations than has to be, that one is wanted that moves the fewest bytes: a
tensor counts once for each later stage that reads it, outputs are read by the last stage. A
variable is in the stage that reads it first, and is sent from there like any value; so a penalty of
the first layer's weights is computed beside them, and one number moves. The new value of an update
is in the stage of its variable.

Nodes are brought into one order, in which stages are runs (as in "PipeDream", Narayanan et al.,
2019); which runs are best is found exactly, by dynamic programming. Where a graph has several
orders, two are tried, and then nodes move to other stages, with what they need or what needs them,
as long as fewer bytes move. For chains of layers that gives the best of all cuts, in other graphs
nearly always.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from graphc.errors import ArgumentError
from graphc.ir.dim import Size, size_hint, total
from graphc.ir.graph import Graph, bodies, rebuild
from graphc.ir.node import Node, Tensor, Variable
from graphc.ir.op import Fact, Kind
from graphc.ops.closure import fresh, is_source
from graphc.passes.canonical import expand_composites
from graphc.planning.work import bytes_of, operations

SLACK = 1.1  # how much larger the largest stage may be than it has to be
PIECES = 256  # between which stages are cut, in graphs of more nodes


@dataclass(frozen=True)
class Stage:
    """A stage: its nodes in order, its variables, and the tensors of earlier stages that it reads.
    Inputs, and what is made of nothing, are in all stages."""

    nodes: tuple[Node, ...]
    variables: tuple[Variable, ...]
    received: tuple[Tensor, ...]

    @property
    def operations(self) -> Size:
        return total(map(operations_of, self.nodes))


@dataclass(frozen=True)
class Cut:
    """A graph in stages; as text, a paragraph for each."""

    graph: Graph
    stages: tuple[Stage, ...]

    def __str__(self) -> str:
        done = [size_hint(stage.operations) for stage in self.stages]
        lines = [f"{self.graph.name} in {len(self.stages)} stages"]
        for k, (stage, count) in enumerate(zip(self.stages, done, strict=True), 1):
            share = 100 * count / max(sum(done), 1)
            names = Counter(n.op.name for n in stage.nodes if size_hint(operations_of(n)))
            ops = ", ".join(f"{c} {name}" if c > 1 else name for name, c in names.items())
            lines.append(
                f"stage {k}: {stage.operations} operations, {share:.0f} %: {ops or 'none'}"
            )
            if stage.variables:
                lines.append(f"  holds {', '.join(v.name for v in stage.variables)}")
            lines += [
                f"  receives {_named(t)}: {t.type}, {bytes_of([t])} bytes" for t in stage.received
            ]
        return "\n".join(lines)


def cut(graph: Graph, count: int) -> Cut:
    """`graph` in `count` stages.

    Errors: `ArgumentError` for more stages than there are pieces with work.
    """
    problem = _problem(graph)
    pieces = sum(1 for unit in problem.units if unit.operations)
    if pieces < count:
        raise ArgumentError(
            "more stages than the graph has pieces with work", op="cut",
            expected=f"at most {pieces} stages", given=str(count),
        )  # fmt: skip
    found = [_refined(problem, _runs(problem, order, count), count) for order in _orders(problem)]
    return _made(problem, min(found, key=lambda f: moved(problem, f)), count)


def operations_of(node: Node) -> Size:
    """The operations of any node, fused or not: of composites those of what they stand for, of
    loops those of all turns, of branches those of all sides."""
    if node.op.kind is Kind.CONTROL:
        inner = total(operations_of(n) for body in bodies(node) for n in body.nodes)
        turns: Size = node.attrs.get("length", 1)
        return inner * turns
    if node.op.expand is not None and node.op.kind is not Kind.CONTRACT:
        stands = fresh("cost", (t.type for t in node.inputs))
        small = Graph(stands, rebuild(node, stands).outputs)
        inner_graph = expand_composites(small)
        if inner_graph is not small:
            return total(map(operations_of, inner_graph.nodes))
    return operations([node])


# -- what is divided -------------------------------------------------------------------------------
class Unit(NamedTuple):
    """Nodes that stay together: one, or all between a variable and its new value."""

    nodes: tuple[Node, ...]
    operations: int
    reads: tuple[int, ...]  # tensors, by their numbers
    needs: tuple[int, ...]  # units that make these


class Problem(NamedTuple):
    """Units in an order in which each comes behind what it needs; tensors with the units that make
    them and their bytes; what is read at the end."""

    graph: Graph
    units: list[Unit]
    tensors: list[Tensor]
    makers: list[int]
    bytes: list[int]
    ends: list[int]


def _problem(graph: Graph) -> Problem:
    inside = _fixed(graph)
    groups = _together(graph, [n for n in graph.nodes if n in inside])
    at = {node: i for i, group in enumerate(groups) for node in group}
    tensors = [t for group in groups for node in group for t in node.outputs]
    number = {t: i for i, t in enumerate(tensors)}
    units = []
    for i, group in enumerate(groups):
        reads = dict.fromkeys(
            number[t] for n in group for t in n.inputs if t in number and at[t.node] != i
        )
        needs = dict.fromkeys(at[tensors[t].node] for t in reads)
        work = sum(size_hint(operations_of(n)) for n in group)
        units.append(Unit(tuple(group), work, tuple(reads), tuple(needs)))
    ends = list(dict.fromkeys(number[t] for t in graph.outputs if t in number))
    makers = [at[t.node] for t in tensors]
    return Problem(graph, units, tensors, makers, [size_hint(bytes_of([t])) for t in tensors], ends)


def _fixed(graph: Graph) -> set[Node]:
    """The nodes that are in one stage only: variables, and what is computed from variables or from
    inputs."""
    found: set[Node] = set()
    for node in graph.nodes:
        if node.op.kind is Kind.LEAF:
            if is_source(node) and Fact.INPUT not in node.op.facts:
                found.add(node)
        elif any(t.node in found or Fact.INPUT in t.node.op.facts for t in node.inputs):
            found.add(node)
    return found


def _together(graph: Graph, nodes: Sequence[Node]) -> list[list[Node]]:
    """The nodes in groups that cannot be parted, operands before users: the strongly connected
    components, by Tarjan's algorithm, of the graph in which a variable needs its new value too."""
    inside = set(nodes)
    needs = {n: [t.node for t in n.inputs if t.node in inside] for n in nodes}
    for v, new in graph.updates:
        if v.node in inside and new.node in inside and new.node is not v.node:
            needs[v.node].append(new.node)
    number: dict[Node, int] = {}
    low: dict[Node, int] = {}
    open_nodes: list[Node] = []
    is_open: set[Node] = set()
    groups: list[list[Node]] = []
    place = {n: i for i, n in enumerate(nodes)}
    for root in nodes:
        stack = [] if root in number else [(root, 0)]
        while stack:
            node, i = stack.pop()
            if i == 0:
                number[node] = low[node] = len(number)
                open_nodes.append(node)
                is_open.add(node)
            else:
                low[node] = min(low[node], low[needs[node][i - 1]])
            while i < len(needs[node]):
                other = needs[node][i]
                i += 1
                if other not in number:
                    stack += [(node, i), (other, 0)]
                    break
                if other in is_open:
                    low[node] = min(low[node], number[other])
            else:
                if low[node] == number[node]:
                    start = open_nodes.index(node)
                    group = open_nodes[start:]
                    del open_nodes[start:]
                    is_open -= set(group)
                    groups.append(sorted(group, key=place.__getitem__))
    return groups


def _orders(problem: Problem) -> list[list[int]]:
    """Units as late as they are needed, and as early as what they need is there."""
    early: list[int] = []
    for i, unit in enumerate(problem.units):
        early.append(max((early[k] for k in unit.needs), default=i))
    late = list(range(len(problem.units)))
    return [late, sorted(late, key=lambda i: (early[i], i))]


# -- the best runs of an order ---------------------------------------------------------------------
def _runs(problem: Problem, order: Sequence[int], count: int) -> list[int]:
    """The stage of each unit, where stages are runs of this order."""
    pieces = _pieces(problem, order, count)
    work = [sum(problem.units[u].operations for u in piece) for piece in pieces]
    most = SLACK * _evenest(work, count)
    received = _received(problem, pieces)
    n = len(pieces)
    before = [0] * (n + 1)
    for i, w in enumerate(work):
        before[i + 1] = before[i] + w
    best: list[dict[int, tuple[int, int]]] = [{0: (0, 0)}]  # bytes so far, and where it began
    for _ in range(count):
        row: dict[int, tuple[int, int]] = {}
        for end in range(1, n + 1):
            choices = [
                (best[-1][start][0] + received[start][end], -start)
                for start in range(end)
                if start in best[-1] and 0 < before[end] - before[start] <= most
            ]
            if choices:
                bytes_moved, start = min(choices)
                row[end] = bytes_moved, -start
        best.append(row)
    found, end = [0] * len(problem.units), n
    for k in range(count, 0, -1):
        start = best[k][end][1]
        for piece in pieces[start:end]:
            for u in piece:
                found[u] = k - 1
        end = start
    return found


def _pieces(problem: Problem, order: Sequence[int], count: int) -> list[list[int]]:
    """The order in runs that are not cut further: of a large graph, at the narrowest places."""
    if len(order) <= PIECES:
        return [[u] for u in order]
    most = max(PIECES, 4 * count)
    live = _live(problem, order)
    step = len(order) / most
    cuts = sorted(
        {min(range(int(i * step), int((i + 1) * step)), key=live.__getitem__) for i in range(most)}
    )
    ends = [*(c + 1 for c in cuts if c + 1 < len(order)), len(order)]
    return [list(order[a:b]) for a, b in zip([0, *ends[:-1]], ends, strict=True)]


def _live(problem: Problem, order: Sequence[int]) -> list[int]:
    """Bytes that are made at or before each place of the order and read behind it."""
    place = {u: i for i, u in enumerate(order)}
    change = [0] * (len(order) + 1)
    last = {t: len(order) for t in problem.ends}
    for u, unit in enumerate(problem.units):
        for t in unit.reads:
            last[t] = max(last.get(t, 0), place[u])
    for t, end in last.items():
        change[place[problem.makers[t]]] += problem.bytes[t]
        change[min(end, len(order))] -= problem.bytes[t]
    found, now = [], 0
    for c in change[:-1]:
        now += c
        found.append(now)
    return found


def _received(problem: Problem, pieces: Sequence[Sequence[int]]) -> list[list[int]]:
    """`[a][b]`: the bytes that a stage of the pieces from a to b reads of those before it."""
    at = {u: i for i, piece in enumerate(pieces) for u in piece}
    made: list[list[int]] = [[] for _ in pieces]
    for t, maker in enumerate(problem.makers):
        made[at[maker]].append(t)
    reads = [{t for u in piece for t in problem.units[u].reads} for piece in pieces]
    n = len(pieces)
    found = [[0] * (n + 1) for _ in range(n)]
    for end in range(1, n + 1):
        wanted = set(problem.ends) if end == n else set()
        size = sum(problem.bytes[t] for t in wanted)
        for start in range(end - 1, -1, -1):
            for t in reads[start]:
                if t not in wanted:
                    wanted.add(t)
                    size += problem.bytes[t]
            for t in made[start]:
                if t in wanted:
                    wanted.discard(t)
                    size -= problem.bytes[t]
            found[start][end] = size
    return found


def _evenest(work: Sequence[int], count: int) -> int:
    """The least that the largest of `count` runs can have."""
    low, high = max(work), sum(work)
    while low < high:
        middle = (low + high) // 2
        runs, now = 1, 0
        for w in work:
            if now + w > middle:
                runs, now = runs + 1, 0
            now += w
        low, high = (low, middle) if runs <= count else (middle + 1, high)
    return low


# -- better than runs ------------------------------------------------------------------------------
def moved(problem: Problem, stages: Sequence[int]) -> int:
    """The bytes that stages receive."""
    return sum(problem.bytes[t] for t, _ in _crossing(problem, stages))


def _crossing(problem: Problem, stages: Sequence[int]) -> set[tuple[int, int]]:
    """Tensors and the later stages that read them."""
    found = {
        (t, stages[u])
        for u, unit in enumerate(problem.units)
        for t in unit.reads
        if stages[problem.makers[t]] != stages[u]
    }
    last = max(stages, default=0)
    return found | {(t, last) for t in problem.ends if stages[problem.makers[t]] != last}


def _refined(problem: Problem, stages: list[int], count: int) -> list[int]:
    """Units at borders move to a neighbouring stage while fewer bytes move for it."""
    work = [0] * count
    for u, unit in enumerate(problem.units):
        work[stages[u]] += unit.operations
    most = max(work)
    users: list[list[int]] = [[] for _ in problem.units]
    for u, unit in enumerate(problem.units):
        for k in unit.needs:
            users[k].append(u)
    needs = [unit.needs for unit in problem.units]
    for _ in range(8 * count):
        best, now = stages, moved(problem, stages)
        for u in _candidates(problem, stages):
            for target in range(count):
                if target == stages[u]:
                    continue
                tried = _with(stages, u, target, users if target > stages[u] else needs)
                loads = [0] * count
                for k, unit in enumerate(problem.units):
                    loads[tried[k]] += unit.operations
                if max(loads) <= most and min(loads) > 0 and (then := moved(problem, tried)) < now:
                    best, now = tried, then
        if best is stages:
            return stages
        stages = best
    return stages


def _candidates(problem: Problem, stages: Sequence[int]) -> Sequence[int]:
    """Units that may move: of a large graph those that make or read what crosses."""
    if len(problem.units) <= PIECES:
        return range(len(problem.units))
    crossing = {t for t, _ in _crossing(problem, stages)}
    made = {problem.makers[t] for t in crossing}
    return [
        u
        for u, unit in enumerate(problem.units)
        if u in made or not crossing.isdisjoint(unit.reads)
    ]


def _with(
    stages: Sequence[int], unit: int, target: int, others: Sequence[Iterable[int]]
) -> list[int]:
    """The stages with a unit in another one, and all of `others` that have to go with it."""
    found = list(stages)
    forward = target > stages[unit]
    stack = [unit]
    while stack:
        u = stack.pop()
        if (found[u] < target) if forward else (found[u] > target):
            found[u] = target
            stack += others[u]
    return found


# -- what comes out --------------------------------------------------------------------------------
def _made(problem: Problem, stages: Sequence[int], count: int) -> Cut:
    crossing = sorted(_crossing(problem, stages))
    found = []
    for k in range(count):
        nodes = [n for u, unit in enumerate(problem.units) if stages[u] == k for n in unit.nodes]
        variables = [t for n in nodes for t in n.outputs if isinstance(t, Variable)]
        received = [problem.tensors[t] for t, reader in crossing if reader == k]
        found.append(Stage(tuple(nodes), tuple(variables), tuple(received)))
    return Cut(problem.graph, tuple(found))


def _named(tensor: Tensor) -> str:
    return tensor.name if isinstance(tensor, Variable) else f"the {tensor.node.op.name}"
