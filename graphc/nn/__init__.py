"""Layers, activations, initialisers and losses: the parts of a neural network.

    model = gc.nn.Sequential([gc.nn.Dense(128, "relu"), gc.nn.Dropout(0.2), gc.nn.Dense(10)])
    logits = model(x, training=True)
"""

from graphc.nn import activations, initializers, losses
from graphc.nn.initializers import seed
from graphc.nn.layers import Activation, Dense, Dropout, Embedding, Flatten
from graphc.nn.module import Layer
from graphc.nn.normalization import LayerNorm, RMSNorm
from graphc.nn.recurrent import GRU, LSTM, Bidirectional, Recurrent, SimpleRNN
from graphc.nn.sequential import Sequential

__all__ = [
    "GRU",
    "LSTM",
    "Activation",
    "Bidirectional",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "Layer",
    "LayerNorm",
    "RMSNorm",
    "Recurrent",
    "Sequential",
    "SimpleRNN",
    "activations",
    "initializers",
    "losses",
    "seed",
]
