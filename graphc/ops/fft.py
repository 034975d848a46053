"""`gc.fft`: Fourier transforms, by the names and signatures of the array API.

pocketfft computes them: native code calls NumPy's by its address (`runtime/vector_loops.py`), and
SciPy's, which plans large ones once, by a call back. They are linear, and three ops are all: `fft`
of complex numbers along several axes, `rfft` and `irfft` along one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import pi
from typing import TYPE_CHECKING, Any

from graphc.elsewhere import finder
from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.ir import origin
from graphc.ir.conditions import agree, require
from graphc.ir.dim import Size, dim, floordiv, minimum
from graphc.ir.dtype import complex_of, dtype_or_default, float64, int64
from graphc.ir.dtype import dtype as to_dtype
from graphc.ir.node import Tensor, apply
from graphc.ir.op import Axes, Fact, Kind, Op, register
from graphc.ir.shape import Shape, TensorType, normalize_axes, normalize_axis
from graphc.ir.vector_loop import VectorLoop
from graphc.keywords import answer
from graphc.ops.build import cast, size_as_tensor, tensor
from graphc.ops.complex import complex, conj, real
from graphc.ops.create import iota
from graphc.ops.elementwise import (
    cos,
    divide,
    equal,
    less,
    logical_or,
    multiply,
    remainder,
    sin,
    subtract,
    where,
)
from graphc.ops.index import strided_slice, zero_pad
from graphc.ops.manipulate import roll

_NORMS = ("backward", "ortho", "forward")
_TRANSPOSED = dict(zip(_NORMS, reversed(_NORMS), strict=True))  # who divides by n, exchanged
_FACTS = frozenset({Fact.AS_STORED})
_UFUNCS = "numpy.fft._pocketfft_umath"
_POWERS = {"backward": 0.0, "ortho": 0.5, "forward": 1.0}  # of n, which a transform is divided by
_OPERATIONS = 40  # for one complex number of a transform, 5 log2(n) of them


# -- the ops ---------------------------------------------------------------------------------------
def _same_of_tangent(
    context: object, ts: Sequence[Any], out: Tensor, x: Tensor, **attrs: Any
) -> Tensor:
    """Transforms are linear."""
    return apply(out.node.op, (ts[0],), **attrs).output()


def _infer_fft(
    z: TensorType, *, axes: tuple[int, ...], norm: str, inverse: bool
) -> tuple[TensorType, ...]:
    _require_complex("fft", z)
    for axis in axes:
        require(z.shape[axis] - 1, f"no elements to transform in {z}")
    return (z,)


def _require_complex(op: str, z: TensorType) -> None:
    if not z.dtype.is_complex:
        raise DTypeError("not complex", op=op, expected="complex64, complex128", given=z.dtype.name)


def _numpy_fft(z: Any, *, axes: Any, norm: str, inverse: bool) -> Any:
    import scipy.fft

    if len(axes) == 1:  # which SciPy has less to ask about
        return (scipy.fft.ifft if inverse else scipy.fft.fft)(z, axis=axes[0], norm=norm)
    return (scipy.fft.ifftn if inverse else scipy.fft.fftn)(z, axes=axes, norm=norm)


def _loops_fft(
    operands: Sequence[TensorType], results: Any, *, axes: tuple[int, ...], norm: str, inverse: bool
) -> list[VectorLoop]:
    """A pass for each axis, the last one first, as NumPy has it."""
    (z,) = operands
    name, power = ("ifft", _POWERS[_TRANSPOSED[norm]]) if inverse else ("fft", _POWERS[norm])
    work = z.size * _OPERATIONS
    return [
        VectorLoop(_UFUNCS, (name,), 0, axis, z.shape[axis], power, work)
        for axis in reversed(axes)
    ]


FFT = register(
    Op(
        "fft",
        Kind.HOST,
        _infer_fft,
        numpy=_numpy_fft,
        loops=_loops_fft,
        vjp=lambda context, g, out, z, **attrs: [_fft(g, **attrs)],  # its matrix is symmetric
        jvp=_same_of_tangent,
        axes={"axes": Axes.SEVERAL},
        facts=_FACTS,
        cost=_OPERATIONS,
        doc="The discrete Fourier transform along axes, or its inverse.",
    )
)


def _fft(z: Tensor, axes: tuple[int, ...], norm: str, inverse: bool) -> Tensor:
    return apply(FFT, (z,), axes=axes, norm=norm, inverse=inverse).output()


def _infer_rfft(x: TensorType, *, axis: int, norm: str) -> tuple[TensorType, ...]:
    if not x.dtype.is_float:
        raise DTypeError("not real", op="rfft", expected="float32, float64", given=x.dtype.name)
    require(x.shape[axis] - 1, f"no elements to transform in {x}")
    return (TensorType(complex_of(x.dtype), _with(x.shape, axis, _half(x.shape[axis]))),)


def _half(n: Size) -> Size:
    """How many numbers the transform of n real ones has: the others are their conjugates."""
    return floordiv(n, 2) + 1


def _with(shape: Shape, axis: int, size: Size) -> Shape:
    return (*shape[:axis], size, *shape[axis + 1 :])


def _numpy_rfft(x: Any, *, axis: int, norm: str) -> Any:
    import scipy.fft

    return scipy.fft.rfft(x, axis=axis, norm=norm)


def _loops_rfft(
    operands: Sequence[TensorType], results: Any, *, axis: int, norm: str
) -> list[VectorLoop]:
    (x,) = operands
    n, names = x.shape[axis], ("rfft_n_even", "rfft_n_odd")
    odd = n - 2 * floordiv(n, 2)
    work = x.size * (_OPERATIONS // 2)
    return [VectorLoop(_UFUNCS, names, odd, axis, n, _POWERS[norm], work)]


def _rfft_vjp(
    context: Any, g: Tensor, out: Tensor, x: Tensor, *, axis: int, norm: str
) -> list[Any]:
    """The real part of the transform of g with the missing numbers as zeros."""
    return [real(_fft(_resized(g, axis, x.shape[axis]), (axis,), norm, inverse=False))]


RFFT = register(
    Op(
        "rfft",
        Kind.HOST,
        _infer_rfft,
        numpy=_numpy_rfft,
        loops=_loops_rfft,
        vjp=_rfft_vjp,
        jvp=_same_of_tangent,
        axes={"axis": Axes.ONE},
        facts=_FACTS,
        cost=_OPERATIONS // 2,
        doc="The discrete Fourier transform of real numbers: its first n // 2 + 1 numbers.",
    )
)


def _infer_irfft(z: TensorType, *, axis: int, n: Size, norm: str) -> tuple[TensorType, ...]:
    _require_complex("irfft", z)
    require(n - 1, f"no elements to transform in {z}, n={n}")
    if not agree(z.shape[axis], _half(n)):
        raise ShapeError(
            f"not the transform of {n} real numbers",
            op="irfft",
            expected=f"size {_half(n)} of axis {axis}",
            given=str(z),
        )
    return (TensorType(z.dtype.part, _with(z.shape, axis, n)),)


def _numpy_irfft(z: Any, *, axis: int, n: int, norm: str) -> Any:
    import scipy.fft

    return scipy.fft.irfft(z, n, axis=axis, norm=norm)


def _loops_irfft(
    operands: Any, results: Sequence[TensorType], *, axis: int, n: Size, norm: str
) -> list[VectorLoop]:
    (x,) = results
    power, work = _POWERS[_TRANSPOSED[norm]], x.size * (_OPERATIONS // 2)
    return [VectorLoop(_UFUNCS, ("irfft",), 0, axis, n, power, work)]


def _irfft_vjp(
    context: Any, g: Tensor, out: Tensor, z: Tensor, *, axis: int, n: Size, norm: str
) -> list[Any]:
    """The transform of g, conjugated; twice what also counts as its conjugate."""
    back = conj(apply(RFFT, (g,), axis=axis, norm=_TRANSPOSED[norm]).output())
    k = iota(_with((1,) * z.ndim, axis, z.shape[axis]), axis)
    once = logical_or(equal(k, 0), equal(k * 2, size_as_tensor(n, int64)))
    return [multiply(where(once, 1.0, 2.0), back)]


IRFFT = register(
    Op(
        "irfft",
        Kind.HOST,
        _infer_irfft,
        numpy=_numpy_irfft,
        loops=_loops_irfft,
        vjp=_irfft_vjp,
        jvp=_same_of_tangent,
        axes={"axis": Axes.ONE},
        facts=_FACTS,
        cost=_OPERATIONS // 2,
        doc="The n real numbers whose discrete Fourier transform begins with these.",
    )
)


# -- operands --------------------------------------------------------------------------------------
def _resized(t: Tensor, axis: int, n: Size) -> Tensor:
    """The first n elements along an axis, with zeros behind them where there are fewer."""
    size = t.shape[axis]
    starts, steps = (0,) * t.ndim, (1,) * t.ndim
    cut = strided_slice(t, starts, _with(t.shape, axis, minimum(size, n)), steps)
    return cut if cut.shape[axis] == n else zero_pad(cut, starts, _with(t.shape, axis, n), steps)


def _float(op: str, x: Any) -> Tensor:
    t = tensor(x, op)
    return t if t.dtype.has_derivative else cast(t, float64)


def _complex(op: str, x: Any) -> Tensor:
    t = _float(op, x)
    return t if t.dtype.is_complex else cast(t, complex_of(t.dtype))


def _real(op: str, x: Any) -> Tensor:
    t = _float(op, x)
    if t.dtype.is_complex:
        raise DTypeError(
            "complex numbers, where real ones are transformed",
            op=op,
            expected="real numbers",
            given=t.dtype.name,
            where=origin.where(),
            hint="gc.fft.fft and gc.fft.fftn transform complex ones",
        )
    return t


def _norm(op: str, norm: Any) -> str:
    found = "backward" if norm is None else norm
    if found not in _NORMS:
        raise ArgumentError(
            "not a way to divide by the number of elements",
            op=op,
            expected=", ".join(map(repr, _NORMS)),
            given=repr(norm)[:80],
            where=origin.where(),
        )
    return str(found)


def _size(op: str, n: Any) -> Size:
    """A number of elements. Errors: `ArgumentError` for 0, and for what is no size."""
    size = dim(n)
    if size == 0:
        raise ArgumentError(
            "no elements to transform", op=op, expected="n >= 1", given=str(n), where=origin.where()
        )
    return size


def _axes(op: str, t: Tensor, s: Any, axes: Any) -> list[tuple[int, Size | None]]:
    """The axes in the order given, and the sizes that are wanted; all where none is, or with sizes
    as many of the last ones. Errors: `ShapeError`, `OutOfRangeError`."""
    sizes = None if s is None else list(s)
    if axes is None:
        count = t.ndim if sizes is None else len(sizes)
        axes = range(-count, 0)
    found = [normalize_axis(op, a, t.ndim) for a in axes]
    normalize_axes(op, found, t.ndim)  # each once
    if not found:
        raise ShapeError("no axis to transform along", op=op, given=str(t.type))
    if sizes is not None and len(sizes) != len(found):
        raise ShapeError(
            "a size for each axis", op=op, expected=f"{len(found)} sizes", given=str(tuple(sizes))
        )
    wanted = [None] * len(found) if sizes is None else [_size(op, n) for n in sizes]
    return list(zip(found, wanted, strict=True))


def _transformed(
    op: str, t: Tensor, axes: Sequence[tuple[int, Size | None]], norm: Any, *, inverse: bool
) -> Tensor:
    for axis, n in axes:
        t = t if n is None else _resized(t, axis, n)
    return _fft(t, tuple(axis for axis, _ in axes), _norm(op, norm), inverse)


# -- along one axis --------------------------------------------------------------------------------
def fft(x: Any, /, n: Any = None, axis: int = -1, norm: str | None = None) -> Tensor:
    """The discrete Fourier transform along `axis`: `sum_j x[j] * exp(-2j * pi * j * k / n)`.

    `n`: of the first n elements, or of all with zeros behind them. `norm`: "backward", the
    default, divides the inverse by n, "forward" this one, "ortho" each by its root.
    Shapes: the same, but n along the axis. Dtypes: complex; float32 gives complex64, others
    complex128. Errors: `ArgumentError`, `OutOfRangeError`.

    >>> import graphc as gc
    >>> gc.evaluate(gc.fft.fft([1.0, 0.0, 0.0]))
    array([1.+0.j, 1.+0.j, 1.+0.j])
    """
    t = _complex("fft", x)
    along = [(normalize_axis("fft", axis, t.ndim), None if n is None else _size("fft", n))]
    return _transformed("fft", t, along, norm, inverse=False)


def ifft(x: Any, /, n: Any = None, axis: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of `fft`; arguments, dtypes and errors as there."""
    t = _complex("ifft", x)
    along = [(normalize_axis("ifft", axis, t.ndim), None if n is None else _size("ifft", n))]
    return _transformed("ifft", t, along, norm, inverse=True)


