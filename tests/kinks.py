"""Derivatives at kinks, ties, ends of domains and beside branches that are not taken: one table.

`python -m tests.kinks > docs/kinks.md` prints it. `tests/test_kinks.py` and row R7 of the
scoreboard hold graphc to it, in each of `WAYS`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import sympy as sp

import graphc as gc
from graphc.ir.evaluate import evaluate_graph
from graphc.ir.operators import functions
from graphc.ops.special import special
from graphc.rewrite.driver import apply_rules
from graphc.rewrite.rules import DEFAULT

DOCUMENT = Path(__file__).parent.parent / "docs" / "kinks.md"
NAN, INF = float("nan"), float("inf")


class Kink(NamedTuple):
    """The derivative of `expression` by x and, if it has one, y at a point."""

    expression: str
    x: float
    dx: float
    y: float | None = None
    dy: float | None = None


class At(NamedTuple):
    """The gradient of the sum of `expression` at an array x."""

    expression: str
    x: Any
    dx: Any


POINTS = {
    "Kinks: a derivative between those of the two sides": (
        Kink("abs(x)", 0.0, 0.0),
        Kink("abs(x)", -0.0, 0.0),
        Kink("relu(x)", 0.0, 0.0),
        Kink("relu(x)", -0.0, 0.0),
        Kink("leaky_relu(x)", 0.0, 0.01),
        Kink("maximum(x, y)", 2.0, 0.5, 2.0, 0.5),
        Kink("minimum(x, y)", 2.0, 0.5, 2.0, 0.5),
        Kink("maximum(x, y)", 0.0, 0.5, -0.0, 0.5),
        Kink("maximum(x, x)", 2.0, 1.0),
        Kink("maximum(x, 0)", 0.0, 0.5),
        Kink("sqrt(maximum(x, 0))", -1.0, 0.0),
        Kink("maximum(log(x), 0)", 0.0, 0.0),
        Kink("clip(x, -1, 1)", 1.0, 0.5),
        Kink("clip(x, -1, 1)", -1.0, 0.5),
        Kink("clip(x, -1, 1)", 3.0, 0.0),
        Kink("remainder(x, y)", 4.0, 1.0, 2.0, -2.0),
        Kink("fmod(x, y)", 4.0, 1.0, 2.0, -2.0),
        Kink("fmod(x, y)", -4.0, 1.0, 2.0, 2.0),
        Kink("modf(x)[0]", 2.0, 1.0),
        Kink("frexp(x)[0]", 4.0, 0.125),
        Kink("spacing(x)", 1.0, 0.0),
        Kink("where(x > 0, x, 2 * x)", 0.0, 2.0),
        Kink("where(x >= 0, x, 2 * x)", 0.0, 1.0),
        Kink("relu6(x)", 0.0, 0.0),
        Kink("relu6(x)", 6.0, 0.5),
        Kink("elu(x, 2)", 0.0, 2.0),
        Kink("celu(x, 2)", 0.0, 1.0),
        Kink("prelu(x, y)", 0.0, 0.25, 0.25, 0.0),
        Kink("copysign(x, y)", 0.0, 0.0, -1.0, 0.0),
        Kink("heaviside(x, y)", 0.0, 0.0, 0.5, 1.0),
        Kink("heaviside(x, y)", 2.0, 0.0, 0.5, 0.0),
        Kink("trunc(x) + x", 1.0, 1.0),
        Kink("nextafter(x, y)", 1.0, 1.0, 2.0, 0.0),
        Kink("clip(x, y, 3)", 1.0, 0.5, 1.0, 0.5),
        Kink("hard_sigmoid(x)", 3.0, 1 / 12),
        Kink("hard_sigmoid(x)", -3.0, 1 / 12),
        Kink("hard_swish(x)", 3.0, 1.25),
        Kink("hard_swish(x)", -3.0, -0.25),
        Kink("selu(x)", 0.0, 1.7580993408473768),
        Kink("softsign(x)", 0.0, 1.0),
        Kink("floor_divide(x, y) + x", 4.0, 1.0, 2.0, 0.0),
        Kink("floor(x) + ceil(x)", 1.0, 0.0),
        Kink("round(x) * x", 0.5, 0.0),
        Kink("sign(x) * x", 0.0, 0.0),
        Kink("where(x == y, x, y)", 1.0, 1.0, 1.0, 0.0),
        Kink("interp(x, [0, 1, 2], [0, 1, 4])", 0.0, 1.0),
        Kink("interp(x, [0, 1, 2], [0, 1, 4])", 1.0, 3.0),
        Kink("interp(x, [0, 1, 2], [0, 1, 4])", 3.0, 0.0),
        Kink("abs(complex(x, y))", 0.0, 0.0, 0.0, 0.0),
        Kink("from_sympy(Abs(s), {s: x})", 0.0, 0.0),
        Kink("from_sympy(Max(s, 0), {s: x})", 0.0, 0.5),
        Kink("from_sympy(s * Heaviside(s), {s: x})", 0.0, 0.5),
        Kink("own_abs(x)", 0.0, 0.0),
        Kink("own_max(x)", 0.0, 0.5),
    ),
    "Powers": (
        Kink("x ** y", 0.0, 0.0, 2.0, 0.0),
        Kink("x ** y", 0.0, 1.0, 1.0, 0.0),
        Kink("x ** y", 0.0, INF, 0.5, 0.0),
        Kink("x ** y", 0.0, 0.0, 0.0, 0.0),
        Kink("x ** y", 3.0, 0.0, 0.0, np.log(3.0)),
        Kink("x ** y", -2.0, -4.0, 2.0, NAN),
        Kink("x ** y", 0.0, -INF, -1.0, NAN),
        Kink("abs(x) ** 1.5", 0.0, 0.0),
        Kink("x ** 2", 0.0, 0.0),
        Kink("x ** 2", -3.0, -6.0),
        Kink("x ** 3.0", 0.0, 0.0),
        Kink("x ** 0.0", 0.0, 0.0),
        Kink("x ** -1", 0.0, -INF),
        Kink("2.0 ** x", -INF, 0.0),
    ),
    "Ends of domains": (
        Kink("sqrt(x)", 0.0, INF),
        Kink("root_of_squares(x)", 0.0, 0.0),
        Kink("sqrt(x)", -1.0, NAN),
        Kink("log(x)", 0.0, INF),
        Kink("log(x)", -2.0, -0.5),
        Kink("log1p(x)", -1.0, INF),
        Kink("log2(x)", 0.0, INF),
        Kink("log10(x)", 0.0, INF),
        Kink("cbrt(x)", 0.0, INF),
        Kink("asin(x)", 1.0, INF),
        Kink("acos(x)", -1.0, -INF),
        Kink("asin(x)", 1.5, NAN),
        Kink("acosh(x)", 1.0, INF),
        Kink("acosh(x)", -2.0, NAN),
        Kink("atanh(x)", -1.0, INF),
        Kink("atanh(x)", 2.0, -1 / 3),
        Kink("hypot(x, y)", 0.0, 0.0, 0.0, 0.0),
        Kink("hypot(x, y)", 0.0, 0.0, -2.0, -1.0),
        Kink("atan2(x, y)", 0.0, NAN, 0.0, NAN),
        Kink("atan2(x, y)", 0.0, -0.5, -2.0, 0.0),
        Kink("xlogy(x, y)", 0.0, -INF, 0.0, 0.0),
        Kink("xlogy(x, y)", 0.0, 0.0, 1.0, 0.0),
        Kink("xlog1py(x, y)", 0.0, -INF, -1.0, 0.0),
        Kink("erfinv(x)", 1.0, INF),
        Kink("ndtri(x)", 0.0, INF),
        Kink("logit(x)", 1.0, INF),
        Kink("logit(x)", 2.0, -0.5),
        Kink("lgamma(x)", 0.0, -INF),
        Kink("lgamma(x)", -1.0, NAN),
        Kink("gamma(x)", -1.0, NAN),
        Kink("digamma(x)", 0.0, INF),
        Kink("digamma(x)", -2.0, INF),
        Kink("polygamma(1, x)", 0.0, -INF),
        Kink("gammainc(1.0, x)", 0.0, 1.0),
        Kink("gammainc(2.5, x)", 0.0, 0.0),
        Kink("gammaincc(0.5, x)", 0.0, -INF),
        Kink("betainc(0.5, 0.5, x)", 1.0, INF),
        Kink("betainc(1.5, 2.5, x)", 0.0, 0.0),
        Kink("erfcinv(x)", 0.0, -INF),
        Kink("log1mexp(x)", 0.0, INF),
        Kink("besselj(x)", 0.0, 0.5),
        Kink("angle(complex(x, y))", 0.0, NAN, 0.0, NAN),
        Kink("sqrt(abs(x))", 0.0, NAN),
        Kink("1 / x", 0.0, -INF),
        Kink("x / y", 1.0, INF, 0.0, -INF),
        Kink("sqrt(x * x)", 0.0, 0.0),
        Kink("exp(x)", -INF, 0.0),
        Kink("exp(x)", 1000.0, INF),
    ),
    "Saturation: finite where the function is": (
        Kink("tanh(x)", 1000.0, 0.0),
        Kink("tanh(x)", -INF, 0.0),
        Kink("sigmoid(x)", 1000.0, 0.0),
        Kink("sigmoid(x)", -1000.0, 0.0),
        Kink("sigmoid(x)", INF, 0.0),
        Kink("softplus(x)", 1000.0, 1.0),
        Kink("softplus(x)", -1000.0, 0.0),
        Kink("softplus(x)", 0.0, 0.5),
        Kink("erf(x)", 1e200, 0.0),
        Kink("atan(x)", INF, 0.0),
        Kink("atan2(x, y)", 1e200, 5e-201, 1e200, -5e-201),
        Kink("asinh(x)", -1e200, 1e-200),
        Kink("sinc(x)", 0.0, 0.0),
        Kink("i1(x)", 0.0, 0.5),
        Kink("j1(x)", 0.0, 0.5),
        Kink("i0e(x)", 0.0, 0.0),
        Kink("logaddexp(x, y)", INF, 0.5, INF, 0.5),
        Kink("logaddexp(x, y)", 0.0, 0.0, 1000.0, 1.0),
        Kink("logaddexp(x, y)", -INF, 0.5, -INF, 0.5),
        Kink("log_sigmoid(x)", -1000.0, 1.0),
        Kink("log_ndtr(x)", -INF, INF),
        Kink("ndtr(x)", INF, 0.0),
        Kink("expm1(x)", -INF, 0.0),
    ),
    "NaN": (
        Kink("maximum(x, y)", NAN, 0.0, 1.0, 0.0),
        Kink("minimum(x, y)", 1.0, 0.0, NAN, 0.0),
        Kink("abs(x)", NAN, NAN),
        Kink("relu(x)", NAN, 0.0),
        Kink("tanh(x)", NAN, NAN),
        Kink("nan_to_num(x)", NAN, 0.0),
    ),
}
TIES: tuple[At, ...] = (
    At("unwrap(x, period=2)", (0.0, 1.0, 3.0), (1.0, 1.0, 1.0)),
    At("max(x)", (1.0, 3.0, 3.0), (0.0, 0.5, 0.5)),
    At("min(x)", (1.0, 1.0, 1.0), (1 / 3, 1 / 3, 1 / 3)),
    At("max(x)", (0.0, -0.0), (0.5, 0.5)),
    At("max(x)", (INF, INF), (0.5, 0.5)),
    At("max(x)", (1.0, NAN), (0.0, 0.0)),
    At("max_and_argmax(x)[0]", (1.0, 3.0, 3.0), (0.0, 1.0, 0.0)),
    At("max(abs(x))", (-1.0, 1.0), (-0.5, 0.5)),
    At("ptp(x)", (1.0, 3.0, 3.0), (-1.0, 0.5, 0.5)),
    At("var(x)", (1.0, 1.0), (0.0, 0.0)),
    At("std(x)", (1.0, 1.0), (0.0, 0.0)),
    At("sort(x)[1]", (3.0, 1.0, 1.0), (0.0, 0.0, 1.0)),
    At("topk(x, 1).values", (1.0, 3.0, 3.0), (0.0, 1.0, 0.0)),
    At("median(x)", (2.0, 2.0, 1.0, 3.0), (0.5, 0.5, 0.0, 0.0)),
    At("quantile(x, 0.25)", (2.0, 2.0, 1.0), (0.5, 0.0, 0.5)),
    At("percentile(x, 50)", (2.0, 2.0, 1.0), (1.0, 0.0, 0.0)),
    At("median(x)", (1.0, NAN), (0.0, 0.0)),
    At("nanmedian(x)", (2.0, 2.0, NAN, 1.0, 3.0), (0.5, 0.5, 0.0, 0.0, 0.0)),
    At("nanquantile(x, 0.5)", (1.0, NAN, 3.0), (0.5, 0.0, 0.5)),
    At("nanpercentile(x, 50)", (1.0, NAN, 3.0), (0.5, 0.0, 0.5)),
    At("nanmax(x)", (1.0, NAN, 1.0), (0.5, 0.0, 0.5)),
    At("nanmin(x)", (1.0, NAN, 1.0), (0.5, 0.0, 0.5)),
    At("nansum(x)", (1.0, NAN), (1.0, 0.0)),
    At("nanmean(x)", (1.0, NAN, 3.0), (0.5, 0.0, 0.5)),
    At("nanprod(x)", (2.0, NAN, 0.0), (0.0, 0.0, 2.0)),
    At("prod(x)", (0.0, 2.0, 3.0), (6.0, 0.0, 0.0)),
    At("prod(x)", (0.0, 0.0, 3.0), (0.0, 0.0, 0.0)),
    At("prod(x)", (2.0, 3.0, 4.0), (12.0, 8.0, 6.0)),
    At("logsumexp(x)", (1000.0, 1000.0), (0.5, 0.5)),
    At("logsumexp(x)", (-INF, 0.0), (0.0, 1.0)),
    At("logsumexp(x)", (-INF, -INF), (NAN, NAN)),
    At("softmax(x)[0]", (-INF, 0.0), (0.0, 0.0)),
    At("log_softmax(x)[1]", (-INF, 0.0), (0.0, 0.0)),
    At("cummax(x)", (1.0, 3.0, 3.0), (1.0, 1.5, 0.5)),
    At("cummax(x)", (2.0, 2.0, 2.0), (11 / 6, 5 / 6, 1 / 3)),
    At("cummax(x)", (1.0, NAN, 2.0), (1.0, 0.0, 0.0)),
    At("cummin(x)", (INF, INF), (1.5, 0.5)),
    At("cumprod(x)", (0.0, 2.0, 3.0), (9.0, 0.0, 0.0)),
    At("cumprod(x)", (2.0, 0.0, 0.0), (1.0, 2.0, 0.0)),
    At("logcumsumexp(x)", (1000.0, 1000.0), (1.5, 0.5)),
    At("logcumsumexp(x)", (-INF, 0.0), (1.0, 1.0)),
    At("take(x, [0, 0])", (1.0, 2.0), (2.0, 0.0)),
    At("max_pool(reshape(x, (1, 1, 3)), 2, stride=1)", (1.0, 1.0, 0.0), (0.5, 1.5, 0.0)),
    At("global_max_pool(reshape(x, (1, 1, 3)))", (2.0, 1.0, 2.0), (0.5, 0.0, 0.5)),
    At("segment_max(x, [0, 0, 1], 2)", (1.0, 1.0, 5.0), (0.5, 0.5, 1.0)),
    At("segment_min(x, [0, 0, 1], 2)", (1.0, 1.0, 5.0), (0.5, 0.5, 1.0)),
    At("segment_prod(x, [0, 0, 1], 2)", (0.0, 3.0, 0.0), (3.0, 0.0, 1.0)),
    At("x.at[0].max(1.0)", (1.0, 2.0), (0.5, 1.0)),
    At("x.at[[0, 0]].max([1.0, 1.0])", (1.0, 2.0), (0.5, 1.0)),
    At("ZERO.at[[0, 0]].max(x)", (1.0, 1.0), (0.5, 0.5)),
    At("ZERO.at[[0, 0]].min(x)", (-1.0, -1.0), (0.5, 0.5)),
    At("ZERO.at[[0, 0]].set(x)", (1.0, 2.0), (0.0, 1.0)),
    At("(ZERO + 1).at[[0, 0]].multiply(x)", (0.0, 3.0), (3.0, 0.0)),
    At("linalg.vector_norm(x)", (0.0, 3.0), (0.0, 1.0)),
    At("linalg.vector_norm(x)", (0.0, 0.0), (0.0, 0.0)),
    At("linalg.vector_norm(x, ord=3)", (0.0, 0.0), (0.0, 0.0)),
    At("linalg.matrix_norm(reshape(x, (1, 2)))", (0.0, 0.0), (0.0, 0.0)),
    At("linalg.cdist(reshape(x, (2, 1)), reshape(x, (2, 1)))", (1.0, 1.0), (0.0, 0.0)),
    At("linalg.cdist(reshape(x, (2, 1)), reshape(x, (2, 1)))", (1.0, 3.0), (-2.0, 2.0)),
    At("sqrt(sum(x * x))", (0.0, 0.0), (NAN, NAN)),
    At("root_of_squares(sum(x * x))", (0.0, 0.0), (0.0, 0.0)),
    At("x / linalg.vector_norm(x)", (0.0, 0.0), (NAN, NAN)),
    At("nn.normalize(x)", (0.0, 3.0), (1 / 3, 0.0)),
    At("linalg.vector_norm(x, ord=1)", (0.0, -3.0), (0.0, -1.0)),
    At("linalg.vector_norm(x, ord=inf)", (1.0, -1.0), (0.5, -0.5)),
    At("linalg.vector_norm(x, ord=0)", (0.0, 2.0), (0.0, 0.0)),
    At(
        "linalg.matrix_norm(reshape(x, (2, 2)), ord=1)",
        (1.0, 1.0, -1.0, 1.0),
        (0.5, 0.5, -0.5, 0.5),
    ),
    At("linalg.matrix_norm(reshape(x, (2, 2)), ord=2)", (1.0, 0.0, 0.0, 1.0), (0.5, 0.0, 0.0, 0.5)),
    At("linalg.det(reshape(x, (2, 2)))", (0.0, 0.0, 0.0, 2.0), (2.0, 0.0, 0.0, 0.0)),
    At("linalg.eigvalsh(reshape(x, (2, 2)))", (1.0, 0.0, 0.0, 1.0), (1.0, 0.0, 0.0, 1.0)),
    At("real(linalg.eigvals(reshape(x, (2, 2))))", (1.0, 0.0, 0.0, 1.0), (1.0, 0.0, 0.0, 1.0)),
    At("linalg.svdvals(reshape(x, (2, 2)))", (1.0, 0.0, 0.0, 1.0), (1.0, 0.0, 0.0, 1.0)),
    At("nn.losses.mean_absolute_error(x, [1.0, 0.0])", (1.0, 3.0), (0.0, 1.0)),
    At("nn.losses.huber(x, [0.0, 0.0])", (1.0, -1.0), (1.0, -1.0)),
    At("nn.losses.hinge(x, [1.0, -1.0])", (1.0, -2.0), (-0.5, 0.0)),
    At("nn.losses.cosine_similarity(reshape(x, (1, 2)), [[1.0, 0.0]])", (0.0, 0.0), (0.0, 0.0)),
)


ROWS = np.arange(1.0, 7.0).reshape(3, 2)
S = sp.Symbol("s", real=True)
NAMES: dict[str, Any] = {  # what expressions may use besides functions of tensors
    "inf": INF,
    "ROWS": ROWS,
    "ZERO": gc.zeros((1,), "float64"),
    "linalg": gc.linalg,
    "nn": gc.nn,
    "besselj": lambda x: special("besselj", 1.0, x),
    "own_abs": gc.elementwise("own_abs", lambda x: sp.Abs(x)),
    "own_max": gc.elementwise("own_max", lambda x: sp.Max(x, 0)),
    "from_sympy": gc.from_sympy,
    "Abs": sp.Abs,
    "Max": sp.Max,
    "Heaviside": sp.Heaviside,
    "s": S,
}
# What is not taken, or its derivative, is infinite or NaN there, and has no say.
UNTAKEN: tuple[At, ...] = (
    # one op
    At("where(x > 0, log(x), 0)", 0.0, 0.0),
    At("where(x > 0, log(x), 0)", [0.0, 2.0], [0.0, 0.5]),
    At("where(x > 0, log(x), x)", [0.0, 2.0], [1.0, 0.5]),
    At("where(x <= 0, 0, log(x))", [0.0, 2.0], [0.0, 0.5]),
    At("where(x > 0, sqrt(x), 0)", [0.0, 4.0], [0.0, 0.25]),
    At("where(x > 0, sqrt(x), 0)", [-1.0, 4.0], [0.0, 0.25]),
    At("where(x != 0, 1 / x, 0)", [0.0, 2.0], [0.0, -0.25]),
    At("where(x != 0, sin(x) / x, 1)", [0.0, np.pi], [0.0, -1 / np.pi]),
    At("where(x > -1, log1p(x), 0)", [-1.0, 1.0], [0.0, 0.5]),
    At("where(x < 100, exp(x), 0)", [1000.0, 0.0], [0.0, 1.0]),
    At("where(x < 100, exp(x), x)", [1000.0, 0.0], [1.0, 1.0]),
    At("where(x > 0, x ** 0.5, 0)", [0.0, 4.0], [0.0, 0.25]),
    At("where(x > 0, x ** -2.0, 0)", [0.0, 1.0], [0.0, -2.0]),
    At("where(x > 0, x ** x, 0)", [-2.0, 1.0], [0.0, 1.0]),
    At("where(isfinite(x), x * x, 0)", [INF, 3.0], [0.0, 6.0]),
    At("where(isnan(x), 0, tanh(x))", [NAN, 0.0], [0.0, 1.0]),
    At("where(isnan(x), 0, square(x))", [NAN, 3.0], [0.0, 6.0]),
    At("where(x > 0, log(x), where(x < 0, log(-x), 0))", [0.0, 2.0, -4.0], [0.0, 0.5, -0.25]),
    # chains of elementwise ops
    At("where(x > 0, log(sqrt(x)), 0)", [0.0, 2.0], [0.0, 0.25]),
    At("where(x > 0, sqrt(log(x) ** 2), 0)", [0.0, 4.0], [0.0, 0.25]),
    At("where(x > 0, 3 * log(x) + 1, 0)", [0.0, 3.0], [0.0, 1.0]),
    At("where(x > 0, -log(x), 0)", [0.0, 2.0], [0.0, -0.5]),
    At("where(x > 0, x * log(x), 0)", [0.0, 1.0], [0.0, 1.0]),
    At("where(x > 0, log(x) * log(x), 0)", [0.0, 1.0], [0.0, 0.0]),
    At("2 * where(x > 0, log(x), 0)", [0.0, 2.0], [0.0, 1.0]),
    At("exp(where(x > 0, log(x), 0))", [0.0, 2.0], [0.0, 1.0]),
    At("where(x > 0, log(x), 0) + x", [0.0, 2.0], [1.0, 1.5]),
    At("where(x > 0, log(x), 0) * where(x > 0, sqrt(x), 1)", [0.0, 1.0], [0.0, 1.0]),
    At("where(x > 0, log(x), 0) + where(x > 1, sqrt(log(x)), 0)", [0.0, 0.5], [0.0, 2.0]),
    At("where(x > 0, where(x > 1, log(x - 1), 0), 0)", [0.0, 1.0, 3.0], [0.0, 0.0, 0.5]),
    At("where(x > 0, abs(log(x)), 0)", [0.0, 2.0], [0.0, 0.5]),
    At("where(x > 0, maximum(log(x), -5), 0)", [0.0, 2.0], [0.0, 0.5]),
    At("astype(where(x > 0, astype(log(x), 'float32'), 0), 'float64')", [0.0, 2.0], [0.0, 0.5]),
    # through ops that move elements
    At("where(x.T > 0, log(x).T, 0)", [[0.0, 2.0], [4.0, 0.0]], [[0.0, 0.5], [0.25, 0.0]]),
    At("where(flip(x) > 0, flip(log(x)), 0)", [0.0, 2.0], [0.0, 0.5]),
    At("where(reshape(x, (2, 1)) > 0, reshape(log(x), (2, 1)), 0)", [0.0, 2.0], [0.0, 0.5]),
    At("where(x[1:] > 0, log(x)[1:], 0)", [0.0, 0.0, 2.0], [0.0, 0.0, 0.5]),
    At("where(x > 0, broadcast_to(log(x), (3, 2)), 0)", [0.0, 2.0], [0.0, 1.5]),
    At("where(x > 0, log(x) + zeros((3, 2), 'float64'), 0)", [0.0, 2.0], [0.0, 1.5]),
    At("where(take(x, [1, 1]) > 0, take(log(x), [1, 1]), 0)", [0.0, 2.0], [0.0, 1.0]),
    At("where(take(x, [0, 1]) > 0, take(log(x), [0, 1]), 0)", [0.0, 2.0], [0.0, 0.5]),
    At("where(concat([x, x]) > 0, concat([log(x), sqrt(x)]), 0)", [0.0, 4.0], [0.0, 0.5]),
    At("where(pad(x, ((1, 0),)) > 0, pad(log(x), ((1, 0),)), 0)", [0.0, 2.0], [0.0, 0.5]),
    # through ops that combine elements
    At("where(min(x) > 0, sum(log(x)), 0)", [0.0, 2.0], [0.0, 0.0]),
    At("where(min(x) > 0, mean(sqrt(x)), 0)", [0.0, 4.0], [0.0, 0.0]),
    At("where(min(x) > 0, max(log(x)), 0)", [0.0, 0.0], [0.0, 0.0]),
    At("where(min(x) > 0, prod(1 / x), 0)", [0.0, 2.0], [0.0, 0.0]),
    At("where(min(x, 1) > 0, sum(log(x), 1), 0)", [[0.0, 2.0], [1.0, 2.0]], [[0, 0], [1, 0.5]]),
    At("where(min(x) > 0, ROWS @ log(x), 0)", [0.0, 2.0], [0.0, 0.0]),
    At("where(min(x) > 0, ROWS @ sqrt(x * x), 0)", [0.0, 2.0], [0.0, 0.0]),
    At("where(x > 0, log(x * ones((3, 2), 'float64')), 0)", [0.0, 2.0], [0.0, 1.5]),
    At("where(min(x) > 0, sqrt(sum(x * x)), 0)", [0.0, 0.0], [0.0, 0.0]),
    At("where(sum(x * x) > 0, sqrt(sum(x * x)), 0)", [3.0, 4.0], [0.6, 0.8]),
    At("where(sum(x * x) > 0, x / sqrt(sum(x * x)), 0)", [0.0, 0.0], [0.0, 0.0]),
    At("where(min(x) > -inf, softmax(x), 0)", [-INF, -INF], [0.0, 0.0]),
    At("where(min(x) > -inf, log_softmax(x), 0)", [-INF, -INF], [0.0, 0.0]),
    At("where(min(x) > -inf, logsumexp(x), 0)", [-INF, -INF], [0.0, 0.0]),
    At("where(min(x) > 0, softmax(log(x)), 0)", [0.0, 1.0], [0.0, 0.0]),
    At("where(min(x) > 0, var(log(x)), 0)", [0.0, 1.0], [0.0, 0.0]),
    # through ops that hold graphs
    At("where(x > 0, scan(lambda _, v: (None, log(v)), None, x)[1], 0)", [0.0, 2.0], [0.0, 0.5]),
    At("where(min(x) > 0, scan(lambda c, v: (c + log(v), 0), 0.0, x)[0], 0)", [0.0, 2.0], [0, 0]),
    At("where(min(x) > 0, scan(lambda c, v: (c * sqrt(v), 0), 1.0, x)[0], 0)", [0.0, 4], [0, 0]),
    At("where(min(x) > 0, fori_loop(0, 3, lambda i, c: log(c) ** 2, min(x)), 0)", [0, 2], [0, 0]),
    At("where(min(x) > 0, checkpoint(lambda v: sum(log(v)))(x), 0)", [0.0, 2.0], [0.0, 0.0]),
    At("where(min(x) > 0, cond(max(x) > 1, lambda: sum(log(x)), lambda: 0), 0)", [0, 2], [0, 0]),
)


# -- what graphc gives -----------------------------------------------------------------------------
def tensor_of(expression: str, names: dict[str, Any]) -> gc.Tensor:
    y: gc.Tensor = eval(expression, {**functions(), **NAMES, **names})  # the table's own text
    return y


def _reverse(y: gc.Tensor, inputs: list[gc.Tensor]) -> list[gc.Tensor]:
    return list(gc.grad(y, inputs, unconnected="zero"))


def _forward(y: gc.Tensor, inputs: list[gc.Tensor]) -> list[gc.Tensor]:
    return [gc.jacfwd(y, x) for x in inputs]


def _by_rules(outputs: list[gc.Tensor], inputs: list[gc.Tensor], arrays: list[Any]) -> list[Any]:
    """The values of what the rules make of the graph."""
    graph = gc.Graph(inputs, outputs, name="kink")
    return list(evaluate_graph(apply_rules(graph, *DEFAULT), arrays))


def _as_it_is(outputs: list[gc.Tensor], inputs: list[gc.Tensor], arrays: list[Any]) -> list[Any]:
    return list(gc.evaluate(outputs, dict(zip(inputs, arrays, strict=True))))


Derive = Callable[[gc.Tensor, list[gc.Tensor]], list[gc.Tensor]]
Evaluate = Callable[[list[gc.Tensor], list[gc.Tensor], list[Any]], list[Any]]
WAYS: dict[str, tuple[Derive, Evaluate]] = {
    "reverse": (_reverse, _as_it_is),
    "forward": (_forward, _as_it_is),
    "reverse, after the rules": (_reverse, _by_rules),
}


def result(line: Kink | At) -> tuple[gc.Tensor, list[gc.Tensor], list[Any]]:
    """The sum of a line's expression, its inputs, and the arrays for them."""
    given = [line.x] if isinstance(line, At) or line.y is None else [line.x, line.y]
    arrays = [np.array(v, "float64") for v in given]
    inputs = [gc.placeholder(n, a.shape, "float64") for n, a in zip("xy", arrays, strict=False)]
    y = gc.sum(tensor_of(line.expression, {x.name: x for x in inputs}))
    return y, inputs, arrays


