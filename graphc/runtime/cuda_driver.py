"""NVIDIA's driver: what is installed, which cards there are, and why not. The only importer of
cuda-bindings."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from functools import cache
from typing import Any, NoReturn

from graphc.errors import DeviceError

OLDEST = (7, 5)  # of a card: LLVM and the driver know no older ones any more


@dataclass(frozen=True, slots=True)
class Device:
    """A card that programs can run on."""

    index: int
    name: str
    capability: tuple[int, int]
    memory: int  # bytes

    @property
    def architecture(self) -> str:
        return "sm_{}{}".format(*self.capability)


def driver() -> Any:
    """cuda-bindings' module of driver functions, initialised. Errors: `DeviceError` that says what
    to install, or what was found; in a child of the process that initialised it."""
    api, process = _started()
    if os.getpid() != process:
        raise DeviceError(
            "this process was forked after CUDA had started, which CUDA does not survive",
            op="cuda",
            hint="start processes by multiprocessing's 'spawn', or fork before CUDA starts",
        )
    return api


@cache
def _started() -> tuple[Any, int]:
    """The module, and the process that initialised it."""
    try:
        from cuda.bindings import driver
    except ImportError as error:
        raise DeviceError(
            "target 'cuda' needs NVIDIA's driver functions, which are not installed",
            op="cuda",
            expected="the package cuda-bindings",
            given=str(error),
            hint="pip install 'graphc[cuda]'",
        ) from error
    try:
        (status,) = driver.cuInit(0)
    except Exception as error:  # a library that is not there has an error class of its own
        _no_device(f"no driver: {str(error).splitlines()[0]}", error)
    if status != driver.CUresult.CUDA_SUCCESS:
        _no_device(f"the driver says {status.name}")
    return driver, os.getpid()


def _no_device(found: str, cause: Exception | None = None) -> NoReturn:
    raise DeviceError(
        "there is no device that can run this",
        op="cuda",
        expected="an NVIDIA card with compute capability 7.5 or newer, and its driver",
        given=found,
        hint="a program for target='cuda' can be compiled and looked at anywhere (.source, .ptx); "
        "to run it here, compile it for target='cpu'",
    ) from cause


def done(result: Any, what: str) -> Any:
    """What a driver function gave. Errors: `DeviceError` with the driver's word for its failure."""
    status, *values = result
    if status.value != 0:
        raise DeviceError(f"{what} failed", op="cuda", given=f"the driver says {status.name}")
    return values[0] if len(values) == 1 else values


def devices() -> tuple[Device, ...]:
    """The cards that can run programs. Errors: as `driver`; `DeviceError` where none can, with what
    was found."""
    driver()
    return _found()


def usable() -> list[Device]:
    """The cards that can run programs, if any; nothing is imported where there is no driver."""
    try:
        ctypes.CDLL("libcuda.so.1")
        return list(devices())
    except (OSError, DeviceError):
        return []


def device(index: int | None = None) -> Device:
    """The card of that number, or the first one. Errors: as `devices`; `DeviceError` where it is
    none of these."""
    for found in devices():
        if index in (None, found.index):
            return found
    raise DeviceError(
        f"there is no card {index} that can run this",
        op="cuda",
        expected="the index of one of gc.cuda.devices()",
        given=", ".join(f"{d.index}: {d.name} ({d.architecture})" for d in devices()),
    )


@cache
def _found() -> tuple[Device, ...]:
    api = driver()
    attribute = api.CUdevice_attribute
    found: list[Device] = []
    old: list[Device] = []
    for index in range(done(api.cuDeviceGetCount(), "counting devices")):
        handle = done(api.cuDeviceGet(index), "finding a device")
        name = done(api.cuDeviceGetName(100, handle), "naming a device")
        capability = tuple(
            done(api.cuDeviceGetAttribute(kind, handle), "asking a device")
            for kind in (
                attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
            )
        )
        memory = done(api.cuDeviceTotalMem(handle), "asking a device")
        text = name.split(b"\0")[0].decode(errors="replace")
        device = Device(index, text, (capability[0], capability[1]), int(memory))
        (found if device.capability >= OLDEST else old).append(device)
    if not found:
        _no_device(", ".join(f"{d.name} ({d.architecture})" for d in old) or "no device")
    return tuple(found)
