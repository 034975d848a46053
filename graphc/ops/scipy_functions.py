"""Functions that SciPy computes, by SymPy's names: what formulas use and no op of ours computes.

Each entry takes `scipy.special` and the arguments in SymPy's order. A name goes from here when an
op of ours computes it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def _lambertw(s: Any, x: Any, *branch: Any) -> Any:
    """The real branches; NaN where they are not real."""
    found = s.lambertw(x, *(b.astype(int) for b in branch))
    return np.where(found.imag == 0, found.real, np.nan)


SCIPY_FUNCTIONS: dict[str, Callable[..., Any]] = {
    # of an order that is not a number
    "polygamma": lambda s, n, x: s.polygamma(n, x),
    # integrals and their inverses
    "erfi": lambda s, x: s.erfi(x),
    "Ei": lambda s, x: s.expi(x),
    "expint": lambda s, n, x: s.expn(n, x),
    "Si": lambda s, x: s.sici(x)[0],
    "Ci": lambda s, x: s.sici(x)[1],
    "Shi": lambda s, x: s.shichi(x)[0],
    "Chi": lambda s, x: s.shichi(x)[1],
    "fresnels": lambda s, x: s.fresnel(x)[0],
    "fresnelc": lambda s, x: s.fresnel(x)[1],
    "LambertW": _lambertw,
    "elliptic_k": lambda s, m: s.ellipk(m),
    "elliptic_e": lambda s, x, *m: s.ellipeinc(x, *m) if m else s.ellipe(x),
    "elliptic_f": lambda s, x, m: s.ellipkinc(x, m),
    # relatives of gamma
    "binomial": lambda s, n, k: s.binom(n, k),
    "zeta": lambda s, x, *q: s.zeta(x, *q),
    # Bessel and Airy functions
    "besselj": lambda s, n, x: s.jv(n, x),
    "bessely": lambda s, n, x: s.yv(n, x),
    "jn": lambda s, n, x: s.spherical_jn(n.astype(int), x),
    "yn": lambda s, n, x: s.spherical_yn(n.astype(int), x),
    "besseli": lambda s, n, x: s.iv(n, x),
    "besselk": lambda s, n, x: s.kv(n, x),
    "airyai": lambda s, x: s.airy(x)[0],
    "airyaiprime": lambda s, x: s.airy(x)[1],
    "airybi": lambda s, x: s.airy(x)[2],
    "airybiprime": lambda s, x: s.airy(x)[3],
    # polynomials of a degree that is not a number
    "legendre": lambda s, n, x: s.eval_legendre(n, x),
    "assoc_legendre": lambda s, n, m, x: s.lpmv(m, n, x),
    "chebyshevt": lambda s, n, x: s.eval_chebyt(n, x),
    "chebyshevu": lambda s, n, x: s.eval_chebyu(n, x),
    "hermite": lambda s, n, x: s.eval_hermite(n.astype(int), x),
    "laguerre": lambda s, n, x: s.eval_laguerre(n, x),
    "assoc_laguerre": lambda s, n, a, x: s.eval_genlaguerre(n, a, x),
    "gegenbauer": lambda s, n, a, x: s.eval_gegenbauer(n, a, x),
    "jacobi": lambda s, n, a, b, x: s.eval_jacobi(n, a, b, x),
}
