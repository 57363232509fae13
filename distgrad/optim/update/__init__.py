"""How a step updates flat memory: segments of parameters, their state, and the loop over them."""

from __future__ import annotations

from distgrad.optim.update.common_sums import totals
from distgrad.optim.update.contract import refuse_names, refuse_unknown
from distgrad.optim.update.deferred import DeferredGradient
from distgrad.optim.update.device_kernel import fused
from distgrad.optim.update.entries import Entry, SharedEntry, States, Unread, detached, give_back, merged, renew
from distgrad.optim.update.kernel_trace import Functions, NotTraceable, Program, Traced, replay, source, trace
from distgrad.optim.update.layout import Layout
from distgrad.optim.update.pieces import BLOCK_BYTES, SUM_BYTES, Block, Piece, Rule
from distgrad.optim.update.segments import Segment, Start, segments_of
from distgrad.optim.update.state_dict import must_be_of, must_fit, packed, unpacked
from distgrad.optim.update.state_views import as_tensor, begin, cast, extend, host, mark, show, take_over, whole_states
from distgrad.optim.update.stepper import Engine

__all__ = [
    "BLOCK_BYTES",
    "Block",
    "DeferredGradient",
    "Engine",
    "Entry",
    "Functions",
    "Layout",
    "NotTraceable",
    "Piece",
    "Program",
    "Rule",
    "SUM_BYTES",
    "Segment",
    "SharedEntry",
    "Start",
    "States",
    "Traced",
    "Unread",
    "as_tensor",
    "begin",
    "cast",
    "detached",
    "extend",
    "fused",
    "give_back",
    "host",
    "mark",
    "merged",
    "must_be_of",
    "must_fit",
    "packed",
    "refuse_names",
    "refuse_unknown",
    "renew",
    "replay",
    "segments_of",
    "show",
    "source",
    "take_over",
    "totals",
    "trace",
    "unpacked",
    "whole_states",
]
