"""Data sets: things with an index, things that are walked through, and ways to put them together."""

from __future__ import annotations

import bisect
import itertools
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from ... import backend
from ..._arguments import kind_of, number
from ...autograd import Tensor
from ...ops.creation import from_array
from ...random import Generator, default_generator
from .sampler import must_generate

__all__ = [
    "ChainDataset",
    "ConcatDataset",
    "Dataset",
    "IterableDataset",
    "StackDataset",
    "Subset",
    "TensorDataset",
    "random_split",
    "take_batch",
]

T_co = TypeVar("T_co", covariant=True)


class Dataset(Generic[T_co]):
    """A map from indices to samples: subclasses give ``__getitem__`` and, for most samplers, ``__len__``.

    A subclass may also give ``__getitems__(indices)``, a list of samples at once; the loader then uses it.

    >>> class Squares(torch.utils.data.Dataset):
    ...     def __len__(self):
    ...         return 4
    ...     def __getitem__(self, i):
    ...         return i * i
    ...
    >>> [Squares()[i] for i in range(4)]
    [0, 1, 4, 9]
    """

    def __getitem__(self, index: Any) -> T_co:
        raise NotImplementedError("Subclasses of Dataset should implement __getitem__.")

    def __add__(self, other: Dataset[Any]) -> ConcatDataset[Any]:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T_co]):
    """A stream of samples: subclasses give ``__iter__``.

    With several workers each of them walks through the whole stream; use ``get_worker_info()`` to share it out.

    >>> class Count(torch.utils.data.IterableDataset):
    ...     def __iter__(self):
    ...         return iter(range(3))
    ...
    >>> list(torch.utils.data.DataLoader(Count(), batch_size=2))
    [tensor([0, 1]), tensor([2])]
    """

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError("Subclasses of IterableDataset should implement __iter__.")

    def __add__(self, other: Dataset[Any]) -> ChainDataset:  # type: ignore[override]
        return ChainDataset([self, other])


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """Sample i is row i of each tensor.

    The loader cuts a batch out of each tensor with one indexing operation.

    >>> data = torch.utils.data.TensorDataset(torch.tensor([[1.0], [2.0]]), torch.tensor([0, 1]))
    >>> data[1]
    (tensor([2.]), tensor(1))
    """

    tensors: tuple[Tensor, ...]

    def __init__(self, *tensors: Tensor) -> None:
        for tensor in tensors:
            if not isinstance(tensor, Tensor) or tensor.ndim == 0:
                found = "a tensor without dimensions" if isinstance(tensor, Tensor) else type(tensor).__name__
                raise TypeError(f"TensorDataset takes tensors with a first dimension to index, got {found}")
        if any(len(tensor._data) != len(tensors[0]._data) for tensor in tensors):
            raise AssertionError(f"Size mismatch between tensors: {[list(tensor.shape) for tensor in tensors]}")
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(tensor[index] for tensor in self.tensors)

    def __len__(self) -> int:
        return len(self.tensors[0]._data) if self.tensors else 0


class StackDataset(Dataset[Any]):
    """Samples put together from several data sets of one length: a tuple of samples, or a dict by keyword.

    >>> data = torch.utils.data.StackDataset([1, 2], ["a", "b"])
    >>> data[1]
    (2, 'b')
    """

    def __init__(self, *args: Dataset[Any], **kwargs: Dataset[Any]) -> None:
        if bool(args) == bool(kwargs):
            raise ValueError(
                "StackDataset takes data sets either all as arguments or all as keywords, and at least one"
            )
        self.datasets: Any = args or kwargs
        lengths = [len(d) for d in (args or kwargs.values())]  # type: ignore[arg-type]
        if len(set(lengths)) > 1:
            raise ValueError(f"Size mismatch between datasets: {lengths}")
        self._length = lengths[0]

    def __getitem__(self, index: Any) -> Any:
        if isinstance(self.datasets, dict):
            return {key: dataset[index] for key, dataset in self.datasets.items()}
        return tuple(dataset[index] for dataset in self.datasets)

    def __len__(self) -> int:
        return self._length


class ConcatDataset(Dataset[T_co]):
    """One data set after another.

    >>> both = torch.utils.data.ConcatDataset([[1, 2], [3]])
    >>> len(both), both[2]
    (3, 3)
    """

    def __init__(self, datasets: Iterable[Dataset[Any]]) -> None:
        if not hasattr(datasets, "__iter__"):
            raise TypeError(f"ConcatDataset takes an iterable of data sets, not {kind_of(datasets)}")
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("datasets should not be an empty iterable")
        if any(isinstance(d, IterableDataset) for d in self.datasets):
            raise ValueError("ConcatDataset does not support IterableDataset; use ChainDataset")
        self.cumulative_sizes = list(itertools.accumulate(len(d) for d in self.datasets))  # type: ignore[arg-type]

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: int) -> Any:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is out of range for a data set of length {len(self)}")
        index %= len(self)
        which = bisect.bisect_right(self.cumulative_sizes, index)
        return self.datasets[which][index - (self.cumulative_sizes[which - 1] if which else 0)]


