"""Random tensors: new ones, and those that are filled in place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import backend, dtypes, random
from .._arguments import checked, is_number, kind_of, whole
from ..autograd import Tensor
from ._declare import Device, DType, aside, method, raw, sized, sizes
from ._numbers import fitting
from .creation import _like, _made, _number, _too_large, from_array

__all__ = [
    "bernoulli", "get_rng_state", "multinomial", "normal", "rand", "rand_like", "randint", "randn", "randn_like",
    "randperm", "set_rng_state",
]  # fmt: skip


def _random(sample: Any, shape: tuple[int, ...], dtype: Any, device: Any, requires_grad: bool) -> Tensor:
    kind = dtypes.computed_in(dtypes.as_dtype(dtype or dtypes.get_default_dtype()), sample.__name__)
    if any(d < 0 for d in shape):
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(shape)}: {list(shape)}")
    try:
        drawn = sample(shape, kind)
    except (MemoryError, OverflowError, ValueError) as e:
        raise _too_large(shape, e) from None
    return _made(drawn, device, requires_grad)


@checked
def rand(
    *size: int | Sequence[int],
    generator: random.Generator | None = None,
    dtype: DType = None,
    device: Device = None,
    requires_grad: bool = False,
    **names: Any,
) -> Tensor:
    """Uniform on [0, 1).

    >>> torch.rand(2, 3).shape
    torch.Size([2, 3])
    """
    if names:
        size = sized("rand", size, names)
    return _random((generator or random.default_generator).uniform, sizes(size), dtype, device, requires_grad)


@checked
def randn(
    *size: int | Sequence[int],
    generator: random.Generator | None = None,
    dtype: DType = None,
    device: Device = None,
    requires_grad: bool = False,
    **names: Any,
) -> Tensor:
    """Normal, mean 0, variance 1.

    >>> torch.randn(2, 3).shape
    torch.Size([2, 3])
    """
    if names:
        size = sized("randn", size, names)
    return _random((generator or random.default_generator).normal, sizes(size), dtype, device, requires_grad)


@checked
def randint(
    low: Any = None,
    high: Any = None,
    size: Any = None,
    *,
    generator: random.Generator | None = None,
    dtype: DType = None,
    device: Device = None,
    requires_grad: bool = False,
    **names: Any,
) -> Tensor:
    """Integers from ``low`` (default 0, inclusive) to ``high`` (exclusive), equally likely; int64.

    >>> sorted(set(torch.randint(0, 3, (100,)).tolist()))
    [0, 1, 2]
    """
    aside("randint", names)
    if size is None:
        low, high, size = 0, low, high
    elif high is None:
        low, high = 0, low
    low, high = whole(0 if low is None else low), whole(high)
    kind = dtypes.computed_in(dtypes.as_dtype(dtype or dtypes.int64), "random_from_to")
    made = _integers(generator or random.default_generator, sizes((size,)), kind, low, high)
    return _made(made, device, requires_grad)


def _integers(generator: random.Generator, shape: tuple[int, ...], kind: dtypes.dtype, low: int, high: int) -> Any:
    """Random integers from ``low`` to ``high`` - 1, drawn as int64 and of type ``kind``, which must hold both."""
    if high <= low:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    if kind.category < 2:
        least, most = (0, 1) if kind.category == 0 else (dtypes.iinfo(kind).min, dtypes.iinfo(kind).max)
        for name, bound in (("from", low), ("to - 1", high - 1)):
            if not least <= bound <= most:
                raise RuntimeError(f"{name} is out of bounds for {kind.tensor_type[:-6]}")
    return generator.integers(low, high, shape, dtypes.int64).astype(kind.np)


def _drawn(
    generator: random.Generator, shape: tuple[int, ...], kind: dtypes.dtype, low: int = 0, high: int | None = None,
    **names: Any,
) -> Any:  # fmt: skip
    """What ``random_()`` fills in: integers from 0, or ``from``, below ``to``, or all that the type holds."""
    low, high = names.pop("from", low), names.pop("to", high)
    if names:
        raise TypeError(f"random_() got an unexpected keyword argument '{next(iter(names))}'")
    return _integers(generator, shape, kind, low, random._held(kind)[1] + 1 if high is None else high)


@checked
def randperm(
    n: int,
    *,
    generator: random.Generator | None = None,
    dtype: DType = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """A random order of 0 … n-1; int64.

    >>> sorted(torch.randperm(4).tolist())
    [0, 1, 2, 3]
    """
    kind = dtypes.as_dtype(dtype or dtypes.int64)
    made = (generator or random.default_generator).permutation(n)
    if n:
        fitting(n - 1, kind.np)
    return _made(made.astype(kind.np), device, requires_grad)


@checked
def normal(
    mean: Tensor | float,
    std: Tensor | float = 1.0,
    size: Sequence[int] | None = None,
    *,
    generator: random.Generator | None = None,
    dtype: DType = None,
    device: Device = None,
) -> Tensor:
    """Normal with the mean(s) and standard deviation(s) given, in their shape or ``size``.

    RuntimeError for a standard deviation below 0 (a tensor on a device is not looked at, which would wait).

    >>> torch.normal(0.0, 1.0, (2, 3)).shape
    torch.Size([2, 3])
    """
    if isinstance(std, Tensor):
        if isinstance(std._data, np.ndarray) and not bool((std._data >= 0).all()):
            raise RuntimeError("normal expects all elements of std >= 0.0")
    elif not std >= 0:  # nor NaN
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std:g}")
    if dtype is None:
        dtype = next((t.dtype for t in (mean, std) if isinstance(t, Tensor) and t.dtype.category > 1), None)
    if size is None:
        size = np.broadcast_shapes(np.shape(raw(mean)), np.shape(raw(std)))
    return randn(*size, generator=generator, dtype=dtype, device=device) * std + mean


rand_like = _like(
    "rand_like",
    rand,
    """Uniform on [0, 1) in the shape, dtype and device of ``input``.

    >>> torch.rand_like(torch.zeros(2, 3)).shape
    torch.Size([2, 3])
    """,
)
randn_like = _like(
    "randn_like",
    randn,
    """Standard normal in the shape, dtype and device of ``input``.

    >>> torch.randn_like(torch.zeros(2, 3)).shape
    torch.Size([2, 3])
    """,
)


@checked
def bernoulli(input: Tensor, *, generator: random.Generator | None = None) -> Tensor:
    """1 with the probability that ``input`` says, else 0, elementwise; RuntimeError for what is no probability (on a
    device it is not looked at, which would wait).

    >>> torch.bernoulli(torch.tensor([0.0, 1.0]))
    tensor([0., 1.])
    """
    p = input._data
    if isinstance(p, np.ndarray) and not bool(((p >= 0) & (p <= 1)).all()):
        raise RuntimeError("bernoulli expects all elements of the input to be probabilities, in [0, 1]")
    return (rand(*input.shape, generator=generator, device=input.device, dtype=input.dtype) < input).to(input.dtype)


def _filler(name: str, draw: Any, doc: str) -> None:
    def fill(self, *args, generator=None, **kwargs):
        for role, value in (*enumerate(args, 1), *kwargs.items()):
            if not is_number(value) and not (value is None and name == "random_"):
                word = f"argument {role}" if role.__class__ is int else f"argument '{role}'"
                raise TypeError(f"{name}(): {word} must be Number, not {kind_of(value)}")
        args = tuple([_number(a) for a in args])
        dtypes.computed_in(self.dtype, name)
        values = draw(generator or random.default_generator, tuple(self._data.shape), self.dtype, *args, **kwargs)
        return _overwrite(self, values)

    fill.__name__ = fill.__qualname__ = name
    fill.__doc__ = doc
    setattr(Tensor, name, fill)


def _overwrite(self: Tensor, values: Any) -> Tensor:
    """Fill in place with what does not depend on any tensor."""
    if not isinstance(self._data, np.ndarray) and isinstance(values, np.ndarray):
        values = backend.to_device(values, self.device)
    return self.copy_(Tensor._wrap(values, None))


_filler(
    "uniform_",
    lambda gen, shape, kind, a=0.0, b=1.0, **kw: gen.uniform(shape, kind, kw.get("from", a), kw.get("to", b)),
    "In place: uniform on [from, to).",
)
_filler("normal_", lambda gen, shape, kind, mean=0.0, std=1.0: gen.normal(shape, kind, mean, std), "In place: normal.")
_filler(
    "bernoulli_",
    lambda gen, shape, kind, p=0.5: gen.keep_mask(shape, 1 - p).astype(kind.np),
    "In place: 1 with probability ``p``.",
)
_filler(
    "random_",
    lambda gen, shape, kind, *bounds, **names: _drawn(
        gen, shape, kind, *((0, *bounds) if len(bounds) == 1 and not names else bounds), **names
    ),
    "In place: random integers, below ``to``, from ``from`` on; of integer types by default all from 0 on, of "
    "floating-point types those that it holds without gaps.",
)


@checked
def get_rng_state() -> Tensor:
    """The state of the default generator, a uint8 tensor for :func:`set_rng_state`.

    >>> state = torch.get_rng_state()
    >>> a = torch.rand(2)
    >>> torch.set_rng_state(state)
    >>> torch.equal(a, torch.rand(2))
    True
    """
    return from_array(random.get_rng_state())


@checked
def set_rng_state(new_state: Tensor) -> None:
    """Put the default generator into the state that :func:`get_rng_state` returned.

    >>> state = torch.get_rng_state()
    >>> a = torch.rand(2)
    >>> torch.set_rng_state(state)
    >>> torch.equal(a, torch.rand(2))
    True
    """
    random.set_rng_state(raw(new_state))


@method("multinomial")
def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: random.Generator | None = None
) -> Tensor:
    """Indices (int64) drawn with the weights in each row of ``input``, a vector or a matrix, which need not sum to 1.

    Without ``replacement`` none is drawn twice: the weights' exponential clocks ring in this order (Efraimidis and
    Spirakis 2006).  RuntimeError for weights that are negative, infinite, NaN or all 0 (on a device they are not looked
    at, which would wait), and for more samples than there are weights.

    >>> torch.multinomial(torch.tensor([0.0, 1.0, 0.0]), 2, replacement=True)
    tensor([1, 1])
    """
    p = input._data
    if p.ndim not in (1, 2):
        raise RuntimeError("prob_dist must be 1 or 2 dim")
    if p.dtype.kind not in "fV":
        raise RuntimeError(
            "multinomial only supports floating-point dtypes for input, got: " + input.dtype.tensor_type[:-6]
        )
    if num_samples <= 0:
        raise RuntimeError("cannot sample n_sample <= 0 samples")
    if not replacement and num_samples > p.shape[-1]:
        raise RuntimeError("cannot sample n_sample > prob_dist.size(-1) samples without replacement")
    xp = backend.array_module(p)
    with backend.where_it_lies(p):
        weights = p.astype(np.float64)
        if xp is np and weights.size:
            if not bool((weights >= 0).all() and np.isfinite(weights).all()):
                raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
            if not bool((weights.sum(-1) > 0).all()):
                raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")
        source = generator or random.default_generator
        return Tensor._wrap((_again if replacement else _once)(xp, source, weights, num_samples, input.device), None)


def _uniform(source: random.Generator, shape: tuple[int, ...], where: backend.device) -> Any:
    return backend.to_device(source.uniform(shape, dtypes.float64), where)


def _again(xp: Any, source: random.Generator, weights: Any, n: int, where: backend.device) -> Any:
    """``n`` indices of each row, drawn with replacement: where uniform numbers fall among the running sums."""
    ends = xp.cumsum(weights, axis=-1)
    falls = _uniform(source, (*weights.shape[:-1], n), where) * ends[..., -1:]
    if weights.ndim == 1:
        found = xp.searchsorted(ends, falls, side="right")
    else:
        rows = [xp.searchsorted(e, f, side="right") for e, f in zip(ends, falls, strict=True)]
        found = xp.stack(rows) if rows else xp.zeros(falls.shape, np.int64)
    last = xp.argmax(ends >= ends[..., -1:], axis=-1)[..., None]  # the last of a weight: rounding may fall behind it
    return xp.minimum(found, last).astype(np.int64, copy=False)


def _once(xp: Any, source: random.Generator, weights: Any, n: int, where: backend.device) -> Any:
    """``n`` indices of each row, drawn without replacement."""
    rings = -xp.log1p(-_uniform(source, weights.shape, where))
    order = xp.argsort(xp.where(weights > 0, rings / xp.where(weights > 0, weights, 1), np.inf), axis=-1)
    return order[..., :n].astype(np.int64, copy=False)
