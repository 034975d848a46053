"""Single operations that NumPy has too: running sums, sorts, counts, determinants, equations.

One text for all contenders, by the names that they share. NumPy's own time is what most of these
are held to, and that of JAX for small matrices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .cases import by_graphc, by_jax, by_numpy
from .harness import NotOfferedError, Prepared, case

Operation = Callable[..., Any]


def operation(
    name: str, title: str, function: Operation, arrays: Callable[[], tuple[Any, ...]], rtol: float
) -> None:
    """The case of `function(module, *arrays)`; rtol 0 for what has one right answer."""

    def prepare(contender: str) -> Prepared:
        given, names = arrays(), ["result"]
        match contender:
            case "numpy":
                return by_numpy(lambda *a: (function(np, *a),), names, *given)
            case "jax":
                import jax.numpy as jnp

                return by_jax(lambda *a: (function(jnp, *a),), names, *given)
            case "graphc":
                import graphc as gc

                inputs = [gc.placeholder(f"x{i}", a.shape, a.dtype) for i, a in enumerate(given)]
                return by_graphc(inputs, [function(gc, *inputs)], names, *given)
        raise NotOfferedError(contender)

    prepare.__name__ = name
    case(title, rtol=rtol, atol=rtol)(prepare)


def uniform(*shape: int) -> Any:
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def below(size: int, *shape: int) -> Any:
    return np.random.default_rng(1).integers(0, size, shape)


def matrices(n: int) -> Any:
    """Far from singular, as each row has a large element, of which few are on the diagonal."""
    rng = np.random.default_rng(2)
    order = rng.permuted(np.tile(np.arange(3), (n, 1)), axis=1)
    return (uniform(n, 3, 3) + 2 * np.eye(3, dtype=np.float32)[order]).astype(np.float32)


def counted(m: Any, x: Any) -> Any:
    """JAX's result has a size that is known; NumPy and graphc have one of at least `minlength`."""
    more = {"length": 1000} if m.__name__.startswith("jax") else {}
    return m.bincount(x, minlength=1000, **more)


def weighed(m: Any, x: Any, weights: Any) -> Any:
    """As `counted`."""
    more = {"length": 1000} if m.__name__.startswith("jax") else {}
    return m.bincount(x, weights, minlength=1000, **more)


operation(
    "running_sum", "cumsum of 1,000,000", lambda m, x: m.cumsum(x), lambda: (uniform(1_000_000),),
    1e-3,
)  # fmt: skip
for _axis in (0, 1):
    operation(
        f"running_sum_{_axis}", f"cumsum of 1000 x 1000 along axis {_axis}",
        lambda m, x, axis=_axis: m.cumsum(x, axis=axis), lambda: (uniform(1000, 1000),), 1e-4,
    )  # fmt: skip
operation("sort", "sort of 1,000,000", lambda m, x: m.sort(x), lambda: (uniform(1_000_000),), 0)
for _width in (16, 64, 100, 1000):
    operation(
        f"sort_rows_{_width}", f"sort of rows of {_width}, 1,000,000 in all",
        lambda m, x: m.sort(x, axis=-1),
        lambda width=_width: (uniform(1_000_000 // width, width),), 0,
    )  # fmt: skip
operation(
    "searchsorted", "searchsorted of 1,000,000 in 10,000", lambda m, x, v: m.searchsorted(x, v),
    lambda: (np.sort(uniform(10_000)), uniform(1_000_000)), 0,
)  # fmt: skip
operation(
    "bincount", "bincount of 1,000,000 below 1,000", counted, lambda: (below(1000, 1_000_000),), 0
)
operation("sum", "sum of 10,000,000", lambda m, x: m.sum(x), lambda: (uniform(10_000_000),), 1e-4)
operation(
    "sum_of_columns", "sum of 1,000,000 x 16 by columns", lambda m, x: m.sum(x, axis=0),
    lambda: (uniform(1_000_000, 16),), 1e-4,
)  # fmt: skip
operation(
    "scatter", "bincount of 1,000,000 below 1,000 with weights", weighed,
    lambda: (below(1000, 1_000_000), uniform(1_000_000)), 1e-3,
)  # fmt: skip
operation(
    "det", "100,000 determinants of 3 x 3", lambda m, a: m.linalg.det(a),
    lambda: (matrices(100_000),), 1e-4,
)  # fmt: skip
operation(
    "solve", "100,000 equations of 3 x 3", lambda m, a, b: m.linalg.solve(a, b),
    lambda: (matrices(100_000), uniform(100_000, 3, 1)), 1e-3,
)  # fmt: skip
