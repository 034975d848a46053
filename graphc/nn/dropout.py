"""Layers that are random in training: dropout and noise."""

from __future__ import annotations

from graphc.ir.node import Tensor, Variable
from graphc.ir.shape import TensorType
from graphc.nn.checks import chosen, floats, number
from graphc.nn.module import Layer
from graphc.ops.elementwise import where
from graphc.ops.random import bernoulli, normal


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
        self.key = self.add_key(seed=self.seed)

    def forward(self, x: Tensor, training: bool) -> Tensor:
        floats(self, x.type)
        if not self.rate:
            return x
        course, kept = self.mode == "course", 1 - self.rate
        if not training:
            return x * kept if course else x
        keep = bernoulli(self.draw(self.key), kept, x.shape[-1:] if course else x.shape)
        return where(keep, x if course else x * (1 / kept), 0.0)


class WeightDropout(Dropout):
    """The dropout of what is nowhere whole: a call gives the key by which it is drawn.

    Shapes: any -> key [2]. All else as `Dropout` has it.
    """

    def forward(self, x: Tensor, training: bool) -> Tensor:
        return self.draw(self.key)


class GaussianNoise(Layer):
    """In training x plus independent draws from the normal distribution; else x.

    Shapes: x [...] -> the same. Dtypes: float. The key is as `Dropout` has it.
    Errors: `ArgumentError` for a `stddev` that is no finite number >= 0; `DTypeError`.
    Source: Bishop, "Training with Noise is Equivalent to Tikhonov Regularization" (1995).
    """

    key: Variable
    one_tensor = True

    def __init__(
        self, stddev: float, *, seed: int | None = None, name: str | None = None
    ) -> None:
        super().__init__(name)
        self.stddev, self.seed = number(self, "stddev", stddev, 0.0), seed

    def build(self, x: TensorType) -> None:
        self.key = self.add_key(seed=self.seed)

    def forward(self, x: Tensor, training: bool) -> Tensor:
        floats(self, x.type)
        if not training or not self.stddev:
            return x
        return x + self.stddev * normal(self.draw(self.key), x.shape, dtype=x.dtype)
