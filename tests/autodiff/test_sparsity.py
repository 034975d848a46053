"""Patterns by structure: exact where they are known, and never too small."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.autodiff.derivatives import pushed
from graphc.autodiff.sparsity import dependencies

Array = np.ndarray[Any, Any]
N = 6
rng = np.random.default_rng(8)
BAND = np.triu(np.tril(rng.normal(size=(N, N)), 1), -1)


def f64(name: str, shape: Any = ()) -> gc.Tensor:
    return gc.placeholder(name, shape, "float64")


def pattern_of(f: Callable[[Any], Any], shape: Any = (N,)) -> tuple[Array, Array]:
    """The pattern of the derivative of f, and where that is not zero at a random point."""
    x, v = f64("sparsity_x", shape), f64("sparsity_v", shape)
    y = f(x)
    (moved,) = pushed([y], [x], [v])
    found = None if moved is None else dependencies([moved], v)[0]
    jacobian = gc.evaluate(gc.jacobian(y, x), {x: rng.uniform(0.5, 1.5, shape)})
    size = int(np.prod(shape))
    numeric = np.asarray(jacobian).reshape(-1, size) != 0
    return np.zeros_like(numeric) if found is None else found.toarray(), numeric


EXACT: dict[str, Callable[[Any], Any]] = {
    "elementwise": lambda x: gc.sin(x) * x + gc.exp(x),
    "a difference": lambda x: x[1:] - x[:-1],
    "steps and flips": lambda x: x[::2] * x[::-2],
    "padded": lambda x: gc.pad(x, (1, 2)) * 2,
    "joined": lambda x: gc.concat([x[:2], gc.sum(x[2:4], keepdims=True), x[::-1]]),
    "taken": lambda x: gc.take(x, np.array([3, -1, 0, 0])) ** 2,
    "put": lambda x: gc.grad(gc.sum(gc.take(x, np.array([3, 1])) ** 3), x),
    "stacked": lambda x: gc.stack([x[:3], x[3:]], axis=1) * x[:3, None],
    "broadcast": lambda x: x[:, None] * gc.ones((1, 3), "float64") + x[None, :3],
    "reduced": lambda x: gc.sum(x.reshape(2, 3), axis=0) * gc.prod(x.reshape(3, 2), axis=1),
    "maximum over axes": lambda x: gc.sum(x.reshape(2, 3), axis=1),
    "a diagonal": lambda x: gc.diagonal(x[:, None] * x[None, :]),
    "by a banded matrix": lambda x: gc.constant(BAND) @ x,
    "twice": lambda x: gc.constant(BAND) @ gc.tanh(gc.constant(BAND) @ x),
    "from the left": lambda x: x.reshape(2, 3) @ gc.constant(BAND[:3, :3]),
    "a batch of products": lambda x: (
        gc.constant(BAND.reshape(2, 3, 6)[..., :3]) @ x.reshape(2, 3, 1)
    ),
    "a mask": lambda x: x * (np.arange(N) % 2) + gc.where(np.arange(N) > 3, x, x[0]),
    "nothing": lambda x: gc.floor(x),
    "one": lambda x: gc.sum(x) * x[2],
    "running sums": lambda x: gc.scan(lambda c, x: (c + x, c * x), x[0], x[1:])[1],
    "cumulative sums": lambda x: gc.cumsum(x),
    "cumulative sums backwards": lambda x: gc.cumsum(x.reshape(2, 3), 1, reverse=True),
    "cumulative products": lambda x: gc.cumprod(x.reshape(3, 2), 0),
    "a loop backwards": lambda x: gc.concat(
        [t.reshape(-1) for t in gc.scan(
            lambda c, x: ((c[0] * x[1], c[1]), (x * 2, c[0])), (x[0], x[1]), x[2:].reshape(2, 2),
            reverse=True,
        )[1]]
    ),
    "composite": lambda x: gc.softmax(x.reshape(2, 3), axis=1),
    "linear algebra": lambda x: gc.linalg.inv(x[:4].reshape(2, 2) + 2 * np.eye(2)),
}  # fmt: skip


@pytest.mark.parametrize("name", EXACT)
def test_exactly_what_is_not_zero(name: str) -> None:
    found, numeric = pattern_of(EXACT[name])
    np.testing.assert_array_equal(found[numeric], True)
    if name != "linear algebra":  # of what has no kernel all is taken
        np.testing.assert_array_equal(found, numeric)


LARGER: dict[str, Callable[[Any], Any]] = {
    "an unknown place": lambda x: gc.take(x, gc.argmax(x)) + x[:2],
    "an unknown branch": lambda x: gc.where(x > 1, x, x[0]),
    "the largest": lambda x: gc.max(x.reshape(2, 3), axis=1),
    "a value that is zero": lambda x: gc.scan(
        lambda c, _: (gc.pad(c[1:], (0, 1)) * c, None), x, length=2
    )[0],
    "a branch": lambda x: gc.cond(x[0] > 1, lambda: x, lambda: x[::-1]),
    "put where it falls": lambda x: gc.grad(gc.sum(gc.take(x, gc.argmax(x) + 0) ** 2), x),
}


@pytest.mark.parametrize("name", LARGER)
def test_never_smaller(name: str) -> None:
    found, numeric = pattern_of(LARGER[name])
    assert not (numeric & ~found).any()
    assert found.any()


def test_of_random_programs() -> None:
    """Slices, products and sums in random order: what is not zero is in the pattern."""
    for seed in range(25):
        draw = np.random.default_rng(seed)

        def program(x: Any, draw: np.random.Generator = draw) -> Any:
            known: list[Any] = [x]
            for _ in range(6):
                a = known[draw.integers(len(known))]
                b = known[draw.integers(len(known))]
                n = min(a.shape[0], b.shape[0])
                made = [
                    lambda a=a, b=b, n=n: a[:n] * b[-n:],
                    lambda a=a: gc.concat([a[1:], gc.sum(a[:2], keepdims=True)]),
                    lambda a=a: gc.pad(a[::2], (0, 1)) + 0,
                    lambda a=a, b=b: a + gc.sin(b[0]),
                    lambda a=a: gc.take(a, draw.integers(0, a.shape[0], 3)),
                ][draw.integers(5)]()
                known.append(made)
            return gc.concat(known[1:])

        found, numeric = pattern_of(program)
        assert not (numeric & ~found).any(), seed


def test_steps_of_a_trajectory() -> None:
    """Defects of an integration depend on two neighbouring states: a band, whatever its length."""
    def defects(x: Any) -> Any:
        return gc.scan(lambda c, x: (x, x - gc.sin(c)), x[0], x[1:])[1]

    found, numeric = pattern_of(defects, (50,))
    np.testing.assert_array_equal(found, numeric)
    assert found.sum() == 2 * 49


def test_a_hessian_of_a_sum_is_diagonal() -> None:
    """Though its gradient is computed from all elements of x."""
    x, v = f64("x", (N,)), f64("v", (N,))
    moved = gc.jvp(gc.grad(gc.sum(gc.exp(x)) * 2 + gc.sum(x[::-1]), x), x, v)
    found = dependencies([moved], v)[0].toarray()
    np.testing.assert_array_equal(found, np.eye(N, dtype=bool))
