"""Samples of attention. What it equals is written query by query, in extended precision."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.ir.node import apply
from graphc.ops.attention import ATTENTION, ATTENTION_GRADIENT

from .sampling import FLOATS, Array, Case, Draw, Samples, Shape

SAMPLES: dict[str, Samples] = {}


def attention(
    q: Array, k: Array, v: Array, mask: Array | None = None, *, scale: float, causal: bool = False,
    keep: Array | None = None,
) -> tuple[Array, Array]:  # fmt: skip
    """The result and the weights: for each query the softmax over the keys that it sees. `keep` is
    what a dropout multiplies the weights by."""
    batch, (t, s) = q.shape[:-2], (q.shape[-2], k.shape[-2])
    out = np.zeros((*batch, t, v.shape[-1]), np.longdouble)
    weights = np.zeros((*batch, t, s), np.longdouble)
    wide = [x.astype(np.longdouble) for x in (q, k, v)]
    for n in np.ndindex(batch):
        for i in range(t):
            scores = np.array([wide[0][n][i] @ wide[1][n][j] for j in range(s)], np.longdouble)
            scores = scores * np.longdouble(scale)
            seen = np.ones(s, bool)
            if mask is not None:
                row = np.broadcast_to(mask, (*batch, t, s))[n][i]
                if row.dtype == bool:
                    seen = row.copy()
                else:
                    seen, scores = row > -np.inf, scores + row
            if causal:
                seen[i + 1 :] = False
            if seen.any():
                e = np.exp(scores[seen] - scores[seen].max())
                weights[n][i, seen] = e / e.sum()
            used = weights[n][i] if keep is None else weights[n][i] * keep[n][i]
            out[n][i] = used @ wide[2][n] if s else 0
    return out, weights


def gradient(
    g: Array, q: Array, k: Array, v: Array, mask: Array | None = None, *, scale: float,
    causal: bool = False, keep: Array | None = None,
) -> tuple[Array, Array, Array, Array]:  # fmt: skip
    """The cotangents of q, k, v and the mask, query by query: the weights w of a query have the
    Jacobian diag(w) - w w'."""
    _, weights = attention(q, k, v, mask, scale=scale, causal=causal, keep=keep)
    dq, dk, dv = (np.zeros(x.shape, np.longdouble) for x in (q, k, v))
    ds = np.zeros(weights.shape, np.longdouble)
    for n in np.ndindex(q.shape[:-2]):
        for i in range(q.shape[-2]):
            w, factor = weights[n][i], 1 if keep is None else keep[n][i]
            by_weight = (v[n].astype(np.longdouble) @ g[n][i].astype(np.longdouble)) * factor
            ds[n][i] = (np.diag(w) - np.outer(w, w)) @ by_weight
            dq[n][i] = scale * (ds[n][i] @ k[n])
            dk[n] += scale * np.outer(ds[n][i], q[n][i])
            dv[n] += np.outer(w * factor, g[n][i])
    return dq, dk, dv, ds


def _case(shapes: tuple[Shape, ...], causal: bool = False, mask: Shape | None = None,
          of_bools: bool = True, backwards: bool = False) -> Case:  # fmt: skip
    """A case of the op, or of its gradient."""
    attrs = {"scale": 0.5, "causal": causal, "rate": 0.0, "masked": mask is not None}
    op, meaning = (ATTENTION_GRADIENT, gradient) if backwards else (ATTENTION, attention)

    def call(*inputs: Any) -> Any:
        made = apply(op, inputs, **attrs).outputs
        return made if backwards else made[0]

    def numpy(*arrays: Array) -> Any:
        made = meaning(*arrays, scale=0.5, causal=causal)  # type: ignore[operator]
        results = tuple(x.astype(arrays[0].dtype) for x in made)
        return results[:3] if backwards else results[0]

    draws: tuple[Draw | None, ...] = ()
    dtypes: tuple[str | None, ...] = ()
    if mask is not None:
        shapes = (*shapes, mask)
        dtypes = (*(None for _ in shapes[1:]), "bool" if of_bools else None)
        if of_bools:
            draws = (*(None for _ in shapes[1:]), lambda rng, shape: rng.random(shape) < 0.7)
    return Case(call=call, numpy=numpy, shapes=shapes, dtypes=dtypes, draws=draws)


SAMPLES["attention"] = Samples(
    cases=(
        _case(((2, 3, 4), (2, 5, 4), (2, 5, 2))),
        _case((("n", 3), ("n", 3), ("n", 2)), causal=True),
        _case(((2, 2, 3, 2), (2, 2, 4, 2), (2, 2, 4, 3)), mask=(2, 1, 3, 4)),
        _case(((4, 3), ("n", 3), ("n", 3)), mask=(4, 1), of_bools=False),
        _case(((3, 2), (0, 2), (0, 1))),
    ),
    takes=FLOATS,
    ulp=64,
    unit=1.0,
    wild=False,
)
SAMPLES["attention_gradient"] = Samples(
    cases=(
        _case(((2, 3, 2), (2, 3, 4), (2, 5, 4), (2, 5, 2)), backwards=True),
        _case((("n", 2), ("n", 3), ("n", 3), ("n", 2)), causal=True, backwards=True),
        _case(((2, 3, 3), (2, 3, 2), (2, 4, 2), (2, 4, 3)), mask=(1, 3, 4), backwards=True),
    ),
    takes=FLOATS,
    ulp=256,
    unit=1.0,
    wild=False,
)
