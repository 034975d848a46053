"""The launches of a kernel as PTX, by LLVM's backend for NVIDIA's cards, which llvmlite contains.

Numba types the source, as for the processor, and its IR is optimised with what it calls. No package
of CUDA takes part. What the backend cannot translate would end the process, so instructions and
intrinsics are looked at before; powers and remainders of floats, for which there is neither, are
functions of our own.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import llvmlite.binding as llvm
from numba import types

from graphc.errors import CompileError
from graphc.ir.dtype import DType, bool_
from graphc.ir.parsing import parse
from graphc.loops.grammar import Store, statements
from graphc.lower import gpu_functions, link, numba_cpu, vector_math
from graphc.lower.launches import THREADS, Launch, Launches
from graphc.machines import PTX_VERSIONS

TRIPLE = "nvptx64-nvidia-cuda"
# What the backend translates: intrinsics by their first words.
INTRINSICS = re.compile(
    r"llvm\.(abs|assume|bswap|ceil|copysign|ctlz|ctpop|cttz|experimental|fabs|floor|fma|fptosi|fptoui"
    r"|fshl|fshr|lifetime|maximum|maxnum|memcpy|memmove|memset|minimum|minnum|nvvm|rint|roundeven"
    r"|sadd|smax|smin|smul|sqrt|ssub|trunc|uadd|umax|umin|umul|usub)(\.|$)"
)
_CALLED = re.compile(r"declare [^@\n]*@\"?(gpu|gc)\.([\w.]+)\"?\(")
_ENTRY = re.compile(r"define ptx_kernel void @(\w+)\(")
_REMAINDER = re.compile(r"= frem (float|double) (\S+), (\S+)")


@cache
def contexts() -> numba_cpu.Contexts:
    """Numba's contexts for launches."""
    return numba_cpu.Contexts([*numba_cpu.scalar_functions(), *gpu_functions.launch_functions()])


@cache
def machine(architecture: str) -> Any:
    """LLVM's machine for an architecture such as sm_90."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    features = f"+ptx{PTX_VERSIONS[architecture]}"
    target = llvm.Target.from_triple(TRIPLE)
    return target.create_target_machine(cpu=architecture, features=features, opt=3)


class _Unrolled(ast.NodeTransformer):
    """`for u in range(4)` as four copies: loads of neighbours become one where no loop is left."""

    def visit_For(self, node: ast.For) -> Any:
        self.generic_visit(node)
        match node:
            case ast.For(ast.Name("u"), ast.Call(_, [ast.Constant(int(count))])):
                text = "\n".join(map(ast.unparse, node.body)) + "\n"
                copies = (re.sub(r"\bu\b", str(u), text) for u in range(count))
                return parse("".join(copies)).body
        return node


def to_llvm(launches: Launches, launch: Launch) -> tuple[str, str]:
    """One launch as LLVM IR, and the symbol of its function there: `i32 f(ptr, ptr, ...)`, two
    unused pointers and then the parameters."""
    source = launch.source
    for name, call in gpu_functions.CALLS.items():
        source = source.replace(name, call)
    source = ast.unparse(_Unrolled().visit(parse(source)))
    with numba_cpu.lock:
        text, symbol = numba_cpu.to_llvm(source, launch.name, signature(launches), contexts())
    text = re.sub(r"@\"?llvm\.pow\.f(\d+)\"?\(", r"@gc.power.f\1(", text)
    text, count = _REMAINDER.subn(_remainder_call, text)
    for kind, bits in (("float", 32), ("double", 64)) if count else ():
        text += f"\ndeclare {kind} @gc.fmod.f{bits}({kind}, {kind})\n"
    return text, symbol


def _remainder_call(found: re.Match[str]) -> str:
    kind, x, y = found.groups()
    return f"= call {kind} @gc.fmod.f{32 if kind == 'float' else 64}({kind} {x}, {kind} {y})"


def signature(launches: Launches) -> tuple[Any, ...]:
    """Numba's types of the parameters of launches."""
    assert launches.kernel is not None
    memory: dict[str, DType] = {f"b{i}": b.dtype for i, b in enumerate(launches.kernel.buffers)}
    memory |= {room.name: room.dtype for room in launches.rooms}

    def kind(name: str) -> Any:
        if name == "failures":
            return types.CPointer(types.int64)
        if name not in memory:
            return types.int64
        dtype = memory[name]
        return types.CPointer(types.uint8 if dtype is bool_ else numba_cpu.NUMBA_TYPES[dtype])

    return tuple(kind(name) for name in launches.parameters)


def kinds(launches: Launches) -> list[str]:
    """The parameters' types in LLVM."""
    found = signature(launches)
    return ["ptr" if isinstance(kind, types.CPointer) else "i64" for kind in found]


