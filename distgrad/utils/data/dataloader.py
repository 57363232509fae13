"""DataLoader: batches of a data set, in a sampler's order, fetched ahead by threads where asked."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from ..._arguments import integer, kind_of, number
from ...random import Generator, default_generator
from .collate import default_collate, default_convert
from .dataset import IterableDataset, take_batch
from .sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler, must_generate
from .worker import END, LoaderTimeout, Workers, stream_of

__all__ = ["DataLoader"]

T_co = TypeVar("T_co", covariant=True)

_FIXED = ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers")


class DataLoader(Generic[T_co]):
    """An iterable of batches.

    Args:
        dataset: anything with an index and, for the default samplers, a length; or an :class:`IterableDataset`.
        batch_size: samples a batch; None makes no batches: samples come singly.
        shuffle: a new random order each epoch.
        sampler: the order of indices, in place of ``shuffle``.
        batch_sampler: lists of indices, in place of ``batch_size``, ``shuffle``, ``sampler`` and ``drop_last``.
        num_workers: threads that fetch ahead; 0 fetches when asked.  Threads, not processes (PyTorch's are): the data
            set is shared with them, its ``__getitem__`` may run in several at once, and nothing is forked.  What it
            draws comes from a generator of the worker's own, so that batches depend on the seed alone; Python's and
            NumPy's generators (``random``, ``numpy.random``) are the process's: workers draw from them in any order.
        collate_fn: makes a batch of a list of samples; default :func:`default_collate`.
        pin_memory, pin_memory_device: accepted for PyTorch's sake and without effect.
        drop_last: leave out a last batch that is not full.
        timeout: seconds to wait for a worker's batch; 0 waits for ever.
        worker_init_fn: called with its number in each worker as it starts.
        multiprocessing_context: must be None, since workers are threads.
        generator: where random orders come from; default the default generator.
        prefetch_factor: batches asked of each worker ahead of time; 2 where there are workers.
        persistent_workers: keep the threads from epoch to epoch.
        in_order: batches come in order, whatever it says.

    An exception in a worker is raised to the consumer as it was, with a note that names the worker.

    >>> data = torch.utils.data.TensorDataset(torch.arange(4.0))
    >>> for (batch,) in torch.utils.data.DataLoader(data, batch_size=3):
    ...     print(batch)
    ...
    tensor([0., 1., 2.])
    tensor([3.])
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Sampler[Any] | Iterable[Any] | None = None,
        batch_sampler: Sampler[list[Any]] | Iterable[list[Any]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: None = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        _check_workers(num_workers, timeout, prefetch_factor, persistent_workers, multiprocessing_context)
        self._is_stream = isinstance(dataset, IterableDataset)
        if self._is_stream:
            _check_stream(shuffle, sampler, batch_sampler)
        for name, given in (("collate_fn", collate_fn), ("worker_init_fn", worker_init_fn)):
            if given is not None and not callable(given):
                raise TypeError(f"DataLoader: {name} must be a function or None, not {kind_of(given)}")
        must_generate("DataLoader", generator)
        if not self._is_stream and not hasattr(dataset, "__getitem__"):
            raise TypeError(f"DataLoader: dataset must have an index (__getitem__), but is {kind_of(dataset)}")
        _check_batches(batch_size, shuffle, sampler, batch_sampler, drop_last)
        if batch_sampler is not None:
            batch_size, drop_last = None, False
        if sampler is None and not self._is_stream:
            sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
        if batch_size is not None and batch_sampler is None:
            # A stream's "indices" only count samples.
            batch_sampler = BatchSampler(sampler if sampler is not None else itertools.repeat(0), batch_size, drop_last)
        self.dataset, self.batch_size, self.drop_last = dataset, batch_size, drop_last
        self.sampler: Any = sampler
        self.batch_sampler: Any = batch_sampler
        self.num_workers, self.timeout, self.worker_init_fn = num_workers, timeout, worker_init_fn
        self.prefetch_factor = 2 if num_workers and prefetch_factor is None else prefetch_factor
        self.persistent_workers, self.generator, self.in_order = persistent_workers, generator, in_order
        self.pin_memory, self.pin_memory_device = pin_memory, pin_memory_device
        self.multiprocessing_context = None
        batched = batch_sampler is not None
        self.collate_fn = collate_fn or (default_collate if batched else default_convert)
        self._workers: Workers | None = None
        self._initialized = True

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _FIXED and getattr(self, "_initialized", False):
            raise ValueError(f"{name} attribute should not be set after {type(self).__name__} is initialized")
        super().__setattr__(name, value)

    def __len__(self) -> int:
        if self._is_stream:
            n = len(self.dataset)
            if self.batch_size is None:
                return n
            return n // self.batch_size if self.drop_last else -(-n // self.batch_size)
        return len(self.sampler if self.batch_sampler is None else self.batch_sampler)

    def __iter__(self) -> Iterator[Any]:
        jobs = iter(self._order())
        seed = None
        if self._workers is None:  # with workers or without, so that the order of samples is the same
            seed = int((self.generator or default_generator).integers(0, 2**62, ()))
        fetch = self._from_stream() if self._is_stream else self._fetch
        if self.num_workers == 0:
            return self._alone(jobs, fetch)
        return self._ahead(jobs, fetch, seed)

    def _order(self) -> Iterable[Any]:
        """What is fetched: lists of indices, or single ones; for a stream, stand-ins that say how many."""
        if self.batch_sampler is not None:
            found: Iterable[Any] = self.batch_sampler
            return found
        return itertools.repeat(0) if self._is_stream else self.sampler

    def _fetch(self, job: Any) -> Any:
        dataset = self.dataset
        if self.batch_sampler is None:
            return self.collate_fn(dataset[job])
        if self.collate_fn is default_collate:
            batch = take_batch(dataset, job)
            if batch is not None:
                return batch
        if callable(getattr(dataset, "__getitems__", None)):
            return self.collate_fn(dataset.__getitems__(job))
        return self.collate_fn([dataset[i] for i in job])

    def _from_stream(self) -> Callable[[Any], Any]:
        """A fetch function over an iterable data set that starts at its beginning."""
        epoch = object()
        own = None if self.num_workers else iter(self.dataset)

        def fetch(job: Any) -> Any:
            stream = stream_of(self.dataset, epoch) if own is None else own
            if self.batch_sampler is None:
                for sample in stream:
                    return self.collate_fn(sample)
                return END
            samples = list(itertools.islice(stream, len(job)))
            if not samples or (self.drop_last and len(samples) < len(job)):
                return END
            return self.collate_fn(samples)

        return fetch

    def _alone(self, jobs: Iterator[Any], fetch: Callable[[Any], Any]) -> Iterator[Any]:
        for job in jobs:
            batch = fetch(job)
            if batch is END:
                return
            yield batch

    def _ahead(self, jobs: Iterator[Any], fetch: Callable[[Any], Any], seed: int | None) -> Iterator[Any]:
        workers = self._workers
        if workers is None:
            workers = Workers(self.num_workers, self.dataset, self.worker_init_fn, seed or 0)
            if self.persistent_workers:
                self._workers = workers
        try:
            yield from workers.run(jobs, fetch, self.prefetch_factor or 1, self.timeout, self._is_stream)
        except LoaderTimeout:
            self._workers = None
            workers.close(wait=False)  # one that hangs is not waited for
            raise
        finally:
            if workers is not self._workers:
                workers.close()

    def __del__(self) -> None:
        workers = getattr(self, "_workers", None)
        if workers is not None:
            workers.close(wait=False)


def _check_workers(
    num_workers: int, timeout: float, prefetch_factor: int | None, persistent: bool, context: object
) -> None:
    integer("DataLoader", "num_workers", num_workers)
    number("DataLoader", "timeout", timeout)
    if prefetch_factor is not None:
        integer("DataLoader", "prefetch_factor", prefetch_factor)
    if num_workers < 0:
        raise ValueError("num_workers option should be non-negative; use num_workers=0 to disable multiprocessing.")
    if timeout < 0:
        raise ValueError("timeout option should be non-negative")
    if num_workers == 0 and prefetch_factor is not None:
        raise ValueError(
            "prefetch_factor option could only be specified in multiprocessing. "
            "Let num_workers > 0 to enable multiprocessing, otherwise set prefetch_factor to None."
        )
    if prefetch_factor is not None and prefetch_factor < 1:
        raise ValueError(f"prefetch_factor option should be positive, got {prefetch_factor}")
    if persistent and num_workers == 0:
        raise ValueError("persistent_workers option needs num_workers > 0")
    if context is not None:
        raise ValueError(f"multiprocessing_context must be None, since workers are threads; got {context!r}")


def _check_stream(shuffle: object, sampler: object, batch_sampler: object) -> None:
    for name, value in (("shuffle", shuffle or None), ("sampler", sampler), ("batch_sampler", batch_sampler)):
        if value is not None:
            raise ValueError(
                f"DataLoader with IterableDataset: expected unspecified {name} option, but got {name}={value}"
            )


def _check_batches(
    batch_size: int | None, shuffle: object, sampler: object, batch_sampler: object, drop_last: bool
) -> None:
    if sampler is not None and shuffle:
        raise ValueError("sampler option is mutually exclusive with shuffle")
    if batch_sampler is not None:
        if batch_size != 1 or shuffle or sampler is not None or drop_last:
            raise ValueError(
                "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last"
            )
    elif batch_size is None and drop_last:
        raise ValueError("batch_size=None option disables auto-batching and is mutually exclusive with drop_last")
