"""Dropout."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.ir.node import Tensor, Variable
from graphc.ir.shape import TensorType
from graphc.nn import initializers
from graphc.nn.checks import chosen, floats, number
from graphc.nn.module import Layer
from graphc.ops.elementwise import where
from graphc.ops.random import bernoulli, fold_in


class Dropout(Layer):
    """In training elements are 0 with probability `rate`, by masks that are fresh at each step.

    With `mode="inverted"`, by default, each element has a mask of its own, and what is left is
    scaled by 1 / (1 - rate). With `mode="course"` the mask has one element for each unit (the last
    axis), 1 with probability q = 1 - rate, and multiplies activations, or the columns of weights;
    nothing is scaled then, and without training all is scaled by q.

    The random key is a variable; a training call notes its successor (`updates()`), which is part
    of `minimize(loss, model)`. Without that update in the compiled step, every step draws the same
    elements.
    Shapes: x [..., units] -> the same. Dtypes: float.
    Errors: `ArgumentError` for a rate outside [0, 1), another mode; `DTypeError`.
    Source: Srivastava et al., "Dropout" (2014); scaled in training, as section 10 describes.
    """

    key: Variable
    one_tensor = True

    def __init__(
        self,
        rate: float,
        *,
        mode: str = "inverted",
        seed: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        self.rate, self.seed = number(self, "rate", rate, 0.0, 1.0), seed
        self.mode = chosen(self, "mode", mode, ("inverted", "course"))

    def build(self, x: TensorType) -> None:
        rng = initializers.generator(self.seed)
        self.key = self.add_variable(
            "key", (2,), _random_key, rng=rng, dtype="uint32", trainable=False
        )

    def forward(self, x: Tensor, training: bool) -> Tensor:
        floats(self, x.type)
        if not self.rate:
            return x
        course, kept = self.mode == "course", 1 - self.rate
        if not training:
            return x * kept if course else x
        now = self.current(self.key)
        self.note_update(self.key, fold_in(now, 1))
        keep = bernoulli(now, kept, x.shape[-1:] if course else x.shape)
        return where(keep, x if course else x * (1 / kept), 0.0)


def _random_key(shape: Any, rng: np.random.Generator, dtype: Any) -> Any:
    return rng.integers(1 << 32, size=shape, dtype=dtype)
