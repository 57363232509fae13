"""What goes wrong between ranks."""

from __future__ import annotations

__all__ = ["DistError", "DistTimeoutError"]


class DistError(RuntimeError):
    """Ranks cannot go on together: one failed, left, or asked for another operation.  The message names the rank.

    >>> issubclass(dist.DistError, RuntimeError)
    True
    """


class DistTimeoutError(DistError):
    """A rank waited longer than its time-out for the others.

    >>> issubclass(dist.DistTimeoutError, dist.DistError)
    True
    """
