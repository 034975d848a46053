"""The small cases: call overhead, elementwise chains, normalisation, losses, second derivatives.

Each contender gets its own kind of array, made beforehand, and is done when its call returns.
NumPy's side is written by hand, derivatives included, and run in float64 it is the oracle.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from .harness import NotOfferedError, Prepared, case

FloatArray = npt.NDArray[np.floating[Any]]
Arrays = tuple[npt.NDArray[Any], ...]
NumpyFunction = Callable[..., tuple[FloatArray, ...]]


def by_numpy(function: NumpyFunction, names: list[str], *arrays: npt.NDArray[Any]) -> Prepared:
    """Time the function in the arrays' own dtypes; answer with it in float64."""
    wide = [a.astype(np.float64) if a.dtype == np.float32 else a for a in arrays]
    answers = dict(zip(names, map(np.asarray, function(*wide)), strict=True))
    return Prepared(lambda: function(*arrays), answers)


def by_jax(function: Callable[..., Any], names: list[str], *arrays: npt.NDArray[Any]) -> Prepared:
    """Compile a function of JAX arrays that returns a tuple."""
    import jax

    compiled, placed = jax.jit(function), jax.device_put(arrays)
    answers = dict(zip(names, map(np.asarray, compiled(*placed)), strict=True))
    return Prepared(lambda: jax.block_until_ready(compiled(*placed)), answers)


def by_torch(function: Callable[..., Any], names: list[str], *tensors: Any) -> Prepared:
    """Time a function of tensors that returns a tuple."""
    answers = dict(zip(names, (t.detach().numpy() for t in function(*tensors)), strict=True))
    return Prepared(lambda: function(*tensors), answers)


def by_graphc(
    inputs: list[Any], outputs: list[Any], names: list[str], *arrays: npt.NDArray[Any]
) -> Prepared:
    """Compile a graph of several outputs."""
    import graphc as gc

    compiled = gc.compile(inputs, outputs)
    answers = dict(zip(names, map(np.asarray, compiled(*arrays)), strict=True))
    return Prepared(lambda: compiled(*arrays), answers)


def torch_leaf(array: npt.NDArray[Any]) -> Any:
    import torch

    return torch.from_numpy(array.copy()).requires_grad_()