def call(symbol: str, kinds: Sequence[str]) -> tuple[str, str]:
    """A declaration of a launch's function, and a call of it with arguments %a0, %a1 and so on."""
    passed = ", ".join(f"{kind} %a{i}" for i, kind in enumerate(kinds))
    declared = f"declare i32 @{symbol}({', '.join(['ptr', 'ptr', *kinds])})"
    return declared, f"  %r = call i32 @{symbol}(ptr %unused, ptr %unused, {passed})"


def joined(
    modules: link.Modules, texts: Sequence[str], card: bool, kept: Iterable[str], machine: Any
) -> Any:
    """Texts as one optimised module, with what they call, in which `kept` symbols can be seen; for
    a `card`, or for this processor."""
    called = {found for text in texts for found in _CALLED.findall(text)}
    wanted = sorted(name for room, name in called if room == "gpu")
    functions = [name.rsplit(".f", 1) for room, name in called if room == "gc"]
    defined = gpu_functions.device if card else gpu_functions.host
    more = [defined([n for n in wanted if n not in gpu_functions.ALWAYS])]
    if functions:
        scalar = [(name, int(bits)) for name, bits in functions]
        more.append(vector_math.definitions_anywhere(scalar, card))
    module, *others = (modules.parse(text, machine) for text in (*texts, *more))
    for other in others:
        module.link_in(other)
    for function in module.functions:
        if not function.is_declaration and function.name not in kept:
            function.add_function_attribute("alwaysinline")
    link.hide(module, *kept)
    module.verify()
    link.optimize(module, machine)
    return module


MODULE = "; ---- another module\n"


GUARDS = ("stopped", "guards")  # what an entry takes after the parameters of its launch


def guarded(run: Sequence[str]) -> list[str]:
    """The blocks of an entry that does nothing where one of `guards` words at `stopped` is set:
    something failed before."""
    return [
        "entry:",
        "  br label %look",
        "look:",
        "  %g = phi i64 [ 0, %entry ], [ %next.g, %next.look ]",
        "  %more.g = icmp slt i64 %g, %guards",
        "  br i1 %more.g, label %word, label %run",
        "word:",
        "  %at.g = getelementptr i64, ptr %stopped, i64 %g",
        "  %set.g = load i64, ptr %at.g",
        "  %is.set = icmp ne i64 %set.g, 0",
        "  br i1 %is.set, label %stop, label %next.look",
        "next.look:",
        "  %next.g = add i64 %g, 1",
        "  br label %look",
        "stop:",
        "  ret void",
        "run:",
        *run,
        "}",
    ]


def unoptimized(launches: Launches) -> list[str]:
    """The launches of a kernel as the texts of LLVM modules: of each its function, and the entry
    that a card calls, which also takes `GUARDS`."""
    assert launches.kernel is not None
    stores = {s.buffer for s in statements(launches.kernel.body) if isinstance(s, Store)}
    read = {f"b{i}" for i, b in enumerate(launches.kernel.buffers) if b not in stores}
    passed = kinds(launches)
    vectors = any(launch.kind == "plain" for launch in launches.launches)
    texts = []
    for launch in launches.launches:
        align = "align 16 " if vectors and launch is launches.main else ""
        given = ", ".join(
            f"ptr {'' if name == 'failures' else 'noalias '}{align}"
            f"{'readonly ' if name in read else ''}%a{i}"
            if kind == "ptr"
            else f"i64 %a{i}"
            for i, (name, kind) in enumerate(zip(launches.parameters, passed, strict=True))
        )
        given += ", ptr readonly %stopped, i64 %guards"
        text, symbol = to_llvm(launches, launch)
        declared, called = call(symbol, passed)
        head = f'define ptx_kernel void @{launch.name}({given}) "nvvm.maxntid"="{THREADS}" {{'
        body = guarded(["  %unused = alloca [4 x i64]", called, "  ret void"])
        texts += [text, "\n".join([declared, head, *body, ""])]
    return texts


def join(texts: Sequence[str]) -> str:
    """Modules as one text, for people and for `split`."""
    return MODULE.join(texts)


def split(text: str) -> list[str]:
    return text.split(MODULE)


def compile_texts(texts: Sequence[str], architecture: str) -> tuple[str, str]:
    """Modules as PTX, and the LLVM IR that it was made from, optimised.

    Errors: `CompileError` for what LLVM's backend does not translate.
    """
    target = machine(architecture)
    names = [name for text in texts for name in _ENTRY.findall(text)]
    with link.Modules() as modules:
        module = joined(modules, texts, True, names, target)
        _check(module)
        ptx: str = target.emit_assembly(module)
        return ptx, str(module)


def _check(module: Any) -> None:
    unknown = {
        f.name for f in module.functions if f.is_declaration and not INTRINSICS.match(f.name)
    }
    if " frem " in str(module):
        unknown.add("frem")
    if unknown:
        raise CompileError(
            "LLVM does not translate these for a card",
            op="nvptx",
            expected="intrinsics that are instructions, or functions of our own",
            given=", ".join(sorted(unknown)),
        )
