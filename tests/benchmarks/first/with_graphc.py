"""The fifteen programs in graphc."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import graphc as gc

from . import data
from .data import Arrays, Sizes


class Made(NamedTuple):
    """What is compiled, and the arrays that it is called with."""

    inputs: list[Any]
    outputs: list[Any]
    arrays: Arrays
    updates: Any = ()


PROGRAMS: dict[str, Callable[[Sizes], Made]] = {}


def _program(build: Callable[[Sizes], Made]) -> Callable[[Sizes], Made]:
    PROGRAMS[build.__name__] = build
    return build


def _variables(arrays: Arrays, name: str = "p") -> list[Any]:
    return [gc.variable(a, name=f"{name}{i}") for i, a in enumerate(arrays)]


def _dense(x: Any, parameters: list[Any], activation: Callable[[Any], Any]) -> Any:
    for i in range(0, len(parameters), 2):
        x = x @ parameters[i] + parameters[i + 1]
        if i + 2 < len(parameters):
            x = activation(x)
    return x


@_program
def x_plus_one(sizes: Sizes) -> Made:
    x = gc.placeholder("x", ("n",))
    return Made([x], [x + 1], data.normal(0, (4,)))


@_program
def logistic_regression(sizes: Sizes) -> Made:
    x, y = gc.placeholder("x", ("n", 20)), gc.placeholder("y", ("n",))
    w, b = gc.variable(np.zeros(20, "float32"), "w"), gc.variable(np.float32(0.0), "b")
    z = x @ w + b
    loss = gc.mean(gc.softplus(z) - y * z) + 1e-3 * gc.sum(w * w)
    dw, db = gc.grad(loss, [w, b])
    xs, ys = data.normal(1, (256, 20), (256,))
    return Made(
        [x, y], [loss], [xs, (ys > 0).astype("float32")], {w: w - 0.1 * dw, b: b - 0.1 * db}
    )


@_program
def mlp(sizes: Sizes) -> Made:
    x, y = gc.placeholder("x", ("n", 784)), gc.placeholder("y", ("n",), "int64")
    parameters = _variables(data.layers(2, (784, 256, 128, 10)))
    loss = gc.mean(gc.nn.losses.softmax_cross_entropy(_dense(x, parameters, gc.relu), y))
    updates = gc.optim.Adam(1e-3).minimize(loss, parameters)
    arrays = [*data.normal(3, (128, 784)), np.arange(128) % 10]
    return Made([x, y], [loss], arrays, updates)


@_program
def physics_informed(sizes: Sizes) -> Made:
    """Burgers' equation: u_t + u u_x = v u_xx."""
    x, t = (gc.placeholder(name, ("n", 1)) for name in "xt")
    parameters = _variables(data.layers(4, (2, *[32] * sizes.layers, 1)))
    u = _dense(gc.concat([x, t], axis=1), parameters, gc.tanh)
    u_x, u_t = gc.grad(gc.sum(u), [x, t])
    u_xx = gc.grad(gc.sum(u_x), x)
    loss = gc.mean((u_t + u * u_x - 0.01 / np.pi * u_xx) ** 2)
    updates = gc.optim.Adam(1e-3).minimize(loss, parameters)
    return Made([x, t], [loss], data.normal(5, (256, 1), (256, 1)), updates)


@_program
def recurrent(sizes: Sizes) -> Made:
    """A recurrent layer, then a bidirectional LSTM with attention over its steps."""
    width = 16
    xs, y = gc.placeholder("xs", ("t", "b", 8)), gc.placeholder("y", ("b",), "int64")
    shapes = [
        (8, width),
        (width, width),
        *[(2 * width, 4 * width)] * 2,
        (2 * width,),
        (2 * width, 4),
    ]
    wx, wh, forward, backward, score, last = parameters = _variables(
        data.normal(6, *shapes, scale=0.3)
    )
    zero = gc.zeros((xs.shape[1], width))

    def plain(h: Any, x: Any) -> Any:
        h = gc.tanh(x @ wx + h @ wh)
        return h, h

    def lstm(w: Any) -> Any:
        def step(state: Any, x: Any) -> Any:
            h, c = state
            i, f, g, o = gc.split(gc.concat([x, h], axis=1) @ w, 4, axis=1)
            c = gc.sigmoid(f) * c + gc.sigmoid(i) * gc.tanh(g)
            h = gc.sigmoid(o) * gc.tanh(c)
            return (h, c), h

        return step

    _, hs = gc.scan(plain, zero, xs)
    _, right = gc.scan(lstm(forward), (zero, zero), hs)
    _, left = gc.scan(lstm(backward), (zero, zero), hs, reverse=True)
    both = gc.concat([right, left], axis=2)
    weights = gc.softmax(gc.sum(gc.tanh(both) * score, axis=2), axis=0)
    context = gc.sum(weights[:, :, None] * both, axis=0)
    loss = gc.mean(gc.nn.losses.softmax_cross_entropy(context @ last, y))
    gradients = gc.grad(loss, parameters)
    arrays = [*data.normal(7, (20, 16, 8)), np.arange(16) % 4]
    return Made([xs, y], [loss, *gradients], arrays)


