"""What PyTorch's operations are in graphc: a table, by the names of `torch.testing`'s samples.

An entry takes what the sample gives to torch, tensors of graphc for its tensors, and gives the
result or several. It raises `OtherError` for what it is not asked to do: an option, or a case in
which the two libraries mean different things.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import graphc as gc

TABLE: dict[str, Callable[..., Any]] = {}


WHOLE = "fractions of ints, which torch drops"
SCALAR = "an axis of a scalar"


class OtherError(Exception):
    """A sample that is not compared, and why."""


def other(condition: Any, why: str) -> None:
    if condition:
        raise OtherError(why)


def named(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        TABLE.update(dict.fromkeys(names, function))
        return function

    return add


def same(names: str, room: Any = gc) -> None:
    """Names that both have; or `theirs=ours`."""
    for pair in names.split():
        theirs, _, ours = pair.partition("=")
        TABLE[theirs] = getattr(room, ours or theirs.rpartition(".")[2])


def axes(dim: Any) -> Any:
    """torch's empty tuple of axes is all of them."""
    if isinstance(dim, (tuple, list)):
        return tuple(dim) or None
    return dim


# -- elementwise -----------------------------------------------------------------------------------
same(
    """abs acos acosh angle asin asinh atan atanh bitwise_not=bitwise_invert ceil cos cosh deg2rad
    digamma erf erfc erfinv exp exp2 expm1 floor i0 isfinite isinf isnan isneginf isposinf lgamma
    log log10 log1p log2 logical_not neg=negative positive rad2deg reciprocal sigmoid sign signbit
    sin sinc sinh sqrt square tan tanh trunc conj conj_physical=conj real imag special.erfcx
    special.i0e special.i1 special.i1e special.log_ndtr special.ndtr special.ndtri
    special.bessel_j0=j0 special.bessel_j1=j1 special.modified_bessel_i0=i0
    special.modified_bessel_i1=i1 nn.functional.relu nn.functional.relu6 nn.functional.celu
    nn.functional.elu nn.functional.selu nn.functional.silu nn.functional.mish
    nn.functional.softsign nn.functional.hardsigmoid=hard_sigmoid
    nn.functional.hardswish=hard_swish nn.functional.logsigmoid=log_sigmoid
    nn.functional.leaky_relu clone=copy contiguous=copy"""
)
same(
    """mul=multiply floor_divide remainder pow atan2 hypot copysign nextafter maximum minimum
    logaddexp eq=equal ne=not_equal lt=less le=less_equal gt=greater ge=greater_equal isclose
    logical_and logical_or logical_xor bitwise_and bitwise_or bitwise_xor bitwise_left_shift
    bitwise_right_shift xlogy special.xlog1py heaviside igamma=gammainc igammac=gammaincc
    complex true_divide=divide"""
)
TABLE |= {
    "frac": lambda x: x - gc.trunc(x),
    "rsqrt": lambda x: 1 / gc.sqrt(x),
    "special.entr": lambda x: gc.where(x < 0, -math.inf, -gc.xlogy(x, x)),
    "nn.functional.tanhshrink": lambda x: x - gc.tanh(x),
    "nn.functional.softmin": lambda x, dim=None, dtype=None: gc.softmax(-x, dim),
    "ldexp": lambda x, y: x * gc.exp2(y),
    "lerp": lambda x, y, w: x + w * (y - x),
    "clamp_min": lambda x, low: gc.maximum(x, low),
    "clamp_max": lambda x, high: gc.minimum(x, high),
    "masked_fill": lambda x, mask, value: (
        other(x.dtype is gc.bool_, "a number in truth values"), gc.where(mask, value, x)
    )[1],
    "where": lambda x, condition, y: gc.where(condition, x, y),
    "polar": lambda r, angle: gc.complex(r * gc.cos(angle), r * gc.sin(angle)),
    "addcmul": lambda x, y, z, value=1: x + value * y * z,
    "addcdiv": lambda x, y, z, value=1: x + value * y / z,
    "rsub": lambda x, y, alpha=1: y - (x if alpha == 1 else alpha * x),
    "__radd__": lambda x, y: y + x,
    "__rsub__": lambda x, y: y - x,
    "__rmul__": lambda x, y: y * x,
    "__rdiv__": lambda x, y: y / x,
    "__rpow__": lambda x, y: y**x,
    "__rmod__": lambda x, y: y % x,
    "__rand__": lambda x, y: y & x,
    "__ror__": lambda x, y: y | x,
    "__rxor__": lambda x, y: y ^ x,
    "__rmatmul__": lambda x, y: y @ x,
    "add": lambda x, y, alpha=1: x + (y if alpha == 1 else alpha * y),
    "sub": lambda x, y, alpha=1: x - (y if alpha == 1 else alpha * y),
    **{
        name: lambda x, n: gc.polygamma(n, x)
        for name in (
            *(f"polygamma.polygamma_n_{n}" for n in range(5)),
            "special.polygamma.special_polygamma_n_0",
        )
    },
    "nan_to_num": lambda x, nan=0.0, posinf=None, neginf=None: gc.nan_to_num(
        x, nan=0.0 if nan is None else nan, posinf=posinf, neginf=neginf
    ),
    "nn.functional.gelu": lambda x, approximate="none": gc.gelu(x, approximate),
    "nn.functional.hardtanh": lambda x, min_val=-1.0, max_val=1.0: (
        other(x.dtype.is_integer, WHOLE), gc.clip(x, min_val, max_val)
    )[1],
    "nn.functional.softplus": lambda x, beta=1, threshold=20: (
        other(threshold != 20, "threshold"), gc.softplus(beta * x) / beta
    )[1],
    "nn.functional.prelu": lambda x, weight: (
        other(x.ndim == 0, SCALAR),
        gc.prelu(x, weight if not weight.ndim else weight[(..., *(None,) * (x.ndim - 2))]),
    )[1],
    "nn.functional.glu": lambda x, dim=-1: gc.glu(x, dim),
}  # fmt: skip


