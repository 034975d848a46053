"""Ops of users: values and derivatives held to SymPy's digits, and all that a built-in op can."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import sympy as sp

import graphc as gc
from graphc.checking.values import extended
from graphc.errors import ArgumentError, DTypeError, GraphcError, GraphError
from graphc.ir.graph import Graph
from graphc.ir.node import apply
from graphc.ir.text import key_text
from graphc.ops.formula import FORMULA, Elementwise
from graphc.ops.formula_text import argument, read, write

a, b = sp.symbols("a b")
X = gc.placeholder("own_x", ("n",), "float64")
Y = gc.placeholder("own_y", (), "float64")
AT = np.array([-1.3, 0.4, 0.9, 2.1])

FORMULAS: dict[str, Any] = {
    "mish": lambda x: x * sp.tanh(sp.log(1 + sp.exp(x))),
    "swish": lambda x: x / (1 + sp.exp(-x)),
    "bump": lambda x: sp.exp(-(x**2)) * sp.cos(3 * x) + x ** sp.Rational(4, 2) / 7,
    "pieces": lambda x: sp.Piecewise((x**3, x < 0), (sp.sin(x), x < 1), (2, True)),
    "steps": lambda x: sp.floor(x) * x + sp.Mod(x, 0.7) + abs(x) * sp.Heaviside(x) + sp.Max(x, 1),
    "real": lambda x: abs(sp.floor(x) * x - 1) + sp.sign(sp.gamma(x + 5) - 2) * sp.re(x) + sp.im(x),
    "special": lambda x: sp.gamma(x + 3) + sp.besselj(1, x) * sp.erf(x),
    "sums": lambda x: sp.Sum(x**sp.Symbol("i") / sp.Symbol("i"), (sp.Symbol("i"), 1, 6)),
    "logic": lambda x: sp.Piecewise((x, sp.And(x > 0, sp.Or(x < 1, ~(x < 2)))), (x**2, True)),
}


def exact(e: Any, at: Any, **values: float) -> Any:
    """SymPy's digits of a formula over x0."""
    e = e.replace(sp.DiracDelta, lambda *_: sp.S.Zero)
    return np.array([float(sp.N(e.subs(argument(0), sp.Float(v, 30)).doit(), 25)) for v in at])


def is_of_a_step(t: Any) -> bool:
    return isinstance(t, (sp.Derivative, sp.Subs))


@pytest.mark.parametrize("name", FORMULAS)
def test_value_and_two_derivatives_are_sympys(name: str) -> None:
    f = gc.elementwise(name, FORMULAS[name])
    value = f(X)
    first = gc.grad(gc.sum(value), X, unconnected="zero")
    second = gc.grad(gc.sum(first), X, unconnected="zero")
    got = gc.evaluate([value, first, second], {X: AT})
    e = FORMULAS[name](argument(0)).doit()
    e = e.replace(sp.Mod, lambda u, v: u - v * sp.floor(u / v))
    flat = e.replace(sp.floor, lambda u: sp.Function("flat")(u))
    for order, found in enumerate(got):
        slope = sp.diff(flat, argument(0), order) if order else flat
        slope = slope.replace(is_of_a_step, lambda t: sp.S.Zero)
        wanted = slope.replace(sp.Function("flat"), sp.floor)
        np.testing.assert_allclose(found, exact(wanted, AT), rtol=1e-11, atol=1e-12)


def test_parameters_with_defaults_are_no_arguments() -> None:
    assert gc.elementwise("f", lambda x, power=2: x**power)(X) is gc.elementwise("f", a**2)(X)
    assert gc.elementwise("f", sp.Lambda((a, b), a - b))(X, Y) is not None