@_program
def ctc(sizes: Sizes) -> Made:
    """Connectionist temporal classification (Graves et al., 2006), in logarithms."""
    classes, length, least = 12, 5, -1e30
    logits = gc.placeholder("logits", ("t", "b", classes))
    labels = gc.placeholder("labels", ("b", 2 * length + 1), "int64")
    skips = gc.placeholder("skips", ("b", 2 * length + 1), "bool")
    chosen = gc.one_hot(labels, classes)
    emitted = gc.einsum("tbc,bsc->tbs", gc.log_softmax(logits, axis=2), chosen)
    none = gc.full((logits.shape[1], 1), least)
    first = gc.concat(
        [emitted[0][:, :2], gc.full((logits.shape[1], 2 * length - 1), least)], axis=1
    )

    def step(alpha: Any, e: Any) -> Any:
        one = gc.concat([none, alpha[:, :-1]], axis=1)
        two = gc.where(skips, gc.concat([none, none, alpha[:, :-2]], axis=1), least)
        return gc.logsumexp(gc.stack([alpha, one, two]), axis=0) + e, None

    alpha, _ = gc.scan(step, first, emitted[1:])
    loss = -gc.mean(gc.logsumexp(alpha[:, -2:], axis=1))
    arrays = [*data.normal(8, (30, 4, classes)), *data.extended_labels(4, length, classes)]
    return Made([logits, labels, skips], [loss, gc.grad(loss, logits)], arrays)


@_program
def hamiltonian(sizes: Sizes) -> Made:
    """Hamiltonian Monte Carlo over a logistic regression; the random numbers are given."""
    x, y = gc.placeholder("x", ("n", 5), "float64"), gc.placeholder("y", ("n",), "float64")
    momenta = gc.placeholder("momenta", ("draws", 5), "float64")
    uniform = gc.placeholder("uniform", ("draws",), "float64")
    step = 0.05

    def potential(q: Any) -> Any:
        z = x @ q
        return gc.sum(gc.softplus(z) - y * z) + 0.5 * gc.sum(q * q)

    def leap(state: Any, _: Any) -> Any:
        q, p = state
        p = p - 0.5 * step * gc.grad(potential(q), q)
        q = q + step * p
        p = p - 0.5 * step * gc.grad(potential(q), q)
        return (q, p), None

    def draw(q: Any, given: Any) -> Any:
        p, u = given
        (new_q, new_p), _ = gc.scan(leap, (q, p), length=10)
        before = potential(q) + 0.5 * gc.sum(p * p)
        after = potential(new_q) + 0.5 * gc.sum(new_p * new_p)
        q = gc.where(gc.log(u) < before - after, new_q, q)
        return q, q

    _, draws = gc.scan(draw, gc.zeros(5, "float64"), (momenta, uniform))
    xs, ys, ps = data.normal(9, (100, 5), (100,), (50, 5), dtype="float64")
    us = np.random.default_rng(10).uniform(0.1, 0.9, 50)
    return Made([x, y, momenta, uniform], [draws], [xs, (ys > 0).astype("float64"), ps, us])


