"""The operations that layers are made of."""

from __future__ import annotations

from distgrad.ops.nn.activation import (
    celu,
    elu,
    erf,
    erfc,
    gelu,
    leaky_relu,
    logsigmoid,
    mish,
    positive_part,
    prelu_of,
    relu,
    selu,
    silu,
    softplus,
)
from distgrad.ops.nn.dropout import dropout
from distgrad.ops.nn.embedding import embedding
from distgrad.ops.nn.normalization import batch_norm
from distgrad.ops.nn.piecewise import hardsigmoid, hardswish, hardtanh, relu6, softsign, tanhshrink, threshold
from distgrad.ops.nn.softmax import log_softmax, softmax, softmin

__all__ = [
    "batch_norm",
    "celu",
    "dropout",
    "elu",
    "embedding",
    "erf",
    "erfc",
    "gelu",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "log_softmax",
    "logsigmoid",
    "mish",
    "positive_part",
    "prelu_of",
    "relu",
    "relu6",
    "selu",
    "silu",
    "softmax",
    "softmin",
    "softplus",
    "softsign",
    "tanhshrink",
    "threshold",
]
