"""The time of a training step in two builds of distgrad, in short turns of one run: what a change costs.

python benchmarks/builds.py BASE [HEAD] [--ranks 1] [--steps STEP ...] [--jobs 5] [--turns 40] [--out FILE]

BASE and HEAD are revisions of git; HEAD is the working tree where it is left out.  A job of each build stays alive, and
the two take turns of some 25 ms on the same cores, so that a machine that is slower for a second is slower for both.  A
ratio is the median of those of neighbouring turns; that is done for several pairs of jobs, since a process's memory
also lies better or worse by chance, and the median of the pairs is told with the least and the greatest.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, Listener
from pathlib import Path

from compare import one_thread
from machine import describe
from ranks import mpi_environ, mpirun

HERE = Path(__file__).parent
ALONE = ("linear_regression", "thermometer", "chain", "mlp", "wide_mlp")
ON_RANKS = ("linear", "mlp", "wide_mlp")
TURN = 0.025  # seconds of one turn, about


def install(revision: str | None, into: Path) -> Path:
    """The folder that the build of ``revision``, or of the working tree, is installed in, without its dependencies."""
    source, target = HERE.parent, into / "installed"
    if revision is not None:
        source = into / "source"
        source.mkdir(parents=True)
        packed = subprocess.run(["git", "archive", revision], cwd=HERE.parent, capture_output=True, check=True)
        subprocess.run(["tar", "x", "-C", str(source)], input=packed.stdout, check=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), str(source)]
    subprocess.run(pip, check=True)
    return target


class Job:
    """A build that waits, on one rank or several, to be told how many steps to take."""

    def __init__(self, build: Path, step: str, ranks: int) -> None:
        with tempfile.TemporaryDirectory() as folder, Listener(str(Path(folder) / "socket")) as listener:
            command = [sys.executable, str(HERE / "builds_worker.py"), step, str(listener.address), str(ranks)]
            env = one_thread() | {"PYTHONPATH": str(build)}
            if ranks > 1:
                command = [*mpirun(sys.executable), "-n", str(ranks), *command]
                env |= mpi_environ(ranks) | one_thread() | {"PYTHONPATH": str(build)}
            self.process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL)
            self.ranks: list[Connection] = [listener.accept() for _ in range(ranks)]
        where = {rank.recv() for rank in self.ranks}
        if where != {str(build / "distgrad" / "__init__.py")}:
            raise SystemExit(f"the build in {build} was to be measured, and {', '.join(where)} was imported")

    def take(self, steps: int) -> float:
        """Seconds of a step, on the slowest rank."""
        for rank in self.ranks:
            rank.send(steps)
        return max(rank.recv() for rank in self.ranks) / steps

    def end(self) -> None:
        for rank in self.ranks:
            rank.send(0)
        self.process.wait(timeout=60)


@contextmanager
def jobs(builds: tuple[Path, Path], step: str, ranks: int) -> Iterator[tuple[Job, Job]]:
    """A job of each build, ended at the end of the block."""
    both = Job(builds[0], step, ranks), Job(builds[1], step, ranks)
    try:
        yield both
    finally:
        for job in both:
            job.end()


def turns(base: Job, head: Job, count: int) -> tuple[list[float], list[float]]:
    """Seconds of a step in ``count`` turns of each; who begins changes from turn to turn."""
    steps = max(1, round(TURN / min(base.take(3), head.take(3))))
    for job in (base, head):
        job.take(steps)
    found: tuple[list[float], list[float]] = ([], [])
    for turn in range(count):
        for which in (0, 1) if turn % 2 else (1, 0):
            found[which].append((base, head)[which].take(steps))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base")
    parser.add_argument("head", nargs="?", help="the working tree where it is left out")
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--steps", nargs="+", metavar="STEP", help=f"of {ALONE}, or on ranks of {ON_RANKS}")
    parser.add_argument("--jobs", type=int, default=5, help="pairs of jobs")
    parser.add_argument("--turns", type=int, default=40, help="turns of a pair of jobs")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        os.environ.pop(name, None)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        builds = install(args.base, Path(folder, "base")), install(args.head, Path(folder, "head"))
        print(f"{'step':<20}{'base, us':>12}{'head, us':>12}{'ratio':>8}   of pairs of jobs")
        for step in args.steps or (ON_RANKS if args.ranks > 1 else ALONE):
            ratios, base_us, head_us = [], [], []
            for _ in range(args.jobs):
                with jobs(builds, step, args.ranks) as (base, head):
                    before, after = turns(base, head, args.turns)
                ratios.append(statistics.median(b / a for a, b in zip(before, after, strict=True)))
                base_us.append(statistics.median(before) * 1e6)
                head_us.append(statistics.median(after) * 1e6)
            row = {
                "step": step, "ratio": statistics.median(ratios), "ratios": ratios, "base_us": base_us,
                "head_us": head_us,
            }  # fmt: skip
            rows.append(row)
            print(
                f"{step:<20}{statistics.median(base_us):>12.1f}{statistics.median(head_us):>12.1f}{row['ratio']:>8.3f}"
                f"   {min(ratios):.3f} to {max(ratios):.3f}",
                flush=True,
            )
    if args.out:
        about = {"base": args.base, "head": args.head or "working tree", "ranks": args.ranks}
        args.out.write_text(json.dumps({"machine": describe(), **about, "steps": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
