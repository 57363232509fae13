"""The tape: tensors, the graph of what was done to them, and its differentiation.  Knows no op, layer or rank."""

from __future__ import annotations

import importlib
from typing import Any

from . import (
    copying as _copying,  # noqa: F401 - attaches itself to Tensor
    gradient_edges as _gradient_edges,
    graph,
    node_hooks as _node_hooks,  # noqa: F401 - attaches itself to Node
    numpy_functions as _numpy_functions,  # noqa: F401 - likewise
    saved_tensors as _saved_tensors,
    saved_values as _saved_values,  # noqa: F401 - likewise to Node
    several_hooks as _several_hooks,
)
from .anomaly_mode import detect_anomaly, set_detect_anomaly
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
from .variable import Variable

for _room in (_gradient_edges, _saved_tensors, _several_hooks):  # PyTorch's names for them are in autograd.graph
    for _name in _room.__all__:
        setattr(graph, _name, getattr(_room, _name))



def __getattr__(name: str) -> Any:
    if name in ("forward_ad", "functional"):  # they are made of operations, which come after this package
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Function",
    "FunctionCtx",
    "GradcheckError",
    "RemovableHandle",
    "Size",
    "Tensor",
    "Variable",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "fused",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "graph",
    "inference_mode",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "no_grad",
    "once_differentiable",
    "primitive",
    "queue_callback",
    "set_detect_anomaly",
    "set_grad_enabled",
]
