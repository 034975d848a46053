"""A graph that grows: tensors with their values, and what drawing a step may ask for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import graphc as gc
from graphc.errors import GraphcError
from graphc.ir.dim import evaluate as size_value
from graphc.ir.dtype import DTYPES
from graphc.ir.evaluate import compute
from graphc.ir.graph import walk
from graphc.ir.node import Tensor, Variable

from .values import Array, draw

LIMIT = 1e5  # of magnitudes, in graphs that stay finite


class UnsuitedError(Exception):
    """The pool has no operand for this op."""


@dataclass
class Growth:
    """A graph that grows: tensors with their values, and what a step may ask for."""

    rng: np.random.Generator
    wild: bool
    axes: list[tuple[Any, int]]  # the sizes in use: as in a shape, and the value
    dtypes: tuple[str, ...]  # the dtypes that this graph is about
    pool: list[Tensor] = field(default_factory=list)
    inputs: list[Tensor] = field(default_factory=list)
    variables: list[Variable] = field(default_factory=list)
    values: dict[Tensor, Array] = field(default_factory=dict)

    @property
    def dims(self) -> dict[str, int]:
        return {str(s): n for s, n in self.axes if isinstance(s, str)}

    # -- choices -----------------------------------------------------------------------------------
    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def choose(self, options: Sequence[Any]) -> Any:
        return options[int(self.rng.integers(len(options)))]

    def integer(self, low: int, high: int) -> int:
        """An int in [low, high]."""
        return int(self.rng.integers(low, high + 1))

    def pick(self, kinds: str = "biuf", where: Callable[[Tensor], bool] | None = None) -> Tensor:
        """A tensor of the pool, often a new one; one is made or cast where there is none."""
        found = [t for t in self.pool if t.dtype.kind in kinds and (where is None or where(t))]
        if found and not self.chance(0.03):
            return found[-1 - min(int(self.rng.exponential(4)), len(found) - 1)]
        made = self.fresh(self.shape(), self.dtype(kinds))
        if where is not None and not where(made):
            raise UnsuitedError
        return made

    def dtype(self, kinds: str) -> str:
        known = [d for d in self.dtypes if np.dtype(d).kind in kinds]
        return self.choose(known or [d.name for d in DTYPES if d.kind in kinds])

    def shape(self, rank: int | None = None) -> tuple[Any, ...]:
        """A shape over the axes of this graph, in any order, sometimes with a 1."""
        rank = int(self.choose((0, 1, 1, 2, 2, 2, 3, 3))) if rank is None else rank
        order = [self.axes[i][0] for i in self.rng.permutation(len(self.axes))]
        sizes = [order[i % len(order)] for i in range(rank)]
        return tuple(1 if self.chance(0.1) else s for s in sizes)

    def fresh(self, shape: Sequence[Any], dtype: str) -> Tensor:
        """A new input, variable or constant."""
        static = tuple(size_value(gc.dim(s), self.dims) for s in shape)
        value = draw(self.rng, static, np.dtype(dtype), self.wild)
        fixed = all(isinstance(s, int) for s in shape)
        if fixed and self.chance(0.15):
            made: Tensor = gc.variable(value, name=f"w{len(self.variables)}")
            self.variables.append(made)
        elif fixed and self.chance(0.2):
            made = gc.constant(value)
        else:
            made = gc.placeholder(f"x{len(self.inputs)}", tuple(shape), dtype)
            self.inputs.append(made)
        self.values[made] = value
        self.pool.append(made)
        return made

    def partner(self, t: Tensor) -> Tensor:
        """A second operand of the dtype of `t` (seldom of another) that broadcasts with it."""

        def fits(other: Tensor) -> bool:
            same = other.dtype is t.dtype or self.chance(0.05)
            pairs = zip(t.shape[::-1], other.shape[::-1], strict=False)
            return same and all(a == b or a == 1 or b == 1 for a, b in pairs)

        if self.chance(0.15):
            return gc.constant(draw(self.rng, (), t.dtype.numpy, self.wild), t.dtype)
        if self.chance(0.2):
            keep = self.integer(0, t.ndim)
            shape = [1 if self.chance(0.3) else s for s in t.shape[keep:]]
            return self.fresh(shape, t.dtype.name)
        try:
            return self.pick(t.dtype.kind, fits)
        except UnsuitedError:
            return self.fresh(t.shape, t.dtype.name)

    def axis(self, t: Tensor) -> int:
        if t.ndim == 0:
            raise UnsuitedError
        return self.integer(-t.ndim, t.ndim - 1)

    def subset(self, t: Tensor) -> Any:
        """Axes to reduce: all, one, or several."""
        if t.ndim == 0 or self.chance(0.2):
            return None
        chosen = tuple(i for i in range(t.ndim) if self.chance(0.5))
        return self.axis(t) if not chosen or self.chance(0.3) else chosen

    # -- growing -----------------------------------------------------------------------------------
    def value(self, t: Tensor) -> Array:
        """The value of a tensor at the sizes of this growth."""
        for node in walk([t]):
            if node.output() not in self.values:
                found = compute(node, [self.values[i] for i in node.inputs], self.dims)
                self.values.update(zip(node.outputs, found, strict=True))
        return self.values[t]

    def accepts(self, t: Tensor) -> bool:
        if not all(c.holds(self.dims) for n in walk([t]) for c in n.needs):
            return False  # asked first: the interpreter of a node takes sizes for granted
        value = self.value(t)
        if math.prod(value.shape) > 4000 or t.ndim > 4:
            return False
        if self.wild or value.dtype.kind != "f":
            return True
        return bool(np.all(np.abs(value) < LIMIT))  # false for NaN

    @staticmethod
    def _assumes(made: Sequence[Tensor]) -> bool:
        """Whether sizes have to be equal for it: they would not be so elsewhere."""
        return any(need.relation == "=" for n in walk(made) for need in n.needs)

    def step(self, make: Callable[[Growth], Any]) -> bool:
        """Add what `make` gives to the pool, if it is suited; say whether it was."""
        try:
            made = make(self)
            made = [made] if isinstance(made, Tensor) else list(made)
            if not all(self.accepts(t) for t in made) or self._assumes(made):
                return False
        except (UnsuitedError, GraphcError):
            return False
        known = set(self.pool)
        self.pool.extend(t for t in dict.fromkeys(made) if t not in known)
        return True
