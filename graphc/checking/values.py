"""When two evaluations of one graph agree.

Integers, bools, shapes, dtypes, NaN and infinities: exactly. Floats: by how far the meaning itself
moves when every operation that may round otherwise (transcendental functions, sums, products of
matrices) gives results a few units in the last place away. That is an error bound which knows the
conditioning of the graph: cancellation, kinks and steps widen it only for the elements behind them,
and an element that no rounding can reach is compared exactly. It is measured only for elements that
differ.

Random roundings hit an inequality half of the time, and an exact equality never: whether x == y,
sign(x) == 0 or 1/x is infinite may depend on one rounding out of millions. One more evaluation is
therefore directed: wherever an operand is an integer, or equal to its fellow, up to the spread that
was seen there, it is taken to be just that.

A `stable` rule may give what is nearer to the truth, or finite where the formula as written is not:
then the meaning in extended precision (80-bit floats) decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from graphc.errors import LinAlgError
from graphc.ir import evaluate as evaluation
from graphc.ir.evaluate import computing, evaluate_graph
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor
from graphc.ir.op import Fact, Kind
from graphc.loops.primitives import complex_number
from graphc.ops.closure import numbered
from graphc.ops.complex import imag, real
from graphc.passes.chains import reorder_products
from graphc.rewrite.driver import apply_rules
from graphc.rewrite.rules.contract import contract

Array = np.ndarray[Any, Any]
Dims = Mapping[str, int]

SHAKES = 12  # evaluations with other roundings
AMPLITUDE = 8.0  # units in the last place by which they differ, at most
MARGIN = 4.0  # times the spread that these evaluations show
# In place of an infinity, where a limit is looked for: beyond float64 where there are 80 bits.
HUGE = np.longdouble("1e1000") if np.finfo(np.longdouble).maxexp > 4096 else np.longdouble(1e300)


def differences(
    graph: Graph,
    arrays: Sequence[Array],
    expected: Sequence[Array],
    actual: Sequence[Array],
    dims: Dims | None = None,
    explained: Counter[str] | None = None,
) -> list[str]:
    """What differs between the meaning of a graph and another evaluation of it, result by result.

    `dims`: the named dims, where the arrays do not give them. `explained` counts the results that
    differ for a reason other than the last places of a float, by the reason.
    """
    unequal = [i for i, pair in enumerate(zip(expected, actual, strict=True)) if not _same(*pair)]
    if not unequal:
        return []
    if any(e.dtype.kind == "c" and e.dtype == actual[i].dtype for i, e in enumerate(expected)):
        graph, expected, actual = _in_parts(graph, expected, actual)
        return differences(graph, arrays, expected, actual, dims, explained)
    roundings = _Roundings(graph, arrays, dims)
    reasons: Counter[str] = Counter()
    found = []
    for i in unequal:
        e, a = expected[i], actual[i]
        if e.dtype != a.dtype or e.shape != a.shape:
            found.append(f"result {i}: {a.dtype}{a.shape}, not {e.dtype}{e.shape}")
            continue
        near = _near(e, a, [other[i] for other in roundings.shaken])
        wrong = ~(near | _same_elements(e, a))
        for reason, allowed in _explanations(roundings, i, e, a):
            if np.any(wrong & allowed):
                reasons[reason] += 1
            wrong &= ~allowed
            if not np.any(wrong):
                break
        if np.any(wrong):
            found.append(_describe(i, e, a, wrong, [other[i] for other in roundings.shaken[:2]]))
    if explained is not None:
        explained += reasons
    return found


def _in_parts(
    graph: Graph, expected: Sequence[Array], actual: Sequence[Array]
) -> tuple[Graph, list[Array], list[Array]]:
    """The same with a result for each part of a complex one."""
    results: list[Tensor] = []
    pairs: list[tuple[Array, Array]] = []
    for t, e, a in zip(graph.results, expected, actual, strict=True):
        split = t.dtype.is_complex and e.dtype == a.dtype
        results += (real(t), imag(t)) if split else (t,)
        pairs += ((e.real, a.real), (e.imag, a.imag)) if split else ((e, a),)
    parts = Graph(graph.inputs, results, name=graph.name)
    return parts, [e for e, _ in pairs], [a for _, a in pairs]


def _explanations(roundings: _Roundings, i: int, e: Array, a: Array) -> Any:
    """Reasons that a difference may have, each with the elements for which it holds; later ones
    cost more."""
    others = [other[i] for other in roundings.shaken]
    yield "a rounding decides a step", _moved(e, others)
    others += [other[i] for other in roundings.snapped]
    yield "a rounding decides an equality", _moved(e, others) | _near(e, a, others)
    wide = roundings.extended[i]
    yield "it is the extended value", _is_meant(a, wide)
    if e.dtype.kind == "f":
        if roundings.has_infinities and np.any(np.isnan(e)):
            yield "it is the limit at an infinity", np.isnan(e) & _is_meant(a, roundings.limit[i])
        yield "it is nearer to the extended value", _is_better(a, e, wide)
        yield "an intermediate overflow depends on the order", _has_overflowed(a, e, wide)
        if roundings.extended_overflows:
            unknown = np.asarray(~np.isfinite(e) & ~np.isfinite(wide))
            yield "not even the extended value is finite on the way", unknown
        if not np.all(np.isfinite(e)):
            meant, *others = [other[i] for other in roundings.reordered]
            allowed = _near(meant, a, others) | _same_elements(meant, a)
            yield "what is not finite depends on the order of products", allowed


def _describe(i: int, e: Array, a: Array, wrong: Array, others: Sequence[Array]) -> str:
    where = tuple(int(p) for p in np.argwhere(wrong)[0])
    spread = [str(other[where]) for other in others]
    return (
        f"result {i} {e.dtype}{e.shape}: {int(wrong.sum())} of {wrong.size} elements, "
        f"first at {where}: {a[where]!r}, not {e[where]!r} (other roundings: {spread})"
    )


# -- two arrays ------------------------------------------------------------------------------------
def _same(expected: Array, actual: Array) -> bool:
    if expected.dtype != actual.dtype or expected.shape != actual.shape:
        return False
    return bool(np.array_equal(expected, actual, equal_nan=expected.dtype.kind in "fc"))


def _same_elements(expected: Array, actual: Array) -> Array:
    return np.asarray((expected == actual) | ((expected != expected) & (actual != actual)))


def _near(expected: Array, actual: Array, others: Sequence[Array]) -> Array:
    """Where two finite floats are as near as rounding allows."""
    if expected.dtype.kind != "f":
        return np.zeros(expected.shape, bool)
    with np.errstate(all="ignore"):
        spread = np.max([np.abs(o.astype(np.float64) - expected) for o in others], axis=0)
        near = np.abs(actual.astype(np.float64) - expected) <= MARGIN * spread
    return np.asarray(np.isfinite(expected) & np.isfinite(actual) & near)


def _moved(expected: Array, others: Sequence[Array]) -> Array:
    """Where other roundings give another integer or bool, or a float of another kind."""
    if expected.dtype.kind != "f":
        return np.asarray(np.any([o != expected for o in others], axis=0))
    kind = _kind(expected)
    return np.asarray(np.any([_kind(o) != kind for o in others], axis=0))


def _kind(values: Array) -> Array:
    """0 for finite floats, 1 and -1 for infinities, 2 for NaN."""
    infinite = np.where(np.isinf(values), np.copysign(1, values), 0)
    return np.asarray(np.where(np.isnan(values), 2, infinite))


def _is_meant(actual: Array, wide: Array) -> Array:
    """Where `actual` is the extended value, rounded to its dtype: no overflow on the way to it."""
    with np.errstate(all="ignore"):
        return _same_elements(wide.astype(actual.dtype), actual)


def _has_overflowed(actual: Array, expected: Array, wide: Array) -> Array:
    """Where a finite value overflowed on the way: to infinity or, by inf - inf, to NaN; which of
    them depends on the order of a sum, and that is free."""
    return np.asarray(~np.isfinite(actual) & ~np.isfinite(expected) & np.isfinite(wide))


def _is_better(actual: Array, expected: Array, wide: Array) -> Array:
    """Where `actual` is as near to the extended value as `expected` is, or nearer."""
    with np.errstate(all="ignore"):
        error, allowed = np.abs(actual - wide), 2 * np.abs(expected - wide)
        allowed += AMPLITUDE * np.finfo(actual.dtype).eps * np.abs(wide)
    return np.asarray(np.isfinite(actual) & np.isfinite(wide) & ~(error > allowed))


# -- other evaluations of a graph ------------------------------------------------------------------
class _Roundings:
    """The results of a graph with other roundings; each kind is evaluated when first asked for."""

    def __init__(self, graph: Graph, arrays: Sequence[Array], dims: Dims | None) -> None:
        self.graph, self.arrays, self.dims = graph, arrays, dims
        self.extended_overflows = False  # known once `extended` was asked for

    @cached_property
    def shaken(self) -> list[list[Array]]:
        return self._shakes_of(self.graph)

    @cached_property
    def snapped(self) -> list[list[Array]]:
        return snapped(self.graph, self.arrays, self.dims)

    @cached_property
    def reordered(self) -> list[list[Array]]:
        """With chains of products in the order that the compiler takes, exactly and shaken: where
        elements are not finite, the order decides which results are not. A transposed product is
        one of a chain by a rule."""
        graph = reorder_products(apply_rules(self.graph, contract))
        return [evaluate_graph(graph, self.arrays, self.dims), *self._shakes_of(graph)]

    @cached_property
    def extended(self) -> list[Array]:
        extended = _Extended()
        results = extended.results(self.graph, self.arrays, self.dims)
        self.extended_overflows = extended.overflows
        return results

    @cached_property
    def has_infinities(self) -> bool:
        return any(
            a.dtype.kind == "f" and np.any(np.isinf(a)) for a in map(np.asarray, self.arrays)
        )

    @cached_property
    def limit(self) -> list[Array]:
        """The extended values with numbers in place of infinities that are larger than what the
        graph's dtypes hold: to what a NaN of infinite operands may become by a stable rule."""
        wide = [_widen(np.asarray(a)) for a in self.arrays]
        given = [
            np.where(np.isinf(a), np.copysign(HUGE, a), a) if a.dtype.kind == "f" else a
            for a in wide
        ]
        return _Extended().results(self.graph, given, self.dims)

    def _shakes_of(self, graph: Graph) -> list[list[Array]]:
        return [shaken(graph, self.arrays, seed, self.dims) for seed in range(SHAKES)]


