"""One training step of a small convolutional network, the same for every contender.

32 x 1 x 28 x 28, 3 x 3 to 16 channels, relu, max-pool 2, 3 x 3 to 32, relu, max-pool 2, dense 10;
softmax cross-entropy, SGD. A step returns the loss from before its update, so the answers are the
losses that steps 2 and 11 return.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from .convolution_cases import Array, ByTaps, Call, fastest, kernel_last, last
from .harness import NotOfferedError, Prepared, case
from .mlp import losses

IMAGES, SIDE, CHANNELS, CLASSES, RATE = 32, 28, (1, 16, 32), 10, 0.01
FLAT = CHANNELS[-1] * (SIDE // 4) ** 2


@dataclass(frozen=True)
class Problem:
    """Images [n, 1, 28, 28], labels, and first parameters: kernels and a matrix, each with a bias.
    Each image is there twice, with two labels, so that the loss stays above log 2."""

    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.int64]
    parameters: tuple[Array, ...]


def problem() -> Problem:
    random = np.random.default_rng(0)
    half = random.standard_normal((IMAGES // 2, 1, SIDE, SIDE), np.float32)
    label = random.integers(0, CLASSES, IMAGES // 2)
    found: list[Array] = []
    for i, o in pairwise(CHANNELS):
        kernel = random.standard_normal((o, i, 3, 3), np.float32)
        found += [kernel * np.float32((2 / 9 / i) ** 0.5), np.zeros(o, np.float32)]
    found.append(random.standard_normal((FLAT, CLASSES), np.float32) * np.float32(FLAT**-0.5))
    found.append(np.zeros(CLASSES, np.float32))
    y = np.concatenate([label, (label + 1) % CLASSES])
    return Problem(np.concatenate([half, half]), y, tuple(found))


def numpy_step(given: Problem, dtype: Any) -> Call:
    """The step by hand: in float64 it is the oracle."""
    x, rows = last(given.x).astype(dtype), np.arange(IMAGES)
    k1, b1, k2, b2, w, b = (p.astype(dtype) for p in given.parameters)
    k1, k2, steps = kernel_last(k1), kernel_last(k2), ByTaps(3, 1)

    def pooled(h: Array) -> tuple[Array, Array]:
        """The largest of each 2 x 2, and which share it, as a factor."""
        n, size, _, c = h.shape
        cut = h.reshape(n, size // 2, 2, size // 2, 2, c)
        most = cut.max((2, 4), keepdims=True)
        share = (cut == most).astype(h.dtype)
        share /= share.sum((2, 4), keepdims=True)
        return most[:, :, 0, :, 0], share

    def back(g: Array, share: Array, z: Array) -> Array:
        return (g[:, :, None, :, None] * share).reshape(z.shape) * (z > 0)

    def step() -> Any:
        nonlocal k1, b1, k2, b2, w, b
        z1 = steps.forward(x, k1) + b1
        p1, share1 = pooled(np.maximum(z1, 0))
        z2 = steps.forward(p1, k2) + b2
        p2, share2 = pooled(np.maximum(z2, 0))
        h = np.moveaxis(p2, -1, 1).reshape(IMAGES, FLAT)
        z = h @ w + b
        z -= z.max(1, keepdims=True)
        e = np.exp(z)
        total = e.sum(1, keepdims=True)
        loss = np.mean(np.log(total[:, 0]) - z[rows, given.y])
        g = e / total
        g[rows, given.y] -= 1
        g /= dtype(IMAGES)
        gh = np.moveaxis((g @ w.T).reshape(IMAGES, CHANNELS[-1], SIDE // 4, SIDE // 4), 1, -1)
        g2 = back(gh, share2, z2)
        g1 = back(steps.by_input(g2, k2, SIDE // 2), share1, z1)
        rate = dtype(RATE)
        w, b = w - rate * (h.T @ g), b - rate * g.sum(0)
        k2, b2 = k2 - rate * steps.by_kernel(p1, g2), b2 - rate * g2.sum((0, 1, 2))
        k1, b1 = k1 - rate * steps.by_kernel(x, g1), b1 - rate * g1.sum((0, 1, 2))
        return loss

    return step


def graphc_graph(given: Problem) -> tuple[list[Any], Any, Any]:
    """(inputs, loss, updates), as a user writes it, with channels first."""
    import graphc as gc

    x = gc.placeholder("x", ("n", 1, SIDE, SIDE))
    y = gc.placeholder("y", ("n",), "int64")
    names = ("k1", "b1", "k2", "b2", "w", "b")
    k1, b1, k2, b2, w, b = parameters = [
        gc.variable(p, name=n) for n, p in zip(names, given.parameters, strict=True)
    ]
    h: Any = x
    for kernel, bias in ((k1, b1), (k2, b2)):
        z = gc.conv(h, kernel, padding=1) + gc.reshape(bias, (-1, 1, 1))
        h = gc.max_pool(gc.relu(z), 2)
    loss = gc.mean(gc.softmax_cross_entropy(gc.reshape(h, (-1, FLAT)) @ w + b, y))
    return [x, y], loss, gc.optim.SGD(RATE).minimize(loss, parameters)


def graphc_step(given: Problem) -> Call:
    import graphc as gc

    inputs, loss, updates = graphc_graph(given)
    compiled = gc.compile(inputs, loss, updates=updates, flush_subnormals=True)
    return lambda: compiled(given.x, given.y)


def torch_step(given: Problem, layout: str) -> Call:
    import torch

    torch.set_grad_enabled(True)
    torch.set_flush_denormal(True)
    memory = getattr(torch, layout)
    functional = torch.nn.functional
    parameters = [torch.from_numpy(p.copy()) for p in given.parameters]
    parameters = [
        (p.contiguous(memory_format=memory) if p.ndim == 4 else p).requires_grad_()
        for p in parameters
    ]
    k1, b1, k2, b2, w, b = parameters
    x, y = torch.from_numpy(given.x).contiguous(memory_format=memory), torch.from_numpy(given.y)
    sgd = torch.optim.SGD(parameters, lr=RATE, fused=True)

    def step() -> Any:
        sgd.zero_grad(set_to_none=True)
        h = x
        for kernel, bias in ((k1, b1), (k2, b2)):
            h = functional.max_pool2d(torch.relu(functional.conv2d(h, kernel, bias, padding=1)), 2)
        loss = functional.cross_entropy(h.reshape(IMAGES, FLAT) @ w + b, y)
        loss.backward()
        sgd.step()
        return loss.detach()

    return step


def jax_parts(given: Problem, is_last: bool) -> tuple[Callable[..., Any], Any, Any, Any]:
    """(the step, parameters, x, y): (loss, parameters) of these."""
    import jax
    import jax.numpy as jnp

    layouts = ("NHWC", "HWIO", "NHWC") if is_last else ("NCHW", "OIHW", "NCHW")
    window = (1, 2, 2, 1) if is_last else (1, 1, 2, 2)

    def loss_of(parameters: Any, x: Any, y: Any) -> Any:
        k1, b1, k2, b2, w, b = parameters
        h = x
        for kernel, bias in ((k1, b1), (k2, b2)):
            z = jax.lax.conv_general_dilated(h, kernel, (1, 1), "SAME", dimension_numbers=layouts)
            z = z + (bias if is_last else bias[:, None, None])
            h = jax.nn.relu(z)
            h = jax.lax.reduce_window(h, -jnp.inf, jax.lax.max, window, window, "VALID")
        flat = (h.transpose(0, 3, 1, 2) if is_last else h).reshape(IMAGES, FLAT)
        logs = jax.nn.log_softmax(flat @ w + b)
        return -jnp.mean(jnp.take_along_axis(logs, y[:, None], axis=1))

    def update(parameters: Any, x: Any, y: Any) -> Any:
        loss, found = jax.value_and_grad(loss_of)(parameters, x, y)
        return loss, [p - RATE * g for p, g in zip(parameters, found, strict=True)]

    first = [kernel_last(p) if is_last and p.ndim == 4 else p for p in given.parameters]
    images = last(given.x) if is_last else given.x
    return update, first, images, given.y.astype(np.int32)


def jax_step(given: Problem, is_last: bool) -> Call:
    import jax

    update, *operands = jax_parts(given, is_last)
    state, x, y = jax.device_put(operands)
    compiled = jax.jit(update, donate_argnums=0)

    def step() -> Any:
        nonlocal state
        loss, state = compiled(state, x, y)
        return loss.block_until_ready()

    return step


def _chosen(make: Callable[[Problem, Any], Call], layouts: Sequence[Any]) -> Prepared:
    """The faster layout, and the losses from the first parameters on."""
    steps = [make(problem(), layout) for layout in layouts]
    best = layouts[steps.index(fastest(*steps))]
    answers = losses(make(problem(), best))
    return Prepared(make(problem(), best), answers)


@case("CNN step, 32 x 1 x 28 x 28, conv 16, pool, conv 32, pool, dense, SGD", rtol=1e-3)
def cnn_step(contender: str) -> Prepared:
    match contender:
        case "numpy":
            answers = losses(numpy_step(problem(), np.float64))
            return Prepared(numpy_step(problem(), np.float32), answers)
        case "graphc":
            step = graphc_step(problem())
            return Prepared(step, losses(step))
        case "torch":
            return _chosen(torch_step, ("contiguous_format", "channels_last"))
        case "jax":
            return _chosen(jax_step, (False, True))
    raise NotOfferedError(contender)
