"""In-place forms of operations that are defined elsewhere: ``x.sin_()``, ``x.addmm_(a, b)``.

Those of the commonest operations are declared beside them, by a second name; here is the rest, in tables.
"""

from __future__ import annotations

import functools
from typing import Any

from .._arguments import kind_of
from ..autograd import Tensor
from ..autograd.grad_mode import recording
from ..autograd.primitive import REGISTRY
from ..autograd.tensor import TENSORS
from ..autograd.views import inplace, wants_grad
from ._declare import attach

# The form that ends in _ writes the primitive's result.
_WRITTEN = [
    "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "conj_physical", "cos", "cosh", "erf", "erfc", "exp2",
    "expm1", "floor_divide", "frac", "log10", "log1p", "log2", "rsqrt", "sgn", "sign", "sin", "sinh", "square", "tan",
    "xlogy",
]  # fmt: skip
# By another name: the name and what it is another of.
_OTHERWISE = {
    "absolute": "abs", "arccos": "acos", "arccosh": "acosh", "arcsin": "asin", "arcsinh": "asinh", "arctan": "atan",
    "arctan2": "atan2", "arctanh": "atanh", "fix": "trunc", "greater": "gt", "greater_equal": "ge", "less": "lt",
    "less_equal": "le", "negative": "neg", "not_equal": "ne",
}  # fmt: skip
# Made of several operations, or of another dtype: the result is copied.
_COPIED = [
    "addbmm", "addmm", "addmv", "addr", "baddbmm", "clamp_max", "clamp_min", "eq", "ge", "gt", "le", "lt", "ne",
]  # fmt: skip


def _copied(name: str) -> Any:
    made = getattr(Tensor, name)

    @functools.wraps(made)
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        before = self.clone() if recording.enabled and wants_grad(self) else self  # what rules read is not written to
        return self.copy_(made(before, *args, **kwargs))

    return method


@functools.cache
def as_function(name: str) -> Any:
    """Tensor's method ``name`` as a function of the tensor; TypeError for anything else in its place."""
    method = getattr(Tensor, name)

    @functools.wraps(method)
    def function(input: Tensor, *args: Any, **kwargs: Any) -> Any:
        if input.__class__ not in TENSORS:
            raise TypeError(f"{name}(): argument 'input' (position 1) must be Tensor, not {kind_of(input)}")
        return method(input, *args, **kwargs)

    function.__name__ = function.__qualname__ = name
    return function


def publish() -> None:
    """Attach them all; called once every family is there."""
    for name in _WRITTEN:
        attach(name + "_", inplace(REGISTRY[name], name + "_"))
    for name in _COPIED:
        method = _copied(name)
        method.__name__ = method.__qualname__ = name + "_"
        method.__doc__ = f"In-place version of :func:`{name}`."
        attach(name + "_", method)
    for name, other in _OTHERWISE.items():
        attach(name + "_", getattr(Tensor, other + "_"))
