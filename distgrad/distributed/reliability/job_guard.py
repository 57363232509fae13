"""Nothing hangs: a rank that fails or leaves ends the whole job (docs/reliability.md, F1 to F4).

Left alone, a Python process whose rank raises prints a traceback and waits in ``MPI_Finalize`` for ranks that wait in a
collective for it.  So an uncaught exception, of the main thread or another, is printed with its rank on every line and
aborts the job; and a process that ends tells the others so, and waits for them up to a deadline.  Where ranks waited
for each other in vain, what each of them did is printed first (:mod:`distgrad.distributed.reliability.watchdog`).
"""

from __future__ import annotations

import atexit
import builtins
import contextlib
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any, NoReturn

from distgrad.distributed.communication.communicator import Communicator
from distgrad.distributed.communication.errors import DistTimeoutError
from distgrad.distributed.launching.environment import note
from distgrad.distributed.reliability.watchdog import Watchdog
from distgrad.distributed.timeline import across_ranks

__all__ = ["Guard"]

_EXITS = ((sys, "exit"), (builtins, "exit"), (builtins, "quit"))
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
        # Python tells nobody with which code it is about to end.
        self._exits = {(module, name): vars(module)[name] for module, name in _EXITS if name in vars(module)}
        for module, name in self._exits:
            setattr(module, name, self._exit)
        self._last = getattr(sys, "last_value", None)
        self._left = False
        comm.at_end(self.leave)
        note("joined", comm.rank)
        atexit.register(self._exited)

    def _disarm(self) -> None:
        # Not where somebody else has put theirs in the place since.
        # Bound methods are equal, not identical, from one access to the next.
        if sys.excepthook == self._main_failed:
            sys.excepthook = self._hooks[0]
        if threading.excepthook == self._thread_failed:
            threading.excepthook = self._hooks[1]
        for (module, name), plain in self._exits.items():
            if vars(module)[name] == self._exit:
                setattr(module, name, plain)
        self._left = True
        atexit.unregister(self._exited)
        self.watchdog.close()

    def _exit(self, status: Any = None, /) -> NoReturn:
        code = status if isinstance(status, int) else int(status is not None)
        self.comm.exit_code = code & 0xFF or int(code != 0)
        raise SystemExit(status)

    def _users(self, place: int, *what: Any) -> None:
        """Call the user's own hook, which was there before."""
        if self._hooks[place] not in (sys.__excepthook__, threading.__excepthook__):
            with contextlib.suppress(BaseException):
                self._hooks[place](*what)

    def _main_failed(self, kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
        if os.getpid() != self._pid:  # a forked child is no rank, and must not reach MPI_Finalize, where it would hang
            self._hooks[0](kind, error, where)
            sys.stdout.flush()
            os._exit(1)
        self._users(0, kind, error, where)
        text = "".join(traceback.format_exception(kind, error, where))
        self._abort(text, report=isinstance(error, DistTimeoutError))

    def _thread_failed(self, args: threading.ExceptHookArgs) -> Any:
        if os.getpid() != self._pid or args.exc_type is SystemExit:  # SystemExit ends a thread, by Python's rule
            return self._hooks[1](args)
        self._users(1, args)
        name = "?" if args.thread is None else args.thread.name
        text = "".join(traceback.format_exception(args.exc_type, args.exc_value, args.exc_traceback))
        self._abort(f"Exception in thread {name}:\n{text}", report=isinstance(args.exc_value, DistTimeoutError))

    def _waited_too_long(self, text: str) -> None:
        self._abort(f"{text}\n", report=True)

    def _exited(self) -> None:
        """The interpreter ends."""
        error = getattr(sys, "last_value", None)
        theirs = sys.excepthook != self._main_failed  # set since, and so called in this one's place
        if theirs and error is not None and error is not self._last and os.getpid() == self._pid and not self._left:
            text = "".join(traceback.format_exception(error))
            self._abort(text, report=isinstance(error, DistTimeoutError))
        try:
            self.leave()
        except Exception as failure:  # Python would write it and end with 0
            self._abort("".join(traceback.format_exception(failure)))

    def leave(self) -> None:
        """End this rank's part: return, with the hooks put back, when all ranks end theirs; else abort the job."""
        if os.getpid() != self._pid or self._left:
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
        note("left", self.comm.rank)
        self._disarm()

    def _abort(self, text: str, report: bool = False) -> None:
        self.watchdog.failed(text)
        sys.stdout.flush()
        self._say(text)
        if report:
            found = self.watchdog.report()
            if found is None:
                # the rank that reports for all ends the job, this one too
                time.sleep(_OTHER_REPORT + (0 if across_ranks.unwritten() is None else across_ranks.RESCUE_SECONDS))
            else:
                self._say(found)
        recorded = across_ranks.unwritten()
        if recorded is not None:
            self._say(recorded.rescue(self.comm.rank, self.watchdog.events))
        if dead := self.comm.dead():
            self._say(f"rank(s) {', '.join(map(str, dead))} died: killed, or ended without leaving the group\n")
        # MPICH's mpiexec drops what it has not forwarded yet when a rank aborts: seen in one run of three.
        time.sleep(_FORWARDING)
        atexit.unregister(self._exited)  # an MPI whose abort runs exit handlers must not have this rank say goodbye
        self.comm.Abort(self.comm.exit_code or max(self.comm.codes(), default=0) or 1)

    def _say(self, text: str) -> None:
        heading = f"[rank{self.comm.rank}]: "
        sys.stderr.write("".join(heading + line + "\n" for line in text.splitlines()))  # one write: lines stay together
        sys.stderr.flush()
