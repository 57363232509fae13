"""Runs one measurement on ranks, one thread each, and reads what rank 0 prints."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from compare import one_thread

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "launch"))

from environment import mpi_environ, mpirun  # noqa: E402 - found through the line above


def on_ranks(ranks: int, script: str, *arguments: str, tries: int = 1, timeout: float = 600, **settings: str) -> Any:
    """Start ``script``, of this folder, on ``ranks`` ranks; return the first line of JSON that it prints.

    Args:
        arguments: of the script.
        tries: how often it may fail before that ends this program.
        timeout: in seconds.
        settings: environment variables.
    """
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    env = one_thread() | mpi_environ(ranks) | one | settings
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):  # users' machines do not set them
        env.pop(name, None)
    command = [*mpirun(sys.executable), "-n", str(ranks), sys.executable, str(HERE / script), *arguments]
    for _ in range(tries):
        done = subprocess.run(
            command, env=env, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL
        )
        if done.returncode == 0:
            return json.loads(next(line for line in done.stdout.splitlines() if line[:1] in ("{", "[")))
    raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
