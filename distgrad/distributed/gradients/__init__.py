"""What every way of reducing gradients needs: buckets, announced passes, checks of what arrives."""

from __future__ import annotations

from distgrad.distributed.gradients.announced import UNKNOWN, Announced, refuse_unknown
from distgrad.distributed.gradients.buckets import Bucket, make_buckets
from distgrad.distributed.gradients.fingerprint import PRIME, bits
from distgrad.distributed.gradients.grad_bucket import CommHook, GradBucket, all_reduced
from distgrad.distributed.gradients.nonfinite import FiniteCheck, FiniteSearch, NonFiniteError, all_finite
from distgrad.distributed.gradients.static_graph import StaticGraph

__all__ = [
    "Announced",
    "Bucket",
    "CommHook",
    "FiniteCheck",
    "FiniteSearch",
    "GradBucket",
    "NonFiniteError",
    "PRIME",
    "StaticGraph",
    "UNKNOWN",
    "all_finite",
    "all_reduced",
    "bits",
    "make_buckets",
    "refuse_unknown",
]
