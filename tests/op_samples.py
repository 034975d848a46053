"""Samples for every op: how it is called, the NumPy expression it equals, and on which shapes.

`SAMPLES[name]` has one entry for each registered op, and for public functions made of several.
To add an op, add an entry: `unary` or `binary` for elementwise ops, else `Samples(cases=...)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.special

import graphc as gc
from graphc.ir.dtype import DTYPES
from graphc.ir.node import apply
from graphc.ir.op import registry

Array = np.ndarray[Any, Any]
Shape = tuple[int | str, ...]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]

ALL = tuple(d.name for d in DTYPES)
FLOATS = ("float32", "float64")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One way to call an op. A name in a shape is a symbolic dim.

    dtypes: of each operand; None is the dtype under test.
    draws: values of operands that must not be just any number (indices).
    """

    call: Callable[..., Any]
    numpy: Callable[..., Any]
    shapes: tuple[Shape, ...]
    dtypes: tuple[str | None, ...] = ()
    draws: tuple[Draw | None, ...] = ()

    def dtype(self, position: int, tested: str) -> str:
        return (self.dtypes[position] if self.dtypes else None) or tested

    def placeholders(self, tested: str) -> list[Any]:
        return [
            gc.placeholder(f"x{i}", shape, self.dtype(i, tested))
            for i, shape in enumerate(self.shapes)
        ]

    def arrays(self, tested: str, n: int, rng: np.random.Generator, wild: bool) -> list[Array]:
        """Values for the operands: special ones among them if `wild`."""
        result = []
        for i, shape in enumerate(self.shapes):
            sizes = tuple(n if s == "n" else int(s) for s in shape)
            dtype = np.dtype(self.dtype(i, tested))
            draw = self.draws[i] if self.draws else None
            if draw is not None:
                result.append(draw(rng, sizes).astype(dtype))
            else:
                result.append(special(rng, sizes, dtype) if wild else tame(rng, sizes, dtype))
        return result


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Everything the tests need to know of one op.

    takes: the dtypes it takes as the one under test; all others are errors that graphc names.
    ulp: 0 where it equals NumPy bit for bit, else the distance allowed (no such NumPy function),
    unit: and the magnitude below which the distance is absolute.
    wild: whether it is sampled at NaN, inf and the like.
    domain: where derivatives are compared with differences; None where there is no derivative.
    smooth: whether second derivatives are compared too.
    """

    cases: tuple[Case, ...]
    takes: tuple[str, ...] = ALL
    ulp: float = 0
    unit: float = 1e-30
    wild: bool = True
    domain: tuple[float, float] | None = (-2.0, 2.0)
    smooth: bool = True


# -- values ----------------------------------------------------------------------------------------
def special(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Edges of the dtype mixed with ordinary values."""
    if dtype == np.bool_:
        return rng.random(shape) < 0.5
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        edges = [info.min, info.max, info.max - 1, 0, 1, 2, 3, 7] + [-1, -2, -7] * (
            dtype.kind == "i"
        )
        return rng.choice(np.array(edges, dtype), size=shape).astype(dtype)
    info = np.finfo(dtype)
    edges = [0.0, 1.0, 0.5, 1.5, 2.5, np.inf, np.pi / 2, 20.0, 100.0, 1000.0]
    edges += [info.max, info.tiny, info.smallest_subnormal, info.eps]
    pool = np.array([*edges, *(-e for e in edges), np.nan], dtype)
    chosen = rng.choice(pool, size=shape)
    return np.where(rng.random(shape) < 0.3, rng.normal(size=shape), chosen).astype(dtype)


