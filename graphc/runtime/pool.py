"""The thread pool as LLVM IR: jobs, helpers that run their chunks, ranges that are cut into them.

`threads.py` says what it does, and loads it.
"""

from __future__ import annotations

import platform
import sys

# How the machine says that it waits for another thread. Elsewhere a waiting thread only loops.
_PAUSE = {
    "x86_64": "call void @llvm.x86.sse2.pause()",
    "AMD64": "call void @llvm.x86.sse2.pause()",
    "aarch64": "call void @llvm.aarch64.hint(i32 1)",
    "arm64": "call void @llvm.aarch64.hint(i32 1)",
}

# Some 35 us, which cover the way from one loop of a program to the next, or to the next call. Where
# a helper sleeps it takes as long to wake: a training step of 0.3 ms took 0.5 with a tenth of that.
_SPINS = 1500
_MOST = 1024  # helpers
_CHUNKS = 2  # of a range for each thread, so that one that is held up delays little
_MOST_CHUNKS = 256

# Sets of up to 1,024 processors, as the C library takes them; `@caller` is -1 before the first job.
_PLACES_IR = """
declare i32 @sched_getcpu()
declare i32 @sched_getaffinity(i32, i64, ptr)
declare i32 @pthread_setaffinity_np(i64, i64, ptr)

define internal void @keep_off_caller() {
  %set = alloca [16 x i64]
  %cpu = call i32 @sched_getcpu()
  %before = load atomic i32, ptr @caller acquire, align 4
  %moved = icmp ne i32 %cpu, %before
  %known = icmp ult i32 %cpu, 1024
  %new = and i1 %moved, %known
  br i1 %new, label %look, label %end
look:
  store atomic i32 %cpu, ptr @caller release, align 4
  %failed = call i32 @sched_getaffinity(i32 0, i64 128, ptr %set)
  %found = icmp eq i32 %failed, 0
  br i1 %found, label %take, label %end
take:
  %word = lshr i32 %cpu, 6
  %bit = and i32 %cpu, 63
  %bit.wide = zext i32 %bit to i64
  %mine = shl i64 1, %bit.wide
  %others = xor i64 %mine, -1
  %at.mine = getelementptr i64, ptr %set, i32 %word
  %near = load i64, ptr %at.mine
  %near.others = and i64 %near, %others
  store i64 %near.others, ptr %at.mine
  br label %count
count:
  %i = phi i32 [ 0, %take ], [ %i.next, %count ]
  %any = phi i64 [ 0, %take ], [ %any.next, %count ]
  %at = getelementptr i64, ptr %set, i32 %i
  %some = load i64, ptr %at
  %any.next = or i64 %any, %some
  %i.next = add i32 %i, 1
  %counted = icmp eq i32 %i.next, 16
  br i1 %counted, label %judge, label %count
judge:
  %elsewhere = icmp ne i64 %any.next, 0
  br i1 %elsewhere, label %each, label %end
each:
  %k = phi i32 [ 0, %judge ], [ %k.next, %tell ]
  %helpers = load atomic i32, ptr @helpers acquire, align 4
  %more = icmp slt i32 %k, %helpers
  br i1 %more, label %tell, label %end
tell:
  %at.thread = getelementptr i64, ptr @threads, i32 %k
  %thread = load i64, ptr %at.thread
  call i32 @pthread_setaffinity_np(i64 %thread, i64 128, ptr %set)
  %k.next = add i32 %k, 1
  br label %each
end:
  ret void
}
"""
_NO_PLACES_IR = """
define internal void @keep_off_caller() {
  ret void
}
"""

