"""Losses: (predictions, targets) -> the loss of each example.

Each takes weights of examples (`sample_weight`), a `mask` of what counts, and a `reduction`:
"none", by default, "mean" or "sum"; a mean divides by the weights. Integer and bool targets are
converted to the dtype of the predictions, which is never widened.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from graphc.elsewhere import finder
from graphc.keywords import answering
from graphc.nn.class_losses import (
    binary_cross_entropy,
    categorical_cross_entropy,
    categorical_hinge,
    focal,
    hinge,
    kl_divergence,
    softmax_cross_entropy,
    sparse_categorical_cross_entropy,
    squared_hinge,
)
from graphc.nn.ctc import ctc
from graphc.nn.loss import Loss
from graphc.nn.named import find
from graphc.nn.number_losses import (
    cosine_similarity,
    huber,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    poisson,
)

__all__ = [
    "LOSSES",
    "Loss",
    "binary_cross_entropy",
    "categorical_cross_entropy",
    "categorical_hinge",
    "cosine_similarity",
    "ctc",
    "focal",
    "get",
    "hinge",
    "huber",
    "kl_divergence",
    "log_cosh",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "poisson",
    "softmax_cross_entropy",
    "sparse_categorical_cross_entropy",
    "squared_hinge",
]

LOSSES: dict[str, Loss] = {
    f.__name__: f
    for f in (
        softmax_cross_entropy, categorical_cross_entropy, sparse_categorical_cross_entropy,
        binary_cross_entropy, focal, kl_divergence, hinge, squared_hinge, categorical_hinge, ctc,
        mean_squared_error, mean_absolute_error, mean_absolute_percentage_error,
        mean_squared_logarithmic_error, huber, log_cosh, poisson, cosine_similarity,
    )
} | {  # as Keras spells them, with its meaning: of probabilities
    "categorical_crossentropy": categorical_cross_entropy,
    "sparse_categorical_crossentropy": sparse_categorical_cross_entropy,
    "binary_crossentropy": functools.partial(binary_cross_entropy, from_logits=False),
    "mse": mean_squared_error,
    "mae": mean_absolute_error,
    "mape": mean_absolute_percentage_error,
    "msle": mean_squared_logarithmic_error,
    "kld": kl_divergence,
}  # fmt: skip


@answering
def get(loss: Any) -> Loss:
    """The loss for a name or a callable. Errors: `ArgumentError` with the known names."""
    return find("loss", LOSSES, loss)


_HERE = {
    "binary_cross_entropy_with_logits": "binary_cross_entropy",
    "contrastive": "gc.nn.normalize, whose products with each other are the logits",
    "cosine_embedding_loss": "gc.nn.normalize, of both: relu of the sum of their products",
    "cross_entropy": "softmax_cross_entropy",
    "dice": "a function (p, t): 1 - 2 * sum(p * t) / (sum(p) + sum(t))",
    "kl_div": "kl_divergence",
    "l1_loss": "mean_absolute_error",
    "mae": "mean_absolute_error",
    "mse": "mean_squared_error",
    "mse_loss": "mean_squared_error",
    "nll_loss": "sparse_categorical_cross_entropy, of probabilities",
    "smooth_l1_loss": "huber",
    "triplet": "gc.relu, of near - far + margin; near and far by gc.linalg.vector_norm",
    "triplet_margin_loss": "gc.relu, of near - far + margin; near, far by gc.linalg.vector_norm",
    "BinaryCrossentropy": "binary_cross_entropy of logits, from_logits=False of probabilities",
    "CategoricalCrossentropy": "softmax_cross_entropy of logits, else categorical_cross_entropy",
    "SparseCategoricalCrossentropy": (
        "softmax_cross_entropy of logits, sparse_categorical_cross_entropy of probabilities"
    ),
}


if not TYPE_CHECKING:  # a checker knows the names above, and so a misspelt one
    __getattr__ = finder(__name__, _HERE)