@named("round", "round.decimals_0")
def _round(x: Any, decimals: int = 0) -> Any:
    other(decimals, "decimals")
    return gc.round(x)


@named("logit")
def _logit(x: Any, eps: float | None = None) -> Any:
    return gc.logit(x if eps is None else gc.clip(x, eps, 1 - eps))


@named("div.no_rounding_mode", "div.floor_rounding")
def _div(x: Any, y: Any, rounding_mode: str | None = None) -> Any:
    if rounding_mode is None:
        return gc.divide(x, y)
    other(rounding_mode == "trunc", "rounding_mode")
    return gc.floor_divide(x, y)


@named("clamp")
def _clamp(x: Any, min: Any = None, max: Any = None) -> Any:
    return gc.clip(x, min, max)


# -- reductions ------------------------------------------------------------------------------------
def _reduction(function: Callable[..., Any], **more: str) -> Callable[..., Any]:
    def reduced(x: Any, dim: Any = None, keepdim: bool = False, **options: Any) -> Any:
        other(set(options) - set(more), "options")
        given = {more[k]: v for k, v in options.items() if v is not None}
        if "dtype" in given:
            given["dtype"] = str(given["dtype"]).rpartition(".")[2]
        return function(x, axes(dim), keepdim, **given)

    return reduced


TABLE |= {
    "sum": _reduction(gc.sum, dtype="dtype"),
    "mean": _reduction(gc.mean, dtype="dtype"),
    "nansum": _reduction(gc.nansum),
    "nanmean": _reduction(gc.nanmean),
    "amax": _reduction(gc.max),
    "amin": _reduction(gc.min),
    "any": _reduction(gc.any),
    "all": _reduction(gc.all),
    "logsumexp": _reduction(gc.logsumexp),
    "argmax": _reduction(gc.argmax),
    "argmin": _reduction(gc.argmin),
    "prod": _reduction(gc.prod, dtype="dtype"),
    "count_nonzero": lambda x, dim=None: gc.count_nonzero(x, axis=axes(dim)),
    "dist": lambda x, y, p=2: gc.linalg.vector_norm(x - y, ord=p),
    "aminmax": lambda x, dim=None, keepdim=False: (
        gc.min(x, dim, keepdim), gc.max(x, dim, keepdim)
    ),
}  # fmt: skip


