"""A process that forks while other threads build, trace, call and compile: the child goes on.

Each program is one of its own, for a fork takes the test runner with it. In each, another thread is
held inside of what it does when the main thread forks; a child that hangs is ended by its alarm.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")

HEAD = """
import os, signal, sys, threading, time, warnings
import numpy as np
import graphc as gc
warnings.simplefilter("ignore")
x = gc.placeholder("x", ("n",), "float64")
inside, done = threading.Event(), threading.Event()

def forked(child):
    pid = os.fork()
    if pid == 0:
        signal.alarm(120)
        child()
        sys.stdout.flush()
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    assert status == 0, f"the child ended with {status}"
"""

PROGRAMS = {
    "a node is being made": """
from dataclasses import replace
from graphc.ir.node import apply
from graphc.ir.op import registry
tanh = registry()["tanh"]
def infer(*types, **attrs):
    inside.set()
    time.sleep(0.3)
    return tanh.infer(*types, **attrs)
threading.Thread(target=lambda: apply(replace(tanh, infer=infer), (x,))).start()
inside.wait()
forked(lambda: print(gc.tanh(x * 2), repr(gc.Graph([x], [x]))))
""",
    "a call holds its variables": """
import graphc.ir.node
w = gc.variable([1.0], "w")
f = gc.compile([], [], {w: w + 1})
def call():
    with w.cell.lock:
        inside.set()
        done.wait()
threading.Thread(target=call).start()
inside.wait()
forked(lambda: print(f(), w.value))
done.set()
w.value = [5.0]  # the parent goes on
""",
    "a function is being traced": """
main = threading.get_ident()
@gc.jit(target="reference")
def f(a):
    if threading.get_ident() != main:
        inside.set()
        done.wait()
    return a * 2
thread = threading.Thread(target=lambda: f(np.ones(2)))
thread.start()
inside.wait()
forked(lambda: print(f(np.ones(3))))
done.set()
thread.join()
assert f.programs == 1
""",
    "the collector is paused": """
import gc as collector
from graphc.ir.collector import paused_collector
def paused():
    with paused_collector():
        inside.set()
        done.wait()
thread = threading.Thread(target=paused)
thread.start()
inside.wait()
forked(lambda: print(collector.isenabled()))
with paused_collector():
    forked(lambda: print(collector.isenabled()))
done.set()
thread.join()
assert collector.isenabled()
""",
    "a thread holds a lock and forks": """
w = gc.variable([1.0], "w")
with w.cell.lock:
    forked(lambda: None)
    w.value = [2.0]
print(w.value)
""",
    "a module is being imported": """
import importlib, pathlib, tempfile
folder = tempfile.mkdtemp()
pathlib.Path(folder, "slowly.py").write_text("from __main__ import held; held(); NUMBER = 7")
sys.path.insert(0, folder)
def held():
    inside.set()
    done.wait()
    time.sleep(0.3)
os.register_at_fork(before=done.set)  # runs before graphc's own, which was registered earlier
thread = threading.Thread(target=importlib.import_module, args=("slowly",))
thread.start()
inside.wait()
forked(lambda: print(importlib.import_module("slowly").NUMBER))
thread.join()
import colorsys  # the parent's imports go on
forked(lambda: __import__("cmd"))  # and so do a child's
""",
    "who compiles, logs": """
from graphc.lower import numba_cpu
import logging
os.register_at_fork(before=done.set)  # runs first of all
def compile():
    with numba_cpu.lock:  # a fork waits for it
        inside.set()
        done.wait()
        time.sleep(0.3)
        logging.getLogger("seldom").debug("as Numba does")  # takes a lock that a fork takes too
thread = threading.Thread(target=compile)
thread.start()
inside.wait()
signal.alarm(120)
forked(lambda: logging.getLogger("else").debug("and so does a child"))
thread.join()
""",
    "programs are being compiled": """
def compile_many():
    k = 0
    while not done.is_set():
        k += 1
        gc.compile([x], gc.tanh(x * float(k)))
        inside.set()
thread = threading.Thread(target=compile_many)
thread.start()
inside.wait()
for k in range(2):
    forked(lambda: gc.compile([x], gc.exp(x) - float(k))(np.zeros(1)))
    inside.clear()
    inside.wait()
done.set()
thread.join()
""",
}
SHOWN = {
    "a node is being made": "<Tensor f64[n] = tanh> <Graph 'graph': 1 inputs, 1 nodes>\n",
    "a call holds its variables": "[] [2.]\n",
    "a function is being traced": "[2. 2. 2.]\n",
    "the collector is paused": "True\nFalse\n",
    "a thread holds a lock and forks": "[2.]\n",
    "a module is being imported": "7\n",
    "who compiles, logs": "",
    "programs are being compiled": "",
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_fork_while(program: str, tmp_path: Path) -> None:
    code = HEAD + PROGRAMS[program]
    environment = {**os.environ, "GRAPHC_CACHE_DIR": str(tmp_path), "GRAPHC_NUM_THREADS": "1"}
    if program.startswith("programs"):
        environment["GRAPHC_CACHE"] = "0"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=600
    )
    assert (done.stdout, done.stderr) == (SHOWN[program], "")
