"""Passes ask an op for facts, never for its name; and the facts that ops state are true."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.fusion.region import LOOPS, Operand
from graphc.ir.dim import evaluate
from graphc.ir.evaluate import bound
from graphc.ir.graph import walk
from graphc.ir.node import Node, Tensor
from graphc.ir.op import Fact, Kind, Op, registry
from graphc.loops.grammar import Affine, of

from .op_samples import SAMPLES
from .sampling import special
from .test_layers import MODULES, room

ROOMS = (
    "rewrite", "autodiff", "fusion", "planning", "passes", "pipeline", "lower", "checking",
    "runtime",
)  # fmt: skip
# Patterns and rules are written in names of ops; what `where` hides is told by `where`.
MAY_NAME = (
    "graphc.rewrite.pattern", "graphc.rewrite.ruleset", "graphc.rewrite.rules.",
    "graphc.autodiff.hidden",
)  # fmt: skip


# -- passes do not know names ----------------------------------------------------------------------
def named_ops(source: str) -> Iterator[int]:
    """The lines that compare an op, or its name, with a certain one."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            names = any(_ends_in(side, "op", "name") for side in sides)
            one = any(isinstance(side, ast.Name) and side.id.isupper() for side in sides)
            if names or (one and any(_ends_in(side, "op") for side in sides)):
                yield node.lineno
        elif isinstance(node, ast.Match):
            if any(_ends_in(part, "op", "name") for part in ast.walk(node.subject)):
                yield node.lineno
        elif isinstance(node, ast.Call) and _ends_in(node.func, "op", "name", "startswith"):
            yield node.lineno


def _ends_in(node: ast.AST, *path: str) -> bool:
    for name in reversed(path[1:]):
        if not isinstance(node, ast.Attribute) or node.attr != name:
            return False
        node = node.value
    first = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", None)
    return first == path[0]


@pytest.mark.parametrize(
    "name", [m for m in MODULES if room(m) in ROOMS and not m.startswith(MAY_NAME)]
)
def test_passes_ask_for_facts(name: str) -> None:
    lines = list(named_ops(MODULES[name].read_text(encoding="utf-8")))
    assert not lines, f"{name} compares names of ops in lines {lines}; see Fact in graphc/ir/op.py"


def test_a_comparison_with_a_name_is_seen() -> None:
    seen = [
        'node.op.name == "add"', 'op.name in ("a", "b")', "t.node.op is ADD", "x.op.name in NAMES",
        'op.name.startswith("max")', 'match node.op.name:\n    case "add": pass',
    ]  # fmt: skip
    assert all(list(named_ops(text)) for text in seen)
    assert not list(named_ops("node.op.kind is Kind.MAP and node.op is other.op and name == 'n'"))


# -- what moves elements ---------------------------------------------------------------------------
def moving(fact: Fact) -> list[str]:
    return [name for name, op in registry().items() if fact in op.facts]


def nodes_of(op: Op) -> Iterator[Node]:
    """The nodes of an op in its samples, on one dtype."""
    for case in SAMPLES[op.name].cases:
        made = case.call(*case.placeholders("float32"))
        yield from (n for n in walk(made if isinstance(made, tuple) else [made]) if n.op is op)


def read_by(node: Node) -> tuple[Tensor, tuple[Affine, ...]]:
    """What the node reads for the element at the loops' variables, asked without a builder."""
    reads: list[tuple[Tensor, Any]] = []
    operands = [Operand(t, lambda t, at: reads.append((t, at))) for t in node.inputs]
    index = tuple(of(loop) for loop in LOOPS[: len(node.types[0].shape)])
    assert node.op.at is not None
    node.op.at(None, operands, index, node.types[0], **node.attrs)
    ((tensor, found),) = reads
    return tensor, found


def values_of(node: Node, n: int) -> tuple[Any, Any]:
    """An array for the operand, each element another number, and the node's value."""
    dims = {"n": n}
    shape = tuple(evaluate(s, dims) for s in node.inputs[0].shape)
    array = np.arange(np.prod(shape, dtype=int), dtype="float32").reshape(shape)
    attrs = {k: bound(v, dims) for k, v in node.attrs.items()}
    assert node.op.numpy is not None
    return array, node.op.numpy(array, **attrs)


@pytest.mark.parametrize("name", moving(Fact.REINDEX))
def test_a_reindexing_op_reads_one_element_at_an_affine_index(name: str) -> None:
    seen = 0
    for node in nodes_of(registry()[name]):
        tensor, index = read_by(node)
        assert tensor is node.inputs[0]
        assert all(isinstance(i, Affine) and {v for v, _ in i.terms} <= {*LOOPS} for i in index)
        for n in (0, 1, 3):
            array, expected = values_of(node, n)
            for place in itertools.product(*map(range, expected.shape)):
                at = dict(zip(LOOPS, place, strict=False))
                source = tuple(
                    sum(at[v] * evaluate(s, {"n": n}) for v, s in i.terms)
                    + evaluate(i.const, {"n": n})
                    for i in index
                )
                assert all(0 <= p < size for p, size in zip(source, array.shape, strict=True))
                assert array[source] == expected[place]
                seen += 1
    assert seen