def _correction(dim: Any, unbiased: Any, correction: Any) -> tuple[Any, float]:
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if correction is None:
        correction = 1 if unbiased is None or unbiased else 0
    return axes(dim), correction


def _spread(function: Callable[..., Any], with_mean: bool) -> Callable[..., Any]:
    def spread(
        x: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *,
        correction: Any = None,
    ) -> Any:  # fmt: skip
        axis, less = _correction(dim, unbiased, correction)
        found = function(x, axis, keepdim, correction=less)
        return (found, gc.mean(x, axis, keepdim)) if with_mean else found

    return spread


for _name, _function in {"var": gc.var, "std": gc.std}.items():
    TABLE[_name] = TABLE[f"{_name}.unbiased"] = _spread(_function, False)
    TABLE[f"{_name}_mean"] = TABLE[f"{_name}_mean.unbiased"] = _spread(_function, True)


def _extremum(name: str) -> Callable[..., Any]:
    over = {"max": gc.max, "min": gc.min}[name]
    place = {"max": gc.argmax, "min": gc.argmin}[name]
    two = {"max": gc.maximum, "min": gc.minimum}[name]

    def extremum(x: Any, *args: Any, dim: Any = None, keepdim: bool = False) -> Any:
        if args and isinstance(args[0], gc.Tensor):
            return two(x, args[0])
        dim = args[0] if args else dim
        keepdim = args[1] if len(args) > 1 else keepdim
        if dim is None:
            return over(x)
        return over(x, dim, keepdim), place(x, dim, keepdim)

    return extremum


for _name in ("max", "min"):
    for _variant in ("", ".binary", ".reduction_no_dim", ".reduction_with_dim"):
        TABLE[_name + _variant] = _extremum(_name)


def _running(function: Callable[..., Any]) -> Callable[..., Any]:
    def running(x: Any, dim: int, dtype: Any = None) -> Any:
        other(x.ndim == 0, SCALAR)
        return function(x, dim, **({} if dtype is None else {"dtype": str(dtype)[6:]}))

    return running


TABLE |= {
    "cumsum": _running(gc.cumsum),
    "cumprod": _running(gc.cumprod),
    "cummax": lambda x, dim: (_running(gc.cummax)(x, dim),),
    "cummin": lambda x, dim: (_running(gc.cummin)(x, dim),),
    "logcumsumexp": _running(gc.logcumsumexp),
    "diff": lambda x, n=1, dim=-1, prepend=None, append=None: (
        other(n == 0, "no difference, but joined"),
        gc.diff(x, axis=dim, n=n, prepend=prepend, append=append),
    )[1],
    "cov": lambda x, correction=1, fweights=None, aweights=None: (
        other(fweights is not None or aweights is not None, "weights"), gc.cov(x, ddof=correction)
    )[1],
    "corrcoef": gc.corrcoef,
    "softmax": lambda x, dim, dtype=None: gc.softmax(_cast(x, dtype), dim),
    "softmax.with_dtype": lambda x, dim, dtype=None: gc.softmax(_cast(x, dtype), dim),
    "log_softmax": lambda x, dim, dtype=None: gc.log_softmax(_cast(x, dtype), dim),
    "log_softmax.with_dtype": lambda x, dim, dtype=None: gc.log_softmax(_cast(x, dtype), dim),
    "nn.functional.normalize": lambda x, p=2.0, dim=1, eps=1e-12: x
    / gc.maximum(gc.linalg.vector_norm(x, ord=p, axis=dim, keepdims=True), eps),
    "nn.functional.one_hot": lambda x, num_classes=-1: (
        other(num_classes < 0, "a size by data"), gc.one_hot(x, num_classes, "int64")
    )[1],
    "bincount": lambda x, weights=None, minlength=0: gc.bincount(x, weights, minlength),
    "histc": lambda x, bins=100, min=0, max=0: (
        other(min == max, "a range by data"), gc.histogram(x, bins, (min, max))[0]
    )[1],
}  # fmt: skip


