"""A line search for the strong Wolfe conditions, with cubic interpolation (Nocedal & Wright 2006, algorithms 3.5, 3.6).

The bracketing and interpolation rules, down to their safeguards, are those of minFunc and of PyTorch's L-BFGS, so that
the points evaluated are the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple


class Point(NamedTuple):
    """A step length, and there the loss, its gradient, and its slope along the direction."""

    t: float
    f: float
    g: Any
    slope: float


def cubic_minimum(a: Point, b: Point, bounds: tuple[float, float] | None = None) -> float:
    """The minimum, within ``bounds`` (default: between them), of the cubic with both points' values and slopes."""
    low, high = bounds or (min(a.t, b.t), max(a.t, b.t))
    d1 = a.slope + b.slope - 3 * (a.f - b.f) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return (low + high) / 2
    left, right = (a, b) if a.t <= b.t else (b, a)
    d2 = math.sqrt(square)
    t = right.t - (right.t - left.t) * ((right.slope + d2 - d1) / (right.slope - left.slope + 2 * d2))
    return min(max(t, low), high)


def strong_wolfe(
    evaluate: Callable[[float], Point],
    start: Point,
    t: float,
    longest: float,
    *,
    c1: float = 1e-4,
    c2: float = 0.9,
    tolerance: float = 1e-9,
    most: int = 25,
) -> tuple[Point, int]:
    """A point where the loss fell enough (c₁) and its slope flattened enough (c₂), and the number of evaluations.

    Args:
        evaluate: the loss along the direction.
        start: at step length 0.
        t: the step length to try first.
        longest: the largest component of the direction; the search ends when steps differ by less than ``tolerance``.
        most: as many rounds at most; the best point so far is then returned.
    """
    new = evaluate(t)
    evaluations, rounds = 1, 0
    before, found = start, False
    bracket: list[Point] = []
    while rounds < most:
        if new.f > start.f + c1 * new.t * start.slope or (rounds > 1 and new.f >= before.f):
            bracket = [before, new]
            break
        if abs(new.slope) <= -c2 * start.slope:
            bracket, found = [new], True
            break
        if new.slope >= 0:
            bracket = [before, new]
            break
        t = cubic_minimum(before, new, (new.t + 0.01 * (new.t - before.t), new.t * 10))
        before, new = new, evaluate(t)
        evaluations += 1
        rounds += 1
    if rounds == most:
        bracket = [start, new]
    low, high = (0, 1) if bracket[0].f <= bracket[-1].f else (1, 0)
    stalled = False
    while not found and rounds < most:
        first, last = sorted((bracket[0].t, bracket[1].t))
        if (last - first) * longest < tolerance:
            break
        t = cubic_minimum(bracket[0], bracket[1])
        margin = 0.1 * (last - first)
        if min(last - t, t - first) >= margin:
            stalled = False
        elif stalled or t >= last or t <= first:  # too close to an end twice, or at it: move away
            t = last - margin if abs(t - last) < abs(t - first) else first + margin
            stalled = False
        else:
            stalled = True
        new = evaluate(t)
        evaluations += 1
        rounds += 1
        if new.f > start.f + c1 * new.t * start.slope or new.f >= bracket[low].f:
            bracket[high] = new
            low, high = (0, 1) if bracket[0].f <= bracket[1].f else (1, 0)
            continue
        if abs(new.slope) <= -c2 * start.slope:
            found = True
        elif new.slope * (bracket[high].t - bracket[low].t) >= 0:
            bracket[high] = bracket[low]
        bracket[low] = new
    return bracket[0] if len(bracket) == 1 else bracket[low], evaluations
