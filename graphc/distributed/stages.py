"""The programs of `Pipeline`: for each stage of the cut graph one forwards, one backwards, and the
update of its variables.

A stage's forward program takes the tensors that it receives from earlier stages and gives those
that later ones read, and what its backward program needs of the values between. That one takes a
cotangent of each tensor that was sent, from each stage that read it, and gives those of what was
received and of the stage's own parameters. So a parameter that several stages read is in the first
of them: it is sent like any value, and its gradient comes back as the sum of all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from graphc.autodiff.derivatives import grad, or_zeros, pulled
from graphc.distributed.programs import (
    Programs,
    Told,
    check_optimizer,
    merged,
    parts_of,
    told_of,
    variables_of_all,
)
from graphc.distributed.strategy import Strategy
from graphc.errors import ArgumentError
from graphc.ir import origin
from graphc.ir.dim import Size, size_hint
from graphc.ir.graph import Graph, transform, variables_of, walk
from graphc.ir.node import Node, Tensor, Variable
from graphc.ir.op import Fact, Kind
from graphc.nn.module import Layer
from graphc.ops.build import cast
from graphc.ops.elementwise import add
from graphc.ops.leaf import placeholder
from graphc.optim.optimizer import Optimizer
from graphc.passes.cut import Cut, cut
from graphc.pipeline.stages import Stages
from graphc.rewrite.derivative import stable_forms
from graphc.runtime.compile import Function
from graphc.runtime.compile import compile as compile_function
from graphc.train.step import Batch


class Link(NamedTuple):
    """A tensor that moves: from a stage to others, and its cotangents back, if it has any."""

    shape: tuple[Size, ...]
    dtype: np.dtype[Any]
    maker: int
    readers: tuple[int, ...]
    returns: bool
    name: str


class Stage(NamedTuple):
    """The programs of a stage. What is received and sent are links, by their numbers; `means` is
    how many sums come from the forward program, `held` how many values it holds for the other."""

    forward: Function
    backward: Function
    received: list[int]
    sent: list[int]
    means: int
    held: int


@dataclass(frozen=True)
class StagedPrograms(Programs):
    """The programs of all stages; `gradient` is the last one's forward program, and `shards` the
    number of micro-batches. The sums of a part are those of its stage: gradients, then means.
    `operations` are those of each stage forwards, at typical sizes. `common` are variables that the
    updates of several stages write alike, each its own copy, as the number of steps."""

    stages: list[Stage]
    links: list[Link]
    operations: list[int]
    common: list[int]


def make_stages(
    batch: Batch,
    model: Layer,
    optimizer: Optimizer,
    strategy: Strategy,
    micro_batches: int,
    count: int,
    weighted: bool,
) -> StagedPrograms:
    """The programs of a step in `count` stages.

    Errors: `ArgumentError` as `make_programs`, and for more stages than there is work for, or state
    whose new value several stages would have to make.
    """
    parameters = model.parameters()
    check_optimizer(optimizer, count)
    grad(batch.total, parameters)  # its errors are those of a step in one piece
    told = told_of(batch, model)
    (total,), _ = stable_forms([batch.total], ())  # no cut goes through such a form then
    roots = [total, *told.notes, *told.kept, *told.means.values()]
    if micro_batches > 1:
        roots = transform(roots, replace=told.keys())
    ends, means = roots[: len(roots) - len(told.means)], roots[len(roots) - len(told.means) :]
    inputs = [*batch.inputs, told.share, told.shard]
    graph = Graph(inputs, ends, zip(told.means, means, strict=True), "step")
    made = Stages().run("cut", lambda: cut(graph, count), str)
    cutting = _Cutting(graph, made, parameters, told, inputs)
    stages = [cutting.stage(k) for k in range(count)]

    optimizer.apply(  # its state, in the usual order
        [placeholder(f"sum{i}", p.shape, p.dtype) for i, p in enumerate(parameters)], parameters
    )
    updates = [cutting.update(k, optimizer, micro_batches) for k in range(count)]
    functions = [f for s in stages for f in (s.forward, s.backward)] + [f for _, f in updates]
    variables, counted = variables_of_all(functions, told.tallies)
    parts = parts_of(updates, variables, [k == count - 1 for k in range(count)])
    writers = Counter(v for _, f in updates for v, _ in f.graph.updates)
    _check_homes([f for _, f in updates], cutting.homes)
    return StagedPrograms(
        strategy, stages[-1].forward, parts, micro_batches, [], *told.noted(), weighted, variables,
        counted, [], [], stages, cutting.links, [size_hint(s.operations) for s in made.stages],
        [i for i, v in enumerate(variables) if writers[v] > 1],
    )  # fmt: skip


class _Cutting:
    """What the programs of the stages are made of."""

    def __init__(
        self, graph: Graph, made: Cut, parameters: Sequence[Variable], told: Told,
        inputs: list[Tensor],
    ) -> None:  # fmt: skip
        self.graph, self.cut, self.told, self.inputs = graph, made, told, inputs
        self.last = len(made.stages) - 1
        at = {n: k for k, stage in enumerate(made.stages) for n in stage.nodes}
        self.homes = self._homes(at)
        self._parameters = [
            [p for p in parameters if self.homes[p] == k] for k in range(self.last + 1)
        ]
        self._means = [
            [(v, new) for v, new in graph.updates if self.homes[v] == k]
            for k in range(self.last + 1)
        ]
        trained = _depending(graph.nodes, (p.node for p in parameters))
        readers: dict[Tensor, list[int]] = {}
        for k, stage in enumerate(made.stages):
            for t in stage.received:
                readers.setdefault(t, []).append(k)
        self._moving = list(readers)
        self.links = [
            Link(
                t.shape, t.dtype.numpy, at[t.node], tuple(ks),
                t.dtype.is_float and t.node in trained, _name(t),
            )
            for t, ks in readers.items()
        ]  # fmt: skip

    def _homes(self, at: dict[Node, int]) -> dict[Variable, int]:
        """The stage of each variable: where it is read, or else where its new value is made."""
        homes = {v: at[v.node] for stage in self.cut.stages for v in stage.variables}
        for v, new in self.graph.updates:
            homes.setdefault(v, at.get(new.node, self.last))
        for v, new in self.told.own.items():
            read = [homes[u] for u in variables_of(walk([new])) if u in homes]
            homes.setdefault(v, max(read, default=self.last))
        for tally in self.told.tallies:
            homes |= dict.fromkeys(tally.state.values(), self.last)
        return homes

    # -- forwards and backwards --------------------------------------------------------------------
    def stage(self, k: int) -> Stage:
        """The programs of a stage, those of an update aside."""
        moving, links = self._moving, self.links
        received = [i for i, link in enumerate(links) if k in link.readers]
        sent = [i for i, link in enumerate(links) if link.maker == k]
        stands = [
            placeholder(f"received{i}", moving[i].shape, moving[i].dtype) for i in received
        ]
        replace = dict(zip((moving[i] for i in received), stands, strict=True))
        ends = self.graph.outputs if k == self.last else ()
        means = [new * cast(self.told.share, new.dtype) for _, new in self._means[k]]
        results = transform([*(moving[i] for i in sent), *means, *ends], replace=replace)

        seeds: list[Tensor] = []
        outputs: list[Tensor] = []
        cotangents: list[Tensor] = []
        for i, result in zip(sent, results, strict=False):
            if links[i].returns:
                given = [
                    placeholder(f"back{i}_{j}", result.shape, result.dtype)
                    for j in links[i].readers
                ]
                seeds += given
                outputs.append(result)
                cotangents.append(given[0] if len(given) == 1 else _total(given))
        if k == self.last:
            loss = results[len(sent) + len(means)]
            outputs.append(loss)
            cotangents.append(cast(self.told.share, loss.dtype))
        wrt: list[Tensor] = [
            *self._parameters[k],
            *(s for i, s in zip(received, stands, strict=True) if links[i].returns),
        ]
        found = or_zeros(pulled(outputs, wrt, cotangents), wrt)
        held = _held(results, found)
        holders = [placeholder(f"held{i}", t.shape, t.dtype) for i, t in enumerate(held)]
        found = transform(found, replace=dict(zip(held, holders, strict=True)))
        taken = [*self.inputs, *stands]
        forward = _compiled("forward", k, taken, [*results, *held])
        backward = _compiled("backward", k, [*taken, *holders, *seeds], found)
        return Stage(forward, backward, received, sent, len(means), len(held))

    # -- updates -----------------------------------------------------------------------------------
    def update(
        self, k: int, optimizer: Optimizer, micro_batches: int
    ) -> tuple[list[int], Function]:
        """The update of a stage: the numbers of its sums, and the program that takes them."""
        parameters, means = self._parameters[k], self._means[k]
        changed: list[Tensor] = [*parameters, *(v for v, _ in means)]
        sums = [placeholder(f"sum{i}", t.shape, t.dtype) for i, t in enumerate(changed)]
        new: dict[Variable, Tensor] = {}
        if parameters:
            new = optimizer.apply(sums[: len(parameters)], parameters)
        new |= dict(zip((v for v, _ in means), sums[len(parameters) :], strict=True))
        new |= {v: t for v, t in self.told.own.items() if self.homes[v] == k}
        noted: list[Tensor] = []
        if k == self.last:
            given = self.told.given(micro_batches)
            noted = [note for of_shard in given for note in of_shard]
            new |= merged(self.told.tallies, given)
        update = compile_function(
            [*sums, *noted], [], new, name=f"update{k + 1}", flush_subnormals=True
        )
        return list(range(len(sums))), update


def _compiled(
    name: str, k: int, inputs: Sequence[Tensor], outputs: Sequence[Tensor]
) -> Function:
    return compile_function(
        list(inputs), list(outputs), name=f"{name}{k + 1}", flush_subnormals=True
    )


def _held(results: Sequence[Tensor], gradients: Sequence[Tensor]) -> list[Tensor]:
    """What the forward program has computed and the backward one reads. What only moves elements
    is done again; what the forward program has not is the other's own."""
    nodes = walk(results)
    given = {n for n in nodes if _is_given(n)}
    made = _depending(nodes, given) - given
    stop = {t for n in nodes if n in made and not n.op.only_moves for t in n.outputs}
    read = [t for n in walk(gradients, stop) for t in n.inputs]
    return [t for t in dict.fromkeys([*read, *gradients]) if t in stop]