def tame(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Small values: nothing overflows."""
    if dtype == np.bool_:
        return rng.random(shape) < 0.5
    low = 0 if dtype.kind == "u" else -5
    if dtype.kind in "iu":
        return rng.integers(low, 6, shape).astype(dtype)
    return rng.normal(size=shape).astype(dtype)


def below(size: int, *, negative: bool = False) -> Draw:
    """Integers in [0, size), or in [-size, size)."""
    return lambda rng, shape: rng.integers(-size if negative else 0, size, shape)


def of_kinds(kinds: str) -> tuple[str, ...]:
    return tuple(d.name for d in DTYPES if d.kind in kinds)


def in_float(x: Array) -> Array:
    """`x` as float functions take it: as in NumPy, but small ints in float32 (not float16)."""
    if x.dtype.kind == "f":
        return x
    return x.astype(np.float32 if x.dtype.itemsize <= 2 else np.float64)


# -- elementwise -----------------------------------------------------------------------------------
UNARY_SHAPES: tuple[Shape, ...] = ((), (1,), (7,), (0,), (3, 4), (1, 1), (2, 0), ("n", 2))
BINARY_SHAPES: tuple[tuple[Shape, Shape], ...] = (
    ((), ()), ((7,), (7,)), ((1,), (1,)), ((0,), (0,)), ((3, 4), (3, 4)), (("n", 2), ("n", 2)),
    ((), (3,)), ((3, 1), ()), ((3, 4), (4,)), ((3, 1), (1, 4)), ((2, 1, 3), (4, 1)),
    ((0,), (1,)), ((2, 0), (2, 1)), ((1,), ("n",)), (("n", 1), ("n", 4)), (("n", 4), (4,)),
)  # fmt: skip


def unary(name: str, numpy: Callable[..., Any], takes: str = "iuf", **options: Any) -> None:
    call = getattr(gc, name)
    SAMPLES[name] = Samples(
        cases=tuple(Case(call=call, numpy=numpy, shapes=(s,)) for s in UNARY_SHAPES),
        takes=of_kinds(takes),
        **options,
    )


def float_unary(name: str, numpy: Callable[..., Any], **options: Any) -> None:
    unary(name, lambda x: numpy(in_float(x)), "biuf", **options)


def binary(
    name: str,
    numpy: Callable[..., Any],
    takes: str = "iuf",
    dtypes: tuple[str | None, ...] = (),
    **options: Any,
) -> None:
    call = getattr(gc, name)
    SAMPLES[name] = Samples(
        cases=tuple(
            Case(call=call, numpy=numpy, shapes=s, dtypes=dtypes) for s in BINARY_SHAPES
        ),
        takes=of_kinds(takes),
        **options,
    )


def long_double(f: Callable[[Any], Any]) -> Callable[[Array], Array]:
    """`f` computed in extended precision, rounded once."""
    return lambda x: f(x.astype(np.longdouble)).astype(x.dtype)


SAMPLES: dict[str, Samples] = {}

binary("add", np.add, "biuf")
binary("subtract", np.subtract)
binary("multiply", np.multiply, "biuf")
binary("divide", np.divide, "biuf", domain=(0.3, 2.0))
binary("floor_divide", np.floor_divide, domain=None)
binary("remainder", np.remainder, domain=(2.1, 3.9), smooth=False)
binary("power", np.power, "f", domain=(0.3, 2.0))
for _name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"):
    binary(_name, getattr(np, _name), "biuf", domain=None)
for _name in ("logical_and", "logical_or", "logical_xor"):
    binary(_name, getattr(np, _name), "biuf", domain=None)
for _name in ("bitwise_and", "bitwise_or", "bitwise_xor"):
    binary(_name, getattr(np, _name), "biu", domain=None)
binary("shift_left", np.left_shift, "iu", domain=None)
binary("shift_right", np.right_shift, "iu", domain=None)
binary("minimum", np.minimum, "biuf", smooth=False)
binary("maximum", np.maximum, "biuf", smooth=False)
unary("logical_not", np.logical_not, "biuf", domain=None)
unary("bitwise_invert", np.invert, "biu", domain=None)

unary("negative", np.negative)
unary("abs", np.abs, domain=(0.2, 2.0), smooth=False)
unary("sign", np.sign, domain=None)
for _name, _numpy in (("floor", np.floor), ("ceil", np.ceil), ("round", np.rint)):
    unary(_name, lambda x, f=_numpy: f(x) if x.dtype.kind == "f" else x, "biuf", domain=None)
unary("square", np.square)
float_unary("sqrt", np.sqrt, domain=(0.2, 3.0))
float_unary("log", np.log, domain=(0.2, 3.0))
float_unary("log1p", np.log1p, domain=(-0.5, 3.0))
for _name in ("exp", "expm1", "sin", "cos", "tanh"):
    float_unary(_name, getattr(np, _name))
float_unary("erf", scipy.special.erf)
float_unary("sigmoid", long_double(lambda x: 1 / (1 + np.exp(-x))), ulp=4)
float_unary("softplus", long_double(lambda x: np.logaddexp(x, 0)), ulp=4)
unary("relu", lambda x: np.maximum(x, x.dtype.type(0)), domain=(0.2, 2.0), smooth=False)
unary("stop_gradient", lambda x: x, "biuf", domain=None)

SAMPLES["where"] = Samples(
    cases=tuple(
        Case(call=gc.where, numpy=np.where, shapes=(c, *s), dtypes=("bool", None, None))
        for s in BINARY_SHAPES
        for c in dict.fromkeys(((), s[0]))
    )
)
SAMPLES["astype"] = Samples(
    cases=tuple(
        Case(
            call=lambda x, to=to: gc.astype(x, to),
            numpy=lambda x, to=to: saturating(x, np.dtype(to)),
            shapes=(shape,),
        )
        for to in ALL
        for shape in ((7,), ("n", 2))
    ),
    domain=None,
)


def saturating(x: Array, to: np.dtype[Any]) -> Array:
    """NumPy's astype, where NumPy defines it; floats outside of an int type go to its nearest."""
    if x.dtype.kind != "f" or to.kind not in "iu":
        return x.astype(to)
    info = np.iinfo(to)
    whole = [
        0 if np.isnan(v) else info.max if v >= info.max else info.min if v <= info.min else int(v)
        for v in x.ravel().tolist()
    ]
    return np.array(whole, to).reshape(x.shape)


# -- functions made of elementwise ops -------------------------------------------------------------
unary("reciprocal", lambda x: 1 / x, "biuf", domain=(0.3, 2.0))
for _name in ("isnan", "isfinite", "isinf"):
    unary(_name, getattr(np, _name), domain=None)
float_unary("leaky_relu", lambda x: np.where(x > 0, x, x * x.dtype.type(0.01)), smooth=False)
SAMPLES["clip"] = Samples(
    cases=tuple(
        Case(
            call=lambda x: gc.clip(x, 1, 3),
            numpy=lambda x: np.clip(x, x.dtype.type(1), x.dtype.type(3)),
            shapes=(s,),
        )
        for s in UNARY_SHAPES
    ),
    takes=of_kinds("iuf"),
    domain=(1.1, 2.9),
    smooth=False,
)


# -- structural ops --------------------------------------------------------------------------------
def same(call: Callable[..., Any], *shapes: Shape, **options: Any) -> Case:
    """A case whose call means the same for tensors and arrays: `f(namespace, *values)`."""
    return Case(
        call=lambda *tensors: call(gc, *tensors),
        numpy=lambda *arrays: call(np, *arrays),
        shapes=shapes,
        **options,
    )


SAMPLES["reshape"] = Samples(
    cases=(
        same(lambda m, x: m.reshape(x, (4, 3)), (3, 4)),
        same(lambda m, x: m.reshape(x, (-1,)), (2, 3, 2)),
        same(lambda m, x: m.reshape(x, (1, 1)), ()),
        same(lambda m, x: m.reshape(x, ()), (1, 1)),
        same(lambda m, x: m.reshape(x, (0, 5)), (2, 0)),
        same(lambda m, x: m.reshape(x, (-1, 2)), ("n", 4)),
        same(lambda m, x: m.expand_dims(x, (0, -1)), (3, 2)),
        same(lambda m, x: m.squeeze(x), (1, 3, 1)),
        same(lambda m, x: m.squeeze(x, 1), ("n", 1)),
    )
)
SAMPLES["permute_dims"] = Samples(
    cases=(
        same(lambda m, x: m.permute_dims(x, (1, 0)), (3, 4)),
        same(lambda m, x: m.permute_dims(x, (2, 0, 1)), (2, 3, 4)),
        same(lambda m, x: m.permute_dims(x, (1, 2, 0)), ("n", 0, 1)),
        same(lambda m, x: m.matrix_transpose(x), (2, "n", 3)),
    )
)
SAMPLES["broadcast_to"] = Samples(
    cases=(
        same(lambda m, x: m.broadcast_to(x, (2, 3)), ()),
        same(lambda m, x: m.broadcast_to(x, (2, 3)), (3,)),
        same(lambda m, x: m.broadcast_to(x, (2, 4, 3)), (2, 1, 3)),
        same(lambda m, x: m.broadcast_to(x, (0,)), (1,)),
        same(lambda m, x: m.broadcast_to(x, (5, x.shape[0])), ("n",)),
    )
)
SAMPLES["flip"] = Samples(
    cases=(
        same(lambda m, x: m.flip(x), (3, 4)),
        same(lambda m, x: m.flip(x, 1), (3, 4)),
        same(lambda m, x: m.flip(x, 0), (0, 2)),
        same(lambda m, x: m.flip(x, (0, 2)), ("n", 2, 3)),
    )
)
SAMPLES["concat"] = Samples(
    cases=(
        same(lambda m, *xs: m.concat(xs, 0), (3,), (2,), (0,)),
        same(lambda m, *xs: m.concat(xs, 1), (2, 1), (2, 3)),
        same(lambda m, *xs: m.concat(xs, -1), ("n", 2), ("n", 1)),
        same(lambda m, *xs: m.concat(xs, 0), ("n", 2), ("n", 2), (1, 2)),
        same(lambda m, *xs: m.stack(xs, 1), (3, 2), (3, 2)),
    )
)
SAMPLES["slice"] = Samples(
    cases=(
        same(lambda m, x: x[1:], (4,)),
        same(lambda m, x: x[2], (4, 3)),
        same(lambda m, x: x[..., -1], (4, 3)),
        same(lambda m, x: x[::2, ::-1], (5, 4)),
        same(lambda m, x: x[4:1:-2], (6,)),
        same(lambda m, x: x[None, 1:1], (3,)),
        same(lambda m, x: x[5:], (3, 2)),
        same(lambda m, x: x[1:, :-1], ("n", 3)),
        same(lambda m, x: x[::-2], ("n", 2)),
    )
)
SAMPLES["pad"] = Samples(
    cases=(
        same(lambda m, x: m.pad(x, ((1, 2),)), (3,)),
        same(lambda m, x: m.pad(x, ((0, 1), (2, 0))), (2, 3)),
        same(lambda m, x: m.pad(x, ((2, 2), (0, 0))), ("n", 2)),
        same(lambda m, x: m.pad(x, ((1, 0),)), (0,)),
    )
)


def _take(axis: int, x: Shape, i: Shape, size: int) -> Case:
    return Case(
        call=lambda t, indices: gc.take(t, indices, axis),
        numpy=lambda a, indices: np.take(a, indices, axis),
        shapes=(x, i),
        dtypes=(None, "int64"),
        draws=(None, below(size, negative=True)),
    )


SAMPLES["take"] = Samples(
    cases=(
        _take(0, (4,), (), 4),
        _take(0, (4,), (6,), 4),
        _take(1, (2, 3), (2, 2), 3),
        _take(-1, ("n", 3), (0,), 3),
        _take(0, (5, 2), ("n",), 5),
    )
)


def _scatter(axis: int, size: int, i: Shape, updates: Shape) -> Case:
    op = registry()["scatter_add"]

    def numpy(indices: Array, values: Array) -> Array:
        end = axis + indices.ndim
        result = np.zeros((*values.shape[:axis], size, *values.shape[end:]), values.dtype)
        moved = np.moveaxis(result, axis, 0)
        front = np.moveaxis(values, tuple(range(axis, end)), tuple(range(indices.ndim)))
        for position in np.ndindex(indices.shape):
            moved[indices[position]] += front[position]
        return result

    return Case(
        call=lambda indices, values: apply(op, (indices, values), axis=axis, size=size).output(),
        numpy=numpy,
        shapes=(i, updates),
        dtypes=("int64", None),
        draws=(below(size), None),
    )


SAMPLES["scatter_add"] = Samples(
    cases=(
        _scatter(0, 4, (6,), (6,)),
        _scatter(0, 3, (2, 2), (2, 2, 3)),
        _scatter(1, 3, ("n",), (2, "n")),
        _scatter(0, 2, (0,), (0, 2)),
    ),
    takes=of_kinds("iuf"),
)
SAMPLES["check_labels"] = Samples(
    cases=tuple(
        Case(
            call=lambda x: gc.ops.index.check_labels(x, 4),
            numpy=lambda x: x,
            shapes=(s,),
            draws=(below(4),),
        )
        for s in ((5,), ("n", 2), (0,))
    ),
    takes=of_kinds("iu"),
    domain=None,
)

# -- reductions ------------------------------------------------------------------------------------
_REDUCED: tuple[tuple[Shape, Any], ...] = (
    ((4,), None), ((3, 4), 0), ((3, 4), 1), ((2, 3, 2), (0, 2)), ((1, 3), 0), (("n", 3), 1),
    (("n", 3), 0), ((2, 3), (0, 1)),
)  # fmt: skip


def _reductions(name: str, shapes: Any = _REDUCED) -> tuple[Case, ...]:
    return tuple(
        same(lambda m, x, a=axis, k=keep: getattr(m, name)(x, axis=a, keepdims=k), shape)
        for shape, axis in shapes
        for keep in (False, True)
    )


_EMPTY: tuple[tuple[Shape, Any], ...] = (((0,), None), ((2, 0), 1), ((0, 2), 1))
SAMPLES["sum"] = Samples(cases=_reductions("sum", _REDUCED + _EMPTY))
SAMPLES["prod"] = Samples(cases=_reductions("prod", _REDUCED + _EMPTY))
_NONEMPTY = tuple((s, a) for s, a in _REDUCED if not (s[0] == "n" and a == 0))
SAMPLES["max"] = Samples(cases=_reductions("max", _NONEMPTY), smooth=False)
SAMPLES["min"] = Samples(cases=_reductions("min", _NONEMPTY), smooth=False)
for _name in ("any", "all"):
    SAMPLES[_name] = Samples(cases=_reductions(_name), domain=None)
SAMPLES["mean"] = Samples(cases=_reductions("mean", _NONEMPTY), ulp=2, wild=False)
SAMPLES["var"] = Samples(cases=_reductions("var", _NONEMPTY), ulp=16, wild=False)


def _positions(best: str, chooser: str) -> tuple[Case, ...]:
    return tuple(
        Case(
            call=lambda x, a=axis: getattr(gc, chooser)(x, axis=a).node.outputs,
            numpy=lambda x, a=axis: (
                getattr(np, best)(x, axis=a),
                getattr(np, chooser)(x, axis=a).astype(np.int64),
            ),
            shapes=(shape,),
        )
        for shape, axis in (((4,), 0), ((3, 4), 1), ((3, 4), 0), ((2, 1, 3), 1), (("n", 3), 1))
    )


SAMPLES["max_and_argmax"] = Samples(cases=_positions("max", "argmax"), smooth=False)
SAMPLES["min_and_argmin"] = Samples(cases=_positions("min", "argmin"), smooth=False)
for _name in ("argmax", "argmin"):
    SAMPLES[_name] = Samples(
        cases=_reductions(_name, (((4,), None), ((2, 3), None), ((3, 4), 1), (("n", 3), 1))),
        domain=None,
    )

# -- contractions, softmax -------------------------------------------------------------------------
SAMPLES["matmul"] = Samples(
    cases=tuple(
        same(lambda m, x, y: m.matmul(x, y), x, y)
        for x, y in (
            ((2, 3), (3, 4)), ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((0, 3), (3, 2)),
            ((2, 0), (0, 3)), ((4, 2, 3), (3, 2)), ((4, 1, 2, 3), (5, 3, 2)), (("n", 3), (3, 2)),
            ((2, "n"), ("n", 2)), ((1, 1), (1, 1)),
        )
    ),
    takes=of_kinds("iuf"),
    wild=False,
)  # fmt: skip


def _softmax_cases(name: str, numpy: Callable[..., Any]) -> tuple[Case, ...]:
    return tuple(
        Case(
            call=lambda x, a=axis: getattr(gc, name)(x, axis=a),
            numpy=lambda x, a=axis: long_double(lambda y: numpy(y, axis=a))(in_float(x)),
            shapes=(shape,),
        )
        for shape, axis in (((4,), -1), ((3, 4), 0), ((2, 3, 2), (0, 2)), (("n", 3), -1), ((1,), 0))
    )


for _name in ("softmax", "log_softmax", "logsumexp"):
    SAMPLES[_name] = Samples(
        cases=_softmax_cases(_name, getattr(scipy.special, _name)),
        ulp=16,
        unit=1e-30 if _name == "softmax" else 1.0,  # logs of sums near 1
        wild=False,
    )


def _cross_entropy(z: Array, labels: Array) -> Array:
    """By SciPy, in extended precision."""
    logs = scipy.special.log_softmax(z.astype(np.longdouble), axis=-1)
    return -np.take_along_axis(logs, labels[..., None], -1)[..., 0].astype(z.dtype)


SAMPLES["softmax_cross_entropy"] = Samples(
    cases=tuple(
        Case(
            call=gc.softmax_cross_entropy,
            numpy=_cross_entropy,
            shapes=(shape, shape[:-1]),
            dtypes=(None, "int64"),
            draws=(None, below(3)),
        )
        for shape in ((3,), (4, 3), (0, 3), ("n", 3), (2, 2, 3))
    ),
    takes=FLOATS,
    ulp=16,
    unit=1.0,
    wild=False,
)

# -- linear algebra: matrices far from singular ----------------------------------------------------
def _regular(m: Any, x: Any) -> Any:
    return x + 4 * np.eye(3, dtype=_dtype_name(x))


def _positive(m: Any, x: Any) -> Any:
    return m.matmul(x, m.matrix_transpose(x)) + 2 * np.eye(3, dtype=_dtype_name(x))


def _dtype_name(x: Any) -> str:
    return str(getattr(x.dtype, "name", x.dtype))


_BOUNDED: Draw = lambda rng, shape: rng.uniform(-1, 1, shape)  # noqa: E731
_SQUARE: tuple[Shape, ...] = ((3, 3), (2, 3, 3), ("n", 3, 3))


def _linalg(name: str, make: Callable[[Any, Any], Any] = _regular) -> Samples:
    return Samples(
        cases=tuple(
            same(
                lambda m, x: tuple_or_array(getattr(m.linalg, name)(make(m, x))),
                shape,
                draws=(_BOUNDED,),
            )
            for shape in _SQUARE
        ),
        takes=FLOATS,
    )


def tuple_or_array(result: Any) -> Any:
    return tuple(result) if isinstance(result, tuple) else result


for _name in ("inv", "det", "slogdet"):
    SAMPLES[_name] = _linalg(_name)
SAMPLES["cholesky"] = _linalg("cholesky", _positive)
SAMPLES["solve"] = Samples(
    cases=tuple(
        same(lambda m, a, b: m.linalg.solve(_regular(m, a), b), a, b, draws=(_BOUNDED, None))
        for a, b in (((3, 3), (3,)), ((3, 3), (3, 2)), (("n", 3, 3), ("n", 3, 1)))
    ),
    takes=FLOATS,
    wild=False,
)


# -- control flow and random bits ------------------------------------------------------------------
def _decay(m: Any, x: Any) -> Any:
    """carry = carry / 2 + x, all carries."""
    if m is gc:
        return gc.scan(lambda c, v: (c / 2 + v, c / 2 + v), gc.zeros_like(x[0]), x)[1]
    state, rows = np.zeros_like(x[0]), []
    for row in x:
        state = state / 2 + row
        rows.append(state)
    return np.stack(rows)


SAMPLES["scan"] = Samples(
    cases=(same(_decay, (4,)), same(_decay, (3, 2)), same(_decay, (1, "n"))), takes=FLOATS
)
SAMPLES["cond"] = Samples(
    cases=tuple(
        Case(
            call=lambda p, x: gc.cond(p, lambda v: v * v, lambda v: v + v, x),
            numpy=lambda p, x: x * x if p else x + x,
            shapes=((), shape),
            dtypes=("bool", None),
        )
        for shape in ((3,), (2, "n"), ())
    )
)


def _threefry_word(key: tuple[int, int], x: int, y: int) -> int:
    """The first word of a block of Threefry-2x32-20 (Salmon et al. 2011, figure 2)."""
    keys, mask = (*key, key[0] ^ key[1] ^ 0x1BD11BDA), (1 << 32) - 1
    x, y = (x + keys[0]) & mask, (y + keys[1]) & mask
    for turn in range(20):
        distance = (13, 15, 26, 6, 17, 29, 16, 24)[turn % 8]
        x = (x + y) & mask
        y = ((y << distance | y >> (32 - distance)) & mask) ^ x
        if turn % 4 == 3:
            s = turn // 4 + 1
            x, y = (x + keys[s % 3]) & mask, (y + keys[(s + 1) % 3] + s) & mask
    return x


SAMPLES["random_bits"] = Samples(
    cases=tuple(
        Case(
            call=lambda key, s=shape: gc.random.random_bits(key, s),
            numpy=lambda key, s=shape: np.array(
                [
                    _threefry_word((int(key[0]), int(key[1])), 0, i)
                    for i in range(int(np.prod(s)))
                ],
                np.uint32,
            ).reshape(s),
            shapes=((2,),),
        )
        for shape in ((), (5,), (2, 3), (0,))
    ),
    takes=("uint32",),
    domain=None,
)


# -- made from nothing -----------------------------------------------------------------------------
_VALUE = np.arange(6.0).reshape(2, 3) - 2.5
SAMPLES["placeholder"] = Samples(
    cases=tuple(Case(call=lambda x: x, numpy=lambda x: x, shapes=(s,)) for s in UNARY_SHAPES)
)


def _leaf(make: Callable[[str], Any], numpy: Callable[[str], Array]) -> Samples:
    """An op without operands: one case for each dtype."""
    return Samples(
        cases=tuple(
            Case(call=lambda d=d: make(d), numpy=lambda d=d: numpy(d), shapes=()) for d in ALL
        ),
        domain=None,
    )


SAMPLES["constant"] = _leaf(lambda d: gc.constant(_VALUE, d), _VALUE.astype)
SAMPLES["variable"] = _leaf(lambda d: gc.variable(_VALUE.astype(d)), _VALUE.astype)
SAMPLES["iota"] = _leaf(
    lambda d: gc.iota((2, 3), 1, d), lambda d: np.tile(np.arange(3), (2, 1)).astype(d)
)
SAMPLES["size"] = Samples(
    cases=(
        same(lambda m, x: gc.size(x) if m is gc else np.asarray(x.size), ("n", 2)),
        same(lambda m, x: gc.size(x, 1) if m is gc else np.asarray(x.shape[1]), (3, "n")),
    ),
    domain=None,
)
for _name in ("zeros_like", "ones_like"):
    unary(_name, getattr(np, _name), "biuf", domain=None)


def arrays_of(name: str, tested: str, case: Case, wild: bool = True) -> Iterator[list[Array]]:
    """Arrays for a case: one set, or one for each value of its named dim."""
    named = any("n" in shape for shape in case.shapes)
    rng = np.random.default_rng(sum(map(ord, name + tested)))
    for n in (0, 1, 3) if named else (3,):
        yield case.arrays(tested, n, rng, wild and SAMPLES[name].wild)
