"""Attention, blocks of transformers, places: masks, shapes, refusals. Numbers: `test_torch.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, DTypeError, ShapeError

RNG = np.random.default_rng(3)


def test_padded_places_are_not_seen() -> None:
    x, mask = gc.placeholder("x", ("n", 5, 4)), gc.placeholder("mask", ("n", 5), "bool")
    value = RNG.normal(size=(2, 5, 4)).astype("float32")
    there = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], bool)
    model = gc.nn.Sequential(
        [gc.nn.TransformerBlock(2, 6, seed=0), gc.nn.TransformerBlock(2, 6, "relu", seed=1)]
    )
    given = gc.evaluate(model(x, mask=mask), {x: value, mask: there})
    short = gc.evaluate(model(x[:1, :3]), {x: value})
    np.testing.assert_allclose(given[0, :3], short[0], rtol=1e-4, atol=1e-5)


def test_causal_places_see_none_later() -> None:
    x = gc.placeholder("x", (1, 6, 4), "float64")
    y = gc.nn.TransformerBlock(2, 6, causal=True, seed=0)(x)
    slope = gc.evaluate(gc.grad(gc.sum(y[:, 2]), x), {x: RNG.normal(size=(1, 6, 4))})
    assert (np.abs(slope[0]).sum(axis=1) > 0).tolist() == [True] * 3 + [False] * 3


def test_masks_of_pairs_and_weights() -> None:
    layer = gc.nn.MultiHeadAttention(2, key_size=3, value_size=5, seed=0)
    q, k = gc.placeholder("q", (2, 3, 4)), gc.placeholder("k", (2, 5, 6))
    pairs = RNG.random((3, 5)) < 0.5
    pairs[:, 0], pairs[1] = True, False
    y, weights = layer(q, k, attention_mask=pairs, return_weights=True)
    assert y.shape == (2, 3, 4)
    data = {q: RNG.normal(size=(2, 3, 4)), k: RNG.normal(size=(2, 5, 6))}
    given = gc.evaluate(weights, data)
    np.testing.assert_allclose(given[:, :, [0, 2]].sum(-1), 1, rtol=1e-6)
    assert (given[:, :, [0, 2]][..., ~pairs[0]][:, :, 0] == 0).all()
    assert not given[:, :, 1].any()  # it sees nothing
    three = layer(q, k, attention_mask=np.stack([pairs, pairs]))
    four = layer(q, k, k, attention_mask=pairs[None, None])
    first, second = gc.evaluate([three, four], data)
    np.testing.assert_allclose(first, second, rtol=1e-6)
    assert [v.shape for v in layer.variables()][::2] == [(4, 6), (6, 6), (6, 10), (10, 4)]


def test_weights_are_dropped_in_training() -> None:
    x = gc.placeholder("x", ("n", 5, 4))
    layer = gc.nn.TransformerBlock(2, 6, dropout=0.5, seed=0)
    assert set(layer.updates(layer(x, training=True))) == {
        v for path, v in layer.paths().items() if path.endswith("key") and "dropout" in path
    }
    assert len(layer.parameters()) == 16


def test_places_as_waves_and_as_vectors() -> None:
    x = gc.placeholder("x", ("n", "t", 5), "float64")
    given = gc.evaluate(gc.nn.PositionalEncoding()(x), {x: np.zeros((1, 7, 5))})[0]
    rates = 10000.0 ** (-np.arange(0, 5, 2) / 5)
    angles = np.arange(7)[:, None] * rates
    np.testing.assert_allclose(given[:, ::2], np.sin(angles), atol=1e-14)
    np.testing.assert_allclose(given[:, 1::2], np.cos(angles[:, :2]), atol=1e-14)
    layer = gc.nn.PositionEmbedding(8, seed=0)
    learned = gc.evaluate(layer(x), {x: np.zeros((1, 7, 5))})[0]
    np.testing.assert_array_equal(learned, layer.table.value[:7])
    with pytest.raises(ShapeError):
        gc.evaluate(layer(x), {x: np.zeros((1, 9, 5))})


X, WIDE = gc.placeholder("attended", (2, 5, 4)), gc.placeholder("wide", (2, 5, 6))


@pytest.mark.parametrize(
    ("wrong", "kind", "message"),
    [
        (lambda: gc.nn.MultiHeadAttention(0), ArgumentError, "positive int"),
        (lambda: gc.nn.MultiHeadAttention(2, dropout=1.0), ArgumentError, r"\[0, 1\)"),
        (lambda: gc.nn.MultiHeadAttention(3)(X), ArgumentError, "the heads do not divide"),
        (lambda: gc.nn.MultiHeadAttention(2)(X[0]), ShapeError, "no batch of sequences"),
        (lambda: gc.nn.MultiHeadAttention(2)(X, X, X[:, :3]), ShapeError, "different sequences"),
        (lambda: gc.nn.MultiHeadAttention(2)(X, mask=X[..., 0]), DTypeError, "of bools"),
        (
            lambda: gc.nn.MultiHeadAttention(2)(X, attention_mask=np.ones((3, 5), bool)),
            ShapeError,
            "does not fit",
        ),
        (lambda: gc.nn.TransformerBlock(2, 0), ArgumentError, "positive int"),
        (lambda: gc.nn.TransformerBlock(2, 8)([X, X]), ArgumentError, "one tensor"),
        (lambda: gc.nn.PositionEmbedding(4)(X), ShapeError, "more times"),
        (lambda: gc.nn.PositionalEncoding()(X[0, 0]), ShapeError, "no axis of times"),
    ],
)
def test_refusals(wrong: Any, kind: Any, message: str) -> None:
    with pytest.raises(kind, match=message):
        wrong()
