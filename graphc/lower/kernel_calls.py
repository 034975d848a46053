"""Calls of kernels, by one thread or shared by several; and what else threads share.

Threads run the turns of a kernel's parallel loops, or a range of another function, in chunks. What
a chunk needs is a few words of memory, which a worker function reads; a kernel's calls all go
through one function that prepares it, so that each is a line of the driver and not a page.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.ir.dim import Size
from graphc.lower import subnormals
from graphc.lower.context import Layout
from graphc.lower.function_text import FunctionText, Word
from graphc.lower.head import Head
from graphc.planning.program import Call

PARALLEL_WORK = 1 << 19  # scalar operations from which threads share a range: some 20 us
CHUNKS = 2  # for each thread, so that one that is held up delays little
MOST_CHUNKS = 256  # their numbers are a table in the object


def arguments(text: FunctionText, step: Call) -> list[Word]:
    """What a kernel is given besides the range of its parallel loops."""
    buffers = [("ptr", text.pointer(ref)) for ref in step.buffers]
    return [*buffers, *(("i64", text.size(size)) for size in step.sizes)]


def run_kernel(
    text: FunctionText,
    step: Call,
    words: Sequence[Word],
    span: tuple[str, str] | None,
    failures: str = "failures",
) -> None:
    """`failures`: the memory that the kernel notes in what failed, if it can fail."""
    unused = ("ptr", text.stack("returned", "i64", 4))  # by Numba's calling convention, twice
    given = [unused, unused, *words]
    if span is not None:
        given += [("i64", span[0]), ("i64", span[1])]
    if step.sites:
        given.append(("ptr", text.stack(failures, "i64")))
    text.run(step.name, given)


def threads(text: FunctionText) -> str:
    """How many there are."""
    return text.word("i64", Head.THREADS)


def is_worth_threads(text: FunctionText, work: Size) -> str:
    """Whether there are several threads, and enough to do for them."""
    return is_much(text, text.size(work))


def is_much(text: FunctionText, work: str) -> str:
    """The same, of what a value says there is to do."""
    several = text.emit(f"icmp sgt i64 {threads(text)}, 1", early=True)
    enough = text.emit(f"icmp sgt i64 {work}, {PARALLEL_WORK}")
    return text.emit(f"and i1 {several}, {enough}")


class Sharing:
    """What threads share in one driver, whose functions it adds to."""

    def __init__(self, layout: Layout, functions: dict[str, list[str]], flush: bool) -> None:
        self.layout, self.functions, self.flush = layout, functions, flush

    def run_loops(self, text: FunctionText, step: Call, words: Sequence[Word]) -> None:
        """Threads share the kernel's loops."""
        given = [("ptr", "%context"), *words, *(("i64", text.size(e)) for e in step.extents)]
        if step.sites:
            failures = text.stack("failures", "i64")
            text.store("i64", "0", failures)
            given.append(("ptr", failures))
        name = f"split.{step.name}"
        if name not in self.functions:
            self.functions[name] = self._loops(name, step, [kind for kind, _ in words])
        text.run(name, given)

    def _loops(self, name: str, step: Call, kinds: Sequence[str]) -> list[str]:
        """The function that shares each of the kernel's loops, one loop after the other; one turn
        is no more than a call. All of them note in one word what failed."""
        words = [(kind, f"%a{i}") for i, kind in enumerate(kinds)]
        given = [*words, *(("i64", f"%extent{i}") for i in range(len(step.extents)))]
        given += [("ptr", "%noted")] if step.sites else []
        parameters = "".join(f", {kind} {value}" for kind, value in given)
        text = FunctionText(self.layout, parameters=parameters)
        begin = "0"
        for i, extent in enumerate(step.extents):
            end = f"%extent{i}" if i == 0 else text.emit(f"add i64 {begin}, %extent{i}")
            if extent == 1:
                run_kernel(text, step, words, (begin, end))
                if step.sites:
                    word = text.emit(f"load i64, ptr {text.stack('failures', 'i64')}")
                    text.line(f"atomicrmw or ptr %noted, i64 {word} monotonic")
            else:
                noted = [("ptr", "%noted")] if step.sites else []
                self.run(text, step.name, [*words, *noted], end, begin=begin, kernel=step)
            begin = end
        return text.lines(name, "internal ")

    def run(
        self,
        text: FunctionText,
        name: str,
        words: Sequence[Word],
        end: str,
        unit: int = 1,
        *,
        begin: str = "0",
        kernel: Call | None = None,
    ) -> None:
        """Threads run a range function, or a kernel, from `begin` to `end`, in chunks that are
        multiples of `unit`, and differ by one unit at most, the longer ones first: so few turns are
        shared as evenly as they can be."""
        kinds = [kind for kind, _ in words]
        later = begin != "0"
        worker = f"share.{name}.on" if later else f"share.{name}"
        self.functions[worker] = _worker(worker, name, kinds, kernel, self.flush, later, unit)
        extent = text.emit(f"sub i64 {end}, {begin}") if later else end
        wanted = text.emit(f"mul i64 {threads(text)}, {CHUNKS}")
        chunks = text.emit(f"call i64 @llvm.smin.i64(i64 {wanted}, i64 {MOST_CHUNKS})")
        units = extent
        if unit != 1:
            units = text.emit(f"sdiv i64 {text.emit(f'add i64 {extent}, {unit - 1}')}, {unit}")
        each = text.emit(f"sdiv i64 {units}, {chunks}")
        longer = text.emit(f"srem i64 {units}, {chunks}")
        if unit != 1:
            each = text.emit(f"mul i64 {each}, {unit}")
        data = text.stack("shared.data", "i64", 4 + len(words))
        span = [("i64", each), ("i64", longer), ("i64", end)]
        span += [("i64", begin)] if later else []
        for i, (kind, value) in enumerate([*span, *words]):
            text.store(kind, value, data, i)
        places = {name: text.stack(f"shared.{name}", "i64") for name in ("chunks", "steps", "args")}
        text.store("i64", chunks, places["chunks"])
        text.store("i64", "8", places["steps"])
        text.store("ptr", "@chunk.numbers", places["args"])
        count = text.emit(f"trunc i64 {threads(text)} to i32")
        text.line(
            f"call void {text.word('ptr', Head.PARALLEL_FOR)}(ptr @{worker}, "
            f"ptr {places['args']}, ptr {places['chunks']}, ptr {places['steps']}, ptr {data}, "
            f"i64 0, i64 1, i32 {count})"
        )


