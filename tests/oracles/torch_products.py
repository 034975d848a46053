"""PyTorch's linear algebra, Fourier transforms and convolutions in graphc: more of the table.

`UP_TO_SIGN` says which results are vectors that are not unique: their absolute values are compared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import graphc as gc

from .torch_counterparts import TABLE, WHOLE, axes, other, same

KNOWN = {  # what differs, and why
    "arange": "ints of fractions by NumPy's rule",
    "linspace": "ints are rounded down as NumPy does, not to 0",
    "addr": "truth values as numbers",
    "cholesky_solve": "torch's gradient has the triangle that is not read",
    "nn.functional.hardsigmoid": "at a kink, where ours is half",
    "special.bessel_j0": "torch's value errs by 6e-8",
    "special.bessel_j1": "torch's value errs by 6e-8",
    "svd": "vectors that belong to no singular value are not unique",
    "linalg.svd": "vectors that belong to no singular value are not unique",
}
UP_TO_SIGN = {
    "linalg.eigh": (1,),
    "linalg.svd": (0, 2),
    "svd": (0, 2),
    "linalg.qr": (0, 1),
    "qr": (0, 1),
}


def first_of(pair: Any) -> Any:
    return pair[0]


# -- linear algebra --------------------------------------------------------------------------------
def _added(product: Callable[..., Any]) -> Callable[..., Any]:
    def added(x: Any, a: Any, b: Any, beta: Any = 1, alpha: Any = 1) -> Any:
        whole = all(v == int(v.real) for v in (alpha, beta))
        other(not x.dtype.has_derivative and not whole, WHOLE)
        scaled = [v if k == 1 else k * v for k, v in ((beta, x), (alpha, product(a, b)))]
        return scaled[0] + scaled[1]

    return added


def _matrix_norm(
    x: Any, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, dtype: Any = None
) -> Any:
    return gc.linalg.norm(x, ord, tuple(dim), keepdim)


def _norm(
    x: Any, ord: Any = None, dim: Any = None, keepdim: bool = False, dtype: Any = None
) -> Any:
    if dim is not None and not isinstance(dim, int):
        dim = tuple(dim) if len(dim) > 1 else dim[0]
    if dim is None and ord is not None and x.ndim == 1:
        dim = 0
    return gc.linalg.norm(x, ord, dim, keepdim)


def _upper(upper: bool) -> dict[str, bool]:
    return {"upper": True} if upper else {}


same("matmul mm=matmul bmm=matmul mv=matmul dot vdot inner outer tensordot")
same(
    """linalg.det linalg.det.singular=det linalg.slogdet linalg.inv linalg.eigvalsh linalg.svdvals
    linalg.matrix_power linalg.multi_dot matrix_exp=expm linalg.eigh""", gc.linalg,
)  # fmt: skip
TABLE |= {
    "outer": lambda x, y: gc.outer(x, y),
    "einsum": lambda operands, equation: gc.einsum(equation, *operands),
    "tensordot": lambda x, y, dims=2: gc.tensordot(x, y, dims),
    "addmm": _added(gc.matmul),
    "addmm.decomposed": _added(gc.matmul),
    "addmv": _added(gc.matmul),
    "addr": _added(gc.outer),
    "baddbmm": _added(gc.matmul),
    "addbmm": _added(lambda a, b: gc.sum(gc.matmul(a, b), 0)),
    "cross": lambda x, y, dim=-1: gc.linalg.cross(x, y, axis=dim),
    "linalg.cross": lambda x, y, dim=-1: gc.linalg.cross(x, y, axis=dim),
    "linalg.inv_ex": lambda x, check_errors=False: (gc.linalg.inv(x),),
    "linalg.solve": lambda a, b, left=True: _solve(a, b, left),
    "linalg.solve_ex": lambda a, b, left=True, check_errors=False: (_solve(a, b, left),),
    "linalg.cholesky": lambda x, upper=False: gc.linalg.cholesky(x, **_upper(upper)),
    "linalg.cholesky_ex": lambda x, upper=False, check_errors=False: (
        gc.linalg.cholesky(x, **_upper(upper)),
    ),
    "cholesky": lambda x, upper=False: gc.linalg.cholesky(x, **_upper(upper)),
    "cholesky_solve": lambda b, c, upper=False: gc.linalg.cho_solve((c, not upper), b),
    "linalg.eigh": lambda x, UPLO="L": _eigh(x, UPLO),
    "linalg.eigvalsh": lambda x, UPLO="L": first_of(_eigh(x, UPLO)),
    "linalg.svd": lambda x, full_matrices=True: gc.linalg.svd(x, full_matrices=full_matrices),
    "svd": lambda x, some=True, compute_uv=True: (
        other(not compute_uv, "compute_uv"), _svd(x, some)
    )[1],
    "linalg.qr": lambda x, mode="reduced": (
        other(mode == "r", "mode"), gc.linalg.qr(x, mode=mode)
    )[1],
    "qr": lambda x, some=True: gc.linalg.qr(x, mode="reduced" if some else "complete"),
    "linalg.lu": lambda x, pivot=True: (other(not pivot, "pivot"), gc.linalg.lu(x))[1],
    "linalg.pinv": lambda x, rcond=None, rtol=None, hermitian=False: gc.linalg.pinv(x, rtol=rtol),
    "linalg.pinv.singular": lambda a, b: gc.linalg.pinv(a @ gc.matrix_transpose(b)),
    "pinverse": lambda x, rcond=1e-15: gc.linalg.pinv(x, rtol=rcond),
    "linalg.matrix_rank": lambda x, tol=None, atol=None, rtol=None, hermitian=False: (
        other(tol is not None or atol is not None, "tol"), gc.linalg.matrix_rank(x, rtol=rtol)
    )[1],
    "linalg.matrix_norm": _matrix_norm,
    "linalg.vector_norm": lambda x, ord=2, dim=None, keepdim=False, dtype=None: (
        gc.linalg.vector_norm(x, axis=axes(dim), keepdims=keepdim, ord=ord)
    ),
    "linalg.norm": _norm,
    "linalg.norm.subgradients_at_zero": _norm,
    "linalg.cond": lambda x, p=None: gc.linalg.cond(x, p),
    "linalg.diagonal": lambda x, offset=0, dim1=-2, dim2=-1: gc.diagonal(x, offset, dim1, dim2),
    "linalg.vecdot": lambda x, y, dim=-1: gc.vecdot(x, y, dim),
    "linalg.lstsq": lambda a, b, driver=None: (first_of(gc.linalg.lstsq(a, b)),),
    "linalg.lstsq.grad_oriented": lambda a, b, driver=None: (first_of(gc.linalg.lstsq(a, b)),),
    "linalg.solve_triangular": lambda a, b, upper, left=True, unitriangular=False: (
        other(not left, "left"),
        gc.linalg.triangular_solve(a, b, lower=not upper, unit_diagonal=unitriangular),
    )[1],
    "triangular_solve": lambda b, a, upper=True, transpose=False, unitriangular=False: (
        gc.linalg.triangular_solve(
            a, b, lower=not upper, trans=transpose, unit_diagonal=unitriangular
        ),
    ),
    "linalg.eigvals": lambda x: gc.linalg.eigvals(x),
    "nn.functional.linear": lambda x, w, bias=None: x @ gc.permute_dims(w) + (
        0 if bias is None else bias
    ),
}  # fmt: skip


def _solve(a: Any, b: Any, left: bool) -> Any:
    """torch takes b of the batch's shape and one more axis as vectors."""
    other(not left, "left")
    if b.ndim > 1 and b.ndim == a.ndim - 1 and b.shape == a.shape[:-1]:
        return gc.squeeze(gc.linalg.solve(a, gc.expand_dims(b, -1)), -1)
    return gc.linalg.solve(a, b)


