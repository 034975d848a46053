"""Random graphs, valid by construction: each step applies an op to tensors that it takes.

Every tensor is drawn together with its value at one choice of sizes, so that 90% of the graphs stay
finite and every index is in range. `random_graph(seed)` gives the same graph for the same seed;
those of the seeds from `SIZES_FROM` on are about sizes (`sizes.py`). A family of ops that is added
with `every=4` leaves three seeds of four what they were.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import graphc as gc
from graphc.errors import DTypeWarning, GradientError
from graphc.ir.dim import evaluate as size_value
from graphc.ir.dtype import DTYPES
from graphc.ir.graph import transform
from graphc.ir.node import Node, Tensor, Variable

from . import control_families as control_families  # first: their order decides what a seed draws
from . import image_families as image_families
from . import linalg_families as linalg_families
from . import nested_families as nested_families
from . import order_families as order_families
from . import pair_families as pair_families
from . import spectra as spectra
from . import transformer_families as transformer_families
from .families import FAMILIES
from .growth import Growth
from .running import RUNNING
from .sizes import SIZED, calls, has_arrays, holds, sized_axes
from .values import LAYOUTS, Array, draw

SIZES = (2, 3, 5, 7)
SECOND = "n2"  # another name for the size `n`
SIZES_FROM = 1_000_000  # the first seed of graphs about sizes


@dataclass
class RandomGraph:
    """A graph with its gradients among the outputs, and how to call it."""

    seed: int
    graph: gc.Graph
    forward: gc.Graph
    wild: bool
    layouts: dict[str, str]
    sizes: list[dict[str, int]]  # of the named dims: one call for each
    refused: list[dict[str, int]]  # sizes that the graph cannot be called with
    wrt: list[str]  # the leaves whose gradients are the last outputs

    def arrays(self, call: int) -> list[Array]:
        """The inputs of one call, each in its layout; after the calls, of those that fail."""
        rng = np.random.default_rng((self.seed, call))
        dims = [*self.sizes, *self.refused][call]
        made = []
        for t in self.graph.inputs:
            shape = tuple(size_value(s, dims) for s in t.shape)
            array = draw(rng, shape, t.dtype.numpy, self.wild and not t.name.startswith("g"))
            made.append(LAYOUTS[self.layouts[t.name]](array) if array.size else array)
        return made


def random_graph(seed: int) -> RandomGraph:
    """The random graph of a seed."""
    rng = np.random.default_rng(seed)
    sized = seed >= SIZES_FROM
    known = [(f.weight, f.make) for f in FAMILIES if seed % f.every == 0]
    families = [*known, *RUNNING, *(SIZED if sized else ())]
    axes = sized_axes(rng) if sized else _axes(rng)
    names = [d.name for d in DTYPES]
    chosen = {str(name) for name in rng.choice(names, rng.integers(1, 4))}
    chosen.add("float32" if rng.random() < 0.6 else "float64")
    growth = Growth(rng, bool(rng.random() < 0.1), axes, tuple(sorted(chosen)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DTypeWarning)
        for name in growth.dims:  # an input must determine it
            growth.fresh((name,), growth.dtype("biuf"))
        for _ in range(int(rng.integers(1, 4))):
            growth.fresh(growth.shape(), growth.dtype("biuf"))
        target, tries = int(rng.integers(3, 21 if sized else 41)), 0
        weights = np.array([weight for weight, _ in families])
        while len(growth.pool) < target and tries < 3 * target:
            tries += 1
            growth.step(families[int(rng.choice(len(families), p=weights / weights.sum()))][1])
        graph, forward, wrt = _close(growth)
    wanted = _calls(rng, growth.dims, 12 if sized else 40)
    if growth.dims and not sized and seed % 2:
        graph, forward = (_with_a_second_name(g) for g in (graph, forward))
        wanted = [{**sizes, SECOND: sizes["n"]} for sizes in wanted]
    sizes, refused = _admitted(graph, wanted, seed)
    layouts = _layouts(rng, graph)
    return RandomGraph(seed, graph, forward, growth.wild, layouts, sizes, refused, wrt)


def _axes(rng: np.random.Generator) -> list[tuple[Any, int]]:
    """Two or three sizes, the first ones sometimes named; seldom a 0."""
    sizes = [int(s) for s in rng.permutation(SIZES)[: rng.integers(2, 4)]]
    if rng.random() < 0.03:
        sizes[0] = 0
    named = int(rng.random() < 0.3) + int(rng.random() < 0.08)
    return [("nm"[i] if i < named else s, s) for i, s in enumerate(sizes)]


def _admitted(
    graph: gc.Graph, wanted: list[dict[str, int]], seed: int
) -> tuple[list[dict[str, int]], list[dict[str, int]]]:
    """As many calls as wanted, at sizes that have what the graph needs: the others, and one of
    every graph about sizes, are where it just holds. And two where it just fails."""
    kept = [dims for dims in wanted if has_arrays(graph, dims) and holds(graph, dims)]
    if len(kept) == len(wanted) and not graph.conditions:
        return wanted, []
    just, failing = calls(graph, np.random.default_rng((seed, len(wanted))))
    if seed >= SIZES_FROM and just:
        kept = kept[:-1]
    just = just[: len(wanted) - len(kept)]
    return [*kept, *just], failing[:2]


def _with_a_second_name(graph: gc.Graph) -> gc.Graph:
    """The graph with another name for `n` in every input but the first that has it, so that the
    operations on both need the two names to be equal."""
    n, second = gc.dim("n"), gc.dim(SECOND)
    _, *others = [t for t in graph.inputs if n in t.shape]
    made = {
        t: gc.placeholder(t.name, tuple(second if s == n else s for s in t.shape), t.dtype)
        for t in others
    }
    results = transform(graph.results, replace=made)
    outputs, values = results[: len(graph.outputs)], results[len(graph.outputs) :]
    updates = [(v, t) for (v, _), t in zip(graph.updates, values, strict=True)]
    return gc.Graph([made.get(t, t) for t in graph.inputs], outputs, updates, graph.name)


def _close(growth: Growth) -> tuple[gc.Graph, gc.Graph, list[str]]:
    """The graph of what was grown, with updates, and gradients where there are any: of which
    leaves is told as well."""
    leaves = {*growth.inputs, *growth.variables}
    used = {i for t in growth.pool for i in t.node.inputs}
    sinks = [t for t in growth.pool if t not in used and t not in leaves]
    extra = [growth.choose(growth.pool) for _ in range(2)]
    outputs = list(dict.fromkeys([*sinks[-6:], *extra]))
    updates = []
    for variable in growth.variables:
        if growth.chance(0.7):
            updates.append((variable, _new_value(growth, variable)))
    forward = gc.Graph(growth.inputs, outputs, updates, "random")
    cotangents, gradients = _gradients(growth, outputs)
    inputs = [*growth.inputs, *cotangents]
    graph = gc.Graph(inputs, [*outputs, *gradients.values()], updates, "random")
    return graph, forward, list(gradients)


def _new_value(growth: Growth, variable: Variable) -> Tensor:
    """What an update gives: a tensor of the pool, or one made of it and of the old value, some of
    whose elements are then read after others are written in their place."""
    fitting = [t for t in growth.pool if t.type == variable.type and t is not variable]
    value = growth.choose(fitting or [gc.ones_like(variable)])
    if growth.chance(0.4):
        return value
    moved = gc.flip(variable) if growth.chance(0.5) else variable
    return gc.not_equal(value, moved) if value.dtype.kind == "b" else value - moved


def _gradients(
    growth: Growth, outputs: list[Tensor]
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Cotangents for the float outputs, as inputs, and what they give for every float leaf."""
    floats = [t for t in outputs if t.dtype.is_float]
    cotangents = [gc.placeholder(f"g{i}", t.shape, t.dtype) for i, t in enumerate(floats)]
    for g in cotangents:
        shape = tuple(size_value(s, growth.dims) for s in g.shape)
        growth.values[g] = draw(growth.rng, shape, g.dtype.numpy, False)
    gradients = {}
    for leaf in (*growth.inputs, *growth.variables):
        if leaf.dtype.is_float and floats:
            try:
                gradients[leaf.name] = gc.vjp(floats, leaf, cotangents)
            except GradientError:
                continue  # no output depends on it differentiably
    return (cotangents if gradients else []), gradients


