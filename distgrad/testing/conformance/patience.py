"""A check that does not come to its end is a result too: it is left where it stands, and the others are made.

A time for the whole would be too short on a slow machine or too long on a fast one.  What counts is whether anything
moves: where the threads of a check stand in the kit's own text, and with which values.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

__all__ = ["StoodStill", "watched", "within"]

_KIT = str(Path(__file__).parent)
_LOOK = 0.05  # seconds


class StoodStill(Exception):
    """Nothing moved; the message says where each thread stands."""


def within(limit: float, function: Callable[[], None]) -> None:
    """Call ``function`` in a thread of its own, and raise what it raises.

    Raises:
        StoodStill: neither it nor a thread begun meanwhile got any further for ``limit`` seconds.  They are left alone.
    """
    raised: list[BaseException] = []

    def body() -> None:
        try:
            function()
        except BaseException as error:  # for the caller
            raised.append(error)

    before = set(threading.enumerate())
    worker = threading.Thread(target=body, name="check", daemon=True)
    worker.start()
    why = _watch(limit, before, worker.join, lambda: not worker.is_alive())
    if why is not None:
        raise StoodStill(why)
    if raised:
        raise raised[0]


@contextlib.contextmanager
def watched(limit: float, stands: Callable[[str], None]) -> Iterator[None]:
    """Call ``stands(why)`` from another thread if neither this one nor one begun meanwhile gets any further."""
    over = threading.Event()
    before = set(threading.enumerate()) - {threading.current_thread()}

    def body() -> None:
        why = _watch(limit, before | {threading.current_thread()}, over.wait, over.is_set)
        if why is not None:
            stands(why)

    watcher = threading.Thread(target=body, name="watch", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _watch(
    limit: float, others: set[threading.Thread], pause: Callable[[float], object], over: Callable[[], bool]
) -> str | None:
    """Look at all threads but the ``others`` until it is over, or they stand still: then where."""
    stood, since = None, time.monotonic()
    pause(_LOOK)
    while not over():
        frames = _frames(others)
        place = {name: _place_in_kit(frame) for name, frame in frames.items()}
        if place != stood:
            stood, since = place, time.monotonic()
        elif time.monotonic() - since > limit:
            told = [name for name in frames if name != "check"] or list(frames)
            where = "; ".join(f"{name} in {_place(frames[name])}" for name in told)
            return f"it does not come to an end: for {limit:g} s nothing went on. {where}"
        pause(_LOOK)
    return None


def _frames(before: set[threading.Thread]) -> dict[str, FrameType]:
    """Where the threads are that have begun since."""
    frames = sys._current_frames()
    found = [t for t in threading.enumerate() if t not in before and t.ident in frames]
    return {t.name: frames[t.ident] for t in found if t.ident is not None}


def _place_in_kit(frame: FrameType) -> tuple[object, ...]:
    """The innermost call of the kit's own, how far it has come, and what its variables are."""
    at: FrameType | None = frame
    while at is not None and not at.f_code.co_filename.startswith(_KIT):
        at = at.f_back
    at = at or frame
    return at.f_code, at.f_lasti, tuple(id(value) for value in at.f_locals.values())


def _place(frame: FrameType) -> str:
    code = frame.f_code
    lines = [f"{Path(code.co_filename).name}, line {frame.f_lineno}, in {code.co_qualname}"]
    while frame.f_back is not None and len(lines) < 4:
        frame = frame.f_back
        code = frame.f_code
        lines.append(f"{Path(code.co_filename).name}, line {frame.f_lineno}, in {code.co_qualname}")
        if code.co_filename.startswith(_KIT):
            break
    return " < ".join(lines)
