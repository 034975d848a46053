"""How a right operand is packed for our own matrix product, as LLVM IR.

    void gc.pack.f32(x, x_row, x_column, y, n, k)
        panels of x[k, n], one after the other in y: each is two vectors wide and k rows long

One of the strides, which are in elements, is 1. Down a panel the product reads memory without a
gap, so that it needs few pages at once, and its lines are in all sets of a cache. The last panel is
filled up: y has room for as many columns as `padded` of `planning/program.py` says.
"""

from __future__ import annotations

from collections.abc import Iterator

from graphc.lower.head import product_symbols

PANEL = 2  # vectors of a row that are next to each other
TOGETHER = 8  # rows that are copied at once, where the columns are contiguous


def packing(bits: int, width: int) -> Iterator[str]:
    """The routine for vectors of so many floats."""
    scalar = "float" if bits == 32 else "double"
    yield (
        f"define void @{product_symbols(bits)[1]}(ptr noalias %x, i64 %x_row, i64 %x_column, "
        "ptr noalias %y, i64 %n, i64 %k) {"
    )
    yield "entry:"
    yield "  %contiguous = icmp eq i64 %x_column, 1"
    yield "  br i1 %contiguous, label %copy, label %turn"
    yield from _copied(bits, width, scalar)
    yield from _turned(bits, width, scalar)
    yield "end:"
    yield "  ret void"
    yield "}"


def _copied(bits: int, width: int, scalar: str) -> Iterator[str]:
    """Rows of x, some at once, from panel to panel."""
    vector, mask = f"<{width} x {scalar}>", f"<{width} x i1>"
    suffix, align, panel = f"v{width}f{bits}", bits // 8, PANEL * width
    yield "copy:"
    yield f"  br label %some{TOGETHER}"
    before = "copy"
    for rows, after in ((TOGETHER, "some1"), (1, "end")):
        start = "0" if rows == TOGETHER else f"%p{TOGETHER}"
        yield f"some{rows}:"
        yield f"  %p{rows} = phi i64 [ {start}, %{before} ], [ %p{rows}.next, %panels{rows}.end ]"
        yield f"  %p{rows}.next = add i64 %p{rows}, {rows}"
        yield f"  %enough{rows} = icmp sle i64 %p{rows}.next, %k"
        yield f"  br i1 %enough{rows}, label %begin{rows}, label %{after}"
        yield f"begin{rows}:"
        yield f"  %p{rows}.x = mul i64 %p{rows}, %x_row"
        yield f"  %p{rows}.y = mul i64 %p{rows}, {panel}"
        yield f"  br label %panels{rows}"
        yield f"panels{rows}:"
        yield f"  %j{rows} = phi i64 [ 0, %begin{rows} ], [ %j{rows}.next, %panel{rows} ]"
        yield f"  %left{rows} = sub i64 %n, %j{rows}"
        yield f"  %more{rows} = icmp sgt i64 %left{rows}, 0"
        yield f"  br i1 %more{rows}, label %panel{rows}, label %panels{rows}.end"
        yield f"panel{rows}:"
        for v in range(PANEL):
            yield from lanes_left(f"mask{rows}.{v}", f"%left{rows}", width, v * width)
        yield f"  %from{rows} = add i64 %p{rows}.x, %j{rows}"
        yield f"  %panel{rows}.at = mul i64 %j{rows}, %k"
        yield f"  %to{rows} = add i64 %panel{rows}.at, %p{rows}.y"
        for r in range(rows):
            name = f"{rows}.{r}"
            yield f"  %x{name}.row = mul i64 %x_row, {r}"
            yield f"  %x{name}.at = add i64 %from{rows}, %x{name}.row"
            yield f"  %y{name}.at = add i64 %to{rows}, {r * panel}"
            for v in range(PANEL):
                yield f"  %x{name}.{v}.i = add i64 %x{name}.at, {v * width}"
                yield f"  %x{name}.{v} = getelementptr {scalar}, ptr %x, i64 %x{name}.{v}.i"
                yield (
                    f"  %v{name}.{v} = call {vector} @llvm.masked.load.{suffix}.p0("
                    f"ptr %x{name}.{v}, i32 {align}, {mask} %mask{rows}.{v}, "
                    f"{vector} zeroinitializer)"
                )
                yield f"  %y{name}.{v}.i = add i64 %y{name}.at, {v * width}"
                yield f"  %y{name}.{v} = getelementptr {scalar}, ptr %y, i64 %y{name}.{v}.i"
                yield f"  store {vector} %v{name}.{v}, ptr %y{name}.{v}, align {align}"
        yield f"  %j{rows}.next = add i64 %j{rows}, {panel}"
        yield f"  br label %panels{rows}"
        yield f"panels{rows}.end:"
        yield f"  br label %some{rows}"
        before = f"some{rows}"


