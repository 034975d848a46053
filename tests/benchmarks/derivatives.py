"""Hessians of logistic regression and of a cluster of atoms; the sparse Jacobian of a function of
10,000 variables, each element of which depends on three; the gradient of a controller's cost.

NumPy's side is written by hand; CasADi has the sparse Jacobian only.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .cases import FloatArray, by_graphc, by_jax, by_numpy
from .harness import NotOfferedError, Prepared, case

ATOMS, VARIABLES = 13, 10_000
STATES, CONTROLS, STEPS = 4, 2, 50


@case("Hessian, logistic regression 1000 x 100", rtol=1e-3, atol=1e-6)
def logistic_hessian(contender: str) -> Prepared:
    """The mean of softplus(-t * (x @ w)); by hand x' diag(p (1 - p)) x / n."""
    rng, names = np.random.default_rng(0), ["hessian"]
    x = rng.standard_normal((1000, 100), np.float32)
    w = rng.standard_normal(100, np.float32) / 10
    t = np.where(rng.standard_normal(1000) > 0, 1, -1).astype(np.float32)

    def by_hand(w: Any, x: Any, t: Any) -> tuple[FloatArray, ...]:
        p = 1 / (1 + np.exp(-(x @ w)))
        return ((x.T * (p * (1 - p))) @ x / len(x),)

    match contender:
        case "numpy":
            return by_numpy(by_hand, names, w, x, t)
        case "jax":
            import jax
            import jax.numpy as jnp

            def loss_of(w: Any, x: Any, t: Any) -> Any:
                return jnp.mean(jax.nn.softplus(-t * (x @ w)))

            return by_jax(lambda w, x, t: (jax.hessian(loss_of)(w, x, t),), names, w, x, t)
        case "graphc":
            import graphc as gc

            a, u = gc.placeholder("w", (100,)), gc.placeholder("t", ("n",))
            s = gc.placeholder("x", ("n", 100))
            loss = gc.mean(gc.softplus(-u * (s @ a)))
            return by_graphc([a, s, u], [gc.hessian(loss, a)], names, w, x, t)
    raise NotOfferedError(contender)


@case("Hessian, Lennard-Jones cluster of 13 atoms", rtol=1e-3, atol=1e-3)
def cluster_hessian(contender: str) -> Prepared:
    """The sum over pairs of 4 (r^-12 - r^-6), by 39 coordinates; a pair's block by hand is
    a I + b d d', with a = e'(r) / r and b = (e''(r) - a) / r^2."""
    grid = np.stack(np.meshgrid(*[np.arange(3.0)] * 3), -1).reshape(-1, 3)[:ATOMS] * 1.15
    x = (grid + np.random.default_rng(1).normal(size=grid.shape) / 20).astype(np.float32)
    first, second = np.triu_indices(ATOMS, 1)
    names = ["hessian"]

    def by_hand(x: Any) -> tuple[FloatArray, ...]:
        d = x[first] - x[second]
        square = 1 / np.sum(d * d, axis=1)
        six = square**3
        a = (24 * six - 48 * six**2) * square
        b = ((624 * six**2 - 168 * six) * square - a) * square
        blocks = a[:, None, None] * np.eye(3, dtype=x.dtype)
        blocks = blocks + b[:, None, None] * d[:, :, None] * d[:, None, :]
        found = np.zeros((ATOMS, 3, ATOMS, 3), x.dtype)
        found[first, :, second] = found[second, :, first] = -blocks
        for atoms in (first, second):
            np.add.at(found, (atoms, slice(None), atoms), blocks)
        return (found,)

    match contender:
        case "numpy":
            return by_numpy(by_hand, names, x)
        case "jax":
            import jax
            import jax.numpy as jnp

            def energy(x: Any) -> Any:
                d = x[first] - x[second]
                six = (1 / jnp.sum(d * d, axis=1)) ** 3
                return 4 * jnp.sum(six * six - six)

            return by_jax(lambda x: (jax.hessian(energy)(x),), names, x)
        case "graphc":
            import graphc as gc

            p = gc.placeholder("x", (ATOMS, 3))
            d = gc.take(p, first, 0) - gc.take(p, second, 0)
            six = (1 / gc.sum(d * d, axis=1)) ** 3
            energy = 4 * gc.sum(six * six - six)
            return by_graphc([p], [gc.hessian(energy, p)], names, x)
    raise NotOfferedError(contender)


