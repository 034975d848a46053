"""Subnormal numbers taken as zero, while a program runs and where its user asked for it.

Some processors take many times as long over a number below the normal range, and training makes
them: a moment of Adam whose gradient stays zero shrinks by a tenth a step. XLA always flushes them
to zero; NumPy never does. The mode belongs to a thread and is put back before Python runs again.
"""

from __future__ import annotations

import platform

FLUSH = 0x8040  # of the x86 control register: results to zero, and operands as zero


def is_supported() -> bool:
    """Whether this processor's mode is known here; elsewhere subnormals stay."""
    return platform.machine() in ("x86_64", "AMD64")


DEFINITIONS = f"""
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)

define internal i32 @gc.mode(i32 %keep, i32 %set) noinline {{
  %place = alloca i32
  call void @llvm.x86.sse.stmxcsr(ptr %place)
  %before = load i32, ptr %place
  %kept = and i32 %before, %keep
  %mode = or i32 %kept, %set
  store i32 %mode, ptr %place
  call void @llvm.x86.sse.ldmxcsr(ptr %place)
  ret i32 %before
}}

define i32 @entry(ptr noalias %context) {{
  %before = call i32 @gc.mode(i32 -1, i32 {FLUSH})
  %code = call i32 @run(ptr %context)
  call i32 @gc.mode(i32 0, i32 %before)
  ret i32 %code
}}
"""
ENTER = f"call i32 @gc.mode(i32 -1, i32 {FLUSH})"
LEAVE = f"call i32 @gc.mode(i32 {~FLUSH}, i32 0)"


def restore(before: str) -> str:
    """Puts back the mode that `ENTER` or `LEAVE` returned."""
    return f"call i32 @gc.mode(i32 0, i32 {before})"
