"""graphc as a namespace of eager arrays, for the tests of the array API standard.

The suite is github.com/data-apis/array-api-tests, with its submodule. In a checkout of it:

    PYTHONPATH=<checkout of graphc> ARRAY_API_TESTS_MODULE=tests.oracles.array_api \\
    ARRAY_API_TESTS_VERSION=2024.12 python -m pytest array_api_tests \\
        --max-examples 10 --disable-deadline --disable-dds

Each call makes a graph of its own, with a placeholder for each array, and evaluates it; functions,
operators, signatures and dtypes are graphc's. What only an eager array can have is by this module:
`device=` and `copy=`, DLPack, values as Python's numbers, and that `x[key] = value` changes x, by
`x.at[key].set(value)`.
"""

from __future__ import annotations

import inspect
import operator
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np

import graphc as gc
from graphc.ir.dtype import dtype as to_dtype

DTYPES = """
bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64 complex64 complex128
"""
FUNCTIONS = """
abs acos acosh add all any arange argmax argmin argsort asarray asin asinh astype atan atan2 atanh
bitwise_and bitwise_invert bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor
broadcast_arrays broadcast_to can_cast ceil clip concat conj copysign cos cosh count_nonzero
cumulative_prod cumulative_sum diff divide empty empty_like equal exp expand_dims expm1 eye finfo
flip floor floor_divide full full_like greater greater_equal hypot iinfo imag isdtype isfinite isinf
isnan less less_equal linspace log log10 log1p log2 logaddexp logical_and logical_not logical_or
logical_xor matmul matrix_transpose max maximum mean meshgrid min minimum moveaxis multiply negative
nextafter nonzero not_equal ones ones_like permute_dims positive pow prod real reciprocal remainder
repeat reshape result_type roll round searchsorted sign signbit sin sinh sort sqrt square squeeze
stack std subtract sum take take_along_axis tan tanh tensordot tile tril triu trunc unique_all
unique_counts unique_inverse unique_values unstack var vecdot where zeros zeros_like
"""
EXTENSIONS = {
    "linalg": """
cholesky cross det diagonal eigh eigvalsh inv matmul matrix_norm matrix_power matrix_rank
matrix_transpose outer pinv qr slogdet solve svd svdvals tensordot trace vecdot vector_norm
""",
    "fft": """
fft ifft fftn ifftn rfft irfft rfftn irfftn hfft ihfft fftfreq rfftfreq fftshift ifftshift
""",
}
CONSTANTS = ("e", "inf", "nan", "newaxis", "pi")
WITH_DEVICE = """
arange asarray astype empty empty_like eye full full_like linspace ones ones_like zeros zeros_like
fftfreq rfftfreq
"""
WITH_COPY = ("asarray", "astype", "reshape")
OPERATORS = {  # by the number of operands; comparisons are neither turned round nor done in place
    "unary": "abs neg pos invert",
    "binary": "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift",
    "comparison": "eq ne lt le gt ge",
}


# -- one call, one graph ---------------------------------------------------------------------------
def lifted(value: Any, feeds: dict[Any, Any]) -> Any:
    """An argument with a placeholder for each array, whose value is then in `feeds`."""
    if isinstance(value, Array):
        array = value.array
        tensor = gc.placeholder(f"operand{len(feeds)}", array.shape, to_dtype(array.dtype))
        feeds[tensor] = array
        return tensor
    if isinstance(value, (list, tuple)):
        return type(value)(lifted(v, feeds) for v in value)
    return value


def wrapped(found: Any, feeds: dict[Any, Any]) -> Any:
    """What a function gave, with the value of each tensor as an array."""
    if isinstance(found, gc.Tensor):
        return Array(np.array(gc.evaluate(found, feeds)))
    if isinstance(found, (list, tuple)):
        parts = [wrapped(v, feeds) for v in found]
        return type(found)(*parts) if hasattr(found, "_fields") else type(found)(parts)
    return found


def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """`function` of graphc on arrays."""
    feeds: dict[Any, Any] = {}
    given = [lifted(a, feeds) for a in args]
    named = {k: lifted(v, feeds) for k, v in kwargs.items()}
    return wrapped(function(*given, **named), feeds)


