"""How parameters start.  Every function fills its tensor in place, unrecorded, and returns it."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np

from .. import backend, dtypes, random
from .._arguments import checked
from .._names import absent as _absent
from ..autograd import Tensor, no_grad

__all__ = [
    "calculate_gain", "constant_", "dirac_", "eye_", "kaiming_normal_", "kaiming_uniform_", "normal_", "ones_",
    "orthogonal_", "sparse_", "trunc_normal_", "uniform_", "xavier_normal_", "xavier_uniform_", "zeros_",
]  # fmt: skip

_skipping: ContextVar[bool] = ContextVar("whether initialization is _skipped", default=False)
_CONVOLUTIONS = [f"conv{transposed}{n}d" for transposed in ("", "_transpose") for n in (1, 2, 3)]
_GAINS = {"tanh": 5 / 3, "relu": math.sqrt(2), "selu": 0.75} | dict.fromkeys(["linear", *_CONVOLUTIONS, "sigmoid"], 1.0)


@contextlib.contextmanager
def _skipped() -> Iterator[None]:
    """Let every function of this module leave its tensor as it is, until the context ends."""
    token = _skipping.set(True)
    try:
        yield
    finally:
        _skipping.reset(token)


def _left(tensor: Tensor) -> bool:
    """Whether it is to stay as it is, or has no elements to be set."""
    return _skipping.get() or tensor.is_meta


@checked
def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor on a standard deviation that keeps variance through ``nonlinearity``; ``param`` is leaky_relu's slope.

    ValueError for an unknown nonlinearity.

    >>> round(nn.init.calculate_gain("relu"), 4)
    1.4142
    """
    if nonlinearity in _GAINS:
        return _GAINS[nonlinearity]
    if nonlinearity != "leaky_relu":
        known = ", ".join([*_GAINS, "leaky_relu"])
        raise ValueError(f"Unsupported nonlinearity {nonlinearity}; the possible ones are: {known}")
    if param is not None and (isinstance(param, bool) or not isinstance(param, (int, float))):
        raise ValueError(f"negative_slope {param} not a valid number")
    return math.sqrt(2 / (1 + (0.01 if param is None else param) ** 2))


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """How many inputs an output element has, and how many outputs an input element: of a weight (out, in, *kernel)."""
    shape = tensor.shape
    if len(shape) < 2:
        raise ValueError(
            "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions; "
            f"this one has shape {list(shape)}"
        )
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def _fan(tensor: Tensor, mode: str) -> int:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    return _calculate_fan_in_and_fan_out(tensor)[mode == "fan_out"]


@checked
def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform on [a, b).

    >>> w = nn.init.uniform_(torch.empty(100), 2.0, 3.0)
    >>> bool(((w >= 2) & (w < 3)).all())
    True
    """
    with no_grad():
        return tensor if _left(tensor) else tensor.uniform_(a, b, generator=generator)


@checked
def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Normal.

    >>> nn.init.normal_(torch.empty(3), mean=10.0, std=0.0)
    tensor([10., 10., 10.])
    """
    with no_grad():
        return tensor if _left(tensor) else tensor.normal_(mean, std, generator=generator)


@checked
def constant_(tensor: Tensor, val: float) -> Tensor:
    """``val`` everywhere.

    >>> nn.init.constant_(torch.empty(2), 0.5)
    tensor([0.5000, 0.5000])
    """
    with no_grad():
        return tensor if _left(tensor) else tensor.fill_(val)


@checked
def ones_(tensor: Tensor) -> Tensor:
    """Ones.

    >>> nn.init.ones_(torch.empty(2))
    tensor([1., 1.])
    """
    return constant_(tensor, 1.0)


@checked
def zeros_(tensor: Tensor) -> Tensor:
    """Zeros.

    >>> nn.init.zeros_(torch.empty(2))
    tensor([0., 0.])
    """
    return constant_(tensor, 0.0)


def _overwritten(tensor: Tensor, array: Any) -> Tensor:
    """``tensor`` with the values of a NumPy array of its shape."""
    if _left(tensor):
        return tensor
    here = backend.to_device(array.astype(tensor._data.dtype), tensor.device)
    with no_grad():
        return tensor.copy_(Tensor._wrap(here, None))


@checked
def eye_(tensor: Tensor) -> Tensor:
    """Ones on the diagonal of a matrix, zeros elsewhere; ValueError for another rank.

    >>> nn.init.eye_(torch.empty(2, 2))
    tensor([[1., 0.],
            [0., 1.]])
    """
    if tensor.ndim != 2:
        raise ValueError(f"Only tensors with 2 dimensions are supported; this one has shape {list(tensor.shape)}")
    return _overwritten(tensor, np.eye(*tensor.shape))