def found(line: Kink | At, way: str) -> list[Any]:
    """The derivatives of a line, by each of its inputs."""
    derive, evaluate = WAYS[way]
    y, inputs, arrays = result(line)
    return evaluate(derive(y, inputs), inputs, arrays)


def expected(line: Kink | At) -> list[Any]:
    """What the table says of a line."""
    if isinstance(line, At) or line.y is None:
        return [np.array(line.dx, "float64")]
    return [np.array(line.dx), np.array(line.dy)]


def lines() -> Iterator[Kink | At]:
    """All of the table."""
    for group in POINTS.values():
        yield from group
    yield from TIES
    yield from UNTAKEN


def check(line: Kink | At, way: str) -> None:
    """Errors: AssertionError where graphc gives something else."""
    for value, wanted in zip(found(line, way), expected(line), strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-12, atol=1e-16)


# -- the document ----------------------------------------------------------------------------------
_INTRODUCTION = """\
# Derivatives at kinks and ties

What graphc gives where a derivative does not exist or is not finite. The table is printed from the
tests (`python -m tests.kinks > docs/kinks.md`), which check every line in float64, in reverse and
in forward mode, as written and as the compiler's rules rewrite it.

- A tie of `maximum` or `minimum` is shared: one half each. A tie of `max` or `min` over axes is
  shared equally by all the elements that attain it, and so in each window of `max_pool` and at each
  step of `cummax`; `max_and_argmax` gives it to the first, and `sort`, `topk` and quantiles to the
  elements that a stable sort puts at the places they read.
- `relu` is 0 at 0, `abs` is 0 at 0, of complex numbers too, and so is `hypot`; `leaky_relu` has
  its slope at 0. Norms, distances and `std` are 0 where all that they add up is 0, and where rows
  of `cdist` are equal: a subgradient, as in torch. `sqrt` of such a sum is NaN there; see the end.
- `segment_max` and `x.at[i].max` share a tie as `maximum` does; of values that `set` puts at one
  place only the last has a derivative. `interp` has the slope of the piece that begins at a point.
- `floor`, `ceil`, `trunc`, `round`, `sign`, `signbit`, `//`, comparisons, integers and
  `stop_gradient` have no derivative: nothing flows through them, and a gradient that depends on
  nothing else is an error, or zeros with `unconnected="zero"`. In formulas of SymPy too, where a
  tie of `Max` is shared and `Abs` is 0 at 0.
- Nothing flows through the sign of `copysign`, the second operand of `nextafter` and the first of
  `heaviside`. `atan2` has no derivative where both operands are 0.
- The untaken branch of `where`, and what `maximum`, `minimum`, `clip` and `relu` do not choose,
  never make a NaN in a gradient, whatever their derivatives are, also behind sums and matrix
  products. What remains is an infinite or NaN operand of a matrix product: the gradient of the
  other operand is a product with it, and `0 * inf` is NaN there.
- A query of `dot_product_attention` that sees nothing gives zeros, as in torch, and no gradient
  flows through it (JAX gives the mean of all values). An infinite or NaN value at a key that is not
  seen may make a NaN: 0 times it. An additive mask of -inf says the same as a bool.
- Derivatives of `prod` and `cumprod` of any order are those of the polynomial, whatever elements
  are zero. So are the first and second of `linalg.det` at singular matrices; a third one, and the
  first of `linalg.slogdet`, is an error there at the call.
- Where eigenvalues or singular values are equal, `linalg.eigh` and `linalg.svd` count the turns of
  their vectors among themselves as constant, and what is divided by a singular value 0 as 0. `qr`
  has no derivative where its first columns are linearly dependent: an error at the call. That of
  `pinv` and `lstsq` is for a rank that stays.
"""