# One job at a time is open to the helpers. `state` counts the helpers inside it (low 32 bits) and,
# while it is open, holds how many may be (high 32 bits). A helper enters by compare-and-swap, and
# only then reads `job`, which lies on the caller's stack; the caller closes the state, waits until
# it is 0, and only then returns. A helper that wakes late finds the state closed and nobody waits
# for it. `generation` counts the jobs: it changes after a job is opened and under the mutex, so a
# helper that has seen no open job since it read `generation` cannot sleep past one.
_POOL_IR = """
%job = type { ptr, ptr, ptr, ptr, i64, i64, i64, i32 }
; worker args steps data arrays chunks ticket, and the caller's mode

@busy = internal global i32 0, align 128
@state = internal global i64 0, align 128
@generation = internal global i64 0, align 128
@job = internal global ptr null, align 128
@mutex = internal global [16 x i64] zeroinitializer, align 128
@opened = internal global [16 x i64] zeroinitializer, align 128
@left = internal global [16 x i64] zeroinitializer, align 128
@threads = internal global [MOST x i64] zeroinitializer
@helpers = internal global i32 0
@caller = internal global i32 -1  ; the processor that helpers keep off

declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_detach(i64)
declare i32 @pthread_mutex_init(ptr, ptr)
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_init(ptr, ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_signal(ptr)
declare i32 @pthread_cond_broadcast(ptr)
PAUSE_DECLARATION

define void @initialise() {
  call i32 @pthread_mutex_init(ptr @mutex, ptr null)
  call i32 @pthread_cond_init(ptr @opened, ptr null)
  call i32 @pthread_cond_init(ptr @left, ptr null)
  ret void
}

define void @stay_alone() {
  store atomic i32 1, ptr @busy seq_cst, align 4
  ret void
}

define i32 @add_helper() {
  %count = load i32, ptr @helpers
  %full = icmp eq i32 %count, MOST
  br i1 %full, label %refuse, label %create
refuse:
  ret i32 1
create:
  %thread = getelementptr [MOST x i64], ptr @threads, i64 0, i32 %count
  %failed = call i32 @pthread_create(ptr %thread, ptr null, ptr @help, ptr null)
  %ok = icmp eq i32 %failed, 0
  br i1 %ok, label %detach, label %end
detach:
  %id = load i64, ptr %thread
  call i32 @pthread_detach(i64 %id)
  %more = add i32 %count, 1
  store atomic i32 %more, ptr @helpers release, align 4
  store atomic i32 -1, ptr @caller release, align 4  ; for the new one too
  br label %end
end:
  ret i32 %failed
}

define internal void @run_chunks(ptr %job) {
  %worker = load ptr, ptr %job
  %args.at = getelementptr %job, ptr %job, i64 0, i32 1
  %args = load ptr, ptr %args.at
  %steps.at = getelementptr %job, ptr %job, i64 0, i32 2
  %steps = load ptr, ptr %steps.at
  %data.at = getelementptr %job, ptr %job, i64 0, i32 3
  %data = load ptr, ptr %data.at
  %arrays.at = getelementptr %job, ptr %job, i64 0, i32 4
  %arrays = load i64, ptr %arrays.at
  %chunks.at = getelementptr %job, ptr %job, i64 0, i32 5
  %chunks = load i64, ptr %chunks.at
  %ticket = getelementptr %job, ptr %job, i64 0, i32 6
  %mine = alloca ptr, i64 %arrays
  %one = alloca i64
  br label %take
take:
  %chunk = atomicrmw add ptr %ticket, i64 1 seq_cst
  %some = icmp slt i64 %chunk, %chunks
  br i1 %some, label %place, label %end
place:
  %j = phi i64 [ 0, %take ], [ %j.next, %move ]
  %placed = icmp eq i64 %j, %arrays
  br i1 %placed, label %run, label %move
move:
  %step.at = getelementptr i64, ptr %steps, i64 %j
  %step = load i64, ptr %step.at
  %base.at = getelementptr ptr, ptr %args, i64 %j
  %base = load ptr, ptr %base.at
  %distance = mul i64 %chunk, %step
  %moved = getelementptr i8, ptr %base, i64 %distance
  %moved.at = getelementptr ptr, ptr %mine, i64 %j
  store ptr %moved, ptr %moved.at
  %j.next = add i64 %j, 1
  br label %place
run:
  store i64 1, ptr %one
  call void %worker(ptr %mine, ptr %one, ptr %steps, ptr %data)
  br label %take
end:
  ret void
}

define internal ptr @help(ptr %unused) {
  br label %look
look:
  %seen = load atomic i64, ptr @generation seq_cst, align 8
  br label %try
try:
  %now = load atomic i64, ptr @state seq_cst, align 8
  %inside = and i64 %now, 4294967295
  %room = lshr i64 %now, 32
  %may = icmp ult i64 %inside, %room
  br i1 %may, label %enter, label %wait
enter:
  %more = add i64 %now, 1
  %swap = cmpxchg ptr @state, i64 %now, i64 %more seq_cst seq_cst
  %entered = extractvalue { i64, i1 } %swap, 1
  br i1 %entered, label %work, label %try
work:
  %job = load ptr, ptr @job
  %mode = getelementptr %job, ptr %job, i64 0, i32 7
  call void @take_mode(ptr %mode)
  call void @run_chunks(ptr %job)
  %before = atomicrmw sub ptr @state, i64 1 seq_cst
  %last = icmp eq i64 %before, 1
  br i1 %last, label %tell, label %wait
tell:
  call i32 @pthread_mutex_lock(ptr @mutex)
  call i32 @pthread_cond_signal(ptr @left)
  call i32 @pthread_mutex_unlock(ptr @mutex)
  br label %wait
wait:
  br label %spin
spin:
  %turn = phi i64 [ 0, %wait ], [ %turn.next, %again ]
  %early = load atomic i64, ptr @generation seq_cst, align 8
  %changed = icmp ne i64 %early, %seen
  br i1 %changed, label %look, label %pause
pause:
  PAUSE
  %turn.next = add i64 %turn, 1
  %enough = icmp eq i64 %turn.next, SPINS
  br i1 %enough, label %sleep, label %again
again:
  br label %spin
sleep:
  call i32 @pthread_mutex_lock(ptr @mutex)
  br label %doze
doze:
  %late = load atomic i64, ptr @generation seq_cst, align 8
  %same = icmp eq i64 %late, %seen
  br i1 %same, label %nap, label %rise
nap:
  call i32 @pthread_cond_wait(ptr @opened, ptr @mutex)
  br label %doze
rise:
  call i32 @pthread_mutex_unlock(ptr @mutex)
  br label %look
}

define void @parallel_for(ptr %worker, ptr %args, ptr %dims, ptr %steps, ptr %data,
                          i64 %inner, i64 %arrays, i32 %threads) {
  %job = alloca %job, align 128
  %chunks = load i64, ptr %dims
  store ptr %worker, ptr %job
  %args.at = getelementptr %job, ptr %job, i64 0, i32 1
  store ptr %args, ptr %args.at
  %steps.at = getelementptr %job, ptr %job, i64 0, i32 2
  store ptr %steps, ptr %steps.at
  %data.at = getelementptr %job, ptr %job, i64 0, i32 3
  store ptr %data, ptr %data.at
  %arrays.at = getelementptr %job, ptr %job, i64 0, i32 4
  store i64 %arrays, ptr %arrays.at
  %chunks.at = getelementptr %job, ptr %job, i64 0, i32 5
  store i64 %chunks, ptr %chunks.at
  %ticket = getelementptr %job, ptr %job, i64 0, i32 6
  store i64 0, ptr %ticket
  %many.threads = icmp sgt i32 %threads, 1
  %many.chunks = icmp sgt i64 %chunks, 1
  %many = and i1 %many.threads, %many.chunks
  br i1 %many, label %claim, label %alone
claim:
  %swap = cmpxchg ptr @busy, i32 0, i32 1 seq_cst seq_cst
  %claimed = extractvalue { i32, i1 } %swap, 1
  br i1 %claimed, label %share, label %alone
alone:
  call void @run_chunks(ptr %job)
  ret void
share:
  %mode = getelementptr %job, ptr %job, i64 0, i32 7
  call void @tell_mode(ptr %mode)
  call void @keep_off_caller()
  store ptr %job, ptr @job
  %helpers = sub i32 %threads, 1
  %wide = zext i32 %helpers to i64
  %open = shl i64 %wide, 32
  store atomic i64 %open, ptr @state seq_cst, align 8
  call i32 @pthread_mutex_lock(ptr @mutex)
  atomicrmw add ptr @generation, i64 1 seq_cst
  call i32 @pthread_cond_broadcast(ptr @opened)
  call i32 @pthread_mutex_unlock(ptr @mutex)
  call void @run_chunks(ptr %job)
  atomicrmw and ptr @state, i64 4294967295 seq_cst
  br label %spin
spin:
  %turn = phi i64 [ 0, %share ], [ %turn.next, %again ]
  %early = load atomic i64, ptr @state seq_cst, align 8
  %empty = icmp eq i64 %early, 0
  br i1 %empty, label %finish, label %pause
pause:
  PAUSE
  %turn.next = add i64 %turn, 1
  %enough = icmp eq i64 %turn.next, SPINS
  br i1 %enough, label %sleep, label %again
again:
  br label %spin
sleep:
  call i32 @pthread_mutex_lock(ptr @mutex)
  br label %doze
doze:
  %late = load atomic i64, ptr @state seq_cst, align 8
  %done = icmp eq i64 %late, 0
  br i1 %done, label %rise, label %nap
nap:
  call i32 @pthread_cond_wait(ptr @left, ptr @mutex)
  br label %doze
rise:
  call i32 @pthread_mutex_unlock(ptr @mutex)
  br label %finish
finish:
  store atomic i32 0, ptr @busy seq_cst, align 4
  ret void
}
"""


