"""Derivatives at kinks, ties and the ends of domains: one table, tested and printed in the docs.

`python -m tests.test_kinks > docs/kinks.md` prints it; a test compares.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import graphc as gc
from graphc.ir.operators import functions

DOCUMENT = Path(__file__).parent.parent / "docs" / "kinks.md"
NAN, INF = float("nan"), float("inf")


class Kink(NamedTuple):
    """The derivative of `expression` by x and, if it has one, y at a point."""

    expression: str
    x: float
    dx: float
    y: float | None = None
    dy: float | None = None


class Tie(NamedTuple):
    """The gradient of the sum of `expression` at a vector x."""

    expression: str
    x: tuple[float, ...]
    dx: tuple[float, ...]


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
    ),
    "Powers": (
        Kink("x ** y", 0.0, 0.0, 2.0, 0.0),
        Kink("x ** y", 0.0, 1.0, 1.0, 0.0),
        Kink("x ** y", 0.0, INF, 0.5, 0.0),
        Kink("x ** y", 0.0, 0.0, 0.0, 0.0),
        Kink("x ** y", 3.0, 0.0, 0.0, np.log(3.0)),
        Kink("x ** y", -2.0, -4.0, 2.0, NAN),
        Kink("x ** 2", 0.0, 0.0),
        Kink("x ** 2", -3.0, -6.0),
        Kink("x ** 3.0", 0.0, 0.0),
        Kink("x ** 0.0", 0.0, 0.0),
        Kink("x ** -1", 0.0, -INF),
        Kink("2.0 ** x", -INF, 0.0),
    ),
    "Ends of domains": (
        Kink("sqrt(x)", 0.0, INF),
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
        Kink("expm1(x)", -INF, 0.0),
    ),
    "NaN": (
        Kink("maximum(x, y)", NAN, 0.0, 1.0, 0.0),
        Kink("minimum(x, y)", 1.0, 0.0, NAN, 0.0),
        Kink("abs(x)", NAN, NAN),
        Kink("relu(x)", NAN, 0.0),
        Kink("tanh(x)", NAN, NAN),
    ),
}
TIES = (
    Tie("max(x)", (1.0, 3.0, 3.0), (0.0, 0.5, 0.5)),
    Tie("min(x)", (1.0, 1.0, 1.0), (1 / 3, 1 / 3, 1 / 3)),
    Tie("max(x)", (0.0, -0.0), (0.5, 0.5)),
    Tie("max(x)", (INF, INF), (0.5, 0.5)),
    Tie("max(x)", (1.0, NAN), (0.0, 0.0)),
    Tie("max_and_argmax(x)[0]", (1.0, 3.0, 3.0), (0.0, 1.0, 0.0)),
    Tie("sort(x)[1]", (3.0, 1.0, 1.0), (0.0, 0.0, 1.0)),
    Tie("topk(x, 1).values", (1.0, 3.0, 3.0), (0.0, 1.0, 0.0)),
    Tie("median(x)", (2.0, 2.0, 1.0, 3.0), (0.5, 0.5, 0.0, 0.0)),
    Tie("quantile(x, 0.25)", (2.0, 2.0, 1.0), (0.5, 0.0, 0.5)),
    Tie("prod(x)", (0.0, 2.0, 3.0), (6.0, 0.0, 0.0)),
    Tie("prod(x)", (0.0, 0.0, 3.0), (0.0, 0.0, 0.0)),
    Tie("prod(x)", (2.0, 3.0, 4.0), (12.0, 8.0, 6.0)),
    Tie("logsumexp(x)", (1000.0, 1000.0), (0.5, 0.5)),
    Tie("logsumexp(x)", (-INF, 0.0), (0.0, 1.0)),
    Tie("cummax(x)", (1.0, 3.0, 3.0), (1.0, 1.5, 0.5)),
    Tie("cummax(x)", (2.0, 2.0, 2.0), (11 / 6, 5 / 6, 1 / 3)),
    Tie("cummax(x)", (1.0, NAN, 2.0), (1.0, 0.0, 0.0)),
    Tie("cummin(x)", (INF, INF), (1.5, 0.5)),
    Tie("cumprod(x)", (0.0, 2.0, 3.0), (9.0, 0.0, 0.0)),
    Tie("cumprod(x)", (2.0, 0.0, 0.0), (1.0, 2.0, 0.0)),
    Tie("logcumsumexp(x)", (1000.0, 1000.0), (1.5, 0.5)),
    Tie("logcumsumexp(x)", (-INF, 0.0), (1.0, 1.0)),
    Tie("take(x, [0, 0])", (1.0, 2.0), (2.0, 0.0)),
    Tie("max_pool(reshape(x, (1, 1, 3)), 2, stride=1)", (1.0, 1.0, 0.0), (0.5, 1.5, 0.0)),
)


def derivatives(expression: str, *values: float) -> list[float]:
    inputs = [gc.placeholder(name, (), "float64") for name in "xy"[: len(values)]]
    names = {**functions()} | dict(zip("xy", inputs, strict=False))
    y = eval(expression, names)  # the table's own text
    wanted = gc.grad(y, inputs, unconnected="zero")
    found = gc.evaluate(wanted, dict(zip(inputs, values, strict=True)))
    return [float(v) for v in found]


@pytest.mark.parametrize("kink", [k for group in POINTS.values() for k in group], ids=str)
def test_at_a_point(kink: Kink) -> None:
    if kink.y is None:
        np.testing.assert_array_equal(derivatives(kink.expression, kink.x), [kink.dx])
    else:
        found = derivatives(kink.expression, kink.x, kink.y)
        np.testing.assert_array_equal(found, [kink.dx, kink.dy])


@pytest.mark.parametrize("kink", [k for group in POINTS.values() for k in group], ids=str)
def test_forward_mode_says_the_same(kink: Kink) -> None:
    inputs = [gc.placeholder(n, (), "float64") for n in "xy"[: 1 + (kink.y is not None)]]
    y = eval(kink.expression, {**functions()} | {x.name: x for x in inputs})
    values = dict(zip(inputs, (kink.x, kink.y), strict=False))
    found = [float(gc.evaluate(gc.jvp(y, x, 1.0), values)) for x in inputs]
    np.testing.assert_array_equal(found, [kink.dx, kink.dy][: len(inputs)])


@pytest.mark.parametrize("tie", TIES, ids=str)
def test_at_a_tie(tie: Tie) -> None:
    x = gc.placeholder("x", (len(tie.x),), "float64")
    y = eval(tie.expression, {**functions()} | {"x": x})
    each = gc.jacfwd(gc.sum(y), x)
    for found in gc.evaluate([gc.grad(gc.sum(y), x), each], {x: np.array(tie.x)}):
        np.testing.assert_allclose(found, tie.dx, rtol=1e-15)


# -- the document ----------------------------------------------------------------------------------
_INTRODUCTION = """\
# Derivatives at kinks and ties

