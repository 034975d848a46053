"""Compiles kernel source with Numba, to unoptimised LLVM IR.

Numba is used for what it is good at here, from typed statements to LLVM IR, with contexts of our
own that know only what kernels use: loops, pointers, scalar arithmetic and the functions of
`numba_functions.py`. `numba_reading.py` reads the source, `numba_typing.py` finds the types. That
takes a first kernel from 600 ms to 30 and the next ones to 8. Nothing is optimised or loaded by
Numba: `link.py` does that.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import llvmlite.binding
import llvmlite.ir
import numpy as np
from numba import types
from numba.core import (
    cgutils,
    codegen,
    compiler,
    cpu,
    funcdesc,
    ir,
    lowering,
    typing,
)
from numba.core.compiler_machinery import LoweringPass, PassManager, register_pass
from numba.core.imputils import builtin_registry as implementations
from numba.core.typing import templates
from numba.cpython import builtins as _builtins  # noqa: F401  (registers implementations)
from numba.cpython import numbers as _numbers  # noqa: F401
from numba.cpython import rangeobj as _rangeobj  # noqa: F401

from graphc import locks
from graphc.errors import CompileError
from graphc.ir.dtype import COMPLEX, DTYPES, DType, bool_, float16, float32
from graphc.loops.grammar import Kernel, may_fail, parallel_loops
from graphc.loops.numbers import numbers
from graphc.lower import half, numba_functions, numba_reading
from graphc.lower.numba_source import print_for_numba
from graphc.lower.numba_typing import Typing

lock = locks.kept("numba")
NUMBA_TYPES: dict[DType, Any] = {
    d: types.boolean if d is bool_ else getattr(types, d.name) for d in (*DTYPES, *COMPLEX)
} | {float16: types.uint16}  # its bits


# -- contexts that know only what kernels use ------------------------------------------------------
_CodeLibrary: Any = codegen.CodeLibrary


class _Library(codegen.JITCodeLibrary):
    """Keeps the text of the IR as it comes; parsing, checking and optimising are `link.py`'s."""

    text = ""

    def __init__(self, codegen: Any, name: str) -> None:
        _CodeLibrary.__init__(self, codegen, name)  # without a module of LLVM's

    def add_ir_module(self, ir_module: Any) -> None:
        self.text += cgutils.normalize_ir_text(str(ir_module))

    def finalize(self) -> None:
        self._finalized = True


class _Codegen(codegen.JITCPUCodegen):
    _library_class = _Library

    def _create_empty_module(self, name: str) -> Any:
        module = llvmlite.ir.Module(cgutils.normalize_ir_text(name))
        module.triple = _triple()
        module.data_layout = self._data_layout or ""
        return module


@cache
def _triple() -> str:
    triple: str = llvmlite.binding.get_process_triple()
    return triple


class _Lower(lowering.Lower):
    """As Numba's, without what kernels have none of: notes for errors and debuggers, exceptions,
    operands that are known. Which variables need no memory `numba_reading.py` has seen."""

    _disable_sroa_like_opt = False  # of debuggers; there it is looked up among the flags each time

    def _find_singly_assigned_variable(self) -> None:
        self._singly_assigned_vars = self.func_ir.local
        self._blk_local_varmap: dict[str, Any] = {}

    def lower_block(self, block: Any) -> None:
        self.pre_block(block)
        for statement in block.body:
            self.loc = statement.loc
            if isinstance(statement, ir.Assign):
                name = statement.target.name
                self.storevar(self.lower_assign(self.typeof(name), statement), name)
            else:
                self.lower_inst(statement)
        self.post_block(block)

    def pre_block(self, block: Any) -> None:
        lowering.BaseLower.pre_block(self, block)
        self._cur_ir_block = block

    def lower_binop(self, resty: Any, expr: Any, op: Any) -> Any:
        """As there, where no operand is known."""
        function = self.context.typing_context.resolve_value_type(op)
        signature = self.fndesc.calltypes[expr]
        values = [(self.loadvar(v.name), self.typeof(v.name)) for v in (expr.lhs, expr.rhs)]
        given = [
            self.context.cast(self.builder, value, kind, wanted)
            for (value, kind), wanted in zip(values, signature.args, strict=True)
        ]
        known = function.get_call_type(self.context.typing_context, signature.args, {})
        found = self.context.get_function(function, known)(self.builder, given)
        return self.context.cast(self.builder, found, signature.return_type, resty)