# A range in chunks, of which each has its number from a table: `parallel_for` counts along it.
_NUMBERS = ", ".join(f"i64 {number}" for number in range(_MOST_CHUNKS))
_SHARE_IR = f"""
@numbers = internal constant [{_MOST_CHUNKS} x i64] [{_NUMBERS}]
%range = type {{ ptr, ptr, i64, i64, i64, i64, i64 }}
; span words begin end, how long a chunk is, how many are longer, by how much

declare i64 @llvm.smin.i64(i64, i64)

define void @share(ptr %span, ptr %words, i64 %begin, i64 %end, i64 %unit, i64 %threads) {{
  %range = alloca %range
  %args = alloca ptr
  %dims = alloca i64
  %steps = alloca i64
  %wanted = mul i64 %threads, {_CHUNKS}
  %chunks = call i64 @llvm.smin.i64(i64 %wanted, i64 {_MOST_CHUNKS})
  %extent = sub i64 %end, %begin
  %more = add i64 %extent, %unit
  %rounded = add i64 %more, -1
  %units = sdiv i64 %rounded, %unit
  %least = sdiv i64 %units, %chunks
  %each = mul i64 %least, %unit
  %longer = srem i64 %units, %chunks
  store ptr %span, ptr %range
  %words.at = getelementptr %range, ptr %range, i64 0, i32 1
  store ptr %words, ptr %words.at
  %begin.at = getelementptr %range, ptr %range, i64 0, i32 2
  store i64 %begin, ptr %begin.at
  %end.at = getelementptr %range, ptr %range, i64 0, i32 3
  store i64 %end, ptr %end.at
  %each.at = getelementptr %range, ptr %range, i64 0, i32 4
  store i64 %each, ptr %each.at
  %longer.at = getelementptr %range, ptr %range, i64 0, i32 5
  store i64 %longer, ptr %longer.at
  %unit.at = getelementptr %range, ptr %range, i64 0, i32 6
  store i64 %unit, ptr %unit.at
  store ptr @numbers, ptr %args
  store i64 %chunks, ptr %dims
  store i64 8, ptr %steps
  %count = trunc i64 %threads to i32
  call void @parallel_for(ptr @chunk, ptr %args, ptr %dims, ptr %steps, ptr %range,
                          i64 0, i64 1, i32 %count)
  ret void
}}

define internal void @chunk(ptr %args, ptr %dims, ptr %steps, ptr %range) {{
  %number.at = load ptr, ptr %args
  %number = load i64, ptr %number.at
  %span = load ptr, ptr %range
  %words.at = getelementptr %range, ptr %range, i64 0, i32 1
  %words = load ptr, ptr %words.at
  %begin.at = getelementptr %range, ptr %range, i64 0, i32 2
  %begin = load i64, ptr %begin.at
  %end.at = getelementptr %range, ptr %range, i64 0, i32 3
  %end = load i64, ptr %end.at
  %each.at = getelementptr %range, ptr %range, i64 0, i32 4
  %each = load i64, ptr %each.at
  %longer.at = getelementptr %range, ptr %range, i64 0, i32 5
  %longer = load i64, ptr %longer.at
  %unit.at = getelementptr %range, ptr %range, i64 0, i32 6
  %unit = load i64, ptr %unit.at
  %before = call i64 @llvm.smin.i64(i64 %number, i64 %longer)
  %ahead = mul i64 %before, %unit
  %all = mul i64 %number, %each
  %distance = add i64 %all, %ahead
  %from = add i64 %begin, %distance
  %is.longer = icmp slt i64 %number, %longer
  %more = select i1 %is.longer, i64 %unit, i64 0
  %own = add i64 %each, %more
  %first = call i64 @llvm.smin.i64(i64 %from, i64 %end)
  %next = add i64 %first, %own
  %last = call i64 @llvm.smin.i64(i64 %next, i64 %end)
  call i32 %span(ptr %words, i64 %first, i64 %last)
  ret void
}}
"""

# How a thread takes subnormal numbers: the control register, where `lower/subnormals.py` sets it.
_MODE_IR = """
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)

define internal void @tell_mode(ptr %place) {
  call void @llvm.x86.sse.stmxcsr(ptr %place)
  ret void
}

define internal void @take_mode(ptr %place) {
  call void @llvm.x86.sse.ldmxcsr(ptr %place)
  ret void
}
"""
_NO_MODE_IR = """
define internal void @tell_mode(ptr %place) {
  ret void
}

define internal void @take_mode(ptr %place) {
  ret void
}
"""


def pool_text(processor: str = platform.machine()) -> str:
    """The module, for a processor of this kind."""
    pause = _PAUSE.get(processor, "")
    declaration = pause.replace("call", "declare").replace("i32 1", "i32")
    places = _PLACES_IR if sys.platform == "linux" else _NO_PLACES_IR
    text = _POOL_IR.replace("PAUSE_DECLARATION", declaration).replace("PAUSE", pause)
    mode = _MODE_IR if processor in ("x86_64", "AMD64") else _NO_MODE_IR
    return (
        (text + _SHARE_IR + mode + places).replace("SPINS", str(_SPINS)).replace("MOST", str(_MOST))
    )
