"""Which elements of a result depend on which elements of an input, by structure.

One walk over a graph; each tensor is known (an array), depends on some elements (a sparse matrix
of truth values, a row for each of its elements), or neither. What an op reads for an element, its
own kernel says: it is run once for all elements, with arrays of positions as indices and, as
values, what is known of them and what they depend on. So there is nothing about any particular op
here. What has no kernel is taken to depend, with every element, on all that its operands depend on.

This is asked of derivatives, which are linear in the input: what they do not depend on is zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from graphc.ir.dtype import DType, bool_, int64
from graphc.ir.evaluate import compute
from graphc.ir.graph import walk
from graphc.ir.node import Node, Tensor
from graphc.ir.op import Fact, Kind
from graphc.ir.shape import TensorType
from graphc.loops.primitives import PRIMITIVES, result_type

Array = np.ndarray[Any, Any]
KNOWN = 1 << 22  # elements of an array that is computed to be known
STEPS = 1000  # of a loop that is looked at step by step


class State(NamedTuple):
    """What is known of a tensor, and what its elements, in C order, depend on."""

    known: Array | None = None
    rows: Any = None  # a SciPy matrix in CSR form


def dependencies(outputs: Sequence[Tensor], x: Tensor) -> list[Any]:
    """For each output a matrix in CSR form, true where an element of it (the row) may depend on an
    element of x (the column); None for one that depends on none.

    All sizes are static. Elements are in C order.

    >>> import graphc as gc
    >>> x = gc.placeholder("x", (4,))
    >>> dependencies([x[1:] * x[:-1]], x)[0].toarray().astype(int)
    array([[1, 1, 0, 0],
           [0, 1, 1, 0],
           [0, 0, 1, 1]])
    """
    from scipy.sparse import identity

    size = math.prod(map(int, x.shape))
    states = _walk(outputs, {x: State(rows=identity(size, bool, format="csr"))}, size)
    return [states[t].rows for t in outputs]


def _walk(
    outputs: Sequence[Tensor], given: Mapping[Tensor, State], size: int
) -> dict[Tensor, State]:
    states = dict(given)
    for node in walk(outputs, given):
        found = _of_node(node, [states[t] for t in node.inputs], size)
        for t, state in zip(node.outputs, found, strict=True):
            states.setdefault(t, state)
    return states


def _of_node(node: Node, inputs: Sequence[State], size: int) -> Sequence[State]:
    if not any(state.rows is not None for state in inputs):
        return _computed(node, inputs)
    kind = node.op.kind
    if kind is Kind.VIEW:
        return [inputs[0]]
    if kind is Kind.MAP and node.op.at is not None:
        return [State(rows=_of_elements(node, inputs, size))]
    if kind is Kind.REDUCE:
        return [State(rows=_of_reduction(node, inputs, size))] * len(node.types)
    if kind is Kind.RUNNING:
        return [State(rows=_of_running(node, inputs))]
    if Fact.LOOP in node.op.facts and int(node.attrs["length"]) <= STEPS:
        return _of_loop(node, inputs, size)
    meaning = node.op.expand if kind is Kind.COMPOSITE else node.op.written_out
    if meaning is not None:
        smaller = meaning(*node.inputs, **node.attrs)
        if smaller is not None:
            results = [smaller] if isinstance(smaller, Tensor) else list(smaller)
            states = _walk(results, dict(zip(node.inputs, inputs, strict=True)), size)
            return [states[t] for t in results]
    every = _on_all([state.rows for state in inputs if state.rows is not None], size)
    return [State(rows=_repeated(every, t)) for t in node.types]


def _computed(node: Node, inputs: Sequence[State]) -> Sequence[State]:
    """The values of what is made of constants, as long as they are not too many."""
    arrays = [state.known for state in inputs if state.known is not None]
    elements = sum(math.prod(map(int, t.shape)) for t in node.types)
    leaf = node.op.kind is Kind.LEAF
    if len(arrays) < len(inputs) or elements > KNOWN or not node.op.is_pure:
        return [State()] * len(node.types)
    if leaf and node.op.numpy is None:
        return [State()]
    return [State(known=array) for array in compute(node, arrays, {})]


# -- values that are known, or depend on something ------------------------------------------------
class Value:
    """What an op's kernel computes with, for every element at once."""

    __slots__ = ("dtype", "known", "rows")

    def __init__(self, dtype: DType, known: Any = None, rows: Any = None) -> None:
        self.dtype, self.known, self.rows = dtype, known, rows


class _Anywhere:
    """An index that is not known."""

    def _itself(self, other: object = None) -> _Anywhere:
        return self

    __add__ = __radd__ = __sub__ = __mul__ = __rmul__ = __neg__ = _itself


_ANYWHERE = _Anywhere()


