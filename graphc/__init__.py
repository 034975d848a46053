"""graphc: a compiler for symbolic dataflow graphs, from NumPy-like Python to native kernels.

    import graphc as gc

Importing it loads neither Numba nor SymPy; what needs them is loaded at first use. `__all__` lists
all that is public, ops included; `from graphc import *` hides Python's `sum` and `max` with them,
as NumPy's does. What the last part says again, for tools that read and do not run, is made from the
imports, from `_LAZY` and from the families of ops.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from operator import attrgetter as _attrgetter
from typing import TYPE_CHECKING, Any

from graphc import errors
from graphc import ops as _ops
from graphc.errors import GraphcError
from graphc.ir import copying as _copying
from graphc.ir.dim import Dim, dim
from graphc.ir.dtype import (
    DType,
    bool_,
    complex64,
    complex128,
    default_dtype,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    set_default_dtype,
    uint8,
    uint16,
    uint32,
    uint64,
)
from graphc.ir.dtype import bool_ as bool
from graphc.ir.evaluate import evaluate
from graphc.ir.graph import Graph
from graphc.ir.node import Tensor, Variable
from graphc.ir.operators import functions as _functions
from graphc.ir.operators import publish as _publish
from graphc.ir.origin import scope
from graphc.ir.text import parse_graph, print_graph
from graphc.keywords import answer as _answer
from graphc.keywords import public as _public
from graphc.ops.types import NamespaceInfo as _NamespaceInfo

__version__ = "0.2.0"

_LAZY = {  # name -> (module, attribute); an attribute of "" is the module itself
    "e": ("graphc.ops.types", "e"),
    "inf": ("graphc.ops.types", "inf"),
    "nan": ("graphc.ops.types", "nan"),
    "newaxis": ("graphc.ops.types", "newaxis"),
    "pi": ("graphc.ops.types", "pi"),
    "nn": ("graphc.nn", ""),
    "optim": ("graphc.optim", ""),
    "train": ("graphc.train", ""),
    "distributed": ("graphc.distributed", ""),
    "cuda": ("graphc.runtime.cuda", ""),
    "random": ("graphc.ops.random", ""),
    "linalg": ("graphc.ops.linalg", ""),
    "fft": ("graphc.ops.fft", ""),
    "grad": ("graphc.autodiff.derivatives", "grad"),
    "value_and_grad": ("graphc.autodiff.derivatives", "value_and_grad"),
    "vjp": ("graphc.autodiff.derivatives", "vjp"),
    "jvp": ("graphc.autodiff.derivatives", "jvp"),
    "linearize": ("graphc.autodiff.derivatives", "linearize"),
    "hvp": ("graphc.autodiff.derivatives", "hvp"),
    "root": ("graphc.autodiff.root", "root"),
    "vmap": ("graphc.autodiff.vmap", "vmap"),
    "GradientTape": ("graphc.autodiff.tape", "GradientTape"),
    "jacobian": ("graphc.autodiff.jacobians", "jacobian"),
    "jacfwd": ("graphc.autodiff.jacobians", "jacfwd"),
    "jacrev": ("graphc.autodiff.jacobians", "jacrev"),
    "hessian": ("graphc.autodiff.jacobians", "hessian"),
    "sparse_jacobian": ("graphc.runtime.sparse", "sparse_jacobian"),
    "sparse_hessian": ("graphc.runtime.sparse", "sparse_hessian"),
    "compile": ("graphc.runtime.compile", "compile"),
    "jit": ("graphc.runtime.jit", "jit"),
    "machine": ("graphc.runtime.speed", "machine"),
    "draw": ("graphc.show.draw", "draw"),
    "latex": ("graphc.equations.latex", "latex"),
    "derive": ("graphc.equations.derivation", "derive"),
    "from_sympy": ("graphc.interchange.from_sympy", "from_sympy"),
    "lambdify": ("graphc.interchange.lambdify", "lambdify"),
    "to_sympy": ("graphc.interchange.from_sympy", "to_sympy"),
}


def _find(name: str) -> Any:
    if name in _LAZY:
        module, attribute = _LAZY[name]
        loaded = importlib.import_module(module)
        value = getattr(loaded, attribute) if attribute else loaded
    elif name in _functions() and not name.startswith("_"):  # those are what tensors have
        value = _functions()[name]
    else:
        raise AttributeError(
            f"module 'graphc' has no attribute {name!r}{_elsewhere(name)}",
            name=name,
            obj=sys.modules[__name__],
        )
    globals()[name] = value = _public(value, __name__, name)
    return value


def _elsewhere(name: str) -> str:
    """What a name that is not here may mean: the same in another of graphc's modules, a function of
    NumPy's, JAX's or TensorFlow's, or one that is nearly written so.
    A name of a module is asked for where that module is being imported."""
    if name.startswith("_") or importlib.util.find_spec(f"graphc.{name}"):
        return ""
    from difflib import get_close_matches  # only where somebody erred

    from graphc.elsewhere import FUNCTIONS
    from graphc.ir.operators import of_numpy

    rooms = {
        f"gc.{room}.{known}": known
        for room in ("nn", "optim", "train", "linalg", "random", "fft", "nn.losses")
        for known in getattr(_attrgetter(room)(sys.modules[__name__]), "__all__", ())
    }
    there = [full for full, known in rooms.items() if known.lower() == name.lower()]
    if there and name in rooms.values() and name not in FUNCTIONS:
        return f"; there is {there[0]}"
    here = FUNCTIONS.get(name) or of_numpy(name)
    if here:
        return f"; here it is {here}"
    public = [n for n in dir(sys.modules[__name__]) if not n.startswith("_")]
    near = get_close_matches(name, public, cutoff=0.8)
    if there:
        return f"; there is {there[0]}"
    return f"; near it: {', '.join(f'gc.{n}' for n in near)}" if near else ""


if not TYPE_CHECKING:  # a checker knows the names above, and so a misspelt one
    __getattr__ = _find


def _svg(what: Any) -> str:
    """What a notebook shows for a tensor or a graph; loads the drawing room at first use."""
    drawing: str = _find("draw")(what)._repr_svg_()
    return drawing


def _draw(what: Any, *given: Any, **options: Any) -> Any:
    """What a profile's `draw()` calls, in a room above its own."""
    return _find("draw")(what, *given, **options)


