"""Samples of complex numbers and of Fourier transforms, of parts and with parts as results."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.fft

import graphc as gc
from graphc.loops.primitives import complex_number

from .sampling import Array, Case, Samples, Shape, in_float

PAIRS: tuple[tuple[Shape, Shape], ...] = (
    ((7,), (7,)), ((3, 4), (3, 4)), (("n", 4), ("n", 4)), ((2, 1), (2, 1)),
)  # fmt: skip


def together(x: Array, y: Array) -> Array:
    return np.asarray(complex_number(in_float(x), in_float(y)))


def in_double(x: Array) -> Array:
    return x if x.dtype.kind == "f" else x.astype(np.float64)


def parts(z: Any) -> tuple[Any, Any]:
    return (z.real, z.imag) if isinstance(z, np.ndarray) else (gc.real(z), gc.imag(z))


SAMPLES: dict[str, Samples] = {
    "complex": Samples(
        cases=tuple(
            Case(call=gc.complex, numpy=together, shapes=shapes)
            for shapes in (*PAIRS, ((), (3,)), ((3, 1), (1, 4)), ((), ()))
        ),
        domain=None,
    ),
    "real": Samples(
        cases=tuple(
            Case(
                call=lambda x, y: gc.real(gc.fft.fft(gc.complex(x, y))),
                numpy=lambda x, y: scipy.fft.fft(together(x, y)).real,
                shapes=shapes,
            )
            for shapes in PAIRS
        ),
        wild=False,
    ),
    "imag": Samples(
        cases=tuple(
            Case(
                call=lambda x, y: gc.imag(gc.fft.ifft(gc.complex(x, y), norm="ortho")),
                numpy=lambda x, y: scipy.fft.ifft(together(x, y), norm="ortho").imag,
                shapes=shapes,
            )
            for shapes in PAIRS
        ),
        wild=False,
    ),
    "fft": Samples(
        cases=tuple(
            Case(
                call=lambda x, y: parts(gc.fft.fftn(gc.complex(x, y), s=(5,), axes=(-1,))),
                numpy=lambda x, y: parts(scipy.fft.fftn(together(x, y), s=(5,), axes=(-1,))),
                shapes=shapes,
            )
            for shapes in PAIRS
        ),
        wild=False,
    ),
    "rfft": Samples(
        cases=tuple(
            Case(
                call=lambda x: parts(gc.fft.rfft(x)),
                numpy=lambda x: parts(scipy.fft.rfft(in_double(x))),
                shapes=shapes[:1],
            )
            for shapes in PAIRS
        ),
        wild=False,
    ),
    "irfft": Samples(
        cases=tuple(
            Case(
                call=lambda x, y: gc.fft.irfft(gc.complex(x, y), 5, norm="forward"),
                numpy=lambda x, y: scipy.fft.irfft(together(x, y), 5, norm="forward"),
                shapes=shapes,
            )
            for shapes in PAIRS
        ),
        wild=False,
    ),
}
