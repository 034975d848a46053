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
from typing import Any

import numpy as np

from graphc.autodiff.derivatives import grad
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
from graphc.runtime.compile import Function
from graphc.runtime.compile import compile as compile_function
from graphc.train.batches import Array
from graphc.train.metric import State
from graphc.train.step import Batch, Tally

Kind = tuple[tuple[int, ...], np.dtype[Any]]  # the shape and dtype of an array


@dataclass(frozen=True)
class Part:
    """An update of some variables: it takes the sums at these places, and all notes if it is the
    first one. `written` are the variables that are its own."""

    update: Function
    summed: list[int]
    written: list[int]


@dataclass(frozen=True)
class Programs:
    """The programs of a step. `summed` are the arrays that shards add up, `notes` what metrics note
    of a shard, `kept` what they keep of each example; `variables` all that the programs read or
    write, of which the last `tallies` are the metrics' own. `pulled` are those that the gradients
    depend on and that steps write."""

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
    _check_optimizer(optimizer, parts)
    state = model.updates(batch.total)
    own, means = _by_data(state, batch.inputs)
    share = placeholder("share", (), float64)  # of the batch's weight that is in this shard
    shard = placeholder("shard", (), int64)
    terms = [*grad(batch.total, parameters), *means.values()]
    summed = [term * cast(share, term.dtype) for term in terms]
    tallies = [t for t in batch.tallies if t.state]
    notes = [note for tally in tallies for note in _notes(tally)]
    kept = [k for tally in batch.tallies for k in tally.kept.values()]
    outputs = [batch.total, *summed, *notes, *kept]
    if shards > 1 or strategy.is_async:
        keys: dict[Tensor, Tensor] = {v: fold_in(v, shard) for v in own if _is_key(v)}
        outputs = transform(outputs, replace=keys)
    gradient = compile_function(
        [*batch.inputs, share, shard], outputs, name="gradient", flush_subnormals=True
    )

    sums = [placeholder(f"sum{i}", term.shape, term.dtype) for i, term in enumerate(terms)]
    given = [
        [placeholder(f"note{s}_{i}", n.shape, n.dtype) for i, n in enumerate(notes)]
        for s in range(shards)
    ]
    others = own | dict(zip(means, sums[len(parameters) :], strict=True))
    others |= _merged(tallies, given)
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
    counted = [v for tally in tallies for v in tally.state.values()]
    found = dict.fromkeys(v for f in functions for v in f.graph.variables)
    variables = [*(v for v in found if v not in set(counted)), *counted]
    taken: set[Variable] = set()
    made = []
    for places, function in updates:
        its = {v for v, _ in function.graph.updates} - taken
        taken |= its
        made.append(Part(function, places, [i for i, v in enumerate(variables) if v in its]))
    read = set(gradient.graph.variables) & taken
    return Programs(
        strategy,
        gradient,
        made,
        shards,
        [_kind(t) for t in terms],
        [_kind(n) for n in notes],
        [np.asarray(first) for tally in tallies for first in tally.first.values()],
        [((*(int(s) for s in k.shape[1:]),), k.dtype.numpy) for k in kept],
        weighted,
        variables,
        len(counted),
        [i for i, v in enumerate(variables) if v in read],
    )


def _check_optimizer(optimizer: Optimizer, parts: int) -> None:
    if isinstance(optimizer, WholeOptimizer):
        raise ArgumentError(
            "this optimiser sees the loss itself, not gradients that workers can add up",
            op=type(optimizer).__name__, where=origin.where(),
            hint="use one that takes gradients, such as gc.optim.Adam, or gc.train.Trainer",
        )  # fmt: skip
    if parts > 1 and optimizer.needs_all:
        raise ArgumentError(
            "the norm of all gradients is not known to servers that have a part of them",
            op=type(optimizer).__name__, given="global_clip_norm", where=origin.where(),
            hint="one server, DataParallel, or clip_norm, which is of each gradient",
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


def _kind(tensor: Tensor) -> Kind:
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


def _merged(tallies: Sequence[Tally], given: Sequence[Sequence[Tensor]]) -> dict[Variable, Tensor]:
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
