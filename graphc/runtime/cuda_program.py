"""Calls of a program on a card.

Each call in flight has a context of its own: a stream, and memory and recordings by sizes
(`cuda_plan.py`). A call whose results stay on the card does not wait for it: the context is under
way then, and the next call of the same context runs behind it. Whoever else uses the card waits for
it first (`Card.settle`), and is told of what failed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

import numpy as np

from graphc import locks
from graphc.errors import DeviceError
from graphc.ir.dim import evaluate
from graphc.ir.evaluate import bind_dims
from graphc.runtime.caller import hold
from graphc.runtime.cuda_array import Array, as_given
from graphc.runtime.cuda_driver import done
from graphc.runtime.cuda_loaded import LoadedProgram
from graphc.runtime.cuda_memory import OutOfMemoryError, Remote, remote
from graphc.runtime.cuda_plan import Plan
from graphc.runtime.cuda_products import Products

PLANS = 16  # tuples of sizes that a program keeps memory and recordings for, in each context
FITTING = 1000  # tuples of shapes that are known to fit
Dims = Mapping[str, int]
Made = TypeVar("Made")


class Sizes(NamedTuple):
    """What follows from the shapes of the inputs: the dims, and the shapes of the outputs."""

    dims: Dims
    outputs: tuple[tuple[int, ...], ...]


class CudaProgram:
    """Calls a loaded program with arrays. `call` gives arrays of the host, `kept` those that stay
    on the card."""

    def __init__(self, loaded: LoadedProgram) -> None:
        self.loaded, self.card, graph = loaded, loaded.card, loaded.graph
        self.variables = [graph.variables[i] for i in loaded.manifest["variables"]]
        self.written = {v.cell for v, _ in graph.updates}
        self.pool: list[Context] = []
        self.fitting: dict[tuple[tuple[int, ...], ...], Sizes] = {}

    def __del__(self) -> None:
        if "pool" in self.__dict__ and self.card.is_usable:
            with suppress(DeviceError), self.card.entered():  # a card that is lost has freed all
                for context in self.pool:
                    context.free()
                self.loaded.free()

    def call(self, *arrays: Any) -> tuple[Any, ...]:
        return self._call(arrays, False)

    def kept(self, *arrays: Any) -> tuple[Any, ...]:
        return self._call(arrays, True)

    def _call(self, arrays: Sequence[Any], keep: bool) -> tuple[Any, ...]:
        graph = self.loaded.graph
        with self.card.entered():
            try:
                context = self.pool.pop()
            except IndexError:
                context = Context(self.loaded)
            try:
                given = [
                    as_given(a, t, graph.name, self.card, context.stream)
                    for a, t in zip(arrays, graph.inputs, strict=True)
                ]
                sizes = self._sizes(given)
                with hold(self.variables):
                    homes = [remote(v.cell) for v in self.variables]
                    results = context.run(given, sizes, homes, keep)
                    for home, variable in zip(homes, self.variables, strict=True):
                        if variable.cell in self.written:
                            home.written_on(self.card)
                return results
            finally:
                self.pool.append(context)

    def _sizes(self, given: Sequence[Any]) -> Sizes:
        """Errors: those of arrays that do not fit."""
        shapes = tuple([array.shape for array in given])
        found = self.fitting.get(shapes)
        if found is None:
            graph = self.loaded.graph
            dims = bind_dims(graph, given)
            outputs = [tuple(evaluate(s, dims) for s in t.shape) for t in graph.outputs]
            if len(self.fitting) >= FITTING:
                self.fitting.clear()
            self.fitting[shapes] = found = Sizes(dims, tuple(outputs))
        return found


class Context:
    """What one call in flight has to itself: a stream, and memory and recordings by sizes."""

    def __init__(self, program: LoadedProgram) -> None:
        self.program, self.card = program, program.card
        self.stream = program.card.stream()
        self.products = Products(program.card, self.stream, program.manifest["tf32"])
        self.plans: dict[tuple[int, ...], Plan] = {}
        self.last: Plan | None = None  # of the last call
        self.lock = locks.private()  # nobody waits for the stream while it records
        self.is_freed = False

    def settle(self) -> None:
        with self.lock:
            if self.is_freed:
                return
            self.card.wait(self.stream)
            if self.last is not None:
                self.last.look()

    def run(
        self, given: Sequence[Any], sizes: Sizes, homes: Sequence[Remote], keep: bool
    ) -> tuple[Any, ...]:
        """A call, whose variables are locked. What it needs is allocated before anything runs.
        Errors: also of an earlier call, if that was not known before."""
        if self in self.card.under_way and any(isinstance(a, np.ndarray) for a in given):
            self.settle()  # it may still read the memory that these are copied to
        addresses = self._with_room(lambda: [home.address(self.card) for home in homes])
        results = self._with_room(lambda: self._results(sizes)) if keep else None
        self.card.settle(self)  # behind that: whoever used this memory before is under way by now
        for home in homes:
            home.send(self.card, self.stream)
        with self.lock:
            plan = self._plan(sizes.dims, addresses)
            if plan is not self.last:
                self.card.wait(self.stream)
            if self.last is not None:
                self.last.look()
            self.last = plan
            try:
                return plan.run(given, results)
            finally:
                (self.card.under_way.add if keep else self.card.under_way.discard)(self)

    def _results(self, sizes: Sizes) -> tuple[Array, ...]:
        pairs = zip(sizes.outputs, self.program.graph.outputs, strict=True)
        return tuple(Array(self.card, shape, t.dtype.numpy) for shape, t in pairs)

    def _plan(self, dims: Dims, variables: Sequence[int]) -> Plan:
        """The plan for these sizes; the one that was used least recently goes for a new one."""
        key = tuple(dims.values())
        found = self.plans.pop(key, None)
        if found is None:
            while len(self.plans) >= PLANS:
                self._free(next(iter(self.plans)))
            found = self._with_room(
                lambda: Plan(self.program, self.stream, self.products, dims, variables)
            )
        self.plans[key] = found
        return found

    def _with_room(self, make: Callable[[], Made]) -> Made:
        """What is made; without the memory of other sizes, if there is no more."""
        try:
            return make()
        except OutOfMemoryError:
            self._free_plans()
            return make()

    def _free_plans(self) -> None:
        for key in list(self.plans):
            self._free(key)

    def _free(self, key: tuple[int, ...]) -> None:
        with self.lock:
            plan = self.plans.pop(key)
            if plan is self.last:
                self.last = None
            plan.free()

    def free(self) -> None:
        self.card.under_way.discard(self)
        self.is_freed = True
        self._free_plans()
        self.products.free()
        done(self.card.api.cuStreamDestroy(self.stream), "ending a stream")
