"""Tell whether distributed training works here, and what to do where it does not.

Looks at the MPI library and its mpirun, thread level, shared windows, fault tolerance, CUDA support, GPUs, BLAS and
cores, and runs a job of two ranks.  Each line is ok, warn (works, but slower or with less) or FAIL, with its remedy.
The exit code is 1 when something fails.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distgrad.cli._checks import Finding

COMMAND = ("doctor",)


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print a JSON object instead of lines")
    parser.add_argument("--timeout", type=float, default=60.0, metavar="S", help="seconds for each child process (60)")


def run(arguments: argparse.Namespace) -> int:
    from distgrad.cli import _checks
    from distgrad.distributed.launching.environment import launcher_size

    announced = launcher_size()
    if announced is not None and not announced[1].startswith("SLURM"):  # under `srun --pty bash` that is no rank
        print(f"start the doctor without mpirun: it starts ranks itself ({announced[1]} is set)", file=sys.stderr)
        return 2
    findings = []
    here = _checks.gpus, _checks.blas, _checks.kernels, _checks.cores
    for check in (_checks.python, lambda: _checks.mpi(arguments.timeout), *here):
        for finding in check():
            findings.append(finding)
            if not arguments.json:
                print(_line(finding), flush=True)
    ok = all(finding.status != "fail" for finding in findings)
    if arguments.json:
        print(json.dumps({"ok": ok, "checks": [dataclasses.asdict(finding) for finding in findings]}, indent=2))
    return int(not ok)


def _line(finding: Finding) -> str:
    word = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}[finding.status]
    text = f"{word}  {finding.name}: {finding.found}"
    return f"{text}\n      -> {finding.remedy}" if finding.remedy else text
