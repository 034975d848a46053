"""`gc.random`: random numbers as functions of a key.

`random_bits.py` has keys, bits, and what is made of them directly; `distributions.py` the rest, but
for random orders, which are in `shuffling.py`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from graphc.elsewhere import RANDOM, finder
from graphc.keywords import answer
from graphc.ops.distributions import (
    beta,
    binomial,
    categorical,
    choice,
    exponential,
    gamma,
    gumbel,
    laplace,
    multivariate_normal,
    poisson,
    randint,
    truncated_normal,
)
from graphc.ops.random_bits import bernoulli, fold_in, key, normal, random_bits, split, uniform
from graphc.ops.shuffling import permutation, shuffle

FUNCTIONS: dict[str, Callable[..., Any]] = {}  # all are reached as gc.random.*

__all__ = [
    "bernoulli",
    "beta",
    "binomial",
    "categorical",
    "choice",
    "exponential",
    "fold_in",
    "gamma",
    "gumbel",
    "key",
    "laplace",
    "multivariate_normal",
    "normal",
    "permutation",
    "poisson",
    "randint",
    "random_bits",
    "shuffle",
    "split",
    "truncated_normal",
    "uniform",
]
answer(globals(), __all__)
if not TYPE_CHECKING:
    __getattr__ = finder(__name__, RANDOM)
