"""asin, acos, atan and atan2.

atan has a polynomial on [0, 1]; a larger argument is taken as its reciprocal, which adds a quarter
turn. asin has one on [0, 1/2]; beyond, half of the angle whose cosine is |x| has the sine
sqrt((1 - |x|) / 2), where 1 - |x| is exact. The coefficients are minimax fits (Remez exchange at 60
digits, rounded one by one, the rest fitted again).
"""

from __future__ import annotations

from graphc.lower.vector_math.emit import Code, Value

# multiples of pi as sums of two floats of each format
HALF_PI = {
    32: (1.5707963705062866, -4.371138828673793e-08),
    64: (1.5707963267948966, 6.123233995736766e-17),
}
PI = {bits: (2 * high, 2 * low) for bits, (high, low) in HALF_PI.items()}

# P of atan t = t + t**3 P(t**2), 0 <= t <= 1; relative error 2**-27.3, 2**-57.4
ATAN = {
    32: (
        -0.33333298563957214,
        0.1999852955341339,
        -0.14264123141765594,
        0.10952696949243546,
        -0.08409836143255234,
        0.058167118579149246,
        -0.03149394318461418,
        0.011142604984343052,
        -0.0018573080888018012,
    ),
    64: (
        -0.3333333333333307,
        0.1999999999995188,
        -0.1428571428259689,
        0.1111111100759375,
        -0.09090907011970308,
        0.07692279934443805,
        -0.06666404774725561,
        0.058805318074183384,
        -0.05253535381079788,
        0.04722376770613705,
        -0.04219316383877505,
        0.0366446163979384,
        -0.029908026156490592,
        0.021989858843244135,
        -0.013905201091385797,
        0.007199763367762471,
        -0.0028865978374884808,
        0.0008319207013726901,
        -0.00015229303191844086,
        1.3238680030339947e-05,
    ),
}

# P of asin t = t + t**3 P(t**2), 0 <= t <= 1/2; relative error 2**-27.6, 2**-54.4 of the whole,
# which the polynomial is a twentieth of at most
ASIN = {
    32: (
        0.16666752099990845,
        0.074953094124794,
        0.04546914994716644,
        0.024184778332710266,
        0.042158305644989014,
    ),
    64: (
        0.16666666666665408,
        0.07500000000337144,
        0.0446428568282292,
        0.030381959139974185,
        0.022371758014468404,
        0.017359704722508508,
        0.01388524085153106,
        0.012169155716277302,
        0.006528231782068206,
        0.019527776183143844,
        -0.016224301339859106,
        0.03191325839309938,
    ),
}


def _atan_of_unit(code: Code, t: Value) -> Value:
    """atan t for 0 <= t <= 1."""
    square = t * t
    return code.fma(t * square, code.polynomial(square, ATAN), t)


def atan(code: Code, x: Value) -> Value:
    """The angle in [-pi/2, pi/2] whose tangent is x."""
    size = code.abs(x)
    steep = size > 1.0
    angle = _atan_of_unit(code, code.select(steep, 1.0 / size, size))
    high, low = HALF_PI[code.format.bits]
    return code.copysign(code.select(steep, high - (angle - low), angle), x)


def atan2(code: Code, y: Value, x: Value) -> Value:
    """The angle of the point (x, y) in [-pi, pi], by the signs of both, zeros and infinities
    included: the smaller coordinate over the larger one, from the nearest axis."""
    height, width = code.abs(y), code.abs(x)
    steep = height > width
    top, under = code.select(steep, width, height), code.select(steep, height, width)
    diagonal = code.select(top.equals(0.0), code.constant(x.type, 0.0), 1.0)
    t = code.select(top.equals(under), diagonal, top / under)  # 0 / 0 and inf / inf
    left = code.copysign(1.0, x) < 0.0
    angle = _atan_of_unit(code, t)
    angle = code.select(steep, -angle, angle)
    angle = code.select(left, -angle, angle)
    (quarter, quarter_low), (half, half_low) = HALF_PI[code.format.bits], PI[code.format.bits]
    level = code.select(left, code.constant(x.type, half), 0.0)
    level_low = code.select(left, code.constant(x.type, half_low), 0.0)
    from_axis = code.select(steep, quarter, level)
    return code.copysign(from_axis + (angle + code.select(steep, quarter_low, level_low)), y)


def _half_angle(code: Code, x: Value) -> tuple[Value, Value, Value]:
    """Whether |x| > 1/2; and asin |x| or, beyond 1/2, half the angle whose cosine is |x| (NaN
    beyond 1), as its sine and a rest."""
    size = code.abs(x)
    far = size > 0.5
    square = code.select(far, code.fma(size, -0.5, 0.5), size * size)
    t = code.select(far, code.intrinsic("sqrt", square), size)
    return far, t, t * square * code.polynomial(square, ASIN)


def asin(code: Code, x: Value) -> Value:
    """The angle in [-pi/2, pi/2] whose sine is x."""
    far, t, rest = _half_angle(code, x)
    high, low = HALF_PI[code.format.bits]
    twice = t + t
    head = high - twice
    beyond = head + (((high - head) - twice) - (rest + (rest - low)))
    return code.copysign(code.select(far, beyond, t + rest), x)


def acos(code: Code, x: Value) -> Value:
    """The angle in [0, pi] whose cosine is x."""
    far, t, rest = _half_angle(code, x)
    angle = t + rest
    (quarter, quarter_low), (half, half_low) = HALF_PI[code.format.bits], PI[code.format.bits]
    twice = angle + angle
    beyond = code.select(x < 0.0, half - (twice - half_low), twice)
    near = quarter - (code.copysign(angle, x) - quarter_low)
    return code.select(far, beyond, near)
