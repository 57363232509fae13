"""A function of single samples made one of batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import random
from ..autograd.tensor import TENSORS
from ..ops.joining import stack
from .trees import broadcast, leaves_of, mapped

__all__ = ["vmap"]


def vmap(
    func: Callable[..., Any],
    in_dims: Any = 0,
    out_dims: Any = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """``func``, of single samples, for a batch of them: it is called for each, and what it returns is stacked.

    Any function will do, in whatever way it looks at its inputs; it takes as long as that many calls.

    Args:
        in_dims: the dimension of the samples, of all inputs alike or for each in a tuple (which may hold trees); None
            for an input that is the same for all.
        out_dims: where the samples are to be in what comes out, alike or for each.
        randomness: ``"error"``: RuntimeError where random numbers are drawn; ``"different"`` for each sample, or the
            ``"same"``.
        chunk_size: PyTorch's; without effect.

    Raises:
        ValueError: when it is called: no input has samples, or they are not as many everywhere.

    >>> torch.vmap(torch.dot)(torch.ones(3, 2), torch.ones(3, 2))
    tensor([2., 2., 2.])
    """
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}")
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if not args:
            raise ValueError("vmap(func)(<inputs>): got no inputs, which tell how many samples there are")
        dims = broadcast(in_dims, args)
        values = leaves_of(args)
        count = _samples(dims, values)
        generator = random.default_generator
        before = generator.get_state()
        samples = []
        for i in range(count):
            places = iter(dims)
            if randomness == "same":
                generator.set_state(before)
            mine = mapped(lambda x, i=i, places=places: _sample(x, next(places), i), args)
            samples.append(func(*mine, **kwargs))
            if randomness == "error" and not np.array_equal(generator.get_state(), before):
                raise RuntimeError(
                    "vmap: called random operation while in randomness error mode. Please either use the 'same' or "
                    "'different' randomness flags on vmap or perform the randomness operation out of vmap"
                )
        ends = iter(broadcast(out_dims, samples[0]))
        return mapped(lambda *parts: _batch(parts, next(ends)), *samples)

    return wrapped


def _samples(dims: list[Any], values: list[Any]) -> int:
    """How many samples the inputs have."""
    sizes = []
    for dim, x in zip(dims, values, strict=True):
        if dim is None:
            continue
        if x.__class__ not in TENSORS:
            raise ValueError(
                f"vmap(func, in_dims)(<inputs>): Got in_dim={dim} for an input but the input is of type {type(x)}. We "
                "cannot vmap over non-Tensor arguments, please use None as the respective in_dim"
            )
        if not -x.dim() <= dim < x.dim():
            raise ValueError(
                f"vmap(func, in_dims)(<inputs>): Got in_dim={dim} for some input, but that input is a Tensor of "
                f"dimensionality {x.dim()} so expected in_dim to satisfy -{x.dim()} <= in_dim < {x.dim()}."
            )
        sizes.append(x.shape[dim])
    if not sizes:
        raise ValueError("vmap(func)(<inputs>): at least one of the inputs must have a dimension to map over")
    if len(set(sizes)) > 1:
        raise ValueError(
            f"vmap: Expected all tensors to have the same size in the mapped dimension, got sizes {sizes} for the "
            "mapped dimension"
        )
    if not sizes[0]:
        raise ValueError("vmap: there is no sample, and what the function returns for one is not known")
    return int(sizes[0])


def _sample(x: Any, dim: int | None, i: int) -> Any:
    return x if dim is None else x.select(dim, i)


def _batch(parts: tuple[Any, ...], dim: Any) -> Any:
    for part in parts:
        if part.__class__ not in TENSORS:
            raise ValueError(
                f"vmap(func): `func` must only return Tensors, got type {type(part)}. Did you mean to set out_dims= "
                "to None for output?"
            )
    return parts[0] if dim is None else stack([*parts], dim=dim)
