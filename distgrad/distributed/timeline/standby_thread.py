"""A thread made early for work that comes late: at the interpreter's end none can be started any more."""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["Standby"]


class Standby:
    """Waits, as a daemon, to do one thing.

    Args:
        name: the thread's.
    """

    def __init__(self, name: str) -> None:
        self._asked, self._done, self._lock = threading.Event(), threading.Event(), threading.Lock()
        self._job: Callable[[], None] | None = None
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def _run(self) -> None:
        self._asked.wait()
        if self._job is not None:
            self._job()
            self._done.set()

    def do(self, job: Callable[[], None], seconds: float) -> bool:
        """Have ``job()`` done, once in all; whether it was within so many seconds.  It must raise nothing."""
        with self._lock:
            if not self._asked.is_set():
                self._job = job
                self._asked.set()
        return self._done.wait(seconds)

    def dismiss(self) -> None:
        """Nothing will come."""
        self._asked.set()
