"""When ranks wait for each other in vain: what every rank was doing, in one report (docs/reliability.md, F4).

Each rank has a daemon thread that makes no MPI call, so it answers under every thread level and while MPI is stuck.  It
listens on a socket; a rank that gives up waiting asks all others for their last operation and the Python stacks of all
their threads.  Addresses, and a secret without which nobody is answered, were exchanged when the group was made.  What
comes back is JSON of bounded length; nothing that is sent makes a rank do anything but describe itself, or what its
timeline has recorded.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import secrets
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from distgrad.distributed.communication.communicator import Communicator
from distgrad.distributed.timeline import across_ranks

__all__ = ["Watchdog", "stacks"]

_ANSWER_SECONDS = 2.0  # for one rank's answer; ranks are asked at the same time
_ANSWER_BYTES = 1 << 20
_EVENTS_BYTES = 1 << 26  # of a timeline
_TOGETHER = 0.5  # seconds within which ranks that give up at the same time have heard of each other
_GRACE = 2.0  # seconds past the deadline after which a wait that raises no error by itself is ended from here


def stacks(instead: tuple[int, str] | None = None) -> str:
    """The Python stacks of all threads of this process, the watchdog's own left out.

    Args:
        instead: a thread's identifier, and the text that stands for its stack: its traceback, where it has failed.
    """
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    parts = []
    for ident, frame in sys._current_frames().items():
        name = names.get(ident, "?")
        if instead is not None and ident == instead[0]:
            parts.append(f"Thread {name} failed:\n{instead[1]}")
        elif not name.startswith(_THREAD_NAME):
            parts.append(f"Thread {name} (most recent call last):\n" + "".join(traceback.format_stack(frame)))
    return "".join(parts)


_THREAD_NAME = "distgrad-watchdog"


class Watchdog:
    """Answers other ranks' questions, and asks them.  Making one is collective.

    Args:
        comm: the ranks.
        give_up: called, in the watchdog's thread, with a text where this rank waits in an operation for longer than
            ``comm.timeout`` and the communicator raises no error by itself (a wait inside native code).
    """

    def __init__(self, comm: Communicator, give_up: Callable[[str], None]) -> None:
        self.comm, self._give_up = comm, give_up
        self._asked_by: dict[int, float] = {}
        self._failed: tuple[int, str] | None = None
        self._closed = False
        hosts: list[str] = comm.allgather(socket.gethostname())
        self._hosts = hosts
        self._secret: str = comm.bcast(secrets.token_hex(16))
        self._server, problem = self._listen(single_node=len(set(hosts)) == 1)
        port = 0 if self._server is None else self._server.getsockname()[1]
        own = [os.getpid(), port, _own_addresses() if len(set(hosts)) > 1 else [], problem]
        self._peers: list[list[Any]] = comm.allgather(own)
        if self._server is not None:
            threading.Thread(target=self._serve, args=(self._server,), name=_THREAD_NAME, daemon=True).start()

    def _listen(self, single_node: bool) -> tuple[socket.socket | None, str]:
        try:
            return socket.create_server(("127.0.0.1" if single_node else "", 0), backlog=max(16, self.comm.size)), ""
        except OSError as error:  # a sandbox without sockets: training works, the report will have a gap
            return None, str(error)

    def close(self) -> None:
        """Answer no more.  The thread ends: closing alone would not wake one that waits without a time-out."""
        self._closed = True
        if self._server is not None:
            with contextlib.suppress(OSError):  # systems where nobody is connected say so, and wake it when it closes
                self._server.shutdown(socket.SHUT_RDWR)
            self._server.close()

    # --- answering ---------------------------------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """This rank's state: the number and words of its last operation, whether it waits, all stacks."""
        state = self.comm.state()
        known = {} if state is None else {"number": state.number, "operation": state.operation, "waits": state.waits}
        return {"rank": self.comm.rank, **known, "failed": self._failed is not None, "stacks": stacks(self._failed)}

    def failed(self, text: str) -> None:
        """The calling thread has failed with the traceback ``text`` and is about to end the job."""
        self._failed = (threading.get_ident(), text)

    def _serve(self, server: socket.socket) -> None:
        while not self._closed:
            # With no time-out there is nothing to watch, and the thread sleeps until it is asked.
            timeout = self.comm.timeout
            try:
                server.settimeout(None if timeout is None else min(10.0, max(0.25, timeout / 4)))
                connection, _ = server.accept()
            except TimeoutError:
                self._look()
                continue
            except OSError:
                return  # closed
            with connection:
                try:
                    self._answer(connection)
                except OSError:  # whoever asked has gone
                    continue

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(_ANSWER_SECONDS)
        secret, who, question = (*_read(connection, 256).decode("ascii", "replace").split(" "), "", "")[:3]
        if not hmac.compare_digest(secret.encode(), self._secret.encode()) or not who.isdigit():
            return
        if question == "events":
            recorded = across_ranks.unwritten()
            found = {"rank": self.comm.rank, "events": None if recorded is None else recorded.last_events()}
            connection.sendall(json.dumps(found).encode()[:_EVENTS_BYTES])
        else:
            self._asked_by.setdefault(int(who), time.monotonic())
            connection.sendall(json.dumps(self.describe()).encode()[:_ANSWER_BYTES])

    def _look(self) -> None:
        state, timeout = self.comm.state(), self.comm.timeout
        if state is None or state.waits is None or timeout is None or state.waits < timeout + _GRACE:
            return
        self._give_up(
            f"rank {self.comm.rank} has waited {state.waits:.1f} s in operation {state.number} ({state.operation}), "
            f"where {timeout:g} s are allowed"
        )

    # --- asking ------------------------------------------------------------------------------------------------------

    def report(self) -> str | None:
        """What all ranks do, a line each, then their stacks; None where another rank reports at this moment."""
        started = time.monotonic()
        if self._asked_by:
            return None
        answers = self._ask(_ANSWER_BYTES)
        answers[self.comm.rank] = self.describe()
        # Ranks that wait for each other give up at about the same time; of those the lowest reports.
        time.sleep(max(0.0, started + _TOGETHER - time.monotonic()))
        if any(rank < self.comm.rank or when < started for rank, when in self._asked_by.items()):
            return None
        return _told([answers[rank] for rank in range(self.comm.size)], self._hosts, [p[0] for p in self._peers])

    def events(self) -> dict[int, dict[str, Any] | str]:
        """What the other ranks' timelines hold, as their ``"events"``, or why it is not known."""
        return self._ask(_EVENTS_BYTES, " events")

    def _ask(self, limit: int, question: str = "") -> dict[int, dict[str, Any] | str]:
        """Each other rank's state, or why it is not known.

        In this thread: at the interpreter's end none can be started.
        """
        ranks = [rank for rank in range(self.comm.size) if rank != self.comm.rank]
        asked: dict[int, socket.socket] = {}
        answers: dict[int, dict[str, Any] | str] = {}
        give_up_at = time.monotonic() + _ANSWER_SECONDS
        for rank in ranks:
            try:
                asked[rank] = self._connect(rank, give_up_at, question)
            except OSError as error:
                answers[rank] = self._no_answer(rank, error)
        for rank, connection in asked.items():
            with connection:
                try:
                    connection.settimeout(max(0.1, give_up_at - time.monotonic()))
                    found = json.loads(_read(connection, limit))
                    answers[rank] = (
                        found if isinstance(found, dict) and found.get("rank") == rank else "has another's port"
                    )
                except (OSError, ValueError) as error:
                    answers[rank] = self._no_answer(rank, error)
        return answers

    def _connect(self, rank: int, give_up_at: float, question: str) -> socket.socket:
        """A connection on which the question has been sent."""
        _, port, addresses, problem = self._peers[rank]
        if not port:
            raise OSError(f"it could not open a socket ({problem})")
        near = self._hosts[rank] == self._hosts[self.comm.rank]
        failure = OSError("it has no address")
        for address in ["127.0.0.1"] if near else [self._hosts[rank], *addresses]:
            try:
                connection = socket.create_connection((address, port), max(0.1, give_up_at - time.monotonic()))
            except OSError as error:
                failure = error
                continue
            connection.sendall(f"{self._secret} {self.comm.rank}{question}".encode())
            connection.shutdown(socket.SHUT_WR)
            return connection
        raise failure

    def _no_answer(self, rank: int, error: Exception) -> str:
        near = self._hosts[rank] == self._hosts[self.comm.rank]
        state = _process_state(int(self._peers[rank][0])) if near else ""
        return f"no answer within {_ANSWER_SECONDS:g} s ({error}){state}"


