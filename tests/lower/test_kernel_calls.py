"""How a range is cut into chunks that threads take: every turn once, no chunk much longer."""

from __future__ import annotations

import ctypes

import llvmlite.binding as llvm
import numpy as np
import pytest

import graphc as gc
from graphc.lower.context import Head, Layout
from graphc.lower.function_text import FunctionText
from graphc.lower.kernel_calls import MOST_CHUNKS, Sharing
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages

WORDS = 64
SUPPORT = f"""
declare i64 @llvm.smin.i64(i64, i64)
@chunk.numbers = internal constant [{MOST_CHUNKS} x i64] \
[{", ".join(f"i64 {i}" for i in range(MOST_CHUNKS))}]

; notes the range behind those noted before: out[0] is how many there are
define i32 @turns(ptr %out, i64 %first, i64 %last) {{
  %count = load i64, ptr %out
  %next = add i64 %count, 1
  store i64 %next, ptr %out
  %at = mul i64 %count, 2
  %low = add i64 %at, 1
  %high = add i64 %at, 2
  %p = getelementptr i64, ptr %out, i64 %low
  store i64 %first, ptr %p
  %q = getelementptr i64, ptr %out, i64 %high
  store i64 %last, ptr %q
  ret i32 0
}}

; a parallel loop that runs its chunks one after the other
define void @for(ptr %worker, ptr %args, ptr %dims, ptr %steps, ptr %data, i64 %a, i64 %b,
                 i32 %t) {{
entry:
  %numbers = load ptr, ptr %args
  %chunks = load i64, ptr %dims
  %args.own = alloca ptr
  br label %check
check:
  %c = phi i64 [ 0, %entry ], [ %c.next, %body ]
  %more = icmp slt i64 %c, %chunks
  br i1 %more, label %body, label %end
body:
  %place = getelementptr i64, ptr @chunk.numbers, i64 %c
  store ptr %place, ptr %args.own
  call void %worker(ptr %args.own, ptr %dims, ptr %steps, ptr %data)
  %c.next = add i64 %c, 1
  br label %check
end:
  ret void
}}
"""


def chunks(extent: int, threads: int, unit: int, begin: int) -> list[tuple[int, int]]:
    """The ranges that threads are given."""
    x = gc.placeholder("x_chunks", (2,))
    layout = Layout(run_pipeline(gc.Graph([x], [x + 1]), Stages()).program)
    sharing = Sharing(layout, {}, flush=False)
    text = FunctionText(layout, parameters=", ptr %out, i64 %end")
    start = text.emit("load i64, ptr %out") if begin else "0"  # no constant
    sharing.run(text, "turns", [("ptr", "%out")], "%end", unit, begin=start)
    lines = [*(n for f in sharing.functions.values() for n in f), *text.lines("entry")]
    source = SUPPORT + "\n".join([*lines, "attributes #0 = { nounwind }"])
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(source), machine)
    engine.finalize_object()
    context, out = np.zeros(WORDS, np.int64), np.zeros(4 * MOST_CHUNKS, np.int64)
    context[Head.THREADS] = threads
    context[Head.PARALLEL_FOR] = engine.get_function_address("for")
    run = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    out[0] = begin
    entry = run(engine.get_function_address("entry"))
    entry(context.ctypes.data, out.ctypes.data, begin + extent)
    count = int(out[0]) - begin
    pairs = out[1 + 2 * begin :][: 2 * count].reshape(-1, 2)
    return [(int(a), int(b)) for a, b in pairs if a < b]


@pytest.mark.parametrize("unit", [1, 8])
@pytest.mark.parametrize("begin", [0, 3])
def test_turns_are_dealt_evenly(unit: int, begin: int) -> None:
    for extent, threads in [(0, 2), (1, 2), (5, 2), (6, 2), (9, 2), (72, 2), (41, 3), (19, 300)]:
        found = chunks(extent * unit - (extent > 1) * (unit // 2), threads, unit, begin)
        turns = [t for a, b in found for t in range(a, b)]
        whole = extent * unit - (extent > 1) * (unit // 2)
        assert turns == list(range(begin, begin + whole))
        sizes = [-(-(b - a) // unit) for a, b in found]
        assert not sizes or max(sizes) - min(sizes) <= 1
        assert sizes == sorted(sizes, reverse=True), "longer ones first"
        assert all((b - a) % unit == 0 for a, b in found[:-1]), "cut between units"
