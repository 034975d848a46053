"""The driver's code beside its kernels': what each object defines, and all of them as one."""

from __future__ import annotations

import ctypes
import gc as collector
import re
from typing import Any

import llvmlite.binding as llvm
import numpy as np

import graphc as gc
from graphc.errors import CompileError
from graphc.lower.link import compile_piece
from graphc.lower.processor import target_machine
from graphc.runtime.executable import Executable


def network(**options: Any) -> Any:
    """Three layers and a loss."""
    x = gc.placeholder("driver x", ("n", 16))
    weights = [gc.placeholder(f"driver w{i}", (16, 16)) for i in range(3)]
    h = x
    for w in weights:
        h = gc.tanh(h @ w)
    gradients = gc.grad(gc.mean(h * h), weights)
    return gc.compile([x, *weights], gradients, **options)


def defined(data: bytes) -> list[str]:
    """The functions of an object that others can call."""
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target_machine())
    engine.add_object_file(llvm.object_file.ObjectFileRef.from_data(data))
    names = re.findall(rb"kernel\.[0-9a-f]{32}|entry", data)
    return sorted({n.decode() for n in names if engine.get_function_address(n.decode())})


def test_each_kernel_is_an_object_of_its_own() -> None:
    made = network().compilation
    assert len(made.object.objects) == 1 + len(made.kernels)
    symbols = [k.symbol for k in made.kernels]
    assert [defined(o) for o in made.object.objects[1:]] == [[s] for s in symbols]
    assert len(set(symbols)) == len(symbols)
    assert "define i32 @entry(" in made.object.llvm_ir
    assert all(f"@{symbol}(" in made.object.llvm_ir for symbol in symbols)


def test_all_of_a_program_can_be_one_object() -> None:
    """What an export needs: one object that defines `entry` and calls nothing of graphc's."""
    function = network()
    made = function.compilation
    single = made.object.single
    with made.object.whole() as module:
        functions = [(f.name, f.linkage) for f in module.functions if not f.is_declaration]
    assert [name for name, linkage in functions if linkage == llvm.Linkage.external] == ["entry"]
    assert len(functions) > len(made.kernels)
    alone = Executable({**made.manifest, "objects": [len(single)]}, single, [])
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((n, 16)).astype("float32") for n in (5, 16, 16, 16)]
    expected = function(*arrays)
    caller = function._caller
    ran = ctypes.cast(alone.entry, ctypes.c_void_p).value
    assert ran != ctypes.cast(caller.executable.entry, ctypes.c_void_p).value
    swapped = type(caller)(function.graph, "alone", alone.manifest, alone, [])
    for got, right in zip(swapped.call(*arrays), expected, strict=True):
        np.testing.assert_array_equal(got, right)
    for got, right in zip(expected, network(target="reference")(*arrays), strict=True):
        np.testing.assert_allclose(got, right, rtol=1e-5, atol=1e-7)


def test_modules_are_freed_before_their_context_whatever_holds_them() -> None:
    """A cycle of Python's, as that of an error and its frames, is freed in no order."""
    text = "declare void @nobody()\ndefine void @f() {\n  call void @nobody()\n  ret void\n}\n"
    for _ in range(6):
        try:
            compile_piece(text)
        except CompileError as error:
            cycle: list[object] = [error]
            cycle.append(cycle)
            frames = error.__traceback__
            while frames is not None:
                cycle.append(frames.tb_frame)
                frames = frames.tb_next
        function = network()
        assert "define" in function.llvm
        cycle.append(function)
        del function
        collector.collect()
