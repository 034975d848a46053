"""Kernel source as Numba's IR: the machine code is that of Numba's own way through byte code."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
from numba.core import lowering
from numba.core.bytecode import ByteCode, FunctionIdentity
from numba.core.interpreter import Interpreter

import graphc as gc
from graphc.errors import CompileError
from graphc.lower import numba_cpu, numba_reading
from graphc.lower.link import compile_piece
from graphc.lower.processor import target_machine
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.runtime.kernels import distinct_kernels

A = gc.placeholder("a_reading", ("n", 3))
B = gc.placeholder("b_reading", ("n",), "float64")
K = gc.placeholder("i_reading", ("n",), "int64")
T = gc.placeholder("t_reading", ("n",), "bool")
EXPRESSIONS: dict[str, Any] = {
    "sums of rows, and of all": lambda: gc.sum(gc.softmax(A, axis=1) * 0.5) + gc.sum(A, axis=0),
    "guards": lambda: gc.concat([gc.pad(B, (2, 1)), B]) * 2,
    "truths": lambda: gc.where(T & (B > 0), gc.exp(B), -B),
    "what may fail": lambda: B[K] + gc.cumsum(B),
}
LANGUAGE = """
half = f64(0.5)
def kernel(b0, b1, s0):
    total = f64(0.0)
    for i in range(2, s0):
        if b1[i] > i64(0):
            total += b0[i] * half
        else:
            b0[i] -= total
    j = s0 - 1
    while j >= 0:
        k = 0
        while k < j:
            b0[k] = (b0[j] if b1[k] != i64(3) else -total) + f64(-2)
            k = k + 1
        j = j - 1
    b0[0] = total if s0 > -1 else half
"""


def by_numba(source: str, name: str, scope: Any) -> Any:
    known = dict(scope)
    exec(source, known)
    function = FunctionIdentity.from_function(known[name])
    return Interpreter(function).interpret(ByteCode(function))


@pytest.fixture
def numbas_way(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From now on Numba reads byte code, and looks for variables that need no memory."""

    def start() -> None:
        look = lowering.Lower._find_singly_assigned_variable
        monkeypatch.setattr(numba_reading, "read", by_numba)
        monkeypatch.setattr(numba_cpu._Lower, "_find_singly_assigned_variable", look)

    return start


def code(kernel: Any) -> str:
    return compile_piece(numba_cpu.compile_kernel(kernel, "kernel")).asm


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_native_code_is_that_of_numbas_own_reading(
    name: str, numbas_way: Callable[[], None]
) -> None:
    graph = gc.Graph([A, B, K, T], [EXPRESSIONS[name]()])
    kernels = [k.calls[0].kernel for k in distinct_kernels(run_pipeline(graph, Stages()))]
    found = list(map(code, kernels))
    assert found
    numbas_way()
    assert found == list(map(code, kernels))


def test_native_all_of_the_language() -> None:
    """Against Python itself, which runs the source too."""
    known: dict[str, Any] = {"f64": np.float64, "i64": np.int64}
    exec(LANGUAGE, known)
    types, pointer = numba_cpu.NUMBA_TYPES, numba_cpu.types.CPointer
    kinds = (pointer(types[gc.float64]), pointer(types[gc.int64]), types[gc.int64])
    contexts = numba_cpu.Contexts(numba_cpu.scalar_functions())
    text, symbol = numba_cpu.to_llvm(LANGUAGE, "kernel", kinds, contexts)
    piece = compile_piece(text.replace(" = common global ", " = internal global "))
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target_machine())
    engine.add_object_file(llvm.object_file.ObjectFileRef.from_data(piece.data))
    engine.finalize_object()
    address = engine.get_function_address(symbol)
    run = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 4, ctypes.c_int64)(address)
    unused = (ctypes.c_int64 * 4)()
    for seed in range(5):
        numbers = np.random.default_rng(seed)
        x, places = numbers.normal(size=7), numbers.integers(-2, 5, 7)
        wanted = x.copy()
        known["kernel"](wanted, places, 7)
        run(unused, unused, x.ctypes.data, places.ctypes.data, 7)
        assert x.tobytes() == wanted.tobytes()


@pytest.mark.parametrize(
    "body", ["with x: y = 1", "y = x and 1", "y = (x, x)", "y = [z for z in x]", "del x"]
)
def test_what_is_not_of_the_language_is_refused(body: str) -> None:
    contexts = numba_cpu._contexts()
    kinds = (numba_cpu.NUMBA_TYPES[gc.float64],)
    with pytest.raises(CompileError, match="kernels have no such"):
        numba_cpu.to_llvm(f"def kernel(x):\n    {body}\n", "kernel", kinds, contexts)
