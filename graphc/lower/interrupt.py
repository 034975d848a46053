"""Where native code looks for signals that have arrived, such as Ctrl-C.

Python handles signals between its own instructions, and there are none inside a call. So a long
call looks itself: between steps, and between turns of loops, about once for each `QUANTUM` of work,
as long as no variable is written. It calls functions of Python's, by their addresses. If a handler
raises, the exception is put into the context, and the call ends with `INTERRUPTED`.

Looking takes the interpreter's lock: 0.1 us if it is free, some ms if another thread keeps it.
Short calls never look, nor do the threads that share the work of a step.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.ir.dim import Size, floordiv, maximum, product, total
from graphc.ir.node import Node
from graphc.lower.head import Head
from graphc.planning.program import (
    Blocks,
    Branch,
    Call,
    Copy,
    Examples,
    Gemm,
    Host,
    Leave,
    Loop,
    Native,
    Passes,
    Step,
    touched,
    walk_steps,
)
from graphc.planning.work import operations

QUANTUM = 1 << 28  # scalar operations between two looks: 20 to 300 ms
STEP = 16  # what a step takes beside its operations
ROUTINE = 1 << 10  # what a call of a library takes beside them, however small its matrix is
MULTIPLY_ADDS = 4  # of a product, in the time of one scalar operation
PLACES = 64  # between the steps of a program, at most: each is some lines of its driver

# The table at `Head.SIGNALS` has the addresses of PyGILState_Ensure, PyErr_CheckSignals,
# PyErr_Fetch and PyGILState_Release; the words from `Head.RAISED` on take what PyErr_Fetch gives.
DEFINITIONS = f"""
define internal i32 @gc.look(ptr %context) noinline cold {{
  %signals = getelementptr i64, ptr %context, i64 {int(Head.SIGNALS)}
  %table = load ptr, ptr %signals
  %place1 = getelementptr ptr, ptr %table, i64 1
  %place2 = getelementptr ptr, ptr %table, i64 2
  %place3 = getelementptr ptr, ptr %table, i64 3
  %ensure = load ptr, ptr %table
  %check = load ptr, ptr %place1
  %fetch = load ptr, ptr %place2
  %release = load ptr, ptr %place3
  %state = call i32 %ensure()
  %raised = call i32 %check()
  %is.raised = icmp ne i32 %raised, 0
  br i1 %is.raised, label %keep, label %end
keep:
  %type = getelementptr i64, ptr %context, i64 {int(Head.RAISED)}
  %value = getelementptr i64, ptr %type, i64 1
  %trace = getelementptr i64, ptr %type, i64 2
  call void %fetch(ptr %type, ptr %value, ptr %trace)
  br label %end
end:
  call void %release(i32 %state)
  ret i32 %raised
}}
"""


def work(steps: Sequence[Step]) -> Size:
    """About how many scalar operations steps take; of a branch, all sides; of a loop that only its
    data end, one turn: it looks for signals itself."""
    return total(map(_work, steps))


def _work(step: Step) -> Size:
    match step:
        case Call(node=node):
            return STEP + operations(_inside(node))
        case Gemm(m=m, n=n, k=k, batch=batch, taps=taps):
            return STEP + floordiv(m * n * k * product((*batch, *taps)), MULTIPLY_ADDS)
        case Blocks(product=gemm, call=call):
            return _work(gemm) + _work(call)
        case Copy(size=size):
            return STEP + size
        case Loop(extent=extent, body=body):
            return STEP + (1 if extent is None else extent) * work(body)
        case Examples(extent=extent, body=body):
            products = [s for s in walk_steps(body) if isinstance(s, Gemm)]
            calls = [s for s in walk_steps(body) if isinstance(s, Call)]
            return STEP + extent * work(products) + work(calls)  # a call's node is of all examples
        case Branch(sides=sides):
            return STEP + total(map(work, sides))
        case Host(native=Native(routine=routine, batch=batch)):
            return STEP + (ROUTINE + floordiv(routine.work, MULTIPLY_ADDS)) * product(batch)
        case Host(native=Passes() as passes):
            return STEP + ROUTINE * len(passes.loops) + passes.time
        case Host() | Leave():
            return STEP


def _inside(region: Node) -> Sequence[Node]:
    nodes: Sequence[Node] = region.attrs["body"].nodes
    return nodes


def turns(loop: Loop | Examples) -> Size:
    """After how many turns of a loop the next look is due."""
    each = work(loop.body)
    if isinstance(loop, Examples):
        each = floordiv(work([loop]), maximum(loop.extent, 1))
    return maximum(floordiv(QUANTUM, maximum(each, 1)), 1)


def places(steps: Sequence[Step]) -> dict[int, Size]:
    """Before which steps of a program it may be time to look: where a size is above 0, because
    another `QUANTUM` of work is done since the place before."""
    apart = -(-len(steps) // PLACES)
    found: dict[int, Size] = {}
    done: Size = 0
    looked: Size = 0
    for i, step in enumerate(steps):
        if i and i % apart == 0:
            quanta = floordiv(done, QUANTUM)
            due, looked = quanta - looked, quanta
            if due != 0:
                found[i] = due
        done = done + _work(step)
    return found


def writes_variable(step: Step) -> bool:
    """Whether a variable is another one behind the step."""
    written = (ref for part in walk_steps([step]) for ref in touched(part)[1])
    return any(ref.storage.kind == "variable" for ref in written)
