"""Programs: what a graph becomes when it is put in order.

    Program := Step*, over buffers and one arena
    Step    := Call(kernel, Ref*, sizes, spared?)       a kernel over memory; spared: left out where
                                                        a library did its work
             | Gemm(a, b, c, sizes, strides)            a (batched) matrix product, a sum of some
             | Blocks(Gemm, Call)                       a product, taken up by a kernel as it comes
             | Copy(target, source, size)               bytes moved
             | Host(site, operands, results, own?)      a call back into Python; or a routine of
                                                        LAPACK (Native), loops of NumPy (Passes)
             | Loop(counter, extent, Step*, rows?)      a scan; without extent, until it is left
             | Examples(counter, extent, Step*)         all steps for one example after the other
             | Leave(condition)                         ends the loop around, unless that holds
             | Branch(selector, Step**)                 a cond, a switch
    Ref     := buffer + offset in elements              the offset may use the counters of loops

Sizes and offsets are expressions over the program's dims and the counters of its loops. All is
data: `memory.py` decides where temporaries live, `lower/driver.py` prints the steps as LLVM IR.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from graphc.ir.dim import Size, floordiv, is_nonnegative, total
from graphc.ir.dtype import DType, bool_
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor
from graphc.ir.routine import Routine
from graphc.ir.vector_loop import VectorLoop
from graphc.loops.grammar import Kernel

PANEL_BYTES = 128  # of one row of a panel of a packed operand, at most: two vectors


@dataclass(eq=False, slots=True)
class Storage:
    """Memory that steps read and write. `kind` is where it lives: the caller's input or output
    array, a variable, a constant, or `temp` in the arena; `index` is its place among its kind. Of a
    temp in a `frame` each thread has its own."""

    kind: str
    index: int
    dtype: DType
    size: Size
    offset: Size = 0  # of a temp, in bytes from the start of the arena
    frame: bool = False


@dataclass(frozen=True, slots=True)
class Ref:
    """The memory of one tensor: a place inside a storage."""

    storage: Storage
    offset: Size = 0

    def __add__(self, elements: Size) -> Ref:
        return Ref(self.storage, self.offset + elements)

    def meets(self, size: Size, other: Ref, its: Size) -> bool:
        """Whether so many elements from here on and so many from `other` may have one in common."""
        if self.storage is not other.storage:
            return False
        apart = other.offset - self.offset
        return not (is_nonnegative(apart - size) or is_nonnegative(-apart - its))


@dataclass(slots=True)
class Call:
    kernel: Kernel
    name: str
    buffers: tuple[Ref, ...]
    sizes: tuple[Size, ...]
    written: tuple[Ref, ...]
    extents: tuple[Size, ...]  # of the loops whose range the caller gives
    work: Size | None  # scalar operations, if threads may share these loops
    sites: tuple[int, ...]
    node: Node
    spared: bool = False  # left out where a library did the same with the product before


@dataclass(slots=True)
class Matrix:
    """A batch of matrices in memory: the step between rows, whether they are stored transposed, and
    the step for each batch axis, and for each axis of what is summed."""

    ref: Ref
    leading: Size
    transposed: bool
    batch: tuple[Size, ...]
    taps: tuple[Size, ...] = ()

    @property
    def steps(self) -> tuple[Size, Size]:
        """The elements from a row to the next, and from a column to the next."""
        return (1, self.leading) if self.transposed else (self.leading, 1)

    def span(self, rows: Size, columns: Size, batch: Sequence[Size], taps: Sequence[Size]) -> Size:
        """How many elements from the first one on they lie in, for sizes that are not 0."""
        sizes = (rows, columns, *batch, *taps)
        steps = (*self.steps, *self.batch, *self.taps)
        more = [(size - 1) * step for size, step in zip(sizes, steps, strict=False)]
        return total([1, *more])

    def turned(self) -> Matrix:
        """The transposed matrices, in the same memory."""
        return Matrix(self.ref, self.leading, not self.transposed, self.batch, self.taps)


@dataclass(frozen=True, slots=True)
class Epilogue:
    """What a product does to its result before it stores it: scale * a b + added + row, and zero
    in place of what is less, if `positive`. `added` is as large as the result, and may be it.
    `node` is the region that says so; of several products that do its work, the last one has it.

    What a library may refuse when the program runs: to keep bits of what is positive (`keeps`), to
    put zero where such a bit is not set (`masked`), to add up the rows of b (`sums`)."""

    scale: float = 1.0
    added: Ref | None = None
    row: Ref | None = None
    positive: bool = False
    node: Node | None = None
    keeps: Ref | None = None
    masked: Ref | None = None
    sums: Ref | None = None

    @property
    def reads(self) -> list[Ref]:
        return [ref for ref in (self.added, self.row, self.masked) if ref is not None]

    @property
    def writes(self) -> list[Ref]:
        return [ref for ref in (self.keeps, self.sums) if ref is not None]


@dataclass(slots=True)
class Gemm:
    """c[m, n] = a[m, k] b[k, n], for each index over `batch`; if there are `taps`, the sum of such
    products over each index of these, where rows of a may overlap. `packed` is memory for what is
    cached of b, packed: of one that is stored transposed, or has many columns. `by_columns`: some
    of them are computed at a time, and that much of b packed, on the stack. Libraries do an
    `epilogue` to the result."""

    a: Matrix
    b: Matrix
    c: Matrix
    m: Size
    n: Size
    k: Size
    batch: tuple[Size, ...]
    dtype: DType
    node: Node
    packed: Ref | None = None
    taps: tuple[Size, ...] = ()
    epilogue: Epilogue | None = None
    by_columns: bool = False


def panel_columns(dtype: DType) -> int:
    """The columns of a panel of a packed operand, or a multiple of them."""
    return PANEL_BYTES // dtype.itemsize


def padded(n: Size, dtype: DType) -> Size:
    """How many columns there is room for where n are packed: panels are whole."""
    wide = panel_columns(dtype)
    return floordiv(n + (wide - 1), wide) * wide


def merged(step: Gemm) -> Gemm:
    """A sum of products as one of fewer, larger ones, where an index goes on in memory where the
    one inside it ends: the last of the taps in k, and the last of the batch in m.

    A row of a window is contiguous where channels are last: its elements are those of one long row
    of a, which overlaps with the next one.
    """
    a, b, c = step.a, step.b, step.c
    row, column = a.steps
    if step.taps and a.taps[-1] == step.k * column and b.taps[-1] == step.k * b.leading:
        one = len(step.taps) == 1  # a sum of one product, whose rows may overlap
        step = replace(
            step,
            a=replace(a, taps=(0,) if one else a.taps[:-1]),
            b=replace(b, taps=(0,) if one else b.taps[:-1]),
            k=step.k * step.taps[-1],
            taps=(1,) if one else step.taps[:-1],
        )
        a, b = step.a, step.b
    goes_on = len(step.batch) > 1 and a.batch[-1] == step.m * row and b.batch[-1] == 0
    if goes_on and c.batch[-1] == step.m * c.leading:
        step = replace(
            step,
            a=replace(a, batch=a.batch[:-1]),
            b=replace(b, batch=b.batch[:-1]),
            c=replace(c, batch=c.batch[:-1]),
            m=step.m * step.batch[-1],
            batch=step.batch[:-1],
        )
    return step


@dataclass(slots=True)
class Blocks:
    """A product and the kernel that takes it up, which may run on some rows of the product (of a
    batch of products: on some matrices) as soon as they are there: its loop has `turns` for each
    row or matrix. Of a product by columns all rows are there at once. `claimed` is a variable that
    the kernel writes row by row and each thread has read whole (`blocks.py`)."""

    product: Gemm
    call: Call
    turns: Size
    claimed: Ref | None = None

    @property
    def part(self) -> str:
        """What the kernel runs on, in words."""
        if self.product.by_columns:
            return "all rows"
        part = "matrix" if self.product.batch else "block of rows"
        return f"each {part}, while it is in cache"


@dataclass(slots=True)
class Copy:
    target: Ref
    source: Ref
    size: Size


@dataclass(slots=True)
class Native:
    """A routine of LAPACK, called for each index over `batch`: the steps of each operand and result
    along its axes, and memory of its own, one for each argument that needs some. `site` is that of
    its failure."""

    routine: Routine
    batch: tuple[Size, ...]
    operand_steps: tuple[tuple[Size, ...], ...]
    result_steps: tuple[tuple[Size, ...], ...]
    work: tuple[Ref | None, ...]
    site: int


@dataclass(slots=True)
class Passes:
    """Inner loops of ufuncs, each over all of the data: the first one from the operand to the
    result, the others over the result in place."""

    loops: tuple[VectorLoop, ...]

    @property
    def time(self) -> Size:
        """The time of all, in scalar operations of kernels."""
        return total(loop.time for loop in self.loops)


@dataclass(slots=True)
class Host:
    site: int
    operands: tuple[Ref, ...]
    results: tuple[Ref, ...]
    node: Node
    native: Native | Passes | None = None


@dataclass(slots=True)
class Loop:
    counter: str
    extent: Size | None  # None: until a `Leave` in the body ends it
    body: list[Step]
    node: Node
    rows: Size | None = None  # of which each goes through all turns without the others (strips.py)


@dataclass(slots=True)
class Examples:
    """Steps for each of `extent` examples, of which `counter` is the number. Threads take some
    examples each. What the steps hand on to each other is in a frame, which each thread has for
    itself (examples.py)."""

    counter: str
    extent: Size
    body: list[Step]


@dataclass(slots=True)
class Leave:
    condition: Ref
    node: Node


@dataclass(slots=True)
class Branch:
    """`selector` is a truth value, of two sides, or an index, which is taken to be the next one
    that there is."""

    selector: Ref
    sides: list[list[Step]]
    node: Node

    @property
    def is_by_truth(self) -> bool:
        return self.selector.storage.dtype is bool_

    def cases(self) -> list[tuple[str, list[Step]]]:
        """The sides in the order in which one reads them, each with what chooses it: `{}` stands
        for the selector."""
        if self.is_by_truth:
            return [("if {}", self.sides[1]), ("else", self.sides[0])]
        last = len(self.sides) - 1
        words = ["if {} <= 0", *(f"if {{}} == {i}" for i in range(1, last)), "else"]
        return list(zip(words[-last - 1 :], self.sides, strict=True))


Step: TypeAlias = "Call | Gemm | Blocks | Copy | Host | Loop | Examples | Leave | Branch"


@dataclass(frozen=True, slots=True)
class Site:
    """A place in the program that can fail: what to say, and the node that it belongs to."""

    message: str
    node: Node


@dataclass(slots=True)
class Program:
    """Everything that the target needs; `arena` is the bytes of temporary memory, a size. The last
    `frame` of them are one thread's own: behind them are as many for each thread more."""

    graph: Graph
    steps: list[Step]
    inputs: tuple[Storage, ...]
    outputs: tuple[Storage, ...]
    variables: tuple[Storage, ...]
    constants: dict[Storage, Tensor]
    sites: tuple[Site, ...]
    arena: Size = 0
    temps: list[Storage] = field(default_factory=list)
    frame: Size = 0


