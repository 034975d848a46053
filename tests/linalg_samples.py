"""Samples of linear algebra, on matrices that are far from singular."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg

import graphc as gc
from graphc.ir.node import apply
from graphc.ir.op import registry

from .sampling import FLOATS, Array, Case, Samples, Shape, bounded, same

SAMPLES: dict[str, Samples] = {}


def _regular(m: Any, x: Any) -> Any:
    return x + 4 * np.eye(int(x.shape[-1]), dtype=_dtype_name(x))


def _positive(m: Any, x: Any) -> Any:
    return m.matmul(x, m.matrix_transpose(x)) + 2 * np.eye(3, dtype=_dtype_name(x))


def _dtype_name(x: Any) -> str:
    return str(getattr(x.dtype, "name", x.dtype))


_SQUARE: tuple[Shape, ...] = ((3, 3), (2, 3, 3), ("n", 3, 3))


def each(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of single matrices for batches, which all operands have."""

    def of_batch(*arrays: Array) -> Any:
        if arrays[0].ndim == 2:
            return function(*arrays)
        rows = [function(*row) for row in zip(*arrays, strict=True)]
        if not rows:
            one = function(*(_any_of(a.shape[1:], a.dtype) for a in arrays))
            parts = one if isinstance(one, tuple) else (one,)
            empty = tuple(np.zeros((0, *np.shape(p)), np.asarray(p).dtype) for p in parts)
            return empty if isinstance(one, tuple) else empty[0]
        if isinstance(rows[0], tuple):
            return tuple(np.stack(part) for part in zip(*rows, strict=True))
        return np.stack(rows)

    return of_batch


def _any_of(shape: tuple[int, ...], dtype: Any) -> Array:
    """A regular matrix, or no exchanges."""
    whole = np.eye(*shape) if len(shape) == 2 else np.arange(1, shape[0] + 1)
    return whole.astype(dtype)


def _linalg(name: str, make: Callable[[Any, Any], Any] = _regular) -> Samples:
    return Samples(
        cases=tuple(
            same(
                lambda m, x: tuple_or_array(getattr(m.linalg, name)(make(m, x))),
                shape,
                draws=(bounded,),
            )
            for shape in _SQUARE
        ),
        takes=FLOATS,
    )


def tuple_or_array(result: Any) -> Any:
    return tuple(result) if isinstance(result, tuple) else result


for _name in ("inv", "det", "slogdet"):
    SAMPLES[_name] = _linalg(_name)
SAMPLES["cholesky"] = _linalg("cholesky", _positive)


SAMPLES["triangular_solve"] = Samples(
    cases=tuple(
        Case(
            call=lambda a, b, o=options: gc.linalg.triangular_solve(_regular(gc, a), b, **o),
            numpy=lambda a, b, o=options: _substituted(_regular(np, a), b, **o),
            shapes=shapes,
            draws=(bounded, None),
        )
        for shapes, options in (
            (((3, 3), (3,)), {}), (((3, 3), (2, 3, 2)), {"lower": True}),
            ((("n", 3, 3), ("n", 3, 1)), {"trans": True, "unit_diagonal": True}),
        )
    ),
    takes=FLOATS,
    wild=False,
    ulp=200,
    unit=1,
)  # fmt: skip
SAMPLES["lu"] = Samples(
    cases=tuple(
        Case(
            call=lambda x: tuple(gc.linalg.lu(_regular(gc, x))),
            numpy=lambda x: each(scipy.linalg.lu)(_regular(np, x)),
            shapes=(shape,),
            draws=(bounded,),
        )
        for shape in _SQUARE
    ),
    takes=FLOATS,
    wild=False,
    ulp=200,
    unit=1,
)


def _substituted(
    a: Array, b: Array, lower: bool = False, trans: bool = False, unit_diagonal: bool = False
) -> Array:
    """x of triangles, by NumPy's own solve."""
    a = np.tril(a) if lower else np.triu(a)
    if unit_diagonal:
        here = np.eye(a.shape[-1], dtype=bool)
        a = np.where(here, np.ones((), a.dtype), a)
    return np.asarray(np.linalg.solve(np.swapaxes(a, -1, -2) if trans else a, b))


def _determinants(x: Array) -> Array:
    """det(x) of rows of matrices, by minors of the first row."""
    if x.shape[-1] == 0:
        return np.ones(x.shape[:-2], x.dtype)
    minors = [np.delete(x[..., 1:, :], j, axis=-1) for j in range(x.shape[-1])]
    return np.asarray(
        sum((-1) ** j * x[..., 0, j] * _determinants(m) for j, m in enumerate(minors))
    )


def _cofactors(x: Array) -> Array:
    """The cofactor of each element: the determinant without its row and column."""
    result = np.empty_like(x)
    for i, j in np.ndindex(x.shape[-2:]):
        minor = np.delete(np.delete(x.astype(np.longdouble), i, axis=-2), j, axis=-1)
        result[..., i, j] = (-1) ** (i + j) * _determinants(minor)
    return result


def _cofactor_change(x: Array, g: Array) -> Array:
    """The cofactors are a polynomial of degree 2 (of 3 by 3 matrices): their difference quotient is
    right."""
    wide, along = x.astype(np.longdouble), g.astype(np.longdouble)
    return np.asarray((_cofactors(wide + along) - _cofactors(wide - along)) / 2).astype(x.dtype)