def rfft(x: Any, /, n: Any = None, axis: int = -1, norm: str | None = None) -> Tensor:
    """The first `n // 2 + 1` numbers of `fft` of real numbers; the others are their conjugates.

    Arguments and errors as of `fft`; `DTypeError` for complex numbers.

    >>> import graphc as gc
    >>> gc.fft.rfft(gc.placeholder("x", ("n",))).type
    TensorType(dtype=c64, shape=(((n) // (2)) + 1,))
    """
    return _half_transform("rfft", x, n, axis, _norm("rfft", norm))


def _half_transform(op: str, x: Any, n: Any, axis: int, norm: str) -> Tensor:
    t = _real(op, x)
    along = normalize_axis(op, axis, t.ndim)
    t = t if n is None else _resized(t, along, _size(op, n))
    return apply(RFFT, (t,), axis=along, norm=norm).output()


def irfft(x: Any, /, n: Any = None, axis: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of `rfft`: `n` real numbers, `2 * (size - 1)` where that is not given.

    Imaginary parts that the transform of real numbers has not are ignored, as by NumPy.
    Arguments and errors as of `fft`.
    """
    return _from_half("irfft", x, n, axis, _norm("irfft", norm))


def _from_half(op: str, x: Any, n: Any, axis: int, norm: str) -> Tensor:
    z = _complex(op, x)
    along = normalize_axis(op, axis, z.ndim)
    size = 2 * (z.shape[along] - 1) if n is None else _size(op, n)
    if size == 0:
        raise ShapeError(
            "the number of real elements is not known of one number",
            op=op,
            given=str(z.type),
            hint="n=1, or another",
        )
    z = _resized(z, along, _half(size))
    return apply(IRFFT, (z,), axis=along, n=size, norm=norm).output()


def hfft(x: Any, /, n: Any = None, axis: int = -1, norm: str | None = None) -> Tensor:
    """The real transform of numbers of which `x` is the first half, the others their conjugates.

    `n` is how many it gives, `2 * (size - 1)` by default. Arguments and errors as of `fft`.
    """
    z = conj(_complex("hfft", x))
    return _from_half("hfft", z, n, axis, _TRANSPOSED[_norm("hfft", norm)])


def ihfft(x: Any, /, n: Any = None, axis: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of `hfft`: of real numbers, the first `n // 2 + 1` of its numbers."""
    return conj(_half_transform("ihfft", x, n, axis, _TRANSPOSED[_norm("ihfft", norm)]))


# -- along several ---------------------------------------------------------------------------------
def fftn(x: Any, /, s: Any = None, axes: Any = None, norm: str | None = None) -> Tensor:
    """`fft` along several axes, all by default; `s` has a size for each of them."""
    t = _complex("fftn", x)
    return _transformed("fftn", t, _axes("fftn", t, s, axes), norm, inverse=False)


def ifftn(x: Any, /, s: Any = None, axes: Any = None, norm: str | None = None) -> Tensor:
    """The inverse of `fftn`."""
    t = _complex("ifftn", x)
    return _transformed("ifftn", t, _axes("ifftn", t, s, axes), norm, inverse=True)


def fft2(x: Any, /, s: Any = None, axes: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """`fftn` along the last two axes."""
    return fftn(x, s, axes, norm)


def ifft2(x: Any, /, s: Any = None, axes: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """The inverse of `fft2`."""
    return ifftn(x, s, axes, norm)


def rfftn(x: Any, /, s: Any = None, axes: Any = None, norm: str | None = None) -> Tensor:
    """`rfft` along the last one of several axes, and `fft` along the others."""
    t = _real("rfftn", x)
    *others, (axis, n) = _axes("rfftn", t, s, axes)
    half = _half_transform("rfftn", t, n, axis, _norm("rfftn", norm))
    return _transformed("rfftn", half, others, norm, inverse=False) if others else half


def irfftn(x: Any, /, s: Any = None, axes: Any = None, norm: str | None = None) -> Tensor:
    """The inverse of `rfftn`; the last size is `2 * (size - 1)` where none is given."""
    z = _complex("irfftn", x)
    *others, (axis, n) = _axes("irfftn", z, s, axes)
    backwards = others[::-1]  # so that the first axis comes first, as in NumPy
    whole = _transformed("irfftn", z, backwards, norm, inverse=True) if others else z
    return _from_half("irfftn", whole, n, axis, _norm("irfftn", norm))


def rfft2(x: Any, /, s: Any = None, axes: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """`rfftn` along the last two axes."""
    return rfftn(x, s, axes, norm)


def irfft2(x: Any, /, s: Any = None, axes: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """The inverse of `rfft2`."""
    return irfftn(x, s, axes, norm)


# -- frequencies -----------------------------------------------------------------------------------
def fftfreq(n: Any, /, *, d: Any = 1.0, dtype: Any = None) -> Tensor:
    """The frequencies of `fft`'s numbers, for n samples `d` apart: 0, 1, ..., -2, -1 over `n * d`.

    Dtypes: the default one. Errors: `ArgumentError` for no number of samples.

    >>> import graphc as gc
    >>> gc.evaluate(gc.fft.fftfreq(4))
    array([ 0.  ,  0.25, -0.5 , -0.25], dtype=float32)
    """
    size = _size("fftfreq", n)
    k, half = iota((size,)), size_as_tensor(floordiv(size + 1, 2), int64)
    turned = where(less(k, half), k, subtract(k, size_as_tensor(size, int64)))
    return _over_span(turned, size, d, dtype)


def rfftfreq(n: Any, /, *, d: Any = 1.0, dtype: Any = None) -> Tensor:
    """The frequencies of `rfft`'s numbers: 0, 1, ..., n // 2 over `n * d`; see `fftfreq`."""
    size = _size("rfftfreq", n)
    return _over_span(iota((_half(size),)), size, d, dtype)


def _over_span(k: Tensor, n: Size, d: Any, dtype: Any) -> Tensor:
    span = multiply(size_as_tensor(n, float64), d)
    return cast(divide(cast(k, float64), span), dtype_or_default(dtype))


def fftshift(x: Any, /, *, axes: Any = None) -> Tensor:
    """`x` with the number of frequency 0 in the middle of `axes` (of all by default)."""
    return _shifted("fftshift", x, axes, lambda size: floordiv(size, 2))


def ifftshift(x: Any, /, *, axes: Any = None) -> Tensor:
    """The inverse of `fftshift`."""
    return _shifted("ifftshift", x, axes, lambda size: size - floordiv(size, 2))


def _shifted(op: str, x: Any, axes: Any, shift: Callable[[Size], Size]) -> Tensor:
    t = tensor(x, op)
    along = normalize_axes(op, axes, t.ndim)
    return roll(t, tuple(shift(t.shape[a]) for a in along), along) if along else t


def dft_matrix(n: Any, /, *, norm: str | None = None, dtype: Any = None) -> Tensor:
    """The matrix F [n, n] for which `F @ x` is `fft(x)`, for a vector x.

    Dtypes: `dtype`, a complex one; by default that of the default dtype.
    Errors: `ArgumentError`; `DTypeError` for a real dtype.
    """
    size, way = _size("dft_matrix", n), _norm("dft_matrix", norm)
    to = complex_of(dtype_or_default(None)) if dtype is None else to_dtype(dtype)
    if not to.is_complex:
        raise DTypeError("not complex", op="dft_matrix", expected="complex64, complex128",
                         given=to.name)
    count = size_as_tensor(size, int64)
    turns = remainder(multiply(iota((size, 1), 0), iota((1, size), 1)), count)
    angles = multiply(divide(cast(turns, float64), cast(count, float64)), -2 * pi)
    found = complex(cos(angles), sin(angles))
    power = _POWERS[way]
    return cast(found if power == 0 else divide(found, cast(count, float64) ** power), to)


ALSO = {
    f.__name__: f
    for f in (
        fft, ifft, rfft, irfft, hfft, ihfft, fftn, ifftn, fft2, ifft2, rfftn, irfftn, rfft2, irfft2,
        fftfreq, rfftfreq, fftshift, ifftshift, dft_matrix,
    )
}  # fmt: skip
FUNCTIONS: dict[str, Callable[..., Any]] = {}  # all are reached as gc.fft.*
NUMPY = {f"fft.{name}": f for name, f in ALSO.items()}
__all__ = sorted(ALSO)

answer(globals(), ALSO)
if not TYPE_CHECKING:
    __getattr__ = finder(__name__)
