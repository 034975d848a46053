"""Complex numbers and Fourier transforms in random graphs, made of real tensors."""

from __future__ import annotations

from typing import Any

import graphc as gc
from graphc.ir.node import Tensor

from .families import family
from .growth import Growth, UnsuitedError


def _signal(b: Growth) -> Tensor:
    """Floats with elements along the last axis, whatever the named sizes are."""
    t = b.pick("f", lambda t: 0 < t.ndim < 4)
    if not isinstance(t.shape[-1], int) or t.shape[-1] == 0:
        raise UnsuitedError
    return gc.tanh(t)


@family(3)
def spectrum(b: Growth) -> Any:
    """A transform and what is computed with it."""
    t = _signal(b)
    norm, n = b.choose(("backward", "ortho", "forward")), b.choose((None, 2, 5))
    if b.chance(0.3):
        z = gc.fft.rfft(t, n=n, norm=norm)
    else:
        transform = b.choose((gc.fft.fft, gc.fft.ifft))
        z = transform(gc.complex(t, gc.sin(t)), n=n, norm=norm)
    kind = b.integer(0, 5)
    if kind == 0:
        return gc.abs(z * gc.conj(z) + 0.5j)
    if kind == 1:
        return gc.fft.irfft(z * z, n=b.choose((1, 4, 5)), norm=norm)
    if kind == 2:
        return [gc.real(gc.exp(z * 0.1)), gc.imag(gc.flip(z) / (z + 3))]
    if kind == 3:
        return gc.where(gc.real(z) > 0, gc.imag(z), gc.sum(gc.abs(z)))
    return [gc.real(z), gc.imag(z)]