@checked
def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """The weight of a convolution, (O, C, *kernel_size), that passes as many of its channels on as it can: a one in the
    middle of the kernel from channel i to channel i, of each of ``groups`` by itself, zeros elsewhere.

    ValueError for another rank than 3 to 5, or O that is no multiple of ``groups``.

    >>> nn.init.dirac_(torch.empty(2, 1, 3))
    tensor([[[0., 1., 0.]],
    <BLANKLINE>
            [[0., 0., 0.]]])
    """
    if tensor.ndim not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    if tensor.shape[0] % groups:
        raise ValueError("dim 0 must be divisible by groups")
    made = np.zeros(tuple(tensor.shape))
    out = tensor.shape[0] // groups
    middle = tuple([n // 2 for n in tensor.shape[2:]])
    for group in range(groups):
        for i in range(min(out, tensor.shape[1])):
            made[(group * out + i, i, *middle)] = 1
    return _overwritten(tensor, made)


@checked
def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Any = None) -> Tensor:
    """Normal, but in each column of a matrix the share ``sparsity`` of the rows, drawn at random, is zero (Martens
    2010, "Deep learning via Hessian-free optimization"); ValueError for another rank.

    >>> (nn.init.sparse_(torch.empty(10, 2), sparsity=0.25) == 0).sum(0)
    tensor([3, 3])
    """
    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    if _left(tensor):
        return tensor
    source = generator or random.default_generator
    rows, columns = tensor.shape
    made = source.normal((rows, columns), dtypes.float64, 0.0, std)
    for column in range(columns):
        made[source.permutation(rows)[: math.ceil(sparsity * rows)], column] = 0
    return _overwritten(tensor, made)


@checked
def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform with variance gain² · 2 / (fan_in + fan_out) (Glorot & Bengio 2010).

    >>> bool((nn.init.xavier_uniform_(torch.empty(3, 3)).abs() <= 1).all())
    True
    """
    bound = gain * math.sqrt(6 / sum(_calculate_fan_in_and_fan_out(tensor)))
    return uniform_(tensor, -bound, bound, generator)


@checked
def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Normal with variance gain² · 2 / (fan_in + fan_out) (Glorot & Bengio 2010).

    >>> nn.init.xavier_normal_(torch.empty(3, 5)).shape
    torch.Size([3, 5])
    """
    return normal_(tensor, 0.0, gain * math.sqrt(2 / sum(_calculate_fan_in_and_fan_out(tensor))), generator)


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    return calculate_gain(nonlinearity, a) / math.sqrt(_fan(tensor, mode))


def _is_empty(tensor: Tensor) -> bool:
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
        return True
    return False


@checked
def kaiming_uniform_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None
) -> Tensor:
    """Uniform with variance gain² / fan (He et al. 2015, arXiv:1502.01852); ``a`` is leaky_relu's slope.

    >>> bool((nn.init.kaiming_uniform_(torch.empty(3, 6)).abs() <= 1).all())
    True
    """
    if _is_empty(tensor):
        return tensor
    bound = math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


@checked
def kaiming_normal_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None
) -> Tensor:
    """Normal with variance gain² / fan (He et al. 2015, arXiv:1502.01852); ``a`` is leaky_relu's slope.

    >>> nn.init.kaiming_normal_(torch.empty(3, 5)).shape
    torch.Size([3, 5])
    """
    if _is_empty(tensor):
        return tensor
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), generator)


@checked
def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator: Any = None
) -> Tensor:
    """Normal, but drawn from [a, b] alone: by the inverse of the cumulative distribution.

    >>> bool((nn.init.trunc_normal_(torch.empty(100), a=-1.0, b=1.0).abs() <= 1).all())
    True
    """
    from scipy.special import ndtr, ndtri  # takes long to import, and few need it

    if not a <= b:
        raise ValueError(f"trunc_normal_ expects a <= b, but got a={a} > b={b}")
    if _left(tensor):
        return tensor
    drawn = (generator or random.default_generator).uniform(tuple(tensor.shape), dtypes.float64)
    low, high = ndtr((a - mean) / std), ndtr((b - mean) / std)
    return _overwritten(tensor, np.clip(ndtri(low + drawn * (high - low)) * std + mean, a, b))


@checked
def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """A (semi-)orthogonal matrix, evenly distributed (Saxe et al. 2013, arXiv:1312.6120), of (rows, all other
    dimensions); ValueError for fewer than two dimensions.

    >>> w = nn.init.orthogonal_(torch.empty(3, 3))
    >>> torch.allclose(w @ w.T, torch.eye(3), atol=1e-6)
    True
    """
    if tensor.ndim < 2:
        raise ValueError(
            f"Only tensors with 2 or more dimensions are supported; this one has shape {list(tensor.shape)}"
        )
    if tensor.numel() == 0:
        return tensor
    rows = tensor.shape[0]
    columns = tensor.numel() // rows
    if _left(tensor):
        return tensor
    drawn = (generator or random.default_generator).normal((max(rows, columns), min(rows, columns)), dtypes.float64)
    q, r = np.linalg.qr(drawn)
    q *= np.where(np.diag(r) < 0, -1.0, 1.0)  # the decomposition's free signs would make some matrices likelier
    return _overwritten(tensor, gain * (q if rows >= columns else q.T).reshape(tuple(tensor.shape)))


def __getattr__(name: str) -> Any:
    if name.startswith("_"):  # probes of the interpreter and of tools
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    raise _absent(__name__, name, "initialization", __all__)
