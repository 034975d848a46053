"""The random graphs can see: each of these faults, planted in the compiler, is caught by them.

A fault is caught where a check of `checking.py` or `kernels.py` fails, on one of the first graphs.
The same checks pass on these graphs without the fault (`test_compiled.py`, `test_passes.py`,
`test_kernels.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

import graphc as gc
from graphc.errors import GraphcError
from graphc.ir.graph import map_graph
from graphc.ir.op import registry
from graphc.loops import simplify
from graphc.loops.builder import Builder
from graphc.loops.grammar import of
from graphc.lower import numba_source
from graphc.ops import scalar
from graphc.passes import alias, memory, pipeline
from graphc.passes.fuse import _Fusion
from graphc.passes.kernel import _RegionBuilder
from graphc.passes.pipeline import run_pipeline
from graphc.passes.stages import Stages
from graphc.runtime import compile as compiling

from .checking import check_compiled, check_stages, compiled, compiled_mismatch
from .generator import random_graph
from .kernels import check_kernels

Patch = pytest.MonkeyPatch
WITHIN = 60  # graphs


@pytest.fixture(autouse=True)
def no_cache(monkeypatch: Patch) -> None:
    monkeypatch.setenv("GRAPHC_CACHE", "0")


def caught_by(check: Callable[[int], Any], seeds: Sequence[int] = range(WITHIN)) -> int:
    """The first seed whose check fails. Errors: `AssertionError` if none does."""
    for seed in seeds:
        if _fails(check, seed):
            return seed
    raise AssertionError(f"not caught within {len(seeds)} graphs")


def _fails(check: Callable[[int], Any], seed: int) -> bool:
    try:
        check(seed)
    except (AssertionError, IndexError, GraphcError):
        return True
    return False


@contextmanager
def _redefined(op: str, **fields: Any) -> Iterator[None]:
    """Ops are frozen; a planted fault is not impressed."""
    found = registry()[op]
    before = {name: getattr(found, name) for name in fields}
    try:
        for name, value in fields.items():
            object.__setattr__(found, name, value)
        yield
    finally:
        for name, value in before.items():
            object.__setattr__(found, name, value)


# -- ops and rules ---------------------------------------------------------------------------------
def test_a_slice_off_by_one() -> None:
    def at(k: Any, values: Any, index: Any, out: Any, **where: Any) -> Any:
        places = zip(index, where["starts"], where["steps"], strict=True)
        moved = (i * d + s + 1 for i, s, d in places)
        return values[0](tuple(moved))

    with _redefined("slice", at=at):
        caught_by(check_kernels)


def test_a_permutation_inverted() -> None:
    def at(k: Any, values: Any, index: Any, out: Any, *, axes: Any) -> Any:
        return values[0](tuple(index[i] for i in axes))

    with _redefined("permute_dims", at=at):
        caught_by(check_kernels)


def test_a_sum_over_the_wrong_axis(monkeypatch: Patch) -> None:
    def target(k: Any, values: Any, index: Any, *, axes: Any) -> Any:
        rank = len(index)
        wrong = {(a + 1) % rank for a in axes}
        return tuple(i for a, i in enumerate(index) if a not in wrong)

    monkeypatch.setattr(registry()["sum"].reducer, "target", target)
    caught_by(check_kernels)


def test_a_maximum_that_starts_at_zero(monkeypatch: Patch) -> None:
    monkeypatch.setattr(registry()["max"].reducer, "_identity", lambda dtype: 0)
    caught_by(check_kernels)


def test_a_gradient_without_sum_to_shape(monkeypatch: Patch) -> None:
    monkeypatch.setattr(scalar, "sum_to", lambda g, shape: g)
    caught_by(random_graph)


def test_a_rewrite_that_drops_nan(monkeypatch: Patch) -> None:
    apply_rules = pipeline.apply_rules

    def planted(graph: gc.Graph, *rulesets: Any, **options: Any) -> gc.Graph:
        return apply_rules(map_graph(graph, _minus_itself), *rulesets, **options)

    monkeypatch.setattr(pipeline, "apply_rules", planted)
    fires = [s for s in range(100) if map_graph(g := random_graph(s).graph, _minus_itself) is not g]
    seed = caught_by(_check_wild, fires)
    monkeypatch.undo()
    _check_wild(seed)


def _check_wild(seed: int) -> None:
    check_stages(seed, wild=True)


def _minus_itself(node: Any, inputs: Any) -> Any:
    """x - x -> 0"""
    same = node.op.name == "subtract" and inputs[0] is inputs[1]
    return (gc.zeros_like(node.output()),) if same and node.types[0].dtype.is_float else None


# -- fusion, kernels, memory -----------------------------------------------------------------------
def test_fusion_that_ignores_where_elements_are_read(monkeypatch: Patch) -> None:
    monkeypatch.setattr(_Fusion, "_edge", lambda self, tensor, index, consumer: -1)
    caught_by(check_kernels)


def test_operands_of_select_swapped(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Builder, "where", lambda k, c, x, y: k.prim("select", c, y, x))
    caught_by(check_kernels)


def test_loops_collapsed_although_positions_are_used(monkeypatch: Patch) -> None:
    monkeypatch.setattr(simplify, "_values", lambda body: iter(()))
    caught_by(check_kernels, range(100))


def test_a_kept_value_in_memory_that_is_written_before(monkeypatch: Patch) -> None:
    monkeypatch.setattr(_RegionBuilder, "_loads", lambda self, node, source: True)
    caught_by(check_kernels, range(100))


def test_in_place_without_asking(monkeypatch: Patch) -> None:
    is_safe, wrong = alias._is_safe, []

    def always(*arguments: Any) -> bool:
        wrong.append(not is_safe(*arguments))
        return True

    def check(seed: int) -> None:
        wrong.clear()
        run_pipeline(random_graph(seed).graph, Stages())
        if any(wrong):  # compiling takes most of the time
            check_compiled(seed)

    monkeypatch.setattr(alias, "_is_safe", always)
    caught_by(check, range(200))


def test_an_index_that_forgets_its_offset(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Builder, "number", lambda k, index: _without_offset(k, index))
    caught_by(check_kernels)


_number = Builder.number


def _without_offset(k: Builder, index: Any) -> Any:
    return _number(k, of(index.terms[0][0]) if index.terms else index)


def test_an_integer_that_is_not_converted_back(monkeypatch: Patch) -> None:
    cast = numba_source._cast

    def lazy(value: str, source: Any, target: Any) -> str:
        return value if source.is_integer and target.is_integer else cast(value, source, target)

    monkeypatch.setattr(numba_source, "_cast", lazy)
    caught_by(check_compiled)


def test_memory_that_is_free_too_early(monkeypatch: Patch) -> None:
    lifetimes = memory._lifetimes
    monkeypatch.setattr(
        memory, "_lifetimes", lambda steps: {s: (a, a) for s, (a, _) in lifetimes(steps).items()}
    )
    caught_by(check_compiled)


# -- the cache -------------------------------------------------------------------------------------
def check_cache(seed: int) -> None:
    """The random graph of a seed, and its twin with other constants, both from the cache."""
    made = random_graph(seed)
    arrays = made.arrays(0)[: len(made.forward.inputs)]
    for graph in (made.forward, map_graph(made.forward, _next_constant)):
        assert not compiled_mismatch(graph, arrays, compiled(graph))


def _next_constant(node: Any, inputs: Any) -> Any:
    """Every scalar constant, one larger."""
    if node.op.name != "constant" or node.types[0].shape or node.types[0].dtype.kind == "b":
        return None
    value = node.attrs["value"].array
    return (gc.constant(value + value.dtype.type(1)),)


@pytest.fixture
def cache(monkeypatch: Patch, tmp_path: Any) -> None:
    monkeypatch.setenv("GRAPHC_CACHE", "1")
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path))


@pytest.mark.usefixtures("cache")
def test_twins_are_told_apart_by_the_cache() -> None:
    for seed in range(5):
        check_cache(seed)


@pytest.mark.usefixtures("cache")
def test_a_cache_key_without_constants(monkeypatch: Patch) -> None:
    def incomplete(graph: gc.Graph) -> str:
        return "\n".join(f"{n.op.name} {n.types}" for n in graph.nodes)

    monkeypatch.setattr(compiling, "key_text", incomplete)
    caught_by(check_cache)
