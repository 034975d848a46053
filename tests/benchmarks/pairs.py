"""Pairwise interactions of n points: differences x[:, None] - x[None] of shape [n, n, 3], of which
nobody wants an array. Energies of atoms with forces, accelerations of masses, the kernel matrix of
a Gaussian process, and molecular dynamics, which is the first in a loop.

NumPy's side is written by hand, derivatives included.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .cases import FloatArray, by_graphc, by_jax, by_numpy
from .harness import NotOfferedError, Prepared, case

STEPS, TIME = 100, 1e-3


def atoms(n: int, dtype: str, spread: float = 0.05) -> FloatArray:
    """Atoms near the places of a cubic lattice, where their energy is lowest, about."""
    side = int(np.ceil(n ** (1 / 3)))
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1).reshape(-1, 3)[:n]
    noise = np.random.default_rng(0).uniform(-spread, spread, grid.shape)
    places: FloatArray = (1.12 * grid + noise).astype(dtype)
    return places


# -- the programs, for any module that has NumPy's functions ---------------------------------------
def energy(m: Any, x: Any, n: int) -> Any:
    """The sum over pairs of 4 (r^-12 - r^-6)."""
    d = x[:, None, :] - x[None, :, :]
    same = m.eye(n, dtype=bool)
    r2 = m.where(same, 1.0, m.sum(d * d, axis=-1))
    six = r2**-3
    return 2 * m.sum(m.where(same, 0.0, six * six - six))


def acceleration(m: Any, x: Any, mass: Any) -> Any:
    """The sum over j of m[j] (x[j] - x[i]) / (|x[j] - x[i]|^2 + 0.01)^1.5."""
    d = x[None, :, :] - x[:, None, :]
    r2 = m.sum(d * d, axis=-1) + 0.01
    return m.sum((mass * r2**-1.5)[:, :, None] * d, axis=1)


def covariance(m: Any, x: Any, length: Any) -> Any:
    d = x[:, None, :] - x[None, :, :]
    return m.exp(-0.5 * m.sum(d * d, axis=-1) / length**2)


def forces_by_hand(x: Any) -> tuple[Any, Any]:
    """The energy, and its gradient."""
    d = x[:, None, :] - x[None, :, :]
    r2 = np.sum(d * d, axis=-1)
    np.fill_diagonal(r2, np.inf)
    six = r2**-3
    slope = 24 * (six - 2 * six * six) / r2
    return 2 * np.sum(six * six - six), np.sum(slope[:, :, None] * d, axis=1)


# -- contenders ------------------------------------------------------------------------------------
def _lennard_jones(contender: str, n: int, dtype: str) -> Prepared:
    x, names = atoms(n, dtype), ["energy", "gradient"]
    match contender:
        case "numpy":
            return by_numpy(forces_by_hand, names, x)
        case "jax":
            import jax
            import jax.numpy as jnp

            jax.config.update("jax_enable_x64", dtype == "float64")
            return by_jax(jax.value_and_grad(lambda x: energy(jnp, x, n)), names, x)
        case "graphc":
            import graphc as gc

            p = gc.placeholder("x", (n, 3), dtype)
            e = energy(gc, p, n)
            return by_graphc([p], [e, gc.grad(e, p)], names, x)
    raise NotOfferedError(contender)


def _gravity(contender: str, n: int, dtype: str) -> Prepared:
    rng, names = np.random.default_rng(1), ["acceleration"]
    x = rng.standard_normal((n, 3)).astype(dtype)
    mass = rng.uniform(0.5, 1.5, n).astype(dtype)
    match contender:
        case "numpy":
            return by_numpy(lambda x, mass: (acceleration(np, x, mass),), names, x, mass)
        case "jax":
            import jax
            import jax.numpy as jnp

            jax.config.update("jax_enable_x64", dtype == "float64")
            return by_jax(lambda x, mass: (acceleration(jnp, x, mass),), names, x, mass)
        case "graphc":
            import graphc as gc

            p, q = gc.placeholder("x", (n, 3), dtype), gc.placeholder("mass", (n,), dtype)
            return by_graphc([p, q], [acceleration(gc, p, q)], names, x, mass)
    raise NotOfferedError(contender)


def _kernel_matrix(contender: str, n: int, features: int, dtype: str) -> Prepared:
    rng, names = np.random.default_rng(2), ["matrix", "slope"]
    x = rng.standard_normal((n, features)).astype(dtype)
    y = rng.standard_normal(n).astype(dtype) / n
    length = np.asarray(1.5, dtype)

    def by_hand(x: Any, y: Any, length: Any) -> tuple[FloatArray, ...]:
        found = covariance(np, x, length)
        r2 = np.sum((x[:, None, :] - x[None, :, :]) ** 2, axis=-1)
        return found, y @ (found * r2 / length**3) @ y

    match contender:
        case "numpy":
            return by_numpy(by_hand, names, x, y, length)
        case "jax":
            import jax
            import jax.numpy as jnp

            jax.config.update("jax_enable_x64", dtype == "float64")

            def value(length: Any, x: Any, y: Any) -> Any:
                found = covariance(jnp, x, length)
                return y @ found @ y, found

            def both(x: Any, y: Any, length: Any) -> tuple[Any, ...]:
                slope, found = jax.grad(value, has_aux=True)(length, x, y)
                return found, slope

            return by_jax(both, names, x, y, length)
        case "graphc":
            import graphc as gc

            p, q = gc.placeholder("x", (n, features), dtype), gc.placeholder("y", (n,), dtype)
            scale = gc.placeholder("length", (), dtype)
            matrix = covariance(gc, p, scale)
            slope = gc.grad(q @ matrix @ q, scale)
            return by_graphc([p, q, scale], [matrix, slope], names, x, y, length)
    raise NotOfferedError(contender)


def _dynamics(contender: str, n: int, dtype: str) -> Prepared:
    """Velocity Verlet (Swope et al., 1982), with unit masses."""
    x, names = atoms(n, dtype), ["places", "energies"]
    v = (0.1 * np.random.default_rng(3).standard_normal(x.shape)).astype(dtype)

    def step(state: Any, forces: Callable[[Any], tuple[Any, Any]]) -> tuple[Any, Any]:
        x, v, slope = state
        v = v - TIME / 2 * slope
        x = x + TIME * v
        e, slope = forces(x)
        return (x, v - TIME / 2 * slope, slope), e

    match contender:
        case "numpy":

            def by_hand(x: Any, v: Any) -> tuple[FloatArray, ...]:
                state, found = (x, v, forces_by_hand(x)[1]), []
                for _ in range(STEPS):
                    state, e = step(state, forces_by_hand)
                    found.append(e)
                return state[0], np.array(found)

            return by_numpy(by_hand, names, x, v)
        case "jax":
            import jax
            import jax.numpy as jnp

            jax.config.update("jax_enable_x64", dtype == "float64")
            pair = jax.value_and_grad(lambda x: energy(jnp, x, n))

            def run(x: Any, v: Any) -> tuple[Any, ...]:
                first = (x, v, pair(x)[1])
                state, found = jax.lax.scan(lambda s, _: step(s, pair), first, None, length=STEPS)
                return state[0], found

            return by_jax(run, names, x, v)
        case "graphc":
            import graphc as gc

            def forces(x: Any) -> tuple[Any, Any]:
                e = energy(gc, x, n)
                return e, gc.grad(e, x)

            p, q = gc.placeholder("x", (n, 3), dtype), gc.placeholder("v", (n, 3), dtype)
            first = (p, q, forces(p)[1])
            state, found = gc.scan(lambda s, _: step(s, forces), first, length=STEPS)
            return by_graphc([p, q], [state[0], found], names, x, v)
    raise NotOfferedError(contender)


# -- cases -----------------------------------------------------------------------------------------
TOLERANCE = {"float32": 2e-3, "float64": 1e-8}


def _register(name: str, title: str, dtype: str, prepare: Callable[[str], Prepared]) -> None:
    prepare.__name__ = f"{name}_f{dtype[-2:]}"
    rtol = TOLERANCE[dtype]
    case(f"{title}, {dtype}", rtol=rtol, atol=rtol)(prepare)


for dtype, n in itertools.product(TOLERANCE, (64, 256, 1024)):
    _register(
        f"lennard_jones_{n}",
        f"Lennard-Jones energy and forces, {n} atoms",
        dtype,
        partial(_lennard_jones, n=n, dtype=dtype),
    )
    _register(f"gravity_{n}", f"gravity of {n} bodies", dtype, partial(_gravity, n=n, dtype=dtype))
for dtype, n, features in itertools.product(TOLERANCE, (64, 256, 1024), (3, 8)):
    _register(
        f"rbf_{n}x{features}",
        f"kernel matrix of {n} x {features} points, and its slope by the length",
        dtype,
        partial(_kernel_matrix, n=n, features=features, dtype=dtype),
    )
for dtype in TOLERANCE:
    _register(
        "dynamics",
        f"molecular dynamics, {STEPS} steps of 64 atoms",
        dtype,
        partial(_dynamics, n=64, dtype=dtype),
    )