def shaken(
    graph: Graph, arrays: Sequence[Array], seed: int, dims: Dims | None = None
) -> list[Array]:
    """The meaning of a graph with other roundings."""
    with computing(_Shaking(seed).compute):
        return evaluate_graph(graph, arrays, dims)


_ROUNDING = {
    Kind.REDUCE, Kind.RUNNING, Kind.CONTRACT, Kind.CONVOLVE, Kind.COMPOSITE, Kind.HOST,
}  # fmt: skip


def _definition(node: Node) -> Graph:
    """What a composite op is in other ones, over placeholders."""
    inputs = numbered("x", (t.type for t in node.inputs))
    assert node.op.expand is not None
    made = node.op.expand(*inputs, **node.attrs)
    return Graph(inputs, [made] if isinstance(made, Tensor) else made)


class _Shaking:
    """Gives the results of what may round otherwise a few units in the last place away."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def compute(self, node: Node, values: Sequence[Array], sizes: Dims) -> list[Array]:
        exact = evaluation.compute
        if node.op.failure is LinAlgError:
            moved = [self.shake_matrix(v) for v in values]
            return [self.shake_matrix(a) for a in exact(node, moved, sizes)]
        if Fact.CANCELS in node.op.facts:
            return evaluate_graph(_definition(node), values, sizes)
        if node.op.kind in _ROUNDING or Fact.ROUNDS in node.op.facts:
            if Fact.EXACT in node.op.facts:
                return exact(node, values, sizes)
            return [self.shake(a) for a in exact(node, [self.shake(v) for v in values], sizes)]
        found = exact(node, values, sizes)
        rounds = Fact.ELEMENTWISE in node.op.facts and Fact.EXACT not in node.op.facts
        return [self.shake(a) for a in found] if rounds else found

    def shake(self, a: Array) -> Array:
        if a.dtype.kind == "c":
            return np.asarray(complex_number(self.shake(a.real), self.shake(a.imag)))
        if a.dtype.kind != "f":
            return a
        noise = self.rng.uniform(-AMPLITUDE, AMPLITUDE, a.shape) * np.finfo(a.dtype).eps
        with np.errstate(all="ignore"):
            moved = np.asarray((a * (1 + noise)).astype(a.dtype))
        unknown = np.isnan(moved)
        if unknown.any():  # the sign of a NaN is as free as a rounding (IEEE 754-2019, 6.3)
            signs = np.asarray(noise, moved.dtype)
            moved = np.where(unknown, np.copysign(moved, signs), moved)
        return moved

    def shake_matrix(self, a: Array) -> Array:
        """As the errors of LAPACK's routines are: small beside the largest element of a matrix, or
        of a vector of eigenvalues."""
        if a.dtype.kind != "f" or a.ndim < 1 or not np.isfinite(a).all() or not a.size:
            return self.shake(a)
        largest = np.abs(a).max(axis=(-2, -1) if a.ndim > 1 else -1, keepdims=True)
        noise = self.rng.uniform(-AMPLITUDE, AMPLITUDE, a.shape) * np.finfo(a.dtype).eps
        return np.asarray((a + largest * noise).astype(a.dtype))


class _Visits:
    """What an evaluation saw, visit by visit of each node: the results of its steps, the operands
    of what may jump, and how far these spread under other roundings while every step stays."""

    def __init__(self) -> None:
        self.steps: dict[tuple[Node, int], list[Array]] = {}
        self.operands: dict[tuple[Node, int], list[Array]] = {}
        self.spread: dict[tuple[Node, int], list[Array]] = {}
        self.count: Counter[Node] = Counter()

    def visit(self, node: Node) -> tuple[Node, int]:
        """The key of this visit of the node, in an evaluation that began with `count` empty."""
        self.count[node] += 1
        return node, self.count[node]

    def recording(self, inner: evaluation.Compute) -> evaluation.Compute:
        """`inner`, recorded; what is a step gives what it gave the first time."""

        def compute(node: Node, values: Sequence[Array], sizes: Dims) -> list[Array]:
            key = self.visit(node)
            if _may_jump(node):
                self.record(key, values)
            found = inner(node, values, sizes)
            first = self.steps.setdefault(key, found)
            if len(first) == len(found) and _is_step(node):
                return first
            return found

        return compute

    def record(self, key: tuple[Node, int], operands: Sequence[Array]) -> None:
        seen = self.operands.setdefault(key, list(operands))
        with np.errstate(all="ignore"):
            moved = [
                np.nan_to_num(np.abs(_double(a) - b), nan=0.0)
                for a, b in zip(seen, operands, strict=True)
            ]
        before = self.spread.get(key, moved)
        self.spread[key] = [np.maximum(a, b) for a, b in zip(before, moved, strict=True)]


def _double(a: Array) -> Array:
    return a.astype(complex if a.dtype.kind == "c" else float)


def snapped(graph: Graph, arrays: Sequence[Array], dims: Dims | None = None) -> list[list[Array]]:
    """The meaning of a graph where operands that are an integer, or equal, up to rounding are just
    that; and the same with other roundings elsewhere."""
    visits = _Visits()
    computes = [evaluation.compute, *(_Shaking(seed).compute for seed in range(SHAKES))]
    for inner in computes:
        visits.count.clear()
        with computing(visits.recording(inner)):
            evaluate_graph(graph, arrays, dims)

    def snapping(inner: evaluation.Compute) -> evaluation.Compute:
        def compute(node: Node, values: Sequence[Array], sizes: Dims) -> list[Array]:
            key = visits.visit(node)
            if _may_jump(node):
                values = _snap(node, values, visits.spread.get(key))
            return inner(node, values, sizes)

        return compute

    found = []
    for inner in computes:
        visits.count.clear()
        with computing(snapping(inner)):
            found.append(evaluate_graph(graph, arrays, dims))
    return found


def _may_jump(node: Node) -> bool:
    """Whether a scalar function of floats jumps, or has no finite value, at a single point."""
    jumps = Fact.JUMPS in node.op.facts or Fact.COMPARES in node.op.facts
    return jumps and any(t.dtype.is_float for t in node.inputs)


def _is_step(node: Node) -> bool:
    """Whether the results jump: integers and bools, and floats that are whole numbers."""
    return Fact.WHOLE in node.op.facts or not any(t.dtype.has_derivative for t in node.types)


def _snap(node: Node, values: Sequence[Array], spread: Sequence[Array] | None) -> list[Array]:
    given = list(values)
    if spread is None or any(v.shape != s.shape for v, s in zip(given, spread, strict=True)):
        return given
    with np.errstate(all="ignore"):
        if Fact.COMPARES in node.op.facts:
            x, y = given
            near = np.abs(x - y) <= MARGIN * (spread[0] + spread[1])
            return [
                np.asarray(np.where(near, y, x)).astype(x.dtype),
                np.broadcast_to(y, near.shape),
            ]
        for i, value in enumerate(given):
            if value.dtype.kind == "f":
                whole = np.rint(value)
                near = np.abs(value - whole) <= MARGIN * spread[i]
                given[i] = np.asarray(np.where(near, whole, value)).astype(value.dtype)
    return given


def extended(graph: Graph, arrays: Sequence[Array], dims: Dims | None = None) -> list[Array]:
    """The meaning of a graph with floats in 80 bits (linear algebra, extrema: their own)."""
    return _Extended().results(graph, arrays, dims)


class _Extended:
    """An evaluation in 80 bits, and whether their range was too small for a value on the way."""

    def __init__(self) -> None:
        self.overflows = False

    def results(self, graph: Graph, arrays: Sequence[Array], dims: Dims | None) -> list[Array]:
        with computing(self.compute):
            return evaluate_graph(graph, [_widen(np.asarray(a)) for a in arrays], dims)

    def compute(self, node: Node, values: Sequence[Array], sizes: Dims) -> list[Array]:
        found = _compute_extended(node, values, sizes)
        may_be = node.op.kind is Kind.LEAF or Fact.POLE in node.op.facts
        if not may_be and all(np.all(np.isfinite(v)) for v in values):
            floats = [a for a in found if a.dtype.kind == "f"]
            self.overflows |= any(np.any(np.isinf(a)) for a in floats)
            self.overflows |= Fact.POSITIVE in node.op.facts and any(np.any(a == 0) for a in floats)
        return found


def _widen(a: Array) -> Array:
    return a.astype(np.longdouble) if a.dtype.kind == "f" else a


@np.errstate(all="ignore")
def _compute_extended(node: Node, values: Sequence[Array], sizes: Dims) -> list[Array]:
    facts = node.op.facts
    if node.op.kind in (Kind.HOST, Kind.LEAF) or Fact.CHOOSES in facts:
        narrow = [v.astype(t.dtype.numpy) for v, t in zip(values, node.inputs, strict=True)]
        return [_widen(a) for a in evaluation.compute(node, narrow, sizes)]
    attrs = {k: evaluation.bound(v, sizes) for k, v in node.attrs.items()}
    if node.op.kind in (Kind.CONTROL, Kind.REGION):
        attrs["sizes"] = sizes
    if Fact.CONVERTS in facts and node.types[0].dtype.is_float:
        return [values[0].astype(np.longdouble)]
    if node.op.numpy is None:
        return evaluation.compute(node, values, sizes)
    found = node.op.numpy(*values, **attrs)
    return [_widen(np.asarray(a)) for a in (found if isinstance(found, tuple) else (found,))]
