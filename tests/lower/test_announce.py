"""Programs that say while they run which results are there: in which order, and who hears it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.lower.announce import READY
from graphc.runtime import executable
from graphc.runtime.compile import compile_announcing

RNG = np.random.default_rng(5)


@pytest.fixture(autouse=True)
def call_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transforms call back, as where NumPy has no loops for them: tests wait in the calls."""
    monkeypatch.setattr(executable, "vector_loop", lambda name: (0, 0))


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """An end to read from, which does not wait, and what a program is told of the other."""
    ear, bell = os.pipe()
    os.set_blocking(ear, False)
    yield ear, bell + 1
    os.close(ear)
    os.close(bell)


def _heard(ear: int) -> bytes:
    try:
        return os.read(ear, 1000)
    except BlockingIOError:
        return b""


def _call(function: Any, arrays: list[Any], results: list[Any], listener: int) -> None:
    function.caller.into(*arrays, [r.ctypes.data for r in results], listener)


def _layers() -> tuple[list[Any], list[Any]]:
    """A loss, a state of no dims and the gradients of three layers, the first behind an FFT."""
    x = gc.placeholder("announced x", ("n", 8))
    weights = [gc.placeholder(f"announced w{i}", (8, 8)) for i in range(3)]
    h = gc.real(gc.fft.fft(x @ weights[0]))
    for w in weights[1:]:
        h = gc.tanh(h @ w)
    loss = gc.mean(h * h)
    return [x, *weights], [loss, h, *gc.grad(loss, weights)]


def test_results_go_where_they_are_wanted_and_are_those_of_a_call(pipe: tuple[int, int]) -> None:
    """Of several sizes, with and without one who listens; inputs and constants are results too."""
    inputs, outputs = _layers()
    function = compile_announcing(
        inputs, [*outputs, inputs[0], outputs[0], gc.constant(3.0), outputs[1][:0]], "announced"
    )
    for n, listener in ((5, pipe[1]), (3, 0), (5, pipe[1])):
        arrays = [RNG.normal(size=(k, 8)).astype("float32") for k in (n, 8, 8, 8)]
        expected = function.flat(*arrays)
        results = [np.full_like(e, 7) for e in map(np.asarray, expected)]
        _call(function, arrays, results, listener)
        assert _heard(pipe[0]) == bytes([READY] * len(function.caller.announced) * bool(listener))
        for result, e in zip(results, expected, strict=True):
            np.testing.assert_array_equal(result, e)


def test_gradients_of_late_layers_are_there_before_the_backward_pass_is_over(
    pipe: tuple[int, int],
) -> None:
    """The FFT of the backward pass counts what was said before it, and sees these gradients whole;
    that of the first layer needs its result."""
    function: Any = compile_announcing(*_layers(), "announced")
    order = function.caller.announced
    assert sorted(output for _, outputs in order for output in outputs) == [0, 1, 2, 3, 4]
    left = [count for count, _ in order]
    assert left == sorted(left, reverse=True)
    assert left[-1] == 0
    arrays = [RNG.normal(size=(k, 8)).astype("float32") for k in (6, 8, 8, 8)]
    expected = function.flat(*arrays)
    results = [np.zeros_like(e) for e in map(np.asarray, expected)]
    counts: list[int] = []
    hosts = function.caller.executable._hosts

    def listening(host: Any) -> Any:
        def call(*given: Any) -> None:
            counts.append(len(_heard(pipe[0])))
            for _, outputs in order[: counts[-1]]:
                for i in outputs:
                    np.testing.assert_array_equal(results[i], expected[i])
            host(*given)

        return call

    for site in hosts:
        hosts[site] = listening(hosts[site])
    _call(function, arrays, results, pipe[1])
    forward, backward = counts
    early = {i for _, outputs in order[:backward] for i in outputs}
    assert forward == 0
    assert early >= {3, 4}
    assert 2 not in early
    assert len(_heard(pipe[0])) == len(order) - backward


def test_nobody_is_told_by_programs_that_are_not_asked(pipe: tuple[int, int]) -> None:
    inputs, outputs = _layers()
    plain = gc.compile(inputs, outputs)
    assert "@write(" not in plain.compilation.object.llvm_ir
    assert "announced" not in plain.caller.manifest


def test_a_call_that_fails_stops_saying(pipe: tuple[int, int]) -> None:
    x = gc.placeholder("announced failing", ("n",))
    i = gc.placeholder("announced index", ("m",), "int64")
    taken = gc.take(x, i)
    function: Any = compile_announcing([x, i], [gc.sum(x * x), gc.cumsum(taken)], "failing")
    results = [np.zeros((), "float32"), np.zeros(2, "float32")]
    with pytest.raises(gc.errors.RuntimeFailure):
        _call(function, [np.ones(3, "float32"), np.array([0, 9])], results, pipe[1])
    assert len(_heard(pipe[0])) < len(function.caller.announced)
    _call(function, [np.ones(3, "float32"), np.array([0, 2])], results, pipe[1])
    np.testing.assert_array_equal(results[1], [1, 2])
    assert len(_heard(pipe[0])) == len(function.caller.announced)
