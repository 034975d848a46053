"""From LLVM IR to native code: an object for each kernel, and one for the driver.

A kernel is optimised in full, with the vector functions that it calls, by itself: so its object can
be kept and serve other programs. Where it has no loop that could vectorise, it calls these
functions, which are then objects too: the kernels of a formula of 850 scalar operations take 0.4 s
so, and 2.2 s with a copy at each call. The driver is translated as it stands. It runs once a call
and does little beside what it calls; LLVM takes more than linear time for long functions, and
inlining kernels into loops took longer to compile and gave nothing (a step of RK4 by 17 kernels:
216 us inlined, 174 us called). Objects refer to each other's kernels, and otherwise to nothing but
the C library's mathematics and memory functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import llvmlite.binding as llvm
from llvmlite.binding.newpassmanagers import NewPassManager

from graphc.errors import CompileError
from graphc.lower import vector_math
from graphc.lower.processor import cpu, emit_object, target_machine

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
    "tgamma",
    *vector_math.OF_LIBM,
)
ALLOWED = frozenset(
    [
        "memcpy",
        "memmove",
        "memset",
        "bzero",
        "clock_gettime",  # of a driver that is timed
        "write",  # of one that announces its results
        "malloc",  # of one that calls loops of NumPy, which need memory
        "free",
        *(name + suffix for name in _SCALAR for suffix in ("", "f")),
    ]
)
# The symbols that a module, as LLVM prints it, does not define.
_UNDEFINED = re.compile(
    r"^(?:declare [^@\n]*@|@(?=[^\n=]* = (?:\w+ )*external (?:\w+ )*(?:global|constant) ))"
    r'"?([\w.$-]+)',
    re.MULTILINE,
)
_CALLED = re.compile(r"(declare i32 |)@(kernel\d+)\((.*)")  # to the end of the line
_DECLARED = re.compile(r"declare [^@\n]*@\"?gc\.(\w+)\.f(\d+)\"?\(")


class Piece(NamedTuple):
    """A kernel's or the driver's native code, and the module that it was made from, as bitcode.
    `functions`: the symbols of vector functions that it calls, and does not define."""

    data: bytes
    bitcode: bytes
    functions: tuple[str, ...] = ()

    @property
    def llvm_ir(self) -> str:
        """The optimised module, as text."""
        with Modules() as modules:
            return str(modules.read(self.bitcode))

    @property
    def asm(self) -> str:
        """The machine code, as assembly."""
        with Modules() as modules:
            text: str = target_machine().emit_assembly(modules.read(self.bitcode))
            return text


@dataclass(frozen=True)
class LinkedObject:
    """The native code of a program: the pieces of the driver, of kernels, of functions."""

    pieces: tuple[Piece, ...]

    @property
    def objects(self) -> tuple[bytes, ...]:
        """What is loaded."""
        return tuple(piece.data for piece in self.pieces)

    @contextmanager
    def whole(self) -> Iterator[Any]:
        """All of the program as one module, for as long as the `with` statement."""
        with Modules() as modules:
            first, *others = (modules.read(piece.bitcode) for piece in self.pieces)
            for module in others:
                first.link_in(module)
            hide(first, "entry")
            yield first

    @property
    def llvm_ir(self) -> str:
        with self.whole() as module:
            return str(module)

    @property
    def asm(self) -> str:
        with self.whole() as module:
            text: str = target_machine().emit_assembly(module)
            return text

    @property
    def single(self) -> bytes:
        """All of the program as one object, which defines `entry` and nothing else."""
        with self.whole() as module:
            return emit_object(module, target_machine())


class Modules:
    """Modules in a context of their own, since what a context has seen stays as long as it does.
    They are freed before it, at the end of a `with` statement: left to Python's collector, which
    keeps no order, a module may outlive its context, and freeing it then ends the process."""

    def __enter__(self) -> Modules:
        self._context = llvm.create_context()
        self._made: list[Any] = []
        return self

    def parse(self, text: str, machine: Any) -> Any:
        module = self._kept(llvm.parse_assembly(text, self._context))
        module.triple = machine.triple
        module.data_layout = str(machine.target_data)
        return module

    def parse_whole(self, text: str) -> Any:
        """The module of a text that says for which machine it is."""
        return self._kept(llvm.parse_assembly(text, self._context))

    def read(self, bitcode: bytes) -> Any:
        return self._kept(llvm.parse_bitcode(bitcode, self._context))

    def _kept(self, module: Any) -> Any:
        self._made.append(module)
        return module

    def __exit__(self, *error: object) -> None:
        for module in self._made:
            module.close()
        self._context.close()


def compile_piece(text: str, inline: bool = True) -> Piece:
    """A kernel, in LLVM IR, as optimised code that defines what is not internal to it. `inline`:
    with a copy of each vector function at each place that calls it, so that loops vectorise;
    otherwise they are called.

    Errors: `CompileError` if a symbol stays undefined that is not on the allow-list (such an object
    would load, and then crash).
    """
    wanted = sorted({(name, int(bits)) for name, bits in _DECLARED.findall(text)})
    called = () if inline else tuple(vector_math.symbol(name, bits) for name, bits in wanted)
    return _piece([text, *([_defined(wanted)] if inline and wanted else [])], called)


def compile_function(symbol: str) -> Piece:
    """A vector function by itself, for the kernels that call it."""
    _, name, bits = symbol.split(".")
    text = _defined([(name, int(bits.removeprefix("f")))])
    return _piece([re.sub(rf"define linkonce_odr (?=\w+ @{re.escape(symbol)}\()", "define ", text)])


def _defined(wanted: Sequence[tuple[str, int]]) -> str:
    inline = vector_math.available(cpu()[1])
    return (vector_math.definitions if inline else vector_math.libm_definitions)(wanted)


def _piece(texts: Sequence[str], called: tuple[str, ...] = ()) -> Piece:
    """Texts that say themselves what is internal to them. Each call of LLVM may have to wait for
    Python's lock while Numba works (`runtime/worker.py`), so there are few of them here."""
    machine, head = _machine(), _head()
    with Modules() as modules:
        module, *others = (modules.parse_whole(head + text) for text in texts)
        for other in others:
            module.link_in(other)
        module.verify()
        optimize(module, machine)
        _check_symbols(module, set(called))
        return Piece(emit_object(module, machine), module.as_bitcode(), called)


