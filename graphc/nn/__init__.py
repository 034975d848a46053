"""Layers, activations, initialisers and losses: the parts of a neural network.

    model = gc.nn.Sequential([gc.nn.Dense(128, "relu"), gc.nn.Dropout(0.2), gc.nn.Dense(10)])
    logits = model(x, training=True)
"""

from typing import TYPE_CHECKING

from graphc.elsewhere import finder
from graphc.keywords import answer
from graphc.nn import activations, constraints, initializers, losses, regularizers
from graphc.nn.attention import (
    MultiHeadAttention,
    PositionalEncoding,
    PositionEmbedding,
    TransformerBlock,
)
from graphc.nn.batch_normalization import BatchNorm
from graphc.nn.calls import Input
from graphc.nn.convolution import (
    Conv1D,
    Conv1DTranspose,
    Conv2D,
    Conv2DTranspose,
    Conv3D,
    DepthwiseConv2D,
)
from graphc.nn.dropout import Dropout, GaussianNoise
from graphc.nn.initializers import seed
from graphc.nn.layers import Activation, Dense, Embedding, embedding
from graphc.nn.merge import Add, Concatenate, Lambda, Residual
from graphc.nn.model import Model
from graphc.nn.module import Layer
from graphc.nn.norm_functions import (
    batch_norm,
    batch_statistics,
    group_norm,
    instance_norm,
    layer_norm,
    normalize,
    rms_norm,
)
from graphc.nn.normalization import GroupNorm, InstanceNorm, LayerNorm, RMSNorm
from graphc.nn.pooling import (
    AvgPool1D,
    AvgPool2D,
    GlobalAvgPool,
    GlobalMaxPool,
    MaxPool1D,
    MaxPool2D,
    UpSampling2D,
    ZeroPad2D,
)
from graphc.nn.recurrent import GRU, LSTM, Bidirectional, Recurrent, SimpleRNN
from graphc.nn.reshaping import Flatten, Permute, RepeatVector, Reshape
from graphc.nn.sequential import Sequential
from graphc.nn.values import functional_call
from graphc.ops.attention import dot_product_attention

__all__ = [
    "GRU",
    "LSTM",
    "Activation",
    "Add",
    "AvgPool1D",
    "AvgPool2D",
    "BatchNorm",
    "Bidirectional",
    "Concatenate",
    "Conv1D",
    "Conv1DTranspose",
    "Conv2D",
    "Conv2DTranspose",
    "Conv3D",
    "Dense",
    "DepthwiseConv2D",
    "Dropout",
    "Embedding",
    "Flatten",
    "GaussianNoise",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "GroupNorm",
    "Input",
    "InstanceNorm",
    "Lambda",
    "Layer",
    "LayerNorm",
    "MaxPool1D",
    "MaxPool2D",
    "Model",
    "MultiHeadAttention",
    "Permute",
    "PositionEmbedding",
    "PositionalEncoding",
    "RMSNorm",
    "Recurrent",
    "RepeatVector",
    "Reshape",
    "Residual",
    "Sequential",
    "SimpleRNN",
    "TransformerBlock",
    "UpSampling2D",
    "ZeroPad2D",
    "activations",
    "batch_norm",
    "batch_statistics",
    "constraints",
    "dot_product_attention",
    "embedding",
    "functional_call",
    "group_norm",
    "initializers",
    "instance_norm",
    "layer_norm",
    "losses",
    "normalize",
    "regularizers",
    "rms_norm",
    "seed",
]
answer(globals(), __all__)

