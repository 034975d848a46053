"""Training beyond one perceptron's step: an LSTM, a transformer, and a whole epoch.

Steps are as in `mlp`: float32, mean softmax cross-entropy, Adam, and the same batch each time, in
which every input appears twice with two labels, so that nothing can be learned by heart. There is
no oracle by hand: the contenders' losses are held to each other's. graphc's sides are its layers,
with the parameters of the others by their paths.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from .harness import NotOfferedError, Prepared, case
from .mlp import (
    RATE,
    Problem,
    jax_adam,
    jax_loss,
    jax_state,
    jax_step,
    losses,
    problem,
    torch_adam,
    torch_perceptron,
    torch_step,
)

Parameters = dict[str, npt.NDArray[np.float32]]


# -- an LSTM ---------------------------------------------------------------------------------------
TIME, ROWS, FEATURES, UNITS, KINDS = 64, 32, 128, 128, 10


@case("LSTM + Adam step: B 32, T 64, 128 features, 128 units", rtol=1e-3)
def lstm_step(contender: str) -> Prepared:
    """Classes of sequences by the last state (Hochreiter and Schmidhuber, 1997)."""
    random = np.random.default_rng(0)
    x, y = twice(random, random.standard_normal((ROWS // 2, TIME, FEATURES)), KINDS)
    given = {
        "lstm1/kernel": scaled(random, FEATURES, 4 * UNITS),
        "lstm1/recurrent_kernel": scaled(random, UNITS, 4 * UNITS),
        "lstm1/bias": np.zeros(4 * UNITS, np.float32),
        "dense1/kernel": scaled(random, UNITS, KINDS),
        "dense1/bias": np.zeros(KINDS, np.float32),
    }
    match contender:
        case "jax":
            import jax
            import jax.numpy as jnp

            def loss_of(p: Any, x: Any, y: Any) -> Any:
                products = jnp.swapaxes(x @ p["lstm1/kernel"] + p["lstm1/bias"], 0, 1)

                def cell(state: Any, product: Any) -> Any:
                    h, c = state
                    i, f, g, o = jnp.split(product + h @ p["lstm1/recurrent_kernel"], 4, axis=1)
                    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
                    return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

                zero = jnp.zeros((ROWS, UNITS), x.dtype)
                (h, _), _ = jax.lax.scan(cell, (zero, zero), products)
                return jax_mean_loss(h @ p["dense1/kernel"] + p["dense1/bias"], y)

            step = jax_step(loss_of, given, x, y.astype(np.int32))
        case "torch":
            import torch

            layer = torch.nn.LSTM(FEATURES, UNITS, batch_first=True)
            names = ("kernel", "recurrent_kernel", "bias")
            with torch.no_grad():
                for weight, name in zip(layer.parameters(), names, strict=False):
                    weight.copy_(torch.from_numpy(given[f"lstm1/{name}"].T.copy()))
            layer.bias_hh_l0.requires_grad_(False).zero_()  # the others have one bias
            weights = [p for p in layer.parameters() if p.requires_grad]
            leaves = torch_tensors(given)
            dense = [leaves["dense1/kernel"], leaves["dense1/bias"]]

            def torch_loss(x: Any, y: Any) -> Any:
                logits = torch.nn.functional.linear(layer(x)[0][:, -1], *dense)
                return torch.nn.functional.cross_entropy(logits, y)

            step = torch_step(torch_loss, [*weights, *dense], *map(torch.from_numpy, (x, y)))
        case "graphc":
            import graphc as gc

            model = gc.nn.Sequential([gc.nn.LSTM(UNITS), gc.nn.Dense(KINDS)], name="net")
            step = graphc_step(model, given, x, y)
        case _:
            raise NotOfferedError(contender)
    return Prepared(step, losses(step))


# -- a transformer ---------------------------------------------------------------------------------
BLOCKS, WIDTH, HEADS, BATCH, WORDS, INNER = 4, 128, 4, 16, 96, 512
EPSILON = 1e-5
BLOCK = "transformerblock{}"


@case("transformer + Adam step: 4 layers, d 128, T 64, B 16", rtol=2e-3)
def transformer_step(contender: str) -> Prepared:
    """The next word at each place (Vaswani et al., 2017), norms first, exact gelu, 4 heads."""
    random = np.random.default_rng(0)
    words = random.integers(0, WORDS, (BATCH // 2, TIME))
    x, y = twice(random, words, WORDS, TIME)
    given = transformer_parameters(random)
    match contender:
        case "jax":
            step = jax_step(jax_transformer, given, x.astype(np.int32), y.astype(np.int32))
        case "torch":
            import torch

            tensors = torch_tensors(given)
            step = torch_step(
                torch_transformer(tensors), list(tensors.values()), *map(torch.from_numpy, (x, y))
            )
        case "graphc":
            import graphc as gc

            blocks = [gc.nn.TransformerBlock(HEADS, INNER, causal=True) for _ in range(BLOCKS)]
            first = [gc.nn.Embedding(WORDS, WIDTH), gc.nn.PositionEmbedding(TIME)]
            model = gc.nn.Sequential(
                [*first, *blocks, gc.nn.LayerNorm(EPSILON), gc.nn.Dense(WORDS)], name="net"
            )
            step = graphc_step(model, given, x, y)
        case _:
            raise NotOfferedError(contender)
    return Prepared(step, losses(step))


def transformer_parameters(random: np.random.Generator) -> Parameters:
    """By the paths that graphc's layers give them."""
    found = {
        "embedding1/table": random.standard_normal((WORDS, WIDTH), dtype=np.float32),
        "positionembedding1/table": scaled(random, TIME, WIDTH),
    }
    for i in range(1, BLOCKS + 1):
        sizes = {
            f"attention/{name}": (WIDTH, WIDTH) for name in ("query", "key", "value", "output")
        }
        for name, (m, n) in (sizes | {"inner": (WIDTH, INNER), "outer": (INNER, WIDTH)}).items():
            found |= dense_parameters(random, f"{BLOCK.format(i)}/{name}", m, n)
        for name in ("attention_norm", "dense_norm"):
            found |= norm_parameters(f"{BLOCK.format(i)}/{name}")
    return found | norm_parameters("layernorm1") | dense_parameters(random, "dense1", WIDTH, WORDS)


