"""One training step of a multilayer perceptron with Adam, the same for every contender.

x: [n, w0] float32, y: [n] int64, relu between the layers, mean softmax cross-entropy, Adam with
step 1e-3, b1 0.9, b2 0.999, eps 1e-8 (Kingma and Ba, 2015, algorithm 1). A step returns the loss
from before its update, so the answers are the losses that steps 2 and 11 return.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from .harness import Answers, NotOfferedError, Prepared, case

RATE, B1, B2, EPS = 1e-3, 0.9, 0.999, 1e-8
FloatArray = npt.NDArray[np.floating[Any]]
Step = Callable[[], object]


@dataclass(frozen=True)
class Problem:
    """A batch and initial parameters, [(w, b), ...] with w: [inputs, outputs] and b: [outputs]."""

    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.int64]
    layers: list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]


def problem(batch: int, widths: tuple[int, ...]) -> Problem:
    """He-normal weights and a batch in which every input appears twice with two labels.

    No network can learn such labels, so the loss stays above log 2 and thousands of timed steps do
    not drift into subnormal gradients, which would be timed instead of the step.
    """
    random = np.random.default_rng(0)
    half = random.standard_normal((batch // 2, widths[0]), dtype=np.float32)
    label = random.integers(0, widths[-1], batch // 2)
    layers = [
        (
            random.standard_normal((m, n), dtype=np.float32) * np.float32(np.sqrt(2 / m)),
            np.zeros(n, np.float32),
        )
        for m, n in pairwise(widths)
    ]
    y = np.concatenate([label, (label + 1) % widths[-1]])
    return Problem(np.concatenate([half, half]), y, layers)


def losses(step: Step) -> Answers:
    """Run eleven steps; the losses after the first and after the tenth update."""
    seen = [float(np.asarray(step())) for _ in range(11)]
    return {"loss after 1 step": np.array(seen[1]), "loss after 10 steps": np.array(seen[10])}


def numpy_step(given: Problem, dtype: type[np.floating[Any]]) -> Step:
    """The step in NumPy; in float64 it is the oracle."""
    x, rows = given.x.astype(dtype), np.arange(len(given.y))
    parameters = [p.astype(dtype) for layer in given.layers for p in layer]
    first = [np.zeros_like(p) for p in parameters]
    second = [np.zeros_like(p) for p in parameters]
    count = 0

    def step() -> object:
        nonlocal count
        weights, biases = parameters[0::2], parameters[1::2]
        inputs = [x]
        for w, b in zip(weights[:-1], biases[:-1], strict=True):
            inputs.append(np.maximum(inputs[-1] @ w + b, 0))
        z = inputs[-1] @ weights[-1] + biases[-1]
        z -= z.max(axis=1, keepdims=True)
        e = np.exp(z)
        s = e.sum(axis=1, keepdims=True)
        loss = np.mean(np.log(s[:, 0]) - z[rows, given.y])
        g = e / s
        g[rows, given.y] -= 1
        g /= dtype(len(rows))
        gradients: list[FloatArray] = []
        for w, h in zip(reversed(weights), reversed(inputs), strict=True):
            gradients[:0] = [h.T @ g, g.sum(axis=0)]
            if h is not x:
                g = (g @ w.T) * (h > 0)
        count += 1
        rate = dtype(RATE / (1 - B1**count))
        scale = dtype(1 / (1 - B2**count))
        for p, m, v, d in zip(parameters, first, second, gradients, strict=True):
            m *= dtype(B1)
            m += dtype(1 - B1) * d
            v *= dtype(B2)
            v += dtype(1 - B2) * d * d
            p -= rate * m / (np.sqrt(v * scale) + dtype(EPS))
        return loss

    return step


def matrix_products(given: Problem) -> Callable[[], object]:
    """The step's matrix products alone, by NumPy's BLAS into arrays made beforehand."""
    products = []
    inputs, batch = given.x, len(given.x)
    for w, _ in given.layers:
        out = np.empty((batch, w.shape[1]), np.float32)
        products += [(inputs, w, out), (inputs.T, out, np.empty_like(w))]
        if inputs is not given.x:
            products.append((out, w.T, np.empty_like(inputs)))
        inputs = out

    def multiply() -> object:
        for a, b, out in products:
            np.matmul(a, b, out=out)
        return None

    return multiply


def jax_adam(loss_of: Callable[..., Any]) -> Callable[..., Any]:
    """(state, *data) -> (loss, state), one step of Adam down `loss_of(parameters, *data)`."""
    import jax
    import jax.numpy as jnp

    def update(state: Any, *data: Any) -> Any:
        parameters, first, second, count = state
        loss, gradients = jax.value_and_grad(loss_of)(parameters, *data)
        count = count + 1
        first = jax.tree.map(lambda m, g: B1 * m + (1 - B1) * g, first, gradients)
        second = jax.tree.map(lambda v, g: B2 * v + (1 - B2) * g * g, second, gradients)
        rate, scale = RATE / (1 - B1**count), 1 / (1 - B2**count)
        parameters = jax.tree.map(
            lambda p, m, v: p - rate * m / (jnp.sqrt(v * scale) + EPS), parameters, first, second
        )
        return loss, (parameters, first, second, count)

    return update


def jax_state(parameters: Any) -> Any:
    """What `jax_adam` begins with."""
    import jax

    zeros = jax.tree.map(np.zeros_like, parameters)
    return jax.device_put((parameters, zeros, zeros, np.float32(0)))


def jax_loss(layers: Any, x: Any, y: Any) -> Any:
    """The mean cross-entropy of the perceptron."""
    import jax
    import jax.numpy as jnp

    h = x
    for w, b in layers[:-1]:
        h = jax.nn.relu(h @ w + b)
    w, b = layers[-1]
    logs = jax.nn.log_softmax(h @ w + b)
    return -jnp.mean(jnp.take_along_axis(logs, y[:, None], axis=1))


def jax_step(loss_of: Callable[..., Any], parameters: Any, *data: npt.NDArray[Any]) -> Step:
    """One jitted function whose state is donated; waits for the loss, as every other step does."""
    import jax

    compiled = jax.jit(jax_adam(loss_of), donate_argnums=0)
    state, placed = jax_state(parameters), jax.device_put(data)

    def step() -> object:
        nonlocal state
        loss, state = compiled(state, *placed)
        return loss.block_until_ready()

    return step


def torch_adam(parameters: list[Any]) -> Any:
    """PyTorch's fused Adam, the fastest of its settings on a processor."""
    import torch

    torch.set_flush_denormal(True)  # as XLA does
    return torch.optim.Adam(parameters, lr=RATE, betas=(B1, B2), eps=EPS, fused=True)


