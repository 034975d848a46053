"""Builds kernels: values are computed once, in the outermost scope where they can be.

A statement goes to the deepest scope that one of its operands lives in, so what does not depend on
an inner loop is hoisted out of it, and equal statements of open scopes are shared.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from graphc.ir.dim import Size, is_nonnegative
from graphc.ir.dtype import BY_SHORT, DType, bool_, int64
from graphc.loops.grammar import (
    Accumulate,
    Affine,
    Assign,
    Buffer,
    Const,
    Declare,
    Fail,
    For,
    Let,
    Load,
    Number,
    Stmt,
    Store,
    Value,
    Var,
    of,
)
from graphc.loops.primitives import CAST, result_type


class Scope:
    """One open statement list: its loop's variable is defined in it."""

    __slots__ = ("body", "known", "level")

    def __init__(self, level: int) -> None:
        self.level = level
        self.body: list[Stmt] = []
        self.known: dict[Any, Any] = {}


class Builder:
    """Appends statements to the kernel being built. `k.exp(x)` applies the primitive `exp`."""

    def __init__(self) -> None:
        self.scopes = [Scope(0)]
        self.levels: dict[Var, int] = {}
        self.guards: dict[Var, Value] = {}  # under which loads read
        self.extents: dict[Var, Size] = {}  # of the loops
        self.count = 0
        self.guard: Value | None = None
        self.sites: list[tuple[str, Any]] = []  # what may fail: the message and who owns it
        self.owner: Any = None  # set by whoever builds: stands beside each message
        self.memory: list[Buffer] = []  # what the kernel needs beside operands and results

    # -- values ------------------------------------------------------------------------------------
    def const(self, value: Any, dtype: DType) -> Const:
        """A literal of the dtype (`like` another value: `k.const(0, x.dtype)`)."""
        with np.errstate(all="ignore"):
            return Const(dtype.numpy.type(np.asarray(value).astype(dtype.numpy)), dtype)

    def prim(self, name: str, *args: Value) -> Value:
        """The value of a primitive; the statement is shared with an equal one in scope."""
        for value in args:
            if not isinstance(value, (Var, Const)):
                raise TypeError(
                    f"the primitive {name} takes values of the kernel, not {value!r}; k.const(2, "
                    "x.dtype) makes one of a number"
                )
        dtype = result_type(name, *(a.dtype for a in args))
        return self._let(name, args, dtype)

    def cast(self, x: Value, dtype: DType) -> Value:
        """`x` converted as NumPy's astype does."""
        return x if x.dtype is dtype else self._let(CAST + dtype.short, (x,), dtype)

    def _let(self, name: str, args: tuple[Value, ...], dtype: DType) -> Value:
        key = (name, *map(_identity, args))
        scope = self._scope_of(args)
        found: Var | None = self._known(key)
        if found is None:
            found = self._define(key, scope, dtype)
            scope.body.append(Let(found, name, args))
        return found

    def where(self, condition: Value, x: Value, y: Value) -> Value:
        """`x` where the condition holds, else `y`; what was read under it is 0 elsewhere."""
        if isinstance(x, Var) and self.guards.get(x) is condition and _is_zero(y):
            return x
        return self.prim("select", condition, x, y)

    def is_nan(self, x: Value) -> Value:
        return self.prim("not_equal", x, x) if x.dtype.is_float else self.const(False, bool_)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args: self.prim(name, *args)

    # -- indices and memory ------------------------------------------------------------------------
    def number(self, index: Affine) -> Value:
        """The index as an i64 value."""
        if len(index.terms) == 1 and index.terms[0][1] == 1 and index.const == 0:
            return index.terms[0][0]
        if not index.terms and isinstance(index.const, int):
            return self.const(index.const, int64)
        key = ("number", index)
        found: Var | None = self._known(key)
        if found is None:
            scope = self._scope_of(tuple(v for v, _ in index.terms))
            found = self._define(key, scope, int64)
            scope.body.append(Number(found, index))
        return found

    def size(self, size: Size) -> Value:
        """A size as an i64 value."""
        return self.number(Affine((), size))

    def index(self, value: Value) -> Affine:
        """A value as an index (converted to i64)."""
        value = self.cast(value, int64)
        return Affine((), int(value.value)) if isinstance(value, Const) else of(value)

    def is_nonnegative(self, index: Affine) -> bool:
        """Whether an index is certain never to be negative, by the extents of loops."""
        least = index.const
        for var, size in index.terms:
            if var not in self.extents:
                return False
            if is_nonnegative(-size):
                least = least + size * (self.extents[var] - 1)
            elif not is_nonnegative(size):
                return False
        return is_nonnegative(least)

    def load(self, buffer: Buffer, index: Affine) -> Value:
        """The element at `index`; loads of one element in scope are one load."""
        guard = self.guard
        key = ("load", buffer, index, guard)
        found: Var | None = self._known(("load", buffer, index, None)) or self._known(key)
        if found is None:
            operands = tuple(v for v, _ in index.terms) + ((guard,) if guard is not None else ())
            scope = self._scope_of(operands)
            found = self._define(key, scope, buffer.dtype)
            scope.body.append(Load(found, buffer, index, guard))
            if guard is not None:
                self.guards[found] = guard
        return found

    @contextmanager
    def guarded(self, condition: Value) -> Iterator[None]:
        """Inside, elements are read only where the condition holds (0 elsewhere)."""
        outer = self.guard
        self.guard = condition if outer is None else self.prim("bitwise_and", outer, condition)
        yield
        self.guard = outer

    def store(self, buffer: Buffer, index: Affine, value: Value) -> None:
        """Writes in the innermost open scope."""
        self.scopes[-1].body.append(Store(buffer, index, value))

    def reload(self, buffer: Buffer, index: Affine) -> Value:
        """The element at `index` as it is now: for buffers that the kernel itself writes."""
        found = self._fresh(buffer.dtype)
        self.levels[found] = self.scopes[-1].level
        self.scopes[-1].body.append(Load(found, buffer, index))
        return found

    def scratch(self, dtype: DType, size: Size) -> Buffer:
        """Memory of the kernel's own, of `size` elements. Nothing is in it at first; it is read by
        `reload`."""
        self.memory.append(Buffer(f"memory{len(self.memory)}", dtype, size))
        return self.memory[-1]

    def fail_if(self, condition: Value, message: str) -> None:
        """Reports a failure if the condition holds (in the scope where the condition lives)."""
        if self.guard is not None:
            condition = self.prim("bitwise_and", self.guard, condition)
        scope = self._scope_of((condition,))
        key = ("fail", _identity(condition), message)
        if self._known(key) is None:
            scope.known[key] = self._fresh(bool_)
            scope.body.append(Fail(condition, len(self.sites)))
            self.sites.append((message, self.owner))

    def recall(self, key: Any) -> Any:
        """What `remember` kept under `key` in a scope that is still open, or None."""
        return self._known(key)

    def remember(self, key: Any, value: Value) -> None:
        """Keep a value under `key` for as long as the scope that it lives in is open."""
        self._scope_of((value,)).known[key] = value

    # -- accumulators and loops --------------------------------------------------------------------
    def declare(self, value: Value) -> Var:
        """A mutable scalar of the innermost open scope."""
        var = self._fresh(value.dtype)
        self.levels[var] = self.scopes[-1].level
        self.scopes[-1].body.append(Declare(var, value))
        return var

    def declare_before(self, value: Const) -> Var:
        """A mutable scalar of the scope around the innermost open loop, declared before that."""
        var, scope = self._fresh(value.dtype), self.scopes[-2]
        self.levels[var] = scope.level
        scope.body.append(Declare(var, value))
        return var

    def assign(self, var: Var, value: Value) -> None:
        self.scopes[-1].body.append(Assign(var, value))

    def accumulate(self, var: Var, primitive: str, value: Value) -> None:
        self.scopes[-1].body.append(Accumulate(var, primitive, value))

    def read(self, var: Var) -> Value:
        """The current value of a declared scalar, as a value that later writes do not change."""
        fresh = self._fresh(var.dtype)
        self.levels[fresh] = self.scopes[-1].level
        self.scopes[-1].body.append(Let(fresh, CAST + var.dtype.short, (var,)))
        return fresh

    @contextmanager
    def loop(self, extent: Size, parallel: bool = False) -> Iterator[Var]:
        """A loop over 0 <= var < extent; statements inside go to its body."""
        scope = Scope(len(self.scopes))
        var = self._fresh(int64, "i")
        self.levels[var] = scope.level
        self.extents[var] = extent
        self.scopes.append(scope)
        yield var
        self.scopes.pop()
        self.scopes[-1].body.append(For(var, extent, scope.body, parallel))

    # -- scopes ------------------------------------------------------------------------------------
    def _scope_of(self, args: tuple[Value, ...]) -> Scope:
        levels = [self.levels[a] for a in args if isinstance(a, Var)]
        return self.scopes[max(levels, default=0)]

    def _known(self, key: Any) -> Any:
        for scope in reversed(self.scopes):
            if key in scope.known:
                return scope.known[key]
        return None

    def _define(self, key: Any, scope: Scope, dtype: DType) -> Var:
        var = self._fresh(dtype)
        self.levels[var] = scope.level
        scope.known[key] = var
        return var

    def _fresh(self, dtype: DType, letter: str = "v") -> Var:
        self.count += 1
        return Var(f"{letter}{self.count}", dtype)


def _is_zero(value: Value) -> bool:
    """Whether it is 0 with no sign."""
    return isinstance(value, Const) and value.value.tobytes() == bytes(value.value.nbytes)


def _identity(value: Value) -> Any:
    if isinstance(value, Var):
        return value
    return (value.dtype, value.value.tobytes())


def cast_target(primitive: str) -> DType | None:
    """The dtype that a cast primitive converts to, or None for any other primitive."""
    return BY_SHORT[primitive.removeprefix(CAST)] if primitive.startswith(CAST) else None
