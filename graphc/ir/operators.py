"""Operators and methods, applied by name: one mixin for tensors and for rule patterns.

`Tensor` turns `a + b` into a node; a pattern variable turns it into a pattern. Neither this file
nor `Tensor` imports an op: the functions are looked up by their public name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from graphc.keywords import answer_methods

_functions: dict[str, Callable[..., Any]] = {}
_numpy: dict[str, Callable[..., Any] | None] = {}
_reasons: dict[str, str] = {}


def publish(
    functions: Mapping[str, Callable[..., Any]],
    numpy: Mapping[str, Callable[..., Any] | None] = MappingProxyType({}),
) -> None:
    """Make the public functions of a family reachable by name. `numpy`: what answers NumPy's
    functions of another name (`"amax"`, `"linalg.inv"`); None where none does."""
    _functions.update(functions)
    _numpy.update(numpy)


def explain(reasons: Mapping[str, str]) -> None:
    """Say of functions of NumPy's, several names together, why they are not here."""
    _reasons.update({name: why for names, why in reasons.items() for name in names.split()})


def function(name: str) -> Callable[..., Any]:
    """The public function called `name`."""
    return _functions[name]


def functions() -> Mapping[str, Callable[..., Any]]:
    """All public functions by name."""
    return _functions


def numpy_function(name: str) -> Callable[..., Any] | None:
    """What NumPy's function `name` is for tensors: what a family says, else the public function of
    that name, else None. A function of a module of NumPy's is called `linalg.inv`."""
    return _numpy[name] if name in _numpy else _functions.get(name)


def of_numpy(name: str) -> str:
    """What NumPy's function or ufunc `name` is here, or why it is not; empty if NumPy has none."""
    theirs = getattr(np, name, None)
    if not callable(theirs) or isinstance(theirs, type):
        return ""
    answer = numpy_function(getattr(theirs, "__name__", name))  # np.mod is called remainder
    if answer is None:
        return _reasons.get(name, "").replace("`", "")
    ours = (known for known, f in _functions.items() if f is answer and known[0] != "_")
    return next((f"gc.{known}" for known in ours), f"np.{name}, which takes tensors")


def nearest(name: str) -> str:
    """Why there is no function of NumPy's of this name, or the public ones whose names are nearest
    to it: a hint."""
    known = _reasons.get(name.removeprefix("numpy."))
    if known is not None:
        return known.replace("`", "")
    from difflib import get_close_matches  # only where somebody erred

    public = [known for known in _functions if not known.startswith("_")]
    found = get_close_matches(name.rpartition(".")[2], public)
    near = f"near it: {', '.join(f'gc.{known}' for known in found)}; " if found else ""
    return f"{near}the reference lists all functions"


