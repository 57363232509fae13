"""The tape: tensors, the graph of what was done to them, and its differentiation.  Knows no op, layer or rank."""

from __future__ import annotations

from . import copying as _copying  # noqa: F401 - attaches itself to Tensor
from .backward import backward, grad
from .description import Size
from .engine import queue_callback
from .function import Function, FunctionCtx, once_differentiable
from .fused import fused
from .grad_mode import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from .gradcheck import GradcheckError, gradcheck, gradgradcheck
from .graph import RemovableHandle
from .primitive import primitive
from .tensor import Tensor

__all__ = [
    "Function",
    "FunctionCtx",
    "GradcheckError",
    "RemovableHandle",
    "Size",
    "Tensor",
    "backward",
    "enable_grad",
    "fused",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "inference_mode",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "no_grad",
    "once_differentiable",
    "primitive",
    "queue_callback",
    "set_grad_enabled",
]
