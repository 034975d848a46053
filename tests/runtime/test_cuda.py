"""Target "cuda" where cuda-bindings is not installed: programs are compiled and looked at; a call
says what is missing."""

import os
import subprocess
import sys

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, CompileError, DeviceError
from graphc.lower import nvptx
from graphc.runtime import cuda_driver, cuda_target
from graphc.runtime.target import TARGETS


def program() -> tuple[list[gc.Tensor], list[gc.Tensor]]:
    x, w = gc.placeholder("cuda_x", ("n", 7)), gc.placeholder("cuda_w", (7, 40))
    return [x, w], [gc.softmax(x @ w)]


@pytest.fixture
def no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    monkeypatch.setitem(sys.modules, "cuda", None)
    cuda_driver.driver.cache_clear()
    cuda_driver.devices.cache_clear()


@pytest.mark.usefixtures("no_package")
def test_code_without_a_card() -> None:
    f = gc.compile(*program(), target="cuda")
    assert "cuda.threadIdx.x" in f.source
    assert ".visible .entry kernel0_row" in f.ptx
    assert f.asm == f.ptx
    assert "ptx_kernel" in f.llvm
    assert "matrix product" in f.explain()
    assert f.cost().at(n=3)


@pytest.mark.usefixtures("no_package")
def test_a_call_says_what_to_install_and_the_next_one_is_as_good() -> None:
    f = gc.compile(*program(), target="cuda")
    arrays = np.zeros((2, 7), "float32"), np.zeros((7, 40), "float32")
    for _ in range(2):
        with pytest.raises(DeviceError, match="not installed") as error:
            f(*arrays)
        assert error.value.hint == "pip install 'graphc[cuda]'"
    assert gc.compile(*program())(*arrays)[0].shape == (2, 40)


@pytest.mark.usefixtures("no_package")
def test_a_failed_call_changes_no_variable() -> None:
    v = gc.variable(np.ones(3, "float32"), "cuda_v")
    f = gc.compile([], [], {v: v * 2.0}, target="cuda")
    with pytest.raises(DeviceError):
        f()
    assert np.array_equal(v.value, np.ones(3))


def test_the_cpu_has_no_ptx() -> None:
    with pytest.raises(ArgumentError, match="PTX") as error:
        _ = gc.compile(*program()).ptx
    assert "'cpu'" in str(error.value.given)


def test_what_is_missing_is_one_error_that_lists_all() -> None:
    with pytest.raises(CompileError, match="lacks") as error:
        gc.compile(*program(), target="cuda", flush_subnormals=True)
    assert "flush_subnormals" in str(error.value.given)


def test_kernels_come_from_the_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object, no_package: None
) -> None:
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path))
    first = gc.compile(*program(), target="cuda")
    monkeypatch.setattr(nvptx, "unoptimized", None)  # compiling again would fail
    again = gc.compile(*program(), target="cuda")
    assert "numba" not in again.timings
    assert again.ptx == first.ptx


def test_a_damaged_entry_of_the_cache_is_none() -> None:
    target = TARGETS["cuda"]
    piece = cuda_target.Piece(".version 7.0", "; IR")
    assert target.read_piece(*target.write_piece(piece)) == piece
    assert target.read_piece({"ptx": "many"}, b"") is None


def test_a_program_from_the_cache_loads_no_compiler(tmp_path: object) -> None:
    code = (
        "import sys, numpy as np, graphc as gc\n"
        "x = gc.placeholder('x', ('n', 40))\n"
        "f = gc.compile([x], gc.softmax(x), target='cuda')\n"
        "try: f(np.zeros((2, 40), 'float32'))\n"
        "except gc.errors.DeviceError: pass\n"
        "print(*({'numba', 'llvmlite', 'sympy'} & sys.modules.keys()), 'cache' in f.timings)\n"
    )
    env = os.environ | {"GRAPHC_CACHE_DIR": str(tmp_path)}
    for loaded in (True, False):
        done = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
        )
        assert ("numba" in done.stdout) == loaded, done.stdout
