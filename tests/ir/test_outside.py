"""Which index was out of range: its value, its place, what is allowed, and in which example."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import RuntimeFailure

IDS = gc.placeholder("outside_ids", ("n", 3), "int64")
ROW = gc.placeholder("outside_row", ("n",), "int32")
X = gc.placeholder("outside_x", ("n", 4))
TABLE = gc.variable(np.ones((10, 2), "float32"), name="outside_table")
FEEDS = {
    IDS: np.array([[1, 2, 3], [0, 12, -11]]), ROW: np.array([0, 4], "int32"),
    X: np.ones((2, 4), "float32"),
}  # fmt: skip
MADE = "what is made of 'outside_ids'"

# What is computed; what is allowed; what is told of the first index that is not.
CASES: dict[str, tuple[Callable[[], Any], str, str]] = {
    "take": (
        lambda: gc.take(TABLE, IDS),
        "-10 <= index < 10, along axis 0 of 'outside_table': f32[10,2]",
        "12 at [1, 1] of 'outside_ids'",
    ),
    "embedding": (
        lambda: gc.nn.embedding(IDS + 1, TABLE),
        "-10 <= index < 10, along axis 0 of 'outside_table': f32[10,2]",
        f"13 at [1, 1] of {MADE}",
    ),
    "another axis": (
        lambda: gc.take(X, ROW, axis=1),
        "-4 <= index < 4, along axis 1 of 'outside_x': f32[n,4]",
        "4 at [1] of 'outside_row'",
    ),
    "a named size": (
        lambda: X[ROW],
        "-2 <= index < 2, along axis 0 of 'outside_x': f32[n,4]",
        "4 at [1] of 'outside_row'",
    ),
    "two indices": (
        lambda: gc.exp(X)[IDS[:, 0] * 0, ROW],
        "-4 <= index < 4, along axis 1 of f32[n,4]",
        "4 at [1] of 'outside_row'",
    ),
    "set": (lambda: X.at[:, ROW].set(1.0), "-4 <= index < 4", "4 at [1] of 'outside_row'"),
    "scatter": (
        lambda: gc.scatter_add(gc.zeros((11, 4)), IDS, 1.0),
        "-11 <= index < 11",
        "12 at [1, 1] of 'outside_ids'",
    ),
    "segments": (
        lambda: gc.segment_sum(X, ROW, 3), "-3 <= index < 3", "4 at [1] of 'outside_row'",
    ),
    "a start": (
        lambda: X[:, IDS[1, 1] : IDS[1, 1] + 2], "-4 <= start < 3", f"12 of {MADE}",
    ),
    "labels": (
        lambda: gc.softmax_cross_entropy(X, ROW), "0 <= label < 4", "4 at [1] of 'outside_row'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_an_index_is_named_with_its_place(name: str) -> None:
    make, expected, given = CASES[name]
    with pytest.raises(RuntimeFailure) as caught:
        gc.evaluate(gc.sum(make()), FEEDS)
    assert caught.value.expected.startswith(expected)
    assert caught.value.given == given
    assert "test_outside.py" in caught.value.where


def test_compiled_programs_say_the_same() -> None:
    """One program each for some: all fail in the order in which they compute."""
    for name in ("embedding", "scatter", "labels"):
        make, expected, given = CASES[name]
        step = gc.compile([*FEEDS], [gc.sum(make())], name="outside")
        with pytest.raises(RuntimeFailure, match="out of range") as caught:
            step(*FEEDS.values())
        assert caught.value.expected == expected
        assert caught.value.given == given
        right = (np.zeros_like(a) for a in FEEDS.values())
        assert np.isfinite(step(*right)[0])


def test_an_index_in_a_loop_or_made_by_what_failed_is_not_looked_for() -> None:
    def turn(carry: Any, i: Any) -> tuple[Any, Any]:
        return carry + gc.take(TABLE, i)[0], carry

    looped, _ = gc.scan(turn, gc.zeros(()), ROW * 5)
    step = gc.compile([ROW], [looped, gc.take(TABLE, ROW)], name="outside_loop")
    with pytest.raises(RuntimeFailure, match="out of range") as caught:
        step(FEEDS[ROW])
    assert not caught.value.given


def test_training_names_the_example() -> None:
    x, y = np.arange(60).reshape(20, 3) % 10, np.arange(20) % 5
    model = gc.nn.Sequential([gc.nn.Embedding(10, 2), gc.nn.Flatten(), gc.nn.Dense(5)])
    trainer = gc.train.Trainer(model, loss="softmax_cross_entropy", optimizer="sgd")
    x[13, 2] = 10
    with pytest.raises(RuntimeFailure, match=r"-10 <= index < 10.*table") as caught:
        trainer.fit(x, y, batch_size=8, verbose=False)
    assert "10 at [" in caught.value.given
    assert caught.value.given.endswith("of 'x' (example 13)")
    x[13, 2], y[17] = 0, -1
    with pytest.raises(RuntimeFailure, match="a mask leaves them out") as caught:
        trainer.fit(x, y, batch_size=8, verbose=False)
    assert caught.value.expected == "0 <= label < 5"
    assert caught.value.given.endswith("of 'y' (example 17)")
    with pytest.raises(RuntimeFailure, match=r"-1 at \[17\] of 'y' \(example 17\)"):
        trainer.evaluate(x, y)
