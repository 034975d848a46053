"""What the master makes of a training, once: the programs of a step, which workers and servers run.

`gradient` takes a shard of a batch and gives the loss, its part of each gradient and of each state
that is a mean over examples (as the averages of `BatchNorm`), and what metrics note of it. The
update takes the sums of these parts over all shards, and the notes of each, and writes every
variable. So one native call commits a step, and whoever holds the variables holds all of a
training, metrics included. For parameter servers there are as many updates, each of some of the
parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from graphc.autodiff.derivatives import grad
from graphc.distributed.buckets import Bucket, make_buckets
from graphc.distributed.strategy import Strategy
from graphc.errors import ArgumentError
from graphc.ir import origin
from graphc.ir.dtype import float64, int64
from graphc.ir.graph import transform, walk
from graphc.ir.node import Tensor, Variable
from graphc.nn.module import Layer
from graphc.ops.build import cast, constant
from graphc.ops.leaf import placeholder
from graphc.ops.random_bits import fold_in
from graphc.optim.optimizer import Optimizer
from graphc.optim.whole import WholeOptimizer
from graphc.runtime.compile import Function, compile_announcing
from graphc.runtime.compile import compile as compile_function
from graphc.train.batches import Array
from graphc.train.metric import State
from graphc.train.step import Batch, Tally

Kind = tuple[tuple[int, ...], np.dtype[Any]]  # the shape and dtype of an array


@dataclass(frozen=True)
class Part:
    """An update of some variables: it takes the sums at these places, and all notes if metrics are
    among what it updates. `written` are the variables that are its own."""

    update: Function
    summed: list[int]
    written: list[int]
    counts: bool


@dataclass(frozen=True)
class Programs:
    """The programs of a step. `summed` are the arrays that shards add up, `notes` what metrics note
    of a shard, `kept` what they keep of each example; `variables` all that the programs read or
    write, of which the last `tallies` are the metrics' own. `pulled` are those that the gradients
    depend on and that steps write. `buckets` are those of `summed`."""

    strategy: Strategy
    gradient: Function
    parts: list[Part]
    shards: int
    summed: list[Kind]
    notes: list[Kind]
    first: list[Array]  # the notes of a shard without examples
    kept: list[Kind]
    weighted: bool  # whether the last array of a batch are weights
    variables: list[Variable]
    tallies: int
    pulled: list[int]
    buckets: list[Bucket]

    @property
    def written(self) -> list[int]:
        """The variables that a step writes, by their places among all."""
        return [i for part in self.parts for i in part.written]


def make_programs(
    batch: Batch,
    model: Layer,
    optimizer: Optimizer,
    strategy: Strategy,
    shards: int,
    parts: int,
    weighted: bool,
) -> Programs:
    """The programs of a step over `shards` shards of a batch, its update in so many parts, each for
    a process of its own.

    Errors: `ArgumentError` for an optimiser that sees the loss itself, or all gradients where they
    are on several servers; state that depends on the data and is no float; metrics that cannot be
    merged.
    """
    parameters = model.parameters()
    check_optimizer(optimizer, parts)
    told = told_of(batch, model)
    own, means, tallies = told.own, told.means, told.tallies
    terms = [*grad(batch.total, parameters), *means.values()]
    summed = [term * cast(told.share, term.dtype) for term in terms]
    notes, kept = told.notes, told.kept
    outputs = [batch.total, *summed, *notes, *kept]
    if shards > 1 or strategy.is_async:
        outputs = transform(outputs, replace=told.keys())
    gradient = compile_announcing([*batch.inputs, told.share, told.shard], outputs, "gradient")
    assert gradient.caller is not None

    sums = [placeholder(f"sum{i}", term.shape, term.dtype) for i, term in enumerate(terms)]
    given = told.given(shards)
    others = own | dict(zip(means, sums[len(parameters) :], strict=True))
    others |= merged(tallies, given)
    optimizer.apply(sums[: len(parameters)], parameters)  # its state, in the usual order
    updates: list[tuple[list[int], Function]] = []
    for places in _divided(parameters, parts):
        new = optimizer.apply([sums[i] for i in places], [parameters[i] for i in places])
        noted: list[Tensor] = []
        if not updates:  # the first part has all that is no parameter
            places += range(len(parameters), len(sums))
            noted = [note for of_shard in given for note in of_shard]
            new |= others
        inputs = [*(sums[i] for i in places), *noted]
        update = compile_function(inputs, [], new, name="update", flush_subnormals=True)
        updates.append((places, update))
    functions = [gradient, *(function for _, function in updates)]
    variables, counted = variables_of_all(functions, tallies)
    made = parts_of(updates, variables, [i == 0 for i in range(len(updates))])
    read = set(gradient.graph.variables) & {variables[i] for p in made for i in p.written}
    kinds = [kind_of_tensor(t) for t in terms]
    return Programs(
        strategy,
        gradient,
        made,
        shards,
        kinds,
        *told.noted(),
        weighted,
        variables,
        counted,
        [i for i, v in enumerate(variables) if v in read],
        make_buckets(gradient.caller.announced, kinds, strategy.bucket_bytes),
    )


class Told(NamedTuple):
    """What is told of a shard beside its loss: new values of state, its own or means over examples,
    what metrics note of it, and what they keep of each example. `share` is the part of the batch's
    weight that is in this shard, `shard` its number."""

    own: dict[Variable, Tensor]
    means: dict[Variable, Tensor]
    tallies: list[Tally]
    notes: list[Tensor]
    kept: list[Tensor]
    share: Tensor
    shard: Tensor

    def keys(self) -> dict[Tensor, Tensor]:
        """Random keys, by what they are in this shard."""
        return {v: fold_in(v, self.shard) for v in self.own if _is_key(v)}

    def given(self, shards: int) -> list[list[Tensor]]:
        """The notes of all shards, as inputs of an update."""
        return [
            [placeholder(f"note{s}_{i}", n.shape, n.dtype) for i, n in enumerate(self.notes)]
            for s in range(shards)
        ]

    def noted(self) -> tuple[list[Kind], list[Array], list[Kind]]:
        """The kinds of notes, the notes of a shard without examples, the kinds of what is kept."""
        return (
            [kind_of_tensor(n) for n in self.notes],
            [np.asarray(first) for tally in self.tallies for first in tally.first.values()],
            [((*(int(s) for s in k.shape[1:]),), k.dtype.numpy) for k in self.kept],
        )


def told_of(batch: Batch, model: Layer) -> Told:
    """What is told of a shard. Errors: `ArgumentError` as `make_programs`."""
    own, means = _by_data(model.updates(batch.total), batch.inputs)
    tallies = [t for t in batch.tallies if t.state]
    return Told(
        own,
        means,
        tallies,
        [note for tally in tallies for note in _notes(tally)],
        [k for tally in batch.tallies for k in tally.kept.values()],
        placeholder("share", (), float64),
        placeholder("shard", (), int64),
    )


def variables_of_all(
    functions: Sequence[Function], tallies: Sequence[Tally]
) -> tuple[list[Variable], int]:
    """All variables of programs, those of metrics last, and how many these are."""
    counted = [v for tally in tallies for v in tally.state.values()]
    found = dict.fromkeys(v for f in functions for v in f.graph.variables)
    return [*(v for v in found if v not in set(counted)), *counted], len(counted)


def parts_of(
    updates: Sequence[tuple[list[int], Function]],
    variables: Sequence[Variable],
    counts: Sequence[bool],
) -> list[Part]:
    """The parts of an update; what several of them write, as the number of steps, is the first
    one's own."""
    taken: set[Variable] = set()
    made = []
    for (places, function), is_counting in zip(updates, counts, strict=True):
        its = {v for v, _ in function.graph.updates} - taken
        taken |= its
        written = [i for i, v in enumerate(variables) if v in its]
        made.append(Part(function, places, written, is_counting))
    return made


