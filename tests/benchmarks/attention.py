"""Attention of long sequences beside JAX and torch: `python tests/benchmarks/attention.py [batch]`.

The gradients of sum(r * attention(q, k, v)) by q, k and v, for 2,048 places, 4 heads of 64, in
float32. Printed are the temporary memory, which JAX and graphc know when they compile, and the time
of a call, the least of several in turns. JAX computes the formula, as `dot_product_attention` of
jax.nn does on a CPU; torch's `scaled_dot_product_attention` goes block by block too. Answers are
compared.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import graphc as gc
from graphc.ir.dim import evaluate
from graphc.ir.graph import Graph
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages

TIME, HEADS, SIZE = 2048, 4, 64
WANTED = 0.3, 0.7  # of JAX's memory, and of its time
TURNS = 3
Gradients = Callable[[], Any]


def graph(batch: int, causal: bool) -> Graph:
    shape = (batch, HEADS, TIME, SIZE)
    q, k, v, r = (gc.placeholder(name, shape) for name in "qkvr")
    y = gc.dot_product_attention(q, k, v, causal=causal)
    return Graph([q, k, v, r], gc.grad(gc.sum(y * r), [q, k, v]), name="attention")


def by_graphc(arrays: list[Any], causal: bool) -> tuple[Gradients, int]:
    made = graph(len(arrays[0]), causal)
    arena = evaluate(run_pipeline(made, Stages()).program.arena, {})
    step: Any = gc.compile([*made.inputs], [*made.outputs])
    return lambda: step(*arrays), arena


def by_jax(arrays: list[Any], causal: bool) -> tuple[Gradients, int]:
    import jax
    import jax.numpy as jnp

    def loss(q: Any, k: Any, v: Any, r: Any) -> Any:
        s = q @ k.swapaxes(-1, -2) * SIZE**-0.5
        if causal:
            s = jnp.where(jnp.tril(jnp.ones((TIME, TIME), bool)), s, -jnp.inf)
        return jnp.sum(jax.nn.softmax(s, axis=-1) @ v * r)

    placed = jax.device_put(arrays)
    compiled = jax.jit(jax.grad(loss, argnums=(0, 1, 2))).lower(*placed).compile()
    temporary = int(compiled.memory_analysis().temp_size_in_bytes)
    return lambda: jax.block_until_ready(compiled(*placed)), temporary


def by_torch(arrays: list[Any], causal: bool) -> tuple[Gradients, None]:
    import torch

    leaves = [torch.from_numpy(a.copy()).requires_grad_() for a in arrays[:3]]
    r = torch.from_numpy(arrays[3])

    def run() -> Any:
        y = torch.nn.functional.scaled_dot_product_attention(*leaves, is_causal=causal)
        return [g.numpy() for g in torch.autograd.grad(y, leaves, r)]

    return run, None


def main(batch: int) -> int:
    """Print the table; 1 if a ratio is above the wanted one."""
    rng, missed = np.random.default_rng(0), 0
    shape = (batch, HEADS, TIME, SIZE)
    arrays = [rng.standard_normal(shape).astype("float32") for _ in range(4)]
    print(f"batch {batch}, {TIME} places, {HEADS} heads of {SIZE}: bytes, seconds")
    for causal in (False, True):
        made = {
            name: make(arrays, causal)
            for name, make in (("graphc", by_graphc), ("JAX", by_jax), ("torch", by_torch))
        }
        answers = {name: run() for name, (run, _) in made.items()}
        for name, found in answers.items():
            for a, b in zip(found, answers["JAX"], strict=True):
                np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-3, err_msg=name)
        seconds: dict[str, float] = dict.fromkeys(made, np.inf)
        for _ in range(TURNS):
            for name, (run, _) in made.items():
                start = time.perf_counter()
                run()
                seconds[name] = min(seconds[name], time.perf_counter() - start)
        for name, (_, memory) in made.items():
            size = "?" if memory is None else f"{memory:,}"
            print(f"{'causal' if causal else 'all':7} {name:7} {size:>15} {seconds[name]:8.3f}")
        ratios = made["graphc"][1] / made["JAX"][1], seconds["graphc"] / seconds["JAX"]
        print(f"{'':7} {'ratio':7} {ratios[0]:15.3f} {ratios[1]:8.3f}")
        missed += any(ratio > wanted for ratio, wanted in zip(ratios, WANTED, strict=True))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 8))
