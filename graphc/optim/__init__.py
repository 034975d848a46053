"""Optimisers: from a loss and variables to the variables' new values.

    step = gc.compile([x, y], loss, updates=gc.optim.Adam(1e-3).minimize(loss, parameters))
"""

from graphc.optim.adam import Adam
from graphc.optim.descent import SGD, Momentum
from graphc.optim.optimizer import Optimizer

__all__ = ["SGD", "Adam", "Momentum", "Optimizer"]
