"""Gradients in portions: each is a slice of flat storage, reduced in one operation while backward is still running."""

from __future__ import annotations

from collections.abc import Sequence

from distgrad.autograd import Tensor
from distgrad.storage import FlatStorage

__all__ = ["Bucket", "make_buckets"]


class Bucket:
    """Parameters ``lo`` to ``hi - 1`` of one flat storage, reduced in one operation.

    Attributes:
        waiting: how many of them have no complete gradient yet in this backward.
    """

    __slots__ = ("hi", "lo", "storage", "waiting")

    def __init__(self, storage: FlatStorage, lo: int, hi: int) -> None:
        self.storage, self.lo, self.hi = storage, lo, hi
        self.waiting = hi - lo

    @property
    def params(self) -> Sequence[Tensor]:
        """The bucket's parameters, in the storage's order."""
        return self.storage.params[self.lo : self.hi]

    @property
    def range(self) -> slice:
        """Its part of the storage's buffers; padding between parameters is zero."""
        return slice(self.storage.ranges[self.lo][0], self.storage.ranges[self.hi - 1][1])


def make_buckets(
    storages: Sequence[FlatStorage], order: dict[int, int], cap_bytes: float, first_cap_bytes: float
) -> list[Bucket]:
    """Cut the storages into buckets, in the order in which their gradients become complete.

    Args:
        order: by ``id`` of a parameter, a number that is the larger the earlier its gradient is complete: its position
            in the model, as long as nothing better is known.  Parameters that are not named belong to other models.
        cap_bytes: how many bytes of gradients a bucket may have (a larger parameter is one of its own).
        first_cap_bytes: the same for the first bucket of a storage; a small one starts early.
    """
    buckets = []
    for storage in storages:
        ours = [i for i, p in enumerate(storage.params) if id(p) in order]
        ours.sort(key=lambda i: order[id(storage.params[i])], reverse=True)
        runs = [(i, i + 1) for i in ours]
        while (joined := _joined(storage, runs, cap_bytes, first_cap_bytes)) != runs:
            runs = joined
        buckets += [Bucket(storage, lo, hi) for lo, hi in runs]
    return sorted(buckets, key=lambda b: min(order[id(p)] for p in b.params), reverse=True)


def _joined(
    storage: FlatStorage, runs: Sequence[tuple[int, int]], cap: float, first_cap: float
) -> list[tuple[int, int]]:
    """Runs of parameters that follow each other in time, joined where they are neighbours in memory as well."""
    found: list[tuple[int, int]] = []
    for lo, hi in runs:
        if found and (found[-1][1] == lo or hi == found[-1][0]):
            low, high = min(lo, found[-1][0]), max(hi, found[-1][1])
            nbytes = (storage.ranges[high - 1][1] - storage.ranges[low][0]) * storage.grad.itemsize
            if nbytes <= (cap if len(found) > 1 else first_cap):
                found[-1] = low, high
                continue
        found.append((lo, hi))
    return found