@named("trapezoid", "trapz")
def _trapezoid(y: Any, x: Any = None, dx: float = 1.0, dim: int = -1) -> Any:
    return gc.trapezoid(y, x, dx=dx, axis=dim)


@named("gradient")
def _gradient(x: Any, spacing: Any = None, dim: Any = None, edge_order: int = 1) -> Any:
    other(edge_order != 1, "edge_order")
    spaces = spacing if isinstance(spacing, (tuple, list)) else [spacing] * (spacing is not None)
    found = gc.gradient(x, *spaces, axis=axes(dim))
    return found if isinstance(found, (list, tuple)) else [found]


# -- sorting ---------------------------------------------------------------------------------------
@named("sort")
def _sort(x: Any, dim: int = -1, descending: bool = False, stable: Any = None) -> Any:
    return (gc.sort(x, dim, descending=descending),)


@named("argsort")
def _argsort(x: Any, dim: int = -1, descending: bool = False, stable: Any = None) -> Any:
    other(not stable, "an order of equals")
    return gc.argsort(x, dim, descending=descending)


@named("kthvalue")
def _kthvalue(x: Any, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    found = gc.take(gc.sort(x, dim), k - 1, dim)
    return (gc.expand_dims(found, dim) if keepdim else found,)


def _quantile(function: Callable[..., Any]) -> Callable[..., Any]:
    def quantile(
        x: Any, q: Any, dim: Any = None, keepdim: bool = False, interpolation: str = "linear"
    ) -> Any:
        return function(x, q, dim, keepdim, method=interpolation)

    return quantile


def _side(right: bool, side: Any) -> str:
    return "right" if right or side == "right" else "left"


TABLE |= {
    "msort": lambda x: gc.sort(x, 0),
    "topk": lambda x, k, dim=-1, largest=True, sorted=True: (
        gc.topk(x, k, dim, largest=largest).values,
    ),
    "quantile": _quantile(gc.quantile),
    "nanquantile": _quantile(gc.nanquantile),
    "searchsorted": lambda s, v, out_int32=False, right=False, side=None, sorter=None: (
        gc.searchsorted(s, v, _side(right, side), sorter)
    ),
    "bucketize": lambda v, b, out_int32=False, right=False: gc.searchsorted(
        b, v, _side(right, None)
    ),
}  # fmt: skip


# -- shapes ----------------------------------------------------------------------------------------
def _sizes(sizes: Sequence[Any]) -> tuple[Any, ...]:
    if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
        sizes = sizes[0]
    return tuple(sizes)


def _flat(x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    if x.ndim == 0:
        return gc.reshape(x, (1,))
    start, end = start_dim % x.ndim, end_dim % x.ndim
    size = math.prod(x.shape[start : end + 1])
    return gc.reshape(x, (*x.shape[:start], size, *x.shape[end + 1 :]))


def _expand(x: Any, *sizes: Any) -> Any:
    shape = _sizes(sizes)
    offset = len(shape) - x.ndim
    return gc.broadcast_to(
        x, tuple(x.shape[i - offset] if s == -1 else s for i, s in enumerate(shape))
    )


def _unflatten(x: Any, dim: int, sizes: Any) -> Any:
    dim %= x.ndim
    return gc.reshape(x, (*x.shape[:dim], *sizes, *x.shape[dim + 1 :]))


def _split(x: Any, sizes: Any, dim: int = 0) -> Any:
    n = x.shape[dim]
    if isinstance(sizes, int):
        return gc.split(x, list(range(sizes, n, sizes)), dim) if n else [x]
    return gc.split(x, [int(v) for v in np.cumsum(sizes)[:-1]], dim)


def _chunk(x: Any, chunks: int, dim: int = 0) -> Any:
    return _split(x, -(-x.shape[dim] // chunks), dim)


def _cut(function: Callable[..., Any]) -> Callable[..., Any]:
    def cut(x: Any, sections: Any, dim: int = 0) -> Any:
        other(isinstance(sections, gc.Tensor), "sections by data")
        return function(x, sections, dim)

    return cut


def _unfold(x: Any, dimension: int, size: int, step: int) -> Any:
    other(x.ndim == 0, SCALAR)
    dimension %= x.ndim
    return gc.moveaxis(gc.windows(x, size, dimension, stride=step), x.ndim, -1)


same(
    """permute=permute_dims permute_copy=permute_dims movedim=moveaxis swapaxes=swapaxes
    transpose=swapaxes transpose_copy=swapaxes broadcast_to fliplr flipud hstack vstack dstack
    column_stack ravel atleast_1d atleast_2d atleast_3d kron trace mT=matrix_transpose"""
)
TABLE |= {
    "flip": lambda x, dims: gc.flip(x, tuple(dims)),
    "diagonal": lambda x, offset=0, dim1=0, dim2=1: gc.diagonal(x, offset, dim1, dim2),
    "diagonal_copy": lambda x, offset=0, dim1=0, dim2=1: gc.diagonal(x, offset, dim1, dim2),
    "zeros_like": lambda x, dtype=None, **options: gc.zeros_like(x, _dtype(dtype)),
    "ones_like": lambda x, dtype=None, **options: gc.ones_like(x, _dtype(dtype)),
    "full_like": lambda x, value, dtype=None, **options: gc.full_like(x, value, _dtype(dtype)),
    "reshape": lambda x, *shape: gc.reshape(x, _sizes(shape)),
    "view": lambda x, *shape: gc.reshape(x, _sizes(shape)),
    "view_copy": lambda x, *shape: gc.reshape(x, _sizes(shape)),
    "reshape_as": lambda x, y: gc.reshape(x, y.shape),
    "view_as": lambda x, y: gc.reshape(x, y.shape),
    "permute": lambda x, *dims: gc.permute_dims(x, _sizes(dims)),
    "t": lambda x: gc.permute_dims(x),
    "T": lambda x: gc.permute_dims(x),
    "squeeze": lambda x, dim=None: _squeeze(x, dim),
    "squeeze.multiple": lambda x, dim=None: _squeeze(x, dim),
    "unsqueeze": lambda x, dim: gc.expand_dims(x, dim),
    "unsqueeze_copy": lambda x, dim: gc.expand_dims(x, dim),
    "squeeze_copy": lambda x, dim=None: _squeeze(x, dim),
    "t_copy": lambda x: gc.permute_dims(x),
    "alias_copy": lambda x: gc.copy(x),
    "unsafe_split": _split,
    "unsafe_chunk": _chunk,
    "split_with_sizes_copy": _split,
    "unbind_copy": lambda x, dim=0: gc.unstack(x, axis=dim),
    "narrow_copy": lambda x, dim, start, length: TABLE["narrow"](x, dim, start, length),
    "diagflat": lambda x, offset=0: gc.diagflat(x, offset),
    "zeros": lambda *shape, dtype=None, **options: gc.zeros(_sizes(shape), _dtype(dtype)),
    "ones": lambda *shape, dtype=None, **options: gc.ones(_sizes(shape), _dtype(dtype)),
    "full": lambda shape, value, dtype=None, **options: gc.full(shape, value, _dtype(dtype)),
    "expand": _expand,
    "expand_copy": _expand,
    "expand_as": lambda x, y: gc.broadcast_to(x, y.shape),
    "broadcast_tensors": lambda *arrays: gc.broadcast_arrays(*arrays),
    "rot90": lambda x, k=1, dims=(0, 1): gc.rot90(x, k, tuple(dims)),
    "roll": lambda x, shifts, dims=None: gc.roll(x, shifts, axes(dims)),
    "cat": lambda arrays, dim=0: gc.concat(_but_empty(arrays), dim),
    "stack": lambda arrays, dim=0: gc.stack(arrays, dim),
    "chunk": _chunk,
    "split": _split,
    "split.list_args": _split,
    "split_with_sizes": _split,
    "tensor_split": _cut(gc.array_split),
    "hsplit": lambda x, sections: gc.hsplit(x, sections),
    "vsplit": lambda x, sections: gc.vsplit(x, sections),
    "dsplit": lambda x, sections: gc.dsplit(x, sections),
    "unbind": lambda x, dim=0: gc.unstack(x, axis=dim),
    "tile": lambda x, dims: gc.tile(x, tuple(dims)),
    "repeat": lambda x, *sizes: gc.tile(x, _sizes(sizes)),
    "tril": lambda x, diagonal=0: gc.tril(x, k=diagonal),
    "triu": lambda x, diagonal=0: gc.triu(x, k=diagonal),
    "diag": lambda x, diagonal=0: gc.diag(x, diagonal),
    "meshgrid.variadic_tensors": lambda *arrays, indexing="ij": gc.meshgrid(
        *arrays, indexing=indexing
    ),
    "meshgrid.list_of_tensors": lambda arrays, indexing="ij": gc.meshgrid(
        *arrays, indexing=indexing
    ),
    "unflatten": _unflatten,
    "flatten": _flat,
    "unfold": _unfold,
    "unfold_copy": _unfold,
    "constant_pad_nd": lambda x, pad, value=0: _pad(x, pad, "constant", value),
    "eye": lambda n, m=None, **options: gc.eye(n, m),
    "linspace": lambda start, end, steps, dtype=None, **options: gc.linspace(
        start, end, steps, dtype=_dtype(dtype)
    ),
    "arange": lambda start, end=None, step=1, dtype=None, **options: gc.arange(
        start, end, step, dtype=_dtype(dtype)
    ),
    "repeat_interleave": lambda x, repeats, dim=None, output_size=None: (
        other(isinstance(repeats, gc.Tensor), "counts by data"), gc.repeat(x, repeats, dim)
    )[1],
}  # fmt: skip


def _but_empty(arrays: Any) -> Any:
    """torch takes vectors without elements for tensors of any rank."""
    rank = max(a.ndim for a in arrays)
    return [a for a in arrays if a.ndim == rank or a.shape != (0,)]


def _cast(x: Any, dtype: Any) -> Any:
    return x if dtype is None else x.astype(_dtype(dtype))


def _dtype(dtype: Any) -> Any:
    return None if dtype is None else str(dtype).rpartition(".")[2]


def _squeeze(x: Any, dim: Any) -> Any:
    """torch leaves axes that are not of size 1."""
    dims = range(x.ndim) if dim is None else dim if isinstance(dim, (tuple, list)) else (dim,)
    found = {d % x.ndim for d in dims if x.ndim and x.shape[d] == 1}
    return gc.squeeze(x, tuple(sorted(found))) if found else x


def _pad(x: Any, pad: Sequence[int], mode: str, value: Any = 0) -> Any:
    other(any(p < 0 for p in pad), "a negative padding")
    pairs = [tuple(pad[i : i + 2]) for i in range(0, len(pad), 2)][::-1]
    widths = [(0, 0)] * (x.ndim - len(pairs)) + pairs
    kinds = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    options = {"constant_values": 0 if value is None else value} if mode == "constant" else {}
    return gc.pad(x, widths, kinds[mode], **options)


for _mode in ("constant", "reflect", "replicate", "circular"):
    TABLE[f"nn.functional.pad.{_mode}"] = lambda x, pad, mode=_mode, value=None: _pad(
        x, pad, mode, value
    )


# -- places ----------------------------------------------------------------------------------------
def _at(x: Any, dim: int) -> tuple[Any, ...]:
    return (slice(None),) * (dim % max(x.ndim, 1))


def _slice_at(x: Any, dim: int, start: Any, end: Any, step: int) -> Any:
    return (*_at(x, dim), slice(start, end, step))


@named("slice_scatter")
def _slice_scatter(
    x: Any, src: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> Any:
    end = None if end is None or end > x.shape[dim] else end
    return x.at[_slice_at(x, dim, start, end, step)].set(src)


@named("select_scatter")
def _select_scatter(x: Any, src: Any, dim: int, index: int) -> Any:
    return x.at[(*_at(x, dim), index)].set(src)


@named("gather")
def _gather(x: Any, dim: int, index: Any, sparse_grad: bool = False) -> Any:
    other(x.ndim == 0, SCALAR)
    other(index.shape != _like(index.shape, x.shape, dim), "an index smaller than the tensor")
    return gc.take_along_axis(x, index, dim)


def _like(shape: Any, to: Any, dim: int) -> Any:
    dim %= max(len(to), 1)
    return tuple(shape[i] if i == dim else s for i, s in enumerate(to))


@named("take_along_dim")
def _take_along(x: Any, index: Any, dim: Any = None) -> Any:
    if dim is None:
        return gc.take_along_axis(gc.ravel(x), gc.ravel(index), 0)
    return gc.take_along_axis(x, index, dim)


@named("scatter")
def _scatter(x: Any, dim: int, index: Any, src: Any, reduce: Any = None) -> Any:
    other(x.ndim == 0, SCALAR)
    other(isinstance(src, gc.Tensor) and src.shape != index.shape, "more values than places")
    other(index.shape != _like(index.shape, x.shape, dim), "an index smaller than the tensor")
    if reduce is None:
        return gc.put_along_axis(x, index, src, dim)
    places = list(gc.meshgrid(*(gc.arange(s) for s in index.shape), indexing="ij"))
    places[dim] = index
    return getattr(x.at[tuple(places)], reduce)(src)


@named("scatter_add")
def _scatter_add(x: Any, dim: int, index: Any, src: Any) -> Any:
    return _scatter(x, dim, index, src, "add")


@named("index_put")
def _index_put(x: Any, indices: Any, values: Any, accumulate: bool = False) -> Any:
    other(any(i.dtype is gc.bool_ for i in indices), "a mask")
    places = x.at[tuple(indices)]
    return places.add(values) if accumulate else places.set(values)


def _index(x: Any, dim: int, index: Any, value: Any, how: str) -> Any:
    other(x.ndim == 0, SCALAR)
    return getattr(x.at[(*_at(x, dim), gc.reshape(index, (-1,)))], how)(value)


TABLE |= {
    "narrow": lambda x, dim, start, length: (
        other(isinstance(start, gc.Tensor), "a start by data"),
        gc.take(x, np.arange(start, start + length), dim),
    )[1],
    "select": lambda x, dim, index: x[(*_at(x, dim), index)],
    "index_select": lambda x, dim, index: (
        other(x.ndim == 0, SCALAR), gc.take(x, gc.reshape(index, (-1,)), dim)
    )[1],
    "take": lambda x, index: gc.take(gc.ravel(x), index, 0),
    "index_add": lambda x, dim, index, source, alpha=1: _index(
        x, dim, index, alpha * source, "add"
    ),
    "index_copy": lambda x, dim, index, source: _index(x, dim, index, source, "set"),
    "index_fill": lambda x, dim, index, value: _index(x, dim, index, value, "set"),
    "__getitem__": lambda x, key: x[key],
    "nn.functional.embedding": lambda index, weight, **options: (
        other(options, "options"), gc.take(weight, index, 0)
    )[1],
}  # fmt: skip
