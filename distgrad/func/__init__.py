"""Functions made of functions: derivatives, batches, modules as functions of their parameters."""

from __future__ import annotations

from .batching import vmap
from .calling import functional_call, stack_module_state
from .derivatives import (
    grad,
    grad_and_value,
    hessian,
    hvp,
    jacfwd,
    jacrev,
    jvp,
    linearize,
    value_and_grad,
    vjp,
)

__all__ = [
    "functional_call", "grad", "grad_and_value", "hessian", "hvp", "jacfwd", "jacrev", "jvp", "linearize",
    "stack_module_state", "value_and_grad", "vjp", "vmap",
]  # fmt: skip
