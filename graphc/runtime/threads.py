"""A parallel for-loop that native code calls by address, and the number of threads for it.

You hand `parallel_for_address()` to compiled code, which calls

    void parallel_for(worker, args, dims, steps, data, 0, array_count, i32 num_threads)

and gets `dims[0]` chunks run on at most num_threads threads, its own among them; for chunk c

    void worker(char **args', intp *dims', intp *steps, void *data)
        args'[j] = args[j] + c * steps[j] for j < array_count, dims'[0] = 1

With one array that holds 0, 1, 2, ... and a step of 8 a worker reads which chunk is its own. (This
is the convention of NumPy's and Numba's loops.) The call returns when all chunks have run, and
their writes are seen by the caller. Chunks go to whichever thread is free, so that a thread that
the system has put aside delays nobody: make more chunks than threads where they differ in work,
and let a result depend on the chunk, never on the thread.

Any number of Python threads may call it. The helpers serve one caller at a time; another one, and
a worker that itself calls it, runs its chunks alone, since the cores are busy then.

A helper that wakes on the core of its caller runs when the system has moved it, after milliseconds,
and a step of a training takes less. So on Linux helpers may run where their caller may, but for the
processor that it is on: looked up at each job, and said to the system when it has changed.

Why not an OpenMP runtime: its idle threads spin for a millisecond, as do those of OpenBLAS behind a
product, and the two pools take each other's cores: on two cores a product of 256 x 256 behind an
OpenMP loop took 4 ms instead of 0.15. The helpers here spin for some microseconds, then sleep.
Nor does GNU OpenMP survive a `fork`.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import sys
import threading
from pathlib import Path

from graphc import config
from graphc.runtime.near import one_place

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
%job = type { ptr, ptr, ptr, ptr, i64, i64, i64 }  ; worker args steps data arrays chunks ticket

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


def _pool_ir(processor: str = platform.machine()) -> str:
    pause = _PAUSE.get(processor, "")
    declaration = pause.replace("call", "declare").replace("i32 1", "i32")
    places = _PLACES_IR if sys.platform == "linux" else _NO_PLACES_IR
    text = _POOL_IR.replace("PAUSE_DECLARATION", declaration).replace("PAUSE", pause)
    return (text + places).replace("SPINS", str(_SPINS)).replace("MOST", str(_MOST))


def parallel_for_address() -> int:
    """The address of `parallel_for`; 0 where there is none: in a forked child, without POSIX."""
    pool = None if _forked or os.name != "posix" else _pool()
    return pool.parallel_for if pool else 0


def num_threads() -> int:
    """How many threads a program that is made now may use: `GRAPHC_NUM_THREADS`, else one per core;
    1 in a fork.

    The first answer above 1 compiles the pool and starts the helpers, in some 10 ms.

    Errors: ArgumentError for a bad value of the variable.
    """
    wanted = config.num_threads() or _cores()
    if wanted == 1 or not parallel_for_address():
        return 1
    return 1 + _pool().helpers(wanted - 1)


class _Pool:
    """The native code of the pool and the helpers that run in it, for the life of the process."""

    def __init__(self) -> None:
        import llvmlite.binding as llvm

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        # Unoptimised: it is compiled in 5 ms instead of 18, at a start, and runs as well.
        machine = llvm.Target.from_default_triple().create_target_machine(opt=0, reloc="pic")
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(_pool_ir()), machine)
        with one_place(1 << 16):
            engine.finalize_object()
        self.parallel_for = int(engine.get_function_address("parallel_for"))
        self._add_helper = ctypes.CFUNCTYPE(ctypes.c_int)(engine.get_function_address("add_helper"))
        ctypes.CFUNCTYPE(None)(engine.get_function_address("initialise"))()
        self.stay_alone = ctypes.CFUNCTYPE(None)(engine.get_function_address("stay_alone"))
        # The helpers run this code until the process ends, so nothing may free it before.
        engine.detach()
        self._started = 0
        self._lock = threading.Lock()

    def helpers(self, wanted: int) -> int:
        """Start helpers until there are `wanted`, if the system gives so many; how many of them."""
        if self._started < wanted:
            with self._lock:
                self._start(wanted)
        return min(wanted, self._started)

    def _start(self, wanted: int) -> None:
        import signal

        # A signal is for a thread that runs Python, or it would not interrupt what waits there.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            while self._started < wanted and self._add_helper() == 0:
                self._started += 1
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


_creation = threading.Lock()


@functools.cache
def _created() -> _Pool:
    return _Pool()


def _pool() -> _Pool:
    with _creation:
        return _created()


@functools.cache
def _cores() -> int:
    """The physical cores this process may run on, and no more than its container's share of them.

    Two hardware threads of one core gain little in a loop that keeps its arithmetic units busy.
    """
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    cores = {_siblings(cpu) for cpu in os.sched_getaffinity(0)}
    return max(1, min(len(cores), _share()))


def _siblings(cpu: int) -> str:
    """The processors that share a core with this one, as Linux writes them; else itself."""
    try:
        return Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text()
    except OSError:
        return str(cpu)


def _share(limits: str = "/sys/fs/cgroup/cpu.max") -> int:
    """How many processors' worth of time the container may use, rounded up: `quota period`."""
    try:
        quota, period = Path(limits).read_text().split()
        return -(-int(quota) // int(period))
    except (OSError, ValueError, ZeroDivisionError):  # no container, or "max": no limit
        return sys.maxsize


_forked = False


def _after_fork() -> None:
    # The helpers are gone in the child, and whatever they held is held for ever. Programs that were
    # made for them find them busy.
    global _forked
    _forked = True
    if _created.cache_info().currsize:
        _created().stay_alone()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
