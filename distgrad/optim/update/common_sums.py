"""Sums over all parameters, of which an optimizer makes numbers before it updates the first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ... import backend
from ...backend import Array
from .segments import Block, Segment

__all__ = ["Later", "totals"]


class Later:
    """What a step will update when all is measured.

    Attributes:
        work: segment, what updates it, whether gradients are turned round, blocks to update and to measure, options.
        copied: parameters that are updated in a copy, each with it.
    """

    def __init__(self) -> None:
        self.work: list[tuple[Segment, Callable[..., None], bool, list[Block], list[Block], dict[str, Any]]] = []
        self.copied: list[tuple[Array, Array]] = []

    def add(
        self,
        segment: Segment,
        update: Callable[..., None],
        uphill: bool,
        blocks: list[Block],
        measured: list[Block],
        options: Mapping[str, Any],
    ) -> None:
        """Put off the update of a piece; ``options`` may change with the next."""
        self.work.append((segment, update, uphill, blocks, measured, dict(options)))


def totals(
    measure: Callable[..., Sequence[Any]],
    segment: Segment,
    blocks: Sequence[Block],
    options: Mapping[str, Any],
    names: Sequence[str],
) -> list[float]:
    """What :meth:`~distgrad.optim.Optimizer.measure` finds in the blocks of a piece, added up: one of each name.

    On a device the sum is fetched once.
    """
    found: list[Any] = [0.0] * len(names)
    with backend.on(segment.storage.device):
        for p, g, *arrays in blocks:
            gradient = g if segment.sharing is None else g.now()
            new = measure(segment.xp, p, gradient, *arrays, **options)
            if not isinstance(new, (tuple, list)) or len(new) != len(names):
                raise TypeError(
                    f"measure() must return a tuple of {len(names)}: {', '.join(names)}; it returned {new!r}"
                )
            added = map(float, new) if segment.on_host else new
            found = [total + value for total, value in zip(found, added, strict=True)]
        return [float(x if isinstance(x, float) else backend.to_host(x)) for x in found]
