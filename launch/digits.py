"""Set everything up and train a classifier of handwritten digits on 2 MPI ranks: ``python3 launch/digits.py``.

From a fresh clone, with nothing installed.  Arguments are handed to ``train.py``, e.g. ``--epochs 5 --model linear``.
Standard library only.
"""

from __future__ import annotations

import subprocess
import sys

import environment
import local

RANKS = 2
OPTIONS = ["--dataset", "digits", "--model", "mlp", "--optimizer", "adam", "--lr", "0.001", "--epochs", "30"]


def main(arguments: list[str]) -> int:
    """Set up, train, and return mpirun's exit code."""
    root = environment.ROOT
    python = environment.ensure(root / ".venv", ["mpi", "demo"])
    line = local.shortened(local.command(python, RANKS, "launch/train.py", [*OPTIONS, *arguments]))
    environ = environment.mpi_environ(RANKS)
    code = subprocess.run(line, cwd=root, env=environ, stdin=subprocess.DEVNULL, check=False).returncode
    print(f"exit code {code} from the line" if code else "the line that ran", f"in {root}:", flush=True)
    print(local.shown(line, environ), flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