class Operators:
    """NumPy's operators and methods; a subclass says what applying a function means."""

    __slots__ = ()
    __hash__ = object.__hash__

    def _apply(self, name: str, *args: Any, **kwargs: Any) -> Self:
        result: Self = _functions[name](*args, **kwargs)
        return result

    # -- arithmetic --------------------------------------------------------------------------------
    def __add__(self, other: Any) -> Self:
        return self._apply("add", self, other)

    def __radd__(self, other: Any) -> Self:
        return self._apply("add", other, self)

    def __sub__(self, other: Any) -> Self:
        return self._apply("subtract", self, other)

    def __rsub__(self, other: Any) -> Self:
        return self._apply("subtract", other, self)

    def __mul__(self, other: Any) -> Self:
        return self._apply("multiply", self, other)

    def __rmul__(self, other: Any) -> Self:
        return self._apply("multiply", other, self)

    def __truediv__(self, other: Any) -> Self:
        return self._apply("divide", self, other)

    def __rtruediv__(self, other: Any) -> Self:
        return self._apply("divide", other, self)

    def __floordiv__(self, other: Any) -> Self:
        return self._apply("floor_divide", self, other)

    def __rfloordiv__(self, other: Any) -> Self:
        return self._apply("floor_divide", other, self)

    def __mod__(self, other: Any) -> Self:
        return self._apply("remainder", self, other)

    def __rmod__(self, other: Any) -> Self:
        return self._apply("remainder", other, self)

    def __divmod__(self, other: Any) -> Any:
        return self._apply("_divmod_", self, other)

    def __rdivmod__(self, other: Any) -> Any:
        return self._apply("_divmod_", other, self)

    def __pow__(self, other: Any) -> Self:
        return self._apply("power", self, other)

    def __rpow__(self, other: Any) -> Self:
        return self._apply("power", other, self)

    def __matmul__(self, other: Any) -> Self:
        return self._apply("matmul", self, other)

    def __rmatmul__(self, other: Any) -> Self:
        return self._apply("matmul", other, self)

    def __neg__(self) -> Self:
        return self._apply("negative", self)

    def __pos__(self) -> Self:
        return self

    def __abs__(self) -> Self:
        return self._apply("abs", self)

    # -- bits --------------------------------------------------------------------------------------
    def __and__(self, other: Any) -> Self:
        return self._apply("bitwise_and", self, other)

    def __rand__(self, other: Any) -> Self:
        return self._apply("bitwise_and", other, self)

    def __or__(self, other: Any) -> Self:
        return self._apply("bitwise_or", self, other)

    def __ror__(self, other: Any) -> Self:
        return self._apply("bitwise_or", other, self)

    def __xor__(self, other: Any) -> Self:
        return self._apply("bitwise_xor", self, other)

    def __rxor__(self, other: Any) -> Self:
        return self._apply("bitwise_xor", other, self)

    def __invert__(self) -> Self:
        return self._apply("bitwise_invert", self)

    def __lshift__(self, other: Any) -> Self:
        return self._apply("shift_left", self, other)

    def __rlshift__(self, other: Any) -> Self:
        return self._apply("shift_left", other, self)

    def __rshift__(self, other: Any) -> Self:
        return self._apply("shift_right", self, other)

    def __rrshift__(self, other: Any) -> Self:
        return self._apply("shift_right", other, self)

    # -- comparison --------------------------------------------------------------------------------
    def __eq__(self, other: Any) -> Any:
        return self._apply("equal", self, other)

    def __ne__(self, other: Any) -> Any:
        return self._apply("not_equal", self, other)

    def __lt__(self, other: Any) -> Self:
        return self._apply("less", self, other)

    def __le__(self, other: Any) -> Self:
        return self._apply("less_equal", self, other)

    def __gt__(self, other: Any) -> Self:
        return self._apply("greater", self, other)

    def __ge__(self, other: Any) -> Self:
        return self._apply("greater_equal", self, other)

    # -- indexing and methods ----------------------------------------------------------------------
    def __getitem__(self, key: Any) -> Self:
        return self._apply("getitem", self, key)

    @property
    def at(self) -> Any:
        """`x.at[key].set(value)`, and `add`, `multiply`, `min`, `max`: `x` with some elements
        changed."""
        return self._apply("_at", self)

    @property
    def T(self) -> Any:  # noqa: N802  (NumPy's name)
        return self._apply("permute_dims", self)

    @property
    def mT(self) -> Any:  # noqa: N802  (NumPy's name)
        return self._apply("matrix_transpose", self)

    def astype(self, dtype: Any) -> Self:
        return self._apply("astype", self, dtype)

    def copy(self) -> Self:
        return self._apply("copy", self)

    def reshape(self, *shape: Any) -> Self:
        return self._apply("reshape", self, shape[0] if len(shape) == 1 else shape)

    def ravel(self) -> Self:
        return self._apply("ravel", self)

    def flatten(self) -> Self:
        return self._apply("ravel", self)

    def transpose(self, *axes: Any) -> Self:
        flat = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes
        return self._apply("permute_dims", self, flat or None)

    def swapaxes(self, axis1: int, axis2: int) -> Self:
        return self._apply("swapaxes", self, axis1, axis2)

    def squeeze(self, axis: Any = None) -> Self:
        return self._apply("squeeze", self, axis)

    def repeat(self, repeats: Any, axis: Any = None) -> Self:
        return self._apply("repeat", self, repeats, axis)

    def take(self, indices: Any, axis: Any = None) -> Self:
        if axis is None:
            return self._apply("take", self._apply("ravel", self), indices)
        return self._apply("take", self, indices, axis)

    def sort(self, axis: Any = -1, *, descending: bool = False) -> Self:
        return self._apply("sort", self, axis, descending=descending)

    def argsort(self, axis: Any = -1, *, descending: bool = False) -> Self:
        return self._apply("argsort", self, axis, descending=descending)

    def searchsorted(self, v: Any, side: str = "left", sorter: Any = None) -> Self:
        return self._apply("searchsorted", self, v, side, sorter)

    def nonzero(self, *, size: Any = None, fill_value: int = 0) -> Any:
        return self._apply("nonzero", self, size=size, fill_value=fill_value)

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Self:
        return self._apply("diagonal", self, offset, axis1, axis2)

    def trace(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Self:
        return self._apply("trace", self, offset, axis1, axis2)

    def dot(self, other: Any) -> Self:
        return self._apply("dot", self, other)

    def clip(self, min: Any = None, max: Any = None) -> Self:
        return self._apply("clip", self, min, max)

    def round(self, decimals: int = 0) -> Self:
        return self._apply("_rounded_", self, decimals) if decimals else self._apply("round", self)

    @property
    def real(self) -> Self:
        return self._apply("real", self)

    @property
    def imag(self) -> Self:
        return self._apply("imag", self)

    def conj(self) -> Self:
        return self._apply("conj", self)

    def _reduced(self, name: str, axis: Any, keepdims: bool, **options: Any) -> Self:
        given = {k: v for k, v in options.items() if v is not None}
        return self._apply(name, self, axis=axis, keepdims=keepdims, **given)

    def sum(
        self, axis: Any = None, keepdims: bool = False, *, dtype: Any = None, where: Any = None,
        initial: Any = None,
    ) -> Self:  # fmt: skip
        return self._reduced("sum", axis, keepdims, dtype=dtype, where=where, initial=initial)

    def cumsum(self, axis: int | None = None, dtype: Any = None) -> Self:
        return self._apply("cumsum", self, axis, dtype)

    def cumprod(self, axis: int | None = None, dtype: Any = None) -> Self:
        return self._apply("cumprod", self, axis, dtype)

    def mean(
        self, axis: Any = None, keepdims: bool = False, *, dtype: Any = None, where: Any = None
    ) -> Self:
        return self._reduced("mean", axis, keepdims, dtype=dtype, where=where)

    def prod(
        self, axis: Any = None, keepdims: bool = False, *, dtype: Any = None, where: Any = None,
        initial: Any = None,
    ) -> Self:  # fmt: skip
        return self._reduced("prod", axis, keepdims, dtype=dtype, where=where, initial=initial)

    def var(
        self, axis: Any = None, keepdims: bool = False, *, correction: Any = None, ddof: Any = None,
        where: Any = None,
    ) -> Self:  # fmt: skip
        return self._reduced("var", axis, keepdims, correction=correction, ddof=ddof, where=where)

    def std(
        self, axis: Any = None, keepdims: bool = False, *, correction: Any = None, ddof: Any = None,
        where: Any = None,
    ) -> Self:  # fmt: skip
        return self._reduced("std", axis, keepdims, correction=correction, ddof=ddof, where=where)

    def max(
        self, axis: Any = None, keepdims: bool = False, *, where: Any = None, initial: Any = None
    ) -> Self:
        return self._reduced("max", axis, keepdims, where=where, initial=initial)

    def min(
        self, axis: Any = None, keepdims: bool = False, *, where: Any = None, initial: Any = None
    ) -> Self:
        return self._reduced("min", axis, keepdims, where=where, initial=initial)

    def any(self, axis: Any = None, keepdims: bool = False, *, where: Any = None) -> Self:
        return self._reduced("any", axis, keepdims, where=where)

    def all(self, axis: Any = None, keepdims: bool = False, *, where: Any = None) -> Self:
        return self._reduced("all", axis, keepdims, where=where)

    def argmax(self, axis: Any = None, keepdims: bool = False) -> Self:
        return self._reduced("argmax", axis, keepdims)

    def argmin(self, axis: Any = None, keepdims: bool = False) -> Self:
        return self._reduced("argmin", axis, keepdims)


answer_methods(Operators)