def test_several_arguments_and_mixed_derivatives() -> None:
    f = gc.elementwise("f", sp.sin(a * b) * b**2, args=[a, b])
    value = f(X, Y)
    by_x, by_y = gc.grad(gc.sum(value), [X, Y])
    mixed = gc.grad(gc.sum(by_x), Y)
    got = gc.evaluate([value, by_x, by_y, mixed], {X: AT, Y: 0.7})
    e = sp.sin(a * b) * b**2
    for found, wanted in zip(got, (e, e.diff(a), e.diff(b), e.diff(a, b)), strict=True):
        numbers = np.array([float(wanted.subs({a: v, b: 0.7})) for v in AT])
        total = numbers if np.shape(found) else numbers.sum()
        np.testing.assert_allclose(found, total, rtol=1e-12)


# -- stability -------------------------------------------------------------------------------------
def test_derivatives_are_in_stable_terms() -> None:
    """exp(-x) / (1 + exp(-x))**2 is inf / inf at -1000."""
    f = gc.elementwise("own sigmoid", lambda x: 1 / (1 + sp.exp(-x)))
    slope = gc.grad(gc.sum(f(X)), X)
    at = np.array([-1000.0, -30, 0, 30, 1000])
    expected = [0, np.exp(-30.0), 0.25, np.exp(-30.0), 0]
    np.testing.assert_allclose(gc.evaluate(slope, {X: at}), expected, rtol=1e-2, atol=1e-16)


def test_pieces_do_not_poison() -> None:
    """At 0 the formula is 0/0, at 800 inf/inf; the pieces are used there, in all derivatives."""
    f = gc.elementwise(
        "ratio", lambda x: x / (sp.exp(x) - 1),
        at=[(lambda x: abs(x) < 0.01, lambda x: 1 - x / 2 + x**2 / 12 - x**4 / 720),
            (lambda x: x > 300, lambda x: x * sp.exp(-x))],
    )  # fmt: skip
    value = f(X)
    first = gc.grad(gc.sum(value), X)
    second = gc.grad(gc.sum(first), X)
    at = np.array([0.0, 1e-5, 0.009, 0.02, 1.0, 800.0, -800.0])
    got = gc.evaluate([value, first, second], {X: at})
    for found in got:
        assert np.isfinite(found).all()
    t = sp.Symbol("t")
    e = t / (sp.exp(t) - 1)
    for order, found in enumerate(got):
        slope = sp.diff(e, t, order)
        wanted = [float(sp.N(slope.subs(t, sp.Float(v, 80)), 20)) for v in at[1:5]]
        np.testing.assert_allclose(found[1:5], wanted, rtol=1e-7)
    np.testing.assert_allclose([found[0] for found in got], [1, -1 / 2, 1 / 6])


def test_sinc_of_sympy_has_its_series_beside_zero() -> None:
    made = gc.from_sympy(sp.sinc(a), {a: X})
    first = gc.grad(gc.sum(made), X)
    second = gc.grad(gc.sum(first), X)
    got = gc.evaluate([made, first, second], {X: np.array([0.0, 1e-7, 0.9])})
    np.testing.assert_allclose([found[0] for found in got], [1, 0, -1 / 3])
    np.testing.assert_allclose(got[1][1], -1e-7 / 3, rtol=1e-12)
    e = sp.sin(a) / a
    wanted = [float(sp.N(sp.diff(e, a, k).subs(a, sp.Float(0.9, 30)), 20)) for k in range(3)]
    np.testing.assert_allclose([found[2] for found in got], wanted, rtol=1e-14)


# -- as good as a built-in op ----------------------------------------------------------------------
def test_it_is_fused_into_one_kernel() -> None:
    f = gc.elementwise("native", FORMULAS["mish"])
    value = f(X) * 2 + Y
    program = gc.compile([X, Y], [value, gc.grad(gc.sum(value), X)], name="own")
    assert len(program.kernels) == 1
    got = program(AT, 1.0)
    wanted = gc.evaluate([value, gc.grad(gc.sum(value), X)], {X: AT, Y: 1.0})
    np.testing.assert_allclose(got[0], wanted[0], rtol=1e-14)
    np.testing.assert_allclose(got[1], wanted[1], rtol=1e-14)