_NORMS = """\
## Norms and distances of 0

The derivative of `sqrt` at 0 is infinite, and so `sqrt(sum(x * x))` has none where all of x is 0:
inf * 0. That meets who writes distances by hand, for the diagonal of a matrix of them is 0. These
have the gradient 0 there: `linalg.norm`, `vector_norm`, `matrix_norm`, `linalg.cdist`, `std`,
`nanstd`, `hypot`, `abs` of complex numbers, `nn.normalize`, which leaves rows of zeros as they are,
the loss `cosine_similarity`, and `root_of_squares`, which is `sqrt` with the derivative 0 at 0:

```python
import numpy as np
import graphc as gc

x = gc.placeholder("x", ("n", 2), "float64")
apart = gc.linalg.cdist(x, x) * np.sqrt(3)
kernel = (1 + apart) * gc.exp(-apart)                  # Matern's, of order 3/2
slope = gc.compile([x], gc.grad(gc.sum(kernel), x))
points = np.array([[0.0, 0.0], [0.0, 0.0], [3.0, 4.0]])
print(np.isfinite(slope(points)).all())                # True

squares = gc.sum((x[:, None] - x) ** 2, axis=-1)
by_hand = gc.root_of_squares(squares)                  # gc.sqrt(squares) has NaN for a gradient
print(gc.evaluate(gc.grad(gc.sum(by_hand), x), {x: points})[0].round(3))         # [-1.2 -1.6]
```

For any other function `where` is enough: `where(s > 0, sqrt(s), 0)`. The second `where` that JAX
and torch need inside, `sqrt(where(s > 0, s, 1))`, does no harm.
"""


