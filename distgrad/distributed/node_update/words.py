"""What the ranks of a node tell each other: the words of a ``Meeting``, by number."""

from __future__ import annotations

__all__ = [
    "CHANGED", "COMPARED", "DIRTY", "DONE", "ENTERED", "HOW", "LEFT", "NOT_FINITE", "OWNED", "PARTED", "PUBLISHED",
    "REDUCED", "RELEASED", "SAMPLES", "STANDS", "TOTALLED", "UPDATED",
]  # fmt: skip

DONE, RELEASED, ENTERED, PUBLISHED, UPDATED, SAMPLES, REDUCED, HOW = range(8)  # words of each rank
TOTALLED = 15  # in steps of optimizers that make sums over all parameters
COMPARED, STANDS, LEFT = range(8, 11)  # told seldom; the last is 1 + the passes that it took part in
# Everybody's: in which pass some rank last had such gradients; in which step parameters, another update than before,
# and gradients of its own; whether one has gone its own way
NOT_FINITE, DIRTY, CHANGED, OWNED, PARTED = range(5)