def test_dtypes_shapes_and_numbers() -> None:
    f = gc.elementwise("f", lambda x, y: x * y + sp.Rational(1, 3))
    single = gc.placeholder("own_single", (2, 1))
    assert f(single, 0.5).dtype is gc.float32
    assert f(single, gc.placeholder("own_row", (3,))).shape == (2, 3)
    assert f(gc.placeholder("own_int", (), "int32"), 2).dtype is gc.float64
    assert gc.evaluate(f(2, 3.0)) == 6 + 1 / 3


def test_constants_have_the_shape_of_the_operands() -> None:
    two = gc.elementwise("two", lambda x: sp.Integer(2))
    np.testing.assert_array_equal(gc.evaluate(two(X), {X: AT}), np.full(4, 2.0))
    assert float(gc.evaluate(gc.grad(gc.sum(two(X)), X, unconnected="zero"), {X: AT}).sum()) == 0


def test_text_key_and_pickles_have_the_formula() -> None:
    f = gc.elementwise("same", lambda x: x**2, at=[(lambda x: x > 3, lambda x: 6 * x - 9)])
    g = gc.elementwise("same", lambda x: x**2)
    h = gc.elementwise("same", lambda x: x**3)
    graphs = [gc.Graph([X], [gc.grad(gc.sum(op(X)), X)]) for op in (f, g, h)]
    assert len({key_text(graph) for graph in graphs}) == 3
    assert f(X) is not g(X) is not h(X)
    text = gc.print_graph(graphs[0])
    assert "formula='x0**2', at=(('x0 > 3', '6*x0 - 9'),), orders=(1,)" in text
    assert gc.print_graph(gc.parse_graph(text)) == text
    assert pickle.loads(pickle.dumps(f))(X) is f(X)
    assert copy.deepcopy(f)(X) is f(X)


def test_equal_formulas_are_one_node() -> None:
    first, second = gc.elementwise("f", lambda x: x * 2 + 1), gc.elementwise("f", 1 + a + a)
    assert first(X) is second(X)


def test_latex_drawing_and_expression() -> None:
    f = gc.elementwise("mish", FORMULAS["mish"], at=[(lambda x: x > 30, lambda x: x)])
    text = gc.latex(f(X))
    assert r"\tanh" in text
    assert r"\begin{cases}" in text
    assert "mish" in gc.draw(f(X))._repr_svg_()
    assert gc.to_sympy(f(X), {X: a}) == f.formula.subs(argument(0), a)


def test_vmap_and_loops() -> None:
    f = gc.elementwise("f", lambda x: sp.exp(-x) * x)
    rows = gc.placeholder("own_rows", (3, 4), "float64")
    made = gc.vmap(lambda row: gc.sum(f(row)))(rows)
    data = np.random.default_rng(0).normal(size=(3, 4))
    np.testing.assert_allclose(gc.evaluate(made, {rows: data}), (np.exp(-data) * data).sum(1))


# -- text ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", FORMULAS)
def test_text_reads_back(name: str) -> None:
    e = FORMULAS[name](a)
    text = write(e, [a])
    again = read(text)
    assert write(again, [argument(0)]) == text
    for v in (0.3, -0.7, 1.5):
        wanted = complex(e.subs(a, v).doit())
        assert complex(again.subs(argument(0), v).doit()) == pytest.approx(wanted)


@pytest.mark.parametrize("text", [
    "__import__('os').system('x')", "x0.real", "(lambda: 1)()", "open('f')", "x0[0]", "y", "x0 +",
    "eval('1')", "Derivative(x0, x0)", "exp(x0, evaluate=False)", "'a'", "x0 if x0 else 1", "",
    "(" * 1000, "f'{x0}'", "sympify('1')", "x99999", "exp(*[x0])", "Symbol('x')", "x0 < 1 < 2",
])  # fmt: skip
def test_what_is_no_formula_is_not_evaluated(text: str) -> None:
    with pytest.raises(GraphError, match="not a formula"):
        read(text)


# -- names and bad input ---------------------------------------------------------------------------
CANARIES = [
    "__import__('os').abort()", 'x"); __import__("os").abort(); ("', "a b", "exp", "if", "a\nb",
    "\x00", "\u202e", "../../x", "<b>", "{v}", "x0", "x" * 5000,
]  # fmt: skip


