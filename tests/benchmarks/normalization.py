"""A training step of batch normalisation: what it makes of a batch, the gradients by that and by
the parameters, and the moving statistics. Everybody has the channels where it is fastest with them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .cases import normal, torch_leaf
from .convolution_cases import Array, Call, fastest, last
from .harness import NotOfferedError, Prepared, case

IMAGES, CHANNELS, SIDE = 32, 64, 28
EPSILON, MOMENTUM = 1e-5, 0.9
NAMES = ("y", "dx", "dgamma", "dbeta", "mean", "variance")


def operands() -> tuple[Array, Array]:
    """(x, r) with channels first: a batch, and the cotangent of what is made of it."""
    x, r = normal(2, IMAGES, CHANNELS, SIDE, SIDE)
    return x + 3 * normal(CHANNELS)[:, None, None], r


def first() -> tuple[Array, ...]:
    """gamma, beta, and the moving mean and variance."""
    return tuple(np.full(CHANNELS, value, np.float32) for value in (1.5, 0.25, 0.0, 1.0))


def by_hand(x: Any, r: Any, gamma: Any, beta: Any, mean: Any, variance: Any) -> tuple[Array, ...]:
    over = (0, 2, 3)

    def wide(t: Any) -> Any:
        return t[:, None, None]

    centre = x.mean(over)
    apart = x - wide(centre)
    spread = (apart * apart).mean(over)
    inverse = 1 / np.sqrt(spread + EPSILON)
    h, count = apart * wide(inverse), x.size // CHANNELS
    dgamma, dbeta = (r * h).sum(over), r.sum(over)
    dx = wide(gamma * inverse) * (r - wide(dbeta) / count - h * wide(dgamma) / count)
    moved = [MOMENTUM * m + (1 - MOMENTUM) * b for m, b in ((mean, centre), (variance, spread))]
    return h * wide(gamma) + wide(beta), dx, dgamma, dbeta, *moved


def by_graphc() -> tuple[list[Call], list[bool]]:
    import graphc as gc

    def step(is_last: bool) -> Call:
        shape = (IMAGES, SIDE, SIDE, CHANNELS) if is_last else (IMAGES, CHANNELS, SIDE, SIDE)
        x, r = gc.placeholder("x", shape), gc.placeholder("r", shape)
        state = [gc.placeholder(name, (CHANNELS,)) for name in ("gamma", "beta", "m", "v")]
        gamma, beta, *moving = state
        axis = 3 if is_last else 1
        y = gc.nn.batch_norm(x, gamma, beta, axis=axis, epsilon=EPSILON)
        batch = gc.nn.batch_statistics(x, axis=axis)
        moved = [MOMENTUM * m + (1 - MOMENTUM) * b for m, b in zip(moving, batch, strict=True)]
        compiled = gc.compile([x, r, *state], [y, *gc.vjp(y, [x, gamma, beta], r), *moved])
        arrays = [last(t) if is_last else t for t in operands()]
        return lambda: compiled(*arrays, *first())

    return [step(False), step(True)], [False, True]


def by_jax() -> tuple[list[Call], list[bool]]:
    import jax

    def step(is_last: bool) -> Call:
        over, wide = ((0, 1, 2), (1, 1, 1, -1)) if is_last else ((0, 2, 3), (1, -1, 1, 1))

        def made(x: Any, gamma: Any, beta: Any) -> Any:
            centre = x.mean(over)
            apart = x - centre.reshape(wide)
            spread = (apart * apart).mean(over)
            factor = gamma * jax.lax.rsqrt(spread + EPSILON)
            return apart * factor.reshape(wide) + beta.reshape(wide), (centre, spread)

        def whole(x: Any, r: Any, gamma: Any, beta: Any, *moving: Any) -> Any:
            y, pull, batch = jax.vjp(made, x, gamma, beta, has_aux=True)
            moved = [MOMENTUM * m + (1 - MOMENTUM) * b for m, b in zip(moving, batch, strict=True)]
            return y, *pull(r), *moved

        compiled = jax.jit(whole)
        arrays = [last(t) if is_last else t for t in operands()]
        placed = jax.device_put([*arrays, *first()])
        return lambda: jax.block_until_ready(compiled(*placed))

    return [step(False), step(True)], [False, True]


def by_torch() -> tuple[list[Call], list[bool]]:
    import torch

    torch.set_grad_enabled(True)

    def step(layout: Any) -> Call:
        arrays = [torch.from_numpy(t).contiguous(memory_format=layout) for t in operands()]
        x, r = arrays[0].requires_grad_(), arrays[1]
        gamma, beta = map(torch_leaf, first()[:2])

        def run() -> Any:
            mean, variance = (torch.from_numpy(t.copy()) for t in first()[2:])
            y = torch.nn.functional.batch_norm(
                x, mean, variance, gamma, beta, True, 1 - MOMENTUM, EPSILON
            )
            # torch keeps a moving average of n / (n - 1) times the variance
            return y.detach(), *torch.autograd.grad(y, (x, gamma, beta), r), mean, variance

        return run

    layouts = [torch.contiguous_format, torch.channels_last]
    return [step(layout) for layout in layouts], [False, False]


def _answers(found: Any, is_last: bool, unbiased: bool) -> dict[str, Array]:
    answers = dict(zip(NAMES, map(np.asarray, found), strict=True))
    for name in NAMES[: 2 if is_last else 0]:
        answers[name] = np.moveaxis(answers[name], -1, 1)
    if unbiased:
        count, old = IMAGES * SIDE * SIDE, MOMENTUM * first()[3]
        answers["variance"] = old + (answers["variance"] - old) * (count - 1) / count
    return answers


@case(
    "batch norm step, 32 x 64 x 28 x 28: forward, backward, moving statistics", rtol=1e-3, atol=1e-3
)
def batch_norm_step(contender: str) -> Prepared:
    makers: dict[str, Callable[[], tuple[list[Call], list[bool]]]] = {
        "graphc": by_graphc, "jax": by_jax, "torch": by_torch,
    }  # fmt: skip
    if contender == "numpy":
        arrays = (*operands(), *first())
        wide = by_hand(*(t.astype(np.float64) for t in arrays))
        return Prepared(lambda: by_hand(*arrays), dict(zip(NAMES, wide, strict=True)))
    if contender not in makers:
        raise NotOfferedError(contender)
    steps, are_last = makers[contender]()
    step = fastest(*steps)
    return Prepared(step, _answers(step(), are_last[steps.index(step)], contender == "torch"))
