"""The table of partials is what SymPy derives; stated partials are SymPy's off the kinks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import mpmath
import numpy as np
import pytest
import sympy as sp

import graphc as gc
from graphc.ir.op import registry
from graphc.ops.scalar import DERIVED
from graphc.symbolic import derive, partials
from graphc.symbolic.formula import formula

ROOT = Path(__file__).parents[2]
STATED = [
    name
    for name, op in registry().items()
    if op.formula is not None and op.vjp is not None and name not in DERIVED
    and name not in ("where", "astype", "broadcast_to", "weak", "polygamma", "formula", "special")
    and name not in ("gammainc", "gammaincc", "betainc")  # by the last operand only
]  # fmt: skip
KNOWN = {
    "exp": lambda s, x: s.exp(x),
    "sigmoid": lambda s, x: 1 / (1 + s.exp(-x)),
    "softplus": lambda s, x: s.log(1 + s.exp(x)),
    "tanh": lambda s, x: s.tanh(x),
}


def test_the_table_is_what_sympy_derives_anew() -> None:
    """In a process of its own: no op that a test defined is in it."""
    generated = subprocess.run(
        [sys.executable, "-m", "tests.symbolic.generate_partials"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert generated.stdout == Path(partials.__file__).read_text()


def test_the_table_has_no_op_that_states_its_own() -> None:
    assert DERIVED
    assert "abs" not in DERIVED
    for name in DERIVED:
        assert hasattr(partials, name)


# a fifth of where the first operand is, of functions with a domain
INSIDE = {
    **dict.fromkeys(("asin", "acos", "atanh", "erfinv", "ndtri", "logit"), (0.01, 0.19)),
    "erfcinv": (0.01, 0.39),
    "acosh": (0.25, 0.95),
}


@pytest.mark.parametrize("name", [*DERIVED, *STATED])
def test_partials_equal_the_formula_numerically(name: str) -> None:
    """Against mpmath's derivative of the formula, 30 digits, at points off every kink."""
    op_formula = registry()[name].formula
    assert op_formula is not None
    operands = derive.symbols(op_formula)
    expression = sp.lambdify(operands, op_formula(sp, *operands), "mpmath")
    inputs = [gc.placeholder(str(s), (), "float64") for s in operands]
    y = getattr(gc, name)(*inputs)
    rng = np.random.default_rng(0)
    for _ in range(12):
        low, high = INSIDE.get(name, (0.1, 0.95))
        point = [float(v) for v in rng.uniform(low, high, len(inputs)) * [5, 3][: len(inputs)]]
        for i, x in enumerate(inputs):
            try:
                found = float(gc.evaluate(gc.grad(y, x), dict(zip(inputs, point, strict=True))))
            except gc.errors.GradientError:
                found = 0.0
            with mpmath.workdps(30):
                order = tuple(int(i == j) for j in range(len(inputs)))
                wanted = mpmath.diff(expression, tuple(point), order)
            assert found == pytest.approx(float(wanted), rel=1e-13, abs=1e-15), (name, point)


@pytest.mark.parametrize(
    ("name", "assumptions"),
    [
        ("abs", {"positive": True}), ("abs", {"negative": True}), ("power", {"positive": True}),
        ("relu", {"positive": True}), ("relu", {"negative": True}), ("tanh", {"real": True}),
        ("sigmoid", {"real": True}), ("softplus", {"real": True}), ("divide", {"positive": True}),
        ("sqrt", {"positive": True}), ("erf", {"real": True}), ("log1p", {"positive": True}),
    ],
)  # fmt: skip
def test_gradients_equal_sympys_by_simplification(name: str, assumptions: dict[str, bool]) -> None:
    op_formula = registry()[name].formula
    assert op_formula is not None
    symbols = [sp.Symbol(s.name, **assumptions) for s in derive.symbols(op_formula)]
    inputs = [gc.placeholder(s.name, (), "float64") for s in symbols]
    given = dict(zip(inputs, symbols, strict=True))
    wanted = op_formula(sp, *symbols)
    for x, s in zip(inputs, symbols, strict=True):
        found = formula(gc.grad(getattr(gc, name)(*inputs), x), given)
        difference = sp.simplify((found - sp.diff(wanted, s)).rewrite(sp.exp))
        assert abs(sp.N(difference.subs(dict.fromkeys(symbols, 2)))) < 1e-15
        assert difference == 0 or name == "erf"  # its 2/sqrt(pi) is a float in the graph


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s.tan(x)", "out * out + 1"),
        ("1/x", "-out / x"),
        ("x**3", "3 * x * x"),
        ("s.exp(2*x)", "2 * out"),
        ("s.cbrt(x)", "0.3333333333333333 * out / x"),
        ("s.log(x)/s.log(2)", "1.4426950408889634 / x"),
        ("s.asin(x)", '1 / f("sqrt")(1 - x * x)'),
        ("s.erfc(x)", '-1.1283791670955126 * f("exp")(-(x * x))'),
        ("-s.log(1 + s.exp(-x))", 'f("sigmoid")(-x)'),
        ("x/(1 + s.exp(-x))", 'x * (1 - f("sigmoid")(x)) * f("sigmoid")(x) + f("sigmoid")(x)'),
    ],
)
def test_forms_are_stable(text: str, expected: str) -> None:
    function = eval(f"lambda s, x: {text}")  # the table's own text
    (found,) = derive.partials(function, KNOWN)
    assert derive.source(found) == expected


def test_a_composite_formula_stays_finite_where_its_text_does_not() -> None:
    """d mish at 1000: `exp(x) / (1 + exp(x))` would be inf/inf."""
    (found,) = derive.partials(lambda s, x: x * s.tanh(s.log(1 + s.exp(x))), KNOWN)
    assert {f.func.__name__ for f in found.atoms(sp.Function)} == {"tanh", "softplus", "sigmoid"}
