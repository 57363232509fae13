"""Ranks under an mpirun whose exit code does not tell all: signals go on to it, and its ranks' leaves are counted."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

__all__ = ["supervise"]

NOTES = "DISTGRAD_NOTES"  # as in distgrad.distributed.launching.environment, which takes long to import
_SIGNALS = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGCONT", "SIGWINCH")
_OF_TERMINALS = ("SIGINT", "SIGQUIT", "SIGWINCH", "SIGHUP")


def supervise(line: list[str], environ: Mapping[str, str]) -> int:
    """Run ``line`` and return its exit code; 1 in place of 0 where ranks that joined a group have not left it."""
    handle, name = tempfile.mkstemp(prefix="distgrad-run-")
    os.close(handle)
    notes = Path(name)
    try:
        code = _run(line, {**environ, NOTES: name})
        if code == 0 and (gone := _gone(notes.read_text(encoding="ascii"))):
            sys.stderr.write(
                f"python -m distgrad run: error: rank(s) {', '.join(map(str, gone))} joined a process group and never "
                f"left it, though {Path(line[0]).name} calls the job a success: one of them has ended by itself, by "
                "os._exit(0), say, and the others with it\n"
            )
            code = 1
        return code
    finally:
        notes.unlink(missing_ok=True)


def _gone(text: str) -> list[int]:
    groups: Counter[int] = Counter()
    for line in text.splitlines():
        what, _, rank = line.partition(" ")
        groups[int(rank)] += 1 if what == "joined" else -1
    return sorted(rank for rank, count in groups.items() if count > 0)


def _run(line: list[str], environ: Mapping[str, str]) -> int:
    # At a terminal the job stays in the foreground's process group, whose signals it then gets from the terminal.
    # Elsewhere it has one of its own, and everything comes from here.
    at_terminal = os.isatty(0)
    names = [name for name in _SIGNALS if not (at_terminal and name in _OF_TERMINALS)]
    numbers = [getattr(signal, name) for name in names]
    jobs: list[subprocess.Popen[bytes]] = []
    early: list[int] = []

    def hand_on(number: int, _: FrameType | None) -> None:
        if jobs:
            jobs[0].send_signal(number)
        else:
            early.append(number)

    before = {number: signal.signal(number, hand_on) for number in numbers}
    if at_terminal:
        before |= {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGQUIT)}
    try:
        group = None if at_terminal else 0
        jobs.append(subprocess.Popen(line, env=dict(environ), preexec_fn=_die_with_parent, process_group=group))
        for number in early:
            jobs[0].send_signal(number)
        code = jobs[0].wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if code < 0:  # as if this process had been the one
        with contextlib.suppress(OSError, ValueError):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def _die_with_parent() -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