def _latex(what: Any) -> str | None:
    """What a notebook shows as mathematics."""
    found: str | None = importlib.import_module("graphc.equations.notebook").latex_of(what)
    return found


def _html(what: Any) -> str | None:
    """What a notebook shows as a page: a picture, equations, a table."""
    found: str | None = importlib.import_module("graphc.equations.notebook").html_of(what)
    return found


def _namespace(version: str | None) -> Any:
    """The module, for programs that ask a tensor for the array API (docs/array_api.md)."""
    if version not in (None, "2021.12", "2022.12", "2023.12", "2024.12"):
        raise errors.ArgumentError(
            "not a version of the array API", op="__array_namespace__", expected="2024.12",
            given=repr(version),
        )  # fmt: skip
    return sys.modules[__name__]


def _report(*given: Any) -> Any:
    """What a compiled function's `report()` calls, in a room above its own."""
    return importlib.import_module("graphc.show.report").report(*given)


_publish(
    {
        "_repr_svg_": _svg,
        "_draw_": _draw,
        "_repr_latex_": _latex,
        "_repr_html_": _html,
        "_namespace_": _namespace,
        "_report_": _report,
    }
)
_answer(globals(), [_name for _name in dir() if not _name.startswith("_")])
__array_namespace_info__ = _NamespaceInfo
__array_api_version__ = "2024.12"


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})


