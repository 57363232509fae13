"""That the ranks of a node update their parts of the parameters alike: by one optimizer, with the same hyperparameters.

Where each rank updates all of its own copy, ranks that differ drift apart; where they share one copy it would become a
mixture of theirs, the same on all ranks, in which nothing shows.  A rank tells when it updates otherwise than before,
and only then they compare: where nothing has changed a step reads one word for it.
"""

from __future__ import annotations

from collections.abc import Callable

from distgrad.distributed.node_update.progress_counters import Meeting

__all__ = ["SameUpdate"]


class SameUpdate:
    """What the ranks of a meeting update with.

    Args:
        meeting: theirs.
        mine: the number of the word in which each tells it.
        changed: that of everybody's word for the last step in which somebody's has changed.
    """

    def __init__(self, meeting: Meeting, mine: int, changed: int) -> None:
        self._meeting, self._mine, self._changed = meeting, mine, changed
        self._digest = 0

    def tell(self, digest: int, step: int) -> None:
        """This rank has updated by what has this digest; before it tells that it has updated."""
        if digest != self._digest:
            self._digest = digest
            self._meeting.mine[self._mine] = digest
            self._meeting.everyones[self._changed] = step

    def check(self, how: Callable[[], str], step: int) -> None:
        """Behind all ranks' update: RuntimeError on all of them if it was not the same; ``how`` tells this rank's."""
        if self._meeting.everyones[self._changed] != step:
            return
        others = [r for r, digest in enumerate(self._meeting.told(self._mine)) if digest != self._digest]
        if others:
            self._digest = 0  # so that the next step is compared too
            rank = self._meeting.comm.rank
            raise RuntimeError(
                f"rank {rank}: step() number {step} was not the same on all ranks: rank(s) "
                f"{', '.join(map(str, others))} updated their part of the parameters by another optimizer, with other "
                f"hyperparameters or other parameters than rank {rank}, which did by {how()}. A schedule that goes by "
                "a loss must go by one that all ranks have, such as its mean"
            )
