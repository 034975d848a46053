"""Element types: what a tensor is made of, how two of them promote, and which is the default.

A `DType` is one of fourteen interned values; graphc promotes exactly as NumPy 2 does. Kernels
compute with eleven of them: a complex number is two of these (`ops/complex.py`), and float16 is
stored only, and computed with in float32 (`ops/lift.py`).
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from graphc.errors import DTypeError


@dataclass(frozen=True, eq=False, slots=True)
class DType:
    """One element type. `name` is NumPy's, `short` the one in IR text (`f32`), `bits` the width.

    NumPy takes it for its own, and as one of NumPy's it equals whatever names the same type.

    >>> float32 == "float32", float32 == np.float64, np.zeros(2, float32).dtype
    (True, False, dtype('float32'))
    """

    name: str
    short: str
    kind: str  # 'b' bool, 'i' signed, 'u' unsigned, 'f' floating, 'c' complex, 's' float16
    bits: int
    numpy: np.dtype[Any]

    @property
    def itemsize(self) -> int:
        """Bytes of one element in memory (a bool takes one)."""
        return self.numpy.itemsize

    @property
    def is_float(self) -> bool:
        return self.kind == "f"

    @property
    def is_integer(self) -> bool:
        return self.kind in "iu"

    @property
    def is_complex(self) -> bool:
        return self.kind == "c"

    @property
    def has_derivative(self) -> bool:
        """Whether a small change of such a number makes sense: of floats and complex numbers."""
        return self.kind in "fcs"

    @property
    def is_computed(self) -> bool:
        """Whether kernels compute with it, rather than with what it is made of or converted to."""
        return self.kind in "biuf"

    @property
    def part(self) -> DType:
        """What the real and the imaginary part are; of a number that is real, the dtype itself."""
        return _PARTS.get(self, self)

    @property
    def dtype(self) -> np.dtype[Any]:
        """What NumPy before 2.4 asks of that which is given as a dtype."""
        return self.numpy

    @property
    def __numpy_dtype__(self) -> np.dtype[Any]:
        """The same for NumPy from 2.4 on."""
        return self.numpy

    def __eq__(self, other: object) -> bool:
        if self is other or other is None or isinstance(other, DType):
            return self is other
        try:
            return dtype(other) is self
        except DTypeError:
            return False

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return self.short

    def __reduce__(self) -> Any:
        return dtype, (self.name,)  # a copy is the same object


def _dtype(name: str, short: str, kind: str, bits: int) -> DType:
    return DType(name, short, kind, bits, np.dtype(name))


bool_ = _dtype("bool", "bool", "b", 1)
int8, int16, int32, int64 = (_dtype(f"int{n}", f"i{n}", "i", n) for n in (8, 16, 32, 64))
uint8, uint16, uint32, uint64 = (_dtype(f"uint{n}", f"u{n}", "u", n) for n in (8, 16, 32, 64))
float32, float64 = (_dtype(f"float{n}", f"f{n}", "f", n) for n in (32, 64))
float16 = _dtype("float16", "f16", "s", 16)
complex64, complex128 = (_dtype(f"complex{n}", f"c{n}", "c", n) for n in (64, 128))

DTYPES = (
    bool_, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float32, float64,
)  # fmt: skip
COMPLEX = (complex64, complex128)
_PARTS = {complex64: float32, complex128: float64}
EVERY = (*DTYPES, float16, *COMPLEX)
BY_SHORT = {d.short: d for d in EVERY}
_BY_NUMPY = {d.numpy: d for d in EVERY}


def dtype(spec: Any) -> DType:
    """The `DType` for a name, a NumPy dtype or type, a Python type, or a `DType`.

    Errors: `DTypeError` for anything else, such as `object` or strings.

    >>> dtype("float32"), dtype(int), dtype(np.uint8)
    (f32, i64, u8)
    """
    if isinstance(spec, DType):
        return spec
    if isinstance(spec, str) and spec in BY_SHORT:
        return BY_SHORT[spec]
    try:
        found = _BY_NUMPY.get(np.dtype(spec).newbyteorder("="))
    except (TypeError, ValueError):  # of what has a dtype that is none of NumPy's
        found = None
    if found is None or spec is None:
        raise DTypeError(
            "not an element type of graphc",
            op="dtype",
            expected="one of " + ", ".join(d.name for d in EVERY),
            given=repr(spec),
        )
    return found


# -- the default -----------------------------------------------------------------------------------
_default: ContextVar[DType] = ContextVar("default_dtype", default=float32)


def default_dtype() -> DType:
    """The float dtype that is taken where none is given.

    >>> default_dtype()
    f32
    """
    return _default.get()


def dtype_or_default(spec: Any) -> DType:
    """The dtype for `spec`, the default one for None. Errors: as `dtype`."""
    return default_dtype() if spec is None else dtype(spec)


class Former:
    """What `set_default_dtype` gives: as a context manager it brings the former default back."""

    __slots__ = ("dtype",)

    def __init__(self, former: DType) -> None:
        self.dtype = former

    def __enter__(self) -> DType:
        return default_dtype()

    def __exit__(self, *raised: object) -> None:
        _default.set(self.dtype)


def set_default_dtype(spec: Any) -> Former:
    """Take the dtype `spec` where none is given, from now on, or inside of `with`.

    It is the dtype of placeholders, of variables, constants and lists of Python floats, of zeros,
    ones and one-hots, of random numbers and of a `Trainer`'s data. Each thread, and each task of
    `asyncio`, has a default of its own: a new thread starts with float32, a task with its maker's.
    Dtypes: float32 or float64. Errors: `DTypeError` for another.

    >>> with set_default_dtype("float64"):
    ...     default_dtype()
    f64
    >>> default_dtype()
    f32
    """
    wanted = dtype(spec)
    if not wanted.is_float:
        raise DTypeError(
            "the default dtype is a float",
            op="set_default_dtype",
            expected="float32 or float64",
            given=wanted.name,
        )
    former = Former(default_dtype())
    _default.set(wanted)
    return former


# -- promotion -------------------------------------------------------------------------------------
@cache
def promote(*types: DType) -> DType:
    """The smallest type that holds all, by NumPy 2's rules.

    >>> promote(float32, int32), promote(uint8, int8)
    (f64, i16)
    """
    return _BY_NUMPY[np.result_type(*(t.numpy for t in types))]


def complex_of(part: DType) -> DType:
    """The complex dtype whose parts are of the float dtype `part`.

    >>> complex_of(float32)
    c64
    """
    return next(d for d in COMPLEX if d.part is part)


def weak_type(value: bool | int | float | complex, other: DType) -> DType:
    """The type that a Python scalar takes beside a tensor of type `other` (NEP 50).

    Errors: `DTypeError` when an integer does not fit (`uint8 + 300`).

    >>> weak_type(2, float32), weak_type(2.5, int32)
    (f32, f64)
    """
    if isinstance(value, bool) or (isinstance(value, (int, float)) and other.has_derivative):
        return other
    if isinstance(value, int):
        if other is bool_:
            other = int64
        info = np.iinfo(other.numpy)
        if not info.min <= value <= info.max:
            raise DTypeError(
                "the Python integer does not fit",
                op="promote",
                expected=f"a value in [{info.min}, {info.max}] for {other.name}",
                given=str(value),
            )
        return other
    if isinstance(value, complex):
        return other if other.is_complex else complex_of(other if other.is_float else float64)
    return float64
