"""Which rank did what, and when: spans of all ranks gathered into one timeline."""

from __future__ import annotations

from distgrad.distributed.timeline.across_ranks import RESCUE_SECONDS, Timeline, current, interrupted, join, unwritten
from distgrad.distributed.timeline.standby_thread import Standby

__all__ = [
    "RESCUE_SECONDS",
    "Standby",
    "Timeline",
    "current",
    "interrupted",
    "join",
    "unwritten",
]
