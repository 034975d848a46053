"""Functions of SymPy's expressions: values held to SymPy's `lambdify`, derivatives to its `diff`.

Most programs are interpreted: what is compiled is tested elsewhere, and here by `native` tests.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import sympy as sp
from sympy.matrices.expressions.dotproduct import DotProduct
from sympy.physics.mechanics import dynamicsymbols
from sympy.utilities.lambdify import implemented_function
from sympy.vector import CoordSys3D

import graphc as gc
from graphc.errors import ArgumentError, CallError, DTypeError, GraphcError, ShapeError
from graphc.interchange import lambdify as module

x, y, z, t = sp.symbols("x y z t")
X = sp.MatrixSymbol("X", 2, 2)
V = sp.MatrixSymbol("V", 3, 1)
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def interpreted(request: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    module._kept.cache_clear()
    if "native" not in request.node.name:
        monkeypatch.setattr(module, "compile", partial(gc.compile, target="reference"))
    yield
    module._kept.cache_clear()


def same(a: Any, b: Any, **options: Any) -> None:
    """Equal in structure and values; a list beside an array is one."""
    if isinstance(b, (list, tuple)) and not isinstance(a, np.ndarray):
        assert type(a) is type(b)
        assert len(a) == len(b)
        for u, v in zip(a, b, strict=True):
            same(u, v, **options)
    else:
        np.testing.assert_allclose(a, b, **({"rtol": 1e-13, "atol": 1e-14} | options))


# -- forms of arguments and results ----------------------------------------------------------------
q, p = dynamicsymbols("q p")
SPACE = CoordSys3D("N")
POINTS: list[tuple[Any, Any, tuple[Any, ...]]] = [
    (x, x**2, (3.0,)),
    ([x, y], x + y, (1, 2)),
    ([x, y], sp.Matrix([[x, x * y], [1, sp.sin(y)]]), (1.0, 2.0)),
    ([[x, y]], [x, y], ([91, 2],)),
    ([(x, y), (z, t)], [x, [y, (z, t)]], ((18, 12), (73, 4))),
    ([x, [[[y]], z], t], (x, y, z, t), (10, [[[52]], 31], 44)),
    ([q, q.diff(t)], q.diff(t) ** 2 / 2 - sp.cos(q), (0.3, 0.5)),
    (sp.Matrix([x, y]), sp.Matrix([[x], [y * x]]), (2.0, 3.0)),
    ([X], X.T * X + 2 * X, (np.arange(4.0).reshape(2, 2),)),
    ([V, x], x * V.T * V, (np.array([[1.0], [2], [3]]), 2.0)),
    ([x, y], DotProduct(sp.Matrix([x, y]), sp.Matrix([x, 3])), (1.0, 2.0)),
    (list(SPACE.base_scalars()), sum(SPACE.base_scalars()), (1.0, 2.0, 4.0)),
    ([], sp.pi, ()),
    ([x], [1, sp.pi, x], (0.5,)),
    ([x, y], {"a": x + y, "b": [x]}, (1.0, 2.0)),
    ([x], (), (1.0,)),
]


@pytest.mark.parametrize(("args", "exprs", "values"), POINTS, ids=lambda a: str(a)[:30])
def test_a_point_gives_what_sympy_gives(args: Any, exprs: Any, values: Any) -> None:
    if isinstance(exprs, dict):
        exprs, keys = list(exprs.values()), list(exprs)
        got = gc.lambdify(args, dict(zip(keys, exprs, strict=True)))(*values)
        assert list(got) == keys
        got = list(got.values())
    else:
        got = gc.lambdify(args, exprs)(*values)
    same(got, sp.lambdify(args, exprs, "numpy")(*values))


def test_numbers_and_truth_values_of_a_point_are_scalars() -> None:
    assert isinstance(gc.lambdify(x, sp.sin(x))(2), float)
    assert gc.lambdify(x, x > 1)(2) is True
    assert gc.lambdify(x, sp.true)(2) is True


def test_batches() -> None:
    f = gc.lambdify([x, y], [x * y, sp.Matrix([[x, 2], [y, x + y]]), sp.Integer(3), x > y])
    a, b = RNG.normal(size=(4, 1)), RNG.normal(size=3)
    value, matrix, three, above = f(a, b)
    same(value, a * b)
    assert matrix.shape == (4, 3, 2, 2)
    same(matrix[2, 1], [[a[2, 0], 2], [b[1], a[2, 0] + b[1]]])
    same(three, np.full((4, 3), 3.0))
    np.testing.assert_array_equal(above, a > b)
    same(f(a[:, 0], 2.0)[0], a[:, 0] * 2)
    assert f(np.empty(0), 1.0)[1].shape == (0, 2, 2)


def test_a_list_of_symbols_takes_one_array() -> None:
    f = gc.lambdify([[x, y, z], t], sp.Matrix([x * y, z * t]))
    a, b = RNG.normal(size=(3, 5)), RNG.normal(size=5)
    wanted = np.stack([a[0] * a[1], a[2] * b], axis=-1)[..., None]
    same(f(a, b), wanted)
    same(f(list(a), b), wanted)
    same(f(a[:, 0], b[0]), wanted[0])
    same(f([a[0], 2.0, 3.0], 1.0)[..., 0, 0], a[0] * 2)  # values of several shapes
    same(f(a[:, :1], b), f([a[0, 0], a[1, 0], a[2, 0]], b))


def test_matrices_are_the_last_axes() -> None:
    f = gc.lambdify([X, x], x * X * X)
    a, b = RNG.normal(size=(5, 2, 2)), RNG.normal(size=5)
    same(f(a, b), b[:, None, None] * (a @ a))
    same(f(a[0], b), b[:, None, None] * (a[0] @ a[0]))
    same(gc.lambdify(V, V.T * V)([1, 2, 3]), [[14]])  # a vector for a column
    m = sp.Matrix([[x, y], [z, t]])
    same(gc.lambdify([m], m.det())(a), np.linalg.det(a), rtol=1e-10)
    traces = np.trace(a @ a, axis1=1, axis2=2)
    e = sp.Trace(X * X) + sp.Determinant(X) * (X * X)[0, 1]
    same(gc.lambdify(X, e)(a), traces + np.linalg.det(a) * (a @ a)[:, 0, 1], rtol=1e-10)


def test_what_has_elements_but_no_sizes() -> None:
    a = sp.IndexedBase("a")
    i, j = sp.symbols("i j", integer=True)
    total = gc.lambdify(a, sp.Sum(a[i, j], (i, 0, 1), (j, 0, 1)))
    assert total(np.array([[1, 2], [3, 4]])) == 10
    k = sp.Idx("k")
    assert gc.lambdify([a, k], a[k])([1, 2, 3], 2) == 3


def test_names() -> None:
    f = gc.lambdify([x, y], x - y)
    assert f(3, y=1) == f(x=3, y=1) == 2


def test_values_are_converted() -> None:
    f = gc.lambdify([x, y], x / y)
    for one in (1, True, np.float32(1), np.int8(1), sp.Integer(1), np.array(1)):
        assert f(one, 4) == 0.25
    assert gc.lambdify(x, x / 3, dtype="float32")(1.0).dtype == np.float32


# -- derivatives -----------------------------------------------------------------------------------
SMOOTH = sp.exp(-((x - y) ** 2)) * sp.sin(x * z) + sp.sqrt(1 + x**2 * z**4) + sp.log(2 + y) ** 3


def test_gradient_and_hessian_are_those_of_sympy() -> None:
    f = gc.lambdify([x, y, z], SMOOTH, gradient=True, hessian=True)
    symbols, at = [x, y, z], (0.3, 0.7, 1.2)
    value, gradient, hessian = f(*at)
    point = dict(zip(symbols, at, strict=True))
    same(value, float(SMOOTH.subs(point)))
    same(gradient, [float(SMOOTH.diff(a).subs(point)) for a in symbols], rtol=1e-12)
    second = [[float(SMOOTH.diff(a, b).subs(point)) for b in symbols] for a in symbols]
    same(hessian, second, rtol=1e-12)
    assert (hessian == hessian.T).all()
    many = RNG.uniform(0.2, 1.0, (3, 4))
    values, gradients, hessians = f(*many)
    for k in range(4):
        one = f(*many[:, k])
        same((values[k], gradients[k], hessians[k]), one)
    alone = f(many[0], 0.7, 1.2)  # a batch beside single points: derivatives are of each point
    same(alone[1][2], f(many[0, 2], 0.7, 1.2)[1])
    same(alone[2][1], f(many[0, 1], 0.7, 1.2)[2])


def test_jacobian_has_a_row_for_each_element() -> None:
    exprs = [x * y, sp.Matrix([sp.sin(y), 3])]
    f = gc.lambdify([x, [y, z]], exprs, jacobian=True)
    value, jacobian = f(0.5, [2.0, 1.0])
    same(value, [1.0, np.array([[np.sin(2)], [3]])])
    same(jacobian, [[2.0, 0.5, 0], [0, np.cos(2), 0], [0, 0, 0]])
    assert f(np.ones(4), [2.0, np.ones(4)])[1].shape == (4, 3, 3)


def test_derivatives_by_some_symbols() -> None:
    f = gc.lambdify([x, y], x**2 * y, gradient=[y], hessian=x)
    same(f(3.0, 2.0), (18.0, np.array([9.0]), np.array([[4.0]])))


def test_derivatives_by_the_elements_of_a_matrix() -> None:
    f = gc.lambdify(X, sp.Trace(X * X), gradient=True)
    a = RNG.normal(size=(2, 2))
    same(f(a)[1], 2 * a.T.ravel())


def test_all_orders_share_their_subexpressions() -> None:
    f = gc.lambdify([x, y], sp.exp(x * y) + sp.sin(x), gradient=True, hessian=True)
    ops = [n.op.name for n in f.compiled(1.0, 2.0).graph.nodes]
    assert ops.count("exp") == 1
    assert ops.count("sin") == ops.count("cos") == 1


def test_native_programs_of_points_and_batches() -> None:
    f = gc.lambdify([[x, y, z]], SMOOTH, gradient=True, hessian=True)
    many = RNG.uniform(0.2, 1.0, (3, 50))
    found = f(many)
    for k in (0, 49):
        same((found[0][k], found[1][k], found[2][k]), f(np.array(many[:, k])), rtol=1e-12)
    assert found[2].shape == (50, 3, 3)
    assert f.compiled(many).rows(many).shape == (1 + 3 + 9, 50)
    assert f.compiled(np.array(many[:, 0])).rows(np.array(many[:, 0])).shape == (1 + 3 + 6,)
    assert all(r.base is found[0].base for r in found)  # nothing is copied
    half = float(found[2][0, 1, 0])
    found[2][0, 0, 1] = half + 1
    assert found[2][0, 1, 0] == half
    again = [f(np.array(many[:, 0])) for _ in range(2)]  # arrays of two calls are not the same
    assert again[0][1] is not again[1][1]
    assert not np.shares_memory(again[0][1], again[1][1])


# -- complex numbers -------------------------------------------------------------------------------
WAVE = sp.exp(sp.I * x * y) / (1 + sp.I * y)


def test_complex_results_beside_real_ones_and_truths() -> None:
    f = gc.lambdify([x, y], [WAVE, x * y, x > y, sp.Matrix([sp.I, x]), 2, 1 + sp.I])
    numpy = sp.lambdify([x, y], WAVE)
    at = (0.7, 0.4)
    one = f(*at)
    same(one[0], numpy(*at))
    assert [type(v) for v in one[:3]] == [np.complex128, np.float64, bool]
    same(one[3], [[1j], [0.7]])
    assert (one[4], one[5]) == (2.0, 1 + 1j)
    xs, ys = RNG.uniform(0, 1, (2, 5))
    many = f(xs, ys)
    same(many[0], numpy(xs, ys))
    assert [v.dtype.kind for v in many] == ["c", "f", "b", "c", "f", "c"]
    assert many[3].shape == (5, 2, 1)


def test_derivatives_of_complex_results_by_real_symbols_are_those_of_sympy() -> None:
    f = gc.lambdify([x, y], WAVE, gradient=True, hessian=True)
    at = {x: 0.7, y: 0.4}
    value, slope, curvature = f(0.7, 0.4)
    same(value, complex(WAVE.subs(at)))
    same(slope, [complex(WAVE.diff(s).subs(at)) for s in (x, y)])
    same(curvature, [[complex(WAVE.diff(a, b).subs(at)) for b in (x, y)] for a in (x, y)])
    batch = gc.lambdify([x, y], [WAVE, x], jacobian=[y])(np.full(3, 0.7), 0.4)[1]
    assert batch.shape == (3, 2, 1)
    same(batch[1], [[slope[1]], [0.0]])


def test_complex_sums_of_as_many_terms_as_a_call_says() -> None:
    k, n = sp.symbols("k n", integer=True)
    e = sp.Sum(x**k * sp.exp(sp.I * k * y), (k, 0, n))
    f = gc.lambdify([x, y, n], e, gradient=[x, y])
    value, slope = f(0.8, 0.5, 7)
    written, at = e.subs(n, 7).doit(), {x: 0.8, y: 0.5}
    same(value, complex(written.subs(at)))
    same(slope, [complex(written.diff(s).subs(at)) for s in (x, y)])
    same(gc.lambdify([x, y, n], e)(0.8j, 0.5, 7), complex(written.subs({x: 0.8j, y: 0.5})))


def test_complex_arguments_make_all_complex() -> None:
    """A transfer function on the imaginary axis, whose modulus is real."""
    g = 1 / (z**2 + z / 2 + 1)
    f = gc.lambdify([z, x], [g, sp.Abs(g), x * z])
    s = 1j * np.linspace(0, 2, 4)
    wanted = 1 / (s**2 + s / 2 + 1)
    for found in (f(s, 2.0), gc.lambdify([z, x], f._structure, dtype="complex128")(s, 2)):
        same(found, [wanted, np.abs(wanted), 2 * s])
        assert found[1].dtype == np.float64
    same(gc.lambdify([[z, x]], z * x)([1j, 2.0]), 2j)


# -- functions of tensors --------------------------------------------------------------------------
def test_functions_by_name_take_the_place_of_sympy_s() -> None:
    g = sp.Function("g")
    twice = implemented_function("twice", lambda v: 2 * v)
    e = g(x) + g(2 * y).diff(y) + twice(x)
    f = gc.lambdify([x, y], e, {"g": lambda v: v**3}, gradient=True, hessian=True)
    value, slope, curvature = f(2.0, 0.5)
    same((value, slope), (8 + 2 * 3 + 4.0, np.array([12.0 + 2, 24.0])))
    same(curvature, [[12.0, 0.0], [0.0, 48.0]])
    modules: list[Any] = [{"sin": gc.cos}, {"sin": gc.tan, "g": gc.exp}, "numpy", "scipy"]
    same(gc.lambdify(x, sp.sin(x) + g(x), modules)(0.3), np.cos(0.3) + np.exp(0.3))
    same(gc.lambdify(x, sp.sin(x), "numpy")(0.3), np.sin(0.3))
    again = pickle.loads(pickle.dumps(gc.lambdify(x, g(x), {g: gc.exp})))
    same(again(np.array([0.0, 1.0])), np.exp([0.0, 1.0]))


# -- one object for equal arguments ----------------------------------------------------------------
def test_a_second_call_writes_nothing_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    f = gc.lambdify([x, y], [sp.sin(x) + y, {"k": sp.Matrix([x])}], jacobian=True)
    f(1.0, 2.0)
    monkeypatch.setattr(module, "values_of", None)
    monkeypatch.setattr(module, "compile", None)
    again = gc.lambdify([x, y], [sp.sin(x) + y, {"k": sp.Matrix([x])}], jacobian=True)
    assert again is f
    again(3.0, 4)
    monkeypatch.undo()
    assert gc.lambdify([x, y], [sp.sin(x) + y, {"k": sp.Matrix([x])}]) is not f
    assert gc.lambdify([y, x], [sp.sin(x) + y, {"k": sp.Matrix([x])}], jacobian=True) is not f
    positive = sp.Symbol("x", positive=True)
    assert gc.lambdify([positive, y], [sp.sin(positive) + y], jacobian=True) is not f


def test_pickles() -> None:
    f = gc.lambdify([x, [y, z]], {"a": x * y, "b": (z, [1])}, jacobian=[x])
    again = pickle.loads(pickle.dumps(f))
    assert str(again(1.0, [2.0, 3.0])) == str(f(1.0, [2.0, 3.0]))


def test_cse_as_sympy_takes_it() -> None:
    exprs = [sp.sin(x + y) ** 2 + x, sp.sin(x + y)]
    wanted = gc.lambdify([x, y], exprs)(0.1, 0.2)
    for cse in (True, False, sp.cse, lambda e: ((), e)):
        same(gc.lambdify([x, y], exprs, cse=cse)(0.1, 0.2), wanted)


# -- errors ----------------------------------------------------------------------------------------
BIG = sp.MatrixSymbol("big", 6, 6)
f2 = partial(gc.lambdify, [x, [y, z]], x * y + z)
BAD: list[tuple[type[GraphcError], str, Any]] = [
    (ArgumentError, "no symbols", lambda: gc.lambdify([x * y, 1], x)),
    (ArgumentError, "there twice", lambda: gc.lambdify([x, [y, x]], x)),
    (ArgumentError, "without a tensor: y, z; not supported: lerchphi",
     lambda: gc.lambdify(x, [x + y, z + sp.lerchphi(x, 2, 1)])),
    (ArgumentError, "not an expression", lambda: gc.lambdify(x, "x + 1")),
    (ArgumentError, "more than one expression", lambda: gc.lambdify(x, [x, x], gradient=True)),
    (ArgumentError, "no argument", lambda: gc.lambdify(x, x, gradient=[y])),
    (ArgumentError, "written out", lambda: gc.lambdify(BIG, BIG.inv())),
    (ArgumentError, "cannot be written", lambda: gc.lambdify(BIG, sp.Determinant(BIG) * 2)),
    (ArgumentError, "not functions by name", lambda: gc.lambdify(x, x, "tensorflow")),
    (ArgumentError, "f: 3", lambda: gc.lambdify(x, x, {"f": 3})),
    (ArgumentError, "derivatives by complex", lambda: gc.lambdify(x, x, gradient=True)(1j)),
    (ArgumentError, "derivatives by complex",
     lambda: gc.lambdify(x, x, gradient=True, dtype="complex128")),
    (DTypeError, "gamma: complex", lambda: gc.lambdify(x, sp.gamma(sp.I * x))),
    (ArgumentError, "a float dtype", lambda: gc.lambdify(x, x, dtype="int32")),
    (CallError, "another number", lambda: f2()(1.0)),
    (CallError, "a list of 2", lambda: f2()(1.0, 2.0)),
    (CallError, "a list of 2", lambda: f2()(1.0, [2.0, 3.0, 4.0])),
    (CallError, "missing", lambda: gc.lambdify([x, y], x)(y=1.0)),
    (CallError, "has this name", lambda: gc.lambdify([x, y], x)(1.0, z=1.0)),
    (CallError, "shape", lambda: gc.lambdify(X, X)(np.zeros((2, 3)))),
    (ShapeError, "broadcast", lambda: gc.lambdify([x, y], x + y)(np.zeros(2), np.zeros(3))),
    (DTypeError, "real numbers", lambda: gc.lambdify(x, x)("1")),
    (DTypeError, "real numbers", lambda: gc.lambdify(x, x)([[1, 2], [3]])),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "call"), BAD, ids=[b[1] for b in BAD])
def test_bad_input(kind: type[GraphcError], text: str, call: Any) -> None:
    with pytest.raises(kind, match=text) as caught:
        call()
    assert "test_lambdify.py" in str(caught.value)


CANARIES = [
    "__import__('os').abort()", 'x"); __import__("os").abort(); ("', "a b", "", "lambda", "exp",
    "if", "a\nb", "\x00", "\u202e", "../../x", "{v}", "\\alpha", "n", "a0", "x" * 10_000,
]  # fmt: skip


def test_native_any_name_is_safe() -> None:
    """Names reach neither source nor keys: all of these are one program."""
    symbols = [sp.Symbol(name) for name in CANARIES]
    total = sum(s * (i + 1) for i, s in enumerate(symbols))
    f = gc.lambdify([symbols, sp.MatrixSymbol("q'; abort()", 1, 1)], total, gradient=True)
    value, gradient = f(np.arange(1.0, 17.0), [[0.0]])
    assert value == sum(i * i for i in range(1, 17))
    same(gradient[:16], np.arange(1.0, 17.0))
    source = f.compiled(np.arange(1.0, 17.0), [[0.0]]).source
    assert not [name for name in CANARIES if len(name) > 3 and name in source]
