"""The conformance kit: what a plugin is tried against, and what is said of it."""

from __future__ import annotations

from distgrad.testing.conformance.communicator_trial import METHODS, CommunicatorTrial
from distgrad.testing.conformance.knobs import block_bytes, uncompiled
from distgrad.testing.conformance.loss_trial import INPUTS, SAMPLES, TARGETS, LossTrial, MakeInputs
from distgrad.testing.conformance.optimizer_trial import (
    WAYS,
    Piece,
    Run,
    Trial,
    host_copy,
    only_row_of,
    pieces_of,
    same_state,
)
from distgrad.testing.conformance.patience import StoodStill, watched, within
from distgrad.testing.conformance.report import (
    CHECKS,
    Check,
    CheckFailed,
    NotApplicable,
    Report,
    Result,
    Rows,
    Subject,
    check,
    demand,
    must_raise,
    same_bits,
)

__all__ = [
    "CHECKS",
    "Check",
    "CheckFailed",
    "CommunicatorTrial",
    "INPUTS",
    "LossTrial",
    "METHODS",
    "MakeInputs",
    "NotApplicable",
    "Piece",
    "Report",
    "Result",
    "Rows",
    "Run",
    "SAMPLES",
    "StoodStill",
    "Subject",
    "TARGETS",
    "Trial",
    "WAYS",
    "block_bytes",
    "check",
    "demand",
    "host_copy",
    "must_raise",
    "only_row_of",
    "pieces_of",
    "same_bits",
    "same_state",
    "uncompiled",
    "watched",
    "within",
]
