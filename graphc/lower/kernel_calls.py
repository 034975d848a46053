"""Calls of kernels, by one thread or shared by several; and what else threads share.

Threads run the turns of a kernel's parallel loops, or a range of another function, in chunks. What
a chunk needs is a few words of memory, which the function reads that runs it: so one function of
the thread pool shares whatever range it is given, and the driver has no more of it than that call.
A kernel's calls all go through one function that prepares its words.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.ir.dim import Size
from graphc.lower.context import Layout
from graphc.lower.function_text import FunctionText, Word, unpacked
from graphc.lower.head import Head
from graphc.planning.program import Call

PARALLEL_WORK = 1 << 19  # scalar operations from which threads share a range: some 20 us


def arguments(text: FunctionText, step: Call) -> list[Word]:
    """What a kernel is given besides the range of its parallel loops: behind its buffers and sizes
    the address of its numbers, if it has some."""
    buffers = [("ptr", text.pointer(ref)) for ref in step.buffers]
    words: list[Word] = [*buffers, *(("i64", text.size(size)) for size in step.sizes)]
    first = text.layout.numbers.of(step.name)
    if first is not None:
        table = text.word("ptr", Head.NUMBERS)
        own = text.emit(f"getelementptr double, ptr {table}, i64 {first}", early=True)
        words.append(("ptr", own))
    return words


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
    if text.alone or (isinstance(work, int) and work <= PARALLEL_WORK):
        return "false"
    return is_much(text, text.size(work))


def is_much(text: FunctionText, work: str) -> str:
    """The same, of what a value says there is to do."""
    several = text.emit(f"icmp sgt i64 {threads(text)}, 1", early=True)
    least = text.emit(f"select i1 {several}, i64 {PARALLEL_WORK}, i64 {(1 << 63) - 1}", early=True)
    return text.emit(f"icmp sgt i64 {work}, {least}")


class Sharing:
    """What threads share in one driver, whose functions it adds to."""

    def __init__(self, layout: Layout, functions: dict[str, list[str]]) -> None:
        self.layout, self.functions = layout, functions

    def run_loops(self, text: FunctionText, step: Call, words: Sequence[Word]) -> None:
        """Threads share the kernel's loops."""
        given = [("ptr", "%context"), *words, *(("i64", text.size(e)) for e in step.extents)]
        if step.sites:
            failures = text.stack("failures", "i64")
            text.store("i64", "0", failures)
            given.append(("ptr", failures))
        name = f"split.{step.name}"
        if name not in self.functions:
            kinds = [kind for kind, _ in words]
            self.functions[f"span.{step.name}"] = _turns(step, kinds)
            self.functions[name] = self._loops(name, step, kinds)
        text.run(name, given)

    def _loops(self, name: str, step: Call, kinds: Sequence[str]) -> list[str]:
        """The function that shares each of the kernel's loops, one loop after the other; one turn
        is no more than a call. All of them note in one word what failed."""
        words = [(kind, f"%a{i}") for i, kind in enumerate(kinds)]
        noted = [("ptr", "%noted")] if step.sites else []
        extents = [("i64", f"%extent{i}") for i in range(len(step.extents))]
        text = FunctionText(self.layout, parameters=[*words, *extents, *noted])
        given = self.words(text, [*words, *noted])
        begin = "0"
        for i, extent in enumerate(step.extents):
            end = text.emit(f"add i64 {begin}, %extent{i}")
            if extent == 1:
                span = [("i64", begin), ("i64", end)]
                text.run(f"span.{step.name}", [("ptr", given), *span])
            else:
                self.run(text, f"span.{step.name}", given, end, begin=begin)
            begin = end
        return text.lines(name, "internal ")

    def words(self, text: FunctionText, words: Sequence[Word]) -> str:
        """The address of words of memory with these values."""
        place = text.stack("words", "i64", len(words))
        for i, (kind, value) in enumerate(words):
            text.store(kind, value, place, i)
        return place

    def run(
        self,
        text: FunctionText,
        name: str,
        words: str,
        end: str,
        unit: int | str = 1,
        *,
        begin: str = "0",
    ) -> None:
        """Threads run a span function from `begin` to `end`, in chunks that are multiples of
        `unit`, about equal."""
        text.line(
            f"call void {text.word('ptr', Head.SHARE)}(ptr @{name}, ptr {words}, i64 {begin}, "
            f"i64 {end}, i64 {unit}, i64 {threads(text)})"
        )


def _turns(step: Call, kinds: Sequence[str]) -> list[str]:
    """The function that runs some turns of a kernel, whose arguments are words. The last word of
    one that may fail is where what failed is noted, by all chunks."""
    words = [(kind, f"%a{i}") for i, kind in enumerate(kinds)]
    passed = ", ".join(f"{kind} {value}" for kind, value in words)
    run = f"call i32 @{step.name}(ptr %unused, ptr %unused, {passed}, i64 %first, i64 %last"
    lines = [f"  {run})"]
    if step.sites:
        words.append(("ptr", "%noted"))
        lines = [
            "  %failed = alloca i64",
            f"  {run}, ptr %failed)",
            "  %word = load i64, ptr %failed",
            "  atomicrmw or ptr %noted, i64 %word monotonic",
        ]
    return [
        f"define internal i32 @span.{step.name}(ptr %words, i64 %first, i64 %last) #0 {{",
        "  %unused = alloca [4 x i64]",
        *unpacked(words),
        *lines,
        "  ret i32 0",
        "}",
    ]