# -- made by `python -m tests.exports` -------------------------------------------------------------
if TYPE_CHECKING:  # what is looked up at first use
    from graphc import distributed, nn, optim, train
    from graphc.autodiff.derivatives import grad, hvp, jvp, linearize, value_and_grad, vjp
    from graphc.autodiff.jacobians import hessian, jacfwd, jacobian, jacrev
    from graphc.autodiff.root import root
    from graphc.autodiff.tape import GradientTape
    from graphc.autodiff.vmap import vmap
    from graphc.equations.derivation import derive
    from graphc.equations.latex import latex
    from graphc.interchange.from_sympy import from_sympy, to_sympy
    from graphc.interchange.lambdify import lambdify
    from graphc.ops import fft, linalg, random
    from graphc.ops.activations import (
        celu,
        elu,
        gelu,
        glu,
        hard_sigmoid,
        hard_swish,
        log_sigmoid,
        mish,
        prelu,
        relu6,
        selu,
        silu,
        softsign,
        step,
    )
    from graphc.ops.attention import dot_product_attention
    from graphc.ops.bessel import i0, i0e, i1, i1e, j0, j1
    from graphc.ops.branch import cond, switch
    from graphc.ops.build import constant
    from graphc.ops.checkpoint import checkpoint
    from graphc.ops.complex import angle, complex, conj, imag, real
    from graphc.ops.contract import dot, matmul
    from graphc.ops.convolution import conv, conv_transpose
    from graphc.ops.create import (
        arange,
        asarray,
        copy,
        empty,
        empty_like,
        eye,
        from_dlpack,
        full,
        full_like,
        geomspace,
        identity,
        iota,
        linspace,
        logspace,
        meshgrid,
        ones,
        ones_like,
        zeros,
        zeros_like,
    )
    from graphc.ops.cumulative import (
        cummax,
        cummin,
        cumprod,
        cumsum,
        cumulative_logsumexp,
        cumulative_prod,
        cumulative_sum,
        nancumprod,
        nancumsum,
    )
    from graphc.ops.cumulative import cumulative_logsumexp as logcumsumexp
    from graphc.ops.custom_gradient import custom_gradient
    from graphc.ops.diagonal import diag, diagflat, diagonal, trace
    from graphc.ops.differences import diff, ediff1d, gradient, trapezoid, unwrap
    from graphc.ops.dynamic import dynamic_slice, dynamic_update_slice
    from graphc.ops.einsum import (
        einsum,
        inner,
        kron,
        matvec,
        outer,
        tensordot,
        vdot,
        vecdot,
        vecmat,
    )
    from graphc.ops.elementwise import (
        abs,
        add,
        astype,
        bitwise_and,
        bitwise_invert,
        bitwise_or,
        bitwise_xor,
        ceil,
        clip,
        cos,
        divide,
        equal,
        erf,
        erfc,
        erfcx,
        exp,
        expm1,
        floor,
        floor_divide,
        greater,
        greater_equal,
        isfinite,
        isinf,
        isnan,
        leaky_relu,
        less,
        less_equal,
        log,
        log1mexp,
        log1p,
        log_ndtr,
        logical_and,
        logical_not,
        logical_or,
        logical_xor,
        maximum,
        minimum,
        multiply,
        negative,
        not_equal,
        reciprocal,
        relu,
        remainder,
        round,
        shift_left,
        shift_right,
        sigmoid,
        sign,
        sin,
        softplus,
        sqrt,
        square,
        stop_gradient,
        subtract,
        tanh,
        trunc,
        where,
    )
    from graphc.ops.elementwise import shift_left as bitwise_left_shift
    from graphc.ops.elementwise import shift_right as bitwise_right_shift
    from graphc.ops.elementwise import sigmoid as expit
    from graphc.ops.ensure import ensure
    from graphc.ops.formula import elementwise
    from graphc.ops.gamma import beta, digamma, gamma, lgamma, polygamma
    from graphc.ops.gather import check_labels, one_hot, take
    from graphc.ops.getitem import getitem, split
    from graphc.ops.incomplete import betainc, gammainc, gammaincc
    from graphc.ops.index import size, strided_slice
    from graphc.ops.leaf import placeholder, variable
    from graphc.ops.manipulate import (
        append,
        array_split,
        atleast_1d,
        atleast_2d,
        atleast_3d,
        block,
        broadcast_arrays,
        broadcast_shapes,
        choose,
        column_stack,
        delete,
        dsplit,
        dstack,
        fliplr,
        flipud,
        hsplit,
        hstack,
        insert,
        moveaxis,
        ravel,
        roll,
        rollaxis,
        rot90,
        select,
        swapaxes,
        tril,
        triu,
        unstack,
        vsplit,
        vstack,
    )
    from graphc.ops.numbers import (
        bitwise_count,
        fix,
        fmod,
        frexp,
        gcd,
        lcm,
        ldexp,
        logaddexp2,
        modf,
        spacing,
    )
    from graphc.ops.odeint import odeint
    from graphc.ops.order_statistics import (
        median,
        nanmedian,
        nanpercentile,
        nanquantile,
        percentile,
        quantile,
    )
    from graphc.ops.places import flatnonzero, nonzero, put_along_axis, take_along_axis
    from graphc.ops.polynomials import polyadd, polyfit, polysub, polyval, vander
    from graphc.ops.pooling import avg_pool, global_avg_pool, global_max_pool, max_pool
    from graphc.ops.powers import (
        cbrt,
        exp2,
        log2,
        log10,
        logaddexp,
        power,
        root_of_squares,
        xlog1py,
        xlogy,
    )
    from graphc.ops.powers import power as pow
    from graphc.ops.quantile import erfcinv, erfinv, logit, ndtr, ndtri
    from graphc.ops.reduce import (
        all,
        any,
        argmax,
        argmin,
        max,
        max_and_argmax,
        mean,
        min,
        prod,
        sum,
        variance,
    )
    from graphc.ops.reduce import variance as var
    from graphc.ops.repeats import repeat, resize, tile
    from graphc.ops.resample import interpolate, pad
    from graphc.ops.scan import map_ as map
    from graphc.ops.scan import scan
    from graphc.ops.searching import digitize, isin, searchsorted
    from graphc.ops.segments import (
        bincount,
        histogram,
        scatter_add,
        segment_max,
        segment_mean,
        segment_min,
        segment_prod,
        segment_sum,
    )
    from graphc.ops.shape import (
        broadcast_to,
        concat,
        expand_dims,
        flip,
        matrix_transpose,
        permute_dims,
        reshape,
        squeeze,
        stack,
    )
    from graphc.ops.signal import convolve, correlate, interp
    from graphc.ops.signs import copysign, heaviside, nextafter, positive, signbit
    from graphc.ops.softmax import log_softmax, logsumexp, softmax, softmax_cross_entropy
    from graphc.ops.sorting import argpartition, argsort, lexsort, partition, sort, topk
    from graphc.ops.statistics import (
        allclose,
        array_equal,
        array_equiv,
        average,
        corrcoef,
        count_nonzero,
        cov,
        isclose,
        iscomplex,
        isneginf,
        isposinf,
        isreal,
        nan_to_num,
        nanargmax,
        nanargmin,
        nanmax,
        nanmean,
        nanmin,
        nanprod,
        nanstd,
        nansum,
        nanvar,
        ptp,
        std,
    )
    from graphc.ops.trigonometric import (
        acos,
        acosh,
        asin,
        asinh,
        atan,
        atan2,
        atanh,
        cosh,
        deg2rad,
        hypot,
        rad2deg,
        sinc,
        sinh,
        tan,
    )
    from graphc.ops.types import (
        can_cast,
        e,
        finfo,
        iinfo,
        inf,
        iscomplexobj,
        isdtype,
        isrealobj,
        nan,
        ndim,
        newaxis,
        pi,
        result_type,
        shape,
    )
    from graphc.ops.unique import unique, unique_all, unique_counts, unique_inverse, unique_values
    from graphc.ops.while_loop import fori_loop, while_loop
    from graphc.ops.windows import fold_windows, windows
    from graphc.runtime import cuda
    from graphc.runtime.compile import compile
    from graphc.runtime.jit import jit
    from graphc.runtime.sparse import sparse_hessian, sparse_jacobian
    from graphc.runtime.speed import machine
    from graphc.show.draw import draw

