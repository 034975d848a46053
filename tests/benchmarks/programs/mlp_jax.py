"""One MLP + Adam step in JAX, from nothing to the printed loss.

The initial state is NumPy's, so that the step is the only function that JAX compiles.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

random = np.random.default_rng(0)
xb = random.standard_normal((128, 784), dtype=np.float32)
yb = random.integers(0, 10, 128).astype(np.int32)
layers = [
    (
        random.standard_normal((m, n), dtype=np.float32) * np.float32(np.sqrt(2 / m)),
        np.zeros(n, np.float32),
    )
    for m, n in [(784, 256), (256, 128), (128, 10)]
]


def loss_of(layers: Any, x: Any, y: Any) -> Any:
    for w, b in layers[:-1]:
        x = jax.nn.relu(x @ w + b)
    w, b = layers[-1]
    logs = jax.nn.log_softmax(x @ w + b)
    return -jnp.mean(jnp.take_along_axis(logs, y[:, None], axis=1))


def step(state: Any, x: Any, y: Any) -> Any:
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


zeros = [(np.zeros_like(w), np.zeros_like(b)) for w, b in layers]
loss, state = jax.jit(step, donate_argnums=0)((layers, zeros, zeros, np.float32(0)), xb, yb)
print(float(loss), flush=True)
