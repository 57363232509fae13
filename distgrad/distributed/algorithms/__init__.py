"""What data parallelism is refined with: uneven inputs (:class:`Join`), and hooks that compress gradients."""

from __future__ import annotations

from distgrad.distributed.algorithms.join import Join, Joinable, JoinHook

__all__ = ["Join", "JoinHook", "Joinable"]
