"""Parallel training of modules."""

from __future__ import annotations

from distgrad.nn.parallel.distributed import DistributedDataParallel
from distgrad.nn.parallel.one_device import DataParallel
from distgrad.nn.parallel.sync_batchnorm import SyncBatchNorm

__all__ = ["DataParallel", "DistributedDataParallel", "SyncBatchNorm"]
