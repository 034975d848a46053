"""The page `docs/operations.md`: which operations of other libraries there are here, and what the
others are called or why they are not there.

    python -m tests.operations > docs/operations.md

What is there is asked of graphc; the names of others, and why one is not there, stand below.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

import graphc as gc
from graphc.ir.operators import numpy_function
from graphc.ops.as_numpy import ABSENT

PAGE = Path(__file__).parent.parent / "docs" / "operations.md"
MARK = "<!-- from here on made by `python -m tests.operations` -->"

# -- names -----------------------------------------------------------------------------------------
ARRAY_API = {
    "Creation": "arange asarray empty empty_like eye from_dlpack full full_like linspace meshgrid "
    "ones ones_like tril triu zeros zeros_like",
    "Dtypes": "astype can_cast finfo iinfo isdtype result_type",
    "Elementwise": "abs acos acosh add asin asinh atan atan2 atanh bitwise_and bitwise_left_shift "
    "bitwise_invert bitwise_or bitwise_right_shift bitwise_xor ceil clip conj copysign cos cosh "
    "divide equal exp expm1 floor floor_divide greater greater_equal hypot imag isfinite isinf "
    "isnan less less_equal log log1p log2 log10 logaddexp logical_and logical_not logical_or "
    "logical_xor maximum minimum multiply negative nextafter not_equal positive pow real "
    "reciprocal remainder round sign signbit sin sinh square sqrt subtract tan tanh trunc",
    "Indexing, searching, sorting": "take take_along_axis argmax argmin count_nonzero nonzero "
    "searchsorted where argsort sort unique_all unique_counts unique_inverse unique_values",
    "Manipulation": "broadcast_arrays broadcast_to concat expand_dims flip moveaxis permute_dims "
    "repeat reshape roll squeeze stack tile unstack",
    "Statistics": "cumulative_prod cumulative_sum max mean min prod std sum var all any diff",
    "Linear algebra": "matmul matrix_transpose tensordot vecdot linalg.cholesky linalg.cross "
    "linalg.det linalg.diagonal linalg.eigh linalg.eigvalsh linalg.inv linalg.matmul "
    "linalg.matrix_norm linalg.matrix_power linalg.matrix_rank linalg.matrix_transpose "
    "linalg.outer linalg.pinv linalg.qr linalg.slogdet linalg.solve linalg.svd linalg.svdvals "
    "linalg.tensordot linalg.trace linalg.vecdot linalg.vector_norm",
    "Fourier transforms": "fft.fft fft.ifft fft.fftn fft.ifftn fft.rfft fft.irfft fft.rfftn "
    "fft.irfftn fft.hfft fft.ihfft fft.fftfreq fft.rfftfreq fft.fftshift fft.ifftshift",
}
NUMPY = (
    "abs add all allclose amax amin angle any append arange arccos arccosh arcsin arcsinh "
    "arctan arctan2 arctanh argmax argmin argpartition argsort around array_equal "
    "array_split astype atleast_1d atleast_2d atleast_3d average bincount bitwise_and "
    "bitwise_invert bitwise_or bitwise_xor broadcast_arrays broadcast_to cbrt ceil clip "
    "column_stack concatenate conjugate convolve copy copysign corrcoef correlate cos cosh "
    "count_nonzero cov cross cumprod cumsum deg2rad delete diag diagonal diff digitize divide "
    "cumulative_prod cumulative_sum nancumprod nancumsum "
    "dot dstack einsum empty_like equal exp exp2 expand_dims expm1 fabs flatnonzero flip "
    "fliplr flipud floor floor_divide full_like gradient greater greater_equal heaviside "
    "histogram hstack hypot imag inner insert interp isclose isfinite isinf isnan kron "
    "left_shift less less_equal linspace log log10 log1p log2 logaddexp logical_and "
    "logical_not logical_or logical_xor matmul matrix_transpose max maximum mean median "
    "meshgrid min minimum moveaxis multiply nan_to_num nanmax nanmean nanmin nanprod nanstd "
    "nansum nanvar nanargmax nanargmin array_equiv isposinf isneginf hsplit vsplit dsplit "
    "diagflat negative nextafter nonzero not_equal ones_like outer pad percentile positive "
    "power prod ptp quantile rad2deg ravel real reciprocal remainder repeat "
    "reshape right_shift rint roll rollaxis rot90 round searchsorted select sign signbit sin "
    "sinc sinh size sort split sqrt square squeeze stack std subtract sum swapaxes take "
    "take_along_axis tan tanh tensordot tile trace transpose trapezoid tril triu trunc unique "
    "unstack var vdot vecdot vstack where zeros_like linalg.cholesky linalg.cond linalg.cross "
    "linalg.det linalg.eigh linalg.inv linalg.lstsq linalg.matrix_norm linalg.matrix_power "
    "linalg.matrix_rank linalg.multi_dot linalg.norm linalg.outer linalg.pinv linalg.qr "
    "linalg.slogdet linalg.solve linalg.svd linalg.trace linalg.vector_norm fft.fft fft.fft2 "
    "bitwise_count block choose ediff1d fix fmod frexp gcd geomspace isin iscomplex iscomplexobj "
    "isreal isrealobj lcm ldexp logaddexp2 logspace matvec modf ndim polyadd polyfit polysub "
    "polyval resize shape spacing unwrap vander vecmat linalg.tensorinv linalg.tensorsolve "
    "fft.fftn fft.fftshift fft.hfft fft.ifft fft.ifft2 fft.ifftn fft.ifftshift fft.ihfft fft.irfft "
    "fft.irfft2 fft.irfftn fft.rfft fft.rfft2 fft.rfftn"
)
OTHERS = {  # what people look for by the words of PyTorch and of JAX
    "torch.cummax, cummin": "gc.cummax, gc.cummin: the values",
    "np.maximum.accumulate": "gc.cummax, and by NumPy's name",
    "torch.cat": "gc.concat", "torch.unsqueeze": "gc.expand_dims", "torch.clamp": "gc.clip",
    "torch.permute": "gc.permute_dims", "torch.transpose": "gc.swapaxes",
    "torch.gather": "gc.take_along_axis", "torch.index_select": "gc.take",
    "torch.scatter": "gc.put_along_axis", "torch.scatter_add, index_add": "gc.scatter_add",
    "torch.index_put": "x.at[i, j].set", "torch.masked_fill": "gc.where, x.at[mask].set",
    "torch.masked_select": "x[mask], to be reduced", "torch.chunk": "gc.array_split",
    "torch.narrow": "x[i : i + n]", "torch.flatten": "gc.ravel, gc.reshape",
    "torch.movedim": "gc.moveaxis", "torch.numel": "gc.size", "torch.norm": "gc.linalg.norm",
    "torch.bmm, mm, mv": "gc.matmul", "torch.addmm": "gc.matmul and +", "torch.ger": "gc.outer",
    "torch.repeat_interleave": "gc.repeat", "torch.Tensor.repeat": "gc.tile",
    "torch.Tensor.expand": "gc.broadcast_to", "torch.Tensor.view": "gc.reshape",
    "torch.nn.functional.one_hot": "gc.one_hot", "torch.histc": "gc.histogram",
    "jax.lax.dynamic_slice": "gc.dynamic_slice", "jax.lax.select": "gc.where",
    "jax.lax.dynamic_update_slice": "gc.dynamic_update_slice", "jax.nn.one_hot": "gc.one_hot",
    "jax.ops.segment_sum": "gc.segment_sum", "jax.ops.segment_max": "gc.segment_max",
    "jax.numpy.ndarray.at": "x.at[key].set, add, multiply, min, max",
    "jax.numpy.clip": "gc.clip", "jax.lax.stop_gradient": "gc.stop_gradient",
    "tf.gather": "gc.take", "tf.gather_nd": "x[i, j]", "tf.math.segment_mean": "gc.segment_mean",
    "torch.topk, jax.lax.top_k, tf.math.top_k": "gc.topk",
    "torch.bucketize, tf.searchsorted": "gc.searchsorted, gc.digitize",
    "torch.randperm, tf.random.shuffle": "gc.random.permutation",
    "torch.kthvalue": "gc.sort and an index", "torch.msort": "gc.sort(x, 0)",
    "tf.boolean_mask": "x[mask], to be reduced", "tf.reduce_sum": "gc.sum",
}  # fmt: skip

# -- why not ---------------------------------------------------------------------------------------
WHY = {
    "nonzero": "`gc.nonzero(x, size=...)`: how many there are is not known without a size",
    "flatnonzero": "`gc.flatnonzero(x, size=...)`",
    "unique": "`gc.unique(x, size=...)`: how many there are is not known without a size",
}  # fmt: skip


def has(path: str) -> bool:
    """Whether graphc has something of this name."""
    found: object = gc
    for part in path.split("."):
        found = getattr(found, part, None)
    return found is not None


def answered(name: str) -> bool:
    """Whether NumPy's function of this name takes tensors: not one that refuses every call."""
    ufuncs = {"abs": "absolute", "conjugate": "conjugate"}
    return numpy_function(ufuncs.get(name, name)) is not None and name not in WHY


