"""Making one batch of a list of samples, structure by structure."""

from __future__ import annotations

import copy
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np

from ... import backend, dtypes
from ...autograd import Tensor
from ...ops.creation import from_array, tensor

__all__ = ["default_collate", "default_convert"]


def default_convert(data: Any) -> Any:
    """``data`` with its NumPy arrays made tensors; what the loader does with a sample when it makes no batches.

    >>> import numpy as np
    >>> torch.utils.data.default_convert(np.ones(2, np.float32))
    tensor([1., 1.])
    """
    if isinstance(data, Tensor):
        return data
    if isinstance(data, (np.ndarray, np.generic)):
        return data if data.dtype.kind in "SUO" else from_array(np.asarray(data))
    return _rebuilt(data, lambda value: default_convert(value))


def default_collate(batch: Sequence[Any]) -> Any:
    """A list of samples, all of one structure, as one structure of batches.

    Tensors and arrays are stacked along a new first dimension, in the type that holds them all; so do numbers become a
    tensor (of float64 where the first is a float, as in PyTorch); strings and bytes stay a list; dicts, named tuples,
    tuples and lists are gone through.

    >>> torch.utils.data.default_collate([(1, 2.0), (3, 4.0)])
    [tensor([1, 3]), tensor([2., 4.], dtype=torch.float64)]
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return _stack(batch)
    if isinstance(first, np.ndarray):
        if first.dtype.kind in "SUO":
            raise _unfit(first.dtype)
        return _stack([from_array(x) for x in batch])
    if isinstance(first, float) and not isinstance(first, np.generic):
        return tensor(batch, dtype=dtypes.float64)
    if isinstance(first, (int, np.number, np.bool_)):
        return tensor(batch)  # of the type that holds them all
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        return _mapping(first, {key: default_collate([sample[key] for sample in batch]) for key in first})
    if isinstance(first, Sequence):
        if any(len(sample) != len(first) for sample in batch):
            raise RuntimeError("each element in list of batch should be of equal size")
        columns = [default_collate(column) for column in zip(*batch, strict=True)]
        return columns if type(first) is tuple else _sequence(first, columns)
    raise _unfit(type(first))


def _unfit(found: Any) -> TypeError:
    return TypeError(
        f"default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {found}"
    )


def _stack(tensors: Sequence[Tensor]) -> Tensor:
    first = tensors[0]
    for i, x in enumerate(tensors):
        if not isinstance(x, Tensor):
            raise TypeError(f"expected Tensor as element {i} in argument 0, but got {type(x).__name__}")
        if x.shape != first.shape:
            found = list(x.shape)
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(first.shape)} at entry 0 and {found} "
                f"at entry {i}"
            )
        if x.requires_grad:
            raise RuntimeError("default_collate does not record gradients: sample tensors must not require grad")
    wanted = first.dtype
    for x in tensors:
        wanted = dtypes.promote_types(wanted, x.dtype)
    module = backend.array_module(first._data)
    with backend.on(first.device):
        return from_array(module.stack([x._data.astype(wanted.np, copy=False) for x in tensors]))


def _rebuilt(data: Any, convert: Any) -> Any:
    if isinstance(data, Mapping):
        return _mapping(data, {key: convert(value) for key, value in data.items()})
    if isinstance(data, tuple) and not hasattr(data, "_fields"):
        return [convert(value) for value in data]  # a list, as in PyTorch
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _sequence(data, [convert(value) for value in data])
    return data


def _mapping(like: Mapping[Any, Any], items: dict[Any, Any]) -> Any:
    """``items`` in a mapping of the type of ``like``, or a plain dict where that cannot be made."""
    try:
        if isinstance(like, MutableMapping):
            clone = copy.copy(like)  # keeps what a subclass holds besides, e.g. a default factory
            clone.update(items)
            return clone
        return type(like)(items)  # type: ignore[call-arg]
    except TypeError:
        return items


def _sequence(like: Sequence[Any], items: list[Any]) -> Any:
    """``items`` in a sequence of the type of ``like``, or a list where that cannot be made."""
    try:
        return type(like)(*items) if hasattr(like, "_fields") else type(like)(items)  # type: ignore[call-arg]
    except TypeError:
        return items