@register_pass(mutates_CFG=True, analysis_only=False)
class _Lowering(LoweringPass):
    """From typed IR to the text of LLVM's, and the function's symbol there. LLVM itself is not
    called: it may be busy with another kernel in another thread."""

    _name = "graphc_lowering"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        target = state.targetctx
        library = target.codegen().create_library(state.func_id.func_qualname)
        described = funcdesc.PythonFunctionDescriptor.from_specialized_function(
            state.func_ir,
            state.typemap,
            state.return_type,
            state.calltypes,
            mangler=target.mangler,
            inline=False,
            noalias=False,
            abi_tags=[state.flags.get_mangle_string()],
        )
        with target.push_code_library(library):
            _Lower(target, library, described, state.func_ir, state.metadata).lower()
        state.cr = library.text, described.llvm_func_name
        return True


_OVERLOADS = {templates._OverloadFunctionTemplate, templates._OverloadAttributeTemplate}


def _is_overload(template: Any) -> bool:
    """Overloads drag in NumPy's and the runtime's implementations; kernels need none of them. By
    what a class inherits: `issubclass` of an abstract class asks all classes that inherit it."""
    return isinstance(template, type) and not _OVERLOADS.isdisjoint(template.__mro__)


class _FunctionType(types.Function):
    """A function's type that keeps what it found for types of arguments: signatures are looked for
    again and again, through many templates."""

    def get_call_type(self, context: Any, args: Any, kws: Any) -> Any:
        if kws:
            return super().get_call_type(context, args, kws)
        known = self.__dict__.setdefault("_known", {})
        key = tuple(args)
        found = known.get(key)
        if found is None:
            known[key] = found = super().get_call_type(context, args, kws)
        return found


class _TypingContext(typing.Context):
    def __init__(self) -> None:
        super().__init__()
        self._known: dict[tuple[Any, ...], Any] = {}
        self._types: dict[Any, Any] = {}

    def resolve_function_type(self, func: Any, args: Any, kws: Any) -> Any:
        """As there; kept for the next call of a function with such arguments."""
        if kws:
            return super().resolve_function_type(func, args, kws)
        key = (func, tuple(args))
        found = self._known.get(key)
        if found is None:
            self._known[key] = found = super().resolve_function_type(func, args, kws)
        return found

    def resolve_value_type(self, val: Any) -> Any:
        """As there; kept, but for numbers, of which there is no end. Of a class, `range` say, Numba
        asks whether it is one of its lists, and imports them for that, a third as long as itself:
        so what is known already comes first."""
        if isinstance(val, (int, float, complex, np.generic)):
            return super().resolve_value_type(val)
        found = self._types.get(val)
        if found is None:
            known = self._lookup_global(val) if isinstance(val, type) else None
            found = super().resolve_value_type(val) if known is None else known
            self._types[val] = found
        return found

    def load_additional_registries(self) -> None:
        return None

    def refresh(self) -> None:
        return None

    def load_kernel_types(self) -> None:
        """The built-in operators and types, without overloads."""
        registry = templates.builtin_registry
        for function in registry.functions:
            if not _is_overload(function):
                self.insert_function(function(self))
        for attribute in registry.attributes:
            if not _is_overload(attribute):
                self.insert_attributes(attribute(self))
        for value, kind in registry.globals:
            if isinstance(kind, types.Function) and any(map(_is_overload, kind.templates)):
                continue
            known = self._lookup_global(value)
            merged = kind if known is None else known.augment(kind)
            if known is not None and merged is not None:
                self._remove_global(value)
            if merged is not None:
                self._insert_global(value, merged)
        for value, kind in list(self._globals.items()):
            if type(kind) is types.Function:
                self._remove_global(value)
                self._insert_global(value, _FunctionType(kind.templates))