@cache
def _machine() -> Any:
    return target_machine()


@cache
def _head() -> str:
    """What says in a module's text for which machine it is."""
    machine = _machine()
    return f'target triple = "{machine.triple}"\ntarget datalayout = "{machine.target_data}"\n'


def link(
    driver: str, kernels: Mapping[str, tuple[str, Piece]], functions: Sequence[Piece]
) -> LinkedObject:
    """The driver's LLVM IR becomes code, beside its kernels (for each name in the driver, the
    symbol that its piece defines) and what these call. Errors: as `compile_piece`."""
    machine = target_machine(level=0)
    pieces = dict(kernels.values())
    with Modules() as modules:
        module = modules.parse(_by_symbol(driver, kernels), machine)
        hide(module, "entry")
        module.verify()
        _check_symbols(module, pieces.keys())
        first = Piece(machine.emit_object(module), module.as_bitcode())
    return LinkedObject((first, *pieces.values(), *functions))


def _by_symbol(driver: str, kernels: Mapping[str, tuple[str, Piece]]) -> str:
    """The driver with its kernels by their symbols, of which several may have the same."""
    symbols = {name: symbol for name, (symbol, _) in kernels.items()}
    declared: set[str] = set()

    def line(match: re.Match[str]) -> str:
        symbol = symbols[match[2]]
        if match[1] and symbol in declared:
            return ""
        if match[1]:
            declared.add(symbol)
        return f"{match[1]}@{symbol}({match[3]}"

    return _CALLED.sub(line, driver)


def hide(module: Any, *kept: str) -> None:
    """Make all that a module defines internal, but for the symbols `kept`."""
    for value in (*module.functions, *module.global_variables):
        if not value.is_declaration:
            value.linkage = "external" if value.name in kept else "internal"


def optimize(module: Any, machine: Any) -> None:
    """At the second level: the third takes a quarter longer and gives the same code for three
    kernels of four; the others it unrolls further, which no benchmark shows."""
    options = llvm.create_pipeline_tuning_options(speed_level=2)
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


def _check_symbols(module: Any, known: AbstractSet[str]) -> None:
    undefined = {name for name in _UNDEFINED.findall(str(module)) if name[:5] != "llvm."}
    undefined -= ALLOWED | known
    if undefined:
        raise CompileError(
            "the object would refer to symbols that nothing defines",
            op="link",
            expected="functions of the C library",
            given=", ".join(sorted(undefined)),
        )
