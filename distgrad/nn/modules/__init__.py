"""The layers, containers and losses, by family."""

from __future__ import annotations

from distgrad.nn.modules.activation import (
    CELU,
    ELU,
    GELU,
    SELU,
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    Mish,
    PReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Softmin,
    Softplus,
    Softsign,
    Tanh,
    Tanhshrink,
    Threshold,
)
from distgrad.nn.modules.batchnorm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from distgrad.nn.modules.containers import ModuleDict, ModuleList, Sequential, pairs
from distgrad.nn.modules.dropout import Dropout
from distgrad.nn.modules.embedding import Embedding
from distgrad.nn.modules.flatten import Flatten, Unflatten
from distgrad.nn.modules.linear import Identity, Linear
from distgrad.nn.modules.loss import Loss, WeightedLoss
from distgrad.nn.modules.parameter_containers import ParameterDict, ParameterList

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "CELU",
    "Dropout",
    "ELU",
    "Embedding",
    "Flatten",
    "GELU",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "Identity",
    "LeakyReLU",
    "Linear",
    "LogSigmoid",
    "LogSoftmax",
    "Loss",
    "Mish",
    "ModuleDict",
    "ModuleList",
    "PReLU",
    "ParameterDict",
    "ParameterList",
    "ReLU",
    "ReLU6",
    "SELU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softmin",
    "Softplus",
    "Softsign",
    "Tanh",
    "Tanhshrink",
    "Threshold",
    "Unflatten",
    "WeightedLoss",
    "pairs",
]