@_program
def runge_kutta(sizes: Sizes) -> Made:
    """A damped pendulum over many steps, and the gradient by its start and parameters."""
    start = gc.placeholder("start", (2,), "float64")
    parameters = gc.placeholder("parameters", (2,), "float64")
    h = 0.01

    def slope(s: Any) -> Any:
        return gc.stack([s[1], -parameters[0] * gc.sin(s[0]) - parameters[1] * s[1]])

    def step(s: Any, _: Any) -> Any:
        a = slope(s)
        b = slope(s + 0.5 * h * a)
        c = slope(s + 0.5 * h * b)
        d = slope(s + h * c)
        return s + h / 6 * (a + 2 * b + 2 * c + d), None

    end, _ = gc.scan(step, start, length=sizes.steps)
    loss = gc.sum(end * end)
    gradients = gc.grad(loss, [start, parameters])
    return Made(
        [start, parameters], [loss, *gradients], [np.array([1.0, 0.0]), np.array([9.8, 0.1])]
    )


def _gaussian_process(n: Any) -> Made:
    x, y = gc.placeholder("x", (n,), "float64"), gc.placeholder("y", (n,), "float64")
    theta = gc.placeholder("theta", (3,), "float64")
    scale, variance, noise = gc.exp(theta[0]), gc.exp(theta[1]), gc.exp(theta[2])
    distance = (x[:, None] - x[None, :]) / scale
    i = gc.arange(x.shape[0])
    eye = (i[:, None] == i[None, :]).astype("float64")
    k = variance * gc.exp(-0.5 * distance * distance) + noise * eye
    loss = 0.5 * gc.sum(y * gc.linalg.solve(k, y)) + 0.5 * gc.linalg.slogdet(k).logabsdet
    gradient = gc.grad(loss, theta)

    def row(_: Any, e: Any) -> Any:
        return None, gc.grad(gc.sum(gradient * e), theta)

    _, hessian = gc.scan(row, None, gc.constant(np.eye(3)))
    return Made([x, y, theta], [loss, gradient, hessian], data.points(200))


@_program
def gaussian_process(sizes: Sizes) -> Made:
    """Marginal likelihood, gradient and Hessian by the kernel's parameters, at a static size."""
    return _gaussian_process(200)


@_program
def gaussian_process_named(sizes: Sizes) -> Made:
    """The same at a named size."""
    return _gaussian_process("n")


@_program
def sinkhorn(sizes: Sizes) -> Made:
    m = gc.placeholder("m", ("n", "m"))
    u, v = gc.placeholder("u", ("n",)), gc.placeholder("v", ("m",))
    a, b = u, v
    for _ in range(sizes.sinkhorn):
        b = gc.logsumexp(m + a[:, None], axis=0)
        a = gc.logsumexp(m + b[None], axis=1)
    loss = gc.sum(a) + gc.sum(b)
    arrays = [*data.normal(11, (30, 20)), np.zeros(30, "float32"), np.zeros(20, "float32")]
    # Each iteration adds the logarithms of sizes: what is compared stays small.
    arrays[0] -= np.float32(np.log(24.5))
    return Made([m, u, v], [loss, gc.grad(loss, m)], arrays)


@_program
def lennard_jones(sizes: Sizes) -> Made:
    """Energy, forces and Hessian of a cluster of thirteen atoms."""
    flat = gc.placeholder("atoms", (39,), "float64")
    first, second = data.pairs()
    atoms = flat.reshape(13, 3)
    apart = gc.take(atoms, gc.constant(first)) - gc.take(atoms, gc.constant(second))
    inverse = 1.0 / gc.sum(apart * apart, axis=1)
    six = inverse * inverse * inverse
    energy = gc.sum(4.0 * (six * six - six))
    forces = gc.grad(energy, flat)

    def row(_: Any, e: Any) -> Any:
        return None, gc.grad(gc.sum(forces * e), flat)

    _, hessian = gc.scan(row, None, gc.constant(np.eye(39)))
    return Made([flat], [energy, forces, hessian], [data.cluster().reshape(39)])


