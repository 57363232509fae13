"""One update for all ranks of a node, whose parameters and gradients lie in memory that they share."""

from __future__ import annotations

from distgrad.distributed.node_update.agreement import SameUpdate
from distgrad.distributed.node_update.internode_overlap import Overlap
from distgrad.distributed.node_update.multi_node import ClusterUpdate
from distgrad.distributed.node_update.node_gradients import Parted, scaled
from distgrad.distributed.node_update.optimizer_state import SharedState
from distgrad.distributed.node_update.parameters import SharedParameters
from distgrad.distributed.node_update.progress_counters import Awaited, Meeting
from distgrad.distributed.node_update.single_node import SharedUpdate
from distgrad.distributed.node_update.sufficient_factors import Factors
from distgrad.distributed.node_update.withdrawing import Withdrawn

__all__ = [
    "Awaited",
    "ClusterUpdate",
    "Factors",
    "Meeting",
    "Overlap",
    "Parted",
    "SameUpdate",
    "SharedParameters",
    "SharedState",
    "SharedUpdate",
    "Withdrawn",
    "scaled",
]