def _svd(x: Any, some: bool) -> Any:
    u, s, vh = gc.linalg.svd(x, full_matrices=not some)
    return u, s, gc.matrix_transpose(vh)


def _eigh(x: Any, triangle: str) -> Any:
    return gc.linalg.eigh(x if triangle == "L" else gc.matrix_transpose(x))


# -- Fourier transforms ----------------------------------------------------------------------------
def _several(dim: Any) -> Any:
    return (dim,) if isinstance(dim, int) else dim


def _transform(name: str) -> Callable[..., Any]:
    function = getattr(gc.fft, name)
    if name.endswith(("2", "n")):
        return lambda x, s=None, dim=None, norm=None: function(
            x, s=s, norm=norm, **({} if dim is None else {"axes": _several(dim)})
        )
    return lambda x, n=None, dim=-1, norm=None: function(x, n, dim, norm)


TRANSFORMS = "fft ifft rfft irfft hfft ihfft fft2 ifft2 rfft2 irfft2 fftn ifftn rfftn irfftn"
for _name in TRANSFORMS.split():
    TABLE[f"fft.{_name}"] = _transform(_name)
TABLE["fft.fftshift"] = lambda x, dim=None: gc.fft.fftshift(x, axes=axes(dim))
TABLE["fft.ifftshift"] = lambda x, dim=None: gc.fft.ifftshift(x, axes=axes(dim))


