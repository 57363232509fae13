"""Sharing a data set out among ranks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sized

import numpy as np

from ..._arguments import integer
from ...random import Generator
from .sampler import Sampler

__all__ = ["DistributedSampler"]


class DistributedSampler(Sampler[int]):
    """This rank's share of the indices: every ``num_replicas``-th, from the ``rank``-th on, of an order common to all.

    Args:
        dataset: what is indexed; it must have the same length on all ranks.
        num_replicas, rank: default the process group's size and this rank.
        shuffle: whether the common order is random, from ``seed`` and the epoch alone.
        seed: the same on all ranks.
        drop_last: whether the tail that does not divide evenly is dropped; else the first indices are given again, so
            that all shares have the same length.

    Call :meth:`set_epoch` before each epoch, or all have the same order.

    >>> sampler = torch.utils.data.DistributedSampler(range(5), num_replicas=2, rank=1, shuffle=False)
    >>> list(sampler)
    [1, 3, 0]
    """

    def __init__(
        self,
        dataset: Sized,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        if num_replicas is None or rank is None:
            from ...distributed import get_rank, get_world_size

            num_replicas = get_world_size() if num_replicas is None else num_replicas
            rank = get_rank() if rank is None else rank
        integer("DistributedSampler", "num_replicas", num_replicas)
        integer("DistributedSampler", "rank", rank)
        integer("DistributedSampler", "seed", seed)
        if num_replicas < 1:
            raise ValueError(f"Invalid num_replicas {num_replicas}, it should be at least 1")
        if not 0 <= rank < num_replicas:
            raise ValueError(f"Invalid rank {rank}, rank should be in the interval [0, {num_replicas - 1}]")
        self.dataset, self.num_replicas, self.rank, self.epoch = dataset, num_replicas, rank, 0
        self.shuffle, self.seed, self.drop_last = shuffle, seed, drop_last
        n = len(dataset)
        self.num_samples = n // num_replicas if drop_last else math.ceil(n / num_replicas)
        self.total_size = self.num_samples * num_replicas

    def __iter__(self) -> Iterator[int]:
        n = len(self.dataset)
        if self.shuffle:
            order = Generator().manual_seed(self.seed + self.epoch).permutation(n)
        else:
            order = np.arange(n)
        if n and not self.drop_last:
            order = np.resize(order, self.total_size)  # begins again from the first where that is longer
        return iter(order[self.rank : self.total_size : self.num_replicas].tolist())

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of epoch number ``epoch``; the same call on all ranks."""
        self.epoch = epoch