def normal(*shape: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


@case("x + 1 on 4 floats (call overhead)", rtol=0)
def call_overhead(contender: str) -> Prepared:
    x, names = np.arange(4, dtype=np.float32), ["x + 1"]
    match contender:
        case "numpy":
            return by_numpy(lambda x: (x + 1,), names, x)
        case "jax":
            return by_jax(lambda x: (x + 1,), names, x)
        case "torch":
            import torch

            return by_torch(lambda x: (x + 1,), names, torch.from_numpy(x))
        case "graphc":
            import graphc as gc

            s = gc.placeholder("x", shape=(4,))
            return by_graphc([s], [s + 1], names, x)
    raise NotOfferedError(contender)


GELU_A, GELU_B = float(np.sqrt(2 / np.pi)), 0.044715


@case("tanh-GELU value and gradient, 65,536", rtol=1e-4, atol=1e-5)
def gelu(contender: str) -> Prepared:
    """The sum of x (1 + tanh(a (x + b x^3))) / 2 and its gradient (Hendrycks and Gimpel, 2016)."""
    x, names = normal(65_536), ["sum", "gradient"]

    def by_hand(x: FloatArray) -> tuple[FloatArray, ...]:
        t = np.tanh(GELU_A * (x + GELU_B * x * x * x))
        slope = GELU_A * (1 + 3 * GELU_B * x * x)
        value = 0.5 * x * (1 + t)
        return np.asarray(value.sum()), 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * slope

    match contender:
        case "numpy":
            return by_numpy(by_hand, names, x)
        case "jax":
            import jax

            return by_jax(jax.value_and_grad(lambda x: jax.nn.gelu(x).sum()), names, x)
        case "torch":
            import torch

            def value_and_gradient(x: Any) -> Any:
                value = torch.nn.functional.gelu(x, approximate="tanh").sum()
                return value, *torch.autograd.grad(value, x)

            return by_torch(value_and_gradient, names, torch_leaf(x))
        case "graphc":
            import graphc as gc

            s = gc.placeholder("x", shape=("n",))
            value = gc.sum(0.5 * s * (1 + gc.tanh(GELU_A * (s + GELU_B * s * s * s))))
            return by_graphc([s], [value, gc.grad(value, s)], names, x)
    raise NotOfferedError(contender)


@case("LayerNorm gradient, 512 x 1024", rtol=1e-3, atol=1e-4)
def layernorm_grad(contender: str) -> Prepared:
    """The gradients of sum(r * layernorm(x)) by x, scale and shift (Ba, Kiros and Hinton, 2016)."""
    x, r = normal(512, 1024), normal(2, 512, 1024)[1]
    scale, shift = normal(1024) + 1, np.zeros(1024, np.float32)
    names, eps = ["dx", "dscale", "dshift"], 1e-5

    def by_hand(x: Any, scale: Any, shift: Any, r: Any) -> tuple[FloatArray, ...]:
        centred = x - x.mean(axis=1, keepdims=True)
        inverse = 1 / np.sqrt((centred * centred).mean(axis=1, keepdims=True) + eps)
        h, g = centred * inverse, r * scale
        inner = g - g.mean(axis=1, keepdims=True) - h * (g * h).mean(axis=1, keepdims=True)
        return inverse * inner, (r * h).sum(axis=0), r.sum(axis=0)

    match contender:
        case "numpy":
            return by_numpy(by_hand, names, x, scale, shift, r)
        case "jax":
            import jax
            import jax.numpy as jnp

            def weighted(x: Any, scale: Any, shift: Any, r: Any) -> Any:
                centred = x - x.mean(axis=1, keepdims=True)
                variance = (centred * centred).mean(axis=1, keepdims=True)
                return jnp.sum(r * (centred * jax.lax.rsqrt(variance + eps) * scale + shift))

            return by_jax(jax.grad(weighted, argnums=(0, 1, 2)), names, x, scale, shift, r)
        case "torch":
            import torch

            def gradients(x: Any, scale: Any, shift: Any, r: Any) -> Any:
                h = torch.nn.functional.layer_norm(x, (1024,), scale, shift, eps)
                return torch.autograd.grad(h, (x, scale, shift), r)

            leaves = map(torch_leaf, (x, scale, shift))
            return by_torch(gradients, names, *leaves, torch.from_numpy(r))
        case "graphc":
            import graphc as gc

            s = gc.placeholder("x", shape=("n", 1024))
            t = gc.placeholder("r", shape=("n", 1024))
            a, b = gc.placeholder("scale", shape=(1024,)), gc.placeholder("shift", shape=(1024,))
            centred = s - gc.mean(s, axis=1, keepdims=True)
            variance = gc.mean(centred * centred, axis=1, keepdims=True)
            total = gc.sum(t * (centred / gc.sqrt(variance + eps) * a + b))
            wanted = gc.grad(total, [s, a, b])
            return by_graphc([s, a, b, t], wanted, names, x, scale, shift, r)
    raise NotOfferedError(contender)


@case("softmax cross-entropy value and gradient, 256 x 1000", rtol=1e-4, atol=1e-8)
def softmax_xent(contender: str) -> Prepared:
    """mean(logsumexp(z) - z[y]) and its gradient by z."""
    z, names = 3 * normal(256, 1000), ["loss", "gradient"]
    y = np.random.default_rng(1).integers(0, 1000, 256)
    rows = np.arange(256)

    def by_hand(z: FloatArray, y: Any) -> tuple[FloatArray, ...]:
        shifted = z - z.max(axis=1, keepdims=True)
        e = np.exp(shifted)
        s = e.sum(axis=1, keepdims=True)
        loss = np.mean(np.log(s[:, 0]) - shifted[rows, y])
        g = e / s
        g[rows, y] -= 1
        return np.asarray(loss), g / len(rows)

    match contender:
        case "numpy":
            return by_numpy(by_hand, names, z, y)
        case "jax":
            import jax
            import jax.numpy as jnp

            def mean_loss(z: Any, y: Any) -> Any:
                logs = jax.nn.log_softmax(z)
                return -jnp.mean(jnp.take_along_axis(logs, y[:, None], axis=1))

            return by_jax(jax.value_and_grad(mean_loss), names, z, y.astype(np.int32))
        case "torch":
            import torch

            def value_and_gradient(z: Any, y: Any) -> Any:
                loss = torch.nn.functional.cross_entropy(z, y)
                return loss, *torch.autograd.grad(loss, z)

            return by_torch(value_and_gradient, names, torch_leaf(z), torch.from_numpy(y))
        case "graphc":
            import graphc as gc

            s = gc.placeholder("z", shape=("n", 1000))
            t = gc.placeholder("y", shape=("n",), dtype="int64")
            loss = gc.mean(gc.nn.losses.softmax_cross_entropy(s, t))
            return by_graphc([s, t], [loss, gc.grad(loss, s)], names, z, y)
    raise NotOfferedError(contender)


@case("Black-Scholes price, 1,000,000", rtol=1e-4, atol=1e-3)
def black_scholes(contender: str) -> Prepared:
    """A call's price S F(d) - K exp(-r t) F(d - s sqrt t), F the normal law (1973)."""
    random, names = np.random.default_rng(0), ["price"]
    spot, strike = random.uniform(10, 50, (2, 1_000_000)).astype(np.float32)
    years = random.uniform(0.25, 5, 1_000_000).astype(np.float32)
    r, sigma, half = 0.02, 0.3, float(np.sqrt(0.5))

    def priced(m: Any, erf: Callable[[Any], Any]) -> Callable[..., tuple[Any, ...]]:
        """The price in the words of the module m: NumPy, JAX, PyTorch and graphc share them."""

        def price(spot: Any, strike: Any, years: Any) -> tuple[Any, ...]:
            spread = sigma * m.sqrt(years)
            d = (m.log(spot / strike) + (r + sigma * sigma / 2) * years) / spread
            high, low = 0.5 + 0.5 * erf(half * d), 0.5 + 0.5 * erf(half * (d - spread))
            return (spot * high - strike * m.exp(-r * years) * low,)

        return price

    arrays = spot, strike, years
    match contender:
        case "numpy":
            from scipy.special import erf

            return by_numpy(priced(np, erf), names, *arrays)
        case "jax":
            import jax
            import jax.numpy as jnp

            return by_jax(priced(jnp, jax.scipy.special.erf), names, *arrays)
        case "torch":
            import torch

            return by_torch(priced(torch, torch.erf), names, *map(torch.from_numpy, arrays))
        case "graphc":
            import graphc as gc

            inputs = [gc.placeholder(name, shape=("n",)) for name in ("spot", "strike", "years")]
            return by_graphc(inputs, list(priced(gc, gc.erf)(*inputs)), names, *arrays)
    raise NotOfferedError(contender)


@case("Hessian-vector product, logistic regression 1000 x 100", rtol=1e-4, atol=1e-6)
def logistic_hvp(contender: str) -> Prepared:
    """H v for the mean of softplus(-t * (x @ w)); by hand x' (p (1 - p) (x v)) / n."""
    x, names = normal(1000, 100), ["hvp"]
    w, v = normal(2, 100) / 10
    t = np.where(normal(1000) > 0, 1, -1).astype(np.float32)

    def by_hand(w: Any, v: Any, x: Any, t: Any) -> tuple[FloatArray, ...]:
        p = 1 / (1 + np.exp(-(x @ w)))
        return (x.T @ (p * (1 - p) * (x @ v)) / len(x),)

    match contender:
        case "numpy":
            return by_numpy(by_hand, names, w, v, x, t)
        case "jax":
            import jax
            import jax.numpy as jnp

            def loss_of(w: Any, x: Any, t: Any) -> Any:
                return jnp.mean(jax.nn.softplus(-t * (x @ w)))

            def product(w: Any, v: Any, x: Any, t: Any) -> Any:
                return jax.jvp(lambda w: jax.grad(loss_of)(w, x, t), (w,), (v,))[1:]

            return by_jax(product, names, w, v, x, t)
        case "torch":
            import torch

            def double_backward(w: Any, v: Any, x: Any, t: Any) -> Any:
                loss = torch.mean(torch.nn.functional.softplus(-t * (x @ w)))
                (slope,) = torch.autograd.grad(loss, w, create_graph=True)
                return torch.autograd.grad(slope, w, v)

            return by_torch(
                double_backward, names, torch_leaf(w), *map(torch.from_numpy, (v, x, t))
            )
        case "graphc":
            import graphc as gc

            a, b = (gc.placeholder(name, shape=(100,)) for name in "wv")
            s, u = gc.placeholder("x", shape=("n", 100)), gc.placeholder("t", shape=("n",))
            loss = gc.mean(gc.softplus(-u * (s @ a)))
            return by_graphc([a, b, s, u], [gc.hvp(loss, a, b)], names, w, v, x, t)
    raise NotOfferedError(contender)