class _Builder:
    """The builder of kernels that ops' `at` is given, over all `count` elements at once."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.guard: Any = None  # None, or where elements are read

    def const(self, value: Any, dtype: DType) -> Value:
        return Value(dtype, np.asarray(value).astype(dtype.numpy))

    def number(self, index: Any) -> Value:
        return Value(int64, None if index is _ANYWHERE else np.asarray(index, np.int64))

    def is_nonnegative(self, index: Any) -> bool:
        """Nothing is said beforehand: every place is looked at."""
        return False

    def size(self, size: Any) -> Value:
        return self.number(int(size))

    def index(self, value: Value) -> Any:
        return _ANYWHERE if value.known is None else value.known.astype(np.int64)

    def cast(self, x: Value, dtype: DType) -> Value:
        with np.errstate(all="ignore"):
            return Value(dtype, None if x.known is None else x.known.astype(dtype.numpy), x.rows)

    def where(self, condition: Value, x: Value, y: Value) -> Value:
        return self.prim("select", condition, x, y)

    def is_nan(self, x: Value) -> Value:
        return self.prim("not_equal", x, x) if x.dtype.is_float else self.const(False, bool_)

    def fail_if(self, condition: Value, message: str) -> None:
        """What fails gives no derivative."""

    @contextmanager
    def guarded(self, condition: Value) -> Iterator[None]:
        outer = self.guard
        if condition.known is not None:
            self.guard = condition.known if outer is None else outer & condition.known
        yield
        self.guard = outer

    def prim(self, name: str, *args: Value) -> Value:
        dtype = result_type(name, *(a.dtype for a in args))
        if all(a.known is not None for a in args):
            with np.errstate(all="ignore"):
                return Value(dtype, PRIMITIVES[name].numpy(*(a.known for a in args)))
        if name == "select" and args[0].known is not None:
            here = args[0].known
            parts = self._kept(args[1].rows, here), self._kept(args[2].rows, ~here)
            return Value(dtype, None, _either(*parts))
        if name == "multiply":
            x, y = args
            parts = self._kept(x.rows, _not_zero(y)), self._kept(y.rows, _not_zero(x))
            return Value(dtype, None, _either(*parts))
        return Value(dtype, None, _either(*(a.rows for a in args)))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args: self.prim(name, *args)

    def _kept(self, rows: Any, where: Any) -> Any:
        """`rows` where a condition holds; all of them, where there is none."""
        if rows is None or where is None:
            return rows
        return _only(rows, np.broadcast_to(where, self._count))

    def read(self, state: State, type: TensorType, index: tuple[Any, ...]) -> Value:
        """The elements of a tensor at a place for each of ours; 0 where the guard does not hold."""
        unknown = tuple(axis for axis, i in enumerate(index) if i is _ANYWHERE)
        shape = tuple(map(int, type.shape))
        places = [np.zeros(self._count, np.int64)] * len(index)
        for axis, i in enumerate(index):
            if axis not in unknown:
                inside = np.clip(i, 0, max(shape[axis] - 1, 0))
                places[axis] = np.broadcast_to(inside, self._count)
        flat = np.zeros(self._count, np.int64)
        for size, place in zip(shape, places, strict=True):
            flat = flat * size + place
        if 0 in shape:
            return Value(type.dtype)
        known = None
        if state.known is not None and not unknown:
            known = state.known.reshape(-1)[flat]
            if self.guard is not None:
                known = np.where(self.guard, known, known.dtype.type(0))
        if state.rows is None:
            return Value(type.dtype, known)
        rows = (_spread_over(state.rows, shape, unknown) if unknown else state.rows)[flat]
        return Value(type.dtype, None, self._kept(rows, self.guard))


def _not_zero(x: Value) -> Any:
    return None if x.known is None else x.known != 0


class _Operand:
    """An input in a kernel."""

    def __init__(self, k: _Builder, state: State, type: TensorType) -> None:
        self._k, self._state, self.type = k, state, type

    def __call__(self, index: tuple[Any, ...]) -> Value:
        return self._k.read(self._state, self.type, index)


def _operands(k: _Builder, node: Node, inputs: Sequence[State]) -> list[_Operand]:
    return [_Operand(k, state, t.type) for t, state in zip(node.inputs, inputs, strict=True)]


def _places(shape: Sequence[Any]) -> tuple[int, tuple[Array, ...]]:
    """The number of elements of a shape, and the index of each, axis by axis."""
    sizes = tuple(map(int, shape))
    indices = np.indices(sizes, np.int64).reshape(len(sizes), -1) if sizes else ()
    return math.prod(sizes), tuple(indices)


# -- kinds of nodes --------------------------------------------------------------------------------
def _of_elements(node: Node, inputs: Sequence[State], size: int) -> Any:
    (out,) = node.types
    count, index = _places(out.shape)
    k = _Builder(count)
    assert node.op.at is not None
    return node.op.at(k, _operands(k, node, inputs), index, out, **node.attrs).rows


def _of_reduction(node: Node, inputs: Sequence[State], size: int) -> Any:
    reducer, attrs = node.op.reducer, node.attrs
    count, index = _places(reducer.space([t.type for t in node.inputs], **attrs))
    k = _Builder(count)
    operands = _operands(k, node, inputs)
    rows = reducer.element(k, operands, index, **attrs).rows
    target = reducer.target(k, operands, index, **attrs)
    out = node.types[0]
    if rows is None:
        return None
    if any(i is _ANYWHERE for i in target):
        return _repeated(_on_all([rows], size), out)
    return _gathered(rows, target, out.shape)


def _of_running(node: Node, inputs: Sequence[State]) -> Any:
    """Each step has what its own elements depend on, and those of the steps before it."""
    from scipy.sparse import csr_matrix

    shape, axis = tuple(map(int, node.types[0].shape)), node.attrs["axis"]
    count, steps = math.prod(shape), shape[axis]
    lines = np.moveaxis(np.arange(count).reshape(shape), axis, -1).reshape(-1, steps)
    lines = lines[:, ::-1] if node.attrs["reverse"] else lines
    later, earlier = (lines[:, i].reshape(-1) for i in np.tril_indices(steps))
    to = csr_matrix((np.ones(later.size, bool), (later, earlier)), (count, count))
    return to @ _either(*(state.rows for state in inputs))


def _of_loop(node: Node, inputs: Sequence[State], size: int) -> Sequence[State]:
    """Step by step, as the loop runs."""
    body, length = node.attrs["body"], int(node.attrs["length"])
    carries, xs = node.attrs["carries"], node.attrs["xs"]
    state, operands = list(inputs[:carries]), inputs[carries + xs :]
    stepped: list[list[State]] = [[] for _ in range(length)]
    for i in reversed(range(length)) if node.attrs["reverse"] else range(length):
        slices = [_slice(x, i, length) for x in inputs[carries : carries + xs]]
        given = dict(zip(body.inputs, [*state, *slices, *operands], strict=True))
        found = _walk(body.outputs, given, size)
        results = [found[t] for t in body.outputs]
        state, stepped[i] = results[:carries], results[carries:]
    stacked = zip(*stepped, strict=True) if length else [() for _ in body.outputs[carries:]]
    ys = zip(stacked, body.outputs[carries:], strict=True)
    return [*state, *(State(rows=_stacked([s.rows for s in y], t.type, size)) for y, t in ys)]


def _slice(x: State, i: int, length: int) -> State:
    """What a step has of an x."""
    known = None if x.known is None else x.known[i]
    if x.rows is None:
        return State(known)
    count = x.rows.shape[0] // length
    return State(known, x.rows[i * count : (i + 1) * count])


def _stacked(parts: Sequence[Any], step: TensorType, size: int) -> Any:
    from scipy.sparse import csr_matrix, vstack

    if all(rows is None for rows in parts):
        return None
    empty = csr_matrix((math.prod(map(int, step.shape)), size), dtype=bool)
    return vstack([empty if rows is None else rows for rows in parts], format="csr")


# -- matrices of truth values ----------------------------------------------------------------------
def _either(*parts: Any) -> Any:
    present = [rows for rows in parts if rows is not None]
    total = present[0] if present else None
    for rows in present[1:]:
        total = total + rows
    return total


def _only(rows: Any, where: Array) -> Any:
    """`rows`, empty where a truth value for each of them does not hold."""
    from scipy.sparse import csr_matrix

    if where.all():
        return rows
    counts = np.diff(rows.indptr)
    kept = np.repeat(where, counts)
    ends = np.concatenate([[0], np.cumsum(np.where(where, counts, 0))])
    return csr_matrix((rows.data[kept], rows.indices[kept], ends), rows.shape)


def _gathered(rows: Any, target: Sequence[Array], shape: Sequence[Any]) -> Any:
    """For each element of `shape` the union of the rows that go there."""
    from scipy.sparse import csr_matrix

    flat = np.zeros(rows.shape[0], np.int64)
    for extent, place in zip(map(int, shape), target, strict=True):
        flat = flat * extent + place
    count = math.prod(map(int, shape))
    ones = np.ones(rows.shape[0], bool)
    to = csr_matrix((ones, (flat, np.arange(rows.shape[0]))), (count, rows.shape[0]))
    return to @ rows


def _spread_over(rows: Any, shape: tuple[int, ...], axes: tuple[int, ...]) -> Any:
    """Every element depends on what any does that differs from it by its place along `axes`."""
    count, index = _places(shape)
    folded = tuple(i * 0 if a in axes else i for a, i in enumerate(index))
    union = _gathered(rows, folded, shape)
    flat = np.zeros(count, np.int64)
    for extent, place in zip(shape, folded, strict=True):
        flat = flat * extent + place
    return union[flat]


def _on_all(parts: Sequence[Any], size: int) -> Any:
    """One row: the union of all rows."""
    from scipy.sparse import csr_matrix

    found = np.zeros(size, bool)
    for rows in parts:
        found[rows.indices] = True
    return csr_matrix(found.reshape(1, size))


def _repeated(row: Any, like: TensorType) -> Any:
    return row[np.zeros(math.prod(map(int, like.shape)), np.int64)]