_SIZES: dict[Any, int] = {llvmlite.ir.FloatType(): 4, llvmlite.ir.DoubleType(): 8}


class _TargetContext(cpu.CPUContext):
    """What it found of implementations it keeps for the next kernels. It knows the sizes of what
    kernels have: LLVM, which it would ask, may be busy in another thread."""

    def init(self) -> None:
        self._implementations: dict[tuple[Any, Any], Any] = {}
        self.is32bit = False
        self._internal_codegen = _Codegen("graphc")

    def load_additional_registries(self) -> None:
        return None

    def refresh(self) -> None:
        self.install_registry(implementations)

    def get_function(self, fn: Any, sig: Any, _firstcall: bool = True) -> Any:
        key = (fn, sig)
        found = self._implementations.get(key)
        if found is None:
            self._implementations[key] = found = super().get_function(fn, sig, _firstcall)
        return found

    def cast(self, builder: Any, val: Any, fromty: Any, toty: Any) -> Any:
        """As there; most values are of the type that is wanted, which is one object."""
        return val if fromty is toty else super().cast(builder, val, fromty, toty)

    def get_abi_sizeof(self, ty: Any) -> int:
        if isinstance(ty, llvmlite.ir.IntType):
            return max(1, int(ty.width) // 8)
        if isinstance(ty, llvmlite.ir.PointerType):
            return ctypes.sizeof(ctypes.c_void_p)
        known = _SIZES.get(ty)
        size: int = super().get_abi_sizeof(ty) if known is None else known
        return size

    def post_lowering(self, module: Any, library: Any) -> None:
        return None  # no runtime is linked in: kernels allocate nothing


class _Pipeline(compiler.CompilerBase):
    def define_pipelines(self) -> list[Any]:
        manager = PassManager("graphc kernel")
        for step in (
            Typing,
            _Lowering,
        ):
            manager.add_pass(step, step.__name__)
        manager.finalize()
        return [manager]


# -- the functions of kernels, known to both contexts ----------------------------------------------
class _Function:
    """The Python object that a kernel's source calls; Numba knows it by identity."""

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __call__(self, *args: Any) -> Any:
        raise TypeError(f"{self.__name__} runs in compiled kernels only")


Case = tuple[DType, tuple[Any, ...], Any]  # what `emit` is told, the types of operands and result
Row = tuple[str, numba_functions.Emit, Sequence[Case]]


def scalar_functions() -> list[Row]:
    """The functions of primitives, conversions and choice, as rows for `Contexts`."""
    table: list[Row] = []
    for arity, functions in ((1, numba_functions.UNARY), (2, numba_functions.BINARY)):
        for name, (emit, dtypes) in functions.items():
            kinds = [(d, NUMBA_TYPES[d]) for d in dtypes]
            table.append((name, emit, [(d, (kind,) * arity, kind) for d, kind in kinds]))
    for name, (emit, to) in numba_functions.CONVERSIONS.items():
        result = NUMBA_TYPES[to]
        floats = numba_functions.FLOATS
        table.append((name, emit, [(d, (NUMBA_TYPES[d],), result) for d in floats]))
    for name, (emit, pairs) in numba_functions.BITS.items():
        cases = [(d, (NUMBA_TYPES[d],), NUMBA_TYPES[to]) for d, to in pairs]
        table.append((name, emit, cases))
    parts = [(d, NUMBA_TYPES[d], NUMBA_TYPES[d.part]) for d in COMPLEX]
    for name, emit in numba_functions.COMPLEX_PARTS.items():
        table.append((name, emit, [(d, (kind,), part) for d, kind, part in parts]))
    made = [(d, (part, part), kind) for d, kind, part in parts]
    table.append(("complex", numba_functions.complex_number, made))
    stored = NUMBA_TYPES[float16]
    single = NUMBA_TYPES[float32]
    table.append(("from_half", half.from_half, [(float32, (stored,), single)]))
    halves = [(d, (NUMBA_TYPES[d],), stored) for d in numba_functions.FLOATS]
    table.append(("to_half", half.to_half, halves))
    computed = [(d, NUMBA_TYPES[d]) for d in DTYPES]
    chosen = [(d, (types.boolean, kind, kind), kind) for d, kind in computed]
    table.append(("select", numba_functions.select, chosen))
    pointers = [(d, types.CPointer(NUMBA_TYPES[d])) for d in numba_functions.FLOATS]
    rows = [(d, (types.boolean, kind, types.int64), kind) for d, kind in pointers]
    table.append(("row", numba_functions.row, rows))
    return table


class Contexts:
    """Numba's two contexts, and the names that kernel source may use."""

    def __init__(self, table: Iterable[Row]) -> None:
        self.typing = _TypingContext()
        self.typing.load_kernel_types()
        self.target = _TargetContext(self.typing)
        self.target.refresh()
        self.scope: dict[str, Any] = {d.short: d.numpy.type for d in DTYPES if d is not bool_}
        self.scope |= {"inf": np.inf, "nan": np.nan}
        for name, emit, cases in table:
            self._install(name, emit, cases)

    def _install(self, name: str, emit: numba_functions.Emit, cases: Sequence[Case]) -> None:
        function = _Function(name)
        signatures = [templates.signature(result, *args) for _, args, result in cases]
        template = templates.make_concrete_template(name, function, signatures)
        self.typing.insert_global(function, _FunctionType(template))
        self.target.insert_func_defn(
            [(_lowering(emit, dtype), function, args) for dtype, args, _ in cases]
        )
        self.scope[name] = function


def _lowering(emit: numba_functions.Emit, dtype: DType) -> Any:
    def lower(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return emit(builder, dtype, list(args))

    return lower


@cache
def _contexts() -> Contexts:
    return Contexts(scalar_functions())


def prepare() -> None:
    """Make the contexts, which takes a process some time, once."""
    with lock:
        _contexts()


# -- compiling -------------------------------------------------------------------------------------
def signature(kernel: Kernel) -> tuple[Any, ...]:
    """The Numba types of the kernel's parameters."""
    pointers = tuple(
        types.CPointer(types.uint8 if b.dtype is bool_ else NUMBA_TYPES[b.dtype])
        for b in kernel.buffers
    )
    sizes = (types.int64,) * len(kernel.sizes)
    given = (types.CPointer(types.float64),) if numbers(kernel) else ()
    turns = (types.int64,) * (2 if parallel_loops(kernel) else 0)
    failures = (types.CPointer(types.int64),) if may_fail(kernel) else ()
    return pointers + sizes + given + turns + failures


def compile_kernel(kernel: Kernel, name: str) -> str:
    """The kernel as the text of an LLVM module that defines `i32 @name(ptr, ptr, ...)`: two unused
    pointers of Numba's calling convention, then the kernel's parameters.

    Errors: `CompileError` with the source, should Numba refuse it (a defect of graphc).
    """
    source = print_for_numba(kernel)
    with lock:
        text, mangled = to_llvm(source, "kernel", signature(kernel), _contexts())
    start = text.index(f'define i32 @"{mangled}"(')
    end = text.index("\n", start)
    head = text[start:end].replace(f'@"{mangled}"(', f"@{name}(")
    head = re.sub(r'(\*|\bptr) %"arg\.', r'\1 noalias %"arg.', head)
    text = text[:start] + head + text[end:]
    return text.replace(" = common global ", " = internal global ")  # what Numba itself would fill


def to_llvm(
    source: str, name: str, signature: tuple[Any, ...], contexts: Contexts
) -> tuple[str, str]:
    """The function `name` of kernel source as LLVM IR, and its symbol there. Errors: as
    `compile_kernel`; the caller holds Numba's lock."""
    flags: Any = compiler.Flags()
    flags.error_model = "numpy"
    flags.nrt = False
    try:
        text, symbol = compiler.compile_ir(
            contexts.typing,
            contexts.target,
            numba_reading.read(source, name, contexts.scope),
            signature,
            types.void,
            flags,
            {},
            pipeline_class=_Pipeline,
        )
    except Exception as error:
        raise CompileError(
            f"Numba refused a kernel: {error}", op="numba", given="\n" + source
        ) from error
    return text, symbol