def walk_steps(steps: Sequence[Step]) -> Iterator[Step]:
    """All steps, a step of steps before what is inside it."""
    for step in steps:
        yield step
        if isinstance(step, Blocks):
            yield from (step.product, step.call)
        elif isinstance(step, (Loop, Examples)):
            yield from walk_steps(step.body)
        elif isinstance(step, Branch):
            for side in step.sides:
                yield from walk_steps(side)


def working_steps(steps: Sequence[Step]) -> Iterator[Step]:
    """The steps that do work themselves, those inside of loops and branches too, in order; a
    product and the kernel that takes it up are one."""
    for step in steps:
        if isinstance(step, (Loop, Examples)):
            yield from working_steps(step.body)
        elif isinstance(step, Branch):
            for side in step.sides:
                yield from working_steps(side)
        elif not isinstance(step, Leave):
            yield step


def in_examples(steps: Sequence[Step]) -> Iterator[Step]:
    """The steps that run once for each example; what their nodes say is of all examples."""
    for step in walk_steps(steps):
        if isinstance(step, Examples):
            yield from walk_steps(step.body)


def touched(step: Step) -> tuple[Sequence[Ref], Sequence[Ref]]:
    """(read, written) memory of one step, without what is inside loops and branches."""
    match step:
        case Blocks(product=product, call=call):
            parts = touched(product), touched(call)
            return [*parts[0][0], *parts[1][0]], [*parts[0][1], *parts[1][1]]
        case Call(buffers=buffers, written=written):
            return buffers, written
        case Gemm(a=a, b=b, c=c, packed=packed, epilogue=epilogue):
            reads = [a.ref, b.ref, *(epilogue.reads if epilogue else ())]
            writes = [c.ref, *(epilogue.writes if epilogue else ())]
            return reads, writes if packed is None else [*writes, packed]
        case Copy(target=target, source=source):
            return [source], [target]
        case Host(operands=operands, results=results, native=native):
            own = native.work if isinstance(native, Native) else ()
            return operands, [*results, *(ref for ref in own if ref is not None)]
        case Branch(selector=place) | Leave(condition=place):
            return [place], []
        case _:
            return [], []
