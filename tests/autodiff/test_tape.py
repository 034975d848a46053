"""`GradientTape`, against `gc.grad` and by hand; values of tensors that need no input."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, GradientError, SymbolicValueError


def test_a_gradient_as_written() -> None:
    w, b = gc.variable([[1.0, 2.0]], "tape_w"), gc.variable([0.5], "tape_b")
    x = gc.constant([[3.0], [4.0]])
    with gc.GradientTape() as tape:
        y = w @ x + b
        loss = gc.sum(y * y)
    dw, db = tape.gradient(loss, [w, b])
    np.testing.assert_array_equal(dw.numpy(), [[2 * 11.5 * 3, 2 * 11.5 * 4]])
    np.testing.assert_array_equal(db.numpy(), [23])
    assert dw is gc.grad(loss, w)
    w.value = [[0.0, 0.0]]  # a value is that of the variables as they are now
    np.testing.assert_array_equal(db.numpy(), [1])


def test_intermediates_and_structures() -> None:
    x = gc.variable(2.0, "tape_x")
    with gc.GradientTape(persistent=True) as tape:
        y = x * x
        z = gc.exp(y) + y
    found = tape.gradient(z, {"x": x, "y": [y]})
    assert found["y"][0].numpy() == pytest.approx(np.exp(4) + 1)
    assert found["x"].numpy() == pytest.approx((np.exp(4) + 1) * 4)
    assert tape.gradient([y, z], x).numpy() == pytest.approx(4 + (np.exp(4) + 1) * 4)
    assert tape.gradient(z, y, output_gradients=gc.constant(2.0)).numpy() == pytest.approx(
        2 * (np.exp(4) + 1)
    )
    assert tape.gradient(z, z).numpy() == 1


def test_none_for_what_is_no_source() -> None:
    w = gc.variable(2.0, "tape_w2")
    fixed = gc.variable(3.0, "tape_fixed", trainable=False)
    c, other = gc.constant(4.0), gc.variable(1.0, "tape_other")
    with gc.GradientTape(persistent=True) as tape:
        y = w * fixed * c
    assert tape.gradient(y, [w, fixed, c, other])[1:] == [None, None, None]
    zeros = tape.gradient(y, [fixed, other], unconnected_gradients="zero")
    assert [z.numpy() for z in zeros] == [0, 0]
    assert tape.watched_variables() == (w,)
    with gc.GradientTape() as tape:
        tape.watch([c, fixed])
        y = w * fixed * c
    assert [g.numpy() for g in tape.gradient(y, (w, fixed, c))] == [12, 8, 6]
    with gc.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(w)
        y = w * other
    assert tape.gradient(y, [other, w])[0] is None


def test_what_was_computed_before_is_a_constant() -> None:
    x = gc.variable(3.0, "tape_x3")
    before = x * x
    with gc.GradientTape(persistent=True) as tape:
        y = before * x
        z = x * x * x  # `before` is the same node as x * x, and is computed here again
    after = y * 2
    assert tape.gradient(z, x).numpy() == 27
    assert tape.gradient(after, x) is None
    with gc.GradientTape(persistent=True) as tape:
        y = before * x
    assert tape.gradient(y, x).numpy() == 9
    assert tape.gradient(y, before) is None
    with gc.GradientTape() as tape:
        tape.watch(before)
        y = before * x
    assert [g.numpy() for g in tape.gradient(y, [before, x])] == [3, 9]


def test_nested_tapes_are_second_derivatives() -> None:
    x = gc.variable(2.0, "tape_x4")
    with gc.GradientTape() as outer:
        with gc.GradientTape() as inner:
            y = x**3
        dy = inner.gradient(y, x)
    assert dy.numpy() == 12
    assert outer.gradient(dy, x).numpy() == 12


def test_a_second_use_is_an_error() -> None:
    x = gc.variable(2.0, "tape_x5")
    with gc.GradientTape() as tape:
        y = x * 3
    tape.gradient(y, x)
    with pytest.raises(GradientError, match=r"persistent=True"):
        tape.gradient(y, x)
    tape.reset()
    with tape:
        y = x * 5
        with pytest.raises(ArgumentError, match="recording already"):
            tape.__enter__()
    assert tape.gradient(y, x).numpy() == 5


def test_threads_have_tapes_of_their_own() -> None:
    x, found = gc.variable(2.0, "tape_x6"), []
    with gc.GradientTape(persistent=True) as tape:
        threads = [threading.Thread(target=lambda: found.append(x * 7)) for _ in range(1)]
        for t in threads:
            t.start()
            t.join()
        mine = x * 11
    assert tape.gradient(found[0], x) is None
    assert tape.gradient(mine, x).numpy() == 11


def test_loops_and_training_by_hand() -> None:
    w = gc.variable(0.3, "tape_w7", dtype="float64")
    with gc.GradientTape() as tape:
        loss = (w * 1.5 - 2.0) ** 2
    slope = tape.gradient(loss, w).numpy()
    assert (float(loss.numpy()), float(slope)) == pytest.approx((2.4025, -4.65))
    w.value = w.value - 0.1 * slope
    assert (float(w.numpy()), float(loss.numpy())) == pytest.approx((0.765, 0.72675625))
    first, steps = gc.constant(0.0, "float64"), gc.constant([1.0, 2.0], "float64")
    with gc.GradientTape() as tape:
        total, _ = gc.scan(lambda c, x: (c * w + x, None), first, steps)
    assert tape.gradient(total, w).numpy() == 1


def test_wrong_arguments() -> None:
    x = gc.variable(2.0, "tape_x8")
    with gc.GradientTape(persistent=True) as tape:
        y = x * 3
    bad: list[Any] = [
        (lambda: tape.gradient(3.0, x), ArgumentError),
        (lambda: tape.gradient(y, "x"), ArgumentError),
        (lambda: tape.gradient(y, x, unconnected_gradients="one"), ArgumentError),
        (lambda: tape.gradient(y, x, output_gradients=[1.0, 2.0]), ArgumentError),
        (lambda: tape.watch(gc.constant([1, 2])), GradientError),
    ]  # fmt: skip
    for call, kind in bad:
        with pytest.raises(kind):
            call()


# -- values ----------------------------------------------------------------------------------------
def test_values_without_an_input() -> None:
    c, v = gc.constant([1, 2, 3]), gc.variable([[1.0, 2.0]], "shown")
    np.testing.assert_array_equal((c * 2).numpy(), [2, 4, 6])
    assert isinstance(gc.sum(c).numpy(), np.int64)
    np.testing.assert_array_equal(gc.exp(v).numpy(), np.exp(v.value))
    with pytest.raises(SymbolicValueError, match="needs an input") as caught:
        (gc.placeholder("absent") * v).numpy()
    assert "absent" in str(caught.value)


def test_constants_and_variables_show_values_shape_and_dtype() -> None:
    c, v = gc.constant([1, 2, 3]), gc.variable([[1.0, 2.5]], "shown2")
    assert repr(c) == "<Tensor i64[3] = [1, 2, 3]>"
    assert repr(v) == "<Variable 'shown2' f32[1,2] = [[1. , 2.5]]>"
    assert str(c) == "Tensor([1 2 3], shape=(3,), dtype=int64)"
    assert str(v) == "Variable('shown2', [[1.  2.5]], shape=(1, 2), dtype=float32)"
    v.value = [[0.0, 0.0]]
    assert "0." in repr(v)
    assert len(repr(gc.constant(np.zeros((50, 50))))) < 120
    x = gc.placeholder("shown3", (2,))
    assert str(x * v[0]) == repr(x * v[0])