# -- arrays ----------------------------------------------------------------------------------------
class Array:
    """An array with the methods of the standard."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, array: Any) -> None:
        self.array = array

    def __repr__(self) -> str:
        return f"Array({self.array!r})"

    dtype = property(lambda self: to_dtype(self.array.dtype))
    device = property(lambda self: "cpu")
    ndim = property(lambda self: self.array.ndim)
    shape = property(lambda self: self.array.shape)
    size = property(lambda self: self.array.size)
    T = property(lambda self: call(lambda x: x.T, self))
    mT = property(lambda self: call(lambda x: x.mT, self))  # noqa: N815

    def to_device(self, device: Any, /, *, stream: Any = None) -> Array:
        check_device(device)
        return self

    def __array_namespace__(self, /, *, api_version: str | None = None) -> Any:
        gc.zeros(()).__array_namespace__(api_version=api_version)  # which refuses other versions
        return sys.modules[__name__]

    def __dlpack__(
        self, /, *, stream: Any = None, max_version: Any = None, dl_device: Any = None,
        copy: Any = None,
    ) -> Any:  # fmt: skip
        return self.array.__dlpack__(max_version=max_version, dl_device=dl_device, copy=copy)

    def __dlpack_device__(self, /) -> Any:
        return self.array.__dlpack_device__()

    def item(self) -> Any:
        if self.array.ndim:
            raise TypeError(f"only an array of rank 0 is a number, not one of shape {self.shape}")
        return self.array.item()

    def __bool__(self, /) -> bool:
        return bool(self.item())

    def __int__(self, /) -> int:
        return int(self.item())

    def __float__(self, /) -> float:
        return float(self.item())

    def __complex__(self, /) -> complex:
        return complex(self.item())

    def __index__(self, /) -> int:
        return operator.index(self.item())

    def __getitem__(self, key: Any, /) -> Array:
        return call(lambda x, key: x[key], self, as_key(key))

    def __setitem__(self, key: Any, value: Any, /) -> None:
        found = call(lambda x, key, value: x.at[key].set(value), self, as_key(key), value)
        self.array[...] = found.array


def as_key(key: Any) -> Any:
    """An index, of which masks are known: what they select has a shape that depends on them."""
    if isinstance(key, tuple):
        return tuple(as_key(k) for k in key)
    return key.array if isinstance(key, Array) and key.array.dtype == np.bool_ else key


def make_operators() -> None:
    def add(name: str, method: Callable[..., Any]) -> None:
        method.__name__ = name
        setattr(Array, name, method)

    def one(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda self, /: call(function, self)

    def turned(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda x, y: function(y, x)

    def two(function: Callable[..., Any]) -> Callable[..., Any]:
        def method(self: Array, other: Any, /) -> Any:
            taken = isinstance(other, (Array, bool, int, float, complex))
            return call(function, self, other) if taken else NotImplemented

        return method

    def in_place(function: Callable[..., Any]) -> Callable[..., Any]:
        def method(self: Array, other: Any, /) -> Array:
            found = call(function, self, other)
            if found.dtype is not self.dtype or found.shape != self.shape:
                raise TypeError(f"{function} would change the dtype or the shape")
            self.array[...] = found.array
            return self

        return method

    def found(name: str) -> Callable[..., Any]:
        return getattr(operator, f"__{name}__")

    for name in OPERATORS["unary"].split():
        add(f"__{name}__", one(found(name)))
    for name in (OPERATORS["binary"] + " " + OPERATORS["comparison"]).split():
        add(f"__{name}__", two(found(name)))
    for name in OPERATORS["binary"].split():
        add(f"__r{name}__", two(turned(found(name))))
        add(f"__i{name}__", in_place(found(name)))


# -- functions -------------------------------------------------------------------------------------
def check_device(device: Any) -> None:
    if device not in (None, "cpu"):
        raise ValueError(f"no device {device!r}")


def published(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of the namespace, with graphc's signature and what only eager arrays have."""
    with_own = {"device": WITH_DEVICE.split(), "copy": WITH_COPY}
    own = [k for k, names in with_own.items() if name in names]

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        check_device(kwargs.pop("device", None) if "device" in own else None)
        copy = kwargs.pop("copy", None) if "copy" in own else None
        if name == "repeat" and isinstance(args[1], Array):
            args = args[0], args[1].array, *args[2:]  # counts that are known, as masks are
        if name == "asarray" and isinstance(args[0], (list, tuple)):
            args = as_numbers(args[0]), *args[1:]
        found = call(function, *args, **kwargs)
        if name == "asarray":
            return as_given(args[0], found, copy)
        return found

    parameters = list(inspect.signature(function).parameters.values())
    parameters += [inspect.Parameter(k, inspect.Parameter.KEYWORD_ONLY, default=None) for k in own]
    wrapper.__name__ = wrapper.__qualname__ = name
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return wrapper


def as_numbers(value: Any) -> Any:
    """A sequence with the numbers of its arrays."""
    if isinstance(value, (list, tuple)):
        return [as_numbers(v) for v in value]
    return value.item() if isinstance(value, Array) else value


def as_given(given: Any, found: Array, copy: bool | None) -> Array:
    """`found`, which has the memory of the array that was given unless a copy is wanted."""
    same = isinstance(given, Array) and given.dtype is found.dtype
    if copy is False and not same:
        raise ValueError("this is a copy")
    return Array(given.array) if same and not copy else found


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Array:
    return Array(np.from_dlpack(x, device=device, copy=copy))


def module(name: str, functions: dict[str, Any]) -> types.ModuleType:
    made = types.ModuleType(name)
    vars(made).update(functions)
    return made


make_operators()
__array_api_version__ = "2024.12"
__version__ = gc.__version__
__array_namespace_info__ = gc.__array_namespace_info__
_there = [n for n in FUNCTIONS.split() if hasattr(gc, n)]
_names: dict[str, Any] = {n: published(n, getattr(gc, n)) for n in _there}
for _extension, _found in EXTENSIONS.items():
    _room = getattr(gc, _extension)
    _inner = {n: published(n, getattr(_room, n)) for n in _found.split() if hasattr(_room, n)}
    _names[_extension] = module(f"{__name__}.{_extension}", _inner)
_names |= {n: getattr(gc, n) for n in (*DTYPES.split(), *CONSTANTS) if hasattr(gc, n)}


def __getattr__(name: str) -> Any:
    """The names of graphc, which would hide Python's own in here."""
    if name in _names:
        return _names[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)


def __dir__() -> list[str]:
    return sorted({*_names, "from_dlpack", "__array_namespace_info__"})
