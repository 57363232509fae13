"""Nothing hangs: a rank that fails or leaves ends the whole job (RELIABILITY F1 to F4).

Left alone, a Python process whose rank raises prints a traceback and waits in ``MPI_Finalize`` for ranks that wait in a
collective for it.  So an uncaught exception, of the main thread or another, is printed with its rank on every line and
aborts the job; and a process that ends tells the others so, and waits for them up to a deadline.  Where ranks waited
for each other in vain, what each of them did is printed first (:mod:`distgrad.distributed.watchdog`).
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any

from distgrad.distributed import timeline
from distgrad.distributed.communicator import Communicator, DistTimeoutError
from distgrad.distributed.watchdog import Watchdog

__all__ = ["Guard"]

_FORWARDING = 0.5  # seconds that a launcher is given to forward a traceback
_OTHER_REPORT = 5.0  # seconds that a rank which reports for all is given to do so and end the job


class Guard:
    """Watches over this process' end as long as it is armed.  Making one is collective.

    Args:
        comm: the communicator whose job is ended.
        exit_timeout: seconds that a rank which has ended waits for the others before it ends the job.
        at_end: called, if not None, when all ranks have ended their part.
    """

    def __init__(
        self, comm: Communicator, exit_timeout: float, at_end: Callable[[], None] | None = None
    ) -> None:
        self.comm, self.exit_timeout, self._at_end = comm, exit_timeout, at_end
        self._pid = os.getpid()
        self.watchdog = Watchdog(comm, self._waited_too_long)
        self._hooks = (sys.excepthook, threading.excepthook)
        sys.excepthook = self._main_failed
        threading.excepthook = self._thread_failed
        atexit.register(self.leave)

    def _disarm(self) -> None:
        # Not where somebody else has put theirs in the place since.
        # Bound methods are equal, not identical, from one access to the next.
        if sys.excepthook == self._main_failed:
            sys.excepthook = self._hooks[0]
        if threading.excepthook == self._thread_failed:
            threading.excepthook = self._hooks[1]
        atexit.unregister(self.leave)
        self.watchdog.close()

    def _main_failed(self, kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
        if os.getpid() != self._pid:  # a forked child is no rank, and must not reach MPI_Finalize, where it would hang
            self._hooks[0](kind, error, where)
            sys.stdout.flush()
            os._exit(1)
        text = "".join(traceback.format_exception(kind, error, where))
        self._abort(text, report=isinstance(error, DistTimeoutError))

    def _thread_failed(self, args: threading.ExceptHookArgs) -> Any:
        if os.getpid() != self._pid or args.exc_type is SystemExit:  # SystemExit ends a thread, by Python's rule
            return self._hooks[1](args)
        name = "?" if args.thread is None else args.thread.name
        text = "".join(traceback.format_exception(args.exc_type, args.exc_value, args.exc_traceback))
        self._abort(f"Exception in thread {name}:\n{text}", report=isinstance(args.exc_value, DistTimeoutError))

    def _waited_too_long(self, text: str) -> None:
        self._abort(f"{text}\n", report=True)

    def leave(self) -> None:
        """End this rank's part: return, with the hooks put back, when all ranks end theirs; else abort the job."""
        if os.getpid() != self._pid:
            return
        missing = self.comm.Depart(self.exit_timeout)
        if missing:
            self._abort(
                f"this rank ended, and {self.exit_timeout:g} s later rank(s) {', '.join(map(str, missing))} had not: "
                "ending the job. If they still had work to do, call destroy_process_group() on every rank before it, "
                "or give init_process_group a longer exit_timeout\n",
                report=True,
            )
        if self._at_end is not None:
            self._at_end()
        self._disarm()

    def _abort(self, text: str, report: bool = False) -> None:
        self.watchdog.failed(text)
        sys.stdout.flush()
        self._say(text)
        if report:
            found = self.watchdog.report()
            if found is None:
                # the rank that reports for all ends the job, this one too
                time.sleep(_OTHER_REPORT + (0 if timeline.unwritten() is None else timeline.RESCUE_SECONDS))
            else:
                self._say(found)
        recorded = timeline.unwritten()
        if recorded is not None:
            self._say(recorded.rescue(self.comm.rank, self.watchdog.events))
        # MPICH's mpiexec drops what it has not forwarded yet when a rank aborts: seen in one run of three.
        time.sleep(_FORWARDING)
        atexit.unregister(self.leave)  # an MPI whose abort runs exit handlers must not have this rank say goodbye
        self.comm.Abort(1)

    def _say(self, text: str) -> None:
        heading = f"[rank{self.comm.rank}]: "
        sys.stderr.write("".join(heading + line + "\n" for line in text.splitlines()))  # one write: lines stay together
        sys.stderr.flush()
