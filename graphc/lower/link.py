"""Linking: driver, kernels and vector functions become one optimised object.

Everything but `entry` is made internal, so that LLVM inlines and drops what it can; the object may
refer to nothing but the C library's mathematics and memory functions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import llvmlite.binding as llvm
from llvmlite.binding.newpassmanagers import NewPassManager

from graphc.errors import CompileError
from graphc.lower import vector_math

# functions of the C library that code may call, each for both floats
_SCALAR = (
    "fmod",
    "pow",
    "ldexp",
    "roundeven",
    "floor",
    "ceil",
    "trunc",
    "rint",
    "fmaximum",
    "fminimum",
    *vector_math.OF_LIBM,
)
ALLOWED = frozenset(
    [
        "memcpy",
        "memmove",
        "memset",
        "bzero",
        *(name + suffix for name in _SCALAR for suffix in ("", "f")),
    ]
)
_DECLARED = re.compile(r"declare [^@\n]*@\"?gc\.(\w+)\.f(\d+)\"?\(")


@dataclass(frozen=True, slots=True)
class LinkedObject:
    """The native code of a program, and the optimised module that it was made from."""

    data: bytes
    module: Any

    @property
    def llvm_ir(self) -> str:
        return str(self.module)

    @property
    def asm(self) -> str:
        """Assembly, printed when it is asked for: that takes as long as making the object."""
        text: str = target_machine().emit_assembly(self.module)
        return text


@cache
def initialize() -> None:
    """Make the native target and the C library's symbols known to LLVM, once."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    for library in ("libm.so.6", "libc.so.6"):
        try:
            llvm.load_library_permanently(library)
        except RuntimeError:  # another platform: the process has the symbols already
            continue


@cache
def cpu() -> tuple[str, str]:
    """The name and features of this processor, as LLVM calls them."""
    return llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


def target_machine() -> Any:
    """The machine that code is made for: this one."""
    initialize()
    name, features = cpu()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=name, features=features, opt=3, reloc="pic", codemodel="default"
    )


def link(driver: str, kernels: Sequence[str]) -> LinkedObject:
    """One object from the driver's and the kernels' LLVM IR.

    Errors: `CompileError` if a symbol stays undefined that is not on the allow-list (such an object
    would load, and then crash).
    """
    machine = target_machine()
    context = llvm.create_context()  # what a context has seen stays as long as it does
    module = _parsed(driver, machine, context)
    wanted: set[tuple[str, int]] = set()
    for text in kernels:
        wanted |= {(name, int(bits)) for name, bits in _DECLARED.findall(text)}
        module.link_in(_parsed(text, machine, context))
    if wanted:
        inline = vector_math.available(cpu()[1])
        define = vector_math.definitions if inline else vector_math.libm_definitions
        module.link_in(_parsed(define(sorted(wanted)), machine, context))
    for value in (*module.functions, *module.global_variables):
        if value.name != "entry" and not value.is_declaration:
            value.linkage = "internal"
    module.verify()
    _optimize(module, machine)
    _check_symbols(module)
    return LinkedObject(machine.emit_object(module), module)


def _parsed(text: str, machine: Any, context: Any) -> Any:
    module = llvm.parse_assembly(text, context)
    module.triple = machine.triple
    module.data_layout = str(machine.target_data)
    return module


def _optimize(module: Any, machine: Any) -> None:
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = options.slp_vectorization = True
    builder = llvm.create_pass_builder(machine, options)
    before = llvm.create_new_module_pass_manager()
    before.add_global_dead_code_eliminate_pass()
    for passes in (before, builder.getModulePassManager()):
        passes.run(module, builder)
        _dispose(passes)


def _dispose(passes: Any) -> None:
    """Free a pass manager, with some 100 KB that its passes remember of a module: llvmlite 0.50
    does not, because its class finds the `_dispose` of `ObjectRef` first, which does nothing."""
    if type(passes)._dispose is llvm.ffi.ObjectRef._dispose:
        NewPassManager._dispose(passes)


def _check_symbols(module: Any) -> None:
    undefined = sorted(
        f.name
        for f in (*module.functions, *module.global_variables)
        if f.is_declaration and not f.name.startswith("llvm.") and f.name not in ALLOWED
    )
    if undefined:
        raise CompileError(
            "the object would refer to symbols that nothing defines",
            op="link",
            expected="functions of the C library",
            given=", ".join(undefined),
        )