@_program
def attention(sizes: Sizes) -> Made:
    """A block of self-attention with layer norm, and its gradients."""
    steps, width, heads = 16, 32, 4
    x = gc.placeholder("x", ("b", steps, width))
    wq, wk, wv, wo, scale, shift = parameters = _variables(
        [
            *data.normal(12, *[(width, width)] * 4, scale=0.2),
            np.ones(width, "f4"),
            np.zeros(width, "f4"),
        ]
    )
    centred = x - gc.mean(x, axis=2, keepdims=True)
    spread = gc.mean(centred * centred, axis=2, keepdims=True)
    normed = centred / gc.sqrt(spread + 1e-5) * scale + shift

    def split(t: Any) -> Any:
        return t.reshape("b", steps, heads, width // heads).transpose(0, 2, 1, 3)

    q, k, v = (split(normed @ w) for w in (wq, wk, wv))
    p = gc.softmax(q @ gc.matrix_transpose(k) / (width // heads) ** 0.5, axis=-1)
    merged = (p @ v).transpose(0, 2, 1, 3).reshape("b", steps, width)
    loss = gc.mean((x + merged @ wo) ** 2)
    return Made([x], [loss, *gc.grad(loss, parameters)], data.normal(13, (8, steps, width)))


@_program
def wgan(sizes: Sizes) -> Made:
    """A step of both networks of a Wasserstein GAN with gradient penalty."""
    real, z = gc.placeholder("real", ("b", 2)), gc.placeholder("z", ("b", 8))
    mix = gc.placeholder("mix", ("b", 1))
    generator = _variables(data.layers(14, (8, 32, 32, 2)), "g")
    critic = _variables(data.layers(15, (2, 32, 32, 1)), "c")

    def judge(x: Any) -> Any:
        return _dense(x, critic, gc.leaky_relu)

    fake = _dense(z, generator, gc.tanh)
    between = mix * real + (1 - mix) * fake
    slope = gc.grad(gc.sum(judge(between)), between)
    penalty = gc.mean((gc.sqrt(gc.sum(slope * slope, axis=1) + 1e-12) - 1) ** 2)
    lost = gc.mean(judge(fake)) - gc.mean(judge(real)) + 10 * penalty
    deceived = -gc.mean(judge(fake))
    updates = {
        **gc.optim.Adam(1e-4).minimize(lost, critic),
        **gc.optim.Adam(1e-4).minimize(deceived, generator),
    }
    arrays = [
        *data.normal(16, (64, 2), (64, 8)),
        np.random.default_rng(17).random((64, 1), "float32"),
    ]
    return Made([real, z, mix], [lost, deceived], arrays, updates)


@_program
def convolutional(sizes: Sizes) -> Made:
    """Two convolutions written with slices and concat, means of 2 x 2, a dense layer, Adam."""
    x, y = gc.placeholder("x", ("b", 16, 16, 1)), gc.placeholder("y", ("b",), "int64")
    first, second, *dense = parameters = _variables(
        [*data.normal(18, (9, 8), (72, 16), scale=0.2), *data.layers(19, (64, 10))]
    )

    def convolve(t: Any, w: Any) -> Any:
        height, width = t.shape[1] - 2, t.shape[2] - 2
        windows = [t[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
        return gc.relu(gc.concat(windows, axis=3) @ w)

    def pool(t: Any) -> Any:
        b, height, width, channels = t.shape
        return gc.mean(t.reshape(b, height // 2, 2, width // 2, 2, channels), axis=(2, 4))

    h = pool(convolve(x, first))
    h = pool(convolve(h, second)[:, :4, :4])
    logits = _dense(h.reshape(x.shape[0], 64), dense, gc.relu)
    loss = gc.mean(gc.nn.losses.softmax_cross_entropy(logits, y))
    updates = gc.optim.Adam(1e-3).minimize(loss, parameters)
    arrays = [*data.normal(20, (32, 16, 16, 1)), np.arange(32) % 10]
    return Made([x, y], [loss], arrays, updates)


@_program
def formula(sizes: Sizes) -> Made:
    """A formula of many scalar operations with 26 outputs, and one product of a vector with its
    Jacobian."""
    inputs = [gc.placeholder(f"x{i}", (), "float64") for i in range(data.FORMULA_INPUTS)]
    weights = [gc.placeholder(f"w{i}", (), "float64") for i in range(data.FORMULA_OUTPUTS)]
    outputs = data.formula(inputs, sizes, gc)
    pulled = gc.vjp(outputs, inputs, weights, unconnected="zero")
    values = [np.array(0.1 + 0.05 * i) for i in range(len(inputs))]
    return Made(
        [*inputs, *weights],
        [*outputs, *pulled],
        [*values, *(np.array(1.0 - 0.03 * i) for i in range(len(weights)))],
    )