def _turned(bits: int, width: int, scalar: str) -> Iterator[str]:
    """Tiles of `width` rows and columns, turned in registers: in each of log2(width) rounds half of
    a row changes place with half of another one. Masks cut the tiles at the edges."""
    vector, mask = f"<{width} x {scalar}>", f"<{width} x i1>"
    suffix, align, panel = f"v{width}f{bits}", bits // 8, PANEL * width
    yield "turn:"
    yield "  br label %rows"
    yield "rows:"
    yield "  %i = phi i64 [ 0, %turn ], [ %i.next, %row.end ]"
    yield "  %n.left = sub i64 %n, %i"
    yield "  %row.some = icmp sgt i64 %n.left, 0"
    yield "  br i1 %row.some, label %row, label %end"
    yield "row:"
    yield "  %i.x = mul i64 %i, %x_column"
    yield f"  %i.inside = and i64 %i, {panel - 1}"
    yield "  %i.panel = sub i64 %i, %i.inside"
    yield "  %i.y = mul i64 %i.panel, %k"
    yield "  %y.row = add i64 %i.y, %i.inside"
    yield "  br label %columns"
    yield "columns:"
    yield "  %j = phi i64 [ 0, %row ], [ %j.next, %tile ]"
    yield "  %k.left = sub i64 %k, %j"
    yield "  %column.some = icmp sgt i64 %k.left, 0"
    yield "  br i1 %column.some, label %tile, label %row.end"
    yield "tile:"
    yield from lanes_left("k.mask", "%k.left", width)
    yield "  %x.from = add i64 %i.x, %j"
    yield f"  %j.y = mul i64 %j, {panel}"
    yield "  %y.from = add i64 %y.row, %j.y"
    rows = []
    for r in range(width):
        yield f"  %in{r} = icmp sgt i64 %n.left, {r}"
        yield f"  %load{r} = select i1 %in{r}, {mask} %k.mask, {mask} zeroinitializer"
        yield f"  %x.step{r} = mul i64 %x_column, {r}"
        yield f"  %x.index{r} = add i64 %x.from, %x.step{r}"
        yield f"  %x{r} = getelementptr {scalar}, ptr %x, i64 %x.index{r}"
        yield (
            f"  %v{r} = call {vector} @llvm.masked.load.{suffix}.p0(ptr %x{r}, i32 {align}, "
            f"{mask} %load{r}, {vector} zeroinitializer)"
        )
        rows.append(f"%v{r}")
    half = width // 2
    while half:
        for r in range(width):
            if r & half:
                continue
            pair = rows[r], rows[r + half]
            for row, low in ((r, True), (r + half, False)):
                first, second = (f"{vector} {value}" for value in pair)
                picks = ", ".join(f"i32 {_pick(lane, half, width, low)}" for lane in range(width))
                rows[row] = f"%t{half}.{row}"
                yield (
                    f"  {rows[row]} = shufflevector {first}, {second}, <{width} x i32> <{picks}>"
                )
        half //= 2
    all_lanes = ", ".join(["i1 true"] * width)
    for r in range(width):
        yield f"  %out{r} = icmp sgt i64 %k.left, {r}"
        yield f"  %store{r} = select i1 %out{r}, {mask} <{all_lanes}>, {mask} zeroinitializer"
        yield f"  %y.index{r} = add i64 %y.from, {r * panel}"
        yield f"  %y{r} = getelementptr {scalar}, ptr %y, i64 %y.index{r}"
        yield (
            f"  call void @llvm.masked.store.{suffix}.p0({vector} {rows[r]}, ptr %y{r}, "
            f"i32 {align}, {mask} %store{r})"
        )
    yield f"  %j.next = add i64 %j, {width}"
    yield "  br label %columns"
    yield "row.end:"
    yield f"  %i.next = add i64 %i, {width}"
    yield "  br label %rows"


def lanes_left(name: str, left: str, width: int, first: int = 0) -> Iterator[str]:
    """Which lanes of a vector, the first of which is that of element `first`, are among those that
    are left."""
    kind = f"<{width} x i64>"
    places = ", ".join(f"i64 {first + lane}" for lane in range(width))
    yield f"  %{name}.i = insertelement {kind} poison, i64 {left}, i64 0"
    yield (
        f"  %{name}.n = shufflevector {kind} %{name}.i, {kind} poison, "
        f"<{width} x i32> zeroinitializer"
    )
    yield f"  %{name} = icmp slt {kind} <{places}>, %{name}.n"


def _pick(lane: int, half: int, width: int, low: bool) -> int:
    """Where a lane of the lower (or upper) of two rows comes from: the lanes of the second row are
    counted from `width`."""
    if low:
        return lane if not lane & half else width + lane - half
    return lane + half if not lane & half else width + lane
