"""The programs of the corpus: models, losses as in textbooks, gradients, and imported graphs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

import graphc as gc
from graphc.ir.graph import Graph
from graphc.ir.node import Tensor, Variable, apply
from graphc.ir.op import registry


class Program(NamedTuple):
    """A graph and arrays for its inputs, in order."""

    graph: Graph
    arrays: list[np.ndarray[Any, Any]]


PROGRAMS: dict[str, Callable[[], Program]] = {}


def _program(build: Callable[[], tuple[list[Tensor], Sequence[Tensor]]]) -> None:
    """Register a function that gives inputs and outputs; arrays of 5 for every named dim."""

    def make() -> Program:
        inputs, outputs = build()
        graph = Graph(inputs, outputs, name=build.__name__)
        return Program(graph, [_array(i, t) for i, t in enumerate(inputs)])

    PROGRAMS[build.__name__] = make


def _array(seed: int, t: Tensor) -> np.ndarray[Any, Any]:
    shape = tuple(s if isinstance(s, int) else 5 for s in t.shape)
    random = np.random.default_rng(seed)
    if t.dtype.is_float:
        return random.uniform(0.1, 0.9, shape).astype(t.dtype.numpy)
    if t.dtype.is_complex:
        return (random.uniform(0.1, 0.9, (*shape, 2)) @ [1, 1j]).astype(t.dtype.numpy)
    return random.integers(0, 2 if t.dtype.kind == "b" else 4, shape).astype(t.dtype.numpy)


def _weights(*shape: int) -> Variable:
    values = np.random.default_rng(sum(shape)).standard_normal(shape) * 0.3
    return gc.variable(values.astype(np.float32), name="w" + "x".join(map(str, shape)))


def _raw(op: str, *operands: Tensor, **attrs: Any) -> Tensor:
    """A node as an importer makes it, past the functions that simplify."""
    return apply(registry()[op], operands, **attrs).output()


# -- models and their gradients --------------------------------------------------------------------
@_program
def mlp_gradient() -> Any:
    x = gc.placeholder("x", ("n", 6))
    y = gc.placeholder("y", ("n",), "int64")
    w1, b1, w2 = _weights(6, 8), _weights(8), _weights(8, 4)
    z = gc.relu(x @ w1 + b1) @ w2
    loss = gc.mean(gc.softmax_cross_entropy(z, y))
    return [x, y], [loss, *gc.grad(loss, [w1, b1, w2])]


@_program
def gelu_gradient() -> Any:
    x = gc.placeholder("x", ("n", 6))
    y = 0.5 * x * (1 + gc.tanh(0.7978846 * (x + 0.044715 * x**3)))
    return [x], [y, gc.grad(gc.sum(y), x)]


@_program
def layer_norm() -> Any:
    x = gc.placeholder("x", ("n", 8))
    centred = x - gc.mean(x, axis=1, keepdims=True)
    variance = gc.mean(centred**2, axis=1, keepdims=True)
    y = centred * (variance + 1e-5) ** -1 + gc.sqrt(centred**2)
    return [x], [y, gc.grad(gc.sum(y * y), x)]


@_program
def least_squares_step() -> Any:
    """Weight decay, a target network, a gradient that is added to itself."""
    x, y = gc.placeholder("x", (16, 6)), gc.placeholder("y", (16, 1))
    w = _weights(6, 1)
    target = gc.stop_gradient(x @ w)
    error = x @ w - y
    loss = gc.mean(0.5 * error**2) + 0.5 * gc.sum(gc.square(w)) + gc.mean(gc.abs(target - y))
    g = gc.grad(loss, w)
    return [x, y], [w - (-0.1) * (-g), g + g, loss / 8]


@_program
def attention() -> Any:
    """Heads split and merged by reshapes and transposes, and an exp between them."""
    x = gc.placeholder("x", ("n", 3, 8))
    heads = x.reshape("n", 3, 2, 4).transpose(0, 2, 1, 3)
    scores = gc.softmax(heads @ heads.transpose(0, 1, 3, 2) / 2.0)
    merged = (scores @ heads).transpose(0, 2, 1, 3).reshape("n", 3, 8)
    positive = gc.exp(x.transpose(0, 2, 1) * 0.5).transpose(0, 2, 1)
    flat = positive.reshape("n", 24).reshape("3*n", 8)
    return [x], [merged, positive, flat]


@_program
def einsum_attention() -> Any:
    """Heads as an axis that is never moved; the weights multiply whole batches."""
    x = gc.placeholder("x", ("n", 3, 8))
    wq, wk, wv = (gc.variable(_weights(8, 8).value.reshape(8, 2, 4), name=c) for c in "qkv")
    q, k, v = (gc.einsum("btc,chd->bthd", x, w) for w in (wq, wk, wv))
    scores = gc.softmax(gc.einsum("bthd,bshd->bhts", q, k) / 2.0)
    merged = gc.einsum("bhts,bshd->bthd", scores, v).reshape("n", 3, 8)
    out = merged @ _weights(8, 8)
    return [x], [out, *gc.grad(gc.sum(out * out), [wq, wk, wv])]


@_program
def bilinear_form() -> Any:
    """Scores x A y of pairs, by einsum and as a quadratic form, and the gradient of the form."""
    x, y = gc.placeholder("x", ("n", 6)), gc.placeholder("y", ("n", 4))
    a, s = _weights(6, 4), gc.placeholder("s", (6, 6))
    scores = gc.einsum("ni,ij,nj->n", x, a, y)
    form = gc.einsum("ni,ij,nj->", x, s, x) + gc.trace(s)
    return [x, y, s], [scores, form, gc.grad(form, x), gc.grad(gc.sum(scores), a)]


@_program
def batched_rotations() -> Any:
    """Points turned by a matrix each, and by two in a row."""
    angles, points = gc.placeholder("angles", ("n",)), gc.placeholder("points", ("n", 2))
    c, s = gc.cos(angles), gc.sin(angles)
    turn = gc.stack([gc.stack([c, -s], 1), gc.stack([s, c], 1)], 1)
    turned = gc.einsum("nij,nj->ni", turn, points)
    twice = gc.einsum("nij,njk,nk->ni", turn, turn, points)
    return [angles, points], [turned, twice, gc.grad(gc.sum(turned**2 + twice), angles)]


@_program
def normal_equations() -> Any:
    """A chain of products, written from the left, transposes around products, and weights of rows
    in one."""
    x, v = gc.placeholder("x", ("n", 6)), gc.placeholder("v", ("n", 1))
    w = _weights(6, 5)
    gram = ((x @ w).T @ (x @ w)).T
    hat = (x @ (x.T @ x)) @ (x.T @ v)
    back = (w.T @ x.T).T
    weighted = (x.T * gc.tanh(gc.reshape(v, (-1,)))) @ x
    return [x, v], [gram, hat, back, weighted]


@_program
def dense_on_sequences() -> Any:
    """A weight that multiplies a batch of sequences, and its gradient."""
    x, w = gc.placeholder("x", ("n", 3, 8)), _weights(8, 4)
    loss = gc.mean(gc.tanh(x @ w))
    return [x], [loss, gc.grad(loss, w)]


@_program
def images_with_channels_first() -> Any:
    """Images [n, h, w, c] for functions that have channels first, and the gradient."""
    x, scale = gc.placeholder("x", ("n", 6, 5, 3)), gc.placeholder("scale", (3, 1, 1))
    images = gc.permute_dims(x, (0, 3, 1, 2))
    both = gc.concat([gc.relu(images * scale), images], axis=1)
    pooled = gc.max_pool(gc.pad(both, [(0, 0), (0, 0), (1, 0), (0, 0)], "reflect"), 2)
    means = gc.mean(pooled, axis=(2, 3))
    sums = gc.fold_windows(gc.windows(images, 2, 3), 5, 3)
    wide = gc.broadcast_to(sums, (2, *sums.shape))
    loss = gc.sum(means**2) + gc.mean(wide)
    return [x, scale], [loss, *gc.grad(loss, [x, scale])]


@_program
def lstm_gates() -> Any:
    """Gates computed at once and split, an input joined from parts, and their gradient."""
    x, h = gc.placeholder("x", ("n", 3)), gc.placeholder("h", ("n", 4))
    w = _weights(7, 16)
    z = gc.concat([x, h], 1) @ w
    i, f, o, c = gc.split(z, 4, axis=1)
    state = gc.sigmoid(f) * gc.tanh(c) + gc.sigmoid(i)
    out = gc.sigmoid(o) * gc.tanh(state)
    history = gc.concat([gc.concat([out, h]), h])
    parts = gc.split(gc.concat([x, h], 1), [3], axis=1)
    last = z[:, 4:][:, 2:]
    return [x, h], [out, history, parts[1], last, gc.grad(gc.sum(out), z)]


@_program
def sliced_curvature() -> Any:
    """A second derivative through a slice: what was padded is cut out again."""
    x = gc.placeholder("x", (9,))
    g = gc.grad(gc.sum(gc.exp(x[2:6])), x)
    return [x], [gc.grad(gc.sum(g[2:6] * g[2:6]), x)]


@_program
def curvature_of_a_square() -> Any:
    """Rosenbrock's valley: its second derivatives have the 0th power of what it squares."""
    p = gc.placeholder("point", (2,))
    valley = (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2
    return [p], [valley, gc.hessian(valley, p)]


@_program
def augmentation() -> Any:
    """An image flipped, and flipped back with another axis; padding seen whole."""
    x = gc.placeholder("x", ("n", 4, 6))
    return [x], [gc.flip(gc.flip(x, (1, 2)), 2), gc.flip(x, 1)]


# -- losses as in textbooks ------------------------------------------------------------------------
def _classes() -> tuple[Tensor, Tensor]:
    return gc.placeholder("z", ("n", 4)), gc.placeholder("y", ("n", 4))


@_program
def softmax_regression() -> Any:
    z, y = _classes()
    p = gc.exp(z) / gc.sum(gc.exp(z), axis=1, keepdims=True)
    return [z, y], [p, -gc.mean(gc.sum(y * gc.log(p), axis=1))]


@_program
def log_of_softmax() -> Any:
    z, y = _classes()
    loss = -gc.mean(gc.sum(y * gc.log(gc.softmax(z)), axis=1))
    entropy = gc.sum(gc.softmax(z) * gc.log(gc.softmax(z)))
    reward = gc.sum(y * gc.log(gc.softmax(z)))
    return [z, y], [loss, *(gc.grad(r, z) for r in (loss, entropy, reward))]


@_program
def log_partition() -> Any:
    z, y = _classes()
    log_p = z - gc.log(gc.sum(gc.exp(z), axis=1, keepdims=True))
    loss = -gc.mean(gc.sum(y * log_p, axis=1))
    free_energy = gc.mean(gc.log(gc.sum(gc.exp(z), axis=1)))
    return [z, y], [loss, free_energy, gc.grad(free_energy, z)]


@_program
def softmax_shifted_by_hand() -> Any:
    z, y = _classes()
    shifted = z - gc.max(z, axis=1, keepdims=True)
    p = gc.exp(shifted) / gc.sum(gc.exp(shifted), axis=1, keepdims=True)
    log_p = shifted - gc.log(gc.sum(gc.exp(shifted), axis=1, keepdims=True))
    return [z, y], [p, gc.sum(y * gc.log(p)), gc.sum(y * log_p)]


@_program
def logistic_regression() -> Any:
    z, y = gc.placeholder("z", ("n",)), gc.placeholder("y", ("n",))
    p = 1 / (1 + gc.exp(-z))
    q = gc.exp(z) / (1 + gc.exp(z))
    loss = -gc.mean(y * gc.log(p) + (1 - y) * gc.log(1 - p))
    direct = -gc.mean(y * gc.log(gc.sigmoid(z)))
    return [z, y], [loss, gc.mean(q), gc.grad(direct, z)]


@_program
def logistic_margin() -> Any:
    """log(1 + exp(-z)) summed, averaged and weighted, and the gradient of each."""
    z, y = gc.placeholder("z", ("n",)), gc.placeholder("y", ("n",))
    losses = gc.log(1 + gc.exp(-z))
    results = [gc.sum(losses), gc.mean(losses), gc.sum(y * losses), gc.sum(gc.log1p(gc.exp(z)))]
    return [z, y], [*results, *(gc.grad(r, z) for r in results[:3])]


@_program
def survival() -> Any:
    """A hazard 1 - exp(-t), growth exp(t) - 1, log odds, and the log of an exp."""
    t = gc.placeholder("t", ("n",))
    hazard, growth = 1 - gc.exp(-t), gc.exp(t) - 1
    odds = gc.log(1 + t) - gc.log(1 - t)
    return [t], [hazard, growth, odds, gc.log(gc.exp(t))]


@_program
def robust_distance() -> Any:
    x, y = gc.placeholder("x", ("n",)), gc.placeholder("y", ("n",))
    d = x - y
    distance = (d * d) ** 0.5
    hinge = gc.maximum(0, 1 - distance)
    signs = [gc.abs(-d), gc.square(-d), gc.relu(gc.relu(d)), (-x) / y, x - (-y)]
    return [x, y], [distance, hinge, *signs]


@_program
def quotient_gradient() -> Any:
    x, y = gc.placeholder("x", ("n",)), gc.placeholder("y", ("n",))
    loss = gc.sum(x / y)
    return [x, y], [loss, gc.grad(loss, y), x / (-y), -(2 * (-x))]


@_program
def likelihoods() -> Any:
    """Densities, products of them, and their logs, that only `fastmath` may take apart."""
    x, s = gc.placeholder("x", ("n",)), gc.placeholder("s", ("n",))
    density = gc.exp(-(x**2) / (2 * s**2)) / (s * 2.5066282746)
    joint, odds = gc.exp(-x) * gc.exp(-s), gc.exp(-x) / gc.exp(-s)
    log_joint, log_odds = gc.log(x) + gc.log(s), gc.log(x) - gc.log(s)
    logs = [gc.log(density), gc.log(gc.exp(-x) * s), log_joint, log_odds]
    return [x, s], [density, joint, odds, gc.sum(gc.log(density)), *logs]


@_program
def moments_by_powers() -> Any:
    """Powers, thirds, and terms that cancel once sizes and options are known."""
    x, s = gc.placeholder("x", ("n",)), gc.placeholder("s", ("n",))
    powers = [x**-0.5, x**1.5, x**4, gc.sqrt(x) * gc.sqrt(s), x / 3]
    return [x, s], [*powers, x / x + (s - s), x * 0 + s, (x + 0.0) * s / s]


@_program
def python_numbers() -> Any:
    """Numbers that Python code computed: in formulas of float32, and where a loop begins."""
    x, c = gc.placeholder("x", ("n",)), gc.placeholder("c", ("n",), "bool")
    rate = gc.where(c, 1 / 3, 0.1)
    first = gc.where(gc.all(c), 0.5, 0.25)
    total, _ = gc.scan(lambda s, v: (s + v, s), first, x.astype("float64"))
    doubled, _ = gc.scan(lambda s, _: (s * 2.0, s), gc.sqrt(2.0), length=3)
    return [x, c], [gc.sqrt(2.0) * x, rate * x, total, doubled * x]


# -- loops and branches ----------------------------------------------------------------------------
@_program
def implicit_steps() -> Any:
    """Implicit steps of a stiff equation, each a root, and the loss by its rate."""
    y, rate = gc.placeholder("y", (2,)), gc.placeholder("rate", ())

    def step(y: Any, _: Any) -> Any:
        after = gc.root(lambda z: z - y + 0.1 * rate * z**3, y)
        return after, gc.sum(after)

    last, sums = gc.scan(step, y, length=3)
    return [y, rate], [last, sums, *gc.grad(gc.sum(last * last), [y, rate])]


@_program
def pendulum() -> Any:
    """The gradient of a trajectory, by four slopes a step."""
    angle, t = gc.placeholder("angle", ()), gc.placeholder("t", ("n",))
    y, _ = gc.odeint(lambda y, t: (y[1], -9.81 * gc.sin(y[0])), (angle, 0.0), t)
    return [angle, t], [y, gc.grad(gc.sum(y * y), angle)]


@_program
def until_small() -> Any:
    """Steps of a descent until they are small, the rule of each chosen by an index."""
    x, kind = gc.placeholder("x", ("n",)), gc.placeholder("kind", (), "int64")

    def step(c: Any) -> Any:
        x, turns = c
        halves = gc.switch(kind, [lambda v: v * 0.5, lambda v: v - gc.tanh(v) / 2, gc.square], x)
        return halves, turns + 1

    last, turns = gc.while_loop(lambda c: (gc.sum(c[0] ** 2) > 1e-3) & (c[1] < 20), step, (x, 0))
    counted = gc.fori_loop(0, kind, lambda i, v: v + i.astype("float32"), x)
    return [x, kind], [last, turns, counted]


# -- masks, sums, conversions ----------------------------------------------------------------------
@_program
def masks() -> Any:
    """Choices inside choices, as the gradients of guarded formulas make them."""
    x, y = gc.placeholder("x", ("n",)), gc.placeholder("y", ("n",))
    valid = gc.placeholder("valid", ("n",), "bool")
    safe = gc.where(valid, x, 1.0)
    guarded = gc.where(valid, gc.log(safe), 0.0)
    chosen = gc.where(valid, gc.where(valid, x, y), 0.0)
    other = gc.where(valid, 0.0, gc.where(valid, x, y))
    loss = gc.sum(guarded * gc.where(gc.logical_not(valid), y, x))
    return [x, y, valid], [chosen, other, gc.any(valid), gc.grad(loss, x), gc.where(valid, x, x)]


@_program
def total_of_totals() -> Any:
    """Sums of sums, and of something that is the same in every row."""
    x, y = gc.placeholder("x", ("n", 4)), gc.placeholder("y", (4,))
    prior = gc.sum(gc.broadcast_to(y, (7, 4)), axis=0)
    return [x, y], [gc.sum(gc.sum(x, axis=1)), prior, gc.sum(x, axis=0) * prior]


@_program
def outer_sum() -> Any:
    """Shapes stretched by hand that arithmetic would stretch by itself."""
    x, s = gc.placeholder("x", (4,)), gc.placeholder("s", ())
    rows = gc.broadcast_to(gc.broadcast_to(x, (3, 4)), (2, 3, 4))
    columns = gc.broadcast_to(x, (3, 4)).reshape(3, 1, 4)
    return [x, s], [rows, columns, gc.broadcast_to(s, (3, 4)).T + gc.exp(rows).T[:, :, 0]]


@_program
def power_spectrum() -> Any:
    """How the power at each frequency depends on a signal given by its parts."""
    x, z = gc.placeholder("x", ("n",)), gc.placeholder("z", ("n",), "complex64")

    def power(z: Tensor) -> Tensor:
        return gc.sum(gc.abs(gc.fft.fft(z)) ** 2 * gc.real(z) * gc.imag(z))

    again = gc.complex(gc.real(z), gc.imag(z))  # as a user passes parts on
    return [x, z], [gc.grad(power)(gc.complex(x, x * x)), gc.fft.ifft(again)]


@_program
def points_in_a_well() -> Any:
    """A potential by the distance from the origin, where a point may be, and its forces."""
    x = gc.placeholder("x", ("n", 3))
    energy = gc.sum(gc.exp(-gc.linalg.norm(x, axis=1)))
    return [x], [energy, gc.grad(energy, x)]


# -- graphs that other tools made ------------------------------------------------------------------
@_program
def exported_polynomial() -> Any:
    """A generated Horner scheme: trivial coefficients, a -0.0, and powers one by one."""
    x = gc.placeholder("x", ("n",))
    horner = ((x * 1 + (-0.0)) * x - 0.0) / 1
    return [x], [horner, x**1 + x**2, gc.minimum(x, x), gc.maximum(x, x), -(-x)]  # noqa: B002


@_program
def exported_graph() -> Any:
    """Moves that move nothing, conversions there and back, a size known by now, a smooth |x|."""
    x = gc.placeholder("x", ("n", 4))
    i = gc.placeholder("i", ("n",), "int32")
    c = gc.placeholder("c", ("n",), "bool")
    same = _raw("reshape", _raw("permute_dims", x, axes=(0, 1)), shape=x.shape)
    there_and_back = i.astype("float64").astype("int32")
    known = _raw("size", size=4, dtype=gc.float32)
    truth = gc.logical_and(c, c)
    either = gc.logical_or(gc.logical_not(gc.logical_not(c)), c)
    chosen = gc.where(gc.constant(True), x, known) + gc.where(gc.constant(False), x, known)
    bits = ~(~(i + 0))
    smooth = gc.log(gc.cosh(x))
    return [x, i, c], [same, there_and_back, chosen, truth, either, bits, smooth]
