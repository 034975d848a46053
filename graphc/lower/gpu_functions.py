"""The functions that the source of launches calls beside those of `numba_functions.py`.

In a launch they are calls of symbols, `gpu.thread_index` and so on. What defines these is linked in
afterwards: `device` for a card, `host` for one thread a block on this processor, which is how the
text of launches is checked where there is no card.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from llvmlite import ir
from numba import types

from graphc.ir.dtype import BY_SHORT, DTYPES, DType, bool_, int64
from graphc.loops.primitives import PRIMITIVES
from graphc.lower import numba_functions
from graphc.lower.numba_cpu import NUMBA_TYPES, Row
from graphc.lower.numba_functions import Emit

WARP = 32
I1, I32, I64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)
INDICES = ("thread_index", "block_index", "block_size", "grid_index", "grid_size", "barrier")
ALWAYS = (*INDICES, "ballot")  # what is defined for every launch
# How source says what is a call in the end.
CALLS = {
    "cuda.threadIdx.x": "thread_index()",
    "cuda.blockIdx.x": "block_index()",
    "cuda.blockDim.x": "block_size()",
    "cuda.grid(1)": "grid_index()",
    "cuda.gridsize(1)": "grid_size()",
    "cuda.syncthreads()": "barrier()",
    "cuda.atomic.or_(failures, 0, failed)": "atomic_or(failures, failed)",
}


def collectives() -> Iterator[tuple[str, DType]]:
    """The names of what threads add up together: of a group, and of a column."""
    for name, primitive in PRIMITIVES.items():
        for dtype in DTYPES if primitive.reorders else ():
            yield f"group_{name}_{dtype.short}", dtype
            yield f"column_{name}_{dtype.short}", dtype


def launch_functions() -> list[Row]:
    """The functions as rows for Numba's contexts."""
    index = types.int64
    table: list[Row] = [(name, _call(f"gpu.{name}"), [(int64, (), index)]) for name in INDICES]
    table.append(("ballot", _ballot, [(int64, (types.boolean,), index)]))
    table.append(("first_bit", _first_bit, [(int64, (index,), index)]))
    table.append(("atomic_or", _atomic_or, [(int64, (types.CPointer(index), index), index)]))
    floats = [(d, NUMBA_TYPES[d]) for d in numba_functions.FLOATS]
    table.append(("lost", _lost, [(d, (kind,) * 3, kind) for d, kind in floats]))
    for name, dtype in collectives():
        kind = NUMBA_TYPES[dtype]
        table.append((name, _call(f"gpu.{name}"), [(dtype, (kind, index), kind)]))
    return table


def _call(symbol: str) -> Emit:
    def emit(b: ir.IRBuilder, d: DType, args: list[Any]) -> Any:
        return numba_functions.declared(b, symbol, args[0].type if args else I64, args)

    return emit


def _ballot(b: ir.IRBuilder, d: DType, args: list[Any]) -> Any:
    """A bit for each thread of the warp: whether its flag is set."""
    flag = args[0] if args[0].type == I1 else b.trunc(args[0], I1)
    return numba_functions.declared(b, "gpu.ballot", I64, [flag])


def _first_bit(b: ir.IRBuilder, d: DType, args: list[Any]) -> Any:
    """The number of the lowest bit that is set."""
    return numba_functions.declared(b, "llvm.cttz.i64", I64, [args[0], I1(0)])


def _atomic_or(b: ir.IRBuilder, d: DType, args: list[Any]) -> Any:
    return b.atomic_rmw("or", args[0], args[1], "monotonic")


def _lost(b: ir.IRBuilder, d: DType, args: list[Any]) -> Any:
    """The rounding error of total = before + added; none of what is not finite."""
    total, before, added = args
    error = b.fsub(b.fsub(total, before), added)
    size = numba_functions.declared(b, f"llvm.fabs.f{d.bits}", error.type, [error])
    finite = b.fcmp_ordered("<", size, error.type(float("inf")))
    return b.select(finite, error, error.type(0.0))


