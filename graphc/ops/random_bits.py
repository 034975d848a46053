"""Random numbers as a function of a key: the same key gives the same numbers, on every machine.

A key is two 32-bit words. `random_bits` is the block cipher Threefry-2x32 with 20 rounds (Salmon et
al., Parallel random numbers: as easy as 1, 2, 3, 2011) of a 64-bit counter: element i, counted in
row-major order, is a word of block i. So every element can be computed alone, in any order.

    bits of an array     word 0 (and word 1 where more are needed) of the block of its flat index
    the counter          high word first; its top two bits name the purpose: numbers, split, fold_in

A key is used for one array of numbers; `split` and `fold_in` make new keys. Derivatives are zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, overload

import numpy as np

from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.ir import origin
from graphc.ir.dim import Size
from graphc.ir.dim import product as size_product
from graphc.ir.dtype import DType, default_dtype, dtype_or_default, float32, int64, uint32
from graphc.ir.node import Tensor, Variable, apply
from graphc.ir.op import Fact, Kind, Op, register
from graphc.ir.shape import Shape, TensorType, agree_on_shape, shape_of, strides
from graphc.loops.primitives import rotate_left
from graphc.loops.values import Affine
from graphc.ops.build import cast, constant, settle, tensor
from graphc.ops.elementwise import cos, less, log, minimum, shift_right, sqrt
from graphc.ops.leaf import variable
from graphc.ops.shape import broadcast_to, stack

_NUMBERS, _SPLIT, _FOLD = 0, 1 << 30, 1 << 31  # in the counter's high word
_PARITY = 0x1BD11BDA
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_BLOCKS = 5  # of four rounds each


# -- Threefry-2x32 ---------------------------------------------------------------------------------
def _threefry(k: Any, key: Any, counter: Any, number: Callable[[int], Any]) -> tuple[Any, Any]:
    """The two words of the block `counter` (high word, low word) under `key`.

    `k` has the primitives, `number` makes a 32-bit word: one text for kernels and for NumPy.
    """
    schedule = (*key, k.bitwise_xor(k.bitwise_xor(*key), number(_PARITY)))
    x, y = (k.add(c, word) for c, word in zip(counter, schedule, strict=False))
    for block in range(_BLOCKS):
        for distance in _ROTATIONS[block % 2]:
            x = k.add(x, y)
            y = k.bitwise_xor(k.rotate_left(y, number(distance)), x)
        x = k.add(x, schedule[(block + 1) % 3])
        y = k.add(y, k.add(schedule[(block + 2) % 3], number(block + 1)))
    return x, y


class _NumPy:
    """The primitives that Threefry needs, for arrays."""

    add = staticmethod(np.add)
    bitwise_xor = staticmethod(np.bitwise_xor)
    rotate_left = staticmethod(rotate_left)


# -- random_bits -----------------------------------------------------------------------------------
def _infer_bits(
    key: TensorType, *offset: TensorType, shape: Shape, word: int, purpose: int
) -> tuple[TensorType, ...]:
    if key.dtype is not uint32:
        raise DTypeError("not a key", expected="uint32[2]", given=key.dtype.name)
    if key.shape[-1:] != (2,):
        raise ShapeError("not a key", expected="keys, uint32[..., 2]", given=str(key))
    keys = key.shape[:-1]
    if offset and not (offset[0].dtype is int64 and agree_on_shape(offset[0].shape, keys)):
        raise ShapeError(
            "not a counter for each key", expected=str(TensorType(int64, keys)),
            given=str(offset[0]),
        )  # fmt: skip
    return (TensorType(uint32, (*keys, *shape)),)


def _numpy_bits(key: Any, *offset: Any, shape: Any, word: int, purpose: int) -> Any:
    keys, ones = key.shape[:-1], (1,) * len(shape)
    counter = np.arange(math.prod(shape), dtype=np.int64).reshape(shape)
    if offset:
        counter = counter + np.reshape(offset[0], (*keys, *ones))
    counter = np.broadcast_to(counter.astype(np.uint64), (*keys, *shape))
    high = (counter >> np.uint64(32)).astype(np.uint32) ^ np.uint32(purpose)
    words = (np.reshape(key[..., i], (*keys, *ones)) for i in (0, 1))
    return _threefry(_NumPy, tuple(words), (high, counter.astype(np.uint32)), np.uint32)[word]


def _bits_at(
    k: Any, values: Any, index: Any, out: TensorType, *, shape: Shape, word: int, purpose: int
) -> Any:
    keys, inner = index[: out.rank - len(shape)], index[out.rank - len(shape) :]
    position = Affine()
    for i, step in zip(inner, strides(shape), strict=True):
        position = position + i * step
    counter, size = k.number(position), size_product(shape)
    if len(values) > 1:
        counter = k.add(counter, values[1](keys))
    if len(values) > 1 or not isinstance(size, int) or size >= 1 << 32:
        high = k.cast(k.shift_right(counter, k.const(32, int64)), uint32)
        high = k.bitwise_xor(high, k.const(purpose, uint32))
    else:
        high = k.const(purpose, uint32)
    key = tuple(values[0]((*keys, Affine((), i))) for i in (0, 1))
    words = _threefry(k, key, (high, k.cast(counter, uint32)), lambda n: k.const(n, uint32))
    return words[word]


RANDOM_BITS = register(
    Op(
        "random_bits",
        Kind.MAP,
        _infer_bits,
        numpy=_numpy_bits,
        at=_bits_at,
        cost=115,  # instructions: a rotation is three
        axes={},
        differentiable=False,
        doc="A word of the Threefry block of each element's flat index (plus an offset), for each "
        "of the keys.",
    )
)


def bits_of(key: Any, shape: Any, word: int = 0) -> Tensor:
    """A word of the block of each element."""
    given = _one_key(key, "random")
    return apply(RANDOM_BITS, (given,), shape=shape_of(shape), word=word, purpose=_NUMBERS).output()


def _one_key(key: Any, op: str) -> Tensor:
    given = None if key is None or isinstance(key, str) else tensor(key, op)
    if given is None or given.dtype is not uint32:
        raise DTypeError(
            "not a key", op=op, expected="a key, uint32[2]",
            given=repr(key)[:80] if given is None else str(given.type), where=origin.where(),
            hint="gc.random.key(seed) makes one of a number, gc.random.split several of one",
        )  # fmt: skip
    if given.shape != (2,):
        raise ShapeError(
            "not a key", op=op, expected="one key, uint32[2]", given=str(given.type),
            hint="gc.vmap takes one of several keys for each element",
        )  # fmt: skip
    return given


# -- keys ------------------------------------------------------------------------------------------
@overload
def key(seed: Tensor) -> Tensor: ...
@overload
def key(seed: int) -> Variable: ...
def key(seed: Any) -> Tensor:
    """A key from a seed in [0, 2^64), as a variable that is not trainable; from an integer tensor,
    such as an input of the program, as a tensor.

    Errors: `ArgumentError` for another seed; `DTypeError`, `ShapeError` for a tensor that is no
    integer scalar.

    >>> key(7).value
    array([0, 7], dtype=uint32)
    """
    if isinstance(seed, Tensor):
        return _key_of(seed)
    if isinstance(seed, bool) or not hasattr(seed, "__index__") or not 0 <= int(seed) < 1 << 64:
        raise ArgumentError(
            "not a seed",
            op="random.key", expected="an int in [0, 2**64)", given=repr(seed)[:80],
        )  # fmt: skip
    words = divmod(int(seed), 1 << 32)
    return variable(np.array(words, np.uint32), name="key", trainable=False)


def _key_of(seed: Tensor) -> Tensor:
    """The same two words of a seed that each call gives."""
    if not seed.dtype.is_integer or seed.shape != ():
        raise (ShapeError if seed.dtype.is_integer else DTypeError)(
            "not a seed", op="random.key", expected="an integer scalar", given=str(seed.type)
        )
    number = cast(seed, int64)
    return stack([cast(shift_right(number, 32), uint32), cast(number, uint32)])


def split(key: Any, n: Any = 2) -> Tensor:
    """`n` new keys, unrelated to each other and to the numbers that `key` gives.

    Shapes: key [2] -> [n, 2]; `for k in split(key)` goes over them.
    """
    given, shape = _one_key(key, "random.split"), shape_of((n,))
    words = (apply(RANDOM_BITS, (given,), shape=shape, word=w, purpose=_SPLIT) for w in (0, 1))
    return stack([word.output() for word in words], axis=1)


def fold_in(key: Any, data: Any) -> Tensor:
    """A new key for each value of `data`, an integer or a scalar of one (a step, an index).

    Shapes: key [2], data [] -> [2].
    Errors: `DTypeError` for data that is no integer; `ShapeError` for data that is no scalar.
    """
    given, counter = _one_key(key, "random.fold_in"), tensor(data, "random.fold_in")
    if not counter.dtype.is_integer:
        raise DTypeError(
            "data is an integer",
            op="random.fold_in", given=counter.dtype.name,
        )  # fmt: skip
    operands = (given, cast(counter, int64))
    words = (apply(RANDOM_BITS, operands, shape=(), word=w, purpose=_FOLD) for w in (0, 1))
    return stack([word.output() for word in words])


# -- distributions ---------------------------------------------------------------------------------
def random_bits(key: Any, shape: Any = ()) -> Tensor:
    """Uniform 32-bit words (uint32) of a shape."""
    return bits_of(key, shape)


def uniform(
    key: Any, shape: Any = (), dtype: Any = None, low: float = 0.0, high: float = 1.0
) -> Tensor:
    """Numbers uniform in [low, high): `low + u * (high - low)`, never rounded up to `high`.

    u is a multiple of 2^-24 (float32) or 2^-53 (float64), each equally likely. The bounds are
    numbers; any finite ones will do, however far apart.
    Dtypes: the default dtype where none is given.
    Errors: `DTypeError` for no float; `ArgumentError` for an empty interval, and for bounds that
    are tensors or not finite in the dtype.
    """
    to = float_of("random.uniform", dtype)
    first, last = (_bound(name, v, to) for name, v in (("low", low), ("high", high)))
    if not first < last:
        raise ArgumentError(
            "an empty interval",
            op="random.uniform", expected="low < high", given=f"[{low}, {high})",
            where=origin.where(),
        )  # fmt: skip
    if to is float32:
        u = _fraction(bits_of(key, shape))
    else:
        high_bits, low_bits = (bits_of(key, shape, word) for word in (0, 1))
        u = scaled(cast(shift_right(high_bits, 5), to), 26) + cast(shift_right(low_bits, 6), to)
        u = scaled(u, -53)
    if (first, last) == (0, 1):
        return u
    with np.errstate(over="ignore"):
        width = last - first
    if np.isfinite(width):
        moved = u * constant(width) + constant(first)
    else:  # the width overflows, its half does not
        half = u * constant(last / 2 - first / 2) + constant(first / 2)
        moved = half * constant(2.0, to)
    return minimum(moved, constant(np.nextafter(last, first)))


def _bound(name: str, value: Any, to: DType) -> Any:
    """A bound as a number of the dtype. Errors: `ArgumentError` for none, and if not finite."""
    if not isinstance(value, (int, float, np.integer, np.floating)):
        raise ArgumentError(
            "a bound is a number",
            op="random.uniform", expected=f"{name}: a number", given=repr(value)[:80],
            where=origin.where(),
            hint="low + u * (high - low), with u = gc.random.uniform(key, shape), takes tensors",
        )  # fmt: skip
    try:
        with np.errstate(over="ignore"):
            bound = to.numpy.type(value)
    except OverflowError:  # a Python int beyond all floats
        bound = to.numpy.type(np.inf)
    if not np.isfinite(bound):
        raise ArgumentError(
            "a bound is not finite",
            op="random.uniform", expected=f"{name}: a finite {to.name}", given=repr(value)[:80],
            where=origin.where(),
        )  # fmt: skip
    return bound


def float_of(op: str, dtype: Any) -> DType:
    """A float dtype, by default the default one. Errors: `DTypeError`."""
    to = dtype_or_default(dtype)
    if not to.is_float:
        raise DTypeError(
            "only floats", op=op, expected="a float dtype", given=to.name
        )
    return to


def _fraction(word: Tensor) -> Tensor:
    """The upper 24 bits as a float32 in [0, 1), exactly."""
    return scaled(cast(shift_right(word, 8), float32), -24)


def scaled(x: Tensor, power: int) -> Tensor:
    """x * 2^power, exactly."""
    return x * constant(2.0**power, x.dtype)


def _infer_probability(p: TensorType) -> tuple[TensorType, ...]:
    if not p.dtype.is_float:
        raise DTypeError("probabilities are floats", expected="a float", given=p.dtype.name)
    return (p,)


_NO_PROBABILITY = "a probability is outside [0, 1]"


def _numpy_probability(p: Any) -> Any:
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(_NO_PROBABILITY)
    return p


def _probability_at(k: Any, values: Any, index: Any, out: TensorType) -> Any:
    p = values[0](index)
    inside = k.bitwise_and(  # not so for NaN
        k.greater_equal(p, k.const(0, out.dtype)), k.less_equal(p, k.const(1, out.dtype))
    )
    k.fail_if(k.bitwise_invert(inside), _NO_PROBABILITY)
    return p


CHECK_PROBABILITY = register(
    Op(
        "check_probability",
        Kind.MAP,
        _infer_probability,
        numpy=_numpy_probability,
        at=_probability_at,
        facts=frozenset({Fact.ELEMENTWISE, Fact.EXACT, Fact.CHECKS}),
        may_fail=True,
        vjp=lambda context, g, out, p: [g],
        doc="The probabilities, after checking that each is in [0, 1].",
    )
)


def checked_probability(op: str, p: Tensor) -> Tensor:
    """p, checked to be a probability: now, where it is known, else at the call."""
    if Fact.CONSTANT not in p.node.op.facts:
        return apply(CHECK_PROBABILITY, (p,)).output()
    values = p.node.attrs["value"].array
    bad = values[~((values >= 0) & (values <= 1))]
    if bad.size:
        raise ArgumentError(
            "not a probability",
            op=op, expected="in [0, 1]", given=str(bad.flat[0]),
            where=origin.where(),
        )  # fmt: skip
    return p


def bernoulli(key: Any, p: Any = 0.5, shape: Any = None) -> Tensor:
    """True with probability p, which is a number or a tensor that broadcasts to `shape`.

    Shapes: `shape`, or that of p. Dtypes: bool; numbers of p's dtype are drawn, of the default one
    where p is a Python number.
    Errors: for a p outside [0, 1] or NaN, `ArgumentError` where it is a number or an array, and a
    `RuntimeFailure` at the call where it is computed.
    """
    probability = tensor(p, "random.bernoulli")
    if probability.weak or not probability.dtype.is_float:
        probability = settle(probability, default_dtype())
    probability = checked_probability("random.bernoulli", probability)
    target = probability.shape if shape is None else shape
    return less(uniform(key, target, probability.dtype), probability)


# -- what dropout keeps ----------------------------------------------------------------------------
def kept(key: Tensor, p: float, shape: Shape) -> Tensor:
    """Which elements of a shape are kept, each with probability p: the draws of `bernoulli`, as
    float32."""
    return _below(bits_of(key, shape), p)


def kept_from(key: Tensor, p: float, first: Tensor, count: Size) -> Tensor:
    """The same draws for rows of `count` elements which begin at the flat positions `first`: parts
    of an array that is nowhere whole.

    Shapes: key [2], first [rows] -> [rows, count].
    """
    keys = broadcast_to(key, (*first.shape, 2))
    bits = apply(RANDOM_BITS, (keys, first), shape=(count,), word=0, purpose=_NUMBERS).output()
    return _below(bits, p)


def _below(bits: Tensor, p: float) -> Tensor:
    return less(_fraction(bits), constant(p, float32))


def numpy_kept(key: Any, p: float, shape: Any) -> Any:
    """`kept`, of arrays."""
    bits = _numpy_bits(key, shape=shape, word=0, purpose=_NUMBERS) >> np.uint32(8)
    return np.ldexp(bits.astype(np.float32), -24) < np.float32(p)


def normal(key: Any, shape: Any = (), dtype: Any = None) -> Tensor:
    """Numbers of the standard normal distribution.

    Dtypes: the default dtype where none is given.
    Source: Box and Muller, A note on the generation of random normal deviates, 1958. The radius is
    that of a number in [2^-32, 1] (float32: at most 6.7) or [2^-53, 1] (float64: at most 8.6).
    """
    to = float_of("random.normal", dtype)
    if to is float32:
        u = scaled(cast(bits_of(key, shape), to) + constant(1.0, to), -32)
        turn = _fraction(bits_of(key, shape, 1))
    else:
        first, second = split(key)
        u = constant(1.0, to) - uniform(first, shape, to)
        turn = uniform(second, shape, to)
    # sqrt(-2 log u) cos(2 pi turn)
    radius = sqrt(log(u) * constant(-2.0, to))
    return radius * cos(turn * constant(2 * math.pi, to))