__all__ = [
    "abs", "acos", "acosh", "add", "all", "allclose", "angle", "any", "append", "arange", "argmax",
    "argmin", "argpartition", "argsort", "array_equal", "array_equiv", "array_split", "asarray",
    "asin", "asinh", "astype", "atan", "atan2", "atanh", "atleast_1d", "atleast_2d", "atleast_3d",
    "average", "avg_pool", "beta", "betainc", "bincount", "bitwise_and", "bitwise_count",
    "bitwise_invert", "bitwise_left_shift", "bitwise_or", "bitwise_right_shift", "bitwise_xor",
    "block", "bool", "bool_", "broadcast_arrays", "broadcast_shapes", "broadcast_to", "can_cast",
    "cbrt", "ceil", "celu", "check_labels", "checkpoint", "choose", "clip", "column_stack",
    "compile", "complex", "complex128", "complex64", "concat", "cond", "conj", "constant", "conv",
    "conv_transpose", "convolve", "copy", "copysign", "corrcoef", "correlate", "cos", "cosh",
    "count_nonzero", "cov", "cuda", "cummax", "cummin", "cumprod", "cumsum", "cumulative_logsumexp",
    "cumulative_prod", "cumulative_sum", "custom_gradient", "default_dtype", "deg2rad", "delete",
    "derive", "diag", "diagflat", "diagonal", "diff", "digamma", "digitize", "Dim", "dim",
    "distributed", "divide", "dot", "dot_product_attention", "draw", "dsplit", "dstack", "DType",
    "dynamic_slice", "dynamic_update_slice", "e", "ediff1d", "einsum", "elementwise", "elu",
    "empty", "empty_like", "ensure", "equal", "erf", "erfc", "erfcinv", "erfcx", "erfinv", "errors",
    "evaluate", "exp", "exp2", "expand_dims", "expit", "expm1", "eye", "fft", "finfo", "fix",
    "flatnonzero", "flip", "fliplr", "flipud", "float16", "float32", "float64", "floor",
    "floor_divide", "fmod", "fold_windows", "fori_loop", "frexp", "from_dlpack", "from_sympy",
    "full", "full_like", "gamma", "gammainc", "gammaincc", "gcd", "gelu", "geomspace", "getitem",
    "global_avg_pool", "global_max_pool", "glu", "grad", "gradient", "GradientTape", "Graph",
    "GraphcError", "greater", "greater_equal", "hard_sigmoid", "hard_swish", "heaviside", "hessian",
    "histogram", "hsplit", "hstack", "hvp", "hypot", "i0", "i0e", "i1", "i1e", "identity", "iinfo",
    "imag", "inf", "inner", "insert", "int16", "int32", "int64", "int8", "interp", "interpolate",
    "iota", "isclose", "iscomplex", "iscomplexobj", "isdtype", "isfinite", "isin", "isinf", "isnan",
    "isneginf", "isposinf", "isreal", "isrealobj", "j0", "j1", "jacfwd", "jacobian", "jacrev",
    "jit", "jvp", "kron", "lambdify", "latex", "lcm", "ldexp", "leaky_relu", "less", "less_equal",
    "lexsort", "lgamma", "linalg", "linearize", "linspace", "log", "log10", "log1mexp", "log1p",
    "log2", "log_ndtr", "log_sigmoid", "log_softmax", "logaddexp", "logaddexp2", "logcumsumexp",
    "logical_and", "logical_not", "logical_or", "logical_xor", "logit", "logspace", "logsumexp",
    "machine", "map", "matmul", "matrix_transpose", "matvec", "max", "max_and_argmax", "max_pool",
    "maximum", "mean", "median", "meshgrid", "min", "minimum", "mish", "modf", "moveaxis",
    "multiply", "nan", "nan_to_num", "nanargmax", "nanargmin", "nancumprod", "nancumsum", "nanmax",
    "nanmean", "nanmedian", "nanmin", "nanpercentile", "nanprod", "nanquantile", "nanstd", "nansum",
    "nanvar", "ndim", "ndtr", "ndtri", "negative", "newaxis", "nextafter", "nn", "nonzero",
    "not_equal", "odeint", "one_hot", "ones", "ones_like", "optim", "outer", "pad", "parse_graph",
    "partition", "percentile", "permute_dims", "pi", "placeholder", "polyadd", "polyfit",
    "polygamma", "polysub", "polyval", "positive", "pow", "power", "prelu", "print_graph", "prod",
    "ptp", "put_along_axis", "quantile", "rad2deg", "random", "ravel", "real", "reciprocal", "relu",
    "relu6", "remainder", "repeat", "reshape", "resize", "result_type", "roll", "rollaxis", "root",
    "root_of_squares", "rot90", "round", "scan", "scatter_add", "scope", "searchsorted",
    "segment_max", "segment_mean", "segment_min", "segment_prod", "segment_sum", "select", "selu",
    "set_default_dtype", "shape", "shift_left", "shift_right", "sigmoid", "sign", "signbit", "silu",
    "sin", "sinc", "sinh", "size", "softmax", "softmax_cross_entropy", "softplus", "softsign",
    "sort", "spacing", "sparse_hessian", "sparse_jacobian", "split", "sqrt", "square", "squeeze",
    "stack", "std", "step", "stop_gradient", "strided_slice", "subtract", "sum", "swapaxes",
    "switch", "take", "take_along_axis", "tan", "tanh", "Tensor", "tensordot", "tile", "to_sympy",
    "topk", "trace", "train", "trapezoid", "tril", "triu", "trunc", "uint16", "uint32", "uint64",
    "uint8", "unique", "unique_all", "unique_counts", "unique_inverse", "unique_values", "unstack",
    "unwrap", "value_and_grad", "vander", "var", "Variable", "variable", "variance", "vdot",
    "vecdot", "vecmat", "vjp", "vmap", "vsplit", "vstack", "where", "while_loop", "windows",
    "xlog1py", "xlogy", "zeros", "zeros_like",
]  # fmt: skip