What graphc gives where a derivative does not exist or is not finite. The table is printed from the
tests (`python -m tests.test_kinks > docs/kinks.md`), which check every line in float64, in reverse
and in forward mode.

- A tie of `maximum` or `minimum` is shared: one half each. A tie of `max` or `min` over axes is
  shared equally by all the elements that attain it, and so in each window of `max_pool` and at each
  step of `cummax`; `max_and_argmax` gives it to the first, and `sort`, `topk` and quantiles to the
  elements that a stable sort puts at the places they read.
- `relu` is 0 at 0, `abs` is 0 at 0, of complex numbers too, and so is `hypot`; `leaky_relu` has
  its slope at 0.
- `floor`, `ceil`, `trunc`, `round`, `sign`, `signbit`, `//`, comparisons, integers and
  `stop_gradient` have no derivative: nothing flows through them, and a gradient that depends on
  nothing else is an error, or zeros with `unconnected="zero"`.
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
    lines += ["## Several elements", "", "| function | at x = | gradient |", "|---|---|---|"]
    for tie in TIES:
        at, value = (", ".join(f"{v:.4g}" for v in vector) for vector in (tie.x, tie.dx))
        lines.append(f"| `{tie.expression}` | {at} | {value} |")
    return "\n".join(lines) + "\n"


def test_the_document_is_printed_from_the_table() -> None:
    assert DOCUMENT.read_text() == document(), "python -m tests.test_kinks > docs/kinks.md"


if __name__ == "__main__":
    sys.stdout.write(document())
