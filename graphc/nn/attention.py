"""Attention, blocks of transformers, and what tells them the places in a sequence."""

from __future__ import annotations

import math
from functools import reduce
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, ShapeError
from graphc.ir.dim import Size
from graphc.ir.dtype import bool_
from graphc.ir.node import Tensor, Variable
from graphc.ir.shape import Shape, TensorType, may_be_equal, show
from graphc.nn import initializers
from graphc.nn.checks import error, features, number, positive_int, times_mask
from graphc.nn.dropout import Dropout, WeightDropout
from graphc.nn.layers import Dense
from graphc.nn.layouts import Entry, inside, permuted, reshaped, same
from graphc.nn.module import Layer
from graphc.nn.normalization import LayerNorm
from graphc.nn.weights import Weights
from graphc.ops.attention import attention_weights, dot_product_attention
from graphc.ops.build import cast, constant, tensor
from graphc.ops.create import arange
from graphc.ops.elementwise import cos, logical_and, sin
from graphc.ops.shape import permute_dims, reshape, stack


class MultiHeadAttention(Layer):
    """softmax(q k' / sqrt(size)) v for each head, where q, k, v are products of the inputs with
    kernels; the heads side by side, times a last kernel.

    `layer(x)` attends to x itself, `layer(x, memory)` to another sequence, `layer(query, key,
    value)` to values by keys. A mask [batch, source] says which places of the source are there, an
    `attention_mask` [target, source], or with axes of batch and heads before these, which each
    place sees; with `causal` no place sees later ones. A place that sees nothing gets zeros, and
    the last bias. `key_size` is that of a head, by default features / heads. With
    `return_weights=True` in the call the result is a pair: with it come the weights [batch, heads,
    target, source].
    Shapes: x [batch, target, m], memory [batch, source, k] -> [batch, target, m]; features are
    static. Dtypes: float; the parameters take that of the first input.
    Errors: `ArgumentError` for heads that do not divide the features, and a dropout outside of
    [0, 1); `ShapeError`, `DTypeError` for other inputs and masks.
    Source: Vaswani et al., "Attention Is All You Need" (2017), section 3.2.
    """

    def __init__(
        self,
        heads: int,
        key_size: int | None = None,
        value_size: int | None = None,
        *,
        use_bias: bool = True,
        causal: bool = False,
        dropout: float = 0.0,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        seed: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        self.heads, self.causal, self.seed = positive_int(self, "heads", heads), bool(causal), seed
        self.key_size = None if key_size is None else positive_int(self, "key_size", key_size)
        self.value_size = (
            None if value_size is None else positive_int(self, "value_size", value_size)
        )
        self.options: dict[str, Any] = {
            "use_bias": bool(use_bias),
            "kernel_initializer": kernel_initializer,
            "bias_initializer": bias_initializer,
            "kernel_regularizer": kernel_regularizer,
        }
        rate = number(self, "dropout", dropout, 0.0, 1.0)
        self.dropout = WeightDropout(rate, seed=seed, name="dropout") if rate else None

    def build(self, query: TensorType, *_: Any) -> None:
        width = self._features(query)
        if self.key_size is None and width % self.heads:
            raise error(
                self,
                ArgumentError,
                "the heads do not divide the features",
                expected=f"a multiple of {self.heads}, or a key_size",
                given=str(width),
            )
        size = self.key_size or width // self.heads
        self._sizes = size, self.value_size or size
        units = (size, size, self._sizes[1])
        parts = [
            self._dense(name, self.heads * n, i)
            for i, (name, n) in enumerate(zip(("query", "key", "value"), units, strict=True))
        ]
        self.query, self.key, self.value = parts
        self.output = self._dense("output", width, 3)

    def layout(self, library: str) -> list[Entry]:
        return self._in_torch() if library == "torch" else self._in_keras()

    def _in_torch(self) -> list[Entry]:
        """Three kernels are rows of one, where their inputs have the same size."""
        names = ("query", "key", "value")
        sizes = {part.kernel.shape for part in (self.query, self.key, self.value)}
        kernels: list[Entry]
        if len(sizes) == 1:
            kernels = [_rows(tuple(f"{n}/kernel" for n in names), "in_proj_weight")]
        else:
            kernels = [permuted(f"{n}/kernel", f"{n[0]}_proj_weight", (1, 0)) for n in names]
        output = inside(self.output.layout("torch"), "output/", "out_proj.")
        return [*kernels, _rows(tuple(f"{n}/bias" for n in names), "in_proj_bias"), *output]

    def _in_keras(self) -> list[Entry]:
        """Kernels and biases have an axis of heads."""
        found = []
        for name, part in (("query", self.query), ("key", self.key), ("value", self.value)):
            size, units = part.kernel.value.shape
            heads = (self.heads, units // self.heads)
            found += [
                reshaped(f"{name}/kernel", f"{name}/kernel", (size, units), (size, *heads)),
                reshaped(f"{name}/bias", f"{name}/bias", (units,), heads),
            ]
        size, units = self.output.kernel.value.shape
        there, kernel = (self.heads, size // self.heads, units), "attention_output/kernel"
        return [
            *found, reshaped("output/kernel", kernel, (size, units), there),
            same("output/bias", "attention_output/bias"),
        ]  # fmt: skip

    def _dense(self, name: str, units: int, number: int) -> Dense:
        seed = None if self.seed is None else self.seed + number
        return Dense(units, seed=seed, name=name, **self.options)

    def _features(self, x: TensorType) -> int:
        if x.rank != 3:
            raise error(
                self,
                ShapeError,
                "the input is no batch of sequences",
                expected="(batch, time, features)",
                given=show(x.shape),
            )
        return features(self, x)

    def forward(
        self,
        query: Tensor,
        key: Any = None,
        value: Any = None,
        *,
        training: bool,
        mask: Any = None,
        attention_mask: Any = None,
        return_weights: bool = False,
    ) -> Any:
        key = query if key is None else key
        value = key if value is None else value
        for x in (query, key, value):
            self._features(x.type)
        if not may_be_equal(key.shape[:2], value.shape[:2]):
            raise error(
                self,
                ShapeError,
                "keys and values are of different sequences",
                expected=show(key.shape[:2]),
                given=show(value.shape[:2]),
            )
        q = self._of_heads(self.query(query), self._sizes[0])
        k = self._of_heads(self.key(key), self._sizes[0])
        v = self._of_heads(self.value(value), self._sizes[1])
        seen = self._seen(q, k, key, mask, attention_mask)
        options: dict[str, Any] = {"causal": self.causal}
        if self.dropout is not None and training:
            options |= {"dropout": self.dropout.rate, "key": self.dropout(query, training=True)}
        means = dot_product_attention(q, k, v, seen, **options)
        n, time = query.shape[:2]
        together = reshape(permute_dims(means, (0, 2, 1, 3)), (n, time, self.heads * v.shape[-1]))
        result = self.output(together)
        if not return_weights:
            return result
        return result, attention_weights(q, k, seen, causal=self.causal)

    def _of_heads(self, x: Tensor, size: int) -> Tensor:
        """[batch, time, heads * size] -> [batch, heads, time, size]."""
        return permute_dims(reshape(x, (*x.shape[:2], self.heads, size)), (0, 2, 1, 3))

    def _seen(
        self, q: Tensor, k: Tensor, key: Tensor, mask: Any, attention_mask: Any
    ) -> Tensor | None:
        """Which places each place sees, as bools that broadcast to the scores; None for all."""
        found: list[Tensor] = []
        if mask is not None:
            found.append(times_mask(self, mask, key)[:, None, None])
        if attention_mask is not None:
            found.append(
                self._given((*q.shape[:-1], k.shape[-2]), tensor(attention_mask, self.name))
            )
        return reduce(logical_and, found) if found else None

    def _given(self, scores: Shape, mask: Tensor) -> Tensor:
        if mask.ndim == 3:
            mask = mask[:, None]
        pairs = list(zip(reversed(mask.shape), reversed(scores), strict=False))
        fits = all(m == 1 or may_be_equal((m,), (s,)) for m, s in pairs)
        if mask.dtype is not bool_ or not 2 <= mask.ndim <= 4 or not fits:
            raise error(
                self,
                ShapeError,
                "the attention mask does not fit",
                expected=f"bools that broadcast to {show(scores)}",
                given=str(mask.type),
            )
        return mask


def _rows(ours: tuple[str, ...], theirs: str) -> Entry:
    """Arrays of ours whose columns are rows of one of theirs, in blocks of one size."""
    return Entry(
        ours,
        (theirs,),
        lambda rows: [part.T for part in np.split(rows, len(ours))],
        lambda *parts: [np.concatenate([part.T for part in parts])],
    )


class TransformerBlock(Layer):
    """Attention, then two dense layers, each around its input: x + attention(norm(x)), then
    x + outer(activation(inner(norm(x)))).

    With `norm_first=False` it is norm(x + attention(x)), as in the source. `causal`, the mask and
    `attention_mask` are as `MultiHeadAttention` says; `hidden` is the width of the inner layer.
    Shapes: x [batch, time, features] -> the same. Dtypes and errors: as `MultiHeadAttention`.
    Source: Vaswani et al., "Attention Is All You Need" (2017), section 3.1; for the norm before
    Xiong et al., "On Layer Normalization in the Transformer Architecture" (2020).
    """

    one_tensor = True

    def __init__(
        self,
        heads: int,
        hidden: int,
        activation: Any = "gelu",
        *,
        causal: bool = False,
        norm_first: bool = True,
        dropout: float = 0.0,
        epsilon: float = 1e-5,
        seed: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        rate = number(self, "dropout", dropout, 0.0, 1.0)
        self.norm_first, self.seed = bool(norm_first), seed
        self.attention = MultiHeadAttention(
            heads, causal=causal, dropout=rate, seed=seed, name="attention"
        )
        self.attention_norm = LayerNorm(epsilon, name="attention_norm")
        self.inner = Dense(hidden, activation, seed=_next(seed, 4), name="inner")
        self.dense_norm = LayerNorm(epsilon, name="dense_norm")
        self.dropouts = [
            Dropout(rate, seed=_next(seed, 5 + i), name=f"dropout{i + 1}") for i in range(2)
        ] if rate else []  # fmt: skip

    def build(self, x: TensorType) -> None:
        self.outer = Dense(features(self, x), seed=_next(self.seed, 7), name="outer")

    def layout(self, library: str) -> list[Entry]:
        """That of `torch.nn.TransformerEncoderLayer`; in Keras its parts are layers."""
        if library != "torch":
            return []
        parts = {
            "self_attn": self.attention, "linear1": self.inner, "linear2": self.outer,
            "norm1": self.attention_norm, "norm2": self.dense_norm,
        }  # fmt: skip
        return [
            entry
            for theirs, part in parts.items()
            for entry in inside(part.layout(library), f"{part.name}/", f"{theirs}.")
        ]

    def forward(
        self, x: Tensor, *, training: bool, mask: Any = None, attention_mask: Any = None
    ) -> Tensor:
        def attended(v: Tensor) -> Tensor:
            found: Tensor = self.attention(
                v, training=training, mask=mask, attention_mask=attention_mask
            )
            return found

        x = self._around(x, attended, self.attention_norm, 0, training)
        return self._around(x, lambda v: self.outer(self.inner(v)), self.dense_norm, 1, training)

    def _around(self, x: Tensor, part: Any, norm: LayerNorm, place: int, training: bool) -> Tensor:
        made = part(norm(x)) if self.norm_first else part(x)
        if self.dropouts:
            made = self.dropouts[place](made, training=training)
        result: Tensor = x + made if self.norm_first else norm(x + made)
        return result


def _next(seed: int | None, by: int) -> int | None:
    return None if seed is None else seed + by


# -- places ----------------------------------------------------------------------------------------
def positions(length: Size, width: int, dtype: Any) -> Tensor:
    """sin(t / 10000^(2 i / width)) and cos of the same, at 2 i and 2 i + 1, for times t."""
    rates = constant(np.exp(-math.log(10000.0) * np.arange(0, width, 2) / width), dtype)
    angles = cast(arange(length), dtype)[:, None] * rates
    both = stack([sin(angles), cos(angles)], axis=-1)
    return reshape(both, (length, 2 * rates.size))[:, :width]


class PositionalEncoding(Layer):
    """x plus waves of its times: sin(t / 10000^(2 i / m)) at feature 2 i, cos of it at 2 i + 1.

    Shapes: x [..., time, m] -> the same; m is static. Dtypes: float. Errors: `ShapeError`,
    `DTypeError`. Source: Vaswani et al., "Attention Is All You Need" (2017), section 3.5.
    """

    one_tensor = True

    def forward(self, x: Tensor) -> Tensor:
        width = features(self, x.type)
        _needs_time(self, x)
        return x + positions(x.shape[-2], width, x.dtype)


class PositionEmbedding(Layer):
    """x plus a learned vector for each time, of up to `length` times.

    Shapes: x [..., time, m] -> the same; m is static. Dtypes: float.
    Errors: `ShapeError` for more times, at the call where their number is named; `DTypeError`.
    Source: Gehring et al., "Convolutional Sequence to Sequence Learning" (2017), section 3.1.
    """

    table: Variable
    one_tensor = True

    def __init__(
        self,
        length: int,
        initializer: Any = "uniform",
        *,
        seed: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        self.length, self.seed = positive_int(self, "length", length), seed
        self.of_table = Weights(initializer)

    def build(self, x: TensorType) -> None:
        shape, rng = (self.length, features(self, x)), initializers.generator(self.seed)
        self.table = self.of_table.variable(self, "table", shape, rng, x.dtype)

    def layout(self, library: str) -> list[Entry]:
        return [same("table", "weight" if library == "torch" else "embeddings")]

    def forward(self, x: Tensor) -> Tensor:
        features(self, x.type, self.table.value.shape[1])
        _needs_time(self, x)
        time = x.shape[-2]
        if isinstance(time, int) and time > self.length:
            raise error(
                self,
                ShapeError,
                "more times than it has vectors",
                expected=f"at most {self.length}",
                given=show(x.shape),
            )
        return x + self.table[:time]


def _needs_time(layer: Layer, x: Tensor) -> None:
    if x.ndim < 2:
        raise error(
            layer,
            ShapeError,
            "the input has no axis of times",
            expected="(..., time, features)",
            given=show(x.shape),
        )
