"""Target "cuda" where cuda-bindings is not installed: programs are compiled and looked at; a call
says what is missing."""

import ctypes
import os
import subprocess
import sys

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, CompileError, DeviceError
from graphc.fusion.region import WORK
from graphc.ir.graph import Graph
from graphc.ir.op import Kind, registry
from graphc.lower import nvptx
from graphc.machines import CUDA
from graphc.pipeline.options import DEFAULTS
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.runtime import cuda_driver, cuda_products, cuda_target
from graphc.runtime.target import TARGETS
from tests.op_samples import SAMPLES


def program() -> tuple[list[gc.Tensor], list[gc.Tensor]]:
    x, w = gc.placeholder("cuda_x", ("n", 7)), gc.placeholder("cuda_w", (7, 40))
    return [x, w], [gc.softmax(x @ w)]


@pytest.fixture
def no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    monkeypatch.setitem(sys.modules, "cuda", None)
    cuda_driver._started.cache_clear()
    cuda_driver._found.cache_clear()


@pytest.mark.usefixtures("no_package")
def test_code_without_a_card() -> None:
    f = gc.compile(*program(), target="cuda")
    assert "cuda.threadIdx.x" in f.source
    assert ".visible .entry kernel0_row" in f.ptx
    assert f.asm == f.ptx
    assert "ptx_kernel" in f.llvm
    assert "matrix product" in f.explain()
    assert f.cost().at(n=3)


def test_shapes_of_launches() -> None:
    """64 threads for the 40 elements of a row, so 4 rows in a block of 256; 8 where there are so
    many rows that each thread takes several elements."""
    for sizes, blocks, wide in ((None, 16, 64), ({"n": 4096}, 1024, 64), ({"n": 1 << 18}, 8192, 8)):
        f = gc.compile(*program(), target="cuda", sizes=sizes)
        said = f"row, {blocks} x 256 threads, {wide} a row"
        assert f" [{said}]" in f.explain()
        (kernel,) = (step for step in f.cost().steps if step.kind == "kernel")
        assert kernel.launches == said
        assert said in str(f.cost())
        assert said in gc.draw(f, view="kernels").source
    on_cpu = gc.compile(*program())
    assert "threads" not in on_cpu.explain()
    assert "launches" not in str(on_cpu.cost())


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
    x, w = gc.placeholder("missing_x", ("n", 7)), gc.placeholder("missing_w", (7, 40))
    first = gc.tanh(x @ w)
    second = gc.exp(x * 2.0) @ w
    graph = Graph([x, w], [first, gc.tanh(second)])
    made = run_pipeline(graph, Stages()).program  # of another machine: products in blocks
    with pytest.raises(CompileError, match="lacks") as error:
        cuda_target.print_driver(made, DEFAULTS)
    given = str(error.value.given)
    assert given.count("blocks of matmul") == 2
    assert given.count(__file__) == 2


def test_every_op_that_is_no_kernel_has_steps() -> None:
    """Of those that are, tests/test_op_kernels.py runs the launches."""
    others = [n for n, op in registry().items() if op.kind not in WORK | {Kind.VIEW, Kind.REGION}]
    for name in others:
        samples = SAMPLES[name]
        case = samples.cases[0]
        inputs = case.placeholders(samples.takes[-1])
        made = case.call(*inputs)
        graph = Graph(inputs, made if isinstance(made, tuple) else [made])
        program = run_pipeline(graph, Stages(), machine=CUDA).program
        assert len(cuda_target.print_driver(program, DEFAULTS).facts["steps"]) == len(program.steps)
    assert len(others) > 50


def test_subnormals_are_kept_where_flushing_is_allowed() -> None:
    assert gc.compile(*program(), target="cuda", flush_subnormals=True).ptx


@pytest.mark.usefixtures("no_package")
def test_no_card() -> None:
    assert gc.cuda.devices() == []
    arrays = np.ones((2, 7), "float32"), np.ones((7, 40), "float32")
    f = gc.compile(*program(), target="auto", results="device")
    assert isinstance(f(*arrays)[0], np.ndarray)
    with pytest.raises(ArgumentError, match="no choice of devices"):
        gc.compile(*program(), device=0)
    with pytest.raises(ArgumentError, match="by its number"):
        gc.compile(*program(), target="cuda", device="cuda:0")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="place of results") as error:
        gc.compile(*program(), target="cuda", results="card")
    assert error.value.expected == "host or device"


@pytest.mark.usefixtures("no_package")
def test_cublas_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    cuda_products.library.cache_clear()
    with pytest.raises(DeviceError, match="cuBLAS, which was not found") as error:
        cuda_products.library()
    assert error.value.expected == "libcublasLt.so.13 or libcublasLt.so.12"
    assert error.value.hint == "pip install nvidia-cublas"


def test_looking_for_a_card_imports_nothing_where_there_is_none(tmp_path: object) -> None:
    code = (
        "import sys, ctypes, graphc as gc\n"
        "def none(name, *more): raise OSError(name)\n"
        "ctypes.CDLL = none\n"
        "gc.cuda.devices(); before = set(sys.modules)\n"
        "assert gc.cuda.devices() == []\n"
        "print(*(m for m in sys.modules if m.split('.')[0] == 'cuda'), len(before))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert len(done.stdout.split()) == 1, done.stdout


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
