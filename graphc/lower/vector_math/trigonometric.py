"""sin, cos and tan of any argument, reduced by Payne and Hanek's idea in floating point.

    x = 2 pi (n / 4 + f),   |f| <= 1/8,   sin x = +-sin(2 pi f) or +-cos(2 pi f), as n says

n / 4 + f is the fractional part of the number of turns x / (2 pi). A huge x needs 1 / (2 pi) to
many bits, but of those only a window: with x = y 2**E and y a multiple of 2**-g, what 2**E / (2 pi)
holds above 2**g adds whole turns to the product. So x is scaled by 2**-E, E depending on its
exponent, and the window is kept as a sum of doubles whose products with y are split by fma into a
high and a low half, exactly. Each half drops its own whole turns. (M. Payne, R. Hanek, "Radian
reduction for trigonometric functions", SIGNUM Newsletter 18, 1983.)

float32 is computed in double, with two windows and a select. float64 has one window for every 32
binades, in a table: its loads become gathers.
"""

from __future__ import annotations

import math
from fractions import Fraction

from graphc.lower.vector_math.emit import FLOAT64, Code, Value

TWO_PI = math.tau
TWO_PI_LOW = 2.4492935982947064e-16  # 2 pi - TWO_PI

# S of sin r = r + r**3 S(r**2), |r| <= pi/4; relative error 2**-28 (for float32), 2**-57.9
SIN = {
    32: (-0.1666665460242114, 0.00833216030085444, -0.00019515219148407727),
    64: (
        -0.1666666666666663,
        0.00833333333332184,
        -0.0001984126982935992,
        2.7557313539845325e-06,
        -2.5050734783168405e-08,
        1.5895469980246023e-10,
    ),
}

# C of cos r = 1 - r**2 / 2 + r**4 C(r**2), |r| <= pi/4; relative error 2**-33, 2**-63.9
COS = {
    32: (0.04166664567430181, -0.0013887315780061302, 2.443309845874831e-05),
    64: (
        0.041666666666666595,
        -0.001388888888887334,
        2.480158728899976e-05,
        -2.755731421613987e-07,
        2.087570524681677e-09,
        -1.1358740261924298e-11,
    ),
}


def sin(code: Code, x: Value) -> Value:
    """The sine of x in radians."""
    value = _of_quarter_turns(code, x, 0)
    return code.select(x.equals(0.0), x, value)  # the sums above lose the sign of a zero


def cos(code: Code, x: Value) -> Value:
    """The cosine of x in radians: the sine a quarter turn later."""
    return _of_quarter_turns(code, x, 1)


def tan(code: Code, x: Value) -> Value:
    """The tangent of x in radians: sine over cosine or, an odd number of quarter turns on, minus
    cosine over sine. Of float64 both come with what they were rounded by."""
    if code.format.bits == 32:
        n, r = _reduce_float32(code, code.convert("fpext", x, "double"))
        sine, cosine = _sine_and_cosine(code, r)
        odd = (n & 1).equals(1)
        value = code.select(odd, -cosine, sine) / code.select(odd, sine, cosine)
        value = code.convert("fptrunc", value, "float")
    else:
        n, r, low = _reduce_float64(code, x)
        (sine, sine_low), (cosine, cosine_low) = (
            _sine_of_sum(code, r, low),
            _cosine_of_sum(code, r, low),
        )
        odd = (n & 1).equals(1)
        top, top_low = code.select(odd, -cosine, sine), code.select(odd, -cosine_low, sine_low)
        under, under_low = code.select(odd, sine, cosine), code.select(odd, sine_low, cosine_low)
        inverse = 1.0 / under
        value = top * inverse
        missing = code.fma(value, -under, top) + code.fma(value, -under_low, top_low)
        value = code.fma(missing, inverse, value)
    return code.select(x.equals(0.0), x, value)


def _of_quarter_turns(code: Code, x: Value, quarters: int) -> Value:
    """sin(x + quarters * pi / 2)."""
    if code.format.bits == 32:
        n, r = _reduce_float32(code, code.convert("fpext", x, "double"))
        sine, cosine = _sine_and_cosine(code, r)
    else:
        n, r, low = _reduce_float64(code, x)
        (sine, _), (cosine, _) = _sine_of_sum(code, r, low), _cosine_of_sum(code, r, low)
    n = n + quarters
    value = code.select((n & 1).equals(0), sine, cosine)
    value = code.number(code.word(value) ^ ((n & 2) << 62))
    return code.convert("fptrunc", value, "float") if code.format.bits == 32 else value


def _sine_and_cosine(code: Code, r: Value) -> tuple[Value, Value]:
    """Of a double r, to more digits than a float32 has."""
    square = r * r
    sine = code.fma(r * square, code.polynomial(square, SIN), r)
    c = code.fma(square, code.polynomial(square, COS), -0.5)
    return sine, code.fma(square, c, 1.0)


def _sum(head: Value, tail: Value) -> tuple[Value, Value]:
    """head + tail, and what was rounded off; |tail| <= |head|."""
    total = head + tail
    return total, (head - total) + tail


def _sine_of_sum(code: Code, r: Value, low: Value) -> tuple[Value, Value]:
    """sin(r + low) = r + (r**3 S + low (1 - r**2 / 2)), low far below r; and what was rounded."""
    square = r * r
    correction = code.fma(square * -0.5, low, low)
    return _sum(r, code.fma(r * square, code.polynomial(square, SIN), correction))


