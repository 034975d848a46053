"""Optimisers: from a loss and variables to the variables' new values.

step = gc.compile([x, y], loss, updates=gc.optim.Adam(1e-3).minimize(loss, parameters))
"""

from typing import TYPE_CHECKING

from graphc.elsewhere import finder
from graphc.keywords import answer
from graphc.optim import schedules
from graphc.optim.adam import Adam, AdamW, AMSGrad, Nadam
from graphc.optim.adaptive import Adadelta, Adagrad, RMSProp
from graphc.optim.averaging import EMA, accumulate, averaged
from graphc.optim.clipping import clip_by_global_norm, clip_by_norm, clip_by_value
from graphc.optim.descent import SGD, Momentum, Nesterov
from graphc.optim.lbfgs import LBFGS
from graphc.optim.newton import ConjugateGradient, GaussNewton, LevenbergMarquardt, Newton
from graphc.optim.optimizer import Optimizer

__all__ = [
    "EMA",
    "LBFGS",
    "SGD",
    "AMSGrad",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "ConjugateGradient",
    "GaussNewton",
    "LevenbergMarquardt",
    "Momentum",
    "Nadam",
    "Nesterov",
    "Newton",
    "Optimizer",
    "RMSProp",
    "accumulate",
    "averaged",
    "clip_by_global_norm",
    "clip_by_norm",
    "clip_by_value",
    "schedules",
]
answer(globals(), __all__)

_HERE = {
    "CG": "ConjugateGradient",
    "ExponentialMovingAverage": "EMA",
    "lr_scheduler": "schedules",
}


if not TYPE_CHECKING:  # a checker knows the names above, and so a misspelt one
    __getattr__ = finder(__name__, _HERE)