def test_native_any_name_is_safe() -> None:
    total: Any = 0.0
    for i, name in enumerate(CANARIES):
        total = total + gc.elementwise(name, lambda x, i=i: x**2 + i)(X)
    graph = gc.Graph([X], [total])
    assert gc.print_graph(gc.parse_graph(gc.print_graph(graph))) == gc.print_graph(graph)
    program = gc.compile([X], total, name="canaries")
    count = len(CANARIES)
    np.testing.assert_allclose(program(AT), count * AT**2 + count * (count - 1) / 2)
    assert not [name for name in CANARIES if len(name) > 3 and name in program.source]
    assert "abort()" not in gc.latex(total)
    gc.draw(total)._repr_svg_()


UNKNOWN = sp.Function("g")
BAD: list[tuple[str, Any]] = [
    ("a name is a string", lambda: gc.elementwise("", lambda x: x)),
    ("a name is a string", lambda: gc.elementwise(3, lambda x: x)),  # type: ignore[arg-type]
    ("symbols that are no arguments", lambda: gc.elementwise("f", lambda x: x + a)),
    ("which symbol is which", lambda: gc.elementwise("f", a + b)),
    ("arguments are symbols", lambda: gc.elementwise("f", a + b, args=[a, a])),
    ("number of arguments", lambda: gc.elementwise("f", lambda *xs: xs[0])),
    ("a function of symbols", lambda: gc.elementwise("f", "x + 1")),
    ("not a formula", lambda: gc.elementwise("f", lambda x: "x")),
    ("a formula of numbers", lambda: gc.elementwise("f", lambda x: x > 0)),
    ("a condition", lambda: gc.elementwise("f", lambda x: x, at=[(lambda x: x, lambda x: x)])),
    ("not pieces", lambda: gc.elementwise("f", lambda x: x, at=[lambda x: x])),
    (r"g\(x0\); not supported: (lerchphi, DiracDelta|DiracDelta, lerchphi)",
     lambda: gc.elementwise("f", lambda x: sp.lerchphi(x, 2, 1) + sp.DiracDelta(x) + UNKNOWN(x))),
    ("a formula of real numbers", lambda: gc.elementwise("f", lambda x: sp.I * x)),
    ("derivative by argument 1", lambda: gc.elementwise("f", lambda x: sp.besselj(x, x))),
    ("wrong number of operands", lambda: gc.elementwise("f", lambda x: x)(X, X)),
]  # fmt: skip


@pytest.mark.parametrize(("text", "call"), BAD, ids=[t for t, _ in BAD])
def test_bad_input(text: str, call: Any) -> None:
    with pytest.raises(ArgumentError, match=text) as caught:
        call()
    assert "test_formula.py" in str(caught.value)


def test_a_node_that_is_none() -> None:
    def made(formula: Any, orders: Any = (0,), operand: Any = X) -> Any:
        return apply(FORMULA, (operand,), name="f", formula=formula, at=(), orders=orders)

    for call in (lambda: made(3), lambda: made("x0", (0, 0)), lambda: made("x0", (-1,))):
        with pytest.raises(GraphcError):
            call()
    with pytest.raises(DTypeError):
        made("x0", operand=gc.placeholder("own_whole", (), "int32"))
    with pytest.raises(GraphError, match="not a formula"):
        gc.evaluate(made("nonsense(").output(), {X: AT})
    with pytest.raises(ArgumentError, match="x1"):
        gc.evaluate(Elementwise("f", "x0 + x1", (), 1)(X), {X: AT})


def test_in_80_bits() -> None:
    """As the bound of a comparison is found: the op has no dtype for them, but a meaning."""
    f = gc.elementwise("own_wide", sp.exp(a) * a + 1 / a)
    (found,) = extended(Graph([X], [f(X)]), [AT])
    wide = AT.astype(np.longdouble)
    np.testing.assert_allclose(found, np.exp(wide) * wide + 1 / wide, rtol=1e-18)
