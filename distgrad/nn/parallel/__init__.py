"""Parallel training of modules."""

from __future__ import annotations

from distgrad.distributed.data_parallel import DistributedDataParallel

__all__ = ["DistributedDataParallel"]