def check_optimizer(optimizer: Optimizer, parts: int) -> None:
    """Errors: `ArgumentError` for one that needs more than the gradients of its part."""
    if isinstance(optimizer, WholeOptimizer):
        raise ArgumentError(
            "this optimiser sees the loss itself, not gradients that workers can add up",
            op=type(optimizer).__name__, where=origin.where(),
            hint="use one that takes gradients, such as gc.optim.Adam, or gc.train.Trainer",
        )  # fmt: skip
    if parts > 1 and optimizer.needs_all:
        raise ArgumentError(
            "the norm of all gradients is not known to processes that have a part of them",
            op=type(optimizer).__name__, given="global_clip_norm", where=origin.where(),
            hint="DataParallel, one server, or clip_norm, which is of each gradient",
        )  # fmt: skip


def _divided(parameters: Sequence[Variable], parts: int) -> list[list[int]]:
    """The places of parameters in parts of about equal bytes: the largest first, each to the part
    that has least. Errors: `ArgumentError` for more parts than parameters."""
    if parts > len(parameters):
        raise ArgumentError(
            "more servers than parameters", op="ParameterServer", where=origin.where(),
            expected=f"at most {len(parameters)} servers", given=str(parts),
        )  # fmt: skip
    sizes = [v.value.nbytes for v in parameters]
    found: list[list[int]] = [[] for _ in range(parts)]
    for i in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        min(found, key=lambda part: (sum(sizes[k] for k in part), len(part))).append(i)
    return [sorted(part) for part in found]


def kind_of_tensor(tensor: Tensor) -> Kind:
    """The shape and dtype of a tensor without named dims."""
    return tuple(int(s) for s in tensor.shape), tensor.dtype.numpy


def _by_data(
    state: dict[Variable, Tensor], inputs: Sequence[Tensor]
) -> tuple[dict[Variable, Tensor], dict[Variable, Tensor]]:
    """New values of state that do not depend on the data, as of random keys, and those that do."""
    data = {t.node for t in inputs}
    means = {v: new for v, new in state.items() if not data.isdisjoint(walk([new]))}
    for v in means:
        if not v.dtype.is_float:
            raise ArgumentError(
                "state that depends on the data and is no float: workers cannot take its mean",
                op=f"variable {v.name!r}", given=str(v.type), where=origin.where(),
            )  # fmt: skip
    return {v: new for v, new in state.items() if v not in means}, means


def _is_key(v: Variable) -> bool:
    """Whether it is a key of `gc.random`."""
    return v.shape == (2,) and v.dtype.name == "uint32"


def _notes(tally: Tally) -> list[Tensor]:
    """The state of a metric behind one shard, from its start on."""
    start: State = {key: constant(value) for key, value in tally.first.items()}
    after = tally.after(start)
    return [cast(after[key], v.dtype) for key, v in tally.state.items()]


def merged(tallies: Sequence[Tally], given: Sequence[Sequence[Tensor]]) -> dict[Variable, Tensor]:
    """The states of metrics behind all shards, merged in the shards' order."""
    states: list[State] = [dict(tally.state) for tally in tallies]
    for of_shard in given:
        notes = iter(of_shard)
        for i, tally in enumerate(tallies):
            other = {key: next(notes) for key in tally.state}
            with origin.scope(tally.name):
                states[i] = tally.metric.merge(states[i], other)
    return {
        v: cast(state[key], v.dtype)
        for tally, state in zip(tallies, states, strict=True)
        for key, v in tally.state.items()
    }
