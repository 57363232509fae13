"""What the ranks of ``train.py`` decide together: refusals, what rank 0 does for all, and signals that end a run."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

import distgrad as dg
from distgrad import distributed as dist

__all__ = ["Asked", "Refused", "from_rank_0", "on_any_rank", "on_rank_0"]


class Refused(Exception):
    """What cannot be, raised on all ranks; the message says what was given and what was possible."""


class Asked:
    """Signals that ask a run to end: noted, and acted on where all ranks do.  A second one ends the process as usual.

    Attributes:
        CODES: by signal, the exit code of a run that it has ended (75: try again).
        code: of the signal that some rank had noted when all ranks last asked each other; 0 before.
    """

    CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGUSR1: 75}

    def __init__(self) -> None:
        self.code = 0  # the same on all ranks
        self._noted = 0  # on this one, at any moment
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Asked:
        for number in self.CODES:
            try:
                self._before[number] = signal.signal(number, self._note)
            except ValueError:  # not the main thread
                break
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        self._noted = self.CODES[signal.Signals(number)]
        signal.signal(number, self._before[number])

    def everywhere(self) -> bool:
        """Whether some rank has been asked; the same answer, and then the same code, on all.  Collective."""
        found = dg.tensor([self._noted])
        dist.all_reduce(found, dist.ReduceOp.MAX)
        self.code = int(found.item())
        return bool(self.code)


def on_any_rank(condition: bool) -> bool:
    """Whether the condition holds on some rank; the same answer on all.  Collective."""
    found = dg.tensor([int(condition)])
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return bool(found.item())


def from_rank_0(action: Callable[[], Any]) -> Any:
    """What ``action`` returns on rank 0, which alone calls it, on all ranks: numbers, texts, tensors, dicts of them.

    Raises:
        Refused: the action raises it, or the system refuses; on all ranks.
    """
    told: list[Any] = ["", None]
    if dist.get_rank() == 0:
        try:
            told[1] = action()
        except (OSError, Refused) as error:
            told[0] = str(error)
    dist.broadcast_object_list(told)
    if told[0]:
        raise Refused(told[0])
    return told[1]


def on_rank_0(action: Callable[[], Any]) -> None:
    """Do on rank 0 what touches files; every rank calls it.

    Raises:
        Refused: the action raises it, or the system refuses; on all ranks.
    """

    def act() -> None:
        action()

    from_rank_0(act)