def unlisted() -> list[str]:
    """What looks for the protocols in the NumPy that is installed, and stands nowhere here."""
    listed = {*NUMPY.split(), *" ".join(ABSENT).split()}
    found = {
        f"{f.__module__}.{f.__name__}".removeprefix("numpy.")
        for module in (np, np.linalg, np.fft)
        for f in vars(module).values()
        if hasattr(f, "_implementation")
    }
    found |= {f.__name__ for f in vars(np).values() if isinstance(f, np.ufunc)}
    return sorted(n for n in found - listed if not answered(n))


def missing() -> list[str]:
    """Names that are listed and are not there."""
    names = " ".join(ARRAY_API.values()).split()
    return [n for n in names if not has(n)] + [n for n in NUMPY.split() if not answered(n)]


def page() -> str:
    """The whole page: its head as it is, and the tables."""
    head = PAGE.read_text(encoding="utf-8").partition(MARK)[0]
    parts = [f"{head}{MARK}\n\n## The array API, 2024.12\n"]
    for title, names in ARRAY_API.items():
        there = [f"`{n}`" for n in names.split() if has(n)]
        absent = [n for n in names.split() if not has(n)]
        parts.append(f"{title}: {', '.join(there)}.\n")
        if absent:
            parts.append(_table("name", absent))
    names = NUMPY.split()
    parts.append("## NumPy's functions\n\nThese take tensors, under the name `np.f`:\n")
    parts.append(", ".join(f"`{n}`" for n in names if answered(n)) + ".\n")
    parts.append(_table("numpy", [n for n in names if not answered(n)], ABSENT))
    parts.append("## Words of others\n")
    rows = (f"| `{theirs}` | `{ours}` |" for theirs, ours in sorted(OTHERS.items()))
    parts.append("\n".join(["| theirs | ours |", "|---|---|", *rows]) + "\n")
    return "\n".join(parts)


def _table(title: str, names: list[str], more: Mapping[str, str] = MappingProxyType({})) -> str:
    rows = [f"| `{n}` | {WHY[n]} |" for n in names]
    for several, why in more.items():
        rows.append(f"| {', '.join(f'`{n}`' for n in several.split())} | {why} |")
    return "\n".join([f"| {title} | why not |", "|---|---|", *rows]) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
