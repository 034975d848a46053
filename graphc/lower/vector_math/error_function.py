"""erf: a polynomial up to 1, and one minus e to the power of a polynomial above.

log(1 - erf x) is so smooth that one polynomial holds it from 1 to where erf rounds to 1; and since
1 - erf x falls from 0.16, its own error counts less and less. (That form: N. Juffa's `erff`.) The
coefficients are minimax fits (Remez exchange at 60 digits, then rounded one by one, the rest
fitted again).
"""

from __future__ import annotations

from graphc.lower.vector_math.emit import Code, Value
from graphc.lower.vector_math.exponential import expm1_reduced

# P of erf x = x + x P(x**2), 0 <= x <= 1; relative error 2**-29.4, 2**-56.3
SMALL = {
    32: (
        0.12837916612625122,
        -0.3761262595653534,
        0.11283578723669052,
        -0.026853347197175026,
        0.005187162198126316,
        -0.0007997853099368513,
        7.806903158780187e-05,
    ),
    64: (
        0.1283791670955126,
        -0.376126389031841,
        0.11283791670971095,
        -0.026866170648030437,
        0.005223977652684966,
        -0.0008548328535339595,
        0.00012055386176027858,
        -1.4926881034726788e-05,
        1.648105180865809e-06,
        -1.6557053161861412e-07,
        1.601270627984895e-08,
        -1.6462701207885056e-09,
        1.4340077964731924e-10,
    ),
}

# log(1 - erf x), 1 <= x <= 4 (float32) or 6 (float64); error relative to erf x 2**-29.7, 2**-57
LOG_REST = {
    32: (
        -0.0003394500236026943,
        -1.1270973682403564,
        -0.6381316184997559,
        -0.1031179279088974,
        0.02184326946735382,
        -0.0029489235021173954,
        0.00018650437414180487,
    ),
    64: (
        -4.995245807375968e-07,
        -1.1283741204002617,
        -0.6366434945298226,
        -0.1027037952130116,
        0.01899083294901655,
        0.0004097467076027373,
        -0.0019150429449931775,
        0.000769930590840802,
        -0.0001346081385484928,
        -2.048306007086025e-05,
        2.290599845371887e-05,
        -8.692421123659613e-06,
        2.141593404801552e-06,
        -3.743532993766863e-07,
        4.6559421966362855e-08,
        -3.9465032766863125e-09,
        2.0517263990063015e-10,
        -4.945955256325943e-12,
    ),
}

ONE = {32: 4.0, 64: 6.0}  # erf x rounds to 1 above


def erf(code: Code, x: Value) -> Value:
    """The error function."""
    size = code.at_most(code.abs(x), ONE[code.format.bits])
    small = code.fma(size, code.polynomial(size * size, SMALL), size)
    scale, p = expm1_reduced(code, code.polynomial(size, LOG_REST))
    large = code.fma(p, -scale, 1.0 - scale)
    return code.copysign(code.select(size < 1.0, small, large), x)
