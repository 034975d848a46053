"""Certificates: what shows that a rule keeps its promise, run by the tests for every rule.

`certify(rule)` makes programs that the rule rewrites (from its formulas, in every order of
commutative operands; or from examples, for a rule that computes attributes) and holds the rewritten
program to the original one:

| promise | shown on                                     | held to                                |
|---------|----------------------------------------------|----------------------------------------|
| exact   | every float16 value (one operand), or the    | the same bits, any NaN for a NaN       |
|         | special values (several), integers' edges    |                                        |
| stable  | values over the whole range of the dtype,    | the original in extended precision     |
|         | every tuple of special values                |                                        |
| order   | random values of mixed magnitudes, zeros,    | the same, within 8 sqrt(n) eps sum |x| |
|         | infinities and NaN                           |                                        |
| unsafe  | positive values of ordinary size             | 16 eps max(1, |truth|)                 |

SymPy certifies nothing here: it has no NaN, no order of operations, and `(x + y) - x` is y to it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import mpmath
import numpy as np

from graphc.errors import GraphError
from graphc.ir.dim import evaluate as evaluate_size
from graphc.ir.dim import named
from graphc.ir.dtype import COMPLEX, DTYPES, DType
from graphc.ir.evaluate import evaluate_graph
from graphc.ir.graph import Graph, walk
from graphc.ir.node import Tensor
from graphc.ir.op import Fact, Kind
from graphc.loops.primitives import complex_number
from graphc.ops.leaf import placeholder
from graphc.rewrite.driver import RewriteReport, apply_rules
from graphc.rewrite.extended import extended_values
from graphc.rewrite.pattern import build, orders, variables
from graphc.rewrite.ruleset import Promise, Rule, Ruleset

Array: TypeAlias = np.ndarray[Any, Any]
Example: TypeAlias = Callable[[DType], Tensor]  # a program over placeholders that the rule rewrites

_ROWS = 60  # of special values
_EXTENDED = 300  # points at which a formula is evaluated in extended precision
_ULPS = 3.0  # small, whatever it was before: NumPy's own float32 exp may be 2.5 off
_REDUCED_ULPS = 8.0  # the same for results of reductions, in units of the largest result


@dataclass(frozen=True)
class Certificate:
    """What was checked. `before` and `after` are the largest errors met, in units in the last
    place; `worse` the largest amount by which a single result got further from the truth."""

    rule: str
    programs: int
    points: int
    before: float = 0.0
    after: float = 0.0
    worse: float = 0.0

    def __str__(self) -> str:
        measured = f"{self.before:.3g} -> {self.after:.3g} ulp" if self.after else "bit-equal"
        return f"{self.rule}: {self.programs} programs, {self.points} points, {measured}"


def certify(rule: Rule, examples: Sequence[Example] = (), dtypes: str = "") -> Certificate:
    """The certificate of `rule`, from its formulas and from `examples` (made for each dtype).

    `dtypes`: short names of the dtypes that the examples take, f32 and f64 by default.
    Errors: `GraphError` with the operands where the promise is broken, or if the rule does not
    apply to a program made for it.
    """
    check = {
        Promise.EXACT: _exact,
        Promise.STABLE: _stable,
        Promise.ORDER: _order,
        Promise.UNSAFE: _unsafe,
    }[rule.promise]
    programs = [*_from_formulas(rule), *_from_examples(examples, dtypes)]
    if not programs:
        raise _broken(rule, "there is no program to show it on")
    found: list[Certificate] = []
    for before in programs:
        report = RewriteReport()
        after = apply_rules(before, Ruleset(rule.ruleset, [rule]), report=report)
        if not report.firings:
            raise _broken(rule, f"it does not rewrite\n{before}")
        with np.errstate(all="ignore"):
            found.append(check(rule, before, after))
    return _together(str(rule), found)


def _together(rule: str, found: Sequence[Certificate]) -> Certificate:
    return Certificate(
        rule,
        sum(c.programs for c in found),
        sum(c.points for c in found),
        max(c.before for c in found),
        max(c.after for c in found),
        max(c.worse for c in found),
    )


def _broken(rule: Rule, what: str, expected: str = "", given: str = "") -> GraphError:
    return GraphError(
        f"the rule breaks its promise to be {rule.promise.value}: {what}",
        op=str(rule),
        expected=expected,
        given=given,
        where=rule.place,
        hint=rule.doc,
    )


# -- programs --------------------------------------------------------------------------------------
def _from_formulas(rule: Rule) -> Iterator[Graph]:
    """The left side over vectors, for each dtype and order of operands; none for a rule that
    computes attributes or asks for more than its formulas say."""
    if rule.formulas is None or rule.guarded or variables(rule.formulas[0])[1]:
        return
    for form in orders(rule.formulas[0]):
        for kinds in _choices(sorted(set(rule.kinds.values()))):
            inputs = {
                name: placeholder(name, ("n",), kinds[allowed])
                for name, allowed in rule.kinds.items()
            }
            result = build(form, inputs, next(iter(inputs.values())).dtype)
            yield Graph(inputs.values(), [result], name=rule.name)


def _choices(groups: Sequence[str]) -> Iterator[dict[str, DType]]:
    """One dtype for each group of allowed kinds, in every combination."""
    options = [[d for d in (*DTYPES, *COMPLEX) if d.kind in allowed] for allowed in groups]
    for chosen in itertools.product(*options):
        yield dict(zip(groups, chosen, strict=True))


def _from_examples(examples: Iterable[Example], dtypes: str) -> Iterator[Graph]:
    for example, dtype in itertools.product(examples, DTYPES):
        if dtype.short in (dtypes.split() or ("f32", "f64")):
            result = example(dtype)
            inputs = [n.output() for n in walk([result]) if Fact.INPUT in n.op.facts]
            yield Graph(inputs, [result], name="example")


# -- operands --------------------------------------------------------------------------------------
def special_values(dtype: DType) -> Array:
    """Where rules go wrong: zeros, subnormals, neighbours of 1, edges, infinities, NaN."""
    if dtype.kind == "b":
        return np.array([False, True])
    if dtype.is_complex:
        x, y = np.meshgrid(*[special_values(dtype.part)] * 2)
        return np.asarray(complex_number(x, y)).ravel()
    if dtype.is_integer:
        info = np.iinfo(dtype.numpy)
        values = {0, 1, 2, 3, 7, 64, 100, info.max // 2, info.max - 1, info.max}
        signed = {-v for v in values} | {info.min, info.min + 1} if info.min < 0 else set()
        return np.array(sorted(values | signed), dtype.numpy)
    limits = np.finfo(dtype.numpy)
    positive = [
        0.0, limits.smallest_subnormal, limits.smallest_normal, 2 * limits.smallest_normal,
        limits.eps, 0.1, 0.5, 1 - limits.epsneg, 1.0, 1 + limits.eps, 1.5, np.pi, 3.0, 1e5,
        np.sqrt(limits.max), limits.max / 2, limits.max, np.inf,
    ]  # fmt: skip
    half = np.array(positive, dtype.numpy)
    return np.concatenate([half, -half, np.array([np.nan], dtype.numpy)])


def _every_half(dtype: DType) -> Array:
    """All 65,536 values of float16, and the special values."""
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    with np.errstate(invalid="ignore"):
        return np.concatenate([halves.astype(dtype.numpy), special_values(dtype)])


def _grid(graph: Graph) -> list[Array]:
    """Vectors of every combination of special values, or every float16 for one operand."""
    kinds = [t.dtype for t in graph.inputs]
    if len(kinds) == 1:
        return [_every_half(kinds[0]) if kinds[0].is_float else special_values(kinds[0])]
    axes = np.meshgrid(*(special_values(k) for k in kinds), indexing="ij")
    return [a.ravel() for a in axes]


def _draws(graph: Graph, draw: Callable[[Any, DType, tuple[int, ...]], Array]) -> Iterator[Any]:
    """Operands for an example: several draws for each choice of its named sizes."""
    random = np.random.default_rng(0)
    for sizes in itertools.product((0, 1, 2, 5), repeat=len(graph.dims)):
        values = dict(zip(graph.dims, sizes, strict=True))
        allowed = all(condition.holds(values) for condition in graph.conditions)
        for _ in range(4 if allowed else 0):
            yield [
                draw(random, t.dtype, tuple(evaluate_size(s, values) for s in t.shape))
                for t in graph.inputs
            ]


def _is_elementwise(graph: Graph) -> bool:
    """Whether the program is a formula of vectors of one size."""
    formula = all(n.op.kind is Kind.LEAF or Fact.ELEMENTWISE in n.op.facts for n in graph.nodes)
    return formula and all(t.shape == (named("n"),) for t in graph.inputs)


def _few_values(dtype: DType) -> Array:
    """The special values that tuples are made of: extended precision takes its time."""
    if not dtype.is_float:
        return special_values(dtype)
    limits = np.finfo(dtype.numpy)
    half = [0.0, limits.smallest_subnormal, limits.smallest_normal, 1.0, limits.max, np.inf]
    return np.array([*half, *(-v for v in half), 0.5, np.nan], dtype.numpy)


def _few(random: Any, dtype: DType, shape: tuple[int, ...]) -> Array:
    return np.asarray(random.choice(_few_values(dtype), shape))


def _tuples(graph: Graph) -> list[list[Array]]:
    """Every tuple of special values for the operands of a formula; for another program many rows
    of them, and arrays small enough for all of them to matter."""
    if _is_elementwise(graph):
        axes = np.meshgrid(*(_few_values(t.dtype) for t in graph.inputs), indexing="ij")
        return [[a.ravel() for a in axes]]
    random = np.random.default_rng(1)
    found = []
    for size in (_ROWS, 2, 2, 2, 2):
        values = dict.fromkeys(graph.dims, size)
        shapes = [tuple(evaluate_size(s, values) for s in t.shape) for t in graph.inputs]
        found.append(
            [_few(random, t.dtype, s) for t, s in zip(graph.inputs, shapes, strict=True)]
        )
    return found


def _special(random: Any, dtype: DType, shape: tuple[int, ...]) -> Array:
    return np.asarray(random.choice(special_values(dtype), shape))


# -- exact -----------------------------------------------------------------------------------------
def _exact(rule: Rule, before: Graph, after: Graph) -> Certificate:
    points = 0
    feeds = [_grid(before)] if _is_elementwise(before) else _draws(before, _special)
    for operands in feeds:
        (old,), (new,) = evaluate_graph(before, operands), evaluate_graph(after, operands)
        points += old.size
        same = same_bits(old, new)
        if not same.all():
            at = tuple(np.argwhere(~same)[0])
            raise _broken(
                rule,
                f"{int((~same).sum())} of {old.size} results differ in {before}",
                expected=f"{old[at]!r} at {_operands_at(before, operands, at)}",
                given=repr(new[at]),
            )
    return Certificate(rule.name, 1, points)


def same_bits(a: Array, b: Array) -> Array:
    """Where two arrays of one dtype have the same bits, or a NaN each."""
    if a.dtype.kind == "c":
        return same_bits(a.real, b.real) & same_bits(a.imag, b.imag)
    if a.dtype.kind != "f":
        return np.asarray(a == b)
    words = f"u{a.dtype.itemsize}"
    return np.asarray((a.view(words) == b.view(words)) | (np.isnan(a) & np.isnan(b)))


def _operands_at(graph: Graph, operands: Sequence[Array], at: tuple[int, ...]) -> str:
    return ", ".join(
        f"{t.name} = {a[at]!r}" if a.ndim == len(at) else f"{t.name}: {a.tolist()}"
        for t, a in zip(graph.inputs, operands, strict=True)
    )


# -- stable ----------------------------------------------------------------------------------------
def _wide(random: Any, dtype: DType, shape: tuple[int, ...]) -> Array:
    """Values of every magnitude: half of them near 1, where formulas cancel, some where they
    overflow, some special."""
    if not dtype.is_float:
        return np.asarray(random.choice(special_values(dtype), shape))
    limits = np.finfo(dtype.numpy)
    scale = random.choice([1e-3, 1.0, 1.0, 30.0, 300.0, 3000.0], shape)
    values = random.standard_normal(shape) * scale
    whole = 2.0 ** random.uniform(limits.minexp, limits.maxexp - 1, shape)
    values = np.where(random.random(shape) < 0.2, whole * np.sign(values), values)
    special = random.choice(special_values(dtype), shape)
    return np.asarray(np.where(random.random(shape) < 0.1, special, values)).astype(dtype.numpy)


def _without(absent: Callable[[Array], Array], operands: Sequence[Array]) -> list[Array]:
    """The operands with 1 in place of values that are `absent`."""
    return [
        np.where(absent(a), a.dtype.type(1), a) if a.dtype.kind == "f" else a for a in operands
    ]


def _stable(rule: Rule, before: Graph, after: Graph) -> Certificate:
    random = np.random.default_rng(0)
    elementwise = _is_elementwise(before)
    feeds: Iterable[Any] = _draws(before, _wide)
    if elementwise:
        feeds = [[_wide(random, t.dtype, (_EXTENDED,)) for t in before.inputs]]
    feeds = [*feeds, *_tuples(before)]
    if not elementwise:  # which results a NaN reaches is not known: it never stands beside an inf
        feeds = [_without(what, operands) for operands in feeds for what in (np.isnan, np.isinf)]
    found = [_compare_extended(rule, before, after, f, elementwise) for f in feeds]
    return replace(_together(rule.name, found), programs=1)


def _compare_extended(
    rule: Rule, before: Graph, after: Graph, operands: Any, elementwise: bool
) -> Certificate:
    (old,), (new,) = evaluate_graph(before, operands), evaluate_graph(after, operands)
    (exact,) = extended_values(before, operands)
    scale = float(rule.absolute) if elementwise else _scale(exact, old.dtype)
    first = second = worse = 0.0
    for at in np.ndindex(old.shape):
        x, y, truth = old[at], new[at], exact[at]
        here = [a[at] if elementwise else a for a in operands if a.dtype.kind == "f"]
        has_nan = any(np.isnan(a).any() for a in here)
        by_nan = has_nan and np.isnan(x) and (elementwise or np.isnan(y))
        if not _is_finite(truth) or by_nan or new.dtype.kind != "f":
            # mpmath's max and min pass over a NaN; the interpreter knows where they are. A NaN of
            # infinite operands (inf - inf) may give way to the limit.
            infinite = not has_nan and any(np.isinf(a).any() for a in here)
            allowed = _alike(y, float(truth)) or _alike(y, x)
            if not allowed and not (infinite and np.isnan(float(truth))):
                where = _operands_at(before, operands, at)
                raise _broken(rule, f"at {where}", f"{float(truth)} or {x!r}", repr(y))
            continue
        e_old, e_new = ulps(x, truth, scale), ulps(y, truth, scale)
        first, second = max(first, e_old), max(second, e_new)
        if e_new > max(e_old + 1, _ULPS if elementwise else _REDUCED_ULPS):
            raise _broken(
                rule,
                f"{e_old:.3g} -> {e_new:.3g} ulp at {_operands_at(before, operands, at)}",
                expected=f"{mpmath.nstr(truth, 20)}, which was {x!r}",
                given=repr(y),
            )
        if np.isfinite(e_old):
            worse = max(worse, e_new - e_old)
    return Certificate(rule.name, 1, old.size, first, second, worse)


def _scale(exact: Array, dtype: Any) -> float:
    """The size of the results of a reduction, at which their rounding errors are measured."""
    largest = max((abs(float(v)) for v in exact.ravel() if _is_finite(v)), default=1.0)
    return min(max(largest, 1.0), float(np.finfo(dtype).max))


def _is_finite(truth: Any) -> bool:
    return bool(mpmath.isfinite(truth))


def _alike(x: Any, y: Any) -> bool:
    return bool(x == y or (np.isnan(x) and np.isnan(y)))


def ulps(value: Any, truth: Any, scale: float = 0.0) -> float:
    """How far `value` (a NumPy float) is from `truth` (finite), in units in the last place of
    `truth`, or of `scale` where that is larger. An infinity is right where `truth` rounds to it."""
    kind, limits = value.dtype.type, np.finfo(value.dtype)
    near = kind(float(truth))
    if not np.isfinite(value):
        return 0.0 if value == near else float("inf")
    largest = min(max(abs(float(near)), scale), float(limits.max))
    unit = np.spacing(kind(largest / 2)) * 2 if largest == limits.max else np.spacing(kind(largest))
    return float(abs(mpmath.mpf(float(value)) - truth) / mpmath.mpf(float(unit)))


# -- order -----------------------------------------------------------------------------------------
def _of_any_order(random: Any, dtype: DType, shape: tuple[int, ...]) -> Array:
    """Values whose sums and products do not depend on their order: none is near a limit."""
    values = [0.0, -0.0, 1.0, -1.0, 0.5, np.inf, -np.inf, np.nan] if dtype.is_float else [0, 1]
    return np.asarray(random.choice(np.array(values).astype(dtype.numpy), shape))


def _order(rule: Rule, before: Graph, after: Graph) -> Certificate:
    def mixed(random: Any, dtype: DType, shape: tuple[int, ...]) -> Array:
        values = random.standard_normal(shape) * 10.0 ** random.integers(-3, 4, shape)
        return np.asarray(values).astype(dtype.numpy)

    def bound(operands: Sequence[Array], exact: Array) -> Array:
        (size,) = extended_values(before, [np.abs(a) for a in operands])
        terms = max(sum(a.size for a in operands) / max(exact.size, 1), 1)
        return np.asarray(8 * np.sqrt(terms) * size.astype(float))

    return _within(rule, before, after, mixed, bound)


def _unsafe(rule: Rule, before: Graph, after: Graph) -> Certificate:
    def ordinary(random: Any, dtype: DType, shape: tuple[int, ...]) -> Array:
        """As the rules assume: positive, and of a size at which nothing overflows."""
        return np.asarray(random.uniform(0.25, 4.0, shape)).astype(dtype.numpy)

    def bound(operands: Sequence[Array], exact: Array) -> Array:
        return np.asarray(16 * np.maximum(np.abs(exact.astype(float)), 1))

    return _within(rule, before, after, ordinary, bound)


def _within(
    rule: Rule,
    before: Graph,
    after: Graph,
    draw: Callable[[Any, DType, tuple[int, ...]], Array],
    bound: Callable[[Sequence[Array], Array], Array],
) -> Certificate:
    """Results are within `bound`, in units of the dtype's epsilon, of the truth."""
    points, first, second = 0, 0.0, 0.0
    if rule.promise is Promise.ORDER:
        for operands in _draws(before, _of_any_order):
            (old,), (new,) = evaluate_graph(before, operands), evaluate_graph(after, operands)
            if not (np.isclose(old, new) | (np.isnan(old) & np.isnan(new))).all():
                raise _broken(rule, f"in {before}", repr(old), repr(new))
    for operands in _draws(before, draw):
        (old,), (new,) = evaluate_graph(before, operands), evaluate_graph(after, operands)
        (exact,) = extended_values(before, operands)
        allowed = bound(operands, exact) * np.finfo(new.dtype).eps
        for at in np.ndindex(new.shape):
            points += 1
            if abs(float(new[at] - exact[at])) > allowed[at]:
                raise _broken(rule, f"in {before}", mpmath.nstr(exact[at], 20), repr(new[at]))
            first = max(first, ulps(old[at], exact[at]))
            second = max(second, ulps(new[at], exact[at]))
    return Certificate(rule.name, 1, points, first, second)
