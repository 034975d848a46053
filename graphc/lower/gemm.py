"""A matrix product for operands that are read from cache, as LLVM IR.

    void gc.gemm.f32(
        a, a_row, a_column, a_tap, b, b_row, b_tap, c, c_row, m, n, k, taps, i1 add, next,
        claimed, claimed_row
    )
        c[m, n] = a[m, k] b[k, n], added to what is there where `add` says so; the sum of so many
        products as there are taps, each a_tap and b_tap further on than the one before

Strides are in elements; the columns of b and c are contiguous, a may be stored either way. Where
b_row is 0 b is in panels, as `panels.py` packs it. The BLAS packs both operands, always. Here b is
packed where it is stored transposed, or has so many columns that each of its rows is on another
page of memory; a is read where it is. Blocks of 8 rows by 2 vectors of c stay in registers while
one runs down k: two loads of b and eight broadcasts of a for sixteen multiply-adds. Blocks of 14
rows come first where eights would leave a rest. Where fewer rows are left, blocks are 4 vectors
wide, so that enough multiply-adds do not wait for each other. Every 256 steps what they gave is
added to what those before gave, and every 4096 that to c, so that rounding errors grow with k by
little; twice as often costs 1.5 %, for each vector that is stored takes the time of two
multiply-adds. Rows are the outer loop, so b is read again for every block of them: it should fit in
the second-level cache. The last rows and columns have smaller blocks and masks. Products that are
added up are one run down k, with jumps from one to the next: c is touched once, and short ones cost
no more than a long one. `next` is null, or the address of three records of five words: address,
bytes from row to row, rows, bytes of a row, and how many rows to ask for with every eight of c, of
memory that the next call touches, the last of which it writes. Blocks of rows ask for it meanwhile,
since a processor does not see where the matrices of a batch are: of 64 x 64 by 64 x 32 the next one
came from memory while nothing was multiplied. `claimed` is null (and then claimed_row 0), or a
matrix of c's shape that the caller writes next and that other processors have read: blocks claim
its lines, by storing what is there. A line that others hold costs 10 ns to write. That is hidden
behind multiply-adds, but not behind one another, as a kernel's many stores are; and asking for the
line (`prefetchw`) does not help. An update (Adam) of 784 x 256 weights, by two threads that had
multiplied by all of them, took 303 us, takes 268, and took 252 where none had read them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from graphc.lower.head import product_symbols
from graphc.lower.panels import PANEL, lanes_left, packing
from graphc.lower.processor import product_lanes
from graphc.machines import LINE

ROWS = (14, 8, 4, 2, 1)  # heights of blocks, largest first
ROWS_ASKED = 8  # of c, with which a share of the next call's memory is asked for
CHUNK = 256  # steps of k that are added up one by one
SPAN = 4096  # steps whose chunks are


def definition(features: str, bits: int) -> str:
    """The text of a module that holds both. It is written as it should run: registers, loads and
    multiply-adds are given, so optimising it would only cost time."""
    width = product_lanes(features, bits)
    return "\n".join([*_Product(bits, width).text(), *packing(bits, width)]) + "\n"


class _Product:
    """Prints the product for one width: blocks, rows of blocks, and the whole."""

    def __init__(self, bits: int, width: int) -> None:
        self.bits, self.width = bits, width
        self.scalar = "float" if bits == 32 else "double"
        self.vector = f"<{width} x {self.scalar}>"
        self.mask = f"<{width} x i1>"
        self.suffix = f"v{width}f{bits}"
        # 32 registers hold 14 rows of two vectors beside the operands, 16 hold 6
        self.rows = ROWS if width * bits == 512 else (6, *ROWS[2:])

    def text(self) -> Iterator[str]:
        v, m = self.vector, self.mask
        yield "declare i64 @llvm.smin.i64(i64, i64)"
        yield f"declare {v} @llvm.fma.{self.suffix}({v}, {v}, {v})"
        yield f"declare {v} @llvm.masked.load.{self.suffix}.p0(ptr, i32, {m}, {v})"
        yield f"declare void @llvm.masked.store.{self.suffix}.p0({v}, ptr, i32, {m})"
        for rows in self.rows:
            vectors = PANEL if rows in self.rows[:2] else 2 * PANEL
            for wide, masked in ((vectors, False), (PANEL, True), (1, True)):
                yield from self._block(rows, wide, masked)
            yield from self._row_of_blocks(rows, vectors)
        yield from _asking()
        yield from self._whole()

    def _name(self, rows: int, vectors: int, masked: bool) -> str:
        return f"@gc.block.f{self.bits}.{rows}x{vectors}{'.masked' if masked else ''}"

    def _block(self, rows: int, vectors: int, masked: bool) -> Iterator[str]:
        """c[rows, vectors * width], over all `steps`, of which each k are one product's: `CHUNK` of
        them add up in registers, from zero, and `SPAN` in memory of the block before they are added
        to c."""
        v, s = self.vector, self.scalar
        masks = "".join(f", {self.mask} %mask{j}" for j in range(vectors)) if masked else ""
        yield (
            f"define internal void {self._name(rows, vectors, masked)}(ptr noalias %a, i64 %a_row, "
            "i64 %a_column, i64 %a_tap, ptr noalias %b, i64 %b_row, i64 %b_panel, i64 %b_tap, "
            f"ptr noalias %c, i64 %c_row, i64 %k, i64 %steps, i1 %add{masks}) nounwind {{"
        )
        yield "entry:"
        for i in range(rows):
            yield f"  %ra{i} = mul i64 %a_row, {i}"
            yield f"  %a{i} = getelementptr {s}, ptr %a, i64 %ra{i}"
        cells = [(i, j) for i in range(rows) for j in range(vectors)]
        for i, j in cells:
            if j == 0:
                yield f"  %rc{i} = mul i64 %c_row, {i}"
                yield f"  %c{i} = getelementptr {s}, ptr %c, i64 %rc{i}"
            yield f"  %pc{i}.{j} = getelementptr {s}, ptr %c{i}, i64 {j * self.width}"
        yield f"  %mid = alloca [{len(cells)} x {v}], align {self.width * self.bits // 8}"
        for n, (i, j) in enumerate(cells):
            yield f"  %pm{i}.{j} = getelementptr {v}, ptr %mid, i64 {n}"
        yield "  br label %chunk"
        yield "chunk:"
        yield "  %q = phi i64 [ 0, %entry ], [ %stop, %next ]"
        for name, kind, first in self._PLACES:
            yield f"  %{name}.q = phi {kind} [ {first}, %entry ], [ %{name}.r, %next ]"
        yield f"  %full = add i64 %q, {CHUNK}"
        yield "  %stop = call i64 @llvm.smin.i64(i64 %full, i64 %steps)"
        yield "  br label %product"
        yield "product:"
        yield "  %p.r = phi i64 [ %q, %chunk ], [ %p, %jump ]"
        for name, kind, _ in self._PLACES:
            yield f"  %{name}.r = phi {kind} [ %{name}.q, %chunk ], [ %{name}.j, %jump ]"
        for i, j in cells:
            yield f"  %r{i}.{j} = phi {v} [ zeroinitializer, %chunk ], [ %s{i}.{j}, %jump ]"
        yield "  %end.p = call i64 @llvm.smin.i64(i64 %end.r, i64 %stop)"
        yield "  %goes.on = icmp slt i64 %p.r, %stop"
        yield "  br i1 %goes.on, label %head, label %done"
        yield "head:"
        yield "  %p = phi i64 [ %p.r, %product ], [ %p.next, %body ]"
        yield "  %at = phi i64 [ %at.r, %product ], [ %at.next, %body ]"
        yield "  %bp = phi ptr [ %bp.r, %product ], [ %bp.next, %body ]"
        for i, j in cells:
            yield f"  %s{i}.{j} = phi {v} [ %r{i}.{j}, %product ], [ %t{i}.{j}, %body ]"
        yield "  %more = icmp slt i64 %p, %end.p"
        yield "  br i1 %more, label %body, label %jump"
        yield from self._jump()
        yield "body:"
        if vectors > PANEL:
            yield f"  %bq = getelementptr {s}, ptr %bp, i64 %b_panel"
        for j in range(vectors):
            panel, inside = divmod(j, PANEL)
            yield f"  %pb{j} = getelementptr {s}, ptr %b{'pq'[panel]}, i64 {inside * self.width}"
            yield f"  %b{j} = {self._load(f'%pb{j}', j, masked)}"
        for i in range(rows):
            yield f"  %pa{i} = getelementptr {s}, ptr %a{i}, i64 %at"
            yield f"  %x{i} = load {s}, ptr %pa{i}"
            yield f"  %i{i} = insertelement {v} poison, {s} %x{i}, i64 0"
            yield (
                f"  %w{i} = shufflevector {v} %i{i}, {v} poison, "
                f"<{self.width} x i32> zeroinitializer"
            )
        for i, j in cells:
            operands = f"{v} %w{i}, {v} %b{j}, {v} %s{i}.{j}"
            yield f"  %t{i}.{j} = call {v} @llvm.fma.{self.suffix}({operands})"
        yield "  %p.next = add i64 %p, 1"
        yield "  %at.next = add i64 %at, %a_column"
        yield f"  %bp.next = getelementptr {s}, ptr %bp, i64 %b_row"
        yield "  br label %head"
        yield "done:"
        yield f"  %place = and i64 %q, {SPAN - 1}"
        yield "  %first = icmp eq i64 %place, 0"
        yield from self._sum("span", "%first", cells, "r", lambda i, j: f"load {v}, ptr %pm{i}.{j}")
        yield f"  %rest = and i64 %stop, {SPAN - 1}"
        yield "  %spanned = icmp eq i64 %rest, 0"
        yield "  %last = icmp sge i64 %stop, %steps"
        yield "  %out = or i1 %spanned, %last"
        yield "  br i1 %out, label %store, label %keep"
        yield "keep:"
        for i, j in cells:
            yield f"  store {v} %span{i}.{j}, ptr %pm{i}.{j}"
        yield "  br label %next"
        yield "store:"
        yield f"  %begun = icmp sge i64 %q, {SPAN}"
        yield "  %there = or i1 %add, %begun"
        yield "  %new = xor i1 %there, true"
        load = lambda i, j: self._load(f"%pc{i}.{j}", j, masked)  # noqa: E731
        yield from self._sum("c", "%new", cells, "span", load)
        for i, j in cells:
            yield self._store(f"%c{i}.{j}", f"%pc{i}.{j}", j, masked)
        yield "  br label %next"
        yield "next:"
        yield "  br i1 %last, label %end, label %chunk"
        yield "end:"
        yield "  ret void"
        yield "}"

    # Where the next step is, where the product that it is of begins, and which step ends that.
    _PLACES = (
        ("at", "i64", "0"),
        ("bp", "ptr", "%b"),
        ("at.0", "i64", "0"),
        ("bp.0", "ptr", "%b"),
        ("end", "i64", "%k"),
    )

    def _jump(self) -> Iterator[str]:
        """Behind the last step of a product, on to the first one of the next."""
        yield "jump:"
        yield "  %ended = icmp eq i64 %p, %end.r"
        yield "  %at.tap = add i64 %at.0.r, %a_tap"
        yield f"  %bp.tap = getelementptr {self.scalar}, ptr %bp.0.r, i64 %b_tap"
        yield "  %end.tap = add i64 %end.r, %k"
        for name, kind, here in (
            ("at", "i64", "at"),
            ("bp", "ptr", "bp"),
            ("at.0", "i64", "at.0.r"),
            ("bp.0", "ptr", "bp.0.r"),
            ("end", "i64", "end.r"),
        ):
            after = name.removesuffix(".0")
            yield f"  %{name}.j = select i1 %ended, {kind} %{after}.tap, {kind} %{here}"
        yield "  br label %product"

    def _sum(
        self,
        name: str,
        first: str,
        cells: list[tuple[int, int]],
        part: str,
        load: Callable[[int, int], str],
    ) -> Iterator[str]:
        """The cells called `name` are those called `part`, or unless `first` what is loaded plus
        them."""
        v = self.vector
        yield f"  br i1 {first}, label %{name}.alone, label %{name}.more"
        yield f"{name}.more:"
        for i, j in cells:
            yield f"  %{name}.old{i}.{j} = {load(i, j)}"
            yield f"  %{name}.sum{i}.{j} = fadd {v} %{name}.old{i}.{j}, %{part}{i}.{j}"
        yield f"  br label %{name}.both"
        yield f"{name}.alone:"
        yield f"  br label %{name}.both"
        yield f"{name}.both:"
        for i, j in cells:
            yield (
                f"  %{name}{i}.{j} = phi {v} [ %{name}.sum{i}.{j}, %{name}.more ], "
                f"[ %{part}{i}.{j}, %{name}.alone ]"
            )

    def _load(self, pointer: str, j: int, masked: bool) -> str:
        v, align = self.vector, self.bits // 8
        if not masked:
            return f"load {v}, ptr {pointer}, align {align}"
        return (
            f"call {v} @llvm.masked.load.{self.suffix}.p0("
            f"ptr {pointer}, i32 {align}, {self.mask} %mask{j}, {v} zeroinitializer)"
        )

    def _store(self, value: str, pointer: str, j: int, masked: bool) -> str:
        v, align = self.vector, self.bits // 8
        if not masked:
            return f"  store {v} {value}, ptr {pointer}, align {align}"
        return (
            f"  call void @llvm.masked.store.{self.suffix}.p0("
            f"{v} {value}, ptr {pointer}, i32 {align}, {self.mask} %mask{j})"
        )

    def _row_of_blocks(self, rows: int, vectors: int) -> Iterator[str]:
        """`rows` rows of c: blocks of so many vectors, then what is left of n by two at a time,
        under masks."""
        s, wide = self.scalar, vectors * self.width

        def args(at: str) -> str:
            return (
                f"ptr %a, i64 %a_row, i64 %a_column, i64 %a_tap, ptr %b{at}, i64 %b_row, "
                f"i64 %b_panel, i64 %b_tap, ptr %c{at}, i64 %c_row, i64 %k, i64 %steps, i1 %add"
            )

        def place(at: str) -> Iterator[str]:
            yield f"  %left.{at} = sub i64 %n, %{at}"
            yield f"  %c{at} = getelementptr {s}, ptr %c, i64 %{at}"

        yield (
            f"define internal void @gc.rows.f{self.bits}.{rows}(ptr noalias %a, i64 %a_row, "
            "i64 %a_column, i64 %a_tap, ptr noalias %b, i64 %b_row, i64 %b_panel, i64 %b_tap, "
            "ptr noalias %c, i64 %c_row, i64 %n, i64 %k, i64 %steps, i1 %add, ptr %claimed, "
            "i64 %claimed_row) nounwind {"
        )
        yield "entry:"
        yield f"  %b_step = mul i64 %b_panel, {vectors // PANEL}"
        yield "  %claims = icmp ne ptr %claimed, null"
        yield "  br label %head"
        yield "head:"
        yield "  %j = phi i64 [ 0, %entry ], [ %j.next, %full ]"
        yield "  %bj = phi ptr [ %b, %entry ], [ %bj.next, %full ]"
        yield from place("j")
        yield f"  %whole = icmp sge i64 %left.j, {wide}"
        yield "  br i1 %whole, label %ready, label %rest"
        yield "ready:"
        yield "  br i1 %claims, label %claim, label %full"
        yield from self._claim(rows, vectors)
        yield "full:"
        yield f"  call void {self._name(rows, vectors, False)}({args('j')})"
        yield f"  %j.next = add i64 %j, {wide}"
        yield f"  %bj.next = getelementptr {s}, ptr %bj, i64 %b_step"
        yield "  br label %head"
        yield "rest:"
        yield "  %t = phi i64 [ %j, %head ], [ %t.next, %tail2 ]"
        yield "  %bt = phi ptr [ %bj, %head ], [ %bt.next, %tail2 ]"
        yield from place("t")
        yield "  %some = icmp sgt i64 %left.t, 0"
        yield "  br i1 %some, label %tail, label %end"
        yield "tail:"
        yield from lanes_left("mask0", "%left.t", self.width)
        yield f"  %two = icmp sgt i64 %left.t, {self.width}"
        yield "  br i1 %two, label %tail2, label %tail1"
        yield "tail1:"
        yield f"  call void {self._name(rows, 1, True)}({args('t')}, {self.mask} %mask0)"
        yield "  br label %end"
        yield "tail2:"
        yield from lanes_left("mask1", "%left.t", self.width, self.width)
        both = f"{self.mask} %mask0, {self.mask} %mask1"
        yield f"  call void {self._name(rows, 2, True)}({args('t')}, {both})"
        yield f"  %t.next = add i64 %t, {PANEL * self.width}"
        yield f"  %bt.next = getelementptr {s}, ptr %bt, i64 %b_panel"
        yield "  br label %rest"
        yield "end:"
        yield "  ret void"
        yield "}"

    def _claim(self, rows: int, vectors: int) -> Iterator[str]:
        """A load and a store of one element of each line of a block, volatile, since they change
        nothing."""
        s, lines = self.scalar, vectors * self.width * self.bits // 8 // LINE
        yield "claim:"
        yield "  %row = phi i64 [ 0, %ready ], [ %row.next, %claim ]"
        yield "  %row.elements = mul i64 %row, %claimed_row"
        yield "  %elements = add i64 %row.elements, %j"
        yield f"  %line0 = getelementptr {s}, ptr %claimed, i64 %elements"
        for line in range(lines):
            if line:
                yield f"  %line{line} = getelementptr i8, ptr %line0, i64 {line * LINE}"
            yield f"  %there{line} = load volatile i32, ptr %line{line}"
            yield f"  store volatile i32 %there{line}, ptr %line{line}"
        yield "  %row.next = add i64 %row, 1"
        yield f"  %claimed.all = icmp eq i64 %row.next, {rows}"
        yield "  br i1 %claimed.all, label %full, label %claim"

    def _whole(self) -> Iterator[str]:
        """Rows of blocks from the top: as many of the tallest as `_tall` says, then the tallest
        that still fit."""
        s, panel, tallest = self.scalar, PANEL * self.width, self.rows[0]
        yield (
            f"define void @{product_symbols(self.bits)[0]}(ptr noalias %a, i64 %a_row, "
            "i64 %a_column, i64 %a_tap, ptr noalias %b, i64 %b_row, i64 %b_tap, "
            "ptr noalias %c, i64 %c_row, i64 %m, i64 %n, i64 %k, i64 %taps, "
            "i1 zeroext %add, ptr %next, ptr %claimed, i64 %claimed_row) {"
        )
        yield "entry:"
        yield "  %last = icmp eq ptr %next, null"
        yield "  %steps = mul i64 %k, %taps"
        yield "  %panels = icmp eq i64 %b_row, 0"
        yield f"  %apart = mul i64 %k, {panel}"
        yield f"  %b.row = select i1 %panels, i64 {panel}, i64 %b_row"
        yield f"  %b.panel = select i1 %panels, i64 %apart, i64 {panel}"
        yield from self._tall()
        yield f"  br label %try{tallest}"
        for position, rows in enumerate(self.rows):
            last = position + 1 == len(self.rows)
            following = "end" if last else f"try{self.rows[position + 1]}"
            before = "entry" if position == 0 else f"try{self.rows[position - 1]}"
            start = "0" if position == 0 else f"%i{self.rows[position - 1]}"
            yield f"try{rows}:"
            yield f"  %i{rows} = phi i64 [ {start}, %{before} ], [ %next{rows}, %go{rows} ]"
            end = "%tall.end" if rows == tallest else "%m"
            yield f"  %left{rows} = sub i64 {end}, %i{rows}"
            yield f"  %fits{rows} = icmp sge i64 %left{rows}, {rows}"
            yield f"  br i1 %fits{rows}, label %run{rows}, label %{following}"
            yield f"run{rows}:"
            yield f"  br i1 %last, label %go{rows}, label %ask{rows}"
            yield f"ask{rows}:"
            yield f"  call void @gc.ask(ptr %next, i64 %i{rows})"
            yield f"  br label %go{rows}"
            yield f"go{rows}:"
            yield f"  %oa{rows} = mul i64 %i{rows}, %a_row"
            yield f"  %a{rows} = getelementptr {s}, ptr %a, i64 %oa{rows}"
            yield f"  %oc{rows} = mul i64 %i{rows}, %c_row"
            yield f"  %c{rows} = getelementptr {s}, ptr %c, i64 %oc{rows}"
            yield f"  %oclaimed{rows} = mul i64 %i{rows}, %claimed_row"
            yield f"  %claimed{rows} = getelementptr {s}, ptr %claimed, i64 %oclaimed{rows}"
            yield (
                f"  call void @gc.rows.f{self.bits}.{rows}(ptr %a{rows}, i64 %a_row, "
                f"i64 %a_column, i64 %a_tap, ptr %b, i64 %b.row, i64 %b.panel, i64 %b_tap, "
                f"ptr %c{rows}, i64 %c_row, i64 %n, i64 %k, i64 %steps, i1 %add, "
                f"ptr %claimed{rows}, i64 %claimed_row)"
            )
            yield f"  %next{rows} = add i64 %i{rows}, {rows}"
            yield f"  br label %try{rows}"
        yield "end:"
        yield "  ret void"
        yield "}"

    def _tall(self) -> Iterator[str]:
        """The end of the rows that the tallest blocks take: as many blocks as leave a multiple of
        the next height h. They are of 2 h - 2 rows, so that x of them leave m + 2 x modulo h."""
        tallest, height, *_ = self.rows
        yield "  %pairs = lshr i64 %m, 1"
        yield "  %over = sub i64 0, %pairs"
        yield f"  %tall = and i64 %over, {height // 2 - 1}"
        yield f"  %tall.rows = mul i64 %tall, {tallest}"
        yield "  %tall.fit = icmp sle i64 %tall.rows, %m"
        yield "  %tall.end = select i1 %tall.fit, i64 %tall.rows, i64 0"


def _asking() -> Iterator[str]:
    """For the rows from `i` on, their share of each record of `next`, line by line: one for every
    `ROWS_ASKED` rows."""
    names = (("x", "ptr"), ("step", "i64"), ("all", "i64"), ("bytes", "i64"), ("each", "i64"))
    yield "declare void @llvm.prefetch.p0(ptr, i32, i32, i32)"
    yield "define internal void @gc.ask(ptr %next, i64 %i) nounwind noinline {"
    yield "entry:"
    yield f"  %share = sdiv i64 %i, {ROWS_ASKED}"
    yield "  br label %begin0"
    for r, after in ((0, "begin1"), (1, "begin2"), (2, "done")):
        yield f"begin{r}:"
        for place, (name, kind) in enumerate(names):
            yield f"  %{name}{r}.at = getelementptr i64, ptr %next, i64 {len(names) * r + place}"
            yield f"  %{name}{r} = load {kind}, ptr %{name}{r}.at"
        yield f"  %from{r} = mul i64 %share, %each{r}"
        yield f"  %full{r} = add i64 %from{r}, %each{r}"
        yield f"  %to{r} = call i64 @llvm.smin.i64(i64 %full{r}, i64 %all{r})"
        yield f"  br label %rows{r}"
        yield f"rows{r}:"
        yield f"  %row{r} = phi i64 [ %from{r}, %begin{r} ], [ %row{r}.next, %row{r}.end ]"
        yield f"  %more{r} = icmp slt i64 %row{r}, %to{r}"
        yield f"  br i1 %more{r}, label %row{r}.begin, label %{after}"
        yield f"row{r}.begin:"
        yield f"  %ahead{r} = mul i64 %row{r}, %step{r}"
        yield f"  %line{r} = getelementptr i8, ptr %x{r}, i64 %ahead{r}"
        yield f"  br label %lines{r}"
        yield f"lines{r}:"
        yield f"  %byte{r} = phi i64 [ 0, %row{r}.begin ], [ %byte{r}.next, %line{r}.ask ]"
        yield f"  %some{r} = icmp slt i64 %byte{r}, %bytes{r}"
        yield f"  br i1 %some{r}, label %line{r}.ask, label %row{r}.end"
        yield f"line{r}.ask:"
        yield f"  %place{r} = getelementptr i8, ptr %line{r}, i64 %byte{r}"
        yield f"  call void @llvm.prefetch.p0(ptr %place{r}, i32 {int(r == 2)}, i32 2, i32 1)"
        yield f"  %byte{r}.next = add i64 %byte{r}, {LINE}"
        yield f"  br label %lines{r}"
        yield f"row{r}.end:"
        yield f"  %row{r}.next = add i64 %row{r}, 1"
        yield f"  br label %rows{r}"
    yield "done:"
    yield "  ret void"
    yield "}"
