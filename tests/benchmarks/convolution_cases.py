"""Convolutions of five shapes, forward and by each operand.

Everybody has the operands in the layout that it is fastest with: graphc channels last, PyTorch and
JAX in the better of two, which is found before anything is measured. A gradient is computed by
itself, without the convolution whose gradient it is. The second operand is scaled so that results
are about 1, whatever is summed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from .harness import NotOfferedError, Prepared, case

Array = npt.NDArray[Any]
Call = Callable[[], Any]
BATCH = 8
TRIALS = 5


@dataclass(frozen=True)
class Shape:
    """A convolution [BATCH, c, size, size] -> [BATCH, o, ...], padded so that with stride 1 the
    size is kept."""

    c: int
    o: int
    size: int
    window: int
    stride: int = 1
    groups: int = 1

    @property
    def pad(self) -> int:
        return self.window // 2

    @property
    def made(self) -> int:
        return (self.size + 2 * self.pad - self.window) // self.stride + 1

    def operands(self) -> tuple[Array, Array, Array]:
        """(x, w, g) with channels first: image, kernel, cotangent of what is made."""
        random = np.random.default_rng(0)
        shapes = (
            (BATCH, self.c, self.size, self.size),
            (self.o, self.c // self.groups, self.window, self.window),
            (BATCH, self.o, self.made, self.made),
        )
        x, w, g = (random.standard_normal(s, np.float32) for s in shapes)
        return x, w, g


SHAPES = {
    "64": Shape(64, 64, 56, 3),
    "128": Shape(128, 128, 28, 3, stride=2),
    "256": Shape(256, 256, 14, 3),
    "512": Shape(512, 512, 7, 1),
    "depthwise": Shape(96, 96, 28, 3, groups=96),
}
PARTS = ("forward", "by_input", "by_kernel")
NAMES = [f"conv_{name}_{part}" for name, part in product(SHAPES, PARTS)]


def last(t: Any) -> Any:
    """An image with its channels last."""
    return np.ascontiguousarray(np.moveaxis(t, 1, -1))


def kernel_last(w: Any) -> Any:
    return np.ascontiguousarray(w.transpose(2, 3, 1, 0))


def taken(shape: Shape, part: str) -> tuple[Array, Array]:
    """The two operands of a part, the second one scaled: (x, w), (g, w) or (x, g)."""
    x, w, g = shape.operands()
    terms = {
        "forward": shape.c // shape.groups * shape.window**2,
        "by_input": shape.o // shape.groups * shape.window**2,
        "by_kernel": BATCH * shape.made**2,
    }[part]
    first, second = {"forward": (x, w), "by_input": (g, w), "by_kernel": (x, g)}[part]
    return first, second / np.float32(terms**0.5)


def fastest(*calls: Call) -> Call:
    """The call that takes the least time, of a few runs in turn."""
    best = [float("inf")] * len(calls)
    for _ in range(TRIALS + 1):
        for i, call in enumerate(calls):
            start = perf_counter()
            call()
            best[i] = min(best[i], perf_counter() - start)
    return calls[best.index(min(best))]


# -- one convolution -------------------------------------------------------------------------------
class ByTaps:
    """A convolution in NumPy, one place of the window at a time: for each the part of the padded
    image that it lies on, multiplied as a matrix. Channels are last."""

    def __init__(self, window: int, pad: int, stride: int = 1, groups: int = 1) -> None:
        self.window, self.pad, self.stride, self.groups = window, pad, stride, groups

    def padded(self, x: Array) -> Array:
        side = (self.pad, self.pad)
        return np.pad(x, ((0, 0), side, side, (0, 0)))

    def parts(self, padded: Array, made: int) -> list[tuple[int, int, Array]]:
        """Each place of the window, and a view of what it lies on."""
        end = (made - 1) * self.stride + 1
        places = product(range(self.window), repeat=2)
        return [(i, j, padded[:, i : i + end : self.stride, j : j + end : self.stride])
                for i, j in places]  # fmt: skip

    def forward(self, x: Array, w: Array) -> Array:
        made = (x.shape[1] + 2 * self.pad - self.window) // self.stride + 1
        depthwise = self.groups > 1
        parts = self.parts(self.padded(x), made)
        terms = (t * w[i, j, 0] if depthwise else t @ w[i, j] for i, j, t in parts)
        return np.asarray(sum(terms))

    def by_input(self, g: Array, w: Array, size: int) -> Array:
        channels = g.shape[-1] if self.groups > 1 else w.shape[2]
        whole = np.zeros((len(g), size + 2 * self.pad, size + 2 * self.pad, channels), g.dtype)
        for i, j, t in self.parts(whole, g.shape[1]):
            t += g * w[i, j, 0] if self.groups > 1 else g @ w[i, j].T
        return whole[:, self.pad : self.pad + size, self.pad : self.pad + size]

    def by_kernel(self, x: Array, g: Array) -> Array:
        rows = g.reshape(-1, g.shape[-1])
        found = []
        for _, _, t in self.parts(self.padded(x), g.shape[1]):
            flat = t.reshape(-1, t.shape[-1])
            found.append((flat * rows).sum(0)[None] if self.groups > 1 else flat.T @ rows)
        return np.stack(found).reshape(self.window, self.window, -1, g.shape[-1])


def by_numpy(shape: Shape, part: str) -> Prepared:
    steps = ByTaps(shape.window, shape.pad, shape.stride, shape.groups)
    first, second = taken(shape, part)
    a, b = last(first), last(second) if part == "by_kernel" else kernel_last(second)
    more = (shape.size,) if part == "by_input" else ()
    run = getattr(steps, part)
    wide = run(a.astype(np.float64), b.astype(np.float64), *more)
    answer = wide.transpose(3, 2, 0, 1) if part == "by_kernel" else np.moveaxis(wide, -1, 1)
    return Prepared(lambda: run(a, b, *more), {part: answer})


def by_graphc(shape: Shape, part: str) -> Prepared:
    import graphc as gc

    sides = ((BATCH, shape.size, shape.size, shape.c),
             (shape.window, shape.window, shape.c // shape.groups, shape.o),
             (BATCH, shape.made, shape.made, shape.o))  # fmt: skip
    x, w, g = (gc.placeholder(n, s) for n, s in zip("xwg", sides, strict=True))
    y = gc.conv(x, w, stride=shape.stride, padding=shape.pad, groups=shape.groups,
                data_format="NHWC")  # fmt: skip
    made, inputs = {
        "forward": (y, [x, w]),
        "by_input": (gc.vjp(y, x, g), [g, w]),
        "by_kernel": (gc.vjp(y, w, g), [x, g]),
    }[part]
    first, second = taken(shape, part)
    a, b = last(first), last(second) if part == "by_kernel" else kernel_last(second)
    compiled = gc.compile(inputs, made)
    answer = np.asarray(compiled(a, b))
    return Prepared(lambda: compiled(a, b), {part: _channels_first(answer, part)})


def _channels_first(answer: Array, part: str) -> Array:
    return answer.transpose(3, 2, 0, 1) if part == "by_kernel" else np.moveaxis(answer, -1, 1)


def by_torch(shape: Shape, part: str) -> Prepared:
    import torch

    torch.set_grad_enabled(False)
    x, w, g = map(torch.from_numpy, shape.operands())
    first, second = map(torch.from_numpy, taken(shape, part))
    x, w, g = {"forward": (first, second, g), "by_input": (x, second, first),
               "by_kernel": (first, w, second)}[part]  # fmt: skip
    pair = ([shape.stride] * 2, [shape.pad] * 2, [1, 1])

    def run(layout: Any) -> Call:
        x_, w_, g_ = (t.contiguous(memory_format=layout) for t in (x, w, g))
        if part == "forward":
            return lambda: torch.conv2d(x_, w_, None, *pair, shape.groups)
        mask = [part == "by_input", part == "by_kernel", False]
        back = torch.ops.aten.convolution_backward
        more = (None, *pair, False, [0, 0], shape.groups, mask)
        return lambda: back(g_, x_, w_, *more)[int(part == "by_kernel")]

    call = fastest(run(torch.contiguous_format), run(torch.channels_last))
    return Prepared(call, {part: call().contiguous().numpy()})


def by_jax(shape: Shape, part: str) -> Prepared:
    import jax

    x, w, _ = shape.operands()
    first, second = taken(shape, part)

    def run(is_last: bool) -> tuple[Call, Callable[[Any], Array]]:
        layouts = ("NHWC", "HWIO", "NHWC") if is_last else ("NCHW", "OIHW", "NCHW")
        pads = [(shape.pad, shape.pad)] * 2

        def conv(x: Any, w: Any) -> Any:
            return jax.lax.conv_general_dilated(
                x, w, (shape.stride,) * 2, pads, dimension_numbers=layouts,
                feature_group_count=shape.groups,
            )  # fmt: skip

        def image(t: Any) -> Any:
            return last(t) if is_last else t

        def kernel(t: Any) -> Any:
            return kernel_last(t) if is_last else t

        like = {"by_input": image(x), "by_kernel": kernel(w)}
        function = {
            "forward": conv,
            "by_input": lambda g, w: jax.vjp(lambda x: conv(x, w), like[part])[1](g)[0],
            "by_kernel": lambda x, g: jax.vjp(lambda w: conv(x, w), like[part])[1](g)[0],
        }[part]
        put = image if part == "by_kernel" else kernel
        a, b = jax.device_put((image(first), put(second)))
        compiled = jax.jit(function)

        def answer(found: Any) -> Array:
            return _channels_first(np.asarray(found), part) if is_last else np.asarray(found)

        return lambda: compiled(a, b).block_until_ready(), answer

    both = [run(False), run(True)]
    call = fastest(*(call for call, _ in both))
    answer = next(answer for one, answer in both if one is call)
    return Prepared(call, {part: answer(call())})


def _register(name: str, part: str) -> None:
    """The case of one shape and part."""
    shape = SHAPES[name]
    title = f"{part} of {shape.c} x {shape.size}^2, {shape.window} x {shape.window}"
    title += f", stride {shape.stride}" * (shape.stride > 1) + ", depthwise" * (shape.groups > 1)

    def prepare(contender: str) -> Prepared:
        sides = {"numpy": by_numpy, "graphc": by_graphc, "torch": by_torch, "jax": by_jax}
        if contender not in sides:
            raise NotOfferedError(contender)
        return sides[contender](shape, part)

    prepare.__name__ = f"conv_{name}_{part}"
    case(title, rtol=1e-3, atol=1e-3)(prepare)


for _name, _part in product(SHAPES, PARTS):
    _register(_name, _part)
