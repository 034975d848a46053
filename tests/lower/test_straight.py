"""Kernels without loops as LLVM IR: every primitive, beside the interpreter of kernels."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest

from graphc.ir.dim import named
from graphc.ir.dtype import DTYPES, DType, bool_, complex64, float16, float32, float64, int64
from graphc.loops.builder import Builder
from graphc.loops.check import check_kernel
from graphc.loops.grammar import Affine, Buffer, For, Kernel, Store, of
from graphc.loops.interpret import interpret_kernel
from graphc.loops.primitives import PRIMITIVES
from graphc.lower import vector_math
from graphc.lower.processor import cpu
from graphc.lower.straight import compile_kernel, is_straight

FLOATS = [(0.7, -1.3), (-0.0, 0.0), (np.nan, 1.0), (np.inf, -np.inf), (1e-40, 3.5), (-2.5, 2.0)]
TRUTHS = [(False, False), (False, True), (True, False), (True, True)]


def samples(dtype: DType) -> list[tuple[Any, Any]]:
    if dtype is bool_:
        return TRUTHS
    if dtype.is_float:
        return FLOATS
    least, most = np.iinfo(dtype.numpy).min, np.iinfo(dtype.numpy).max
    signed = [(least, -1), (-9, 4), (5, -3)] if least < 0 else []
    return [*signed, (most, most), (7, 0), (0, 9), (3, dtype.bits), (100, 7)]


def everything(dtype: DType) -> tuple[Kernel, list[Buffer], dict[DType, Buffer]]:
    """A kernel that computes all primitives of two numbers and a bool, and converts the first."""
    x, y, c = Buffer("x", dtype, 1), Buffer("y", dtype, 1), Buffer("c", bool_, 1)
    k = Builder()
    a, b, condition = (k.load(buffer, Affine()) for buffer in (x, y, c))
    made = [k.cast(a, to) for to in DTYPES]
    for name, primitive in PRIMITIVES.items():
        if name == "from_bits" and dtype.bits < 32:
            continue  # there are no floats of so few
        given = (condition, a, b) if name == "select" else (a, b)[: primitive.arity]
        if dtype.kind in primitive.kinds and primitive.result(dtype).is_computed:
            made.append(k.prim(name, *given))
    counts = {d: sum(v.dtype is d for v in made) for d in DTYPES}
    results = {d: Buffer(f"of_{d.short}", d, count) for d, count in counts.items() if count}
    at = dict.fromkeys(results, 0)
    for value in made:
        k.store(results[value.dtype], Affine((), at[value.dtype]), value)
        at[value.dtype] += 1
    kernel = Kernel("all", (x, y, c, *results.values()), k.scopes[0].body)
    check_kernel(kernel)
    return kernel, [x, y, c], results


class Compiled:
    """The machine code of a kernel, without what the optimiser would make of it."""

    def __init__(self, kernel: Kernel) -> None:
        text = compile_kernel(kernel, "kernel.all")
        self.kernel = kernel
        library = vector_math.libm_definitions
        if vector_math.available(cpu()[1]):
            library = vector_math.definitions
        wanted = [
            (name, bits)
            for name in vector_math.FUNCTIONS
            for bits in (32, 64)
            if f'"{vector_math.symbol(name, bits)}"(' in text
        ]
        llvm.load_library_permanently(
            "libSystem.B.dylib" if sys.platform == "darwin" else "libm.so.6"
        )
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=cpu()[1], opt=0, reloc="pic", codemodel="default"
        )
        module = llvm.parse_assembly(text)
        module.link_in(llvm.parse_assembly(library(wanted)))
        module.verify()
        self.engine = llvm.create_mcjit_compiler(module, machine)
        self.engine.finalize_object()
        self.address = self.engine.get_function_address("kernel.all")

    def run(self, arrays: list[Any], *more: Any) -> int:
        pointers = [ctypes.c_void_p(a.ctypes.data) for a in arrays]
        given = [None, None, *pointers, *more]
        function = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * len(given))
        return int(function(self.address)(*given))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_primitive_and_conversion(dtype: DType) -> None:
    kernel, _, results = everything(dtype)
    assert is_straight(kernel)
    compiled = Compiled(kernel)
    for number, (first, second) in enumerate(samples(dtype)):
        inputs = [np.array([v], dtype.numpy) for v in (first, second)]
        inputs.append(np.array([number % 2 == 0]))
        found = {d: np.zeros(b.size, d.numpy) for d, b in results.items()}  # type: ignore[arg-type]
        expected = {d: a.copy() for d, a in found.items()}
        compiled.run([*inputs, *found.values()])
        memory = dict(zip(kernel.buffers, [*inputs, *expected.values()], strict=True))
        interpret_kernel(kernel, memory, {})
        for d in results:
            if d.is_float:
                tolerance = 2e-5 if d is float32 else 1e-11
                np.testing.assert_allclose(found[d], expected[d], rtol=tolerance, atol=1e-44)
            else:
                np.testing.assert_array_equal(found[d], expected[d])


def test_places_sizes_numbers_and_failures() -> None:
    """y[2 n + i - 1] = x[i] * 0.3 - 7.1 where i is read; fails where x[i] is negative."""
    n = named("n")
    x, y, at = Buffer("x", float64, 4), Buffer("y", float64, 3 * n + 4), Buffer("at", int64, 1)
    k = Builder()
    i = k.index(k.load(at, Affine()))
    value = k.load(x, i)
    k.fail_if(k.greater(value, k.const(100, float64)), "large")
    k.fail_if(k.less(value, k.const(0, float64)), "negative")
    k.store(
        y,
        i + (2 * n - 1),
        k.subtract(k.multiply(value, k.const(0.3, float64)), k.const(7.1, float64)),
    )
    kernel = Kernel("places", (x, y, at), k.scopes[0].body, {"n": n})
    check_kernel(kernel)
    assert is_straight(kernel)
    compiled = Compiled(kernel)
    numbers = np.array([0.3, 7.1])
    for place, size, failed in ((0, 1, 0), (2, 3, 0), (3, 2, 2)):
        arrays = [np.array([1.5, 2.5, 3.5, -4.5]), np.zeros(13), np.array([place])]
        word = np.zeros(1, np.int64)
        more = (size, numbers.ctypes.data, word.ctypes.data)
        compiled.run(arrays, *(ctypes.c_void_p(m) for m in more))
        wanted = np.zeros(13)
        wanted[2 * size + place - 1] = arrays[0][place] * 0.3 - 7.1
        np.testing.assert_array_equal(arrays[1], wanted)
        assert word[0] == failed


def kernels_for_numba() -> Iterator[tuple[str, Kernel]]:
    x, y, c = Buffer("x", float64, 4), Buffer("y", float64, 4), Buffer("c", bool_, 1)
    half, pair = Buffer("half", float16, 1), Buffer("pair", complex64, 1)
    k = Builder()
    with k.loop(4) as i:
        k.store(y, of(i), k.load(x, of(i)))
    assert isinstance(k.scopes[0].body[0], For)
    yield "a loop", Kernel("loop", (x, y), k.scopes[0].body)
    k = Builder()
    with k.guarded(k.load(c, Affine())):
        value = k.load(x, Affine())
    k.store(y, Affine(), value)
    yield "a read under a condition", Kernel("guarded", (x, y, c), k.scopes[0].body)
    k = Builder()
    k.store(y, Affine(), k.read(k.declare(k.const(0, float64))))
    yield "a mutable scalar", Kernel("mutable", (y,), k.scopes[0].body)
    yield "float16", Kernel("half", (half,), [Store(half, Affine(), k.const(0, float16))])
    yield "complex numbers", Kernel("pair", (pair,), [Store(pair, Affine(), k.const(0, complex64))])


@pytest.mark.parametrize(("what", "kernel"), list(kernels_for_numba()))
def test_what_else_there_is_numba_compiles(what: str, kernel: Kernel) -> None:
    assert not is_straight(kernel), what


def test_a_formula_of_scalars_loads_no_numba(tmp_path: Path) -> None:
    program = """if True:
        import sys
        import numpy as np
        import graphc as gc

        x, y = (gc.placeholder(name, (), "float64") for name in "xy")
        z = gc.sin(x * 0.3) / gc.sqrt(y * y + 2.0)
        f = gc.compile([x, y], [z, *gc.grad(z, [x, y])])
        found = f(0.5, 1.5)
        a, b = 0.5 * 0.3, 1.5 * 1.5 + 2.0
        expected = [np.sin(a) / b**0.5, 0.3 * np.cos(a) / b**0.5, -np.sin(a) * 1.5 / b**1.5]
        np.testing.assert_allclose(found, expected, rtol=1e-14)
        assert "numba" not in sys.modules
    """
    settings = {"GRAPHC_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", program], env=settings, check=True)