def torch_perceptron(given: Problem) -> tuple[list[Any], Callable[..., Any]]:
    """Its parameters, and the mean cross-entropy as a function of x and y."""
    import torch

    layers = [
        (
            torch.from_numpy(w.T.copy()).requires_grad_(),
            torch.from_numpy(b.copy()).requires_grad_(),
        )
        for w, b in given.layers
    ]

    def loss_of(x: Any, y: Any) -> Any:
        h = x
        for w, b in layers[:-1]:
            h = torch.relu(torch.nn.functional.linear(h, w, b))
        return torch.nn.functional.cross_entropy(torch.nn.functional.linear(h, *layers[-1]), y)

    return [p for layer in layers for p in layer], loss_of


def torch_step(loss_of: Callable[..., Any], parameters: list[Any], *data: Any) -> Step:
    """Eager PyTorch, one step down `loss_of(*data)`."""
    adam = torch_adam(parameters)

    def step() -> object:
        adam.zero_grad(set_to_none=True)
        loss = loss_of(*data)
        loss.backward()
        adam.step()
        return loss.detach()

    return step


def graphc_step(given: Problem) -> Step:
    """The whole step as one native call; takes NumPy arrays and gives a NumPy loss."""
    import graphc as gc

    x = gc.placeholder("x", shape=("n", given.x.shape[1]))
    y = gc.placeholder("y", shape=("n",), dtype="int64")
    h, parameters = x, []
    for i, (w0, b0) in enumerate(given.layers):
        w, b = gc.variable(w0, name=f"w{i}"), gc.variable(b0, name=f"b{i}")
        parameters += [w, b]
        h = h @ w + b
        if i < len(given.layers) - 1:
            h = gc.relu(h)
    loss = gc.mean(gc.nn.losses.softmax_cross_entropy(h, y))
    adam = gc.optim.Adam(RATE)
    updates = adam.minimize(loss, parameters)
    compiled = gc.compile([x, y], loss, updates=updates, flush_subnormals=True)  # as XLA does
    return lambda: compiled(given.x, given.y)


def training_step(contender: str, batch: int, widths: tuple[int, ...]) -> Prepared:
    """The contender's step, its answers, and for graphc and NumPy the matrix products alone."""
    given = problem(batch, widths)
    match contender:
        case "numpy":
            answers = losses(numpy_step(given, np.float64))
            parts = {"matmul": matrix_products(given)}
            return Prepared(numpy_step(given, np.float32), answers, parts)
        case "graphc":
            step = graphc_step(given)
            return Prepared(step, losses(step), {"matmul": matrix_products(given)})
        case "jax":
            step = jax_step(jax_loss, given.layers, given.x, given.y.astype(np.int32))
        case "torch" | "torch-compile":
            import torch

            parameters, loss_of = torch_perceptron(given)
            if contender == "torch-compile":
                loss_of = torch.compile(loss_of)
            step = torch_step(loss_of, parameters, *map(torch.from_numpy, (given.x, given.y)))
        case _:
            raise NotOfferedError(contender)
    return Prepared(step, losses(step))


@case("MLP + Adam step 32: 784-128-64-10", rtol=1e-4)
def mlp_step_32(contender: str) -> Prepared:
    return training_step(contender, 32, (784, 128, 64, 10))


@case("MLP + Adam step 128: 784-256-128-10", rtol=1e-4)
def mlp_step_128(contender: str) -> Prepared:
    return training_step(contender, 128, (784, 256, 128, 10))


@case("MLP + Adam step 512: 784-1024-1024-10", rtol=1e-4)
def mlp_step_512(contender: str) -> Prepared:
    return training_step(contender, 512, (784, 1024, 1024, 10))