def _cosine_of_sum(code: Code, r: Value, low: Value) -> tuple[Value, Value]:
    """cos(r + low) = (1 - r**2 / 2) + (r**4 C - r low), the first sum with its rounding error; and
    what was rounded."""
    square = r * r
    half = square * 0.5
    head = 1.0 - half
    error = (1.0 - head) - half
    tail = code.fma(r, -low, error)
    return _sum(head, code.fma(square * square, code.polynomial(square, COS), tail))


def _reduce_float32(code: Code, x: Value) -> tuple[Value, Value]:
    """n as an integer, and r = 2 pi f, of a double x that holds a float32."""
    huge = code.abs(x) >= 2.0**64
    y = code.select(huge, x * 2.0**-64, x)
    near, far = _window(0, 0, 3), _window(64, 23, 3)
    a, b, c = (
        code.select(huge, code.constant("double", there), here)
        for here, there in zip(near, far, strict=True)
    )
    first = y * a
    second = y * b
    rest = code.fma(y, c, code.fma(y, b, -second))
    first_low = _fraction(code, code.fma(y, a, -first))
    first, second = _fraction(code, first), _fraction(code, second)
    n, first = _split_quarters(code, first, first_low + second)
    return n, (((first + first_low) + second) + rest) * TWO_PI


def _reduce_float64(code: Code, x: Value) -> tuple[Value, Value, Value]:
    """n as an integer, and 2 pi f as a sum of two doubles."""
    word = code.word(x)
    binades = 0x1F << 52  # the exponent inside its group of 32
    kept = FLOAT64.sign_mask | binades | ((1 << 52) - 1)
    y = code.number((word & kept) | (0x3E0 << 52))
    group = (word << 1) >> 58
    a, b, c, d = _load_windows(code, group)
    first, second, third = y * a, y * b, y * c
    second_low = code.fma(y, b, -second)
    rest = code.fma(y, d, code.fma(y, c, -third))
    first_low = _fraction(code, code.fma(y, a, -first))
    first, second = _fraction(code, first), _fraction(code, second)
    n, f = _split_quarters(code, first, first_low + second)
    low = rest
    for term in (first_low, second, second_low, third):
        f, error = _two_sum(f, term)
        low = low + error
    r = f * TWO_PI
    r_low = code.fma(low, TWO_PI, code.fma(f, TWO_PI_LOW, code.fma(f, TWO_PI, -r)))
    small = code.abs(x) <= math.pi / 4
    r = code.select(small, x, r + (x - x))  # x - x: NaN for inf and NaN, which lost their exponent
    return n, r, code.select(small, 0.0, r_low)


def _fraction(code: Code, x: Value) -> Value:
    """x less its nearest integer, exact; NaN for inf."""
    return x - code.rint(x)


def _split_quarters(code: Code, head: Value, tail: Value) -> tuple[Value, Value]:
    """n, the nearest integer to 4 (head + tail), and head - n / 4, which is exact."""
    shift = FLOAT64.shift
    shifted = code.fma(head + tail, 4.0, shift)
    return code.word(shifted), code.fma(shifted - shift, -0.25, head)


def _two_sum(x: Value, y: Value) -> tuple[Value, Value]:
    """x + y, and its rounding error exactly (Knuth)."""
    total = x + y
    rounded = total - x
    return total, (x - (total - rounded)) + (y - rounded)


# the windows: 64 groups of 32 binades; the first 31 lie below 2**-31 and are never looked at
_GROUPS = 64
_PIECES = 4
_TABLE = "@gc.turns"


def _load_windows(code: Code, group: Value) -> list[Value]:
    """The window of each group, piece by piece; y is in [2**-31, 2), a multiple of 2**-83."""
    windows = [
        _window(32 * (number - 31), 83, _PIECES) if number >= 31 else (0.0,) * _PIECES
        for number in range(_GROUPS)
    ]
    values = [window[piece] for piece in range(_PIECES) for window in windows]
    code.table(_TABLE, values)
    return [code.element(_TABLE, len(values), group + piece * _GROUPS) for piece in range(_PIECES)]


def _window(exponent: int, grid: int, pieces: int) -> tuple[float, ...]:
    """2**exponent / (2 pi) modulo 2**grid, as a sum of `pieces` doubles."""
    rest = Fraction(2) ** exponent * _INVERSE_TURN
    if exponent > 0:
        rest %= 2**grid
    found = []
    for _ in range(pieces):
        found.append(float(rest))
        rest -= Fraction(found[-1])
    return tuple(found)


def _pi(bits: int) -> Fraction:
    """pi to about `bits` bits, by Machin's formula: pi / 4 = 4 arctan(1/5) - arctan(1/239)."""
    one = 1 << (bits + 16)

    def arctan_of_inverse(n: int) -> int:
        power, total, k = one // n, 0, 1
        while power:
            total += power // k if k % 4 == 1 else -(power // k)
            power //= n * n
            k += 2
        return total

    return Fraction(4 * (4 * arctan_of_inverse(5) - arctan_of_inverse(239)), one)


_INVERSE_TURN = 1 / (2 * _pi(1300))