# -- on this processor -----------------------------------------------------------------------------
def host(wanted: Iterable[str]) -> str:
    """The functions for one thread a block; the loop over blocks sets `gpu.block`."""
    module = ir.Module("host")
    places = {name: ir.GlobalVariable(module, I64, name) for name in ("gpu.block", "gpu.blocks")}
    for place in places.values():
        place.initializer = I64(0)
    for name in INDICES:
        b = _begin(module, f"gpu.{name}", I64, [])
        place = {"block_index": "gpu.block", "grid_index": "gpu.block", "grid_size": "gpu.blocks"}
        constant = I64(1 if name == "block_size" else 0)
        b.ret(b.load(places[place[name]], typ=I64) if name in place else constant)
    b = _begin(module, "gpu.ballot", I64, [I1])
    b.ret(b.zext(b.function.args[0], I64))
    for name in wanted:
        kind = _llvm(BY_SHORT[name.rsplit("_", 1)[1]])
        b = _begin(module, f"gpu.{name}", kind, [kind, I64])
        b.ret(b.function.args[0])
    return str(module)


# -- on a card -------------------------------------------------------------------------------------
def device(wanted: Iterable[str]) -> str:
    """The functions for a card."""
    module = ir.Module("device")

    def register(b: ir.IRBuilder, name: str) -> Any:
        symbol = f"llvm.nvvm.read.ptx.sreg.{name}.x"
        return b.zext(numba_functions.declared(b, symbol, I32, []), I64)

    for name in INDICES:
        b = _begin(module, f"gpu.{name}", I64, [])
        if name == "barrier":
            _barrier(b)
            b.ret(I64(0))
        elif name == "grid_index":
            start = b.mul(register(b, "ctaid"), register(b, "ntid"))
            b.ret(b.add(start, register(b, "tid")))
        elif name == "grid_size":
            b.ret(b.mul(register(b, "nctaid"), register(b, "ntid")))
        else:
            special = {"thread_index": "tid", "block_index": "ctaid", "block_size": "ntid"}
            b.ret(register(b, special[name]))
    b = _begin(module, "gpu.ballot", I64, [I1])
    flags = [I32(-1), b.function.args[0]]
    b.ret(b.zext(numba_functions.declared(b, "llvm.nvvm.vote.ballot.sync", I32, flags), I64))
    shared = ir.GlobalVariable(module, ir.ArrayType(I64, 256), "gpu.shared", addrspace=3)
    shared.linkage, shared.align = "internal", 8
    shared.initializer = ir.Constant(shared.value_type, ir.Undefined)
    for name in wanted:
        across, primitive, short = name.split("_", 1)[0], name.split("_", 1)[1], ""
        primitive, short = primitive.rsplit("_", 1)
        dtype = BY_SHORT[short]
        kind = _llvm(dtype)
        b = _begin(module, f"gpu.{name}", kind, [kind, I64])
        threads = _Threads(b, dtype, primitive, shared)
        b.ret((threads.column if across == "column" else threads.group)(*b.function.args))
    return str(module)


def _llvm(dtype: DType) -> Any:
    if dtype is bool_:
        return I1
    if dtype.is_float:
        return ir.FloatType() if dtype.bits == 32 else ir.DoubleType()
    return ir.IntType(dtype.bits)


def _begin(module: ir.Module, name: str, result: Any, args: list[Any]) -> ir.IRBuilder:
    function = ir.Function(module, ir.FunctionType(result, args), name)
    for attribute in ("alwaysinline", "convergent"):
        function.attributes.add(attribute)
    return ir.IRBuilder(function.append_basic_block())


def _barrier(b: ir.IRBuilder) -> None:
    numba_functions.declared(b, "llvm.nvvm.barrier0", ir.VoidType(), [])