_HERE = {
    "AdaptiveAvgPool2d": "GlobalAvgPool, of one place for each channel",
    "AdditiveAttention": "MultiHeadAttention, or gc.dot_product_attention(q, k, v)",
    "Attention": "MultiHeadAttention, or gc.dot_product_attention(q, k, v)",
    "Average": "Lambda(lambda xs: sum(xs) / len(xs))",
    "AveragePooling1D": "AvgPool1D",
    "AveragePooling2D": "AvgPool2D",
    "BatchNorm1d": "BatchNorm",
    "BatchNorm2d": "BatchNorm",
    "BatchNormalization": "BatchNorm",
    "BCELoss": 'the loss "binary_crossentropy", or gc.nn.losses.binary_cross_entropy of logits',
    "BCEWithLogitsLoss": "gc.nn.losses.binary_cross_entropy",
    "CTCLoss": "gc.nn.losses.ctc",
    "CategoryEncoding": "Lambda(lambda x: gc.one_hot(x, size))",
    "ConvTranspose2d": "Conv2DTranspose",
    "CosineSimilarity": "gc.nn.normalize, of both: the sum of their products",
    "Cropping1D": "Lambda(lambda x: x[:, start:-end])",
    "Cropping2D": "Lambda(lambda x: x[:, :, top:-bottom, left:-right])",
    "CrossEntropyLoss": "gc.nn.losses.softmax_cross_entropy",
    "Dot": "Lambda(lambda xs: gc.sum(xs[0] * xs[1], axis=-1, keepdims=True))",
    "Dropout2d": "drop(gc.ones((*x.shape[:2], 1, 1))) * x, with drop = Dropout(rate)",
    "ELU": 'Activation("elu")',
    "GELU": 'Activation("gelu"), or of the form by tanh Activation("gelu_tanh")',
    "GRUCell": "GRU, of a sequence of one step with initial_state",
    "GlobalAveragePooling1D": "GlobalAvgPool",
    "GlobalAveragePooling2D": "GlobalAvgPool",
    "GlobalMaxPooling1D": "GlobalMaxPool",
    "GlobalMaxPooling2D": "GlobalMaxPool",
    "GroupNormalization": "GroupNorm",
    "HuberLoss": "gc.nn.losses.huber",
    "Identity": 'Activation("linear")',
    "InputLayer": "Input",
    "KLDivLoss": "gc.nn.losses.kl_divergence",
    "L1Loss": "gc.nn.losses.mean_absolute_error",
    "LSTMCell": "LSTM, of a sequence of one step with initial_state",
    "LayerNormalization": "LayerNorm",
    "LeakyReLU": 'Activation("leaky_relu")',
    "Linear": "Dense, which learns the size of its input",
    "MSELoss": "gc.nn.losses.mean_squared_error",
    "MaxPooling1D": "MaxPool1D",
    "MaxPooling2D": "MaxPool2D",
    "Masking": "mask=..., given to the layers that take one",
    "Maximum": "Lambda(lambda xs: gc.maximum(xs[0], xs[1]))",
    "Minimum": "Lambda(lambda xs: gc.minimum(xs[0], xs[1]))",
    "Module": "Layer",
    "ModuleDict": "a dict of layers as an attribute",
    "ModuleList": "a list of layers as an attribute",
    "Multiply": "Lambda(lambda xs: xs[0] * xs[1])",
    "NLLLoss": "gc.nn.losses.sparse_categorical_cross_entropy, of probabilities",
    "Normalization": "Lambda(lambda x: (x - mean) / std), or BatchNorm",
    "PReLU": "gc.prelu with a variable of the layer's own",
    "PairwiseDistance": "gc.linalg.vector_norm, of the difference; gc.linalg.cdist, of all pairs",
    "Parameter": "gc.variable, or add_variable of a layer",
    "ParameterList": "a list of variables as an attribute",
    "PixelShuffle": "gc.reshape, gc.permute_dims and gc.reshape, in a Lambda",
    "RNN": "SimpleRNN, or gc.scan",
    "ReLU": 'Activation("relu")',
    "Rescaling": "Lambda(lambda x: x * scale + offset)",
    "SeparableConv2D": "DepthwiseConv2D, and Conv2D(filters, 1) behind it",
    "Sigmoid": 'Activation("sigmoid")',
    "SmoothL1Loss": "gc.nn.losses.huber",
    "Softmax": 'Activation("softmax")',
    "SpatialDropout2D": "drop(gc.ones((*x.shape[:2], 1, 1))) * x, with drop = Dropout(rate)",
    "Subtract": "Lambda(lambda xs: xs[0] - xs[1])",
    "Tanh": 'Activation("tanh")',
    "TimeDistributed": "the layer itself: Dense takes [batch, time, features]",
    "TransformerEncoderLayer": "TransformerBlock(heads, hidden, norm_first=False)",
    "TripletMarginLoss": "gc.relu, of near - far + margin; near and far by gc.linalg.vector_norm",
    "Unflatten": "Reshape",
    "UnitNormalization": "Lambda(gc.nn.normalize)",
    "Upsample": "UpSampling2D, or gc.interpolate",
    "ZeroPadding2D": "ZeroPad2D",
    "functional": "gc.nn.activations, gc.nn.losses and functions of gc",
    "init": "initializers",
    "utils": "what optimisers take: clip_norm, clip_value, global_clip_norm",
    **{f: f"gc.{f}" for f in ("gelu", "log_softmax", "one_hot", "relu", "sigmoid", "softmax")},
}


if not TYPE_CHECKING:  # a checker knows the names above, and so a misspelt one
    __getattr__ = finder(__name__, _HERE)
