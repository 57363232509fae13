"""Runs programs one after the other, on one process or as a rank of many: ``run_programs.py REPORT FOLDER PROGRAM…``.

Each has an empty folder of its own.  Rank 0 writes for each a line of JSON to REPORT: its path, and what it printed.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import runpy
import sys
from pathlib import Path

import distgrad
import distgrad.distributed as dist

RANK = int(os.environ.get("OMPI_COMM_WORLD_RANK") or os.environ.get("PMI_RANK") or 0)


def main(report: Path, folder: Path, programs: list[str]) -> None:
    for number, program in enumerate(programs):
        here = folder / f"{number}-{Path(program).stem}"
        here.mkdir(parents=True, exist_ok=True)
        os.chdir(here)
        distgrad.manual_seed(0)
        sys.argv = [program]
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            runpy.run_path(program, run_name="__main__")
        if dist.is_initialized():
            dist.destroy_process_group()
        if RANK == 0:
            with report.open("a", encoding="utf-8") as file:
                file.write(json.dumps([program, printed.getvalue()]) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
