"""How attention reads: the formula of the books, with masks, heads and dropout by name."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

import graphc as gc
from graphc.symbolic.attention import joined_heads, split_heads
from graphc.symbolic.plain import plain

Q, K, V = (gc.placeholder(f"{letter}", ("t", 16)) for letter in ("Q", "K", "V"))
SEEN = gc.placeholder("seen", ("t", "t"), "bool")
BIAS = gc.placeholder("bias", ("t", "t"))
KEY = gc.placeholder("key", (2,), "uint32")


def lines(what: Any) -> list[str]:
    return gc.latex(what).splitlines()


def test_the_formula() -> None:
    y = gc.dot_product_attention(Q, K, V)
    assert gc.latex(y) == (
        r"\operatorname{softmax}\left(\frac{Q K^{\top}}{\sqrt{16}}\right) V"
    )
    assert plain([("y", y)]) == ["y = softmax(Q @ K.T / sqrt(16)) @ V"]


def test_masks_and_causal_are_named() -> None:
    causal = gc.dot_product_attention(Q, K, V, causal=True)
    assert r"\operatorname{softmax}_{\mathrm{causal}}\left(" in gc.latex(causal)
    assert plain([("", causal)]) == [" = softmax(Q @ K.T / sqrt(16), causal) @ V"]
    masked = gc.dot_product_attention(Q, K, V, SEEN)
    assert r"\operatorname{softmax}_{\mathrm{seen}}\left(" in gc.latex(masked)
    assert "mask=seen" in plain([("", masked)])[0]
    added = gc.dot_product_attention(Q, K, V, BIAS)
    assert r"\sqrt{16}} + \mathrm{bias}\right) V" in gc.latex(added)


def test_a_dropout_has_its_mask() -> None:
    y = gc.dot_product_attention(Q, K, V, dropout=0.25, key=KEY)
    first, last = lines({"y": y})[1:3]
    assert r"m_{1} &\sim \operatorname{Bernoulli}_{\mathrm{key}}\left(0.75\right)^{t \times t}" in (
        first
    )
    assert r"\frac{m_{1} \odot \operatorname{softmax}" in last
    assert r"{0.75} V" in last


def test_different_attentions_read_differently() -> None:
    batch = [gc.placeholder(n, ("n", "t", 16)) for n in "abc"]
    found = [
        gc.dot_product_attention(Q, K, V, *mask, **options)
        for mask in ([], [SEEN], [BIAS])
        for options in ({}, {"causal": True}, {"scale": 0.5}, {"scale": 1.0},
                        {"dropout": 0.5, "key": KEY})
    ]  # fmt: skip
    found += [gc.dot_product_attention(K, Q, V), gc.dot_product_attention(*batch)]
    found += [gc.nn.MultiHeadAttention(h, seed=0, name="at")(batch[0]) for h in (1, 2, 4)]
    for write in (gc.latex, lambda t: str(plain([("", t)]))):
        texts = [write(t) for t in found]
        assert all(a != b for a, b in combinations(texts, 2))


def test_a_layer_has_heads_by_their_number() -> None:
    x = gc.placeholder("x", ("n", 9, 16))
    layer = gc.nn.MultiHeadAttention(2, name="mha")
    text = gc.latex(layer(x))
    assert text.splitlines()[1:-1] == [
        r"Q &= x W_{\mathrm{mha/query}} + b_{\mathrm{mha/query}} \\",
        r"K &= x W_{\mathrm{mha/key}} + b_{\mathrm{mha/key}} \\",
        r"V &= x W_{\mathrm{mha/value}} + b_{\mathrm{mha/value}} \\",
        r"\mathrm{head}_{i} &= \operatorname{softmax}\left(\frac{Q_{i} K_{i}^{\top}}{\sqrt{8}}"
        r"\right) V_{i}, \quad i = 1, \ldots, 2 \\",
        r"y &= \operatorname{concat}\left(\mathrm{head}_{1:2}\right) W_{\mathrm{mha/output}} + "
        r"b_{\mathrm{mha/output}}",
    ]


def test_one_head_has_no_number() -> None:
    x = gc.placeholder("x", ("n", 9, 16))
    text = gc.latex(gc.nn.MultiHeadAttention(1, name="single")(x))
    assert "head" not in text
    assert "reshape" not in text
    assert r"\sqrt{16}" in text


def test_what_is_no_split_is_not_taken_for_one() -> None:
    """Other orders of axes, and other sizes, are written as they are."""
    x = gc.placeholder("x", ("n", 9, 16))
    parts = gc.reshape(x, ("n", 9, 2, 8))
    assert split_heads(gc.permute_dims(parts, (0, 2, 1, 3))) is not None
    assert split_heads(gc.permute_dims(parts, (0, 2, 3, 1))) is None
    assert split_heads(gc.permute_dims(gc.reshape(x, ("n", 3, 6, 8)), (0, 2, 1, 3))) is None
    y = gc.dot_product_attention(*[gc.permute_dims(parts, (0, 2, 1, 3))] * 3)
    assert joined_heads(gc.reshape(gc.permute_dims(y, (0, 2, 1, 3)), ("n", 9, 16))) is y
    assert joined_heads(gc.reshape(y, ("n", 9, 16))) is None
    assert "reshape" in gc.latex(gc.reshape(y, ("n", 9, 16)))


def test_heads_by_themselves() -> None:
    """As the compiler has them, which expands attention into products."""
    x = gc.placeholder("x", ("n", 9, 16))
    parts = gc.reshape(x, ("n", 9, 2, 8))
    split, turned = (gc.permute_dims(parts, axes) for axes in ((0, 2, 1, 3), (0, 2, 3, 1)))
    assert gc.latex(split) == r"\operatorname{heads}_{2}\left(x\right)"
    assert gc.latex(turned) == r"\operatorname{heads}_{2}\left(x\right)^{\top}"
    assert plain([("", split @ turned)]) == [" = heads(x, 2) @ heads(x, 2).T"]
    other = gc.permute_dims(parts, (0, 3, 1, 2))
    assert "heads" not in gc.latex(other)


def test_what_is_given_is_not_seen_through() -> None:
    """A name for a part that would not be written stands where it is read."""
    x = gc.placeholder("x", ("n", 9, 16))
    layer = gc.nn.MultiHeadAttention(2, name="mha")
    y = layer(x)
    reshapes = [n for n in gc.Graph([x], [y]).nodes if n.op.name in ("reshape", "permute_dims")]
    for node in reshapes:
        part = node.output()
        assert "part" in "".join(plain([("y", y)], {part: "part"}))
        assert "concat" in gc.latex(y, names={"part": part})
    explained = gc.compile([x], y).explain()  # views of what is in memory have names below them
    assert "heads(" in explained
    assert "reshape(" not in explained


def test_the_heads_of_the_text_are_those_that_are_computed() -> None:
    """Each line, computed by NumPy as it reads, gives what the layer gives."""
    data = np.random.default_rng(0).normal(size=(2, 5, 6))
    layer = gc.nn.MultiHeadAttention(3, seed=1, name="mha", causal=True)
    x = gc.placeholder("x", ("n", "t", 6), "float64")
    result = gc.evaluate(layer(x), {x: data})
    of = {v.name: np.asarray(v.value) for v in layer.variables()}
    q, k, v = (
        data @ of[f"mha/{part}/kernel"] + of[f"mha/{part}/bias"]
        for part in ("query", "key", "value")
    )
    heads = []
    for i in range(3):  # blocks of two columns
        qi, ki, vi = (a[..., 2 * i : 2 * i + 2] for a in (q, k, v))
        scores = qi @ np.swapaxes(ki, 1, 2) / np.sqrt(2)
        scores = np.where(np.tri(5, dtype=bool), scores, -np.inf)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        heads.append(weights / weights.sum(axis=-1, keepdims=True) @ vi)
    expected = np.concatenate(heads, axis=-1) @ of["mha/output/kernel"] + of["mha/output/bias"]
    np.testing.assert_allclose(result, expected, rtol=1e-12)
