"""The same training steps by graphc, PyTorch and JAX, for `gpu.py`: plain gradient descent from the
same first weights on the same data, at true float32, each as well as its library can.

A contender is `make(model, weights, data) -> Contender`. PyTorch's losses go through
`torch.compile` where there is a card, and its whole step is one CUDA graph; JAX's step is one `jit`
that gives its weights away.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

import graphc as gc

RATE = 0.05
HEADS = 4
Array = np.ndarray[Any, Any]
Weights = Mapping[str, Array]


class Contender(NamedTuple):
    """A step, which does not wait for its end; `wait` does. `loss` is that of the last step."""

    step: Callable[[], Any]
    wait: Callable[[], Any]
    loss: Callable[[], float]
    weights: Callable[[], dict[str, Array]]


class Model(NamedTuple):
    """A model by each library: (weights, *data) -> loss."""

    name: str
    graphc: Callable[..., Any]
    torch: Callable[..., Any]
    jax: Callable[..., Any]


def _random(seed: int, *shape: int) -> Array:
    scale = shape[-2] ** -0.5 if len(shape) == 2 else 0.1
    drawn = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    return drawn * np.float32(scale)


# -- a perceptron of three layers ------------------------------------------------------------------
def perceptron(rows: int, width: int) -> tuple[Model, dict[str, Array], list[Array]]:
    shapes = {"w0": (width, width), "w1": (width, width), "w2": (width, 10)}
    weights = {name: _random(k, *shape) for k, (name, shape) in enumerate(shapes.items())}
    weights |= {f"b{k}": _random(k, n) for k, n in enumerate((width, width, 10))}
    labels = np.random.default_rng(9).integers(0, 10, rows)

    def by_graphc(w: Any, x: Any, y: Any) -> Any:
        for k in range(2):
            x = gc.relu(x @ w[f"w{k}"] + w[f"b{k}"])
        return gc.mean(gc.softmax_cross_entropy(x @ w["w2"] + w["b2"], y))

    def by_torch(w: Any, x: Any, y: Any) -> Any:
        import torch.nn.functional as f

        for k in range(2):
            x = f.relu(f.linear(x, w[f"w{k}"].T, w[f"b{k}"]))
        return f.cross_entropy(f.linear(x, w["w2"].T, w["b2"]), y)

    def by_jax(w: Any, x: Any, y: Any) -> Any:
        import jax
        import jax.numpy as jnp

        for k in range(2):
            x = jax.nn.relu(x @ w[f"w{k}"] + w[f"b{k}"])
        scores = jax.nn.log_softmax(x @ w["w2"] + w["b2"])
        return -jnp.mean(jnp.take_along_axis(scores, y[:, None], 1))

    model = Model(f"mlp {rows} x {width}", by_graphc, by_torch, by_jax)
    return model, weights, [_random(7, rows, width) * 8, labels]


# -- a recurrent network ---------------------------------------------------------------------------
def lstm(rows: int, times: int, width: int) -> tuple[Model, dict[str, Array], list[Array]]:
    weights = {"w": _random(0, width, 4 * width), "u": _random(1, width, 4 * width)}
    weights["b"] = _random(2, 4 * width)

    def by_graphc(w: Any, x: Any) -> Any:
        def cell(state: Any, row: Any) -> Any:
            h, c = state
            i, f, g, o = gc.split(row @ w["w"] + h @ w["u"] + w["b"], 4, axis=1)
            c = gc.sigmoid(f) * c + gc.sigmoid(i) * gc.tanh(g)
            h = gc.sigmoid(o) * gc.tanh(c)
            return (h, c), h

        zero = gc.zeros((x.shape[1], width))
        return gc.mean(gc.square(gc.scan(cell, (zero, zero), x)[1]))

    def by_torch(w: Any, x: Any) -> Any:
        import torch

        zero = torch.zeros(1, x.shape[1], width, device=x.device)
        parts = [w["w"].T, w["u"].T, w["b"], torch.zeros_like(w["b"])]
        # PyTorch's layer as a function: what its module calls, by cuDNN on a card
        found = torch.lstm(x, (zero, zero), parts, True, 1, 0.0, True, False, False)[0]
        return (found * found).mean()

    def by_jax(w: Any, x: Any) -> Any:
        import jax
        import jax.numpy as jnp

        def cell(state: Any, row: Any) -> Any:
            h, c = state
            i, f, g, o = jnp.split(row @ w["w"] + h @ w["u"] + w["b"], 4, axis=1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        zero = jnp.zeros((x.shape[1], width), x.dtype)
        return jnp.mean(jax.lax.scan(cell, (zero, zero), x)[1] ** 2)

    name = f"lstm {rows} x {times} x {width}"
    data = [np.random.default_rng(3).standard_normal((times, rows, width), dtype=np.float32)]
    return Model(name, by_graphc, by_torch, by_jax), weights, data


# -- attention -------------------------------------------------------------------------------------
def attention(rows: int, times: int, width: int) -> tuple[Model, dict[str, Array], list[Array]]:
    weights = {name: _random(k, width, width) for k, name in enumerate("qkvo")}
    scale = (width // HEADS) ** -0.5

    def heads(x: Any, turned: Any) -> Any:
        return turned(x.reshape((x.shape[0], times, HEADS, width // HEADS)))

    def by_graphc(w: Any, x: Any) -> Any:
        def turned(x: Any) -> Any:
            return gc.permute_dims(x, (0, 2, 1, 3))

        q, k, v = (heads(x @ w[name], turned) for name in "qkv")
        found = gc.softmax(q @ gc.matrix_transpose(k) * np.float32(scale)) @ v
        joined = gc.reshape(turned(found), (x.shape[0], times, width))
        return gc.mean(gc.square(x + joined @ w["o"]))

    def by_torch(w: Any, x: Any) -> Any:
        import torch.nn.functional as f

        q, k, v = (heads(x @ w[name], lambda x: x.transpose(1, 2)) for name in "qkv")
        found = f.scaled_dot_product_attention(q, k, v)
        joined = found.transpose(1, 2).reshape(x.shape[0], times, width)
        return (x + joined @ w["o"]).square().mean()

    def by_jax(w: Any, x: Any) -> Any:
        import jax.numpy as jnp
        from jax.nn import dot_product_attention

        q, k, v = (heads(x @ w[name], lambda x: x) for name in "qkv")
        joined = dot_product_attention(q, k, v).reshape(x.shape)
        return jnp.mean(jnp.square(x + joined @ w["o"]))

    model = Model(f"attention {rows} x {times} x {width}", by_graphc, by_torch, by_jax)
    return model, weights, [_random(4, rows, times, width) * 10]


# -- contenders ------------------------------------------------------------------------------------
def graphc_step(model: Model, weights: Weights, data: list[Array]) -> Contender:
    """Data are on the card before the first step, and losses stay there, as with the others."""
    variables = {name: gc.variable(value, name) for name, value in weights.items()}
    inputs = [gc.placeholder(f"x{k}", a.shape, a.dtype.name) for k, a in enumerate(data)]
    loss = model.graphc(variables, *inputs)
    slopes = gc.grad(loss, list(variables.values()))
    updates = {v: v - RATE * g for v, g in zip(variables.values(), slopes, strict=True)}
    step = gc.compile(inputs, loss, updates, target="cuda", results="device")
    place = gc.compile(inputs, [gc.positive(x) for x in inputs], target="cuda", results="device")
    placed = place(*data)
    last: list[Any] = []

    def once() -> None:
        last[:] = [step(*placed)]

    return Contender(
        once,
        lambda: last[0].item(),
        lambda: float(last[0]),
        lambda: {name: v.value for name, v in variables.items()},
    )


def torch_step(model: Model, weights: Weights, data: list[Array]) -> Contender:
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    has_card = torch.cuda.is_available()
    device = "cuda" if has_card else "cpu"
    given = {n: torch.tensor(w, device=device, requires_grad=True) for n, w in weights.items()}
    placed = [torch.tensor(a, device=device) for a in data]
    loss_of = torch.compile(model.torch) if has_card else model.torch
    rule = torch.optim.SGD(list(given.values()), lr=RATE)

    def eager() -> Any:
        rule.zero_grad(set_to_none=False)
        loss = loss_of(given, *placed)
        loss.backward()
        rule.step()
        return loss

    if has_card:
        step, loss = _captured(torch, eager, given)
    else:
        last: list[Any] = []
        step, loss = (lambda: last.__setitem__(slice(None), [eager()])), lambda: last[0]
    return Contender(
        step,
        torch.cuda.synchronize if has_card else lambda: None,
        lambda: float(loss().detach()),
        lambda: {n: w.detach().cpu().numpy() for n, w in given.items()},
    )


def _captured(torch: Any, step: Callable[[], Any], given: Mapping[str, Any]) -> tuple[Any, Any]:
    """A step as one CUDA graph; the steps that it takes to make that are taken back."""
    first = {name: w.detach().clone() for name, w in given.items()}
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step()
    with torch.no_grad():
        for name, w in given.items():
            w.copy_(first[name])
    return graph.replay, lambda: loss


def jax_step(model: Model, weights: Weights, data: list[Array]) -> Contender:
    import jax

    jax.config.update("jax_default_matmul_precision", "highest")

    def step(w: Any, *given: Any) -> Any:
        loss, slopes = jax.value_and_grad(model.jax)(w, *given)
        return loss, {name: w[name] - RATE * slopes[name] for name in w}

    compiled = jax.jit(step, donate_argnums=0)
    placed = jax.device_put(data)
    state: list[Any] = [None, jax.device_put(dict(weights))]

    def once() -> None:
        state[:] = compiled(state[1], *placed)

    return Contender(
        once,
        lambda: jax.block_until_ready(state),
        lambda: float(state[0]),
        lambda: {name: np.array(w) for name, w in state[1].items()},
    )


CONTENDERS = {"graphc": graphc_step, "torch": torch_step, "jax": jax_step}


def there() -> list[str]:
    """The contenders that are installed."""
    return [n for n in CONTENDERS if n == "graphc" or importlib.util.find_spec(n) is not None]