def document() -> str:
    """The text of `docs/kinks.md`."""
    lines = [_INTRODUCTION]
    for title, kinks in POINTS.items():
        lines += [f"## {title}", "", "| function | at | derivative |", "|---|---|---|"]
        for k in kinks:
            at, value = f"x = {k.x:g}", f"{k.dx:g}"
            if k.y is not None:
                at, value = f"{at}, y = {k.y:g}", f"{value} by x, {k.dy:g} by y"
            lines.append(f"| `{k.expression}` | {at} | {value} |")
        lines.append("")
    for title, table in (("Several elements", TIES), ("Branches that are not taken", UNTAKEN)):
        lines += [f"## {title}", "", "| function | at x = | gradient |", "|---|---|---|"]
        lines += [f"| `{t.expression}` | {_shown(t.x)} | {_shown(t.dx)} |" for t in table]
        lines.append("")
    return "\n".join([*lines, _NORMS])


def _shown(value: Any) -> str:
    """Numbers; rows of a matrix in brackets."""
    if not isinstance(value, (list, tuple)):
        return f"{value:.4g}"
    rows = [isinstance(v, (list, tuple)) for v in value]
    return ", ".join(
        f"[{_shown(v)}]" if is_row else _shown(v) for v, is_row in zip(value, rows, strict=True)
    )


if __name__ == "__main__":
    sys.stdout.write(document())
