"""Spectral methods: what lies between Fourier transforms, and the transforms.

Each side is the same few lines, over the library's own names. Those in float64 ask JAX for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .harness import NotOfferedError, Prepared, case

STEPS, STEP = 1000, 1e-3
WINDOW, HOP = 512, 128


def split_step(n: int) -> tuple[np.ndarray[Any, Any], ...]:
    """A wave packet [n] in a periodic box, and the phases [n] of a step of a potential and of a
    free particle: Feit, Fleck and Steiger, 1982."""
    x = np.linspace(-10, 10, n, endpoint=False)
    k = 2 * np.pi * np.fft.fftfreq(n, 20 / n)
    packet = np.exp(-((x + 3) ** 2) + 2j * x)
    return packet, np.exp(-0.5j * STEP * x**2), np.exp(-0.5j * STEP * k**2)


def in_double(function: Callable[..., Any], *arrays: Any) -> Prepared:
    """JAX's side in float64."""
    import jax

    with jax.enable_x64(True):
        compiled, placed = jax.jit(function), jax.device_put(arrays)
        found = np.asarray(compiled(*placed))

    def call() -> Any:
        with jax.enable_x64(True):
            return jax.block_until_ready(compiled(*placed))

    return Prepared(call, {"result": found})


def simply(function: Callable[..., Any], *arrays: Any) -> Prepared:
    return Prepared(lambda: function(*arrays), {"result": np.asarray(function(*arrays))})


def by_graphc(build: Callable[..., Any], *arrays: Any) -> Prepared:
    import graphc as gc

    given = [gc.placeholder(f"a{i}", a.shape, str(a.dtype)) for i, a in enumerate(arrays)]
    return simply(gc.compile(given, build(*given)), *arrays)


def prepared_split_step(contender: str, n: int) -> Prepared:
    arrays = split_step(n)

    def one(fft: Any, packet: Any, potential: Any, free: Any) -> Any:
        return fft.ifft(fft.fft(packet * potential) * free)

    def in_python(fft: Any) -> Callable[..., Any]:
        def run(packet: Any, *phases: Any) -> Any:
            for _ in range(STEPS):
                packet = one(fft, packet, *phases)
            return packet

        return run

    match contender:
        case "numpy":
            return simply(in_python(np.fft), *arrays)
        case "torch":
            import torch

            return simply(in_python(torch.fft), *map(torch.from_numpy, arrays))
        case "jax":
            import jax

            return in_double(
                lambda packet, *phases: jax.lax.fori_loop(
                    0, STEPS, lambda _, p: one(jax.numpy.fft, p, *phases), packet
                ),
                *arrays,
            )
        case "graphc":
            import graphc as gc

            return by_graphc(
                lambda packet, *phases: gc.scan(
                    lambda p, _: (one(gc.fft, p, *phases), None), packet, length=STEPS
                )[0],
                *arrays,
            )
    raise NotOfferedError(contender)


@case("Schroedinger's equation, 1000 split steps of 512, float64", rtol=1e-8, atol=1e-10)
def split_step_512(contender: str) -> Prepared:
    return prepared_split_step(contender, 512)


@case("Schroedinger's equation, 1000 split steps of 2048, float64", rtol=1e-8, atol=1e-10)
def split_step_2048(contender: str) -> Prepared:
    return prepared_split_step(contender, 2048)


@case("Poisson's equation by rfft2, 256 x 256, float64", rtol=1e-8, atol=1e-10)
def poisson(contender: str) -> Prepared:
    """-u'' = rho in a periodic square; the mean of u is 0."""
    n = 256
    rho = np.random.default_rng(0).standard_normal((n, n))
    k2 = np.fft.fftfreq(n, 1 / n)[:, None] ** 2 + np.fft.rfftfreq(n, 1 / n) ** 2
    k2[0, 0] = np.inf

    def solve(fft: Any, rho: Any, k2: Any) -> Any:
        return fft.irfft2(fft.rfft2(rho) / k2, s=(n, n))

    return offered(contender, solve, rho, k2, wide=True)


@case("convolution by FFT of a batch, 32 x 1024 by 1024", rtol=1e-4, atol=1e-3)
def fft_convolution(contender: str) -> Prepared:
    """The linear one: of each row with one filter, as long as the row."""
    n = 1024
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(s, dtype=np.float32) for s in ((32, n), (n,)))

    def convolve(fft: Any, x: Any, w: Any) -> Any:
        return fft.irfft(fft.rfft(x, n=2 * n) * fft.rfft(w, n=2 * n), n=2 * n)[:, :n]

    return offered(contender, convolve, x, w)


@case("spectrogram of 65,536 samples, 509 windows of 512", rtol=1e-3, atol=1e-2)
def spectrogram(contender: str) -> Prepared:
    """The power of overlapping parts of a signal, in Hann's window."""
    rng = np.random.default_rng(0)
    signal = rng.standard_normal(65_536, dtype=np.float32)
    hann = np.hanning(WINDOW).astype(np.float32)
    places = np.arange(0, len(signal) - WINDOW + 1, HOP)[:, None] + np.arange(WINDOW)

    def power(fft: Any, signal: Any, hann: Any) -> Any:
        return abs(fft.rfft(signal[places] * hann)) ** 2

    return offered(contender, power, signal, hann)


def offered(
    contender: str, function: Callable[..., Any], *arrays: Any, wide: bool = False
) -> Prepared:
    """Every side of a function that is the same over all libraries' transforms."""
    match contender:
        case "numpy":
            return simply(lambda *a: function(np.fft, *a), *arrays)
        case "torch":
            import torch

            tensors = map(torch.from_numpy, arrays)
            return simply(lambda *a: function(torch.fft, *a), *tensors)
        case "jax":
            import jax

            if wide:
                return in_double(lambda *a: function(jax.numpy.fft, *a), *arrays)
            compiled = jax.jit(lambda *a: function(jax.numpy.fft, *a))
            placed = jax.device_put(arrays)
            return simply(lambda: jax.block_until_ready(compiled(*placed)))
        case "graphc":
            import graphc as gc

            return by_graphc(lambda *a: function(gc.fft, *a), *arrays)
    raise NotOfferedError(contender)