# -- images ----------------------------------------------------------------------------------------
def _conv(
    x: Any, w: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Any:  # fmt: skip
    space = w.ndim - 2
    single = x.ndim == w.ndim - 1
    x = gc.expand_dims(x, 0) if single else x
    if not isinstance(padding, str):
        padding = [(p, p) for p in _each(padding, space)]
    found = gc.conv(
        x, w, stride=_each(stride, space), padding=padding, dilation=_each(dilation, space),
        groups=groups,
    )  # fmt: skip
    found = found if bias is None else found + gc.reshape(bias, (-1, *(1,) * space))
    return found[0] if single else found


def _each(value: Any, count: int) -> tuple[int, ...]:
    value = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return value * count if len(value) == 1 else value


def _conv_transpose(
    x: Any, w: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
    groups: int = 1, dilation: Any = 1,
) -> Any:  # fmt: skip
    space = w.ndim - 2
    single = x.ndim == w.ndim - 1
    x = gc.expand_dims(x, 0) if single else x
    found = gc.conv_transpose(
        x, w, stride=_each(stride, space), padding=[(p, p) for p in _each(padding, space)],
        output_padding=_each(output_padding, space), dilation=_each(dilation, space), groups=groups,
    )  # fmt: skip
    found = found if bias is None else found + gc.reshape(bias, (-1, *(1,) * space))
    return found[0] if single else found


def _pool(kind: str, space: int) -> Callable[..., Any]:
    def pooled(
        x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, *args: Any,
        ceil_mode: bool = False, dilation: Any = 1, count_include_pad: bool = True,
        divisor_override: Any = None, return_indices: bool = False,
    ) -> Any:  # fmt: skip
        other(args or ceil_mode or divisor_override or return_indices, "options")
        other(kind == "avg" and x.dtype.is_integer, WHOLE)
        single = x.ndim == space + 1
        x = gc.expand_dims(x, 0) if single else x
        options: dict[str, Any] = {
            "stride": None if not stride else _each(stride, space),
            "padding": [(p, p) for p in _each(padding, space)],
        }
        if kind == "max":
            options["dilation"] = _each(dilation, space)
        else:
            options["count_padding"] = count_include_pad
        found = {"max": gc.max_pool, "avg": gc.avg_pool}[kind](
            x, _each(kernel_size, space), **options
        )
        return found[0] if single else found

    return pooled


for _space in (1, 2, 3):
    TABLE[f"nn.functional.conv{_space}d"] = _conv
    TABLE[f"nn.functional.conv_transpose{_space}d"] = _conv_transpose
    TABLE[f"nn.functional.max_pool{_space}d"] = _pool("max", _space)
    TABLE[f"nn.functional.avg_pool{_space}d"] = _pool("avg", _space)
