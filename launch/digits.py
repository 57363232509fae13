"""Set everything up and train a classifier of handwritten digits on 2 MPI ranks: ``python3 launch/digits.py``.

From a fresh clone, with nothing installed.  Arguments are handed to ``train.py``, e.g. ``--epochs 5 --model linear``.
Standard library only.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType

import environment
import local

RANKS = 2
OPTIONS = ["--dataset", "digits", "--model", "mlp", "--optimizer", "adam", "--lr", "0.001", "--epochs", "30"]
OPTIONS += ["--progress"]  # whatever becomes of what it writes


def _run(line: list[str], environ: dict[str, str]) -> int:
    """Run ``line``, and return its exit code; 130 after Ctrl-C.

    The first SIGINT becomes SIGUSR1, which every mpirun hands on and at which ``train.py`` saves and ends: of SIGINT
    itself Open MPI's ranks see nothing but their end.  SIGTERM, and a second SIGINT, are handed on as they are.
    """
    asked: list[int] = []
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children")

    def hand_on(number: int, _: FrameType | None) -> None:
        asked.append(number)
        for pid in children.read_text(encoding="ascii").split() if children.exists() else ():
            os.kill(int(pid), signal.SIGUSR1 if asked == [signal.SIGINT] else number)

    before = {number: signal.signal(number, hand_on) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    # A process group of its own: what a terminal sends to all of its foreground's would come twice.
    group = 0 if children.exists() else None
    try:
        code = subprocess.run(
            line, cwd=environment.ROOT, env=environ, stdin=subprocess.DEVNULL, check=False, process_group=group
        ).returncode
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if signal.SIGINT in asked:
        print("interrupted", flush=True)
        return 130
    return code if code >= 0 else 128 - code


def main(arguments: list[str]) -> int:
    """Set up, train, and return mpirun's exit code."""
    root = environment.ROOT
    try:
        python = environment.ensure(root / ".venv", ["mpi", "demo", "fast"])
    except KeyboardInterrupt:
        print("interrupted while setting up; the same command goes on", file=sys.stderr, flush=True)
        return 130
    line = local.shortened(local.command(python, RANKS, "launch/train.py", [*OPTIONS, *arguments]))
    environ = environment.mpi_environ(RANKS)
    code = _run(line, environ)
    print(f"exit code {code} from the line" if code else "the line that ran", f"in {root}:", flush=True)
    print(local.shown(line, environ), flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
