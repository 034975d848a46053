"""Samples of what moves, repeats and makes elements by NumPy's names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import graphc as gc

from .sampling import ALL, Case, Samples, Shape, of_kinds, same

SAMPLES: dict[str, Samples] = {}


def _moves(name: str, *cases: tuple[Shape, Callable[[Any, Any], Any]], **options: Any) -> None:
    """Cases of one tensor, each a shape and what is called on it in either namespace."""
    made = tuple(same(call, shape) for shape, call in cases)
    SAMPLES[name] = Samples(cases=made, **options)


def _by(
    name: str, *arguments: tuple[Shape, tuple[Any, ...], dict[str, Any]], **options: Any
) -> None:
    """Cases of one tensor and arguments that both namespaces take."""
    _moves(
        name,
        *(
            (shape, lambda m, x, a=args, k=named: getattr(m, name)(x, *a, **k))
            for shape, args, named in arguments
        ),
        **options,
    )


_by(
    "roll",
    ((5,), (2,), {"axis": 0}), ((3, 4), (-1,), {"axis": 1}), ((3, 4), (1, 0), {}),
    ((2, 3, 4), ((1, -2), (0, 2)), {}), ((2, 3, 4), (1, (0, 1, 2)), {}), ((3, 2), (3,), {}),
    (("n", 3), (1,), {"axis": 0}), (("n", 3), ((2, 2), (1, 0)), {}), (("n",), (-7,), {}),
    ((0, 3), (1,), {"axis": 0}), ((1, 4), ((5, 1), (1, 1)), {}),
)  # fmt: skip
_by(
    "moveaxis",
    ((2, 3, 4), (0, -1), {}), ((2, 3, 4), ((0, 2), (1, 0)), {}), (("n", 0, 1), (1, 0), {}),
)  # fmt: skip
_by("swapaxes", ((2, 3, 4), (0, 2), {}), (("n", 3), (-1, 0), {}))
_by("ravel", ((2, 3), (), {}), ((), (), {}), (("n", 2), (), {}))
_by(
    "repeat",
    ((3,), (2,), {}), ((2, 3), (3,), {"axis": 1}), ((2, 3), (0,), {"axis": 0}),
    ((2, 3), ([2, 0, 1],), {"axis": 1}), (("n", 2), (2,), {"axis": 0}), ((), (3,), {}),
    ((0, 2), (2,), {"axis": 1}),
)  # fmt: skip
_by(
    "tile",
    ((3,), (2,), {}), ((2, 3), ((2, 1),), {}), ((2,), ((2, 1, 3),), {}), (("n", 2), (2,), {}),
    ((2, 1), ((0, 2),), {}), ((), (3,), {}),
)  # fmt: skip
for _name in ("tril", "triu"):
    _by(
        _name,
        ((3, 4), (), {}), ((4, 2), (), {"k": 1}), ((2, 3, 3), (), {"k": -1}),
        ((3, 3), (), {"k": 9}), (("n", 3), (), {}), ((0, 2), (), {}),
    )  # fmt: skip
_by("rot90", *(((2, 3), (k,), {}) for k in range(4)), (("n", 2), (1, (1, 0)), {}))
_moves(
    "unstack",
    ((2, 3), lambda m, x: m.unstack(x, axis=1)[1]),
    ((3, "n"), lambda m, x: m.unstack(x)[0]),
)
_by(
    "diff",
    ((5,), (), {}), ((3, 4), (), {"axis": 0}), ((3, 4), (), {"n": 2}), ((2, 3), (), {"n": 0}),
    ((2, 5), (), {"n": 3}), ((1, 3), (), {"axis": 0}),
)  # fmt: skip
SAMPLES["diff"] = Samples(
    cases=(
        *SAMPLES["diff"].cases,
        same(lambda m, x, y: m.diff(x, axis=1, prepend=y, append=y), (2, 3), (2, 1)),
    )
)
for _name in ("hstack", "vstack", "dstack", "column_stack"):
    SAMPLES[_name] = Samples(
        cases=tuple(
            same(lambda m, *xs, f=_name: getattr(m, f)(xs), shape, shape)
            for shape in ((2, 3), (3,), ("n", 2))
        )
    )
SAMPLES["meshgrid"] = Samples(
    cases=tuple(
        Case(
            call=lambda *xs, i=indexing: tuple(gc.meshgrid(*xs, indexing=i)),
            numpy=lambda *xs, i=indexing: tuple(np.meshgrid(*xs, indexing=i)),
            shapes=shapes,
        )
        for indexing in ("xy", "ij")
        for shapes in (((2,), (3,)), (("n",), (2,), (1,)), ((0,),))
    )
)
SAMPLES["broadcast_arrays"] = Samples(
    cases=(
        Case(
            call=lambda *xs: tuple(gc.broadcast_arrays(*xs)),
            numpy=lambda *xs: tuple(np.broadcast_arrays(*xs)),
            shapes=((2, 1), ("n", 1, 3)),
        ),
    )
)
_TRAPEZOID: dict[str, Any] = {"takes": of_kinds("f"), "ulp": 8, "unit": 1.0, "wild": False}
_by(
    "trapezoid",
    ((5,), (), {}), ((3, 4), (), {"axis": 0, "dx": 0.5}), (("n", 3), (), {}),
    ((2, 3), (np.array([0.0, 1.0, 3.0], "float32"),), {}), **_TRAPEZOID,
)  # fmt: skip
_by(
    "gradient",
    ((5,), (), {}), ((4,), (0.5,), {}), ((3, 4), (), {"axis": 1}),
    ((4,), (np.array([0.0, 1.0, 3.0, 4.0], "float32"),), {}), **_TRAPEZOID,
)  # fmt: skip


# -- made of numbers -------------------------------------------------------------------------------
def _made(name: str, *cases: tuple[tuple[Any, ...], dict[str, Any]], takes: Any = ALL) -> None:
    """Cases without operands but one whose dtype the result is converted to."""
    SAMPLES[name] = Samples(
        cases=tuple(
            Case(
                call=lambda x, a=args, k=named: getattr(gc, name)(*a, **k).astype(x.dtype),
                numpy=lambda x, a=args, k=named: getattr(np, name)(*a, **k).astype(x.dtype),
                shapes=((),),
            )
            for args, named in cases
        ),
        takes=takes,
        domain=None,
    )


_made("eye", ((3,), {}), ((2, 4), {"k": 1}), ((4, 2), {"k": -1}), ((0,), {}), ((3,), {"k": 7}))
_made("arange", ((5,), {}), ((2, 11, 3), {}), ((5, -3, -2), {}), ((3, 1), {}), ((0,), {}),
      takes=of_kinds("iuf"))  # fmt: skip
_made("linspace", ((0, 8, 5), {}), ((0, 8, 4), {"endpoint": False}), ((3, 3, 1), {}),
      ((8, 0, 3), {}), ((0, 1, 0), {}), takes=of_kinds("iuf"))  # fmt: skip
SAMPLES["full_like"] = Samples(
    cases=tuple(
        Case(
            call=lambda x: gc.full_like(x, 1),
            numpy=lambda x: np.full_like(x, 1),
            shapes=(s,),
        )
        for s in ((2, 3), ("n",), ())
    ),
    domain=None,
)