@pytest.mark.parametrize("name", moving(Fact.KEEPS_ALL))
def test_what_keeps_all_elements(name: str) -> None:
    for node in nodes_of(registry()[name]):
        for n in (1, 3):
            array, found = values_of(node, n)
            assert found.size == 0 or set(found.ravel()) == set(array.ravel())
    assert registry()[name].only_moves


# -- what multiplies matrices ----------------------------------------------------------------------
MULTIPLIES = [name for name, op in registry().items() if op.multiplies_matrices]


@pytest.mark.parametrize("name", MULTIPLIES)
def test_what_multiplies_matrices_is_the_same_written_out(name: str) -> None:
    """By other ops than itself."""
    op, rng = registry()[name], np.random.default_rng(0)
    assert op.written_out is not None
    for case in SAMPLES[name].cases:
        holders = case.placeholders("float32")
        (node,) = (n for n in walk([case.call(*holders)]) if n.op is op)
        made = op.written_out(*node.inputs, **node.attrs)
        assert all(n.op is not op for n in walk([made], set(node.inputs)))
        for n in (0, 1, 3):
            shapes = [tuple(evaluate(s, {"n": n}) for s in t.shape) for t in holders]
            arrays = [rng.standard_normal(s).astype("float32") for s in shapes]
            given = dict(zip(holders, arrays, strict=True))
            found, meant = gc.evaluate([made, node.output()], given)
            np.testing.assert_allclose(found, meant, rtol=1e-5, atol=1e-5)


# -- algebra ---------------------------------------------------------------------------------------
def operands_of(op: Op) -> Iterator[list[np.ndarray[Any, Any]]]:
    """Operands with special values, of each dtype that the op takes."""
    rng = np.random.default_rng(0)
    arity = len(SAMPLES[op.name].cases[0].shapes)
    for dtype in SAMPLES[op.name].takes:
        if op.kind is Kind.MAP:
            yield [special(rng, (200,), np.dtype(dtype)) for _ in range(arity)]


def value(op: Op, *arrays: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    assert op.numpy is not None
    with np.errstate(all="ignore"):
        return np.asarray(op.numpy(*arrays))


def same_bits(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    nan = (a != a) & (b != b)  # whose bits are nobody's promise
    return bool(np.array_equal(np.where(nan, 0, a), np.where(nan, 0, b)))


@pytest.mark.parametrize("name", moving(Fact.COMMUTATIVE))
def test_operands_may_be_swapped(name: str) -> None:
    op = registry()[name]
    for arrays in operands_of(op):
        assert same_bits(value(op, *arrays), value(op, *arrays[::-1]))


@pytest.mark.parametrize("fact", [Fact.ADDS, Fact.MULTIPLIES])
def test_sums_and_products_of_operands(fact: Fact) -> None:
    meant = {Fact.ADDS: np.add, Fact.MULTIPLIES: np.multiply}[fact]
    names = moving(fact)
    assert names
    for op in map(registry().__getitem__, names):
        for arrays in floats_of(op):
            with np.errstate(all="ignore"):
                assert same_bits(value(op, *arrays), meant(*arrays))


@pytest.mark.parametrize("name", moving(Fact.IDEMPOTENT))
def test_again_changes_nothing(name: str) -> None:
    op = registry()[name]
    for x, *rest in operands_of(op):
        once = value(op, x, *(x for _ in rest))
        again = x if rest else value(op, once)
        assert same_bits(again, once)


# -- rounding --------------------------------------------------------------------------------------
def floats_of(op: Op) -> Iterator[list[np.ndarray[Any, Any]]]:
    return (arrays for arrays in operands_of(op) if arrays[-1].dtype.kind == "f")


@pytest.mark.parametrize("name", moving(Fact.WHOLE))
def test_what_rounds_gives_whole_numbers(name: str) -> None:
    for arrays in floats_of(registry()[name]):
        found = value(registry()[name], *arrays)
        finite = found[np.isfinite(found)]
        np.testing.assert_array_equal(finite, np.rint(finite))


def test_what_makes_infinities_of_finite_numbers_says_so() -> None:
    """By a pole: not by an overflow, so at numbers that are neither large nor small."""
    rng = np.random.default_rng(0)
    maps = {name: op for name, op in registry().items() if op.kind is Kind.MAP}
    told = {name for name in moving(Fact.POLE) if name in maps}
    found = set()
    for name, op in maps.items():
        samples = SAMPLES.get(name)
        if samples and Fact.ELEMENTWISE in op.facts and "float64" in samples.takes:
            arity = len(samples.cases[0].shapes)
            at = [rng.choice([-1.0, 0.0, 0.5, 1.0, 2.0], 200) for _ in range(arity)]
            skipped = Fact.CONVERTS in op.facts or op.may_fail
            with np.errstate(all="ignore"):
                if not skipped and np.isinf(samples.cases[0].numpy(*at)).any():
                    found.add(name)
    assert found == told