def _read(connection: socket.socket, limit: int) -> bytes:
    """All that the other side sends, ``limit`` bytes at most."""
    parts, room = [], limit
    while room > 0 and (part := connection.recv(min(room, 1 << 16))):
        parts.append(part)
        room -= len(part)
    return b"".join(parts)


def _own_addresses() -> list[str]:
    """Addresses of this host, for ranks on others where its name means nothing."""
    try:
        return socket.gethostbyname_ex(socket.gethostname())[2]
    except OSError:
        return []


def _process_state(pid: int) -> str:
    """What the kernel says of a process that does not answer: stopped, dead, or busy in code that keeps the GIL."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "; its process has ended"
    state = next((line.partition(":")[2].strip() for line in lines if line.startswith("State:")), "unknown")
    return f"; its process is in state {state}"


def _told(answers: list[dict[str, Any] | str], hosts: list[str], pids: list[int]) -> str:
    lines, numbers = ["what each rank does:"], {}
    for rank, found in enumerate(answers):
        if isinstance(found, str):
            what = found
        elif "number" not in found:
            what = "its operations are not known to its communicator"
        else:
            numbers[rank] = (int(found["number"]), str(found["operation"]))
            number, operation = numbers[rank]
            words = f"operation {number} ({operation})" if number else "no operation yet"
            waits = found["waits"]
            what = "has failed; its last was" if found["failed"] else "is in none; its last was"
            what = f"{what} {words}" if waits is None else f"has been waiting for {waits:.1f} s in {words}"
        lines.append(f"  rank {rank} ({hosts[rank]}, process {pids[rank]}): {what}")
    lines += _verdict(numbers)
    for rank, found in enumerate(answers):
        if not isinstance(found, str):
            lines += [f"stacks of rank {rank}:", *(f"  {line}" for line in str(found["stacks"]).splitlines())]
    return "\n".join(lines) + "\n"


def _verdict(numbers: dict[int, tuple[int, str]]) -> list[str]:
    """Who is behind, or who does something else, where the numbers tell."""
    if not numbers:
        return []
    last = max(number for number, _ in numbers.values())
    behind = [rank for rank, (number, _) in numbers.items() if number < last]
    kinds = {words.partition(" of ")[0] for number, words in numbers.values() if number == last}
    lines = []
    if behind:
        lines.append(f"behind the others, who came to operation {last}: rank {', '.join(map(str, behind))}")
    if len(kinds) > 1:
        lines.append(f"operation {last} is not the same on all ranks: {'; '.join(sorted(kinds))}")
    return lines
