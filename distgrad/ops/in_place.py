"""In-place forms of operations that are defined elsewhere: ``x.sin_()``, ``x.addmm_(a, b)``, ``x.unsqueeze_(0)``.

Those of the commonest operations are declared beside them, by a second name; here is the rest, in three tables.
"""

from __future__ import annotations

import functools
from typing import Any

from ..autograd import Tensor
from ..autograd.grad_mode import recording
from ..autograd.graph import Cell
from ..autograd.primitive import REGISTRY
from ..autograd.views import check_writable, inplace, wants_grad
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
    "addmm", "addmv", "baddbmm", "clamp_max", "clamp_min", "cumsum", "eq", "ge", "gt", "le", "lt", "ne", "tril",
    "triu",
]  # fmt: skip
# The tensor itself takes another shape over the same memory.
_TURNED = ["squeeze", "swapaxes", "swapdims", "t", "transpose", "unsqueeze"]  # fmt: skip


def _copied(name: str) -> Any:
    made = getattr(Tensor, name)

    @functools.wraps(made)
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        before = self.clone() if recording.enabled and wants_grad(self) else self  # what rules read is not written to
        return self.copy_(made(before, *args, **kwargs))

    return method


def _turned(name: str) -> Any:
    made = getattr(Tensor, name)

    @functools.wraps(made)
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if recording.enabled and wants_grad(self):
            check_writable(self)
        if self._view is not None:
            whole = self
        else:  # who holds the memory from now on; what was made a view of this tensor before no longer follows it
            if self._vc is None:
                self._vc = Cell()
            whole = Tensor._wrap(self._data, self._node)
            whole._vc = self._vc
        made(whole, *args, **kwargs)  # for its errors, before anything is changed
        self._bump()  # where this tensor is saved for a backward pass, that had another shape
        if whole._view is not None:
            whole._view.generation = self._vc.generation  # type: ignore[union-attr]
        turned = made(whole, *args, **kwargs)
        self._data, self._node, self._view, self._vc = turned._data, turned._node, turned._view, turned._vc
        return self

    return method


def publish() -> None:
    """Attach them all; called once every family is there."""
    for name in _WRITTEN:
        attach(name + "_", inplace(REGISTRY[name], name + "_"))
    for forms, kind in ((_COPIED, _copied), (_TURNED, _turned)):
        for name in forms:
            method = kind(name)
            method.__name__ = method.__qualname__ = name + "_"
            method.__doc__ = f"In-place version of :func:`{name}`."
            attach(name + "_", method)
    for name, other in _OTHERWISE.items():
        attach(name + "_", getattr(Tensor, other + "_"))
