"""The fifteen programs in JAX: each a function, and the arrays that it is called with. What graphc
updates in place is returned, after what both answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from . import data
from .data import Arrays, Sizes

Made = tuple[Callable[..., Any], Arrays]
PROGRAMS: dict[str, Callable[[Sizes], Made]] = {}


def _program(build: Callable[[Sizes], Made]) -> Callable[[Sizes], Made]:
    PROGRAMS[build.__name__] = build
    return build


def _dense(x: Any, parameters: Any, activation: Callable[[Any], Any]) -> Any:
    for i in range(0, len(parameters), 2):
        x = x @ parameters[i] + parameters[i + 1]
        if i + 2 < len(parameters):
            x = activation(x)
    return x


def _cross_entropy(logits: Any, y: Any) -> Any:
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], axis=1))


def _adam(rate: float, state: Any, gradients: Any) -> Any:
    parameters, first, second, count = state
    count = count + 1
    first = [0.9 * m + 0.1 * g for m, g in zip(first, gradients, strict=True)]
    second = [0.999 * v + 0.001 * g * g for v, g in zip(second, gradients, strict=True)]
    scale, fast = 1 / (1 - 0.999**count), rate / (1 - 0.9**count)
    parameters = [
        p - fast * m / (jnp.sqrt(v * scale) + 1e-8)
        for p, m, v in zip(parameters, first, second, strict=True)
    ]
    return parameters, first, second, count


def _started(parameters: Arrays) -> Any:
    zeros = [np.zeros_like(p) for p in parameters]
    return parameters, zeros, zeros, np.float32(0)


@_program
def x_plus_one(sizes: Sizes) -> Made:
    return lambda x: [x + 1], data.normal(0, (4,))


@_program
def logistic_regression(sizes: Sizes) -> Made:
    def loss_of(w: Any, b: Any, x: Any, y: Any) -> Any:
        z = x @ w + b
        return jnp.mean(jax.nn.softplus(z) - y * z) + 1e-3 * jnp.sum(w * w)

    def step(w: Any, b: Any, x: Any, y: Any) -> Any:
        loss, (dw, db) = jax.value_and_grad(loss_of, argnums=(0, 1))(w, b, x, y)
        return [loss, w - 0.1 * dw, b - 0.1 * db]

    xs, ys = data.normal(1, (256, 20), (256,))
    return step, [np.zeros(20, "f4"), np.float32(0), xs, (ys > 0).astype("f4")]


@_program
def mlp(sizes: Sizes) -> Made:
    def loss_of(parameters: Any, x: Any, y: Any) -> Any:
        return _cross_entropy(_dense(x, parameters, jax.nn.relu), y)

    def step(state: Any, x: Any, y: Any) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(state[0], x, y)
        return [loss, _adam(1e-3, state, gradients)]

    state = _started(data.layers(2, (784, 256, 128, 10)))
    return step, [state, *data.normal(3, (128, 784)), np.arange(128, dtype="i4") % 10]


@_program
def physics_informed(sizes: Sizes) -> Made:
    def u(parameters: Any, x: Any, t: Any) -> Any:
        return _dense(jnp.stack([x, t])[None], parameters, jnp.tanh)[0, 0]

    def loss_of(parameters: Any, xs: Any, ts: Any) -> Any:
        def residual(x: Any, t: Any) -> Any:
            u_x, u_t = jax.grad(u, 1), jax.grad(u, 2)
            u_xx = jax.grad(u_x, 1)
            value = u(parameters, x, t)
            slope, change = u_x(parameters, x, t), u_t(parameters, x, t)
            return change + value * slope - 0.01 / np.pi * u_xx(parameters, x, t)

        return jnp.mean(jax.vmap(residual)(xs[:, 0], ts[:, 0]) ** 2)

    def step(state: Any, x: Any, t: Any) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(state[0], x, t)
        return [loss, _adam(1e-3, state, gradients)]

    state = _started(data.layers(4, (2, *[32] * sizes.layers, 1)))
    return step, [state, *data.normal(5, (256, 1), (256, 1))]


@_program
def recurrent(sizes: Sizes) -> Made:
    width = 16
    shapes = [
        (8, width),
        (width, width),
        *[(2 * width, 4 * width)] * 2,
        (2 * width,),
        (2 * width, 4),
    ]

    def loss_of(parameters: Any, xs: Any, y: Any) -> Any:
        wx, wh, forward, backward, score, last = parameters
        zero = jnp.zeros((xs.shape[1], width), xs.dtype)

        def plain(h: Any, x: Any) -> Any:
            h = jnp.tanh(x @ wx + h @ wh)
            return h, h

        def lstm(w: Any) -> Any:
            def step(state: Any, x: Any) -> Any:
                h, c = state
                i, f, g, o = jnp.split(jnp.concatenate([x, h], axis=1) @ w, 4, axis=1)
                c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
                h = jax.nn.sigmoid(o) * jnp.tanh(c)
                return (h, c), h

            return step

        _, hs = jax.lax.scan(plain, zero, xs)
        _, right = jax.lax.scan(lstm(forward), (zero, zero), hs)
        _, left = jax.lax.scan(lstm(backward), (zero, zero), hs, reverse=True)
        both = jnp.concatenate([right, left], axis=2)
        weights = jax.nn.softmax(jnp.sum(jnp.tanh(both) * score, axis=2), axis=0)
        return _cross_entropy(jnp.sum(weights[:, :, None] * both, axis=0) @ last, y)

    def both_of(parameters: Any, xs: Any, y: Any) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(parameters, xs, y)
        return [loss, *gradients]

    parameters = data.normal(6, *shapes, scale=0.3)
    return both_of, [parameters, *data.normal(7, (20, 16, 8)), np.arange(16, dtype="i4") % 4]


@_program
def ctc(sizes: Sizes) -> Made:
    classes, length, least = 12, 5, -1e30

    def loss_of(logits: Any, labels: Any, skips: Any) -> Any:
        batch = logits.shape[1]
        chosen = jax.nn.one_hot(labels, classes, dtype=logits.dtype)
        emitted = jnp.einsum("tbc,bsc->tbs", jax.nn.log_softmax(logits, axis=2), chosen)
        none = jnp.full((batch, 1), least, logits.dtype)
        rest = jnp.full((batch, 2 * length - 1), least, logits.dtype)

        def step(alpha: Any, e: Any) -> Any:
            one = jnp.concatenate([none, alpha[:, :-1]], axis=1)
            two = jnp.where(skips, jnp.concatenate([none, none, alpha[:, :-2]], axis=1), least)
            stacked = jnp.stack([alpha, one, two])
            return jax.scipy.special.logsumexp(stacked, axis=0) + e, None

        first = jnp.concatenate([emitted[0][:, :2], rest], axis=1)
        alpha, _ = jax.lax.scan(step, first, emitted[1:])
        return -jnp.mean(jax.scipy.special.logsumexp(alpha[:, -2:], axis=1))

    arrays = [*data.normal(8, (30, 4, classes)), *data.extended_labels(4, length, classes)]
    return jax.value_and_grad(loss_of), arrays


@_program
def hamiltonian(sizes: Sizes) -> Made:
    step = 0.05

    def draws_of(x: Any, y: Any, momenta: Any, uniform: Any) -> Any:
        def potential(q: Any) -> Any:
            z = x @ q
            return jnp.sum(jax.nn.softplus(z) - y * z) + 0.5 * jnp.sum(q * q)

        def leap(state: Any, _: Any) -> Any:
            q, p = state
            p = p - 0.5 * step * jax.grad(potential)(q)
            q = q + step * p
            p = p - 0.5 * step * jax.grad(potential)(q)
            return (q, p), None

        def draw(q: Any, given: Any) -> Any:
            p, u = given
            (new_q, new_p), _ = jax.lax.scan(leap, (q, p), length=10)
            before = potential(q) + 0.5 * jnp.sum(p * p)
            after = potential(new_q) + 0.5 * jnp.sum(new_p * new_p)
            q = jnp.where(jnp.log(u) < before - after, new_q, q)
            return q, q

        return [jax.lax.scan(draw, jnp.zeros(5, x.dtype), (momenta, uniform))[1]]

    xs, ys, ps = data.normal(9, (100, 5), (100,), (50, 5), dtype="float64")
    us = np.random.default_rng(10).uniform(0.1, 0.9, 50)
    return draws_of, [xs, (ys > 0).astype("f8"), ps, us]


@_program
def runge_kutta(sizes: Sizes) -> Made:
    h = 0.01

    def loss_of(start: Any, parameters: Any) -> Any:
        def slope(s: Any) -> Any:
            return jnp.stack([s[1], -parameters[0] * jnp.sin(s[0]) - parameters[1] * s[1]])

        def step(s: Any, _: Any) -> Any:
            a = slope(s)
            b = slope(s + 0.5 * h * a)
            c = slope(s + 0.5 * h * b)
            d = slope(s + h * c)
            return s + h / 6 * (a + 2 * b + 2 * c + d), None

        end, _ = jax.lax.scan(step, start, length=sizes.steps)
        return jnp.sum(end * end)

    return jax.value_and_grad(loss_of, argnums=(0, 1)), [np.array([1.0, 0.0]), np.array([9.8, 0.1])]


def _gaussian_process() -> Made:
    def loss_of(theta: Any, x: Any, y: Any) -> Any:
        scale, variance, noise = jnp.exp(theta)
        distance = (x[:, None] - x[None, :]) / scale
        k = variance * jnp.exp(-0.5 * distance * distance) + noise * jnp.eye(len(x))
        return 0.5 * jnp.sum(y * jnp.linalg.solve(k, y)) + 0.5 * jnp.linalg.slogdet(k)[1]

    def all_of(x: Any, y: Any, theta: Any) -> Any:
        gradient = jax.grad(loss_of)

        def row(_: Any, e: Any) -> Any:
            return None, jax.grad(lambda p: jnp.sum(gradient(p, x, y) * e))(theta)

        value, first = jax.value_and_grad(loss_of)(theta, x, y)
        return [value, first, jax.lax.scan(row, None, jnp.eye(3))[1]]

    return all_of, data.points(200)


@_program
def gaussian_process(sizes: Sizes) -> Made:
    return _gaussian_process()


@_program
def gaussian_process_named(sizes: Sizes) -> Made:
    return _gaussian_process()


@_program
def sinkhorn(sizes: Sizes) -> Made:
    def loss_of(m: Any, a: Any, b: Any) -> Any:
        for _ in range(sizes.sinkhorn):
            b = jax.scipy.special.logsumexp(m + a[:, None], axis=0)
            a = jax.scipy.special.logsumexp(m + b[None], axis=1)
        return jnp.sum(a) + jnp.sum(b)

    arrays = [*data.normal(11, (30, 20)), np.zeros(30, "f4"), np.zeros(20, "f4")]
    arrays[0] -= np.float32(np.log(24.5))
    return jax.value_and_grad(loss_of), arrays


@_program
def lennard_jones(sizes: Sizes) -> Made:
    first, second = data.pairs()

    def energy(flat: Any) -> Any:
        atoms = flat.reshape(13, 3)
        apart = atoms[first] - atoms[second]
        inverse = 1.0 / jnp.sum(apart * apart, axis=1)
        six = inverse * inverse * inverse
        return jnp.sum(4.0 * (six * six - six))

    def all_of(flat: Any) -> Any:
        return [*jax.value_and_grad(energy)(flat), jax.hessian(energy)(flat)]

    return all_of, [data.cluster().reshape(39)]


@_program
def attention(sizes: Sizes) -> Made:
    steps, width, heads = 16, 32, 4

    def loss_of(parameters: Any, x: Any) -> Any:
        wq, wk, wv, wo, scale, shift = parameters
        centred = x - jnp.mean(x, axis=2, keepdims=True)
        spread = jnp.mean(centred * centred, axis=2, keepdims=True)
        normed = centred / jnp.sqrt(spread + 1e-5) * scale + shift

        def split(t: Any) -> Any:
            return t.reshape(-1, steps, heads, width // heads).transpose(0, 2, 1, 3)

        q, k, v = (split(normed @ w) for w in (wq, wk, wv))
        p = jax.nn.softmax(q @ k.swapaxes(-1, -2) / (width // heads) ** 0.5, axis=-1)
        merged = (p @ v).transpose(0, 2, 1, 3).reshape(x.shape)
        return jnp.mean((x + merged @ wo) ** 2)

    def all_of(parameters: Any, x: Any) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(parameters, x)
        return [loss, *gradients]

    weights = data.normal(12, *[(width, width)] * 4, scale=0.2)
    parameters = [*weights, np.ones(width, "f4"), np.zeros(width, "f4")]
    return all_of, [parameters, *data.normal(13, (8, steps, width))]


@_program
def wgan(sizes: Sizes) -> Made:
    def judge(critic: Any, x: Any) -> Any:
        return _dense(x, critic, lambda t: jax.nn.leaky_relu(t, 0.01))

    def fake_of(generator: Any, z: Any) -> Any:
        return _dense(z, generator, jnp.tanh)

    def lost(critic: Any, generator: Any, real: Any, z: Any, mix: Any) -> Any:
        fake = fake_of(generator, z)
        between = mix * real + (1 - mix) * fake
        slope = jax.grad(lambda x: jnp.sum(judge(critic, x)))(between)
        penalty = jnp.mean((jnp.sqrt(jnp.sum(slope * slope, axis=1) + 1e-12) - 1) ** 2)
        return jnp.mean(judge(critic, fake)) - jnp.mean(judge(critic, real)) + 10 * penalty

    def deceived(generator: Any, critic: Any, z: Any) -> Any:
        return -jnp.mean(judge(critic, fake_of(generator, z)))

    def step(critic: Any, generator: Any, real: Any, z: Any, mix: Any) -> Any:
        a, da = jax.value_and_grad(lost)(critic[0], generator[0], real, z, mix)
        b, db = jax.value_and_grad(deceived)(generator[0], critic[0], z)
        return [a, b, _adam(1e-4, critic, da), _adam(1e-4, generator, db)]

    generator = _started(data.layers(14, (8, 32, 32, 2)))
    critic = _started(data.layers(15, (2, 32, 32, 1)))
    mix = np.random.default_rng(17).random((64, 1), "float32")
    return step, [critic, generator, *data.normal(16, (64, 2), (64, 8)), mix]


@_program
def convolutional(sizes: Sizes) -> Made:
    def convolve(t: Any, w: Any) -> Any:
        height, width = t.shape[1] - 2, t.shape[2] - 2
        windows = [t[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
        return jax.nn.relu(jnp.concatenate(windows, axis=3) @ w)

    def pool(t: Any) -> Any:
        b, height, width, channels = t.shape
        return jnp.mean(t.reshape(b, height // 2, 2, width // 2, 2, channels), axis=(2, 4))

    def loss_of(parameters: Any, x: Any, y: Any) -> Any:
        first, second, *dense = parameters
        h = pool(convolve(x, first))
        h = pool(convolve(h, second)[:, :4, :4])
        return _cross_entropy(_dense(h.reshape(x.shape[0], 64), dense, jax.nn.relu), y)

    def step(state: Any, x: Any, y: Any) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(state[0], x, y)
        return [loss, _adam(1e-3, state, gradients)]

    parameters = [*data.normal(18, (9, 8), (72, 16), scale=0.2), *data.layers(19, (64, 10))]
    arrays = [*data.normal(20, (32, 16, 16, 1)), np.arange(32, dtype="i4") % 10]
    return step, [_started(parameters), *arrays]


@_program
def formula(sizes: Sizes) -> Made:
    def both_of(inputs: Any, weights: Any) -> Any:
        outputs, pull = jax.vjp(lambda xs: data.formula(xs, sizes, jnp), inputs)
        return [*outputs, *pull(weights)[0]]

    inputs = [np.array(0.1 + 0.05 * i) for i in range(data.FORMULA_INPUTS)]
    return both_of, [inputs, [np.array(1.0 - 0.03 * i) for i in range(data.FORMULA_OUTPUTS)]]
