"""Models that are loops and products: attention and an LSTM, value and gradients.

NumPy's sides are derived by hand, so that in float64 they are an oracle of their own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .cases import by_graphc, by_jax, by_numpy, by_torch, normal, torch_leaf
from .harness import NotOfferedError, Prepared, case

FloatArray = npt.NDArray[np.floating[Any]]

BATCH, TIME, WIDTH, HEADS = 8, 128, 256, 4
HEAD = WIDTH // HEADS
SCALE = HEAD**-0.5


@case("attention gradient, B 8, T 128, D 256, 4 heads", rtol=2e-3, atol=2e-3)
def attention_grad(contender: str) -> Prepared:
    """Gradients of sum(r * attention(x)) by x and the four weights (Vaswani et al., 2017)."""
    x, r = normal(2, BATCH, TIME, WIDTH)
    weights = normal(4, WIDTH, WIDTH) / np.float32(WIDTH**0.5)
    names = ["dx", "dq", "dk", "dv", "do"]

    def split(t: Any) -> Any:
        return t.reshape(-1, TIME, HEADS, HEAD).swapaxes(1, 2)

    def merge(t: Any) -> Any:
        return t.swapaxes(1, 2).reshape(-1, TIME, WIDTH)

    def weight_gradient(inputs: Any, g: Any) -> Any:
        return inputs.reshape(-1, WIDTH).T @ g.reshape(-1, WIDTH)

    def by_hand(x: Any, wq: Any, wk: Any, wv: Any, wo: Any, r: Any) -> tuple[FloatArray, ...]:
        q, k, v = split(x @ wq), split(x @ wk), split(x @ wv)
        scores = q @ k.swapaxes(-1, -2) * SCALE
        e = np.exp(scores - scores.max(axis=-1, keepdims=True))
        p = e / e.sum(axis=-1, keepdims=True)
        gathered = merge(p @ v)
        dh = split(r @ wo.T)
        dp = dh @ v.swapaxes(-1, -2)
        ds = p * (dp - (dp * p).sum(axis=-1, keepdims=True)) * SCALE
        dq, dk, dv = merge(ds @ k), merge(ds.swapaxes(-1, -2) @ q), merge(p.swapaxes(-1, -2) @ dh)
        return (
            dq @ wq.T + dk @ wk.T + dv @ wv.T,
            weight_gradient(x, dq),
            weight_gradient(x, dk),
            weight_gradient(x, dv),
            weight_gradient(gathered, r),
        )

    arrays = x, *weights, r
    match contender:
        case "numpy":
            return by_numpy(by_hand, names, *arrays)
        case "jax":
            import jax
            import jax.numpy as jnp

            def weighted(x: Any, wq: Any, wk: Any, wv: Any, wo: Any, r: Any) -> Any:
                q, k, v = split(x @ wq), split(x @ wk), split(x @ wv)
                p = jax.nn.softmax(q @ k.swapaxes(-1, -2) * SCALE, axis=-1)
                return jnp.sum(merge(p @ v) @ wo * r)

            return by_jax(jax.grad(weighted, argnums=(0, 1, 2, 3, 4)), names, *arrays)
        case "torch":
            import torch

            def gradients(x: Any, wq: Any, wk: Any, wv: Any, wo: Any, r: Any) -> Any:
                q, k, v = split(x @ wq), split(x @ wk), split(x @ wv)
                p = torch.softmax(q @ k.swapaxes(-1, -2) * SCALE, dim=-1)
                return torch.autograd.grad(merge(p @ v) @ wo, (x, wq, wk, wv, wo), r)

            leaves = map(torch_leaf, arrays[:-1])
            return by_torch(gradients, names, *leaves, torch.from_numpy(r.copy()))
        case "graphc":
            inputs, outputs = attention_graph()
            return by_graphc(inputs, outputs, names, *arrays)
    raise NotOfferedError(contender)


def attention_graph() -> tuple[list[Any], list[Any]]:
    """graphc's side: (inputs, gradients)."""
    import graphc as gc

    x, r = (gc.placeholder(name, shape=("b", TIME, WIDTH)) for name in "xr")
    weights = [gc.placeholder(f"w{name}", shape=(WIDTH, WIDTH)) for name in "qkvo"]

    def heads(t: Any) -> Any:
        return gc.permute_dims(gc.reshape(t, (-1, TIME, HEADS, HEAD)), (0, 2, 1, 3))

    q, k, v = (heads(x @ w) for w in weights[:3])
    p = gc.softmax(q @ gc.matrix_transpose(k) * SCALE, axis=-1)
    gathered = gc.reshape(gc.permute_dims(p @ v, (0, 2, 1, 3)), (-1, TIME, WIDTH))
    wanted = gc.grad(gc.sum(gathered @ weights[3] * r), [x, *weights])
    return [x, *weights, r], wanted


STEPS, ROWS, HIDDEN = 64, 32, 128


