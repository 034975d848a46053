"""Arrays on a card: results that stay there, and what others have there, read where it is.

Both sides speak the protocols of PyTorch, JAX, CuPy and Numba: `__cuda_array_interface__` and
DLPack.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from graphc.errors import ArgumentError, DeviceError, DTypeError, GraphcError
from graphc.ir import origin
from graphc.ir.node import Tensor
from graphc.runtime import dlpack
from graphc.runtime.arguments import as_input
from graphc.runtime.cuda_driver import Device, done
from graphc.runtime.cuda_memory import Card

DEFAULT_STREAM = 1  # of all threads


class Array:
    """An array on a card: what `gc.compile(..., results="device")` gives. It owns its memory, which
    no later call writes. The call that made it need not be done; who reads the array, here or by
    one of the protocols, waits for it, and is told if it failed.

    It is an input of programs for the same card, PyTorch's, JAX's and CuPy's functions take it
    (`torch.from_dlpack(a)`, `cupy.asarray(a)`), and `numpy()` is a copy of the host's.
    """

    __slots__ = ("__weakref__", "_address", "_card", "_is_lent", "dtype", "shape")

    def __init__(self, card: Card, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._card, self.shape, self.dtype = card, shape, dtype
        self._is_lent = False  # to others, whose work with it is not known here
        self._address = card.take(self.nbytes)

    def __del__(self) -> None:
        if not hasattr(self, "_address"):  # there was no memory for it
            return
        if self._is_lent:
            self._card.drop(self._address)
        else:
            self._card.give(self._address, self.nbytes)

    @property
    def address(self) -> int:
        return self._address

    def _lend(self) -> None:
        with self._card.entered():
            self._card.settle()
        self._is_lent = True

    @property
    def device(self) -> Device:
        """The card that it is on."""
        return self._card.device

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def numpy(self) -> np.ndarray[Any, Any]:
        """A copy in memory of the host."""
        copy: np.ndarray[Any, Any] = np.empty(self.shape, self.dtype)
        with self._card.waiting() as stream:
            self._card.download(copy, self._address, stream)
        return copy

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        if copy is False:
            raise ValueError("an array on a card is copied to be read here")
        return self.numpy().astype(dtype or self.dtype, copy=False)

    def item(self) -> Any:
        """The number of an array that has one element."""
        return self.numpy().item()

    def __float__(self) -> float:
        return float(self.item())

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of an array without axes")
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<gc.cuda.Array {self.dtype.name}{list(self.shape)} on card {self.device.index}>"

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        self._lend()
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self._address if self.size else 0, False),
            "strides": None,
            "stream": None,  # nothing that writes it is under way
            "version": 3,
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        return dlpack.CUDA, self.device.index

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """A capsule that keeps this array alive; of a copy, where one is asked for.
        Errors: `BufferError` for a device that this is not on, and not the host."""
        if dl_device not in (None, self.__dlpack_device__()):
            if dl_device != (dlpack.HOST, 0) or copy is False:
                raise BufferError(f"an array on card {self.device.index}, asked for {dl_device}")
            return self.numpy().__dlpack__(max_version=max_version)
        lent = self._copy() if copy else self
        lent._lend()
        return dlpack.capsule(lent, max_version)

    def _copy(self) -> Array:
        with self._card.entered():
            made = Array(self._card, self.shape, self.dtype)
        with self._card.waiting() as stream:
            self._card.copy(made._address, self._address, self.nbytes, stream)
        return made


# -- what others have on a card --------------------------------------------------------------------
class Borrowed(NamedTuple):
    """An array on a card, as long as `owner` lives."""

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    strides: Sequence[int] | None  # in bytes
    owner: Any

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize

    @property
    def is_contiguous(self) -> bool:
        if self.strides is None or 0 in self.shape:
            return True
        step = self.dtype.itemsize
        for size, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if size != 1 and stride != step:
                return False
            step *= size
        return True


def as_given(value: Any, tensor: Tensor, function: str, card: Card, stream: Any) -> Any:
    """`value` as a `Borrowed` if it is on a card, where `stream` may read it from now on; else as
    an array of the host.

    Errors: those of `as_input`; of what is on a card, `DeviceError` if that is another one,
    `DTypeError` for other numbers, `ArgumentError` if it is not contiguous or cannot be read.
    """
    if isinstance(value, np.ndarray):
        return as_input(value, tensor, function)
    if type(value) is Array and value._card is card and value.dtype == tensor.dtype.numpy:
        return value if value.size else np.empty(value.shape, value.dtype)
    label = f"{function}, input {tensor.name!r}"
    name = type(value).__name__
    try:
        device = _device(value, card)
        if device is None:
            return as_input(value, tensor, function)
        if device != card.device.index:
            raise DeviceError(
                "an array on another card",
                op=label,
                expected=f"an array of the host, or on card {card.device.index}",
                given=f"{name} on card {device}",
                where=origin.where(),
                hint=f"compile the program with device={device}, or move the array",
            )
        found = _borrowed(value, card, stream)
    except (AttributeError, BufferError, KeyError, RuntimeError, TypeError, ValueError) as error:
        if isinstance(error, GraphcError):
            raise
        raise ArgumentError(
            f"an array on a card that cannot be read: {error}",
            op=label,
            expected=str(tensor.type),
            given=name,
            where=origin.where(),
        ) from error
    if found.dtype != tensor.dtype.numpy:
        raise DTypeError(
            "an array on a card is read as it is",
            op=label,
            expected=tensor.dtype.name,
            given=f"{name} of {found.dtype.name}",
            where=origin.where(),
            hint="convert it there",
        )
    if not found.is_contiguous:
        raise ArgumentError(
            "an array on a card that is not contiguous",
            op=label,
            expected="elements one after another, the last axis first",
            given=f"{name} of shape {found.shape}, strides of {tuple(found.strides or ())} bytes",
            where=origin.where(),
            hint="make it so there: x.contiguous() in PyTorch, cupy.ascontiguousarray(x)",
        )
    return found if found.nbytes else np.empty(found.shape, found.dtype)


def _device(value: Any, card: Card) -> int | None:
    """The number of the card that a value is on; None of one that is on none."""
    if hasattr(value, "__dlpack_device__"):
        kind, index = value.__dlpack_device__()
        return int(index) if kind == dlpack.CUDA else None
    interface = getattr(value, "__cuda_array_interface__", None)
    if interface is None:
        return None
    address = interface["data"][0]
    if not address:  # no elements, which are anywhere
        return card.device.index
    kind = card.api.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
    return int(done(card.api.cuPointerGetAttribute(kind, address), "asking for an array's card"))


def _borrowed(value: Any, card: Card, stream: Any) -> Borrowed:
    """What a value says that is on this card; what writes it is waited for by `stream`."""
    if isinstance(value, Array):
        return Borrowed(value.address, value.shape, value.dtype, None, value)
    if hasattr(value, "__dlpack_device__"):
        capsule = value.__dlpack__(stream=int(stream))
        return Borrowed(*dlpack.described(capsule), capsule)
    interface = value.__cuda_array_interface__
    if interface.get("mask") is not None:
        raise ValueError("it has a mask")
    # Before version 3 nobody said in which stream an array is written: in the default one, then.
    writer = interface.get("stream", DEFAULT_STREAM if interface["version"] < 3 else None)
    if writer is not None:
        card.follow(stream, writer)
    shape, dtype = tuple(interface["shape"]), np.dtype(interface["typestr"])
    return Borrowed(interface["data"][0] or 0, shape, dtype, interface.get("strides"), value)