def _layouts(rng: np.random.Generator, graph: gc.Graph) -> dict[str, str]:
    names = list(LAYOUTS)
    return {
        t.name: names[int(rng.integers(len(names)))] if rng.random() < 0.6 else "C"
        for t in graph.inputs
    }


def _calls(rng: np.random.Generator, dims: dict[str, int], most: int) -> list[dict[str, int]]:
    """The sizes of each call: as grown, and for named dims 1, 0 and a size up to `most`, which is
    past a vector's."""
    if not dims:
        return [{}] * 4
    others = [dict.fromkeys(dims, 1), {d: int(rng.integers(most // 2 - 3, most)) for d in dims}]
    others.append({d: 0 if d == "n" else n for d, n in dims.items()})
    return [dims, *others]


# -- what the graphs have in them ------------------------------------------------------------------
def histogram(graphs: Sequence[RandomGraph]) -> tuple[Counter[str], Counter[str]]:
    """How many graphs use each op, and each dtype."""
    ops: Counter[str] = Counter()
    dtypes: Counter[str] = Counter()
    for made in graphs:
        nodes = list(all_nodes(made.graph))
        ops.update({n.op.name for n in nodes})
        dtypes.update({t.dtype.name for n in nodes for t in n.types})
    return ops, dtypes


def all_nodes(graph: gc.Graph) -> Iterator[Node]:
    """The nodes of a graph and of the graphs inside it."""
    for node in graph.nodes:
        yield node
        for value in node.attrs.values():
            if isinstance(value, gc.Graph):
                yield from all_nodes(value)
