"""What a rank finds when it is started: its launcher, its cores and the device that it is to take."""

from __future__ import annotations

from distgrad.distributed.launching.advice import advise
from distgrad.distributed.launching.device_assignment import choose_device, leave_device, take_device
from distgrad.distributed.launching.environment import (
    NOTES,
    blas_threads,
    check_launcher_size,
    check_no_ranks_child,
    check_not_torchruns,
    check_oversubscription,
    deadline,
    is_launched,
    launcher_rank,
    launcher_size,
    leave_stdin_to_rank_0,
    note,
    warn_oversubscription,
)

__all__ = [
    "NOTES",
    "advise",
    "blas_threads",
    "check_launcher_size",
    "check_no_ranks_child",
    "check_not_torchruns",
    "check_oversubscription",
    "choose_device",
    "deadline",
    "is_launched",
    "launcher_rank",
    "launcher_size",
    "leave_device",
    "leave_stdin_to_rank_0",
    "note",
    "take_device",
    "warn_oversubscription",
]
