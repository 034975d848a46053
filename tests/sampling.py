"""How an op is sampled: a case is one call with its NumPy equal, samples are an op's cases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import graphc as gc
from graphc.ir.dtype import DTYPES

Array = np.ndarray[Any, Any]
Shape = tuple[int | str, ...]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]

ALL = tuple(d.name for d in DTYPES)
FLOATS = ("float32", "float64")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One way to call an op. A name in a shape is a symbolic dim.

    dtypes: of each operand; None is the dtype under test.
    draws: values of operands that must not be just any number (indices).
    """

    call: Callable[..., Any]
    numpy: Callable[..., Any]
    shapes: tuple[Shape, ...]
    dtypes: tuple[str | None, ...] = ()
    draws: tuple[Draw | None, ...] = ()

    def dtype(self, position: int, tested: str) -> str:
        return (self.dtypes[position] if self.dtypes else None) or tested

    def placeholders(self, tested: str) -> list[Any]:
        return [
            gc.placeholder(f"x{i}", shape, self.dtype(i, tested))
            for i, shape in enumerate(self.shapes)
        ]

    def arrays(self, tested: str, n: int, rng: np.random.Generator, wild: bool) -> list[Array]:
        """Values for the operands: special ones among them if `wild`."""
        result = []
        for i, shape in enumerate(self.shapes):
            sizes = tuple(n if s == "n" else int(s) for s in shape)
            dtype = np.dtype(self.dtype(i, tested))
            draw = self.draws[i] if self.draws else None
            if draw is not None:
                result.append(draw(rng, sizes).astype(dtype))
            else:
                result.append(special(rng, sizes, dtype) if wild else tame(rng, sizes, dtype))
        return result


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Everything the tests need to know of one op.

    takes: the dtypes it takes as the one under test; all others are errors that graphc names.
    ulp: 0 where it equals NumPy bit for bit, else the distance allowed (no such NumPy function),
    unit: and the magnitude below which the distance is absolute.
    wild: whether it is sampled at NaN, inf and the like.
    domain: where derivatives are compared with differences; None where there is no derivative.
    smooth: whether second derivatives are compared too.
    """

    cases: tuple[Case, ...]
    takes: tuple[str, ...] = ALL
    ulp: float = 0
    unit: float = 1e-30
    wild: bool = True
    domain: tuple[float, float] | None = (-2.0, 2.0)
    smooth: bool = True


# -- values ----------------------------------------------------------------------------------------
def special(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Edges of the dtype mixed with ordinary values."""
    if dtype == np.bool_:
        return rng.random(shape) < 0.5
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        edges = [info.min, info.max, info.max - 1, 0, 1, 2, 3, 7] + [-1, -2, -7] * (
            dtype.kind == "i"
        )
        return rng.choice(np.array(edges, dtype), size=shape).astype(dtype)
    info = np.finfo(dtype)
    edges = [0.0, 1.0, 0.5, 1.5, 2.5, np.inf, np.pi / 2, 20.0, 100.0, 1000.0]
    edges += [info.max, info.tiny, info.smallest_subnormal, info.eps]
    pool = np.array([*edges, *(-e for e in edges), np.nan], dtype)
    chosen = rng.choice(pool, size=shape)
    return np.where(rng.random(shape) < 0.3, rng.normal(size=shape), chosen).astype(dtype)


def tame(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Small values: nothing overflows."""
    if dtype == np.bool_:
        return rng.random(shape) < 0.5
    low = 0 if dtype.kind == "u" else -5
    if dtype.kind in "iu":
        return rng.integers(low, 6, shape).astype(dtype)
    return rng.normal(size=shape).astype(dtype)


def bounded(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Between -1 and 1."""
    return rng.uniform(-1, 1, shape)


def below(size: int, *, negative: bool = False) -> Draw:
    """Integers in [0, size), or in [-size, size)."""
    return lambda rng, shape: rng.integers(-size if negative else 0, size, shape)


def of_kinds(kinds: str) -> tuple[str, ...]:
    return tuple(d.name for d in DTYPES if d.kind in kinds)


def in_float(x: Array) -> Array:
    """`x` as float functions take it: as in NumPy, but small ints in float32 (not float16)."""
    if x.dtype.kind == "f":
        return x
    return x.astype(np.float32 if x.dtype.itemsize <= 2 else np.float64)


def long_double(f: Callable[[Any], Any]) -> Callable[[Array], Array]:
    """`f` computed in extended precision, rounded once."""
    return lambda x: f(x.astype(np.longdouble)).astype(x.dtype)


def same(call: Callable[..., Any], *shapes: Shape, **options: Any) -> Case:
    """A case whose call means the same for tensors and arrays: `f(namespace, *values)`."""
    return Case(
        call=lambda *tensors: call(gc, *tensors),
        numpy=lambda *arrays: call(np, *arrays),
        shapes=shapes,
        **options,
    )


def of_each(case: Case, size: int = 2) -> Case:
    """The case for several elements at once, all operands of which are their own: by `vmap`, for
    ops that know axes which operands share."""
    return Case(
        call=gc.vmap(case.call),
        numpy=lambda *arrays: np.stack([case.numpy(*row) for row in zip(*arrays, strict=True)]),
        shapes=tuple((size, *shape) for shape in case.shapes),
        dtypes=case.dtypes,
        draws=case.draws,
    )