def _depending(nodes: Sequence[Node], on: Iterable[Node]) -> set[Node]:
    """Those of the nodes that are among others, or depend on them."""
    found = set(on)
    for node in nodes:
        if any(t.node in found for t in node.inputs):
            found.add(node)
    return found


def _is_given(node: Node) -> bool:
    return node.op.kind is Kind.LEAF and Fact.CONSTANT not in node.op.facts


def _total(tensors: Sequence[Tensor]) -> Tensor:
    """The sum of tensors in order."""
    found = tensors[0]
    for t in tensors[1:]:
        found = add(found, t)
    return found


def _check_homes(updates: Sequence[Function], homes: dict[Variable, int]) -> None:
    """Errors: `ArgumentError` if a stage would need the newest value of another one's variable."""
    written = [{v for v, _ in f.graph.updates} for f in updates]
    everywhere = set().union(*written)
    for k, update in enumerate(updates):
        for v in update.graph.variables:
            if v in everywhere and v not in written[k]:
                raise ArgumentError(
                    "new values that one stage makes of another's variables",
                    op=f"variable {v.name!r}", where=origin.where(),
                    given=f"of stage {homes.get(v, 0) + 1}, read by the update of {k + 1}",
                    hint="fewer stages, or DataParallel, whose workers have all variables",
                )  # fmt: skip


def _name(tensor: Tensor) -> str:
    return tensor.name if isinstance(tensor, Variable) else tensor.node.op.name