SAMPLES["cofactor"] = Samples(
    cases=tuple(
        Case(
            call=lambda x: apply(registry()["cofactor"], (x,)).output(),
            numpy=_cofactors,
            shapes=(shape,),
            draws=(bounded,),
        )
        for shape in _SQUARE
    ),
    takes=FLOATS,
    wild=False,
    ulp=200,
    unit=1,
)
SAMPLES["cofactor_change"] = Samples(
    cases=tuple(
        Case(
            call=lambda x, g: apply(registry()["cofactor_change"], (x, g)).output(),
            numpy=_cofactor_change,
            shapes=(shape, shape),
            draws=(bounded, bounded),
        )
        for shape in _SQUARE
    ),
    takes=FLOATS,
    wild=False,
    ulp=200,
    unit=1,
)
SAMPLES["solve"] = Samples(
    cases=tuple(
        same(lambda m, a, b: m.linalg.solve(_regular(m, a), b), a, b, draws=(bounded, None))
        for a, b in (((3, 3), (3,)), ((3, 3), (3, 2)), (("n", 3, 3), ("n", 3, 1)))
    ),
    takes=FLOATS,
    wild=False,
)
def _mirrored(m: Any, x: Any) -> Any:
    return _regular(m, x) + m.matrix_transpose(x)


SAMPLES["symmetric_solve"] = Samples(
    cases=tuple(
        Case(
            call=lambda a, b: gc.linalg.solve(_mirrored(gc, a), b, assume_a="sym"),
            numpy=lambda a, b: np.linalg.solve(_mirrored(np, a), b),
            shapes=shapes,
            draws=(bounded, None),
        )
        for shapes in (((3, 3), (3,)), ((5, 5), (2, 5, 2)), (("n", 6, 6), ("n", 6, 1)))
    ),
    takes=FLOATS,
    wild=False,
    ulp=200,
    unit=1,
)


def lower_mirrored(a: Array) -> Array:
    """The symmetric matrix with this lower triangle."""
    return np.tril(a) + np.tril(a, -1).swapaxes(-1, -2)


# -- decompositions --------------------------------------------------------------------------------
def _apart(m: Any, x: Any) -> Any:
    """Symmetric, the eigenvalues apart."""
    apart = np.diag([0, 4, 8]).astype(_dtype_name(x))
    return x + m.matrix_transpose(x) + apart


def _spiral(x: Any) -> Any:
    """A pair of complex eigenvalues, and a real one far from them."""
    turn = np.array([[0, -4, 0], [4, 0, 0], [0, 0, 9]])
    return x + turn.astype(_dtype_name(x))


def _tall(m: Any, x: Any) -> Any:
    """Rectangles whose singular values are apart."""
    rows, columns = (int(s) for s in x.shape[-2:])
    apart = np.zeros((rows, columns), _dtype_name(x))
    for i in range(min(rows, columns)):
        apart[i, i] = 3 * (i + 1)
    return x + apart


_RECTANGLES: tuple[Shape, ...] = ((3, 3), (2, 4, 3), ("n", 2, 3))


def _decomposition(
    call: Callable[[Any, Any], Any], make: Callable[[Any, Any], Any], shapes: tuple[Shape, ...]
) -> Samples:
    return Samples(
        cases=tuple(
            same(
                lambda m, x: tuple_or_array(call(m.linalg, make(m, x))), shape, draws=(bounded,)
            )
            for shape in shapes
        ),
        takes=FLOATS,
        wild=False,
    )


SAMPLES["eigh"] = _decomposition(lambda m, x: m.eigh(x), _apart, _SQUARE)
def _parts(name: str, place: int, domain: tuple[float, float] | None) -> Samples:
    """Of general matrices, real and imaginary parts: what NumPy's eig gives at `place`."""

    def numpy(x: Array) -> tuple[Array, Array]:
        found = np.linalg.eig(_spiral(x))[place]
        return np.real(found).astype(x.dtype), np.imag(found).astype(x.dtype)

    return Samples(
        cases=tuple(
            Case(
                call=lambda x: apply(registry()[name], (_spiral(x),)).outputs,
                numpy=numpy,
                shapes=(shape,),
                draws=(bounded,),
            )
            for shape in _SQUARE
        ),
        takes=FLOATS, wild=False, ulp=200, unit=1, domain=domain, smooth=False,
    )  # fmt: skip


SAMPLES["eig"] = _parts("eig", 1, None)
SAMPLES["eigvals"] = _parts("eigvals", 0, (-2.0, 2.0))
SAMPLES["eigvalsh"] = _decomposition(lambda m, x: m.eigvalsh(x), _apart, _SQUARE)
SAMPLES["svd"] = _decomposition(lambda m, x: m.svd(x, full_matrices=False), _tall, _RECTANGLES)
SAMPLES["svdvals"] = _decomposition(lambda m, x: m.svdvals(x), _tall, _RECTANGLES)
SAMPLES["qr"] = _decomposition(lambda m, x: m.qr(x), _tall, _RECTANGLES)
SAMPLES["pinv"] = _decomposition(lambda m, x: m.pinv(x, rtol=1e-3), _tall, _RECTANGLES)
SAMPLES["expm"] = Samples(
    cases=tuple(
        Case(
            call=gc.linalg.expm,
            numpy=lambda x: scipy.linalg.expm(x) if x.size else x,
            shapes=(shape,),
            draws=(bounded,),
        )
        for shape in _SQUARE
    ),
    takes=FLOATS,
    wild=False,
)