def _worker(
    worker: str,
    name: str,
    kinds: Sequence[str],
    kernel: Call | None,
    flush: bool,
    later: bool,
    unit: int,
) -> list[str]:
    """Runs a chunk of the range of a function or kernel: each is of so many turns, the first ones,
    as many as are longer, of `unit` more. `later`: counted from the fourth word of the data. The
    last word of a kernel that may fail is where what failed is noted, by all chunks."""
    lines = [
        f"define internal void @{worker}(ptr %args, ptr %dims, ptr %steps, ptr %data) #0 {{",
        "  %place = load ptr, ptr %args",
        "  %chunk = load i64, ptr %place",
        "  %each = load i64, ptr %data",
        "  %p1 = getelementptr i64, ptr %data, i64 1",
        "  %longer = load i64, ptr %p1",
        "  %p2 = getelementptr i64, ptr %data, i64 2",
        "  %end = load i64, ptr %p2",
        "  %before = call i64 @llvm.smin.i64(i64 %chunk, i64 %longer)",
        f"  %ahead = mul i64 %before, {unit}",
        "  %all = mul i64 %chunk, %each",
        "  %distance = add i64 %all, %ahead",
        "  %is.longer = icmp slt i64 %chunk, %longer",
        f"  %more = select i1 %is.longer, i64 {unit}, i64 0",
        "  %own = add i64 %each, %more",
    ]
    first = "%distance"
    if later:
        first = "%first"
        lines += [
            "  %p3 = getelementptr i64, ptr %data, i64 3",
            "  %begin = load i64, ptr %p3",
            "  %first = add i64 %begin, %distance",
        ]
    lines += [
        f"  %start = call i64 @llvm.smin.i64(i64 {first}, i64 %end)",
        "  %next = add i64 %start, %own",
        "  %stop = call i64 @llvm.smin.i64(i64 %next, i64 %end)",
    ]
    args = []
    if kernel is not None:
        lines.append("  %returned = alloca [4 x i64]")
        args = ["ptr %returned", "ptr %returned"]
    for i, kind in enumerate(kinds, 4 if later else 3):
        lines.append(f"  %p{i} = getelementptr i64, ptr %data, i64 {i}")
        lines.append(f"  %v{i} = load {kind}, ptr %p{i}")
        args.append(f"{kind} %v{i}")
    after: list[str] = []
    noted = args.pop().removeprefix("ptr ") if kernel is not None and kernel.sites else ""
    args += ["i64 %start", "i64 %stop"]
    if noted:
        lines.append("  %failed = alloca i64")
        args.append("ptr %failed")
        note = f"  atomicrmw or ptr {noted}, i64 %word monotonic"
        after = ["  %word = load i64, ptr %failed", note]
    run = [f"  call i32 @{name}({', '.join(args)})", *after]
    if flush:
        run = [f"  %mode = {subnormals.ENTER}", *run, f"  {subnormals.restore('%mode')}"]
    return [*lines, *run, "  ret void", "}"]
