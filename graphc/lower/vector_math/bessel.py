"""i0, i1, i0e and i1e: modified Bessel functions, the latter two times e**-|x|, in float64; those
of a float32 are computed in it, and rounded. float64 errs by up to 6 units below 12: the rounding
of x**2 is multiplied by x / 2.

    I_k(x) = x**k N(x**2),   |x| < 12
    e**-x I_k(x) = F(24 / x - 1) / sqrt(x),   12 <= x

The coefficients are minimax fits, rounded one by one, the rest fitted again.
"""

from __future__ import annotations

import math

from graphc.lower.vector_math.emit import Code, Value
from graphc.lower.vector_math.exponential import exp, exp_of_negative
from graphc.lower.vector_math.gamma import in_double

FAR = 12.0

# N of each order; relative error 2**-63.9, 2**-61.0
NEAR = {
    0: {
        64: (
            1.0,
            0.25,
            0.015625,
            0.0004340277777777778,
            6.781684027777758e-06,
            6.781684027778306e-08,
            4.709502797060184e-10,
            2.4028075495952253e-12,
            9.385966985939826e-15,
            2.896903411370333e-17,
            7.242257860481592e-20,
            1.4963358813425573e-22,
            2.597775921097393e-25,
            3.8432720731107e-28,
            4.89782933461471e-31,
            5.47621669875539e-34,
            5.146774212046409e-37,
            5.30099558727428e-40,
            1.6612859184262548e-43,
            5.3692006841383234e-46,
        ),
    },
    1: {
        64: (
            0.5,
            0.0625,
            0.0026041666666666665,
            5.425347222222241e-05,
            6.781684027777037e-07,
            5.65140335649586e-09,
            3.36393056917017e-11,
            1.5017547196664644e-13,
            5.21442604391323e-16,
            1.4484519215022852e-18,
            3.2919296331040904e-21,
            6.2348474504260894e-24,
            9.989729629827654e-27,
            1.3745327468765335e-29,
            1.616276379539618e-32,
            1.8127711549861233e-35,
            1.0639466246015158e-38,
            2.818704040264684e-41,
            -1.9986409085667128e-44,
            3.354064698260625e-47,
        ),
    },
}

# F of each order; relative error 2**-56.0, 2**-55.4
TAIL = {
    0: {
        64: (
            0.4010710650668474,
            0.0021821681721169188,
            5.598482533295191e-05,
            2.797707019880921e-06,
            2.171605222886522e-07,
            2.3688420859669638e-08,
            3.4432302750808313e-09,
            6.481624623556107e-10,
            1.5728665215755336e-10,
            4.7588963208366496e-11,
            1.5649473438418357e-11,
            1.2222982216596825e-11,
            1.3919023736652265e-11,
            4.524404527677624e-13,
            -9.943811503266583e-12,
            -2.2382503619651384e-12,
            3.4228953052386657e-12,
            4.696756564201875e-13,
            -6.185608785137097e-13,
        ),
    },
    1: {
        64: (
            0.39262449420411655,
            -0.00640545360348235,
            -9.124755354962691e-05,
            -3.8279513558619605e-06,
            -2.726845786098323e-07,
            -2.825369061787787e-08,
            -3.967232394155748e-09,
            -7.28267792806877e-10,
            -1.7381176121802847e-10,
            -5.170086888614494e-11,
            -1.521907324977048e-11,
            -1.2753594117343995e-11,
            -1.733637774380477e-11,
            -7.456195456272845e-13,
            1.3000876774200286e-11,
            2.4454368534480757e-12,
            -4.980402569857652e-12,
            -5.080742627337088e-13,
            9.641648087092386e-13,
        ),
    },
}


def _parts(code: Code, a: Value, order: int) -> tuple[Value, Value]:
    """I(a) of a < 12, and e**-a I(a) of the others."""
    near = code.polynomial(a * a, NEAR[order])
    far = code.polynomial(2 * FAR / a - 1.0, TAIL[order]) / code.intrinsic("sqrt", a)
    return near * a if order else near, far


def _grown(code: Code, x: Value, order: int) -> Value:
    """The function; e**8 is taken out of the power, which would overflow before the product."""
    a = code.at_most(code.abs(x), 800.0)
    near, far = _parts(code, a, order)
    value = code.select(a < FAR, near, far * math.exp(8) * exp(code, a - 8.0))
    return code.copysign(value, x) if order else value


def _scaled(code: Code, x: Value, order: int) -> Value:
    a = code.abs(x)
    near, far = _parts(code, a, order)
    value = code.select(a < FAR, near * exp_of_negative(code, -a), far)
    return code.copysign(value, x) if order else value


@in_double
def bessel_i0(code: Code, x: Value) -> Value:
    """The modified Bessel function of order 0."""
    return _grown(code, x, 0)


@in_double
def bessel_i1(code: Code, x: Value) -> Value:
    """The modified Bessel function of order 1."""
    return _grown(code, x, 1)


@in_double
def bessel_i0e(code: Code, x: Value) -> Value:
    """e**-|x| I_0(x)."""
    return _scaled(code, x, 0)


@in_double
def bessel_i1e(code: Code, x: Value) -> Value:
    """e**-|x| I_1(x)."""
    return _scaled(code, x, 1)
