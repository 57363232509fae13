"""Optimizers that know of ranks: one whose state is shared out, one that averages gradients by itself.

``distributed`` and ``optim`` know nothing of each other; this part knows both, as ``nn.parallel`` knows modules.
"""

from __future__ import annotations

from distgrad.distributed.optim.distributed_optimizer import (
    Compression,
    DistributedOptimizer,
    broadcast_optimizer_state,
    broadcast_parameters,
)
from distgrad.distributed.optim.zero_redundancy_optimizer import ZeroRedundancyOptimizer

__all__ = [
    "Compression",
    "DistributedOptimizer",
    "ZeroRedundancyOptimizer",
    "broadcast_optimizer_state",
    "broadcast_parameters",
]
