"""Layers, losses and what they are made of.

Losses are plugins: ``nn.MSELoss`` and a stranger's ``nn.FocalLoss`` both come from the registry, when first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from . import functional, init
from .activation import (
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
from .containers import ModuleDict, ModuleList, Sequential
from .dropout import Dropout
from .flatten import Flatten, Unflatten
from .linear import Identity, Linear
from .loss import Loss, WeightedLoss
from .module import Module
from .parameter import Buffer, Parameter
from .parameter_containers import ParameterDict, ParameterList

if TYPE_CHECKING:
    from distgrad_losses.bce import BCELoss
    from distgrad_losses.bce_with_logits import BCEWithLogitsLoss
    from distgrad_losses.cross_entropy import CrossEntropyLoss
    from distgrad_losses.l1 import L1Loss
    from distgrad_losses.mse import MSELoss
    from distgrad_losses.nll import NLLLoss

    from . import parallel

__all__ = [
    "BCELoss", "BCEWithLogitsLoss", "Buffer", "CELU", "CrossEntropyLoss", "Dropout", "ELU", "Flatten", "GELU",
    "Hardsigmoid", "Hardswish", "Hardtanh", "Identity", "L1Loss", "LeakyReLU", "Linear", "LogSigmoid", "LogSoftmax",
    "Loss", "MSELoss", "Mish", "Module", "ModuleDict", "ModuleList", "NLLLoss", "PReLU", "Parameter", "ParameterDict",
    "ParameterList", "ReLU", "ReLU6", "SELU", "Sequential", "SiLU", "Sigmoid", "Softmax", "Softmin", "Softplus",
    "Softsign", "Tanh", "Tanhshrink", "Threshold", "Unflatten", "WeightedLoss", "functional", "get_loss", "init",
    "parallel",
]  # fmt: skip


def _registry() -> Any:
    from .. import registry  # reads what is installed with modules that take long to import, and many need no loss

    return registry


def get_loss(name: str) -> type[Module]:
    """The loss registered as ``name``, such as ``"mse"``, or whose class is called so, such as ``"MSELoss"``.

    Raises:
        distgrad.registry.UnknownPluginError: no plugin offers it; the message names those that are.
    """
    return _registry().get("loss", name)


def __getattr__(name: str) -> Any:
    if name == "parallel":  # imports the distributed part, which a lone process may never need
        return importlib.import_module(".parallel", __name__)
    if name.startswith("_"):  # probes of the interpreter and of tools, which need no plugin loaded
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = _registry().get_class("loss", name)
    if found is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}: {_registry().explain('loss', name)}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*__all__, *_registry().class_names("loss"), *(n for n in globals() if n.startswith("__"))})
