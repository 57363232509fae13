"""How a set of parameters gets the mean of its gradients: by messages, or in shared memory."""

from __future__ import annotations

from distgrad.distributed.data_parallel.checked_reducers import ComparedReducer, ComparedSharedReducer
from distgrad.distributed.data_parallel.gradient_sync import GradientSync
from distgrad.distributed.data_parallel.message_reducer import Reducer
from distgrad.distributed.data_parallel.shared_memory_reducer import SharedReducer

__all__ = [
    "ComparedReducer",
    "ComparedSharedReducer",
    "GradientSync",
    "Reducer",
    "SharedReducer",
]