@case("LSTM gradient, T 64, B 32, H 128", rtol=2e-3, atol=2e-3)
def lstm_grad(contender: str) -> Prepared:
    """Gradients of sum(r * h) by inputs, weights and bias (Hochreiter and Schmidhuber, 1997)."""
    xs, r = normal(2, STEPS, ROWS, HIDDEN)
    wx, wh = normal(2, HIDDEN, 4 * HIDDEN) / np.float32(HIDDEN**0.5)
    bias = np.zeros(4 * HIDDEN, np.float32)
    names = ["dxs", "dwx", "dwh", "dbias"]

    def sigmoid(z: Any) -> Any:
        return 1 / (1 + np.exp(-z))

    def by_hand(xs: Any, wx: Any, wh: Any, bias: Any, r: Any) -> tuple[FloatArray, ...]:
        h = c = np.zeros((ROWS, HIDDEN), xs.dtype)
        saved = []
        for x in xs:
            i, f, g, o = np.split(x @ wx + h @ wh + bias, 4, axis=1)
            gates = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
            new = gates[1] * c + gates[0] * gates[2]
            saved.append((x, h, c, new, gates))
            h, c = gates[3] * np.tanh(new), new
        dxs, dh, dc = np.zeros_like(xs), np.zeros_like(h), np.zeros_like(c)
        dwx, dwh, dbias = np.zeros_like(wx), np.zeros_like(wh), np.zeros_like(bias)
        for t in reversed(range(len(xs))):
            x, before, old, new, (i, f, g, o) = saved[t]
            dh, squashed = dh + r[t], np.tanh(new)
            dc = dc + dh * o * (1 - squashed * squashed)
            dz = np.concatenate(
                [
                    dc * g * i * (1 - i),
                    dc * old * f * (1 - f),
                    dc * i * (1 - g * g),
                    dh * squashed * o * (1 - o),
                ],
                axis=1,
            )
            dxs[t], dwx, dwh = dz @ wx.T, dwx + x.T @ dz, dwh + before.T @ dz
            dbias, dh, dc = dbias + dz.sum(axis=0), dz @ wh.T, dc * f
        return dxs, dwx, dwh, dbias

    arrays = xs, wx, wh, bias, r
    match contender:
        case "numpy":
            return by_numpy(by_hand, names, *arrays)
        case "jax":
            import jax
            import jax.numpy as jnp

            def weighted(xs: Any, wx: Any, wh: Any, bias: Any, r: Any) -> Any:
                def cell(state: Any, x: Any) -> Any:
                    h, c = state
                    i, f, g, o = jnp.split(x @ wx + h @ wh + bias, 4, axis=1)
                    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
                    h = jax.nn.sigmoid(o) * jnp.tanh(c)
                    return (h, c), h

                zero = jnp.zeros((ROWS, HIDDEN), xs.dtype)
                return jnp.sum(jax.lax.scan(cell, (zero, zero), xs)[1] * r)

            return by_jax(jax.grad(weighted, argnums=(0, 1, 2, 3)), names, *arrays)
        case "torch":
            import torch

            layer = torch.nn.LSTM(HIDDEN, HIDDEN)
            with torch.no_grad():
                for parameter, value in zip(
                    layer.parameters(), (wx.T, wh.T, bias, 0 * bias), strict=True
                ):
                    parameter.copy_(torch.from_numpy(value.copy()))

            def gradients(xs: Any, r: Any) -> Any:
                first, *rest = layer.parameters()
                wanted = (xs, first, *rest[:2])
                dxs, dwx, dwh, dbias = torch.autograd.grad(layer(xs)[0], wanted, r)
                return dxs, dwx.T, dwh.T, dbias

            return by_torch(gradients, names, torch_leaf(xs), torch.from_numpy(r.copy()))
        case "graphc":
            import graphc as gc

            s, u = (gc.placeholder(name, shape=("t", "n", HIDDEN)) for name in ("xs", "r"))
            a, b = (gc.placeholder(name, shape=(HIDDEN, 4 * HIDDEN)) for name in ("wx", "wh"))
            z = gc.placeholder("bias", shape=(4 * HIDDEN,))

            def cell(state: Any, x: Any) -> Any:
                h, c = state
                total = x @ a + h @ b + z
                i, f, g, o = (total[:, k * HIDDEN : (k + 1) * HIDDEN] for k in range(4))
                c = gc.sigmoid(f) * c + gc.sigmoid(i) * gc.tanh(g)
                h = gc.sigmoid(o) * gc.tanh(c)
                return (h, c), h

            zero = gc.zeros((s.shape[1], HIDDEN))
            _, hs = gc.scan(cell, (zero, zero), s)
            wanted = gc.grad(gc.sum(hs * u), [s, a, b, z])
            return by_graphc([s, a, b, z, u], wanted, names, *arrays)
    raise NotOfferedError(contender)
