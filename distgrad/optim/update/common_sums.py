"""Sums over all parameters, of which an optimizer makes numbers before it updates the first."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ... import backend
from ...backend.protocol import Array
from .calling import _number, _share, _uphill, _where_it_lies
from .pieces import Block
from .segments import Segment

__all__ = ["Postponed", "step_measured", "totals"]


class Postponed:
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


def step_measured(optimizer: Any) -> None:
    """A step of an optimizer whose ``measure()`` has seen all parameters before the first is updated."""
    later = Postponed()
    for i, group in enumerate(optimizer.param_groups):
        optimizer._step_group(i, group, later)
    first = optimizer.param_groups[0]
    shared = {name: _number(first[name]) for name in optimizer.common}
    parts: dict[int, list[float]] = {}  # by the sharing whose processes have the others
    for segment, _, maximize, _, blocks, options in later.work:
        measure = _uphill(optimizer.measure) if maximize else optimizer.measure
        if not segment.plain:
            measure = _where_it_lies(measure, segment)
        given = {**options, **shared}
        given = {name: given[name] for name in optimizer._measure_reads}
        found = totals(measure, segment, blocks, given, optimizer.sums)
        of = parts.setdefault(id(segment.sharing), [0.0] * len(optimizer.sums))
        of[:] = map(operator.add, of, found)
    for sharing in optimizer._sharings:
        parts[id(sharing)] = sharing.total(parts.get(id(sharing), [0.0] * len(optimizer.sums)))
    if not later.work:
        return
    sums = map(sum, zip(*parts.values(), strict=True))
    given = {name: _number(first[name]) for name in optimizer._hyper} | shared
    given |= zip(optimizer.sums, sums, strict=True)
    new = optimizer.conclude(**{name: given[name] for name in optimizer._conclude_reads})
    for name in optimizer.common:
        if name in new:
            for group in optimizer.param_groups:
                group[name] = float(new[name])
    for segment, update, maximize, blocks, _, options in later.work:
        given = {**options, **shared, **new}
        given = {name: given[name] for name in optimizer._reads}
        for block in blocks:
            if segment.sharing is not None:
                _share(update, segment.compiled and not maximize, segment.xp, block, given)
            else:
                update(segment.xp, *block, **given)
    for data, copied in later.copied:
        with backend.where_it_lies(data):
            data[...] = copied.reshape(data.shape)
