"""Memory that the ranks of a node share: mapped, watched for a rank's own writes, laid out in regions."""

from __future__ import annotations

from distgrad.distributed.shared_memory.mapping import HUGE_PAGE, Mapping
from distgrad.distributed.shared_memory.page_scan import PageScan
from distgrad.distributed.shared_memory.region import NodeMemory, PrivateView, why_not

__all__ = [
    "HUGE_PAGE",
    "Mapping",
    "NodeMemory",
    "PageScan",
    "PrivateView",
    "why_not",
]
