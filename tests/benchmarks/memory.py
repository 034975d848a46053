"""Temporary memory of training steps beside JAX: `python tests/benchmarks/memory.py`.

graphc's figure is the arena of the compiled step: the bytes that a call allocates besides inputs,
outputs and variables. JAX's is `temp_size_in_bytes` of the compiled step with donated state. Both
are decided when the step is compiled, so nothing is run and a busy machine changes no figure.

`python tests/benchmarks/memory.py budgets` shows instead what memory budgets gain and cost: the
arena, what is computed again, and the time of a call (the least of many, in turns).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import cnn

import graphc as gc
from graphc.ir.dim import evaluate
from graphc.ir.graph import Graph
from graphc.pipeline.options import DEFAULTS
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages

BATCH = 512
STEPS = {  # title: widths, optimiser, the wanted ratio
    "784-1024-1024-10, Adam": ((784, 1024, 1024, 10), "adam", 0.85),
    "20 layers of 256, Adam": ((256,) * 20 + (10,), "adam", 0.6),
    "20 layers of 256, SGD": ((256,) * 20 + (10,), "sgd", 0.6),
}


def training_step(widths: tuple[int, ...], optimizer: str, weights: float = 0.0) -> Graph:
    """graphc's step; `weights` scales the first values, which are random."""
    rng = np.random.default_rng(0)
    x, y = gc.placeholder("x", ("n", widths[0])), gc.placeholder("y", ("n",), "int64")
    h, parameters = x, []
    for i, shape in enumerate(pairwise(widths)):
        w = gc.variable((weights * rng.standard_normal(shape)).astype("float32"), name=f"w{i}")
        b = gc.variable(np.zeros(shape[1], "float32"), name=f"b{i}")
        parameters += [w, b]
        h = h @ w + b
        h = gc.relu(h) if i < len(widths) - 2 else h
    loss = gc.mean(gc.softmax_cross_entropy(h, y))
    rule = gc.optim.Adam(1e-3) if optimizer == "adam" else gc.optim.SGD(1e-3)
    updates = dict(rule.minimize(loss, parameters))
    return Graph([x, y], [loss], updates.items(), "step")


def graphc_bytes(graph: Graph, batch: int = BATCH) -> int:
    """The arena of graphc's step."""
    return evaluate(run_pipeline(graph, Stages()).program.arena, {"n": batch})


def convolutional_step() -> Graph:
    inputs, loss, updates = cnn.graphc_graph(cnn.problem())
    return Graph(inputs, [loss], dict(updates).items(), "cnn")


def jax_convolutional_bytes() -> int:
    """JAX's, in the layout in which it needs less."""
    import jax

    found = []
    for is_last in (False, True):
        update, *operands = cnn.jax_parts(cnn.problem(), is_last)
        made = jax.jit(update, donate_argnums=0).lower(*operands).compile()
        found.append(int(made.memory_analysis().temp_size_in_bytes))
    return min(found)


def jax_bytes(widths: tuple[int, ...], optimizer: str, batch: int = BATCH) -> int:
    """The temporary memory of JAX's step, its state donated."""
    import jax
    import jax.numpy as jnp

    def loss_of(layers: Any, x: Any, y: Any) -> Any:
        h = x
        for w, b in layers[:-1]:
            h = jax.nn.relu(h @ w + b)
        w, b = layers[-1]
        logs = jax.nn.log_softmax(h @ w + b)
        return -jnp.mean(jnp.take_along_axis(logs, y[:, None], axis=1))

    def sgd(state: Any, x: Any, y: Any) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(state, x, y)
        return loss, jax.tree.map(lambda p, g: p - 1e-3 * g, state, gradients)

    def adam(state: Any, x: Any, y: Any) -> Any:
        layers, first, second, count = state
        loss, gradients = jax.value_and_grad(loss_of)(layers, x, y)
        count = count + 1
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradients)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradients)
        rate, scale = 1e-3 / (1 - 0.9**count), 1 / (1 - 0.999**count)
        layers = jax.tree.map(
            lambda p, m, v: p - rate * m / (jnp.sqrt(v * scale) + 1e-8), layers, first, second
        )
        return loss, (layers, first, second, count)

    layers = [(np.zeros(s, np.float32), np.zeros(s[1], np.float32)) for s in pairwise(widths)]
    state: Any = (layers, layers, layers, np.float32(0)) if optimizer == "adam" else layers
    x, y = np.zeros((batch, widths[0]), np.float32), np.zeros(batch, np.int32)
    step = jax.jit(adam if optimizer == "adam" else sgd, donate_argnums=0)
    return int(step.lower(state, x, y).compile().memory_analysis().temp_size_in_bytes)


def budgets(percents: Sequence[int] = (100, 80, 60, 45, 30), turns: int = 15) -> None:
    """Print what shares of the step's own memory cost in time."""
    graph = training_step((256,) * 20 + (10,), "adam", 1 / 16)
    sizes, steps = {"n": BATCH}, []
    peak = evaluate(run_pipeline(graph, Stages()).program.arena, sizes)
    rng = np.random.default_rng(1)
    x = rng.standard_normal((BATCH, 256)).astype("float32")
    y = rng.integers(0, 10, BATCH)
    for percent in percents:
        budget = peak * percent // 100
        options = replace(DEFAULTS, memory_budget=budget, sizes=sizes)
        made = run_pipeline(graph, Stages(), options=options)
        step: Any = gc.compile(
            [*graph.inputs], [*graph.outputs], [*graph.updates], memory_budget=budget, sizes=sizes
        )
        step(x, y)
        steps.append((percent, budget, made, step, step.cost().at(n=BATCH).flops, []))
    for _ in range(turns):
        for *_, step, _, seconds in steps:
            start = time.perf_counter()
            for _ in range(4):
                step(x, y)
            seconds.append((time.perf_counter() - start) / 4)
    print(f"{'budget':>6} {'bytes':>12} {'arena':>12} {'again':>6} {'operations':>10} {'time':>9}")
    for percent, budget, made, _, flops, seconds in steps:
        arena, again = evaluate(made.program.arena, sizes), len(made.again)
        work = f"{flops / steps[0][4]:.2f}"
        taken = f"{min(seconds) * 1e3:.1f} ms"
        print(f"{percent:5}% {budget:12,} {arena:12,} {again:6} {work:>10} {taken:>9}")


def main() -> int:
    """Print the table; 1 if a ratio is above the wanted one."""
    if sys.argv[1:] == ["budgets"]:
        budgets()
        return 0
    print(f"{'step, batch ' + str(BATCH):28} {'graphc':>12} {'JAX':>12} {'ratio':>6} {'wanted':>6}")
    missed = 0
    rows = [
        (title, graphc_bytes(training_step(*kind)), jax_bytes(*kind), wanted)
        for title, (*kind, wanted) in STEPS.items()
    ]
    ours, theirs = graphc_bytes(convolutional_step(), cnn.IMAGES), jax_convolutional_bytes()
    rows.append((f"the network of cnn.py, {cnn.IMAGES}", ours, theirs, 1.0))
    for title, ours, theirs, wanted in rows:
        missed += ours > wanted * theirs
        print(f"{title:28} {ours:12,} {theirs:12,} {ours / theirs:6.3f} {wanted:6}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