class _Threads:
    """What threads of a block add up, in one order; each of them gets the result."""

    def __init__(self, b: ir.IRBuilder, dtype: DType, primitive: str, shared: Any) -> None:
        self.b, self.dtype, self.primitive, self.shared = b, dtype, primitive, shared
        self.thread = numba_functions.declared(b, "llvm.nvvm.read.ptx.sreg.tid.x", I32, [])

    def combine(self, x: Any, y: Any) -> Any:
        plain = {"add": self.b.fadd, "multiply": self.b.fmul}.get(self.primitive)
        if self.dtype.is_float and plain is not None:
            return plain(x, y)
        return numba_functions.BINARY[self.primitive][0](self.b, self.dtype, [x, y])

    def group(self, value: Any, wide: Any) -> Any:
        """Of `wide` neighbours: lanes of a warp by halves, then warps by halves."""
        b = self.b
        width = b.trunc(wide, I32)
        lanes = self._warp(value, width)
        lane = b.and_(self.thread, I32(WARP - 1))
        most = b.sub(width, I32(1))
        inner = b.select(b.icmp_unsigned("<", most, I32(WARP - 1)), most, I32(WARP - 1))
        lanes = self._shuffle("idx", lanes, b.and_(lane, b.not_(inner)))
        start = b.block
        with b.if_then(b.icmp_unsigned(">", width, I32(WARP))):
            warp = b.lshr(self.thread, I32(5))
            _barrier(b)
            b.store(lanes, self._place(warp))
            _barrier(b)
            last = b.sub(b.lshr(width, I32(5)), I32(1))
            mine = b.add(b.and_(warp, b.not_(last)), b.and_(lane, last))
            part = b.load(self._place(mine), typ=lanes.type)
            part = self._warp(part, b.add(last, I32(1)))
            part = self._shuffle("idx", part, I32(0))
            end = b.block
        result = b.phi(lanes.type)
        result.add_incoming(lanes, start)
        result.add_incoming(part, end)
        return result

    def _warp(self, value: Any, width: Any) -> Any:
        b = self.b
        for distance in (16, 8, 4, 2, 1):
            other = self._shuffle("down", value, I32(distance))
            inside = b.icmp_unsigned(">", width, I32(distance))
            value = b.select(inside, self.combine(value, other), value)
        return value

    def column(self, value: Any, wide: Any) -> Any:
        """Of the threads that are `wide` apart, by halves, in shared memory."""
        b = self.b
        width = b.trunc(wide, I32)
        _barrier(b)
        b.store(value, self._place(self.thread))
        _barrier(b)
        size = numba_functions.declared(b, "llvm.nvvm.read.ptx.sreg.ntid.x", I32, [])
        before, first = b.block, b.lshr(size, I32(1))
        loop, done = (b.append_basic_block(name) for name in ("loop", "done"))
        b.branch(loop)
        b.position_at_end(loop)
        half = b.phi(I32)
        half.add_incoming(first, before)
        with b.if_then(b.icmp_unsigned(">=", half, width)):
            with b.if_then(b.icmp_unsigned("<", self.thread, half)):
                mine, other = self._place(self.thread), self._place(b.add(self.thread, half))
                pair = [b.load(place, typ=value.type) for place in (mine, other)]
                b.store(self.combine(*pair), mine)
            _barrier(b)
        rest = b.lshr(half, I32(1))
        half.add_incoming(rest, b.block)
        b.cbranch(b.icmp_unsigned(">=", rest, width), loop, done)
        b.position_at_end(done)
        own = b.and_(self.thread, b.sub(width, I32(1)))
        return b.load(self._place(own), typ=value.type)

    def _place(self, index: Any) -> Any:
        pointer = self.b.gep(self.shared, [I32(0), index])
        kind = _llvm(self.dtype)
        return self.b.bitcast(pointer, ir.PointerType(kind, 3))

    def _shuffle(self, how: str, value: Any, lane: Any) -> Any:
        """The value of another lane: words of 32 bits are what lanes exchange."""
        b, bits = self.b, 1 if self.dtype is bool_ else self.dtype.bits
        whole = ir.IntType(64 if bits == 64 else 32)
        word = b.bitcast(value, ir.IntType(bits)) if self.dtype.is_float else value
        word = b.zext(word, whole) if bits < whole.width else word
        parts = [b.trunc(b.lshr(word, whole(k)), I32) for k in range(0, whole.width, 32)]
        symbol = f"llvm.nvvm.shfl.sync.{how}.i32"
        words = [
            numba_functions.declared(b, symbol, I32, [I32(-1), part, lane, I32(WARP - 1)])
            for part in parts
        ]
        found = words[0]
        if whole.width == 64:
            low, high = (b.zext(w, I64) for w in words)
            found = b.or_(low, b.shl(high, I64(32)))
        found = b.trunc(found, ir.IntType(bits)) if bits < whole.width else found
        return b.bitcast(found, value.type) if self.dtype.is_float else found