def dense_parameters(random: np.random.Generator, path: str, m: int, n: int) -> Parameters:
    return {f"{path}/kernel": scaled(random, m, n), f"{path}/bias": np.zeros(n, np.float32)}


def norm_parameters(path: str) -> Parameters:
    one = np.ones(WIDTH, np.float32)
    return {f"{path}/gamma": one, f"{path}/beta": 0 * one}


def jax_transformer(p: Any, x: Any, y: Any) -> Any:
    import jax
    import jax.numpy as jnp

    seen = np.tril(np.ones((TIME, TIME), bool))

    def dense(path: str, h: Any) -> Any:
        return h @ p[f"{path}/kernel"] + p[f"{path}/bias"]

    def norm(path: str, h: Any) -> Any:
        centred = h - jnp.mean(h, axis=-1, keepdims=True)
        variance = jnp.mean(centred * centred, axis=-1, keepdims=True)
        return centred * jax.lax.rsqrt(variance + EPSILON) * p[f"{path}/gamma"] + p[f"{path}/beta"]

    def heads(h: Any) -> Any:
        return h.reshape(BATCH, TIME, HEADS, WIDTH // HEADS).swapaxes(1, 2)

    h = p["embedding1/table"][x] + p["positionembedding1/table"]
    for path in (BLOCK.format(i) for i in range(1, BLOCKS + 1)):
        n = norm(f"{path}/attention_norm", h)
        names = ("query", "key", "value")
        q, k, v = (heads(dense(f"{path}/attention/{name}", n)) for name in names)
        scores = q @ k.swapaxes(-1, -2) * (WIDTH // HEADS) ** -0.5
        weights = jax.nn.softmax(jnp.where(seen, scores, -jnp.inf), axis=-1)
        gathered = (weights @ v).swapaxes(1, 2).reshape(BATCH, TIME, WIDTH)
        h = h + dense(f"{path}/attention/output", gathered)
        n = dense(f"{path}/inner", norm(f"{path}/dense_norm", h))
        h = h + dense(f"{path}/outer", jax.nn.gelu(n, approximate=False))
    return jax_mean_loss(dense("dense1", norm("layernorm1", h)), y)


def torch_transformer(p: dict[str, Any]) -> Callable[..., Any]:
    from torch.nn import functional

    def dense(path: str, h: Any) -> Any:
        return functional.linear(h, p[f"{path}/kernel"], p[f"{path}/bias"])

    def norm(path: str, h: Any) -> Any:
        return functional.layer_norm(h, (WIDTH,), p[f"{path}/gamma"], p[f"{path}/beta"], EPSILON)

    def heads(h: Any) -> Any:
        return h.view(BATCH, TIME, HEADS, WIDTH // HEADS).transpose(1, 2)

    def loss_of(x: Any, y: Any) -> Any:
        h = functional.embedding(x, p["embedding1/table"]) + p["positionembedding1/table"]
        for path in (BLOCK.format(i) for i in range(1, BLOCKS + 1)):
            n = norm(f"{path}/attention_norm", h)
            names = ("query", "key", "value")
            q, k, v = (heads(dense(f"{path}/attention/{name}", n)) for name in names)
            gathered = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            merged = gathered.transpose(1, 2).reshape(BATCH, TIME, WIDTH)
            h = h + dense(f"{path}/attention/output", merged)
            n = dense(f"{path}/inner", norm(f"{path}/dense_norm", h))
            h = h + dense(f"{path}/outer", functional.gelu(n))
        logits = dense("dense1", norm("layernorm1", h))
        return functional.cross_entropy(logits.view(-1, WORDS), y.view(-1))

    return loss_of


# -- an epoch --------------------------------------------------------------------------------------
EXAMPLES, SIZE, STEPS = 60_000, 128, 468  # all batches are whole: JAX's scan takes no smaller one
WIDTHS = (784, 256, 128, 10)


@case("MLP + Adam epoch, 60,000 x 784, batch 128; JAX scans over the epoch", rtol=1e-3)
def mlp_epoch(contender: str) -> Prepared:
    """An epoch in an order of its own, the batches gathered from all data in it."""
    return epoch(contender, jax_scans=True)


@case("MLP + Adam epoch, 60,000 x 784, batch 128; JAX calls each step", rtol=1e-3)
def mlp_epoch_by_steps(contender: str) -> Prepared:
    """The same, JAX called from a loop of Python, as torch is in both."""
    return epoch(contender, jax_scans=False)


def epoch(contender: str, *, jax_scans: bool) -> Prepared:
    """An epoch, which gives its mean loss; each draws the order that graphc's trainer draws."""
    given = problem(EXAMPLES, WIDTHS)
    match contender:
        case "jax":
            run = jax_epoch(given, jax_scans)
        case "torch":
            run = torch_epoch(given)
        case "graphc":
            run = graphc_epoch(given)
        case _:
            raise NotOfferedError(contender)
    return Prepared(run, {"loss of the first epoch": np.array(float(np.asarray(run())))})


def batches() -> npt.NDArray[np.int64]:
    """The examples of each batch."""
    order = np.random.default_rng([0, 0]).permutation(EXAMPLES)
    return order[: STEPS * SIZE].reshape(STEPS, SIZE)


def jax_epoch(given: Problem, scans: bool) -> Callable[[], object]:
    import jax
    import jax.numpy as jnp

    update = jax_adam(jax_loss)
    x, y = jax.device_put((given.x, given.y.astype(np.int32)))
    state = jax_state(given.layers)

    def step(state: Any, x: Any, y: Any, rows: Any) -> Any:
        return update(state, x[rows], y[rows])

    def whole(state: Any, x: Any, y: Any, rows: Any) -> Any:
        def one(state: Any, batch: Any) -> Any:
            loss, state = step(state, x, y, batch)
            return state, loss

        state, found = jax.lax.scan(one, state, rows)
        return jnp.mean(found), state

    compiled = jax.jit(whole if scans else step, donate_argnums=0)

    def run() -> object:
        nonlocal state
        rows = batches().astype(np.int32)
        if scans:
            loss, state = compiled(state, x, y, rows)
            return loss.block_until_ready()
        found = []
        for batch in rows:
            loss, state = compiled(state, x, y, batch)
            found.append(loss)
        return jnp.mean(jnp.stack(found)).block_until_ready()

    return run


def torch_epoch(given: Problem) -> Callable[[], object]:
    import torch

    parameters, loss_of = torch_perceptron(given)
    adam = torch_adam(parameters)
    x, y = torch.from_numpy(given.x), torch.from_numpy(given.y)

    def run() -> object:
        found = []
        for rows in torch.from_numpy(batches()):
            adam.zero_grad(set_to_none=True)
            loss = loss_of(x[rows], y[rows])
            loss.backward()
            adam.step()
            found.append(loss.detach())
        return torch.stack(found).mean()

    return run


def graphc_epoch(given: Problem) -> Callable[[], object]:
    import graphc as gc

    layers = [gc.nn.Dense(n, "relu") for n in WIDTHS[1:-1]]
    model = gc.nn.Sequential([*layers, gc.nn.Dense(WIDTHS[-1])], name="net")
    model.init(("n", WIDTHS[0]))
    for variable, value in zip(
        model.parameters(), (p for layer in given.layers for p in layer), strict=True
    ):
        variable.value = value
    trainer = gc.train.Trainer(model, loss="softmax_cross_entropy", optimizer=gc.optim.Adam(RATE))

    def run() -> object:
        history = trainer.fit(
            given.x, given.y, batch_size=SIZE, seed=0, steps_per_epoch=STEPS, verbose=False
        )
        return history["loss"][0]

    return run


# -- what they share -------------------------------------------------------------------------------
def twice(
    random: np.random.Generator, half: npt.NDArray[Any], kinds: int, *shape: int
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Every input twice, with two labels of `kinds`; `shape` is that of a label."""
    label = random.integers(0, kinds, (len(half), *shape))
    x = np.concatenate([half, half])
    y = np.concatenate([label, (label + 1) % kinds])
    return (x.astype(np.float32) if x.dtype.kind == "f" else x), y


def scaled(random: np.random.Generator, m: int, n: int) -> npt.NDArray[np.float32]:
    """Normal weights [m, n] of variance 1 / m."""
    return random.standard_normal((m, n), dtype=np.float32) / np.float32(np.sqrt(m))


def jax_mean_loss(logits: Any, y: Any) -> Any:
    import jax
    import jax.numpy as jnp

    logs = jax.nn.log_softmax(logits)
    return -jnp.mean(jnp.take_along_axis(logs, y[..., None], axis=-1))


def torch_tensors(given: Parameters) -> dict[str, Any]:
    """Leaves, kernels as torch has them: [outputs, inputs]."""
    import torch

    return {
        name: torch.from_numpy((v.T if name.endswith("kernel") else v).copy()).requires_grad_()
        for name, v in given.items()
    }


def graphc_step(model: Any, given: Parameters, x: Any, y: Any) -> Callable[[], object]:
    import graphc as gc

    kind = "float32" if x.dtype.kind == "f" else "int64"
    inputs = (
        gc.placeholder("x", ("n", *x.shape[1:]), kind),
        gc.placeholder("y", ("n", *y.shape[1:]), "int64"),
    )
    logits = model(inputs[0], training=True)
    model.load_state_dict({f"net/{name}": value for name, value in given.items()})
    loss = gc.mean(gc.nn.losses.softmax_cross_entropy(logits, inputs[1]))
    compiled = gc.compile(
        inputs, loss, updates=gc.optim.Adam(RATE).minimize(loss, model), flush_subnormals=True
    )
    return lambda: compiled(x, y)
