"""The launches of a kernel as machine code of this processor, one thread a block.

What Numba and LLVM make of their text is run at full speed, with every block and so with the parts
of sums of all sizes; only what threads of a block do together is left out.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

import llvmlite.binding as llvm

from graphc.checking.simulator import Array, Memory, run_launches
from graphc.loops.grammar import Buffer, Kernel
from graphc.lower import link, nvptx
from graphc.lower.gpu_source import print_launches
from graphc.lower.launches import Launch, Launches
from graphc.lower.processor import emit_object, target_machine

_RUN = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.POINTER(ctypes.c_int64))


class HostLaunches:
    """Runs the launches of one kernel: as `Simulator`."""

    threads = 1
    races = False

    def __init__(self, launches: Launches) -> None:
        kinds = nvptx.kinds(launches)
        texts = []
        for launch in launches.launches:
            text, symbol = nvptx.to_llvm(launches, launch)
            texts += [text, _loop_over_blocks(launch.name, symbol, kinds)]
        machine = target_machine()
        names = [launch.name for launch in launches.launches]
        with link.Modules() as modules:
            module = nvptx.joined(modules, texts, False, names, machine)
            data = emit_object(module, machine)
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        self._engine.add_object_file(llvm.object_file.ObjectFileRef.from_data(data))
        self._engine.finalize_object()

    def address(self, name: str) -> int:
        """Of the function `void name(i64 blocks, ptr words)` of a launch."""
        return int(self._engine.get_function_address(name))

    def run(self, launch: Launch, blocks: int, arguments: Sequence[Any]) -> None:
        words = (ctypes.c_int64 * (len(arguments) + len(nvptx.GUARDS)))()
        for i, given in enumerate(arguments):
            words[i] = given.array.ctypes.data if isinstance(given, Memory) else int(given)
        _RUN(self.address(launch.name))(blocks, words)


def _loop_over_blocks(name: str, symbol: str, kinds: Sequence[str]) -> str:
    """`void name(i64 blocks, ptr words)`: a launch, block by block; as an entry, with `GUARDS` as
    the last words."""
    declared, called = nvptx.call(symbol, kinds)
    given = [(f"a{i}", kind) for i, kind in enumerate(kinds)]
    given += zip(nvptx.GUARDS, ("ptr", "i64"), strict=True)
    loads = [
        line
        for i, (name, kind) in enumerate(given)
        for line in (
            f"  %p{i} = getelementptr i64, ptr %words, i64 {i}",
            f"  %{name} = load {kind}, ptr %p{i}",
        )
    ]
    run = [
        "  %unused = alloca [4 x i64]",
        "  store i64 %blocks, ptr @gpu.blocks",
        "  br label %head",
        "head:",
        "  %b = phi i64 [ 0, %run ], [ %next, %body ]",
        "  %more = icmp slt i64 %b, %blocks",
        "  br i1 %more, label %body, label %end",
        "body:",
        "  store i64 %b, ptr @gpu.block",
        called,
        "  %next = add i64 %b, 1",
        "  br label %head",
        "end:",
        "  ret void",
    ]
    entry, *blocks = nvptx.guarded(run)
    text = [
        "@gpu.block = external global i64",
        "@gpu.blocks = external global i64",
        declared,
        f"define void @{name}(i64 %blocks, ptr %words) {{",
        entry,
        *loads,
        *blocks,
    ]
    return "\n".join([*text, ""])


def run_on_host(kernel: Kernel, memory: Mapping[Buffer, Array], dims: Mapping[str, int]) -> int:
    """The kernel as its launches, on this processor: as `interpret_kernel`. Those for arrays that
    begin anywhere, as the simulator runs the others."""
    launches = print_launches(kernel)
    return run_launches(launches, HostLaunches(launches), memory, dims, aligned=False)
