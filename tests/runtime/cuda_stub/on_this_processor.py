"""Programs for a card, run through the real cuda-bindings on the driver of `stub.c`.

A process has to find the driver when it starts: `run_with_stub` starts one that does. Kernels are
the launches' text as machine code of this processor, one thread a block.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import mock

from graphc.checking.host_launches import HostLaunches
from graphc.lower.gpu_source import print_launches
from graphc.lower.nvptx import GUARDS
from graphc.runtime import cuda_driver, cuda_memory, cuda_target

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
MOST = (1 << 63) - 1
FILES = ("programs.py", "epilogues.py", "recordings.py", "arrays.py", "training.py")


def why_not() -> str:
    """What is missing for it, or ""."""
    try:
        found = find_spec("cuda.bindings") is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        return "cuda-bindings is not installed"
    return "" if shutil.which("gcc") else "there is no gcc"


def run_with_stub(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """A command of Python's in a process that finds the stub, made in `folder`."""
    driver = folder / "libcuda.so.1"
    made = ["gcc", "-O1", "-shared", "-fPIC", "-o", str(driver), str(HERE / "stub.c"), "-ldl"]
    subprocess.run(made, check=True)
    if not (folder / "libcublasLt.so.13").exists():
        (folder / "libcublasLt.so.13").symlink_to(driver)
    env = os.environ | {"LD_LIBRARY_PATH": str(folder), "GRAPHC_CACHE": "0"}
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, *command], env=env, cwd=ROOT, capture_output=True, text=True, check=False
    )


def run_programs(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """The tests of `FILES`."""
    plain = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist"]
    files = [str(HERE / file) for file in FILES]
    return run_with_stub(folder, "-m", "pytest", *plain, *options, *files)


class _Function(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("run", ctypes.c_void_p), ("words", ctypes.c_int64))


_kept: dict[str, Any] = {}  # what native code points to, by the symbol of a kernel


def compile_kernel(kernel: Any, symbol: str) -> str:
    """In place of PTX: the address of a table of the launches' functions, as text."""
    if symbol not in _kept:
        _kept[symbol] = _table(kernel)
    return f"{ctypes.addressof(_kept[symbol][1]):x}"


def _table(kernel: Any) -> tuple[HostLaunches, Any]:
    launches = print_launches(kernel)
    host = HostLaunches(launches)
    functions = [
        _Function(x.name.encode(), host.address(x.name), len(launches.parameters) + len(GUARDS))
        for x in launches.launches
    ]

    class Table(ctypes.Structure):
        _fields_ = (("count", ctypes.c_int64), ("functions", _Function * len(functions)))

    return host, Table(len(functions), (_Function * len(functions))(*functions))


def compile_piece(text: str, symbol: str, inline: bool, device: Any) -> cuda_target.Piece:
    return cuda_target.Piece(text, "")


@contextmanager
def as_this_processor() -> Iterator[None]:
    """Target "cuda" is this processor as long as the context lasts, with one card and memory."""
    for name, value in (("memory", MOST), ("launches", MOST), ("devices", 1), ("major", 9)):
        number(name).value = value
    cuda_driver._found.cache_clear()
    with (
        mock.patch.object(cuda_memory.Card, "threads", 1),
        mock.patch.object(cuda_target, "compile_kernel", compile_kernel),
        mock.patch.object(cuda_target, "compile_piece", compile_piece),
    ):
        yield


def stub() -> Any:
    """The stub's library, for its numbers."""
    return ctypes.CDLL("libcuda.so.1")


def number(name: str) -> Any:
    return ctypes.c_int64.in_dll(stub(), f"stub_{name}")

