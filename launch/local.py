"""Run a script on N ranks of this machine: ``python3 launch/local.py -n 4 launch/train.py --epochs 10``.

It takes the ``mpirun`` beside the interpreter and gives each rank cores / N threads for BLAS, so that ranks × threads
is the number of cores; ``OMP_NUM_THREADS`` in the environment overrides that.  Standard library only.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

import environment

__all__ = ["command", "main", "shortened", "shown"]

# What of the environment the printed line needs, to be run by hand in a plain shell.
_SHOWN = (*environment.THREAD_VARIABLES, "OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM")


def command(python: Path, ranks: int, script: str, arguments: list[str]) -> list[str]:
    """The ``mpirun`` line that runs ``script`` on ``ranks`` ranks with the interpreter ``python``."""
    return [*environment.mpirun(python), "-n", str(ranks), str(python), script, *arguments]


def shortened(line: list[str]) -> list[str]:
    """``line`` with paths inside the checkout relative to it."""
    return [word.removeprefix(f"{environment.ROOT}{os.sep}") for word in line]


def shown(line: list[str], environ: dict[str, str]) -> str:
    """``line`` as it can be typed into a shell, with the variables it needs that are not set there."""
    needed = [f"{name}={environ[name]}" for name in _SHOWN if environ.get(name) != os.environ.get(name)]
    return " ".join([*needed, shlex.join(line)])


def main(arguments: list[str]) -> int:
    """Replace this process by mpirun; returns only where it cannot."""
    parser = argparse.ArgumentParser(prog="local.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-n", "--ranks", type=int, default=environment.cores(), help="default: one a core")
    parser.add_argument("--python", type=Path, help="default: the one in .venv where that exists, else this one")
    parser.add_argument("script", help="a Python script")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="its arguments")
    options = parser.parse_args(arguments)
    if options.ranks < 1:
        parser.error(f"the number of ranks must be at least 1, got {options.ranks}")
    if not Path(options.script).is_file():
        parser.error(f"there is no script {options.script}")
    ours = environment.python_of(environment.ROOT / ".venv")
    python = options.python or (ours if ours.exists() else Path(sys.executable))
    line = command(python, options.ranks, options.script, options.arguments)
    environ = environment.mpi_environ(options.ranks)
    print(f"+ {shown(line, environ)}", file=sys.stderr, flush=True)
    environment.keep_clear_of_leftovers(environ)
    os.execvpe(line[0], line, environ)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
