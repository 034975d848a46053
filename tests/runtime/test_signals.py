"""Ctrl-C during a native call: it ends, with KeyboardInterrupt, and no variable is another one.

Each program runs in a process of its own, where a thread sends the signal while the call runs. The
calls would take very long: one that does not end is ended by the time that the process may take.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.lower.driver import print_driver
from graphc.lower.interrupt import QUANTUM, ROUTINE, places, turns, writes_variable
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.program import Host, Loop
from graphc.runtime.executable import Executable

HEAD = """
import os, signal, threading, time
import numpy as np
import graphc as gc

w = gc.variable(np.float64(1.0), "w")
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it

def interrupted(call):
    def press():
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)
    threading.Thread(target=press).start()
    try:
        call()
        print("it came to its end")
    except KeyboardInterrupt:
        print("interrupted,", w.value)
"""

PROGRAMS = {
    "a loop": """
y = gc.scan(lambda c, _: (gc.sin(c) + 1, None), w, length=2**42)[0]
interrupted(gc.compile([], y, {w: y}, flush_subnormals=True))
print(np.float32(1e-40) * np.float32(1) > 0)  # the mode is put back
""",
    "a loop that nothing ends": """
y = gc.while_loop(lambda c: c > 0, lambda c: gc.sin(c) + 1, w)
interrupted(gc.compile([], y, {w: y, gc.variable(0.0): gc.sin(w).astype("float32")}))
""",
    "a loop that nothing ends in one": """
n = gc.placeholder("n", (), "int64")
inner = lambda c: gc.while_loop(lambda d: d[0] < n, lambda d: (d[0] + 1, gc.sin(d[1])), (0, c))[1]
y = gc.while_loop(lambda c: c > -2, inner, w)
f = gc.compile([n], y, {w: y})
interrupted(lambda: f(1000))
""",
    "a loop in a loop": """
n = gc.placeholder("n", ("n",), "int8")
def outer(c, _):
    return gc.scan(lambda c, _: (gc.sin(c) + 1, None), c, n)[0], None
y = gc.scan(outer, w, length=2**42)[0]
f = gc.compile([n], y, {w: y})
interrupted(lambda: f(np.zeros(1000, "int8")))
""",
    "a loop that calls back": """
a = gc.variable(np.ones(4))
y = gc.scan(lambda c, _: (gc.flatnonzero(c, size=4) + 1.0, None), a, length=2**42)[0]
interrupted(gc.compile([], y, {w: y[0]}))
""",
    "a loop of LAPACK's": """
a = gc.variable(np.eye(6) * 2)
y = gc.scan(lambda c, _: (gc.linalg.inv(c), None), a, length=2**42)[0]
interrupted(gc.compile([], y, {w: y[0, 0]}))
""",
    "a loop of transforms": """
a = gc.variable(np.ones(64) * 1j)
y = gc.scan(lambda c, _: (gc.fft.ifft(gc.fft.fft(c)), None), a, length=2**42)[0]
interrupted(gc.compile([], y, {w: gc.real(y[0])}))
""",
    "steps": """
a = gc.placeholder("a", ("n", "n"))
y = a
for _ in range(64):
    y = gc.tanh(y @ a)
f = gc.compile([a], y, {w: gc.sum(y).astype("float64")})
interrupted(lambda: f(np.ones((3000, 3000), "float32")))
""",
    "a handler that raises nothing": """