class ChainDataset(IterableDataset[Any]):
    """One stream after another.

    >>> class Count(torch.utils.data.IterableDataset):
    ...     def __iter__(self):
    ...         return iter(range(2))
    ...
    >>> list(torch.utils.data.ChainDataset([Count(), Count()]))
    [0, 1, 0, 1]
    """

    def __init__(self, datasets: Iterable[Dataset[Any]]) -> None:
        self.datasets = datasets

    def __iter__(self) -> Iterator[Any]:
        for dataset in self.datasets:
            if not isinstance(dataset, IterableDataset):
                raise TypeError(f"ChainDataset only supports IterableDataset, got {type(dataset).__name__}")
            yield from dataset

    def __len__(self) -> int:
        return sum(len(dataset) for dataset in self.datasets)  # type: ignore[misc, arg-type]


class Subset(Dataset[T_co]):
    """The samples of ``dataset`` at ``indices``.

    >>> list(torch.utils.data.Subset([10, 20, 30], [2, 0]))
    [30, 10]
    """

    def __init__(self, dataset: Dataset[T_co], indices: Sequence[int]) -> None:
        if not hasattr(indices, "__getitem__") or not hasattr(indices, "__len__"):
            raise TypeError(f"Subset: indices must be a sequence, not {kind_of(indices)}")
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __getitems__(self, indices: list[int]) -> list[Any]:
        inner = [self.indices[i] for i in indices]
        if callable(getattr(self.dataset, "__getitems__", None)):
            return self.dataset.__getitems__(inner)  # type: ignore[attr-defined]
        return [self.dataset[i] for i in inner]

    def __len__(self) -> int:
        return len(self.indices)


def random_split(
    dataset: Dataset[Any], lengths: Sequence[int | float], generator: Generator | None = None
) -> list[Subset[Any]]:
    """Split at random into data sets of the given lengths, or of given shares where the lengths sum to 1.

    What rounding the shares down leaves over is dealt out one by one from the first on.

    >>> parts = torch.utils.data.random_split(range(10), [7, 3])
    >>> [len(part) for part in parts]
    [7, 3]
    """
    if not hasattr(dataset, "__len__"):
        raise TypeError(f"random_split: dataset must have a length, but is {kind_of(dataset)}")
    if not isinstance(lengths, Sequence) or isinstance(lengths, str | bytes):
        raise TypeError(f"random_split: lengths must be a sequence of numbers, not {kind_of(lengths)}")
    for n in lengths:
        number("random_split", "lengths", n)
    must_generate("random_split", generator)
    total = len(dataset)
    counts: list[int] = []
    if math.isclose(sum(lengths), 1) and sum(lengths) <= 1:
        for i, share in enumerate(lengths):
            if not 0 <= share <= 1:
                raise ValueError(f"Fraction at index {i} is not between 0 and 1: {share}")
            counts.append(math.floor(total * share))
        for i in range(total - sum(counts)):
            counts[i % len(counts)] += 1
        for i, count in enumerate(counts):
            if count == 0:
                warnings.warn(
                    f"Length of split at index {i} is 0. This might result in an empty dataset.", stacklevel=2
                )
    else:
        counts = [int(n) for n in lengths]
    if sum(counts) != total or min(counts, default=0) < 0 or (counts != list(lengths) and sum(lengths) > 1):
        raise ValueError(
            f"Sum of input lengths does not equal the length of the input dataset! {list(lengths)} for {total} samples"
        )
    order = (generator or default_generator).permutation(total).tolist()
    ends = itertools.accumulate(counts)
    return [Subset(dataset, order[end - count : end]) for end, count in zip(ends, counts, strict=True)]


def take_batch(dataset: Any, indices: Any) -> list[Tensor] | None:
    """The collated batch at ``indices`` of a :class:`TensorDataset` or a subset of one, one indexing a tensor.

    None where ``dataset`` is anything else, a subclass with a ``__getitem__`` of its own included.
    """
    try:
        rows = np.asarray(indices, np.int64)
    except (TypeError, ValueError):
        raise TypeError(f"a sampler must give integers as indices, but gave {indices!r}") from None
    while type(dataset) is Subset:
        rows, dataset = np.asarray(dataset.indices, np.int64)[rows], dataset.dataset
    if type(dataset) is not TensorDataset:
        return None
    batch = []
    for tensor in dataset.tensors:
        array = tensor._data
        if rows.size and not -len(array) <= rows.min() <= rows.max() < len(array):
            raise IndexError(f"indices {rows.min()} to {rows.max()} leave a data set of {len(array)} samples")
        where = backend.device_of(array)
        with backend.on(where):
            batch.append(from_array(array.take(backend.to_device(rows, where), 0)))
    return batch
