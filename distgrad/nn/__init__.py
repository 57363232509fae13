"""Layers, losses and what they are made of.

Losses are plugins: ``nn.MSELoss`` and a stranger's ``nn.FocalLoss`` both come from the registry, when first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .._names import absent as _absent
from ..ops.nn.losses import LinearCrossEntropyOptions
from . import functional, init
from .base.module import Module
from .modules.activation import (
    CELU,
    ELU,
    GELU,
    SELU,
    Hardshrink,
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
    Softshrink,
    Softsign,
    Tanh,
    Tanhshrink,
    Threshold,
)
from .modules.attention import MultiheadAttention
from .modules.batchnorm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from .modules.channels import ChannelShuffle, CrossMapLRN2d, LocalResponseNorm, Softmax2d
from .modules.class_losses import AdaptiveLogSoftmaxWithLoss, LinearCrossEntropyLoss
from .modules.containers import ModuleDict, ModuleList, Sequential
from .modules.conv import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from .modules.distance import CosineSimilarity, PairwiseDistance
from .modules.dropout import Dropout, Dropout1d, Dropout2d, Dropout3d
from .modules.embedding import Embedding
from .modules.embedding_bag import EmbeddingBag
from .modules.flatten import Flatten, Unflatten
from .modules.gates import GLU
from .modules.lazy import (
    LazyBatchNorm1d,
    LazyBatchNorm2d,
    LazyBatchNorm3d,
    LazyConv1d,
    LazyConv2d,
    LazyConv3d,
    LazyConvTranspose1d,
    LazyConvTranspose2d,
    LazyConvTranspose3d,
    LazyInstanceNorm1d,
    LazyInstanceNorm2d,
    LazyInstanceNorm3d,
    LazyLinear,
)
from .modules.linear import Bilinear, Identity, Linear
from .modules.loss import Loss, WeightedLoss
from .modules.normalization import GroupNorm, InstanceNorm1d, InstanceNorm2d, InstanceNorm3d, LayerNorm, RMSNorm
from .modules.other_pooling import (
    FractionalMaxPool2d,
    FractionalMaxPool3d,
    LPPool1d,
    LPPool2d,
    LPPool3d,
    MaxUnpool1d,
    MaxUnpool2d,
    MaxUnpool3d,
)
from .modules.padding import (
    CircularPad1d,
    CircularPad2d,
    CircularPad3d,
    ConstantPad1d,
    ConstantPad2d,
    ConstantPad3d,
    ReflectionPad1d,
    ReflectionPad2d,
    ReflectionPad3d,
    ReplicationPad1d,
    ReplicationPad2d,
    ReplicationPad3d,
    ZeroPad1d,
    ZeroPad2d,
    ZeroPad3d,
)
from .modules.parameter_containers import ParameterDict, ParameterList
from .modules.pooling import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveAvgPool3d,
    AdaptiveMaxPool1d,
    AdaptiveMaxPool2d,
    AdaptiveMaxPool3d,
    AvgPool1d,
    AvgPool2d,
    AvgPool3d,
    MaxPool1d,
    MaxPool2d,
    MaxPool3d,
)
from .modules.random_activation import AlphaDropout, FeatureAlphaDropout, RReLU
from .modules.resizing import (
    Fold,
    PixelShuffle,
    PixelUnshuffle,
    Unfold,
    Upsample,
    UpsamplingBilinear2d,
    UpsamplingNearest2d,
)
from .modules.rnn import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNBase, RNNCell, RNNCellBase
from .modules.transformer import (
    Transformer,
    TransformerDecoder,
    TransformerDecoderLayer,
    TransformerEncoder,
    TransformerEncoderLayer,
)
from .parameter import Buffer, Parameter, UninitializedBuffer, UninitializedParameter

if TYPE_CHECKING:
    from distgrad_losses.bce import BCELoss
    from distgrad_losses.bce_with_logits import BCEWithLogitsLoss
    from distgrad_losses.cosine_embedding import CosineEmbeddingLoss
    from distgrad_losses.cross_entropy import CrossEntropyLoss
    from distgrad_losses.ctc import CTCLoss
    from distgrad_losses.gaussian_nll import GaussianNLLLoss
    from distgrad_losses.hinge_embedding import HingeEmbeddingLoss
    from distgrad_losses.huber import HuberLoss
    from distgrad_losses.kl_div import KLDivLoss
    from distgrad_losses.l1 import L1Loss
    from distgrad_losses.margin_ranking import MarginRankingLoss
    from distgrad_losses.mse import MSELoss
    from distgrad_losses.multi_margin import MultiMarginLoss
    from distgrad_losses.multilabel_margin import MultiLabelMarginLoss
    from distgrad_losses.multilabel_soft_margin import MultiLabelSoftMarginLoss
    from distgrad_losses.nll import NLLLoss
    from distgrad_losses.poisson_nll import PoissonNLLLoss
    from distgrad_losses.smooth_l1 import SmoothL1Loss
    from distgrad_losses.soft_margin import SoftMarginLoss
    from distgrad_losses.triplet_margin import TripletMarginLoss
    from distgrad_losses.triplet_margin_with_distance import TripletMarginWithDistanceLoss

    from . import attention, parallel, utils
    from .parallel.one_device import DataParallel
    from .parallel.sync_batchnorm import SyncBatchNorm

__all__ = [
    "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AdaptiveLogSoftmaxWithLoss", "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d", "AdaptiveMaxPool3d", "AlphaDropout", "AvgPool1d", "AvgPool2d", "AvgPool3d", "BCELoss",
    "BCEWithLogitsLoss", "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "Bilinear", "Buffer", "CELU", "CTCLoss",
    "ChannelShuffle", "CircularPad1d", "CircularPad2d", "CircularPad3d", "ConstantPad1d", "ConstantPad2d",
    "ConstantPad3d", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d",
    "CosineEmbeddingLoss", "CosineSimilarity", "CrossEntropyLoss", "CrossMapLRN2d", "DataParallel", "Dropout",
    "Dropout1d", "Dropout2d", "Dropout3d", "ELU", "Embedding", "EmbeddingBag", "FeatureAlphaDropout", "Flatten", "Fold",
    "FractionalMaxPool2d", "FractionalMaxPool3d", "GELU", "GLU", "GRU", "GRUCell", "GaussianNLLLoss", "GroupNorm",
    "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "HingeEmbeddingLoss", "HuberLoss", "Identity",
    "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d", "KLDivLoss", "L1Loss", "LPPool1d", "LPPool2d", "LPPool3d",
    "LSTM", "LSTMCell", "LayerNorm", "LazyBatchNorm1d", "LazyBatchNorm2d", "LazyBatchNorm3d", "LazyConv1d",
    "LazyConv2d", "LazyConv3d", "LazyConvTranspose1d", "LazyConvTranspose2d", "LazyConvTranspose3d",
    "LazyInstanceNorm1d", "LazyInstanceNorm2d", "LazyInstanceNorm3d", "LazyLinear", "LeakyReLU", "Linear",
    "LinearCrossEntropyLoss", "LinearCrossEntropyOptions", "LocalResponseNorm", "LogSigmoid", "LogSoftmax", "Loss",
    "MSELoss", "MarginRankingLoss", "MaxPool1d", "MaxPool2d", "MaxPool3d", "MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d",
    "Mish", "Module", "ModuleDict", "ModuleList", "MultiLabelMarginLoss", "MultiLabelSoftMarginLoss", "MultiMarginLoss",
    "MultiheadAttention", "NLLLoss", "PReLU", "PairwiseDistance", "Parameter", "ParameterDict", "ParameterList",
    "PixelShuffle", "PixelUnshuffle", "PoissonNLLLoss", "RMSNorm", "RNN", "RNNBase", "RNNCell", "RNNCellBase", "RReLU",
    "ReLU", "ReLU6", "ReflectionPad1d", "ReflectionPad2d", "ReflectionPad3d", "ReplicationPad1d", "ReplicationPad2d",
    "ReplicationPad3d", "SELU", "Sequential", "SiLU", "Sigmoid", "SmoothL1Loss", "SoftMarginLoss", "Softmax",
    "Softmax2d", "Softmin", "Softplus", "Softshrink", "Softsign", "SyncBatchNorm", "Tanh", "Tanhshrink", "Threshold",
    "Transformer", "TransformerDecoder", "TransformerDecoderLayer", "TransformerEncoder", "TransformerEncoderLayer",
    "TripletMarginLoss", "TripletMarginWithDistanceLoss", "Unflatten", "Unfold", "UninitializedBuffer",
    "UninitializedParameter", "Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d", "WeightedLoss", "ZeroPad1d",
    "ZeroPad2d", "ZeroPad3d", "attention", "functional", "get_loss", "init", "parallel", "utils",
]  # fmt: skip


def _registry() -> Any:
    from .. import registry  # reads what is installed with modules that take long to import, and many need no loss

    return registry


def get_loss(name: str) -> type[Module]:
    """The loss registered as ``name``, such as ``"mse"``, or whose class is called so, such as ``"MSELoss"``.

    Raises:
        distgrad.registry.UnknownPluginError: no plugin offers it; the message names those that are.

    >>> nn.get_loss("mse").__name__, nn.get_loss("CrossEntropyLoss").__name__
    ('MSELoss', 'CrossEntropyLoss')
    """
    return _registry().get("loss", name)


def __getattr__(name: str) -> Any:
    if name in ("attention", "parallel", "utils"):  # they import more than many ever need
        return importlib.import_module("." + name, __name__)
    if name in ("DataParallel", "SyncBatchNorm"):
        return getattr(importlib.import_module(".parallel", __name__), name)
    if name.startswith("_"):  # probes of the interpreter and of tools, which need no plugin loaded
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = _registry().get_class("loss", name)
    if found is None:
        broken = _registry().broken()
        also = f"plugins that could not be loaded: {', '.join(broken)}" if broken else ""
        raise _absent(__name__, name, "layer, loss or module", __dir__(), also)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*__all__, *_registry().class_names("loss"), *(n for n in globals() if n.startswith("__"))})
