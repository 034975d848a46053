"""First values of parameters: functions (shape, generator, dtype) -> array.

A layer takes one as a name, a function, a number or an array. A fan is the number of inputs
(outputs) that one output (input) is connected to: of a dense kernel [inputs, outputs] its sizes, of
a convolution's [outputs, inputs, *window] those times the window; the layers of groups and of
transposes see to it that theirs are what an element is connected to. Normal distributions are not
truncated, but for `truncated_normal`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from graphc.elsewhere import finder
from graphc.errors import ArgumentError, ShapeError
from graphc.ir import origin
from graphc.ir.given import given_array
from graphc.ir.shape import show
from graphc.keywords import answer, answering
from graphc.nn.named import find, given_number, given_seed

Array: TypeAlias = np.ndarray[Any, Any]
StaticShape: TypeAlias = tuple[int, ...]
Initializer: TypeAlias = Callable[[StaticShape, np.random.Generator, Any], Array]


# -- the source of randomness ----------------------------------------------------------------------
class _Shared:
    """The generator of all layers that have no seed of their own."""

    generator = np.random.default_rng()


def seed(value: int) -> None:
    """Make the first values of layers built from now on reproducible.

    Layers draw in the order in which they are built. Errors: `ArgumentError` for what is no int
    >= 0.
    """
    _Shared.generator = np.random.default_rng(given_seed("seed", value))


def generator(own_seed: int | None = None) -> np.random.Generator:
    """The generator of one layer: its own if it has a seed, else the shared one."""
    if own_seed is None:
        return _Shared.generator
    return np.random.default_rng(given_seed("seed", own_seed))


# -- distributions ---------------------------------------------------------------------------------
def constant(value: Any) -> Initializer:
    """One number everywhere, or a given array.

    Errors: `ShapeError` at use for an array that does not broadcast to the shape.
    """
    array = given_array("constant", value)

    def initializer(shape: StaticShape, rng: np.random.Generator, dtype: Any) -> Array:
        try:
            return np.broadcast_to(array, shape).astype(dtype)
        except ValueError:
            raise ShapeError(
                "the first value does not fit the parameter",
                op="constant",
                expected=show(shape),
                given=show(array.shape),
                where=origin.where(),
            ) from None

    return initializer


def normal(stddev: float = 0.05, mean: float = 0.0) -> Initializer:
    """Independent draws from the normal distribution. Errors: `ArgumentError` for a `stddev` that
    is negative or not finite."""
    if not (0 <= stddev < math.inf and math.isfinite(mean)):
        raise ArgumentError(
            "not a normal distribution",
            op="normal",
            expected="a finite stddev >= 0 and a finite mean",
            given=f"stddev={stddev!r}, mean={mean!r}",
            where=origin.where(),
        )
    return lambda shape, rng, dtype: rng.normal(mean, stddev, shape).astype(dtype)


def uniform(low: float = -0.05, high: float = 0.05) -> Initializer:
    """Independent draws from the uniform distribution on [low, high). Errors: `ArgumentError` for
    an interval that is empty or not finite."""
    if not (low <= high and math.isfinite(high - low)):
        raise ArgumentError(
            "not an interval",
            op="uniform",
            expected="finite low <= high",
            given=f"low={low!r}, high={high!r}",
            where=origin.where(),
        )
    return lambda shape, rng, dtype: rng.uniform(low, high, shape).astype(dtype)


def zeros(shape: StaticShape, rng: np.random.Generator, dtype: Any) -> Array:
    """0 everywhere."""
    return np.zeros(shape, dtype)


def ones(shape: StaticShape, rng: np.random.Generator, dtype: Any) -> Array:
    """1 everywhere."""
    return np.ones(shape, dtype)


# -- variance by fan -------------------------------------------------------------------------------
def fans(shape: StaticShape) -> tuple[int, int]:
    """(fan in, fan out) of a parameter of this shape, each at least 1.

    >>> fans((784, 128)), fans((32, 3, 5, 5))
    ((784, 128), (75, 800))
    """
    if len(shape) < 2:
        size = max(1, math.prod(shape))
        return size, size
    if len(shape) == 2:
        return max(1, shape[0]), max(1, shape[1])
    window = math.prod(shape[2:])
    return max(1, shape[1] * window), max(1, shape[0] * window)


def glorot_uniform(shape: StaticShape, rng: np.random.Generator, dtype: Any) -> Array:
    """Uniform on +-sqrt(6 / (fan_in + fan_out)).

    Source: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
    networks" (2010), equation 16.
    """
    return _by_variance(2 / sum(fans(shape)), shape, rng, dtype, uniformly=True)


def glorot_normal(shape: StaticShape, rng: np.random.Generator, dtype: Any) -> Array:
    """Normal with variance 2 / (fan_in + fan_out). Source: as `glorot_uniform`, equation 12."""
    return _by_variance(2 / sum(fans(shape)), shape, rng, dtype, uniformly=False)


xavier_uniform, xavier_normal = glorot_uniform, glorot_normal  # by the author's first name


def he_uniform(shape: StaticShape, rng: np.random.Generator, dtype: Any) -> Array:
    """Uniform on +-sqrt(6 / fan_in). Source: as `he_normal`."""
    return _by_variance(2 / fans(shape)[0], shape, rng, dtype, uniformly=True)


def he_normal(shape: StaticShape, rng: np.random.Generator, dtype: Any) -> Array:
    """Normal with variance 2 / fan_in: keeps the variance through relu.

    Source: He et al., "Delving Deep into Rectifiers" (2015), equation 10.
    """
    return _by_variance(2 / fans(shape)[0], shape, rng, dtype, uniformly=False)


def lecun_uniform(shape: StaticShape, rng: np.random.Generator, dtype: Any) -> Array:
    """Uniform on +-sqrt(3 / fan_in). Source: as `lecun_normal`."""
    return _by_variance(1 / fans(shape)[0], shape, rng, dtype, uniformly=True)


def lecun_normal(shape: StaticShape, rng: np.random.Generator, dtype: Any) -> Array:
    """Normal with variance 1 / fan_in.

    Source: LeCun et al., "Efficient BackProp" (1998), section 4.6.
    """
    return _by_variance(1 / fans(shape)[0], shape, rng, dtype, uniformly=False)


def variance_scaling(
    scale: float = 1.0, mode: str = "fan_in", distribution: str = "normal"
) -> Initializer:
    """Variance scale / n, where n is the fan in, the fan out or the mean of both ("fan_avg"), of a
    normal or a uniform distribution.

    Errors: `ArgumentError` for a scale that is no finite number > 0, another mode or distribution.

    >>> variance_scaling(2.0)((1000, 50), np.random.default_rng(0), "float64").std().round(3)
    np.float64(0.045)
    """
    given = given_number("variance_scaling", "scale", scale, 0.0, above=True)
    if mode not in _FANS or distribution not in ("normal", "uniform"):
        raise ArgumentError(
            "an unknown mode" if mode not in _FANS else "an unknown distribution",
            op="variance_scaling",
            expected=", ".join(_FANS) if mode not in _FANS else "normal, uniform",
            given=repr(mode if mode not in _FANS else distribution)[:80],
            where=origin.where(),
        )

    def initializer(shape: StaticShape, rng: np.random.Generator, dtype: Any) -> Array:
        variance = given / _FANS[mode](*fans(shape))
        return _by_variance(variance, shape, rng, dtype, uniformly=distribution == "uniform")

    return initializer


_FANS: dict[str, Callable[[int, int], float]] = {
    "fan_in": lambda inputs, outputs: inputs,
    "fan_out": lambda inputs, outputs: outputs,
    "fan_avg": lambda inputs, outputs: (inputs + outputs) / 2,
}


def truncated_normal(stddev: float = 0.05, mean: float = 0.0) -> Initializer:
    """Draws from the normal distribution, those beyond two `stddev` from the mean drawn again.
    Errors: as `normal`."""
    draw = normal(1.0)
    normal(stddev, mean)  # its checks

    def initializer(shape: StaticShape, rng: np.random.Generator, dtype: Any) -> Array:
        found = np.asarray(draw(shape, rng, "float64"))
        while (beyond := np.abs(found) > 2).any():
            found = np.where(beyond, draw(shape, rng, "float64"), found)
        return (mean + stddev * found).astype(dtype)

    return initializer


def orthogonal(gain: float = 1.0) -> Initializer:
    """`gain` times a random matrix with orthonormal rows or columns, whichever are fewer; a
    parameter with more axes is that matrix with its last axes as one.

    Uniform over such matrices: the Q of a normal matrix, with the signs of R's diagonal.
    Errors: `ShapeError` at use for a parameter with fewer than two axes; `ArgumentError` for a gain
    that is not finite. Source: Saxe et al., "Exact solutions to the nonlinear dynamics of learning
    in deep linear neural networks" (2014), section 3.
    """
    if not math.isfinite(gain):
        raise ArgumentError(
            "not a gain",
            op="orthogonal",
            expected="a finite number",
            given=repr(gain),
            where=origin.where(),
        )

    def initializer(shape: StaticShape, rng: np.random.Generator, dtype: Any) -> Array:
        rows, columns = _as_matrix("orthogonal", shape)
        long, short = max(rows, columns), min(rows, columns)
        q, r = np.linalg.qr(rng.normal(size=(long, short)))
        q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)
        return (gain * (q if rows == long else q.T)).reshape(shape).astype(dtype)

    return initializer


def identity(gain: float = 1.0) -> Initializer:
    """`gain` on the diagonal of a matrix, else 0; it need not be square.

    Errors: `ShapeError` at use for a parameter that is no matrix.
    """

    def initializer(shape: StaticShape, rng: np.random.Generator, dtype: Any) -> Array:
        if len(shape) != 2:
            raise _no_matrix("identity", shape, "a matrix")
        return (gain * np.eye(*shape)).astype(dtype)

    return initializer


def _as_matrix(op: str, shape: StaticShape) -> tuple[int, int]:
    if len(shape) < 2:
        raise _no_matrix(op, shape, "at least two axes")
    return shape[0], math.prod(shape[1:])


def _no_matrix(op: str, shape: StaticShape, expected: str) -> ShapeError:
    return ShapeError(
        "the parameter does not fit the initialiser",
        op=op,
        expected=expected,
        given=show(shape),
        where=origin.where(),
    )


def _by_variance(
    variance: float, shape: StaticShape, rng: np.random.Generator, dtype: Any, *, uniformly: bool
) -> Array:
    if uniformly:  # the variance of the uniform distribution on +-a is a^2 / 3
        limit = math.sqrt(3 * variance)
        return uniform(-limit, limit)(shape, rng, dtype)
    return normal(math.sqrt(variance))(shape, rng, dtype)


answer(globals())

INITIALIZERS: dict[str, Initializer] = {
    "zeros": zeros,
    "ones": ones,
    "normal": normal(),
    "uniform": uniform(),
    "truncated_normal": truncated_normal(),
    "random_normal": normal(),
    "random_uniform": uniform(),
    "orthogonal": orthogonal(),
    "identity": identity(),
    "glorot_uniform": glorot_uniform,
    "glorot_normal": glorot_normal,
    "xavier_uniform": glorot_uniform,
    "xavier_normal": glorot_normal,
    "he_uniform": he_uniform,
    "he_normal": he_normal,
    "lecun_uniform": lecun_uniform,
    "lecun_normal": lecun_normal,
}


@answering
def get(initializer: Any) -> Initializer:
    """The initialiser for a name, a callable, or numbers (`constant`).

    Errors: `ArgumentError` with the known names.
    """
    if isinstance(initializer, (int, float, list, tuple, np.ndarray, np.number)):
        return constant(initializer)
    return find("initializer", INITIALIZERS, initializer)


if not TYPE_CHECKING:  # a checker knows the names above, and so a misspelt one
    __getattr__ = finder(__name__)
