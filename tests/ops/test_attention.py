"""Attention: values and derivatives, whole and in blocks, against sums written query by query."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.ir.dim import evaluate as evaluate_size
from graphc.ir.graph import Graph
from graphc.ops import attention_expand
from graphc.passes.canonical import expand_composites
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.program import Loop, walk_steps
from tests.attention_samples import attention, gradient

RNG = np.random.default_rng(6)
Arrays = tuple[Any, ...]


def drawn(*shapes: tuple[int, ...]) -> Arrays:
    return tuple(RNG.normal(size=shape) for shape in shapes)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 3 queries and 4 keys, and no scores that are few."""
    for name, size in (("ROWS", 3), ("COLUMNS", 4), ("WHOLE", 0)):
        monkeypatch.setattr(attention_expand, name, size)


def expanded(inputs: list[Any], outputs: list[Any], arrays: Arrays) -> list[Any]:
    """What outputs are by their definitions in other ops."""
    graph = expand_composites(Graph(inputs, outputs))
    assert not any("attention" in node.op.name for node in graph.nodes)
    found: list[Any] = gc.evaluate(
        list(graph.outputs), dict(zip(graph.inputs, arrays, strict=True))
    )
    return found


SIZES = [  # queries, keys; of blocks of 3 and 4
    (7, 10), (3, 9), (8, 4), (1, 1), (2, 3), (6, 8),
]  # fmt: skip


@pytest.mark.parametrize(("t", "s"), SIZES)
@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_blocks(small_blocks: None, t: int, s: int, named: bool, causal: bool) -> None:
    """Any sizes, static and named, forward and backward."""
    arrays = drawn((2, t, 2), (2, s, 2), (2, s, 3), (2, t, 3))
    sizes = ("t", "s") if named else (t, s)
    q, k = (
        gc.placeholder("at_q", (2, sizes[0], 2), "float64"),
        gc.placeholder("at_k", (2, sizes[1], 2), "float64"),
    )
    v, g = (
        gc.placeholder("at_v", (2, sizes[1], 3), "float64"),
        gc.placeholder("at_g", (2, sizes[0], 3), "float64"),
    )
    y = gc.dot_product_attention(q, k, v, causal=causal, scale=0.3)
    outputs = [y, *gc.grad(gc.sum(y * g), [q, k, v])]
    found = expanded([q, k, v, g], outputs, arrays)
    options: dict[str, Any] = {"scale": 0.3, "causal": causal}
    meant = [
        attention(*arrays[:3], **options)[0],
        *gradient(arrays[3], *arrays[:3], **options)[:3],
    ]
    for a, b in zip(found, meant, strict=True):
        np.testing.assert_allclose(a, b.astype(float), rtol=1e-10, atol=1e-12)


MASKS: list[tuple[int, ...]] = [(7, 10), (1, 10), (7, 1), (2, 1, 7, 10), (3, 1, 10), (2, 3, 7, 10)]


@pytest.mark.parametrize("shape", MASKS)
@pytest.mark.parametrize("of_bools", [True, False])
def test_masks_in_blocks(small_blocks: None, shape: tuple[int, ...], of_bools: bool) -> None:
    """Each is read where it is. The first query sees nothing, and gives zeros and no gradient."""
    arrays = drawn((2, 3, 7, 2), (2, 3, 10, 2), (2, 3, 10, 2), (2, 3, 7, 2))
    mask = RNG.random(shape) < 0.6
    mask[..., 0, :] = False
    mask[..., 1:, :] |= shape[-1] == 1
    if not of_bools:
        mask = np.where(mask, RNG.normal(size=shape), -np.inf)
    names = ["masked_q", "masked_k", "masked_v", "masked_g"]
    inputs = [gc.placeholder(n, a.shape, "float64") for n, a in zip(names, arrays, strict=True)]
    m = gc.placeholder("masked_m", shape, str(mask.dtype))
    y = gc.dot_product_attention(*inputs[:3], m, scale=1.0)
    outputs = [y, *gc.grad(gc.sum(y * inputs[3]), inputs[:3])]
    found = expanded([*inputs, m], outputs, (*arrays, mask))
    meant = [
        attention(*arrays[:3], mask, scale=1.0)[0],
        *gradient(arrays[3], *arrays[:3], mask, scale=1.0)[:3],
    ]
    for a, b in zip(found, meant, strict=True):
        np.testing.assert_allclose(a, b.astype(float), rtol=1e-10, atol=1e-12)
    if shape[-2] > 1:
        assert not found[0][..., 0, :].any()
        assert not found[1][..., 0, :].any()


