"""What values a parameter or a sample may have: each has ``check(value)``, which says so element by element."""

from __future__ import annotations

from typing import Any

from .. import ops
from ..autograd import Tensor

__all__ = [
    "Constraint", "boolean", "greater_than", "greater_than_eq", "half_open_interval", "independent", "integer_interval",
    "interval", "lower_cholesky", "multinomial", "nonnegative", "nonnegative_integer", "positive", "positive_definite",
    "positive_integer", "real", "real_vector", "simplex", "unit_interval",
]  # fmt: skip


class Constraint:
    """A condition on values: ``event_dim`` trailing dimensions are one value.

    >>> torch.distributions.constraints.positive.check(torch.tensor([1.0, -1.0]))
    tensor([ True, False])
    """

    event_dim = 0
    is_discrete = False

    def check(self, value: Tensor) -> Tensor:
        """A bool for each value: whether it is one of these."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__.lstrip('_')}()"


class _Real(Constraint):
    def check(self, value: Any) -> Any:
        return value == value  # not nan


class _RealVector(Constraint):
    event_dim = 1

    def check(self, value: Any) -> Any:
        return ops.reduction.all(value == value, -1)

    def __repr__(self) -> str:
        return "IndependentConstraint(Real(), 1)"


class _Boolean(Constraint):
    is_discrete = True

    def check(self, value: Any) -> Any:
        return (value == 0) | (value == 1)


class _GreaterThan(Constraint):
    def __init__(self, lower_bound: Any) -> None:
        self.lower_bound = lower_bound

    def check(self, value: Any) -> Any:
        return value > self.lower_bound

    def __repr__(self) -> str:
        return f"GreaterThan(lower_bound={self.lower_bound})"


class _GreaterThanEq(_GreaterThan):
    def check(self, value: Any) -> Any:
        return value >= self.lower_bound

    def __repr__(self) -> str:
        return f"GreaterThanEq(lower_bound={self.lower_bound})"


class _IntegerGreaterThan(_GreaterThan):
    is_discrete = True

    def check(self, value: Any) -> Any:
        return (value % 1 == 0) & (value >= self.lower_bound)

    def __repr__(self) -> str:
        return f"IntegerGreaterThan(lower_bound={self.lower_bound})"


class _Interval(Constraint):
    def __init__(self, lower_bound: Any, upper_bound: Any) -> None:
        self.lower_bound, self.upper_bound = lower_bound, upper_bound

    def check(self, value: Any) -> Any:
        return (value >= self.lower_bound) & (value <= self.upper_bound)

    def __repr__(self) -> str:
        name = type(self).__name__.lstrip("_")
        return f"{name}(lower_bound={self.lower_bound}, upper_bound={self.upper_bound})"


class _IntegerInterval(_Interval):
    is_discrete = True

    def check(self, value: Any) -> Any:
        return (value % 1 == 0) & (value >= self.lower_bound) & (value <= self.upper_bound)


class _HalfOpenInterval(_Interval):
    def check(self, value: Any) -> Any:
        return (value >= self.lower_bound) & (value < self.upper_bound)


class _Multinomial(Constraint):
    is_discrete = True
    event_dim = 1

    def __init__(self, upper_bound: Any) -> None:
        self.upper_bound = upper_bound

    def check(self, value: Any) -> Any:
        return ops.reduction.all(value >= 0, -1) & (value.sum(-1) <= self.upper_bound)


class _Independent(Constraint):
    """``base``, of which ``dims`` more trailing dimensions are one value."""

    def __init__(self, base: Constraint, dims: int) -> None:
        self.base, self.dims = base, dims
        self.event_dim, self.is_discrete = base.event_dim + dims, base.is_discrete

    def check(self, value: Any) -> Any:
        found: Any = self.base.check(value)
        return ops.reduction.all(found.flatten(-self.dims), -1) if self.dims else found

    def __repr__(self) -> str:
        return f"IndependentConstraint({self.base!r}, {self.dims})"


class _Simplex(Constraint):
    event_dim = 1

    def check(self, value: Any) -> Any:
        return ops.reduction.all(value >= 0, -1) & ((value.sum(-1) - 1).abs() < 1e-6)


class _LowerCholesky(Constraint):
    event_dim = 2

    def check(self, value: Any) -> Any:
        lower: Any = ops.reduction.all((value.tril() == value).flatten(-2), -1)
        return lower & ops.reduction.all(value.diagonal(dim1=-2, dim2=-1) > 0, -1)


class _PositiveDefinite(Constraint):
    event_dim = 2

    def check(self, value: Any) -> Any:
        symmetric = ops.reduction.all((abs(value - value.mT) <= 1e-6 + 1e-5 * value.mT.abs()).flatten(-2), -1)
        if not bool(symmetric.all()):
            return symmetric
        found = [_is_definite(m) for m in value.reshape(-1, *value.shape[-2:])]
        return ops.creation.tensor(found, device=value.device).reshape(value.shape[:-2])


def _is_definite(matrix: Tensor) -> bool:
    try:
        ops.linalg.decompositions.cholesky(matrix.detach())
    except (RuntimeError, ValueError):
        return False
    return True


real, real_vector, boolean, simplex = _Real(), _RealVector(), _Boolean(), _Simplex()
positive, nonnegative = _GreaterThan(0.0), _GreaterThanEq(0.0)
nonnegative_integer, unit_interval = _IntegerGreaterThan(0), _Interval(0.0, 1.0)
lower_cholesky, positive_definite = _LowerCholesky(), _PositiveDefinite()
positive_integer = _IntegerGreaterThan(1)
greater_than, greater_than_eq, interval, integer_interval = _GreaterThan, _GreaterThanEq, _Interval, _IntegerInterval
half_open_interval, independent, multinomial = _HalfOpenInterval, _Independent, _Multinomial
