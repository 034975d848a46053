"""The collector rests during a process's first compile, and works as before it afterwards."""

from __future__ import annotations

import subprocess
import sys

FIRST = """
import gc, weakref
import numpy as np
import graphc

x = graphc.placeholder("x", (3,))
{before}
compile = graphc.compile  # what that imports comes before
gc.collect()
counted = []
gc.callbacks.append(lambda phase, info: counted.append(phase))
made = compile([x], graphc.tanh(x) + 1)
assert not counted or {before!r}, counted
{after}
made = compile([x], graphc.exp(x) + graphc.sin(x))  # another one: as Python has it
assert counted or {before!r}


class Knot:
    pass


knot = Knot()
knot.itself, seen = knot, weakref.ref(knot)
del knot
gc.collect()
assert seen() is None
"""


def python(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_nothing_is_collected_during_the_first_compile() -> None:
    python(FIRST.format(before="", after="assert gc.isenabled() and gc.get_freeze_count() == 0"))


def test_who_has_turned_it_off_finds_it_off() -> None:
    python(FIRST.format(before="gc.disable()", after="assert not gc.isenabled()"))


def test_what_the_user_has_frozen_stays_frozen() -> None:
    frozen = "gc.freeze()"
    python(FIRST.format(before=frozen, after="assert gc.get_freeze_count() > 0"))


def test_a_compile_that_fails_leaves_it_on() -> None:
    python("""
import gc
from graphc.runtime.collector import resting

try:
    with resting():
        assert not gc.isenabled()
        raise KeyboardInterrupt
except KeyboardInterrupt:
    assert gc.isenabled()
with resting():
    assert gc.isenabled()
""")
