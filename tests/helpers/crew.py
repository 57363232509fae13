"""A crew: the ranks of one job that run the programs of many tests, one after the other, each as if it were alone.

Starting a rank (Python, NumPy, MPI, numba) takes longer than most programs do.  So a program that ends well and leaves
nothing behind may be given to the crew of so many ranks, by :func:`run_together`, and is run there as ``__main__``,
with arguments, environment and output of its own.  What a crew does not forgive:

* a program that fails on any rank ends its job as a user's would end, is reported, and the crew is no more;
* one that does not end in time is killed with its crew;
* what a program has replaced in modules and classes of ours, in ``os`` and the like, is put back; one that leaves a
  hook or a thread is the last of its crew.

The next one starts a new crew then.

Programs that are about starting or ending run in jobs of their own (``run_ranks``), and so do all on one or two
ranks, as a user's.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import environment
from tests.helpers.ranks import HANG, Finished, job_environment, kill, run_ranks

MEMBER = Path(__file__).with_name("crew_member.py")
ALIVE = 3  # crews that a process keeps: each holds memory, and is wanted again soon or not at all
_crews: dict[tuple[int, str], Crew] = {}


class Crew:
    """A job of ``ranks`` ranks that wait, asleep, at a socket."""

    def __init__(self, ranks: int, compiled: str) -> None:
        self.key, self.programs = (ranks, compiled), 0
        self.folder = Path(tempfile.mkdtemp(prefix="dg"))
        atexit.register(self.end)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.folder / "s"))
        listener.listen(ranks)
        listener.settimeout(0.5)
        command = [*environment.mpirun(sys.executable), "-n", str(ranks), sys.executable, str(MEMBER)]
        said = os.open(self.folder / "job", os.O_WRONLY | os.O_CREAT)
        self.job = subprocess.Popen(
            [*command, listener.getsockname()],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            env=job_environment(ranks, {"DISTGRAD_JIT": compiled, "TMPDIR": str(self.folder)}),
            start_new_session=True,
        )
        os.close(said)
        self.ranks: list[Any] = [None] * ranks
        until = time.monotonic() + HANG
        while None in self.ranks:
            with contextlib.suppress(TimeoutError):
                connection = listener.accept()[0]
                file = connection.makefile("rw", encoding="utf-8")
                self.ranks[json.loads(file.readline())] = connection, file
            if self.job.poll() is not None or time.monotonic() > until:
                listener.close()
                told = _text(str(self.folder / "job"))
                self.end()
                raise RuntimeError(f"a crew of {ranks} ranks did not start:\n{told}")
        listener.close()

    def run(self, program: str | Path, arguments: Sequence[str], environ: dict[str, str], timeout: float) -> Finished:
        """Let all ranks run a program, and return what it left behind, as if it had been a job of its own."""
        self.programs += 1
        if isinstance(program, str):
            file = self.folder / f"lines{self.programs}.py"
            file.write_text(program, encoding="utf-8")
        else:
            file = program
        command = [str(file), *arguments]
        started, places = time.monotonic(), [str(self.folder / f"{self.programs}.{r}") for r in range(len(self.ranks))]
        for (_, wire), place in zip(self.ranks, places, strict=True):
            with contextlib.suppress(OSError):  # a rank that is no more is noticed below
                wire.write(json.dumps([command, environ, place]) + "\n")
                wire.flush()
        left: list[str] = []
        code: int | None = 0
        try:
            for connection, wire in self.ranks:
                connection.settimeout(max(0.01, started + timeout - time.monotonic()))
                said = wire.readline()
                if not said:
                    code = self.job.wait(max(0.01, started + timeout - time.monotonic())) or -1
                    break
                left += json.loads(said)
        except ConnectionError:
            code = -1
        except (TimeoutError, subprocess.TimeoutExpired):
            code = None
        if code != 0:
            kill(self.job)
        out, err = ("".join(_text(f"{place}.{what}") for place in places) for what in ("out", "err"))
        if code != 0:
            err += _text(str(self.folder / "job"))
        if left and os.environ.get("DISTGRAD_TEST_CREW") == "tell":
            sys.stderr.write(f"left by {command}: {sorted(set(left))}\n")
        if code != 0 or left:
            self.end()
        found = Finished(-9 if code is None else code, out, err, time.monotonic() - started)
        if code is None:
            pytest.fail(f"hung, in a crew of {len(self.ranks)}: {command}\n{found}")
        return found

    def end(self) -> None:
        """Let the ranks end, as at a program's end, or else kill them."""
        _crews.pop(self.key, None)
        atexit.unregister(self.end)
        for ends in filter(None, self.ranks):
            for one in reversed(ends):
                with contextlib.suppress(OSError):
                    one.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.job.wait(20)
        kill(self.job)
        shutil.rmtree(self.folder, ignore_errors=True)


def _text(place: str) -> str:
    return Path(place).read_text(encoding="utf-8", errors="replace") if os.path.exists(place) else ""


def run_together(
    ranks: int, program: str | Path, *arguments: str, timeout: float = HANG, env: dict[str, str] | None = None
) -> Finished:
    """As :func:`tests.helpers.ranks.run_ranks`; three ranks or more are a crew, which has run other programs before.

    On one or two ranks, and without a guard (see guards.py), it is a job of its own.  Loops are compiled where ``env``
    holds :data:`tests.helpers.ranks.COMPILED`, and on three ranks in any case.  ``DISTGRAD_TEST_CREW=none`` in the
    environment makes every program a job of its own; ``tell`` lets a crew tell what programs have left.
    """
    env = dict(env or {})
    alone = ranks < 3 or "DISTGRAD_TEST_GUARD_OFF" in os.environ or os.environ.get("DISTGRAD_TEST_CREW") == "none"
    if alone:
        return run_ranks(ranks, program, *arguments, timeout=timeout, env=env)
    key = ranks, "1" if ranks == 3 else env.pop("DISTGRAD_JIT", "0")
    crew = _crews.pop(key, None) or Crew(*key)
    while len(_crews) >= ALIVE:
        next(iter(_crews.values())).end()  # who has rested longest
    _crews[key] = crew
    return crew.run(program, arguments, env, timeout)