@case("sparse Jacobian, 10,000 variables in a band", rtol=1e-9)
def banded_jacobian(contender: str) -> Prepared:
    """y_i = exp(x_(i-1)) x_i - sin(x_(i+1)) x_i, with zeros beyond the ends, as a SciPy matrix in
    CSR form (CasADi: its own, in CSC form); answers are the 29,998 entries, row by row."""
    import scipy.sparse

    x = np.random.default_rng(2).random(VARIABLES)
    rows = np.arange(VARIABLES)
    columns = rows[:, None] + [-1, 0, 1]
    inside = (columns >= 0) & (columns < VARIABLES)
    indices = columns[inside]
    pointers = np.concatenate([[0], np.cumsum(inside.sum(axis=1))])

    def by_hand(x: Any) -> Any:
        wide = np.pad(x, 1)
        grown = np.exp(wide[:-2])
        entries = np.stack([grown * x, grown - np.sin(wide[2:]), -np.cos(wide[2:]) * x], axis=1)
        return scipy.sparse.csr_matrix((entries[inside], indices, pointers))

    match contender:
        case "numpy":
            return Prepared(lambda: by_hand(x), {"entries": by_hand(x).data})
        case "casadi":
            import casadi

            v = casadi.SX.sym("x", VARIABLES)
            wide = casadi.vertcat(0, v, 0)
            y = casadi.exp(wide[:-2]) * v - casadi.sin(wide[2:]) * v
            compiled = casadi.Function("jacobian", [v], [casadi.jacobian(y, v)])
            found = scipy.sparse.csr_matrix(compiled(x).sparse())
            found.sort_indices()
            return Prepared(lambda: compiled(x), {"entries": found.data})
        case "graphc":
            import graphc as gc

            def function(x: Any) -> Any:
                wide = gc.pad(x, (1, 1))
                return gc.exp(wide[:-2]) * x - gc.sin(wide[2:]) * x

            jacobian = gc.sparse_jacobian(function)
            return Prepared(lambda: jacobian(x), {"entries": jacobian(x).data})
    raise NotOfferedError(contender)


@case("LQR by Riccati's recursion, 50 steps of 4 states, value and gradient", rtol=1e-3, atol=1e-4)
def riccati(contender: str) -> Prepared:
    """The least cost x' P x from x on, where P = Q + A' P (A - B K) from the last step to the first
    with K = (R + B' P B)^-1 B' P A, and its gradient by A, B, Q, R.

    By hand: along the best path x, u = -K x the first order of the cost is that of the path which
    stays, so that the derivatives are sums of 2 P x' x^T, 2 P x' u^T, x x^T and u u^T, with x' the
    state after x (the envelope theorem).
    """
    rng, names = np.random.default_rng(3), ["cost", "da", "db", "dq", "dr"]
    a = np.eye(STATES) + 0.1 * rng.standard_normal((STATES, STATES))
    b = 0.5 * rng.standard_normal((STATES, CONTROLS))
    q, r = np.diag(rng.uniform(0.5, 1.5, STATES)), np.diag(rng.uniform(0.5, 1.5, CONTROLS))
    start = rng.standard_normal(STATES)
    arrays = [array.astype(np.float32) for array in (a, b, q, r, start)]

    def by_hand(a: Any, b: Any, q: Any, r: Any, x: Any) -> tuple[FloatArray, ...]:
        p, gains, costs = q, [], []
        for _ in range(STEPS):
            gains.append(np.linalg.solve(r + b.T @ p @ b, b.T @ p @ a))
            costs.append(p)
            p = q + a.T @ p @ (a - b @ gains[-1])
        da, db, dq, dr = map(np.zeros_like, (a, b, q, r))
        cost = x @ p @ x
        for gain, after in zip(reversed(gains), reversed(costs), strict=True):
            u = -gain @ x
            dq, dr = dq + np.outer(x, x), dr + np.outer(u, u)
            moved = a @ x + b @ u
            da, db = da + 2 * np.outer(after @ moved, x), db + 2 * np.outer(after @ moved, u)
            x = moved
        return np.asarray(cost), da, db, dq + np.outer(x, x), dr

    match contender:
        case "numpy":
            return by_numpy(by_hand, names, *arrays)
        case "jax":
            import jax
            import jax.numpy as jnp

            def jax_cost(a: Any, b: Any, q: Any, r: Any, x: Any) -> Any:
                def step(p: Any, _: Any) -> Any:
                    gain = jnp.linalg.solve(r + b.T @ p @ b, b.T @ p @ a)
                    return q + a.T @ p @ (a - b @ gain), None

                return x @ jax.lax.scan(step, q, None, length=STEPS)[0] @ x

            def value_and_gradient(*given: Any) -> Any:
                value, slopes = jax.value_and_grad(jax_cost, argnums=(0, 1, 2, 3))(*given)
                return value, *slopes

            return by_jax(value_and_gradient, names, *arrays)
        case "graphc":
            import graphc as gc

            inputs = [gc.placeholder(n, v.shape) for n, v in zip("abqrx", arrays, strict=True)]
            sa, sb, sq, sr, sx = inputs

            def step(p: Any, _: Any) -> Any:
                gain = gc.linalg.solve(sr + sb.T @ p @ sb, sb.T @ p @ sa)
                return sq + sa.T @ p @ (sa - sb @ gain), None

            cost = sx @ gc.scan(step, sq, length=STEPS)[0] @ sx
            wanted = [cost, *gc.grad(cost, inputs[:4])]
            return by_graphc(inputs, wanted, names, *arrays)
    raise NotOfferedError(contender)
