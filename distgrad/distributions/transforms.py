"""Functions of random numbers that can be inverted, with the logarithm of how they stretch.

>>> import distgrad.distributions.transforms as transforms
>>> double = transforms.AffineTransform(0.0, 2.0)
>>> double(torch.tensor(3.0)), double.inv(torch.tensor(6.0))
(tensor(6.), tensor(3.))
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import dtypes, ops
from ..autograd import Tensor
from . import constraints

__all__ = [
    "AffineTransform", "ComposeTransform", "ExpTransform", "IndependentTransform", "PowerTransform", "SigmoidTransform",
    "SoftplusTransform", "TanhTransform", "Transform", "identity_transform",
]  # fmt: skip


class Transform:
    """An invertible function: ``t(x)``, ``t.inv(y)``, and ``log_abs_det_jacobian(x, y)``, y = t(x).

    Attributes:
        domain, codomain: the constraints of x and of y; their ``event_dim`` trailing dimensions are one value.
        bijective: whether it can be inverted; sign: of its slope, where that is one number's.
    """

    bijective = True
    domain: Any = constraints.real
    codomain: Any = constraints.real

    @property
    def sign(self) -> Any:
        """1 where it rises, -1 where it falls."""
        return 1

    @property
    def inv(self) -> Transform:
        """The inverse."""
        return _Inverse(self)

    def __call__(self, x: Any) -> Any:
        return self._call(x)

    def _call(self, x: Any) -> Any:
        raise NotImplementedError

    def _inverse(self, y: Any) -> Any:
        raise NotImplementedError

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        """log \\|dy / dx\\|."""
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and not self.__dict__

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class _Inverse(Transform):
    """The inverse of a transform."""

    def __init__(self, forward: Transform) -> None:
        self._forward = forward
        self.domain, self.codomain, self.bijective = forward.codomain, forward.domain, forward.bijective

    @property
    def sign(self) -> Any:
        return self._forward.sign

    @property
    def inv(self) -> Transform:
        return self._forward

    def __call__(self, x: Any) -> Any:
        return self._forward._inverse(x)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return -self._forward.log_abs_det_jacobian(y, x)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Inverse) and self._forward == other._forward

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"_InverseTransform({self._forward!r})"


class ExpTransform(Transform):
    """y = exp(x).

    >>> torch.distributions.transforms.ExpTransform()(torch.tensor(0.0))
    tensor(1.)
    """

    codomain = constraints.positive

    def _call(self, x: Any) -> Any:
        return x.exp()

    def _inverse(self, y: Any) -> Any:
        return y.log()

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return x


class PowerTransform(Transform):
    """y = x to the power ``exponent``, of positive x.

    >>> torch.distributions.transforms.PowerTransform(2.0)(torch.tensor(3.0))
    tensor(9.)
    """

    domain = codomain = constraints.positive

    def __init__(self, exponent: Any) -> None:
        self.exponent = exponent

    @property
    def sign(self) -> Any:
        e = self.exponent
        return e.sign() if isinstance(e, Tensor) else math.copysign(1, e)

    def _call(self, x: Any) -> Any:
        return x**self.exponent

    def _inverse(self, y: Any) -> Any:
        return y ** (1 / self.exponent)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return abs(self.exponent * y / x).log()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PowerTransform) and bool(self.exponent == other.exponent)

    __hash__ = object.__hash__


class SigmoidTransform(Transform):
    """y = 1 / (1 + exp(-x)).

    >>> torch.distributions.transforms.SigmoidTransform()(torch.tensor(0.0))
    tensor(0.5000)
    """

    codomain = constraints.unit_interval

    def _call(self, x: Any) -> Any:
        info = dtypes.finfo(x.dtype)
        return x.sigmoid().clamp(info.tiny, 1.0 - info.eps)

    def _inverse(self, y: Any) -> Any:
        info = dtypes.finfo(y.dtype)
        inside = y.clamp(info.tiny, 1.0 - info.eps)
        return inside.log() - ops.elementwise.log1p(-inside)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return -ops.nn.activation.softplus(-x) - ops.nn.activation.softplus(x)


class SoftplusTransform(Transform):
    """y = log(1 + exp(x)).

    >>> torch.distributions.transforms.SoftplusTransform()(torch.tensor(0.0))
    tensor(0.6931)
    """

    codomain = constraints.positive

    def _call(self, x: Any) -> Any:
        return ops.nn.activation.softplus(x)

    def _inverse(self, y: Any) -> Any:
        return (-ops.elementwise.expm1(-y)).log() + y

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return -ops.nn.activation.softplus(-x)


class TanhTransform(Transform):
    """y = tanh(x); of many steps in a row, its inverse is inexact near -1 and 1.

    >>> torch.distributions.transforms.TanhTransform()(torch.tensor(0.0))
    tensor(0.)
    """

    codomain = constraints.interval(-1.0, 1.0)

    def _call(self, x: Any) -> Any:
        return x.tanh()

    def _inverse(self, y: Any) -> Any:
        return ops.elementwise.atanh(y)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return 2.0 * (math.log(2.0) - x - ops.nn.activation.softplus(-2.0 * x))


class AffineTransform(Transform):
    """y = ``loc`` + ``scale`` x, numbers or tensors; of ``event_dim`` trailing dimensions as one value.

    >>> torch.distributions.transforms.AffineTransform(1.0, 2.0)(torch.tensor(3.0))
    tensor(7.)
    """

    def __init__(self, loc: Any, scale: Any, event_dim: int = 0) -> None:
        self.loc, self.scale, self.event_dim = loc, scale, event_dim
        if event_dim:
            self.domain = self.codomain = constraints.independent(constraints.real, event_dim)

    @property
    def sign(self) -> Any:
        s = self.scale
        return s.sign() if isinstance(s, Tensor) else (s > 0) - (s < 0)

    def _call(self, x: Any) -> Any:
        return self.loc + self.scale * x

    def _inverse(self, y: Any) -> Any:
        return (y - self.loc) / self.scale

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        s = self.scale
        logs = s.abs().log() if isinstance(s, Tensor) else math.log(abs(s))
        found = x * 0 + logs
        return found.sum(tuple(range(-self.event_dim, 0))) if self.event_dim else found

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AffineTransform):
            return False
        same = [a == b for a, b in ((self.loc, other.loc), (self.scale, other.scale))]
        return all(bool(s.all()) if isinstance(s, Tensor) else bool(s) for s in same)

    __hash__ = object.__hash__


def _summed(value: Any, dims: int) -> Any:
    return value.sum(tuple(range(-dims, 0))) if dims > 0 else value


class IndependentTransform(Transform):
    """``base_transform``, of which ``reinterpreted_batch_ndims`` more trailing dimensions are one value.

    >>> both = torch.distributions.transforms.IndependentTransform(torch.distributions.transforms.ExpTransform(), 1)
    >>> both.log_abs_det_jacobian(torch.ones(2), None)
    tensor(2.)
    """

    def __init__(self, base_transform: Transform, reinterpreted_batch_ndims: int) -> None:
        self.base_transform, self.reinterpreted_batch_ndims = base_transform, reinterpreted_batch_ndims
        n = reinterpreted_batch_ndims
        self.domain = constraints.independent(base_transform.domain, n)
        self.codomain = constraints.independent(base_transform.codomain, n)

    @property
    def sign(self) -> Any:
        return self.base_transform.sign

    def _call(self, x: Any) -> Any:
        return self.base_transform(x)

    def _inverse(self, y: Any) -> Any:
        return self.base_transform.inv(y)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return _summed(self.base_transform.log_abs_det_jacobian(x, y), self.reinterpreted_batch_ndims)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_transform!r}, {self.reinterpreted_batch_ndims})"


class ComposeTransform(Transform):
    """The transforms ``parts``, one after the other, the first one first.

    >>> t = torch.distributions.transforms
    >>> t.ComposeTransform([t.AffineTransform(0.0, 2.0), t.ExpTransform()]).inv(torch.tensor(1.0))
    tensor(0.)
    """

    def __init__(self, parts: Sequence[Transform]) -> None:
        self.parts = list(parts)
        if self.parts:
            self.domain, self.codomain = self.parts[0].domain, self.parts[-1].codomain
        dims = max((max(p.domain.event_dim, p.codomain.event_dim) for p in self.parts), default=0)
        self._dims = dims

    @property
    def sign(self) -> Any:
        sign: Any = 1
        for p in self.parts:
            sign = sign * p.sign
        return sign

    def _call(self, x: Any) -> Any:
        for part in self.parts:
            x = part(x)
        return x

    def _inverse(self, y: Any) -> Any:
        for part in reversed(self.parts):
            y = part.inv(y)
        return y

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        total: Any = None
        for part in self.parts:
            after = part(x)
            term = _summed(part.log_abs_det_jacobian(x, after), self._dims - part.domain.event_dim)
            total = term if total is None else total + term
            x = after
        return x * 0 if total is None else total

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ComposeTransform) and self.parts == other.parts

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return "ComposeTransform(\n    " + ",\n    ".join(repr(p) for p in self.parts) + "\n)"


identity_transform = ComposeTransform([])
