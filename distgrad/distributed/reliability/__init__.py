"""Nothing hangs and nothing differs unseen: deaths, time-outs, forks, and ranks that do not do the same."""

from __future__ import annotations

from distgrad.distributed.reliability.checked_communicator import Compares, compared, wanted
from distgrad.distributed.reliability.checked_messages import DesyncError, Messages
from distgrad.distributed.reliability.forks import FORKED, Forks, watch
from distgrad.distributed.reliability.job_guard import Guard
from distgrad.distributed.reliability.model_agreement import AsWrapped, check_same_model
from distgrad.distributed.reliability.watchdog import Watchdog, stacks

__all__ = [
    "AsWrapped",
    "Compares",
    "DesyncError",
    "FORKED",
    "Forks",
    "Guard",
    "Messages",
    "Watchdog",
    "check_same_model",
    "compared",
    "stacks",
    "wanted",
    "watch",
]
