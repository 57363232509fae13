"""Parallel training of modules."""

from __future__ import annotations

from distgrad.nn.parallel.distributed import DistributedDataParallel

__all__ = ["DistributedDataParallel"]
