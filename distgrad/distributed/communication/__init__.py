"""What lies between ranks: the contract of a communicator plugin, with its requests, errors and reductions."""

from __future__ import annotations

from distgrad.distributed.communication.communicator import (
    DEFAULTS_TAG,
    HEADER_TAG,
    MAX_TAG,
    MEETING_TAG,
    MONITOR_TAG,
    OBJECTS_TAG,
    CommState,
    Communicator,
    check_message,
    yield_core,
)
from distgrad.distributed.communication.errors import DistError, DistTimeoutError
from distgrad.distributed.communication.futures import Future
from distgrad.distributed.communication.reduction import ReduceOp, check_op, combine
from distgrad.distributed.communication.requests import CompletedRequest, FinishingRequest, Request

__all__ = [
    "CommState",
    "Communicator",
    "CompletedRequest",
    "DEFAULTS_TAG",
    "DistError",
    "DistTimeoutError",
    "FinishingRequest",
    "Future",
    "HEADER_TAG",
    "MAX_TAG",
    "MEETING_TAG",
    "MONITOR_TAG",
    "OBJECTS_TAG",
    "ReduceOp",
    "Request",
    "check_message",
    "check_op",
    "combine",
    "yield_core",
]
