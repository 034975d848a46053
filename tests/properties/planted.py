"""Planted miscompiles in every room of the compiler, listed in `FAULTS` (faults.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest import mock

import numpy as np

import graphc as gc
from graphc.fusion import fuse, group, kernel_plan
from graphc.fusion import kernel as kernels
from graphc.fusion.kernel_plan import _Planner
from graphc.fusion.views import permuted_strides
from graphc.ir.graph import map_graph
from graphc.ir.node import apply
from graphc.ir.op import Axes, registry
from graphc.ir.shape import strides
from graphc.loops import simplify, split, sums
from graphc.loops.builder import Builder
from graphc.loops.grammar import Var, of
from graphc.lower import numba_source, products
from graphc.ops import scalar
from graphc.passes import distribute, numbers
from graphc.pipeline import optimize, pipeline
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning import alias, blocks, memory, rerun, waits
from graphc.planning import schedule as scheduling
from graphc.planning.program import Call, Copy
from graphc.runtime import cache, caller, programs

from .batches import check_batched
from .budgets import check_budget
from .checking import check_compiled
from .faults import (
    FAULTS,
    Fault,
    check_cache,
    check_failures,
    check_kept,
    check_twins,
    check_wild,
    fault,
    patched,
)
from .generator import random_graph
from .kernels import check_kernels
from .networks import check_network
from .products import check_product


# -- rewrite: rules --------------------------------------------------------------------------------
def wrong_rule(
    name: str, rule: Callable[[Any, Any], Any], seeds: Sequence[int] = range(300)
) -> None:
    """Lists a rewrite as a fault, tried on the graphs in which it fires."""

    @contextmanager
    def plant() -> Iterator[None]:
        apply_rules = optimize.apply_rules

        def planted(graph: gc.Graph, *rulesets: Any, **options: Any) -> gc.Graph:
            return apply_rules(map_graph(graph, rule), *rulesets, **options)

        with mock.patch.object(optimize, "apply_rules", planted):
            yield

    def where_it_fires(seed: int) -> None:
        graph = random_graph(seed).graph
        if map_graph(graph, rule) is not graph:
            check_wild(seed)

    FAULTS.append(Fault("rewrite", name, plant, where_it_fires, seeds))


def _is_zero(tensor: Any) -> bool:
    node = tensor.node
    return node.op.name == "constant" and not np.any(node.attrs["value"].array)


def _minus_itself(node: Any, inputs: Any) -> Any:
    same = node.op.name == "subtract" and inputs[0] is inputs[1]
    return (gc.zeros_like(node.output()),) if same and node.types[0].dtype.is_float else None


def _by_itself(node: Any, inputs: Any) -> Any:
    same = node.op.name == "divide" and inputs[0] is inputs[1]
    return (gc.ones_like(node.output()),) if same else None


def _times_zero(node: Any, inputs: Any) -> Any:
    float_product = node.op.name == "multiply" and node.types[0].dtype.is_float
    sine = node.op.name == "where" and _is_zero(inputs[2]) and node.types[0].dtype.is_float
    if sine and inputs[1].type == node.types[0] and inputs[0].shape == inputs[1].shape:
        return (inputs[1] * inputs[0].astype(inputs[1].dtype),)  # where(c, x, 0) -> c * x
    zero = float_product and any(map(_is_zero, inputs))
    return (gc.zeros_like(node.output()),) if zero else None


def _square_of_root(node: Any, inputs: Any) -> Any:
    if node.op.name != "abs" or not node.types[0].dtype.is_float:
        return None
    return (gc.square(gc.sqrt(inputs[0])),)  # |x| = sqrt(x^2), swapped to (sqrt x)^2


def _not_less(node: Any, inputs: Any) -> Any:
    if node.op.name != "less" or not inputs[0].dtype.is_float:
        return None
    return (gc.logical_not(inputs[0] >= inputs[1]),)


def _one_conversion(node: Any, inputs: Any) -> Any:
    if node.op.name != "astype" or inputs[0].node.op.name != "astype":
        return None
    return (inputs[0].node.inputs[0].astype(node.types[0].dtype),)


def _rounded_away(node: Any, inputs: Any) -> Any:
    return (inputs[0],) if node.op.name in ("floor", "ceil", "round") else None


def _reversed_scan(node: Any, inputs: Any) -> Any:
    if node.op.name != "scan":
        return None
    return apply(node.op, inputs, **{**node.attrs, "reverse": not node.attrs["reverse"]}).outputs


def _never_entered(node: Any, inputs: Any) -> Any:
    return inputs[: node.attrs["carries"]] if node.op.name == "while_loop" else None


def _other_branch(node: Any, inputs: Any) -> Any:
    if node.op.name != "switch":
        return None
    return apply(node.op, inputs, branches=node.attrs["branches"][::-1]).outputs


wrong_rule("x - x -> 0", _minus_itself)
wrong_rule("x / x -> 1", _by_itself, range(123, 423))
wrong_rule("x * 0 -> 0, where(c, x, 0) -> c * x", _times_zero)
wrong_rule("sqrt(x^2) -> (sqrt x)^2", _square_of_root)
wrong_rule("x < y -> not x >= y", _not_less)
wrong_rule("two conversions -> the second", _one_conversion)
wrong_rule("a rounding forgotten", _rounded_away)
wrong_rule("a scan reversed", _reversed_scan)
wrong_rule("a while loop never entered", _never_entered)
wrong_rule("branches in the wrong order", _other_branch)


# -- autodiff --------------------------------------------------------------------------------------
patched("autodiff", "no sum to shape", random_graph, scalar, "sum_to", lambda g, shape: g)


@contextmanager
def redefined(op: str, **fields: Any) -> Iterator[None]:
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


def wrong_derivative(name: str, op: str, change: Callable[[Any], Any]) -> None:
    """Lists a change of the cotangents of an op."""

    def plant() -> AbstractContextManager[None]:
        right = registry()[op].vjp

        def vjp(*arguments: Any, **attrs: Any) -> Any:
            assert right is not None
            return change(right(*arguments, **attrs))

        return redefined(op, vjp=vjp)

    FAULTS.append(Fault("autodiff", name, plant, check_twins, range(120)))


wrong_derivative("tanh' with the wrong sign", "tanh", lambda gs: [-gs[0]])
wrong_derivative("no term for the second factor", "multiply", lambda gs: [gs[0], None])
wrong_derivative("max' twice as large", "max", lambda gs: [gs[0] * 2])
wrong_derivative(
    "where' to the other branch",
    "where",
    lambda gs: [gs[0], *([gs[1], gs[2]] if None in gs[1:] else [gs[2], gs[1]])],
)


@fault("autodiff", "only the last use counts", check_twins, range(120))
def _() -> Iterator[Any]:
    from graphc.autodiff import reverse

    with mock.patch.object(reverse, "add_cotangents", lambda a, b: b):
        yield


@fault("autodiff", "a reduction of a batch over the axis of its elements", check_batched)
def _() -> Iterator[Any]:
    right = Axes.behind_one_more

    def behind_one_more(self: Axes, value: Any, size: Any) -> Any:
        return value if self is Axes.SEVERAL else right(self, value, size)

    with mock.patch.object(Axes, "behind_one_more", behind_one_more):
        yield


@fault("autodiff", "an operand of a batch aligned at its first axis", check_batched)
def _() -> Iterator[Any]:
    from graphc.autodiff import batching
    from graphc.ops.shape import reshape

    def misaligned(x: Any, rank: int) -> Any:
        return reshape(x, (*x.shape, *(1,) * (rank - x.ndim)))

    with mock.patch.object(batching, "unit_axes_behind_first", misaligned):
        yield


# -- ops: what a kernel computes for them ----------------------------------------------------------
@fault("ops", "a slice off by one", check_kernels)
def _() -> Iterator[Any]:
    def at(k: Any, values: Any, index: Any, out: Any, **where: Any) -> Any:
        places = zip(index, where["starts"], where["steps"], strict=True)
        return values[0](tuple(i * d + s + 1 for i, s, d in places))

    with redefined("slice", at=at):
        yield


@fault("ops", "a permutation inverted", check_kernels)
def _() -> Iterator[Any]:
    def at(k: Any, values: Any, index: Any, out: Any, *, axes: Any) -> Any:
        return values[0](tuple(index[i] for i in axes))

    with redefined("permute_dims", at=at):
        yield


@fault("ops", "a sum over the wrong axis", check_kernels)
def _() -> Iterator[Any]:
    def target(k: Any, values: Any, index: Any, *, axes: Any) -> Any:
        wrong = {(a + 1) % len(index) for a in axes}
        return tuple(i for a, i in enumerate(index) if a not in wrong)

    with mock.patch.object(registry()["sum"].reducer, "target", target):
        yield


@fault("ops", "a maximum that starts at zero", check_kernels, range(19, 79))
def _() -> Iterator[Any]:
    with mock.patch.object(registry()["max"].reducer, "identity", return_value=0):
        yield


@fault("ops", "a sum that starts at one", check_kernels)
def _() -> Iterator[Any]:
    with mock.patch.object(registry()["sum"].reducer, "identity", return_value=1):
        yield


@fault("ops", "another stream of random bits", check_kernels, range(200))
def _() -> Iterator[Any]:
    right: Any = registry()["random_bits"].at

    def at(*arguments: Any, **attrs: Any) -> Any:
        return right(*arguments, **{**attrs, "word": 1 - attrs["word"]})

    with redefined("random_bits", at=at):
        yield


# -- passes and loops: fusion, kernels, memory -----------------------------------------------------
_number, _loop, _built_strides = Builder.number, Builder.loop, kernels.strides


def _without_offset(k: Builder, index: Any) -> Any:
    return _number(k, of(index.terms[0][0]) if index.terms else index)


_fill = sums._Cutter._fill


def check_short_runs(seed: int) -> None:
    """Sums in runs, and split loops in blocks, of so few turns that small sizes have several."""
    with (
        mock.patch.multiple(sums, RUN=3, ROWS=2, STEPS=2, SHORT=1),
        mock.patch.object(split, "BLOCK", 4),
    ):
        check_kernels(seed)


def _declared_only(cutter: Any, place: Any, kept: Any, value: float) -> list[Any]:
    return _fill(cutter, place, kept, value) if isinstance(place, Var) else []


def _one_turn_less(k: Builder, extent: Any, parallel: bool = False) -> Any:
    short = extent - 1 if isinstance(extent, int) and extent > 1 else extent
    return _loop(k, short, parallel)


@contextmanager
def _unguarded(k: Builder, condition: Any) -> Iterator[None]:
    yield


patched("passes", "where elements are read is ignored in fusion", check_kernels, fuse, "_edge",
        lambda *_: -1)  # fmt: skip
patched("passes", "a running reduction that goes forwards always", check_kernels, kernel_plan,
        "directions", lambda nodes: {}, range(13, 213))  # fmt: skip
patched("passes", "loops that go both ways are joined", check_kernels, group, "directions",
        lambda nodes: {}, range(18, 318))  # fmt: skip
patched("passes", "a sum over all steps that forgets its start", check_network, distribute, "add",
        lambda start, more: more)  # fmt: skip
patched("passes", "a kept value in memory that is written before", check_kept, _Planner,
        "_loads", lambda self, node, source: True, range(1))  # fmt: skip
patched("passes", "row-major taken for column-major", check_kernels, kernels, "strides",
        lambda shape: _built_strides(shape)[::-1])  # fmt: skip
patched("loops", "operands of select swapped", check_kernels, Builder, "where",
        lambda k, c, x, y: k.prim("select", c, y, x))  # fmt: skip
patched("loops", "loops collapsed although positions are used", check_kernels, simplify, "values",
        lambda body: iter(()), range(100))  # fmt: skip
patched("loops", "an index that forgets its offset", check_kernels, Builder, "number",
        _without_offset)  # fmt: skip
patched("loops", "a loop one turn too short", check_kernels, Builder, "loop", _one_turn_less)
patched("loops", "what waits for a carried value does not", check_short_runs, split, "_reached",
        lambda start, edges: set(), range(27, 327))  # fmt: skip
patched("loops", "a running sum over a loop that threads share", check_kernels, simplify, "shared",
        lambda loop, sizes: "")  # fmt: skip
@fault("loops", "a partial sum that starts from the one before", check_short_runs)
def _() -> Iterator[Any]:
    with mock.patch.object(sums._Cutter, "_fill", _declared_only):
        yield


patched("loops", "an element read without its guard", check_kernels, Builder, "guarded", _unguarded)
patched("loops", "a failure that nobody reports", check_failures, Builder, "fail_if",
        lambda k, condition, message: None, range(3))  # fmt: skip


_changed: list[bool] = []  # what planted faults note: whether they made a difference


def check_changed(seed: int) -> None:
    """Compiled code where the fault changes the program: compiling takes most of the time."""
    _changed.clear()
    run_pipeline(random_graph(seed).graph, Stages())
    if any(_changed):
        check_compiled(seed)


@fault("passes", "in place where that is not safe", check_changed, range(195, 300))
def _() -> Iterator[Any]:
    is_safe = alias._is_safe

    def always(*arguments: Any) -> bool:
        _changed.append(not is_safe(*arguments))
        return True

    with mock.patch.object(alias, "_is_safe", always):
        yield


@fault("passes", "memory that is free too early", check_compiled)
def _() -> Iterator[Any]:
    right = memory._lifetimes

    def short(steps: Any) -> Any:
        return {storage: (first, first) for storage, (first, _) in right(steps).items()}

    with mock.patch.object(memory, "_lifetimes", short):
        yield


def planned(change: Callable[[Any], None]) -> Callable[[], Iterator[Any]]:
    """Plants a change of every program after its memory is planned."""

    def plant() -> Iterator[Any]:
        right = pipeline.plan_memory

        def wrong(*given: Any) -> Any:
            program = right(*given)
            change(program)
            return program

        with mock.patch.object(pipeline, "plan_memory", wrong):
            yield

    return plant


def _overlap(program: Any) -> None:
    _changed.append(len(program.temps) > 1)
    for storage in program.temps:
        storage.offset = 0


def _drop_update(program: Any) -> None:
    for step in reversed(program.steps):
        if isinstance(step, Copy) and step.target.storage.kind == "variable":
            program.steps.remove(step)
            _changed.append(True)
            return


def _swap_steps(program: Any) -> None:
    calls = [i for i, step in enumerate(program.steps) if isinstance(step, Call)]
    if len(calls) > 1:
        i, j = calls[0], calls[-1]
        _changed.append(True)
        program.steps[i], program.steps[j] = program.steps[j], program.steps[i]


fault("passes", "temporaries that overlap", check_changed)(planned(_overlap))
fault("passes", "an update dropped", check_changed, range(83, 143))(planned(_drop_update))
fault("passes", "steps in the wrong order", check_changed)(planned(_swap_steps))


@fault("passes", "old values overwritten before they are read", check_changed, range(134, 434))
def _() -> Iterator[Any]:
    right = waits.Waits.run_last

    def always(self: Any, producer: Any, old: Any) -> bool:
        _changed.append(not right(self, producer, old))
        return True

    with mock.patch.object(waits.Waits, "run_last", always):
        yield


@fault("passes", "another result of a kernel computed again", check_budget, range(71, 201))
def _() -> Iterator[Any]:
    right = rerun._part

    def wrong(node: Any, outputs: Any) -> Any:
        alike = [t for t in node.outputs if t.type == outputs[0].type and t is not outputs[0]]
        return right(node, alike[:1] if len(outputs) == 1 and alike else outputs)

    with mock.patch.object(rerun, "_part", wrong):
        yield


@fault("passes", "a transposition flag swapped", check_compiled, range(150))
def _() -> Iterator[Any]:
    right = scheduling._Scheduler._matrix

    def wrong(self: Any, scope: Any, tensor: Any, *rest: Any) -> Any:
        matrix = right(self, scope, tensor, *rest)
        if tensor.shape[-1] == tensor.shape[-2]:  # others would be read outside of their memory
            matrix.transposed = not matrix.transposed
        return matrix

    with mock.patch.object(scheduling._Scheduler, "_matrix", wrong):
        yield


@fault("passes", "a kernel that takes up rows before they are there", check_product, range(43, 243))
def _() -> Iterator[Any]:
    with mock.patch.object(blocks, "_stays_inside", return_value=True):
        yield


@fault("passes", "a product over the rows that it is computed from", check_product, range(25, 225))
def _() -> Iterator[Any]:
    with mock.patch.object(blocks, "_replaces_its_rows", return_value=True):
        yield


@fault("passes", "a product written in the order that it had", check_product, range(200))
def _() -> Iterator[Any]:
    def unmoved(body: gc.Graph) -> Any:
        return strides(body.inputs[0].shape) if permuted_strides(body) else None

    with mock.patch.object(scheduling, "permuted_strides", unmoved):
        yield


# -- lower: products, and the printed source -------------------------------------------------------
_cast, _expression = numba_source._cast, numba_source.Printer._expression


def _lazy_cast(value: str, source: Any, target: Any) -> str:
    return value if source.is_integer and target.is_integer else _cast(value, source, target)


def _wrapping_cast(value: str, source: Any, target: Any) -> str:
    if source.is_float and target.is_integer:
        return f"{target.short}({value})"
    return _cast(value, source, target)


def _maximum_without_nan(self: Any, primitive: str, args: Any) -> str:
    if primitive == "maximum" and args[0].dtype.is_float:
        x, y = map(self.value, args)
        return f"select({x} > {y}, {x}, {y})"
    return _expression(self, primitive, args)


def _scalar_order(self: Any, primitive: str, args: Any) -> str:
    swapped = args[::-1] if primitive in ("subtract", "floor_divide", "remainder") else args
    return _expression(self, primitive, swapped)


def check_wild_kernels(seed: int) -> None:
    """Kernels of the graphs that are drawn with special values."""
    if random_graph(seed).wild:
        check_kernels(seed)


@fault("lower", "only the first part of a product", check_product)
def _() -> Iterator[Any]:
    right = products.own

    def first(text: Any, step: Any, matrices: Any, rows: Any, *_: str, **__: str) -> None:
        right(text, step, matrices, rows)

    with mock.patch.object(products, "own", first):
        yield


patched("lower", "an integer that is not converted back", check_kernels, numba_source, "_cast",
        _lazy_cast)  # fmt: skip
patched("lower", "a float to int that does not saturate", check_kernels, numba_source, "_cast",
        _wrapping_cast)  # fmt: skip
patched("lower", "a maximum that drops NaN", check_wild_kernels, numba_source.Printer,
        "_expression", _maximum_without_nan, range(400))  # fmt: skip
patched("lower", "operands swapped in print", check_kernels, numba_source.Printer, "_expression",
        _scalar_order)  # fmt: skip
patched("lower", "< printed as <=", check_kernels, numba_source, "INFIX",
        {**numba_source.INFIX, "less": "<="}, range(150))  # fmt: skip


# -- runtime: constants and the cache --------------------------------------------------------------
@fault("runtime", "constants of one size share memory", check_compiled, range(150))
def _() -> Iterator[Any]:
    right = caller.aligned_constants

    def shared(sizes: Any, blob: bytes) -> Any:
        by_size: dict[int, Any] = {}
        return [by_size.setdefault(a.size, a) for a in right(sizes, blob)]

    with mock.patch.object(caller, "aligned_constants", shared):
        yield


def stale(name: str, key: Callable[[gc.Graph], str], first: int = 0) -> None:
    patched("runtime", name, check_cache, programs, "key_text", key, range(first, first + 60))


stale("a key without constants", lambda g: "\n".join(f"{n.op.name} {n.types}" for n in g.nodes))
stale("a key without edges", lambda g: "\n".join(
    f"{n.op.name} {n.types} {n.attrs.get('value')}" for n in g.nodes
), 6)  # fmt: skip


def _first_numbers(form: str, numbers: Sequence[Any]) -> Any:
    entry = cache.load(form, cache.FORM)
    return cache.load(entry[0]["program"]) if entry else None


patched("runtime", "a form without any floats", check_cache, numbers, "form_text",
        lambda graph, found: numbers.order_text(graph), range(120))  # fmt: skip
patched("runtime", "the numbers of another graph", check_cache, programs, "_with_numbers",
        _first_numbers)  # fmt: skip
