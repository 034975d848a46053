"""The view "profile": what ran in a call, and how much of its time each step took.

A box for each step of the program, in the order in which they ran; a frame for each loop and
branch. An arrow leads from the step that wrote some memory to those that read it, and is as wide as
its bytes are many. The more of the call a step took, the heavier its box.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace

from graphc.ir.dim import evaluate
from graphc.ir.node import Tensor
from graphc.planning.program import (
    Blocks,
    Branch,
    Call,
    Examples,
    Gemm,
    Leave,
    Loop,
    Step,
    Storage,
    touched,
)
from graphc.runtime.profile import Profile, StepTime, duration
from graphc.show import labels
from graphc.show.cost import arrow_of, in_bytes, in_units, operations_of
from graphc.show.picture import Box, Cluster, Kind, Look, Picture

MOST, SOME = 0.2, 0.05  # shares of a call from which on a step is drawn heavier
_TITLE = 48  # characters


def profile_picture(profile: Profile) -> Picture:
    """The picture of a profile."""
    made = _Ran(profile)
    made.steps(profile.program.steps, made.picture.whole)
    made.ends()
    rest = profile.steps[-1]
    sizes = "".join(f", {name} = {size}" for name, size in profile.dims.items())
    made.picture.note = (
        f"a call: {duration(profile.seconds)}, {profile.runs} runs{sizes};"
        f" {rest.share:.1%} of it between steps"
    )
    return made.picture


class _Ran:
    """`wrote`: the marks of the steps that last wrote a storage: several behind a branch."""

    def __init__(self, profile: Profile) -> None:
        self.picture = Picture()
        self._times: Iterator[StepTime] = iter(profile.steps)
        self._program, self._dims = profile.program, profile.dims
        graph = self._program.graph
        kept: Sequence[tuple[tuple[Storage, ...], Sequence[Tensor], Look]] = (
            (self._program.inputs, graph.inputs, Look.INPUT),
            (self._program.variables, graph.variables, Look.VARIABLE),
        )
        self._leaves: dict[Storage, tuple[Look, Tensor]] = {
            storage: (look, t)
            for storages, tensors, look in kept
            for storage, t in zip(storages, tensors, strict=True)
        }
        self._leaves |= {s: (Look.CONSTANT, t) for s, t in self._program.constants.items()}
        self._marks: dict[Storage, int] = {}  # of leaves
        self._wrote: dict[Storage, tuple[int, ...]] = {}
        self._reads: list[tuple[int, Storage]] = []

    # -- steps -------------------------------------------------------------------------------------
    def steps(self, steps: Sequence[Step], cluster: Cluster) -> None:
        for step in steps:
            if isinstance(step, Loop):
                self._loop(step, cluster)
            elif isinstance(step, Examples):
                title = f"{labels.one_line(str(step.extent))} examples"
                self.steps(step.body, cluster.add(Box.LOOP, title))
            elif isinstance(step, Branch):
                self._branch(step, cluster)
            elif isinstance(step, Leave):
                mark = self.picture.mark(cluster, Look.CHOICE, "while")
                self._read(step, mark)
            else:
                self._step(step, next(self._times), cluster)

    def _step(self, step: Step, time: StepTime, cluster: Cluster) -> None:
        look = Look.MOST if time.share >= MOST else Look.SOME if time.share >= SOME else Look.LITTLE
        lines = [f"{duration(time.seconds)}, {time.share:.1%}" if time.calls else "did not run"]
        lines[0] += f" in {time.calls:g} calls" if time.calls > 1 else ""
        lines += [f"{time.of_limit:.0%} of the limit"] if time.of_limit else []
        place = f"  # {os.path.basename(time.line)}" if time.line else ""
        mark = self.picture.mark(
            cluster,
            look,
            labels.one_line(_title(step, time), _TITLE),
            *lines,
            tooltip=f"{in_units(time.flops, ('', 'k', 'M', 'G', 'T'))} operations,"
            f" {in_bytes(int(time.bytes))}{place}",
        )
        self._read(step, mark)
        for ref in touched(step)[1]:
            self._wrote[ref.storage] = (mark,)

    def _read(self, step: Step, mark: int) -> None:
        """Arrows from what wrote the memory that a step reads."""
        reads, written = touched(step)
        found = dict.fromkeys(ref.storage for ref in reads)
        for storage in {ref.storage for ref in written}:
            if not self._is_read(storage, step):
                found.pop(storage, None)
        for storage in found:
            for tail in self._sources(storage):
                if tail != mark:
                    self._arrow(tail, mark, storage)
            self._reads.append((mark, storage))

    def _is_read(self, storage: Storage, step: Step) -> bool:
        """Whether memory that a step writes is memory that it reads: in place."""
        if storage in self._wrote:
            return True
        nodes = [step.product.node, step.call.node] if isinstance(step, Blocks) else []
        nodes += [step.node] if isinstance(step, (Call, Gemm)) else []
        leaf = self._leaves.get(storage)
        return leaf is not None and any(leaf[1] is t for node in nodes for t in node.inputs)

    def _sources(self, storage: Storage) -> tuple[int, ...]:
        if storage in self._wrote:
            return self._wrote[storage]
        return (self._leaf(storage),) if storage in self._leaves else ()

    def _leaf(self, storage: Storage) -> int:
        if storage not in self._marks:
            look, t = self._leaves[storage]
            is_constant = look is Look.CONSTANT
            name = labels.constant(t.node.attrs["value"].array) if is_constant else t.name
            lines = labels.one_line(name), labels.type_text(t.type)
            self._marks[storage] = self.picture.mark(
                self.picture.whole, look, *lines, tooltip=str(t.type), elsewhere=lines
            )
        return self._marks[storage]

    def _arrow(self, tail: int, head: int, storage: Storage, kind: Kind = Kind.DATA) -> None:
        moved = evaluate(storage.size, self._dims) * storage.dtype.itemsize
        drawn = replace(arrow_of(tail, head, moved), kind=kind)
        if drawn not in self.picture.arrows[-8:]:
            self.picture.arrows.append(drawn)

    # -- loops and branches ------------------------------------------------------------------------
    def _loop(self, step: Loop, cluster: Cluster) -> None:
        """A frame; what a turn reads before it is written in it comes from the turn before."""
        turns = "" if step.extent is None else f" · {labels.one_line(str(step.extent))} steps"
        frame = cluster.add(Box.LOOP, f"{step.node.op.name}{turns}")
        first, before = len(self._reads), dict(self._wrote)
        self.steps(step.body, frame)
        for mark, storage in self._reads[first:]:
            for tail in self._wrote.get(storage, ()):
                if tail not in before.get(storage, ()) and tail >= mark:
                    self._arrow(tail, mark, storage, Kind.LOOP)

    def _branch(self, step: Branch, cluster: Cluster) -> None:
        """A frame with one for each side; only one of these runs in a call."""
        title = "cond" if step.is_by_truth else step.node.op.name
        frame = cluster.add(Box.LOOP, title)
        self._read(step, self.picture.mark(frame, Look.CHOICE, title))
        before, after = dict(self._wrote), dict[Storage, tuple[int, ...]]()
        for i, side in enumerate(step.sides):  # in the order of the clocks
            words = ("else", "then") if step.is_by_truth else (str(i),) * len(step.sides)
            self._wrote = dict(before)
            self.steps(side, frame.add(Box.BRANCH, words[i]) if side else frame)
            for storage, marks in self._wrote.items():
                after[storage] = tuple(dict.fromkeys((*after.get(storage, ()), *marks)))
        self._wrote = after

    # -- what is there afterwards ------------------------------------------------------------------
    def ends(self) -> None:
        """Results, and the new values of variables."""
        whole, outputs = self.picture.whole, self._program.outputs
        for i, storage in enumerate(outputs):
            name = "output" if len(outputs) == 1 else f"output {i}"
            mark = self.picture.mark(whole, Look.OUTPUT, name)
            for tail in self._sources(storage):
                self._arrow(tail, mark, storage)
        for storage in self._program.variables:
            for tail in self._wrote.get(storage, ()):
                self.picture.arrow(tail, self._leaf(storage), kind=Kind.UPDATE)


def _title(step: Step, time: StepTime) -> str:
    """What a step is: the name and operations of a kernel, the factors of a product."""
    if isinstance(step, Blocks):
        behind = operations_of(step.call.node.attrs["body"].nodes)
        return f"{_product(step.product)}, then {behind or step.call.name}"
    if isinstance(step, Call):
        what = operations_of(step.node.attrs["body"].nodes)
        return f"{time.name} · {what}" if what else time.name
    return _product(step) if isinstance(step, Gemm) else time.name


def _product(step: Gemm) -> str:
    return f"product · {labels.space((step.m, step.k, step.n))}"