seen = []
signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
y = gc.scan(lambda c, _: (c * 0.5 + 1, None), w, length=2**28)[0]
interrupted(gc.compile([], y, {w: y}))
time.sleep(0.5)
print(len(seen), w.value)
""",
}
SHOWN = {
    "a loop": "interrupted, 1.0\nTrue\n",
    "a handler that raises nothing": "it came to its end\n1 2.0\n",
}


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
@pytest.mark.parametrize("program", PROGRAMS)
def test_ctrl_c_ends(program: str) -> None:
    command = [sys.executable, "-c", HEAD + PROGRAMS[program]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.stdout == SHOWN.get(program, "interrupted, 1.0\n")
    # Of what is raised as a call back begins, before its first line, Python itself writes.
    assert not done.stderr or done.stderr.startswith("Exception ignored on calling ctypes"), done


def test_what_is_raised_before_a_call_back_has_begun_ends_the_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """ctypes then gives native code what the call back gave the last time, which was success."""
    x = gc.placeholder("x", (2, 2), "float64")
    w = gc.variable(np.zeros((2, 2)))
    host, calls = Executable._host, []

    def raising(self: Executable, *arguments: Any) -> int:
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return host(self, *arguments)

    monkeypatch.setattr(Executable, "_host", raising)
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    y = gc.reshape(gc.flatnonzero(gc.flatnonzero(x, size=4), size=4) * 1.0, (2, 2))
    f = gc.compile([x], y, {w: y})
    f(np.eye(2))
    with pytest.raises(KeyboardInterrupt):
        f(np.ones((2, 2)))
    np.testing.assert_array_equal(w.value, [[1, 0], [0, 0]])
    np.testing.assert_array_equal(f(np.ones((2, 2))), [[1, 2], [3, 0]])


def looks(inputs: list[gc.Tensor], outputs: list[gc.Tensor], updates: Any = ()) -> int:
    """At how many places a program looks for signals."""
    graph = gc.Graph(inputs, outputs, updates)
    program = run_pipeline(graph, Stages()).program
    return print_driver(program, 32).text.count("call i32 @gc.look")


def test_only_what_may_take_long_looks_and_only_before_variables_are_written() -> None:
    x = gc.placeholder("x", ("n", "n"))
    small = gc.placeholder("small", (8, 8))

    def loop(length: Any, *, of: gc.Tensor) -> gc.Tensor:
        return gc.scan(lambda c, _: (gc.sin(c @ c), None), of, length=length)[0]

    assert looks([x], [x + 1]) == 0
    assert looks([small], [gc.tanh(gc.tanh(small @ small) @ small)]) == 0
    assert looks([small], [loop(100, of=small)]) == 0
    assert looks([small], [loop(2**40, of=small)]) == 1
    assert looks([x], [loop(100, of=x)]) == 2  # the carry is copied before
    assert looks([x], [gc.tanh(gc.tanh(x @ x) @ x)]) >= 1
    chain = x
    for _ in range(300):
        chain = gc.sin(chain @ x)
    assert 32 <= looks([x], [chain]) <= 64
    v = gc.variable(np.zeros((4096, 4096), "float32"))
    chain = new = gc.sin(v)
    for _ in range(30):
        chain = gc.sin(chain @ new)
    first = gc.Graph([], [chain], [(v, new)])
    program = run_pipeline(first, Stages()).program
    written = [i for i, step in enumerate(program.steps) if writes_variable(step)]
    text = print_driver(program, 32).text
    before = [i for i in places(program.steps) if i <= written[0]]
    assert text.count("call i32 @gc.look") == len(before)
    assert (written[0], len(places(program.steps)) > 20) == (0, True)


def test_a_loop_looks_after_so_many_calls_of_lapack_however_small_their_matrices() -> None:
    """A call takes a microsecond and more, of which the arithmetic of a small matrix is little."""
    a = gc.variable(np.eye(2) * 2)
    y = gc.scan(lambda c, _: (gc.linalg.eigh(c)[1], None), a, length=2**42)[0]
    program = run_pipeline(gc.Graph([], [y], []), Stages()).program
    (loop,) = (step for step in program.steps if isinstance(step, Loop))
    assert any(isinstance(step, Host) for step in loop.body)
    assert turns(loop) <= QUANTUM // ROUTINE


def test_a_loop_looks_after_so_many_transforms() -> None:
    z = gc.variable(np.ones((64, 1 << 10), "complex128"))
    y = gc.scan(lambda c, _: (gc.fft.fft(c), None), z, length=2**42)[0]
    program = run_pipeline(gc.Graph([], [gc.real(y)], []), Stages()).program
    (loop,) = (step for step in program.steps if isinstance(step, Loop))
    assert turns(loop) <= QUANTUM // (64 << 10)