def test_what_dropout_keeps_depends_on_key_and_place(
    small_blocks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The draws of `bernoulli` over all scores, in blocks or whole, forward and backward."""
    arrays = drawn((2, 3, 7, 2), (2, 3, 10, 2), (2, 3, 10, 2), (2, 3, 7, 2))
    key = np.array([3, 9], "uint32")
    names = ["drop_q", "drop_k", "drop_v", "drop_g"]
    inputs = [gc.placeholder(n, a.shape, "float64") for n, a in zip(names, arrays, strict=True)]
    keys = gc.placeholder("drop_key", (2,), "uint32")
    keep = gc.evaluate(gc.random.bernoulli(keys, 0.75, (2, 3, 7, 10)), {keys: key}) / 0.75
    y = gc.dot_product_attention(*inputs[:3], dropout=0.25, key=keys, causal=True)
    outputs = [y, *gc.grad(gc.sum(y * inputs[3]), inputs[:3])]
    options: dict[str, Any] = {"scale": 2**-0.5, "causal": True, "keep": keep}
    meant = [
        attention(*arrays[:3], **options)[0],
        *gradient(arrays[3], *arrays[:3], **options)[:3],
    ]
    given = (*arrays, key)
    in_blocks = expanded([*inputs, keys], outputs, given)
    monkeypatch.setattr(attention_expand, "WHOLE", 1000)
    whole = expanded([*inputs, keys], outputs, given)
    by_numpy = gc.evaluate(outputs, dict(zip([*inputs, keys], given, strict=True)))
    for found in (in_blocks, whole, by_numpy):
        for a, b in zip(found, meant, strict=True):
            np.testing.assert_allclose(a, b.astype(float), rtol=1e-6, atol=1e-8)


def test_the_gradient_of_an_additive_mask() -> None:
    q, k, v, g = drawn((2, 3, 2), (2, 4, 2), (2, 4, 3), (2, 3, 3))
    mask = RNG.normal(size=(3, 4))
    m = gc.placeholder("bias", (3, 4), "float64")
    y = gc.dot_product_attention(q, k, v, m, scale=0.7)
    found = gc.evaluate(gc.grad(gc.sum(y * g), m), {m: mask})
    meant = gradient(g, q, k, v, mask, scale=0.7)[3].sum(0)
    np.testing.assert_allclose(found, meant.astype(float), rtol=1e-10)


# -- compiled --------------------------------------------------------------------------------------
def long_step(t: Any, dtype: str = "float32", **options: Any) -> tuple[list[Any], list[Any]]:
    inputs = [gc.placeholder(f"long_{c}", (1, 2, t, 16), dtype) for c in "qkvg"]
    y = gc.dot_product_attention(*inputs[:3], **options)
    return inputs, [y, *gc.grad(gc.sum(y * inputs[3]), inputs[:3])]


def test_compiled_blocks_equal_the_meaning() -> None:
    """Of 600 queries, named: three blocks of 200. One program for all sizes."""
    inputs, outputs = long_step("time", causal=True)
    step = gc.compile(inputs, outputs, name="long_attention")
    for t in (600, 5, 0):
        arrays = tuple(a.astype("float32") for a in drawn(*[(1, 2, t, 16)] * 4))
        meant = gc.evaluate(outputs, dict(zip(inputs, arrays, strict=True)))
        for a, b in zip(step(*arrays), meant, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)
            assert a.tobytes() != b"" or t == 0


def test_any_number_of_threads_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a dropout, whose draws are the meaning's too."""
    q, key = gc.placeholder("shared_q", (1, 1, 512, 32)), gc.placeholder("its_key", (2,), "uint32")
    y = gc.dot_product_attention(q, q, q, dropout=0.1, key=key)
    outputs = [y, gc.grad(gc.sum(y * y), q)]
    arrays = drawn((1, 1, 512, 32))[0].astype("float32"), np.array([1, 2], "uint32")
    found = []
    for threads in ("1", "2"):
        monkeypatch.setenv("GRAPHC_NUM_THREADS", threads)
        found.append(gc.compile([q, key], outputs)(*arrays))
    meant = gc.evaluate(outputs, dict(zip((q, key), arrays, strict=True)))
    for a, b, c in zip(*found, meant, strict=True):
        assert a.tobytes() == b.tobytes()
        np.testing.assert_allclose(a, c, rtol=1e-3, atol=1e-4)


def test_memory_does_not_grow_with_the_scores() -> None:
    """The arena at 2,048 places: scores of a head alone would take 16 MiB there, and 64 MiB at
    twice as many."""
    inputs, outputs = long_step("time", causal=True)
    program = run_pipeline(Graph(inputs, outputs), Stages()).program
    once, twice = (evaluate_size(program.arena, {"time": t}) for t in (2048, 4096))
    linear = 2 * 2048 * 16 * 4  # one of q, k, v, in bytes
    assert once < 16 * linear
    assert twice < 2 * once


def test_the_gradient_computes_no_forward_pass_of_its_own() -> None:
    """One loop over heads forwards, with two inside, and one backwards."""
    inputs, outputs = long_step(2048)
    both = run_pipeline(Graph(inputs, outputs), Stages()).program
    loops = [s for s in walk_steps(both.steps) if isinstance(s, Loop)]
    assert len(loops) == 6


# -- derivatives of derivatives, batches -----------------------------------------------------------
def test_second_derivatives_and_forward_mode() -> None:
    """The tangent of the gradient against differences, where q, k and v depend on each other."""
    x, r = gc.placeholder("second_x", (3, 2), "float64"), drawn((3, 2))[0]
    y = gc.dot_product_attention(x, gc.tanh(x), x * x, causal=True)
    first = gc.grad(gc.sum(gc.tanh(y)), x)
    second = gc.grad(gc.sum(first * r), x)
    value, forward = drawn((3, 2))[0], gc.jvp(first, x, gc.constant(r))
    a, b = gc.evaluate([second, forward[1] if isinstance(forward, tuple) else forward], {x: value})
    ends = [gc.evaluate(first, {x: value + h * r}) for h in (1e-6, -1e-6)]
    np.testing.assert_allclose(a, (ends[0] - ends[1]) / 2e-6, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(b, a, rtol=1e-8, atol=1e-10)


def test_vmap_with_a_shared_mask_and_with_dropout() -> None:
    q, k = drawn((4, 3, 2), (4, 5, 2))
    mask, key = RNG.random((3, 5)) < 0.7, np.array([1, 2], "uint32")
    for options in ({"mask": mask}, {"dropout": 0.5, "key": key}):
        many = gc.vmap(lambda q, k, o=options: gc.dot_product_attention(q, k, k, **o))(q, k)
        each = [gc.dot_product_attention(a, b, b, **options) for a, b in zip(q, k, strict=True)]
        np.testing.assert_allclose(
            gc.evaluate(many, {}), np.stack(gc.evaluate(each, {})), rtol=1e-12
        )


# -- what a call may give --------------------------------------------------------------------------
def test_heads_that_share_keys_and_values() -> None:
    q, k, v = drawn((2, 6, 3, 2), (2, 2, 4, 2), (2, 2, 4, 3))
    x = gc.placeholder("shared_k", k.shape, "float64")
    y = gc.dot_product_attention(q, x, v)
    meant = [np.repeat(a, 3, axis=1) for a in (k, v)]
    options = {"scale": 2**-0.5}
    found, slope = gc.evaluate([y, gc.grad(gc.sum(y * y), x)], {x: k})
    out = attention(q, *meant, **options)[0]
    np.testing.assert_allclose(found, out.astype(float), rtol=1e-10)
    dk = gradient(2 * out, q, *meant, **options)[1].reshape(2, 2, 3, 4, 2).sum(2)
    np.testing.assert_allclose(slope, dk.astype(float), rtol=1e-8)


def test_batches_broadcast_and_float16_is_stored() -> None:
    q, k, v = (a.astype("float16") for a in drawn((2, 3, 4), (5, 4), (5, 4)))
    found = gc.evaluate(gc.dot_product_attention(q, k, v), {})
    wide = [np.broadcast_to(a, (2, *a.shape[-2:])).astype("float64") for a in (q, k, v)]
    assert found.dtype == "float16"
    meant = attention(*wide, scale=0.5)[0]
    np.testing.assert_allclose(found.astype(float), meant.astype(float), atol=2e-3)


A = gc.placeholder("attended_a", (2, 3, 4))


@pytest.mark.parametrize(
    ("wrong", "kind", "message"),
    [
        (lambda: gc.dot_product_attention(A, A[..., :3], A), ShapeError, "keys of 4 features"),
        (lambda: gc.dot_product_attention(A, A, A[:, :2]), ShapeError, "3 values"),
        (lambda: gc.dot_product_attention(A[0, 0], A, A), ShapeError, "rows of matrices"),
        (
            lambda: gc.dot_product_attention(A, A, A, np.ones((3, 4), bool)),
            ShapeError,
            r"broadcasts to \(2, 3, 3\)(.|\n)*\(3, 4\)",
        ),
        (lambda: gc.dot_product_attention(A, A, A, np.ones((3, 3), int)), DTypeError, "of bools"),
        (
            lambda: gc.dot_product_attention(
                gc.zeros((1, 6, 2, 2)), gc.zeros((1, 4, 2, 2)), gc.zeros((1, 4, 2, 2))
            ),
            ShapeError,
            "a multiple of 4 heads",
        ),
        (lambda: gc.dot_product_attention(A, A, A, dropout=1.0), ArgumentError, r"\[0, 1\)"),
        (lambda: gc.dot_product_attention(A, A, A, dropout=0.1), ArgumentError, "needs a key"),
        (lambda: gc.dot_product_attention(A, A, A, scale="no"), ArgumentError, "finite number"),
        (
            lambda: gc.dot_product_attention(*(gc.zeros((2, 2), "int32") for _ in range(3))),
            DTypeError,
            "float32 or float64",
        ),
    ],
)
def test_refusals(wrong: Any, kind: Any, message: str) -> None:
    with pytest.raises(kind, match=message):
        wrong()
